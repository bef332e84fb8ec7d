package server

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/settlepb"
	"github.com/cairnledger/cairn/settlement"
)

// GetInstruction implements cairnv1.SettlementServer.
func (s *Server) GetInstruction(ctx context.Context, req *cairnv1.GetInstructionRequest) (*cairnv1.GetInstructionResponse, error) {
	b, err := s.books(ctx, req.GetAt())
	if err != nil {
		return nil, definite(err)
	}
	state, err := settlement.ReadInstruction(b.state, req.GetId())
	if errors.Is(err, settlement.ErrUnknown) {
		return nil, unknown("instruction", req.GetId(), b.state.Size())
	}
	if err != nil {
		return nil, definite(err)
	}
	m, err := b.instruction(state)
	if err != nil {
		return nil, definite(err)
	}
	if m == nil {
		return nil, unknown("instruction", req.GetId(), b.state.Size())
	}
	return &cairnv1.GetInstructionResponse{Instruction: m, Size: b.state.Size()}, nil
}

// ListInstructions implements cairnv1.SettlementServer.
func (s *Server) ListInstructions(ctx context.Context, req *cairnv1.ListInstructionsRequest) (*cairnv1.ListInstructionsResponse, error) {
	b, err := s.books(ctx, nil)
	if err != nil {
		return nil, definite(err)
	}
	var status settlement.Status
	if req.GetStatus() != "" {
		if status, err = settlement.ParseStatus(req.GetStatus()); err != nil {
			return nil, refuse(codes.InvalidArgument, ReasonInvalidArgument, err.Error())
		}
	}
	last, err := s.cursors.place(ctx, "instructions", req.GetPage())
	if err != nil {
		return nil, err
	}
	after, since, err := parseInstructionPlace(last)
	if err != nil {
		return nil, definite(err)
	}
	resp := &cairnv1.ListInstructionsResponse{Size: b.state.Size()}
	limit, looks := page(req.GetLimit(), pageRows), 0
	var failed error
	each := func(id string, state *settlement.State) bool {
		if failed = ctx.Err(); failed != nil {
			return false
		}
		if state.Index <= since && after != "" {
			return true // of the pages before
		}
		if len(resp.Instructions) == limit || looks == pageLooks {
			resp.Next = s.cursors.page(ctx, "instructions", last)
			return false
		}
		looks++
		last = fmt.Sprintf("%d %s", state.Index, id)
		if status != 0 && state.Status != status {
			return true
		}
		var m *cairnv1.SettlementInstruction
		if m, failed = b.instruction(state); m != nil {
			resp.Instructions = append(resp.Instructions, m)
		}
		return failed == nil
	}
	err = settlement.OpenInstructions(b.state, after, each)
	if errors.Is(err, settlement.ErrUnknown) {
		// The last one of the page before is final by now: those behind it are found from the first on.
		err = settlement.OpenInstructions(b.state, "", each)
	}
	if err = errors.CombineErrors(err, failed); err != nil {
		return nil, definite(err)
	}
	return resp, nil
}

// parseInstructionPlace returns the instruction that a page begins behind, and the entry that gave it.
func parseInstructionPlace(place string) (after string, since uint64, err error) {
	if place == "" {
		return "", 0, nil
	}
	index, after, _ := strings.Cut(place, " ")
	since, err = strconv.ParseUint(index, 10, 64)
	return after, since, err
}

// instruction returns what became of an instruction as a message; nil when the caller may not read
// it: whoever may read one of its accounts, or has given it, may.
func (b *bookkeeping) instruction(state *settlement.State) (*cairnv1.SettlementInstruction, error) {
	seen := b.all
	if i := state.Instruction; i != nil {
		for _, account := range []string{i.Delivers.Account, i.Receives.Account} {
			if account == "" || seen {
				continue
			}
			var err error
			if seen, err = b.sees(account); err != nil {
				return nil, err
			}
		}
	}
	leaf, err := b.l.Leaf(state.Index)
	if err != nil {
		return nil, err
	}
	d, err := settlement.ParseLeaf(state.Index, leaf)
	if err != nil {
		return nil, err
	}
	if !seen && d.Entry.Principal != b.who {
		return nil, nil
	}
	instruct, ok := d.Command.Action.(*settlement.Instruct)
	if !ok {
		return nil, errors.Newf("entry %d gives no instruction", state.Index)
	}
	scales, err := scalesOf(b.state, state.Instruction)
	if err != nil {
		return nil, err
	}
	return settlepb.Instruction(state, settlepb.Instruct(instruct), scales), nil
}

// settledOn returns the instructions with a leg on an account that an entry settled, in whole or in
// part, with what it moved.
func (b *bookkeeping) settledOn(m *settlement.Movement, account string) ([]*cairnv1.SettlementInstruction, error) {
	var list []*cairnv1.SettlementInstruction
	for i := range m.Outcome.Results {
		r := &m.Outcome.Results[i]
		if r.Delivered.IsZero() && r.Received.IsZero() {
			continue
		}
		state, err := settlement.ReadInstruction(b.state, r.ID)
		if err != nil {
			return nil, err
		}
		if x := state.Instruction; x.Delivers.Account != account && x.Receives.Account != account {
			continue
		}
		message, err := b.instruction(state)
		if err != nil {
			return nil, err
		}
		scales, err := scalesOf(b.state, state.Instruction)
		if err != nil {
			return nil, err
		}
		if message != nil {
			message.Delivered, message.Received = settlepb.Moved(r, state.Instruction, scales)
			list = append(list, message)
		}
	}
	return list, nil
}

// addMoved adds what a command moved for instructions to the messages about its results.
func addMoved(r settlement.Reader, results []settlement.Result, messages []*cairnv1.SettlementResult) error {
	for i := range results {
		if status := results[i].Status; status != settlement.Settled && status != settlement.PartlySettled {
			continue
		}
		state, err := settlement.ReadInstruction(r, results[i].ID)
		if err != nil {
			return err
		}
		scales, err := scalesOf(r, state.Instruction)
		if err != nil {
			return err
		}
		messages[i].Delivered, messages[i].Received = settlepb.Moved(&results[i], state.Instruction, scales)
	}
	return nil
}

// scalesOf returns the digits of the assets of an instruction; nil is one that was rejected.
func scalesOf(r settlement.Reader, i *settlement.Instruction) (s settlepb.Scales, err error) {
	if i == nil {
		return s, nil
	}
	for _, leg := range []struct {
		account string
		scale   *uint8
	}{{i.Delivers.Account, &s.Delivers}, {i.Receives.Account, &s.Receives}} {
		if leg.account == "" {
			continue
		}
		a, _, err := settlement.ReadAccount(r, leg.account)
		if err != nil {
			return s, err
		}
		*leg.scale = a.Scale
	}
	return s, nil
}
