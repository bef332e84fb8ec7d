package main

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/settlement"
)

func decimal(t *testing.T, s string) settlement.Decimal {
	t.Helper()
	d, err := settlement.ParseDecimal(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// decidedBy is an entry of a settlement ledger.
func decidedBy(t *testing.T, operator bool, action settlement.Action, o settlement.Outcome) *ledger.Entry {
	t.Helper()
	body, err := (&settlement.Command{Operator: operator, Action: action}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &ledger.Entry{Kind: ledger.KindCommand, Time: 7, Principal: "spiffe://example.org/svc/bank", Body: body, Outcome: o.Marshal()}
}

func results(all ...settlement.Result) settlement.Outcome { return settlement.Outcome{Results: all} }

// TestSettlementInWords: every command of a settlement ledger and what came of it are printed in
// words and as objects, whether or not the ledger's program is known.
func TestSettlementInWords(t *testing.T) {
	t.Parallel()
	yes, limit := true, decimal(t, "7.5")
	transfer := func(id, amount string) settlement.Transfer {
		return settlement.Transfer{ID: id, Debit: "alice", Credit: "bob", Amount: decimal(t, amount), Asset: "EUR"}
	}
	rich := transfer("t-1", "12.34")
	rich.Original, rich.References = "t-0", settlement.References(map[settlement.ReferenceKind]string{settlement.EndToEndID: "E2E 7", settlement.Note: "x\u202e"})
	posted, done := settlement.Result{Status: settlement.Posted}, settlement.Result{Status: settlement.Done}
	for name, c := range map[string]struct {
		e      *ledger.Entry
		line   string
		text   []string
		object []string
	}{
		"create asset": {decidedBy(t, true, &settlement.CreateAsset{ID: "EUR", Scale: 2}, results(done)),
			"create the asset EUR with 2 digits behind the point -> done", []string{"as operator"},
			[]string{`"command":{"by_operator":true,"create_asset":{"id":"EUR","scale":2}}`, `"outcome":{"results":[{"status":"done"}]}`}},
		"open account": {decidedBy(t, true, &settlement.OpenAccount{ID: "alice", Asset: "EUR", Flags: settlement.DebitsLimited | settlement.Frozen, Limit: limit, Owners: []string{"spiffe://example.org/svc/a"}}, results(done)),
			"open the account alice in EUR -> done", []string{"limit debits exceed credits by at most 7.5", "frozen yes", "owner spiffe://example.org/svc/a"},
			[]string{`"open_account":{"id":"alice","asset":"EUR","debits_limited":true,"frozen":true,"limit":"7.5","owners":["spiffe://example.org/svc/a"]}`}},
		"change account": {decidedBy(t, true, &settlement.ChangeAccount{ID: "alice", Frozen: &yes, Limit: &limit, SetOwners: true}, results(done)),
			"change the account alice: freeze, limit 7.5, 0 owners -> done", nil, []string{`"change_account":{"id":"alice","frozen":true,"limit":"7.5","owners":[]}`}},
		"transfer": {decidedBy(t, false, &settlement.Submit{Transfers: []settlement.Transfer{rich}, Source: settlement.NewSource("pacs.008.001.08", []byte("<x/>"), 0),
			Conditions: []settlement.Condition{{Kind: settlement.BalanceAtLeast, ID: "alice", Amount: limit}, {Kind: settlement.AccountVersion, ID: "bob", Number: 3},
				{Kind: settlement.EntryState, ID: "t-0", State: settlement.Posted}, {Kind: settlement.NotBefore, Number: 1e15}, {Kind: settlement.Deadline, Number: 2e15}}}, results(posted)),
			"transfer t-1: 12.34 EUR from alice to bob, a return of t-0 -> posted",
			[]string{"command transfer 1 amount", "if alice has at least 7.5 available", "if bob was touched by 3 entries", "if t-0 is posted",
				"if it is 2001-09-09T01:46:40.000000Z or later", "end_to_end_id E2E 7", `note "x\u202e"`},
			[]string{`"references":{"end_to_end_id":"E2E 7",`, `"source":{"type":"pacs.008.001.08","size":4,"sha256":"`, `{"kind":"deadline","number":2000000000000000}`}},
		"set": {decidedBy(t, false, &settlement.Submit{Set: "s-1", Pending: true, Timeout: 90_000_000, Transfers: []settlement.Transfer{transfer("t-1", "1"), transfer("t-2", "2")}},
			results(settlement.Result{Status: settlement.Rejected, Reason: settlement.SetMemberRejected, Member: 1, Cause: settlement.AccountUnknown})),
			"reserve as the set s-1: t-1: 1 EUR from alice to bob; t-2: 2 EUR from alice to bob -> rejected (set_member_rejected: transfer 1, account_unknown)",
			[]string{"for 1m30s", "reserve t-2: 2 EUR from alice to bob"}, []string{`"pending":true,"timeout":"1m30s"`, `"reason":"set_member_rejected","iso_code":"NARR"`}},
		"many": {decidedBy(t, false, &settlement.Submit{Transfers: []settlement.Transfer{transfer("a", "1"), transfer("b", "2"), transfer("c", "3"), transfer("d", "4")}},
			results(posted, settlement.Result{Status: settlement.Exists, Index: 9}, posted, settlement.Result{Status: settlement.Conflict, Index: 8})),
			"; c: 3 EUR from alice to bob; and 1 more -> 2 posted; 1 exists, see entry 9; 1 conflict, see entry 8",
			[]string{"result b: exists, see entry 9"}, []string{`{"id":"d","status":"conflict","index":8}`}},
		"for ever": {decidedBy(t, false, &settlement.Submit{Pending: true, Timeout: math.MaxInt64, Transfers: []settlement.Transfer{transfer("a", "1")}}, results(settlement.Result{Status: settlement.Pending})),
			"reserve a: 1 EUR from alice to bob -> pending", []string{"for 9223372036854775807 µs"}, nil},
		"post":         {decidedBy(t, false, &settlement.Resolve{ID: "t-1"}, results(posted)), "post t-1 -> posted", nil, []string{`"resolve":{"id":"t-1","void":false}`}},
		"post a part":  {decidedBy(t, false, &settlement.Resolve{ID: "t-1", Amounts: []settlement.Partial{{Amount: limit}}}, results(posted)), "post t-1, 7.5 of it -> posted", nil, []string{`"amounts":[{"amount":"7.5"}]`}},
		"post of some": {decidedBy(t, false, &settlement.Resolve{ID: "s", Amounts: []settlement.Partial{{ID: "t-1", Amount: limit}}}, results(posted)), "post s, 7.5 of t-1 -> posted", nil, nil},
		"void":         {decidedBy(t, true, &settlement.Resolve{ID: "t-1", Void: true}, results(settlement.Result{Status: settlement.Voided})), "void t-1 -> voided", nil, []string{`"void":true`}},
		"advance": {decidedBy(t, false, &settlement.Advance{}, results(settlement.Result{Status: settlement.Expired, ID: "t-1", Index: 4}, settlement.Result{Status: settlement.Expired, ID: "t-2", Index: 5})),
			"do the work that is due -> 2 expired", []string{"result t-2: expired"}, []string{`"advance":true`, `{"id":"t-1","status":"expired","index":4}`}},
		"instruct": {decidedBy(t, false, &settlement.Instruct{
			ID: "i-1", Party: "BANKDEFF", Counterparty: "BANKFRPP", Delivers: &settlement.Leg{Account: "alice", Asset: "EUR", Amount: decimal(t, "12.34")},
			Receives: &settlement.Leg{Account: "alice-shares", Asset: "US0378331005", Amount: decimal(t, "5")}, TradeDate: 20000, SettlementDate: 20002, Common: "C 1",
			Held: true, Partial: true, Priority: 2, Expires: 2e15, References: settlement.References(map[settlement.ReferenceKind]string{settlement.Note: "x"}),
			Source: settlement.NewSource("sese.023.001.07", []byte("<x/>"), 9),
		}, results(settlement.Result{Status: settlement.Queued, Reason: settlement.InsufficientFunds, ID: "i-1", Index: 3}, settlement.Result{Status: settlement.Queued, Reason: settlement.InsufficientFunds, ID: "i-0", Index: 4})),
			"instruct i-1: deliver 12.34 EUR from alice, receive 5 US0378331005 on alice-shares -> 2 queued (insufficient_funds)",
			[]string{"party BANKDEFF", "counterparty BANKFRPP", "settles on 2024-10-06", "traded on 2024-10-04", "reference C 1", "expires 2033-05-18T03:33:20.000000Z",
				"is on hold, in parts, too, priority 2", "note x", "source sese.023.001.07, 4 bytes", "result i-0: queued (insufficient_funds)"},
			[]string{`"instruct":{"id":"i-1","party":"BANKDEFF","counterparty":"BANKFRPP","delivers":{"account":"alice","asset":"EUR","amount":"12.34"},"receives":{`,
				`"settlement_date":"2024-10-06","common_reference":"C 1","on_hold":true,"partial":true,"priority":2,`, `"source":{"type":"sese.023.001.07","size":4}`}},
		"settled": {decidedBy(t, false, &settlement.Manage{Request: "r-1", ID: "i-1", Change: settlement.ManageRelease}, results(
			settlement.Result{Status: settlement.Settled, ID: "i-1", Index: 3, Delivered: settlement.AmountOf(1234), Received: settlement.AmountOf(5)},
			settlement.Result{Status: settlement.Settled, ID: "i-0", Index: 4, Delivered: settlement.AmountOf(5), Received: settlement.AmountOf(1234)})),
			"release the instruction i-1 -> 2 settled", []string{"request r-1", "result i-1: settled", "moved delivers 1234 and receives 5 minor units"},
			[]string{`"manage":{"request":"r-1","id":"i-1","change":"release"}`, `{"id":"i-1","status":"settled","index":3,"delivered_minor_units":"1234","received_minor_units":"5"}`}},
		"no work": {decidedBy(t, false, &settlement.Advance{}, results()), "do the work that is due -> nothing to do", nil, []string{`"outcome":{"results":[]}`}},
		"accounts": {decidedBy(t, false, &settlement.Submit{Transfers: []settlement.Transfer{transfer("t-1", "1")}}, settlement.Outcome{
			Results: []settlement.Result{posted},
			Touched: []settlement.Touched{{Account: "alice", Head: merkle.Hash{0xab}}},
		}), "-> posted", []string{"touched alice"}, []string{`"accounts":[{"account":"alice","head":"ab00`}},
	} {
		for _, program := range []string{settlement.ProgramName, ""} {
			r := newEntry(program, 4, c.e)
			if line := rendered(0, r.line); !strings.Contains(line, c.line+"\n") || !strings.Contains(line, "  command: ") {
				t.Errorf("%s: the line is\n%swant\n%s", name, line, c.line)
			}
			text := rendered(0, r.text)
			var lines []string // without the blanks that align them
			for line := range strings.Lines(text) {
				lines = append(lines, strings.Join(strings.Fields(line), " "))
			}
			for _, want := range c.text {
				if !slices.Contains(lines, want) {
					t.Errorf("%s: the text is\n%swithout\n%s", name, text, want)
				}
			}
			object, err := marshalLine(r)
			if err != nil || !json.Valid(object) || !bytes.Contains(object, []byte(`"program":"settlement"`)) {
				t.Errorf("%s: the object is %s, %v", name, object, err)
			}
			for _, want := range c.object {
				if !strings.Contains(string(object), want) {
					t.Errorf("%s: the object is\n%swithout\n%s", name, object, want)
				}
			}
			clean(t, name, []byte(text))
			clean(t, name, object)
		}
	}
}
