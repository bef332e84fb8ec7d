package server_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
)

// TestPagesShowNothing: where the next page of a list begins is behind a row of somebody else, and the
// cursor tells nothing of it. It is for its caller, its call and its ledger alone.
func TestPagesShowNothing(t *testing.T) {
	t.Parallel()
	_, a := bank(t)
	operator, owner := as(within(t), fakecluster.Principal, "operator"), as(within(t), asker, "participant")
	const secret = "secret-of-another-one"
	var commands []*cairnv1.SettlementCommand
	submit := func(id, from, to string) {
		commands = append(commands, &cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_Submit{Submit: &cairnv1.SubmitTransfers{
			Pending: true, Transfers: []*cairnv1.Transfer{{Id: id, Debit: from, Credit: to, Amount: "1"}},
		}}})
	}
	for i := range 4 {
		id := fmt.Sprintf("%d-%s", i, secret)
		commands = append(commands, &cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_OpenAccount{OpenAccount: &cairnv1.OpenAccount{Id: id, Asset: "EUR"}}})
		submit(fmt.Sprintf("m-%d-own", i), "a", "b")
		submit("m-"+id, "b", id)
	}
	if _, err := a.Execute(operator, &cairnv1.ExecuteRequest{Commands: commands}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		given, foreign := exchange(fmt.Sprintf("i-%d", i), "1", true), exchange(fmt.Sprintf("x-%d-%s", i, secret), "2", false)
		if _, err := a.Execute(operator, &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{given, foreign}}); err != nil {
			t.Fatal(err)
		}
	}
	type answer struct {
		ids  []string
		next string
	}
	lists := map[string]func(ctx context.Context, page string) (answer, error){
		"ListAccounts": func(ctx context.Context, page string) (x answer, err error) {
			resp, err := a.ListAccounts(ctx, &cairnv1.ListAccountsRequest{Limit: 1, Page: page})
			for _, r := range resp.GetAccounts() {
				x.ids = append(x.ids, r.GetId())
			}
			x.next = resp.GetNext()
			return x, err
		},
		"ListTransfers": func(ctx context.Context, page string) (x answer, err error) {
			resp, err := a.ListTransfers(ctx, &cairnv1.ListTransfersRequest{Prefix: "m-", Limit: 1, Page: page})
			for _, r := range resp.GetTransfers() {
				x.ids = append(x.ids, r.GetId())
			}
			x.next = resp.GetNext()
			return x, err
		},
		"ListHolds": func(ctx context.Context, page string) (x answer, err error) {
			resp, err := a.ListHolds(ctx, &cairnv1.ListHoldsRequest{Limit: 1, Page: page})
			for _, r := range resp.GetHolds() {
				x.ids = append(x.ids, r.GetId())
			}
			x.next = resp.GetNext()
			return x, err
		},
		"ListInstructions": func(ctx context.Context, page string) (x answer, err error) {
			resp, err := a.ListInstructions(ctx, &cairnv1.ListInstructionsRequest{Limit: 1, Page: page})
			for _, r := range resp.GetInstructions() {
				x.ids = append(x.ids, r.GetId())
			}
			x.next = resp.GetNext()
			return x, err
		},
	}
	own := []string{"m-0-own", "m-1-own", "m-2-own", "m-3-own"}
	want := map[string][]string{"ListAccounts": {"a"}, "ListTransfers": own, "ListHolds": own, "ListInstructions": {"i-0", "i-1", "i-2"}}
	pages, lengths := map[string]string{}, map[int]bool{}
	for call, list := range lists {
		var ids []string
		for page := ""; ; {
			got, err := list(owner, page)
			if err != nil {
				t.Fatalf("%s: %v", call, err)
			}
			ids = append(ids, got.ids...)
			if got.next == "" {
				break
			}
			raw, err := base64.RawURLEncoding.DecodeString(got.next)
			if err != nil || strings.Contains(string(raw), secret) || strings.Contains(string(raw), "-own") {
				t.Errorf("%s: the cursor %q shows %q, %v", call, got.next, raw, err)
			}
			page, pages[call], lengths[len(raw)] = got.next, got.next, true
		}
		if !slices.Equal(ids, want[call]) {
			t.Errorf("%s: %v, want %v", call, ids, want[call])
		}
	}
	if len(lengths) != 1 {
		t.Errorf("cursors have the lengths %v: they tell how long an id is", lengths)
	}
	other := as(within(t), payee, "participant")
	for call, list := range lists {
		for what, c := range map[string]struct {
			ctx  context.Context
			page string
		}{
			"another caller's":    {other, pages[call]},
			"a changed one":       {owner, pages[call][:len(pages[call])-2] + "AA"},
			"none":                {owner, "m-0-own"},
			"one of another call": {owner, pages[map[bool]string{true: "ListHolds", false: "ListAccounts"}[call == "ListAccounts"]]},
		} {
			_, err := list(c.ctx, c.page)
			if demand(t, err, codes.InvalidArgument, server.ReasonInvalidArgument, sure); err == nil {
				t.Errorf("%s takes the cursor: %s", call, what)
			}
		}
	}
	// A cursor with another prefix is a place like any other.
	for prefix, want := range map[string]int{"a": 0, "m-": 4, "z": 0} {
		first, err := a.ListTransfers(owner, &cairnv1.ListTransfersRequest{Prefix: "m-", Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := a.ListTransfers(owner, &cairnv1.ListTransfersRequest{Prefix: prefix, Page: first.GetNext()})
		if err != nil || len(first.GetTransfers())+len(resp.GetTransfers()) != want && prefix == "m-" || prefix != "m-" && len(resp.GetTransfers()) > 0 {
			t.Errorf("prefix %s: %v, %v", prefix, resp, err)
		}
	}
	_, err := a.ListTransfers(owner, &cairnv1.ListTransfersRequest{})
	demand(t, err, codes.InvalidArgument, server.ReasonInvalidArgument, sure)
}

// TestGetOutcome: a participant reads what came of the commands that touched its accounts, with its
// own lines alone; without the results where the entry touched other accounts that it does not own.
func TestGetOutcome(t *testing.T) {
	t.Parallel()
	hosted, a := bank(t)
	operator, owner := as(within(t), fakecluster.Principal, "operator"), as(within(t), asker, "participant")
	executed, err := a.Execute(operator, &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{pay("t-1", "2")}})
	if err != nil {
		t.Fatal(err)
	}
	index := executed.GetOutcomes()[0].GetIndex()
	all, err := a.GetOutcome(operator, &cairnv1.GetOutcomeRequest{Index: index})
	if err != nil || len(all.GetOutcome().GetResults()) != 1 || len(all.GetOutcome().GetLines()) != 2 || all.GetOutcome().GetIndex() != index {
		t.Errorf("an operator gets %v, %v", all, err)
	}
	mine, err := a.GetOutcome(owner, &cairnv1.GetOutcomeRequest{Index: index})
	if err != nil || len(mine.GetOutcome().GetResults()) != 0 || len(mine.GetOutcome().GetLines()) != 1 || mine.GetOutcome().GetLines()[0].GetAccount() != "a" ||
		len(mine.GetOutcome().GetLines()[0].GetDetail()) == 0 {
		t.Errorf("the payer gets %v, %v", mine, err)
	}
	executed, err = a.Execute(owner, &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{pay("t-2", "2")}})
	if err != nil {
		t.Fatal(err)
	}
	asked, err := a.GetOutcome(owner, &cairnv1.GetOutcomeRequest{Index: executed.GetOutcomes()[0].GetIndex()})
	if err != nil || len(asked.GetOutcome().GetResults()) != 1 || len(asked.GetOutcome().GetLines()) != 1 {
		t.Errorf("who asked gets %v, %v", asked, err)
	}
	size := hosted.Nodes[0].Ledger().Head().Size
	for _, index := range []uint64{0, 2, 3, size - 1, size, 1<<64 - 1} { // the genesis, others' commands, a record, nothing
		if _, err := a.GetOutcome(as(within(t), payee, "participant"), &cairnv1.GetOutcomeRequest{Index: index}); err == nil {
			t.Errorf("entry %d is told to a stranger", index)
		} else {
			demand(t, err, codes.NotFound, server.ReasonUnknownID, sure)
		}
	}
}
