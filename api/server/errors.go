package server

import (
	"context"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
)

// ErrorDomain is the domain of every google.rpc.ErrorInfo.
const ErrorDomain = "cairn"

// Reasons of errors. They are part of the API: programs compare them.
const (
	// Who and what.
	ReasonUnauthenticated  = "UNAUTHENTICATED"
	ReasonPermissionDenied = "PERMISSION_DENIED" // metadata: method, needs, has
	ReasonNoLedgerNamed    = "NO_LEDGER_NAMED"   // the call lacks the metadata cairn-origin
	ReasonOtherLedger      = "OTHER_LEDGER"      // the call names a ledger that this node does not host

	// The request itself.
	ReasonInvalidArgument = "INVALID_ARGUMENT"
	ReasonEntryTooLarge   = "ENTRY_TOO_LARGE"
	ReasonKeyTooLong      = "KEY_TOO_LONG"
	ReasonBatchTooLarge   = "BATCH_TOO_LARGE"
	ReasonOutOfRange      = "OUT_OF_RANGE" // a size or an index that no ledger can have, or sizes in the wrong order

	// The ledger's answer.
	ReasonKeyConflict  = "KEY_CONFLICT"
	ReasonSizeMismatch = "SIZE_MISMATCH"
	ReasonRefused      = "REFUSED" // the ledger's program cannot decide an entry of the batch
	ReasonNotFound     = "NOT_FOUND"
	ReasonUnknownID    = "UNKNOWN_ID"    // no account, asset or transfer has this id, as of the size that the answer names
	ReasonWrongProgram = "WRONG_PROGRAM" // the ledger runs another program than the call is for
	ReasonNotSealed    = "NOT_SEALED"
	ReasonCorrupt      = "CORRUPT"    // this node's copy is damaged; another one's may not be
	ReasonNotKept      = "NOT_KEPT"   // the state of the size is not kept any more; the message says which sizes are
	ReasonStateGone    = "STATE_GONE" // the read took so long that the rows of its size are gone; ask again

	// The directory's answer.
	ReasonLedgerExists   = "LEDGER_EXISTS"    // with another program or other parameters
	ReasonTooManyLedgers = "TOO_MANY_LEDGERS" // the cluster has as many as its configuration allows
	ReasonUnknownLedger  = "UNKNOWN_LEDGER"   // the cluster has no ledger of this name
	ReasonMemberRefused  = "MEMBER_REFUSED"   // the node cannot be added, promoted or removed; the message says what to do
	ReasonUnimplemented  = "UNIMPLEMENTED"    // this node was not given what the call needs

	// Another node, or later.
	ReasonNotLeader      = "NOT_LEADER"
	ReasonNoLeader       = "NO_LEADER"
	ReasonOverloaded     = "OVERLOADED"
	ReasonTooMany        = "TOO_MANY_REQUESTS"
	ReasonStopping       = "STOPPING"
	ReasonHalted         = "HALTED" // this node's replica of the ledger has stopped; the others serve it
	ReasonBehind         = "BEHIND" // this node has not applied what the client has seen, or does not know its ledgers yet
	ReasonSlowConsumer   = "SLOW_CONSUMER"
	ReasonDeadline       = "DEADLINE"
	ReasonOutcomeUnknown = "OUTCOME_UNKNOWN"
	ReasonInternal       = "INTERNAL"
	ReasonUnknownNode    = "UNKNOWN_NODE"
	ReasonPolicy         = "POLICY"          // the policy of the ledger cannot change so, or not now
	ReasonNotTransferred = "NOT_TRANSFERRED" // nobody took leadership over in time, or nobody can
)

// refusal is an error as the client gets it.
type refusal struct {
	code       codes.Code
	reason     string
	message    string
	indefinite bool
	retry      time.Duration // 0: nothing is known
	metadata   map[string]string
	detail     *cairnv1.ErrorDetail // holds the cause, or nil; errorDetail fills in the rest
}

func refuse(code codes.Code, reason, message string) *refusal {
	return &refusal{code: code, reason: reason, message: message}
}

func (r *refusal) Error() string { return r.message }

// errorDetail returns the detail message with everything filled in.
func (r *refusal) errorDetail() *cairnv1.ErrorDetail {
	d := &cairnv1.ErrorDetail{Outcome: cairnv1.Outcome_OUTCOME_DEFINITE}
	if r.indefinite {
		d.Outcome = cairnv1.Outcome_OUTCOME_INDEFINITE
	}
	if r.detail != nil {
		d.Cause = r.detail.Cause
	}
	d.RetryAfterMs = uint32(min(r.retry, time.Hour) / time.Millisecond)
	return d
}

// GRPCStatus makes the refusal a status for gRPC.
func (r *refusal) GRPCStatus() *status.Status {
	details := []protoadapt.MessageV1{
		protoadapt.MessageV1Of(&errdetails.ErrorInfo{Reason: r.reason, Domain: ErrorDomain, Metadata: r.metadata}),
		protoadapt.MessageV1Of(r.errorDetail()),
	}
	if r.retry > 0 {
		details = append(details, protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: durationpb.New(r.retry)}))
	}
	st, err := status.New(r.code, r.message).WithDetails(details...)
	if err != nil {
		// Text that is not UTF-8 does not encode. This runs within gRPC's locks, where a panic
		// would leave them held; a client takes an error without details for an unknown outcome,
		// which is never wrong.
		return status.New(r.code, strings.ToValidUTF8(r.message, "?"))
	}
	return st
}

// streamError is the refusal as part of an AppendStream.
func (r *refusal) streamError() *cairnv1.StreamError {
	return &cairnv1.StreamError{Code: int32(r.code), Message: r.message, Reason: r.reason, Detail: r.errorDetail()}
}

// limit adds what was exceeded.
func (r *refusal) limit(what string, limit, got uint64, position int) *refusal {
	r.detail = &cairnv1.ErrorDetail{Cause: &cairnv1.ErrorDetail_Limit{Limit: &cairnv1.Limit{What: what, Limit: limit, Got: got, Position: uint32(position)}}}
	return r
}

// resume adds where the stream may go on.
func (r *refusal) resume(next uint64) *refusal {
	r.detail = &cairnv1.ErrorDetail{Cause: &cairnv1.ErrorDetail_Resume{Resume: &cairnv1.Resume{Next: next}}}
	return r
}

// electionPause is how long a client waits before it asks again who leads, or whether the node hosts
// its ledger.
const electionPause = 50 * time.Millisecond

// explain turns an error of the backend or the ledger into what the client gets. An error that
// nobody expects is INTERNAL, and its outcome unknown.
func explain(err error) *refusal {
	var (
		already  *refusal
		leader   *NotLeaderError
		overload *OverloadedError
		busy     *ledger.BusyError
		conflict *ledger.ConflictError
		size     *ledger.SizeMismatchError
		refused  *ledger.RefusedError
		missing  *ledger.NotFoundError
		corrupt  *ledger.CorruptError
		exists   *LedgerExistsError
		halted   *HaltedError
		tooMany  *TooManyLedgersError
		member   *MemberRefusedError
		policy   *PolicyError
	)
	switch {
	case errors.As(err, &already):
		return already
	// First: whatever the cause, an unknown outcome stays unknown.
	case errors.Is(err, ErrIndefinite):
		r := refuse(codes.Unavailable, ReasonOutcomeUnknown, err.Error())
		if errors.Is(err, context.DeadlineExceeded) {
			r.code = codes.DeadlineExceeded
		}
		r.indefinite = true
		return r
	case errors.As(err, &leader):
		return explainLeader(leader)
	case errors.As(err, &overload):
		r := refuse(codes.ResourceExhausted, ReasonOverloaded, err.Error())
		r.retry = max(overload.RetryAfter, time.Millisecond)
		return r
	case errors.As(err, &halted):
		return refuse(codes.Unavailable, ReasonHalted, halted.Error())
	case errors.As(err, &busy):
		r := refuse(codes.ResourceExhausted, ReasonOverloaded, err.Error())
		r.retry = max(busy.RetryAfter, time.Millisecond)
		return r
	case errors.Is(err, ErrStopped), errors.Is(err, ledger.ErrClosed):
		return refuse(codes.Unavailable, ReasonStopping, "the node is stopping")
	case errors.As(err, &conflict):
		r := refuse(codes.AlreadyExists, ReasonKeyConflict, err.Error())
		r.detail = &cairnv1.ErrorDetail{Cause: &cairnv1.ErrorDetail_KeyConflict{KeyConflict: &cairnv1.KeyConflict{
			Key: conflict.Key, Index: conflict.Index, StoredDigest: conflict.StoredDigest[:], OfferedDigest: conflict.OfferedDigest[:],
		}}}
		return r
	case errors.As(err, &size):
		r := refuse(codes.FailedPrecondition, ReasonSizeMismatch, err.Error())
		r.detail = &cairnv1.ErrorDetail{Cause: &cairnv1.ErrorDetail_SizeMismatch{SizeMismatch: &cairnv1.SizeMismatch{Expected: size.Expected, Actual: size.Actual}}}
		return r
	case errors.As(err, &refused):
		return refuse(codes.InvalidArgument, ReasonRefused, err.Error())
	case errors.Is(err, ledger.ErrBadBatch):
		return refuse(codes.InvalidArgument, ReasonInvalidArgument, err.Error())
	case errors.As(err, &missing):
		return refuse(codes.NotFound, ReasonNotFound, err.Error())
	case errors.Is(err, ledger.ErrNotSealed):
		return refuse(codes.FailedPrecondition, ReasonNotSealed, "no sealed checkpoint covers this yet")
	case errors.As(err, &corrupt):
		return refuse(codes.DataLoss, ReasonCorrupt, "this node's copy is damaged: "+err.Error())
	case errors.Is(err, ledger.ErrStateGone):
		return refuse(codes.Aborted, ReasonStateGone, err.Error()+": ask again")
	case errors.Is(err, ErrNotTransferred):
		r := refuse(codes.FailedPrecondition, ReasonNotTransferred, err.Error())
		r.indefinite = true
		return r
	case errors.Is(err, ErrNoSuccessor):
		return refuse(codes.FailedPrecondition, ReasonNotTransferred, err.Error()+"; if there are others, see whether they run")
	case errors.As(err, &tooMany):
		return refuse(codes.FailedPrecondition, ReasonTooManyLedgers, tooMany.Error())
	case errors.As(err, &exists):
		return refuse(codes.AlreadyExists, ReasonLedgerExists, err.Error())
	case errors.As(err, &member):
		return refuse(codes.FailedPrecondition, ReasonMemberRefused, member.Error())
	case errors.As(err, &policy):
		return refuse(codes.FailedPrecondition, ReasonPolicy, err.Error())
	case errors.Is(err, ErrBadLedger):
		return refuse(codes.InvalidArgument, ReasonInvalidArgument, err.Error())
	case errors.Is(err, ErrUnknownLedger):
		return refuse(codes.NotFound, ReasonUnknownLedger, err.Error()+"; `cairn ledger list` shows which there are")
	case errors.Is(err, ErrUnknownNode):
		return refuse(codes.NotFound, ReasonUnknownNode, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return refuse(codes.DeadlineExceeded, ReasonDeadline, "the deadline passed")
	case errors.Is(err, context.Canceled):
		return refuse(codes.Canceled, ReasonDeadline, "the caller gave up")
	}
	r := refuse(codes.Internal, ReasonInternal, "internal error: "+err.Error())
	r.indefinite = true
	return r
}

func explainLeader(e *NotLeaderError) *refusal {
	if e.LeaderName == "" {
		r := refuse(codes.Unavailable, ReasonNoLeader, e.Error())
		r.retry = electionPause
		return r
	}
	r := refuse(codes.Unavailable, ReasonNotLeader, e.Error())
	r.metadata = map[string]string{"leader": e.LeaderName, "leader_address": e.LeaderAddr}
	r.detail = &cairnv1.ErrorDetail{Cause: &cairnv1.ErrorDetail_NotLeader{NotLeader: &cairnv1.LeaderHint{Name: e.LeaderName, Address: e.LeaderAddr}}}
	return r
}

// definite marks the error of a read: whatever went wrong, a read has no effect.
func definite(err error) error {
	if err == nil {
		return nil
	}
	r := *explain(err)
	r.indefinite = false
	return &r
}
