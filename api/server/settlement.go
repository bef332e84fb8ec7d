package server

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/settlepb"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/settlement"
)

// settles says whether the ledger that the caller names runs the program settlement.
func settles(ctx context.Context) error {
	if p := backend(ctx).Ledger().Program(); p.Name() != settlement.ProgramName {
		return refuse(codes.FailedPrecondition, ReasonWrongProgram, fmt.Sprintf("the ledger %s runs the program %s, not settlement", backend(ctx).Origin(), p.Name()))
	}
	return nil
}

// execution is one request to Execute.
type execution struct {
	req *cairnv1.ExecuteRequest
	// known has the entries that decided commands before; a command that is not in it is in batch.
	known map[int]uint64
	batch ledger.Batch
}

// Execute implements cairnv1.SettlementServer.
func (s *Server) Execute(ctx context.Context, req *cairnv1.ExecuteRequest) (*cairnv1.ExecuteResponse, error) {
	e, err := s.execution(ctx, req)
	if err != nil {
		return nil, definite(err)
	}
	var result ledger.Result
	if len(e.batch.Entries) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err // nothing has happened yet
		}
		if result, err = backend(ctx).Append(ctx, e.batch); err != nil {
			return nil, err
		}
	}
	return s.executed(ctx, e, result)
}

// ExecuteStream implements cairnv1.SettlementServer.
func (s *Server) ExecuteStream(stream grpc.BidiStreamingServer[cairnv1.ExecuteStreamRequest, cairnv1.ExecuteStreamResponse]) error {
	d := &duplex[cairnv1.ExecuteStreamRequest, cairnv1.ExecuteStreamResponse]{
		s: s, method: cairnv1.Settlement_ExecuteStream_FullMethodName, stream: stream,
		id: (*cairnv1.ExecuteStreamRequest).GetRequestId,
		failed: func(id uint64, e *cairnv1.StreamError) *cairnv1.ExecuteStreamResponse {
			return &cairnv1.ExecuteStreamResponse{RequestId: id, Result: &cairnv1.ExecuteStreamResponse_Error{Error: e}}
		},
	}
	d.job = func(ctx context.Context, req *cairnv1.ExecuteStreamRequest) (job[cairnv1.ExecuteStreamResponse], error) {
		j := job[cairnv1.ExecuteStreamResponse]{waits: true} // an answer reads what came of the commands
		e, err := s.execution(ctx, req.GetExecute())
		if err != nil {
			return j, definite(err)
		}
		if j.batch = e.batch; req.GetExecute().GetWait() == cairnv1.Wait_WAIT_SEALED {
			j.receipts = len(req.GetExecute().GetCommands())
		}
		j.answer = func(ctx context.Context, r ledger.Result) (*cairnv1.ExecuteStreamResponse, error) {
			resp, err := s.executed(ctx, e, r)
			return &cairnv1.ExecuteStreamResponse{RequestId: req.GetRequestId(), Result: &cairnv1.ExecuteStreamResponse_Response{Response: resp}}, err
		}
		return j, nil
	}
	return d.serve()
}

// execution turns a request into a batch of the caller's commands, without those that are decided
// already, or says what is wrong with it.
func (s *Server) execution(ctx context.Context, req *cairnv1.ExecuteRequest) (*execution, error) {
	if err := settles(ctx); err != nil {
		return nil, err
	}
	n := len(req.GetCommands())
	if n == 0 {
		return nil, refuse(codes.InvalidArgument, ReasonInvalidArgument, "a request needs at least one command")
	}
	if n > s.limits.BatchEntries {
		return nil, refuse(codes.InvalidArgument, ReasonBatchTooLarge, fmt.Sprintf("a request has at most %d commands, and %d times as many parts", s.limits.BatchEntries, partsPerEntry)).
			limit("batch entries", uint64(s.limits.BatchEntries), uint64(n), 0)
	}
	if err := checkWait(req.GetWait()); err != nil {
		return nil, err
	}
	peer := caller(ctx)
	e := &execution{req: req, batch: ledger.Batch{Principal: peer.Principal}}
	state := backend(ctx).Ledger().State()
	for i, m := range req.GetCommands() {
		action, err := settlepb.Action(m)
		if err != nil {
			return nil, refuse(codes.InvalidArgument, ReasonInvalidArgument, fmt.Sprintf("command %d: %v", i, err))
		}
		index, known, err := settlement.Known(state, []byte(peer.Principal), action)
		if err != nil && !errors.Is(err, ledger.ErrStateGone) {
			return nil, err
		}
		if known {
			if e.known == nil {
				e.known = make(map[int]uint64)
			}
			e.known[i] = index
			continue
		}
		body, err := command(peer, action)
		if err != nil {
			return nil, refuse(codes.InvalidArgument, ReasonInvalidArgument, fmt.Sprintf("command %d: %v", i, err))
		}
		e.batch.Entries = append(e.batch.Entries, ledger.NewEntry{Kind: ledger.KindCommand, Body: body})
	}
	if len(e.batch.Entries) == 0 {
		return e, nil
	}
	return e, s.admissible(backend(ctx), &e.batch)
}

// command encodes an action. A new account gets its secret here unless the caller gave one. Of a
// message that does not fit into the entry, the digest stands for
// it.
func command(peer Peer, action settlement.Action) ([]byte, error) {
	if a, opens := action.(*settlement.OpenAccount); opens && a.Key == (settlement.Key{}) {
		_, _ = rand.Read(a.Key[:]) // it never fails
	}
	c := settlement.Command{Operator: peer.Roles.Has(pki.RoleOperator), Action: action}
	body, err := c.Marshal()
	if err != nil {
		return nil, err
	}
	room := ledger.MaxBody(peer.Principal, 0) - c.MaxOutcome()
	if source := settlement.SourceOf(action); source != nil && len(body) > room && source.Form == settlement.RawSource {
		*source = settlement.NewSource(source.Type, source.Raw, 0)
		if body, err = c.Marshal(); err != nil {
			return nil, err
		}
	}
	if len(body) > room {
		return nil, errors.Newf("it has %d bytes, and an entry has room for %d beside its outcome: split it into several", len(body), max(room, 0))
	}
	return body, nil
}

// executed turns the ledger's decisions into a response, and waits for the seal if that was asked
// for.
func (s *Server) executed(ctx context.Context, e *execution, result ledger.Result) (*cairnv1.ExecuteResponse, error) {
	if result.Err != nil {
		return nil, result.Err
	}
	l := backend(ctx).Ledger()
	indexes := make([]uint64, len(e.req.GetCommands()))
	appended := result.Indexes
	for i := range indexes {
		if index, known := e.known[i]; known {
			indexes[i] = index
			continue
		}
		indexes[i], appended = appended[0], appended[1:]
	}
	resp := &cairnv1.ExecuteResponse{Size: max(result.Size, l.Head().Size), Outcomes: make([]*cairnv1.CommandOutcome, len(indexes))}
	s.metrics.entries.Add(float64(len(result.Indexes)))
	leaves, err := leavesOf(ctx, l, indexes)
	b := newBookkeeping(ctx)
	prove := e.req.GetWait() == cairnv1.Wait_WAIT_SEALED
	for i := 0; i < len(leaves) && err == nil; i++ {
		_, existed := e.known[i]
		resp.Outcomes[i], err = b.decided(indexes[i], leaves[i], existed, prove)
		if err == nil {
			indexes[i] = resp.Outcomes[i].Index
		}
	}
	if err != nil {
		return nil, errors.Wrapf(ErrIndefinite, "the commands are decided, but their outcomes cannot be read here: %v", err)
	}
	if e.req.GetWait() == cairnv1.Wait_WAIT_SEALED {
		resp.Leaves, resp.Sealed = s.receipts(ctx, backend(ctx), indexes, e.req.GetKnownSize())
	}
	return resp, nil
}

// GetOutcome implements cairnv1.SettlementServer. What came of an entry is final: only its absence
// needs an up-to-date node.
func (s *Server) GetOutcome(ctx context.Context, req *cairnv1.GetOutcomeRequest) (*cairnv1.GetOutcomeResponse, error) {
	if err := settles(ctx); err != nil {
		return nil, err
	}
	var missing *ledger.NotFoundError
	if err := s.reachIndex(ctx, req.GetIndex()); err != nil && !errors.As(err, &missing) {
		return nil, definite(err)
	}
	b := newBookkeeping(ctx)
	none := refuse(codes.NotFound, ReasonUnknownID, fmt.Sprintf("no command at index %d that the caller may read is known to the ledger as of size %d", req.GetIndex(), b.state.Size()))
	if req.GetIndex() >= b.state.Size() {
		return nil, none
	}
	leaf, err := b.l.Leaf(req.GetIndex())
	if err != nil {
		return nil, definite(err)
	}
	d, err := settlement.ParseLeaf(req.GetIndex(), leaf)
	if err != nil {
		return nil, none // a record of the ledger
	}
	open, err := b.mayRead(d)
	if err != nil {
		return nil, definite(err)
	}
	out, err := b.outcome(d, true)
	if err != nil {
		return nil, definite(err)
	}
	if !open {
		if out.Results = nil; len(out.Lines) == 0 {
			return nil, none
		}
	}
	return &cairnv1.GetOutcomeResponse{Outcome: out, Size: b.state.Size()}, nil
}

// decided returns what came of a command, with the lines of the accounts that the caller may read,
// and with their details if prove. An entry that only found that another one had decided the same is
// replaced by that one.
func (b *bookkeeping) decided(index uint64, leaf []byte, existed, prove bool) (*cairnv1.CommandOutcome, error) {
	d, err := settlement.ParseLeaf(index, leaf)
	if err != nil {
		return nil, err
	}
	if first, repeats := d.Repeats(); repeats {
		if leaf, err = b.l.Leaf(first); err != nil {
			return nil, err
		}
		before, err := settlement.ParseLeaf(first, leaf)
		if err != nil {
			return nil, err
		}
		if before.IsRepeatedBy(d) {
			d, existed = before, true
		}
	}
	out, err := b.outcome(d, prove)
	if err != nil {
		return nil, err
	}
	out.Existed = existed
	return out, nil
}

// outcome returns the outcome of a command, with the lines of the accounts that the caller may read,
// and with their details if prove.
func (b *bookkeeping) outcome(d *settlement.Decided, prove bool) (*cairnv1.CommandOutcome, error) {
	out := &cairnv1.CommandOutcome{Index: d.Index, Time: d.Entry.Time, Results: settlepb.Results(d.Outcome.Results)}
	if err := addMoved(b.now, d.Outcome.Results, out.Results); err != nil {
		return nil, err
	}
	details, err := b.details(d)
	for i := range details {
		line := settlepb.Line(&details[i].Line)
		if prove {
			line.Detail = details[i].Append(nil)
		}
		out.Lines = append(out.Lines, line)
	}
	return out, err
}
