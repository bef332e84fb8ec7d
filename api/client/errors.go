package client

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Reasons that the client itself gives; those of the server are documented in package server.
const (
	ReasonUnreachable = "UNREACHABLE" // no node could be reached, or the connection broke
	ReasonDeadline    = "DEADLINE"    // the caller's context ended
	ReasonInvalid     = "INVALID_ARGUMENT"
	ReasonClosed      = "CLOSED" // the Client was closed

	// ReasonNotSealed says, of an append, that it is committed and has no receipt yet.
	ReasonNotSealed = "NOT_SEALED"

	// ReasonOtherLedger is given by a node that does not host the profile's ledger. A call fails
	// with it once every node has said so: a node may learn of a new ledger a moment after another
	// one.
	ReasonOtherLedger = "OTHER_LEDGER"
	// ReasonLedgerExists says that a ledger with this origin exists and is another one.
	ReasonLedgerExists = "LEDGER_EXISTS"
	// ReasonUnknownID says that a settlement ledger knows no account, transfer or instruction of an
	// id, or none that the caller may read.
	ReasonUnknownID = "UNKNOWN_ID"
)

// Error is a refused or failed call.
type Error struct {
	Code     codes.Code
	Reason   string // stable word, e.g. "KEY_CONFLICT"
	Message  string // for a human
	Definite bool   // the call had no effect and never will; false: its outcome is unknown
	Node     string // that answered, "" if none did

	RetryAfter   time.Duration     // 0 if nothing is known
	Conflict     *KeyConflict      // with reason KEY_CONFLICT
	SizeMismatch *SizeMismatch     // with reason SIZE_MISMATCH
	Leader       *Endpoint         // with reason NOT_LEADER, if the node knew one
	Limit        *cairnv1.Limit    // with reasons about sizes
	Metadata     map[string]string // of the ErrorInfo

	resume *uint64 // where a stream that ended early continues
	last   *Error  // with reason DEADLINE: why the last attempt failed, nil if nothing is known
	cause  error
}

// KeyConflict: the key was used before, with another payload.
type KeyConflict struct {
	Key                         []byte
	Index                       uint64 // of the entry that holds the key
	StoredDigest, OfferedDigest []byte
}

// SizeMismatch: the ledger did not have the expected size.
type SizeMismatch struct{ Expected, Actual uint64 }

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	fmt.Fprintf(&b, " (%s", e.Reason)
	if e.Node != "" {
		fmt.Fprintf(&b, ", from %s", e.Node)
	}
	if !e.Definite && e.Reason != ReasonNotSealed {
		b.WriteString(", outcome unknown")
	}
	b.WriteString(")")
	return b.String()
}

// Unwrap returns the error underneath: of the context, or the gRPC status.
func (e *Error) Unwrap() error { return e.cause }

// IsDefinite reports whether err says that the call had no effect and never will. Nil, and errors
// of unknown origin, are not.
func IsDefinite(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Definite
}

// ErrNotProved is in a VerificationError of a checkpoint whose signatures are good, but of which no
// node gave a proof that it is consistent with the known one. Ask again: the nodes may not have
// been able to answer.
var ErrNotProved = errors.New("no node proves it consistent with the known checkpoint")

// VerificationError: a node gave an answer that does not prove what it claims. Of an append, the
// outcome is unknown.
type VerificationError struct {
	What string // "receipt", "checkpoint", "inclusion proof", …
	Node string
	Err  error
}

func (e *VerificationError) Error() string {
	from := ""
	if e.Node != "" {
		from = " from " + e.Node
	}
	return fmt.Sprintf("the %s%s does not verify: %v", e.What, from, e.Err)
}

// Unwrap returns what is wrong with it.
func (e *VerificationError) Unwrap() error { return e.Err }

// ForkAdvice says what to do about a ForkError, and names the likely causes, the likeliest first.
// docs/operations.md quotes it.
const ForkAdvice = "keep the evidence file and the state file, and stop writing; likely causes, the likeliest first: " +
	"a member lost its disk and was made anew, a member was restored from an older copy, somebody else holds the ledger's keys"

// ForkError: two checkpoints that the policy accepts contradict each other. The ledger's keys have
// signed two histories. Keep the evidence, and see [ForkAdvice].
type ForkError struct {
	Known, Shown         tlog.Checkpoint
	KnownNote, ShownNote []byte
	Evidence             string // file that holds both notes, "" if it could not be written
	Reason               string // why they contradict each other
}

func (e *ForkError) Error() string {
	msg := fmt.Sprintf("FORK of ledger %q: the known checkpoint (size %d, root %s) and the one shown now (size %d, root %s) contradict each other: %s",
		e.Known.Origin, e.Known.Size, e.Known.Root, e.Shown.Size, e.Shown.Root, e.Reason)
	if e.Evidence != "" {
		msg += "; both are saved in " + e.Evidence
	}
	return msg
}

// errorFrom turns the error of a call to a node into *Error. sent says whether any part of the
// request may have left this process.
func errorFrom(err error, node Endpoint, sent bool) *Error {
	var already *Error
	if errors.As(err, &already) {
		return already
	}
	st := status.Convert(err)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		st = status.FromContextError(err)
	}
	e := &Error{Code: st.Code(), Message: st.Message(), Node: node.Name, Definite: !sent, cause: err}
	if text := noAnswer(node.Name, node.Address, e.Message); text != "" && len(st.Details()) == 0 {
		e.Message, e.Node = text, ""
	}
	switch st.Code() {
	case codes.DeadlineExceeded, codes.Canceled:
		e.Reason = ReasonDeadline
	case codes.Unavailable:
		e.Reason = ReasonUnreachable
	default:
		e.Reason = strings.ToUpper(st.Code().String())
	}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			e.Reason, e.Metadata = d.GetReason(), d.GetMetadata()
		case *cairnv1.ErrorDetail:
			e.fill(d)
		case *errdetails.RetryInfo:
			e.RetryAfter = max(e.RetryAfter, d.GetRetryDelay().AsDuration())
		}
	}
	return e
}

// errorFromStream turns the failure of one request of a stream into *Error.
func errorFromStream(s *cairnv1.StreamError, node string) *Error {
	code := codes.Code(uint32(s.GetCode()))
	e := &Error{Code: code, Reason: s.GetReason(), Message: s.GetMessage(), Node: node}
	e.cause = status.Error(code, s.GetMessage())
	if s.GetDetail() != nil {
		e.fill(s.GetDetail())
	}
	return e
}

// fill takes over what the node says about the failure.
func (e *Error) fill(d *cairnv1.ErrorDetail) {
	e.Definite = d.GetOutcome() == cairnv1.Outcome_OUTCOME_DEFINITE
	e.RetryAfter = max(e.RetryAfter, time.Duration(d.GetRetryAfterMs())*time.Millisecond)
	switch c := d.GetCause().(type) {
	case *cairnv1.ErrorDetail_KeyConflict:
		k := c.KeyConflict
		e.Conflict = &KeyConflict{k.GetKey(), k.GetIndex(), k.GetStoredDigest(), k.GetOfferedDigest()}
	case *cairnv1.ErrorDetail_SizeMismatch:
		e.SizeMismatch = &SizeMismatch{c.SizeMismatch.GetExpected(), c.SizeMismatch.GetActual()}
	case *cairnv1.ErrorDetail_NotLeader:
		if c.NotLeader.GetName() != "" {
			e.Leader = &Endpoint{Name: c.NotLeader.GetName(), Address: c.NotLeader.GetAddress()}
		}
	case *cairnv1.ErrorDetail_Limit:
		e.Limit = c.Limit
	case *cairnv1.ErrorDetail_Resume:
		next := c.Resume.GetNext()
		e.resume = &next
	}
}

func invalid(format string, args ...any) *Error {
	return &Error{Code: codes.InvalidArgument, Reason: ReasonInvalid, Message: fmt.Sprintf(format, args...), Definite: true}
}

// hashes splits a proof into its hashes.
func hashes(proof []byte) ([]merkle.Hash, error) {
	if len(proof)%merkle.HashSize != 0 || len(proof) > maxProofBytes {
		return nil, errors.Newf("a proof of %d bytes is malformed", len(proof))
	}
	out := make([]merkle.Hash, len(proof)/merkle.HashSize)
	for i := range out {
		copy(out[i][:], proof[i*merkle.HashSize:])
	}
	return out, nil
}

// maxProofBytes: an RFC 6962 consistency proof has at most 65 hashes for sizes below 2^64.
const maxProofBytes = 65 * merkle.HashSize
