package pki

import "github.com/cockroachdb/errors"

// A Reason says in one stable word why a certificate or a chain was refused. It is fit for a
// metric's label.
type Reason string

// The reasons.
const (
	ReasonMalformed    Reason = "malformed"     // not strict DER, not X.509 v3, or a field that the profiles don't allow
	ReasonAlgorithm    Reason = "algorithm"     // a key or signature algorithm that is unknown, has parameters, or is not allowed here
	ReasonExtension    Reason = "extension"     // an unknown critical extension, or one that the kind must not have
	ReasonKeyUsage     Reason = "key_usage"     // key usage or extended key usage is not that of the kind
	ReasonName         Reason = "name"          // not exactly one URI name that is a SPIFFE ID, or another kind of name
	ReasonKind         Reason = "kind"          // an authority as leaf, a leaf as authority, a KEM certificate as identity or the reverse
	ReasonChain        Reason = "chain"         // no certificates, too many, too large, or one that doesn't belong to the path
	ReasonPathLength   Reason = "path_length"   // more authorities below one than it allows
	ReasonExpired      Reason = "expired"       // a certificate of the path has ended
	ReasonNotYetValid  Reason = "not_yet_valid" // a certificate of the path has not begun
	ReasonUnknownRoot  Reason = "unknown_root"  // the path ends at no root of the pool
	ReasonTrustDomain  Reason = "trust_domain"  // an ID outside the trust domain of its issuer
	ReasonSignature    Reason = "signature"     // a signature that does not verify
	ReasonRelated      Reason = "related"       // a KEM certificate that is not the companion of this identity
	ReasonKeyMismatch  Reason = "key_mismatch"  // a private key that doesn't belong to the certificate
	ReasonRevoked      Reason = "revoked"       // a certificate of the path that a revocation list names
	ReasonIssueRequest Reason = "issue_request" // a request that the authority must not fulfil
)

// An Error is how parsing, validation and issuing refuse something.
type Error struct {
	Reason Reason
	msg    string
}

// Error gives the reason and the details.
func (e *Error) Error() string { return string(e.Reason) + ": " + e.msg }

func refuse(r Reason, format string, args ...any) error {
	return errors.WithStack(&Error{Reason: r, msg: errors.Newf(format, args...).Error()})
}

// ReasonOf returns the reason inside err, "" when there is none.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}
