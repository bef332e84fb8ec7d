package server_test

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
)

// exchange is an instruction of the asker's, who delivers EUR from "a", or of the counterparty.
func exchange(id, amount string, asker bool) *cairnv1.SettlementCommand {
	m := &cairnv1.Instruct{Id: id, Party: "B", Counterparty: "A", SettlementDate: "2020-01-02"}
	if asker {
		m.Party, m.Counterparty = "A", "B"
		m.Delivers = &cairnv1.InstructionLeg{Account: "a", Asset: "EUR", Amount: amount}
	} else {
		m.Receives = &cairnv1.InstructionLeg{Account: "b", Asset: "EUR", Amount: amount}
	}
	return &cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_Instruct{Instruct: m}}
}

func cancel(id string) *cairnv1.SettlementCommand {
	return &cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_Manage{Manage: &cairnv1.ManageInstruction{Id: id, Change: "cancel"}}}
}

// TestInstructions: a participant reads its own instructions and nothing of others; pages go on
// where the last one ended, also when that instruction has become final in between.
func TestInstructions(t *testing.T) {
	t.Parallel()
	_, a := bank(t)
	operator, owner := as(within(t), fakecluster.Principal, "operator"), as(within(t), asker, "participant")
	execute := func(commands ...*cairnv1.SettlementCommand) []*cairnv1.CommandOutcome {
		t.Helper()
		resp, err := a.Execute(operator, &cairnv1.ExecuteRequest{Commands: commands})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetOutcomes()
	}
	for i := range 5 {
		execute(exchange(fmt.Sprintf("i-%d", i), fmt.Sprintf("%d.50", i+1), true), exchange(fmt.Sprintf("x-%d", i), "99", false))
	}
	list := func(limit uint32, between func()) (ids []string) {
		t.Helper()
		req := &cairnv1.ListInstructionsRequest{Limit: limit}
		for {
			resp, err := a.ListInstructions(owner, req)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range resp.GetInstructions() {
				ids = append(ids, i.GetId())
			}
			if between(); resp.GetNext() == "" {
				return ids
			}
			req.Page = resp.GetNext()
		}
	}
	all := []string{"i-0", "i-1", "i-2", "i-3", "i-4"}
	for limit := range uint32(7) {
		if got := list(limit, func() {}); !slices.Equal(got, all) {
			t.Errorf("pages of %d: %v, want %v", limit, got, all)
		}
	}
	n := -1
	got := list(2, func() {
		if n++; n == 0 {
			execute(cancel("i-1"), cancel("i-3")) // the last one of the page, and one of a page to come
		}
	})
	if want := []string{"i-0", "i-1", "i-2", "i-4"}; !slices.Equal(got, want) {
		t.Errorf("with two cancelled between the pages: %v, want %v", got, want)
	}
	for _, page := range []string{"x", "-1 i-0", "5", "5 \x00"} {
		_, err := a.ListInstructions(owner, &cairnv1.ListInstructionsRequest{Page: page})
		demand(t, err, codes.InvalidArgument, server.ReasonInvalidArgument, sure)
	}
	_, err := a.ListInstructions(owner, &cairnv1.ListInstructionsRequest{Status: "open"})
	demand(t, err, codes.InvalidArgument, server.ReasonInvalidArgument, sure)
	for status, want := range map[string]int{"unmatched": 3, "queued": 0} {
		resp, err := a.ListInstructions(owner, &cairnv1.ListInstructionsRequest{Status: status})
		if err != nil || len(resp.GetInstructions()) != want {
			t.Errorf("%s: %v, %v; want %d", status, resp, err, want)
		}
	}

	// One that settles: both sides are told what moved, in units.
	out := execute(exchange("y", "3.50", false))[0]
	if r := out.GetResults(); len(r) != 2 || r[0].GetReceived() != "3.50" || r[0].GetDelivered() != "" || r[1].GetDelivered() != "3.50" || r[1].GetId() != "i-2" {
		t.Errorf("what came of it: %v", r)
	}
	g, err := a.GetInstruction(owner, &cairnv1.GetInstructionRequest{Id: "i-2"})
	if i := g.GetInstruction(); err != nil || i.GetStatus() != "settled" || i.GetMatch() != "y" || i.GetSaid().GetDelivers().GetSettled() != "3.50" || i.GetResolved() != out.GetIndex() {
		t.Errorf("the settled instruction: %v, %v", g, err)
	}
	s, err := a.Statement(owner, &cairnv1.StatementRequest{Account: "a", Limit: 1})
	if err != nil || len(s.GetEntries()) != 1 {
		t.Fatal(s, err)
	}
	if i := s.GetEntries()[0].GetInstructions(); len(i) != 1 || i[0].GetId() != "i-2" || i[0].GetDelivered() != "3.50" {
		t.Errorf("in the statement: %v", s.GetEntries()[0])
	}
	for _, id := range []string{"y", "x-0", "nothing"} {
		_, err := a.GetInstruction(owner, &cairnv1.GetInstructionRequest{Id: id})
		demand(t, err, codes.NotFound, server.ReasonUnknownID, sure)
	}
	// A rejected one is for its author to read.
	denied := exchange("z", "1", false)
	resp, err := a.Execute(owner, &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{denied}})
	if err != nil || resp.GetOutcomes()[0].GetResults()[0].GetReason() != "not_permitted" {
		t.Fatal(resp, err)
	}
	g, err = a.GetInstruction(owner, &cairnv1.GetInstructionRequest{Id: "z"})
	if i := g.GetInstruction(); err != nil || i.GetStatus() != "rejected" || i.GetSaid().GetReceives().GetAmount() != "1" {
		t.Errorf("the rejected instruction: %v, %v", g, err)
	}
	_, err = a.GetInstruction(as(within(t), "spiffe://example.org/svc/other", "participant"), &cairnv1.GetInstructionRequest{Id: "z"})
	demand(t, err, codes.NotFound, server.ReasonUnknownID, sure)
}

// TestRepeatedRequest: of two equal requests that come together, both get the outcome of the first.
// A request that only finds what another one has done is its own.
func TestRepeatedRequest(t *testing.T) {
	t.Parallel()
	_, a := bank(t)
	operator := as(within(t), fakecluster.Principal, "operator")
	manage := func(change, request string) *cairnv1.SettlementCommand {
		return &cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_Manage{Manage: &cairnv1.ManageInstruction{Id: "i-0", Change: change, Request: request}}}
	}
	execute := func(commands ...*cairnv1.SettlementCommand) []*cairnv1.CommandOutcome {
		t.Helper()
		resp, err := a.Execute(operator, &cairnv1.ExecuteRequest{Commands: commands})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetOutcomes()
	}
	execute(exchange("i-0", "1", true))
	out := execute(manage("hold", "r-1"), manage("hold", "r-1"))
	if x, y := out[0], out[1]; x.GetExisted() || !y.GetExisted() || x.GetIndex() != y.GetIndex() || y.GetResults()[0].GetStatus() != "unmatched" {
		t.Errorf("held twice with one request: %v, and %v", x, y)
	}
	out = execute(manage("hold", "r-2"), manage("hold", "r-2"))
	if x, y := out[0], out[1]; !y.GetExisted() || x.GetIndex() != y.GetIndex() || y.GetResults()[0].GetReason() != "instruction_held" {
		t.Errorf("a rejected request twice: %v, and %v", x, y)
	}
	out = execute(manage("cancel", "r-3"), manage("cancel", "r-4"), manage("cancel", "r-4"), manage("cancel", ""))
	for i, want := range []struct {
		status  string
		existed bool
	}{{"cancelled", false}, {"exists", false}, {"exists", true}, {"exists", false}} {
		if x := out[i]; x.GetResults()[0].GetStatus() != want.status || x.GetExisted() != want.existed {
			t.Errorf("cancel %d: %v, want %v", i, x, want)
		}
	}
	if out[1].GetIndex() != out[2].GetIndex() || out[0].GetIndex() == out[1].GetIndex() || out[1].GetResults()[0].GetIndex() != out[0].GetIndex() {
		t.Errorf("the entries of the cancellations: %v", out)
	}
}
