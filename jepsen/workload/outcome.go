package workload

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/merkle"
)

// refusal is what a failed call says.
type refusal struct {
	outcome history.Outcome // Fail or Info
	reason  history.Reason
	word    string // the API's reason, "" if the node did not speak
	seen    uint64 // of a conflict or size mismatch
	leader  string // of a node that does not lead: who does, if it knows
	waitMS  uint32 // before another attempt
	text    string // for people
}

// understand turns the error of a call into an outcome. sent says whether the
// request may have left this process.
func understand(err error, sent bool) refusal {
	var detail *cairnv1.ErrorDetail
	st := status.Convert(err)
	r := refusal{text: st.Message()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *cairnv1.ErrorDetail:
			detail = d
		case *errdetails.ErrorInfo:
			r.word = d.GetReason()
		}
	}
	if detail == nil {
		// The node said nothing: only what was never sent has certainly no effect.
		if !sent {
			r.outcome, r.reason = history.Fail, history.Refused
		}
		return r
	}
	return r.fill(detail)
}

// understandStream is understand for the failure of one request of a stream.
func understandStream(e *cairnv1.StreamError) refusal {
	return refusal{word: e.GetReason(), text: e.GetMessage()}.fill(e.GetDetail())
}

func (r refusal) fill(d *cairnv1.ErrorDetail) refusal {
	r.waitMS = d.GetRetryAfterMs()
	if d.GetOutcome() != cairnv1.Outcome_OUTCOME_DEFINITE {
		return r
	}
	r.outcome, r.reason = history.Fail, history.Refused
	switch c := d.GetCause().(type) {
	case *cairnv1.ErrorDetail_KeyConflict:
		r.reason, r.seen = history.Conflict, c.KeyConflict.GetIndex()
	case *cairnv1.ErrorDetail_SizeMismatch:
		r.reason, r.seen = history.SizeMismatch, c.SizeMismatch.GetActual()
	case *cairnv1.ErrorDetail_NotLeader:
		r.leader = c.NotLeader.GetName()
	}
	return r
}

// blames says that a node fails at what it must be able to do, whatever it is asked: it
// met what it did not expect, or cannot read what it holds.
func (r *refusal) blames() bool { return r.word == "INTERNAL" || r.word == "CORRUPT" }

// accuses says that a node finds something wrong with the question itself. OTHER_LEDGER is no such
// word: a node that has just started may not have heard yet which ledgers it hosts. One that never
// hears of it keeps the cluster from coming to rest.
func (r *refusal) accuses() bool {
	switch r.word {
	case "INVALID_ARGUMENT", "OUT_OF_RANGE", "KEY_TOO_LONG", "UNAUTHENTICATED", "PERMISSION_DENIED", "REFUSED":
		return true
	}
	return false
}

// absurd says that an operation names a place or a size which no ledger can have.
func absurd(op *history.Op) bool {
	const most = merkle.MaxSize - 1
	return op.First >= most || op.Size >= most || op.Limit >= most
}

// blame notes a failure for which nothing that a client can ask is an excuse, only a
// disk that cannot be read. asked is when the client asked, on the history's clock.
func (w *Workload) blame(node int, asked int64, r refusal) {
	if !r.blames() || w.opt.Readable != nil && !w.opt.Readable(node, w.start.Add(time.Duration(asked))) {
		return
	}
	w.violate("failure", 0, "node %d says %s: %s", node+1, r.word, r.text)
}
