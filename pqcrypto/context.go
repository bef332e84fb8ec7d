package pqcrypto

import "github.com/cockroachdb/errors"

// Contexts of the signatures of our own (FIPS 204, the ctx parameter). Each names exactly one kind
// of statement.
const (
	// ContextLPAClientAuth is for the client's proof in the LPA/1 handshake: a hash of the
	// transcript and the channel id.
	ContextLPAClientAuth = "ledger-lpa1 client auth"
	// ContextLPAServerAuth is reserved for a variant of LPA in which the server signs. Nothing
	// signs with it today, and it is in the table so that nothing else ever will.
	ContextLPAServerAuth = "ledger-lpa1 server auth"
	// ContextRequest is for a machine's request for certificates: all its lines before the
	// signatures.
	ContextRequest = "cairn request v1"
)

// A ContextInfo is one row of the published table of contexts.
type ContextInfo struct {
	Context   string // what goes into the signature, byte for byte
	Statement string // what a signature with it states
	Reserved  bool   // true when nothing may sign or verify with it
}

// contexts is the table. Invariants: no two rows share a context, none is empty, all are at most
// 255 bytes (FIPS 204, algorithm 2).
var contexts = []ContextInfo{
	{Context: ContextLPAClientAuth, Statement: "the signer takes part, as a client, in the LPA/1 handshake with this transcript"},
	{Context: ContextLPAServerAuth, Statement: "reserved: a signing server in an LPA handshake", Reserved: true},
	{Context: ContextRequest, Statement: "the signer holds this key and vouches for the other keys of the request"},
}

// Contexts returns a copy of the table of contexts, for the documentation and its test.
func Contexts() []ContextInfo {
	return append([]ContextInfo(nil), contexts...)
}

// ErrContext is returned for a signature with a context that is empty, reserved or not in the
// table.
var ErrContext = errors.New("signature context is not in the table")

// usableContext reports whether signatures may be made and accepted with this context.
func usableContext(context string) bool {
	for _, c := range contexts {
		if c.Context == context {
			return !c.Reserved
		}
	}
	return false
}
