package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/settlement"
)

// payee owns the account "b" in the tests of what a payer learns.
const payee = "spiffe://fake.example/svc/payee"

// secrets are numbers that somebody must not learn, by what they are.
type secrets map[string][]*regexp.Regexp

// number adds a number, in all forms in which an answer may have it: as text in minor units and in
// units of the asset, in hexadecimal digits, and in bytes.
func (s secrets) number(what string, n uint64) {
	decimal := fmt.Sprintf(`(^|[^0-9])(%d|%d\.%02d)([^0-9]|$)`, n, n/100, n%100)
	if n < 1e6 { // which random bytes have by chance
		decimal = fmt.Sprintf(`: +%d([^0-9]|$)`, n)
	}
	s[what] = []*regexp.Regexp{
		regexp.MustCompile(decimal), regexp.MustCompile(fmt.Sprintf(`(?i)%016x`, n)),
		regexp.MustCompile(`(?s:` + quoted(binary.BigEndian.AppendUint64(nil, n)) + `)`),
	}
	if b := new(big.Int).SetUint64(n).Bytes(); len(b) >= 4 {
		s[what] = append(s[what], regexp.MustCompile(`(?i)`+hex.EncodeToString(b)), regexp.MustCompile(`(?s:`+quoted(b)+`)`))
	}
}

func quoted(b []byte) (s string) {
	for _, c := range b {
		s += fmt.Sprintf(`\x%02x`, c)
	}
	return s
}

var base64Word = regexp.MustCompile(`[A-Za-z0-9+/]{8,}={0,2}`)

// in returns what of the secrets is in an answer: in its bytes, in its text, and in what stands in
// base64 in it.
func (s secrets) in(m proto.Message) (found []string) {
	raw, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	var texts [][]byte
	for more := [][]byte{raw, []byte(prototext.Format(m))}; len(more) > 0; {
		b := more[0]
		more = more[1:]
		texts = append(texts, latin1(b))
		for _, word := range base64Word.FindAll(b, -1) {
			if inner, err := base64.StdEncoding.DecodeString(string(word)); err == nil {
				more = append(more, inner)
			}
		}
	}
	for what, forms := range s {
		if slices.ContainsFunc(forms, func(r *regexp.Regexp) bool { return slices.ContainsFunc(texts, r.Match) }) {
			found = append(found, what)
		}
	}
	slices.Sort(found)
	return found
}

// latin1 writes each byte as the character of that number, so that a regular expression can search
// for bytes.
func latin1(b []byte) []byte {
	var out bytes.Buffer
	for _, c := range b {
		out.WriteRune(rune(c))
	}
	return out.Bytes()
}

// TestPayerLearnsNothingOfThePayee: no call of a participant who pays another one answers with what
// the payee has, how many entries touched the payee's account, or when one did before.
func TestPayerLearnsNothingOfThePayee(t *testing.T) {
	t.Parallel()
	hosted, a := bank(t)
	l := hosted.Nodes[0].Ledger()
	do := func(who, roles string, commands ...*cairnv1.SettlementCommand) *cairnv1.ExecuteResponse {
		t.Helper()
		resp, err := a.Execute(as(within(t), who, roles), &cairnv1.ExecuteRequest{Commands: commands, Wait: cairnv1.Wait_WAIT_SEALED})
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range resp.GetOutcomes() {
			if o.GetResults()[0].GetStatus() == "rejected" {
				t.Fatalf("command %d is rejected: %v", i, o)
			}
		}
		return resp
	}
	operator := func(commands ...*cairnv1.SettlementCommand) {
		t.Helper()
		do(fakecluster.Principal, "operator", commands...)
	}
	open := func(id string, owners ...string) *cairnv1.SettlementCommand {
		return &cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_OpenAccount{OpenAccount: &cairnv1.OpenAccount{Id: id, Asset: "EUR", Owners: owners}}}
	}
	move := func(id, from, to, amount string, pending bool) *cairnv1.SettlementCommand {
		return &cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_Submit{Submit: &cairnv1.SubmitTransfers{
			Pending: pending, Transfers: []*cairnv1.Transfer{{Id: id, Debit: from, Credit: to, Amount: amount}},
		}}}
	}
	operator(open("payee", payee), open("other"), open("third"))
	operator(move("big", "other", "payee", "7777654321.98", false), move("out", "payee", "other", "5550123477.31", false),
		move("held-in", "other", "payee", "3216549876.51", true), move("held-out", "payee", "other", "1472583690.57", true))
	for i := range 7 {
		var some []*cairnv1.SettlementCommand
		for k := range 100 {
			some = append(some, move(fmt.Sprintf("small-%d-%d", i, k), "other", "payee", "0.01", false))
		}
		operator(some...)
	}
	previous := l.Head().Size - 2 // the last entry but the record of the map root
	for i := range 5 {
		operator(move(fmt.Sprintf("filler-%d", i), "other", "third", "1", false))
	}

	secret := secrets{}
	secret.number("previous index", previous)
	note := func() {
		t.Helper()
		p, _, err := settlement.ReadAccount(l.State(), "payee")
		if err != nil {
			t.Fatal(err)
		}
		for what, n := range map[string]settlement.Amount{
			"debits pending": p.Balances.DebitsPending, "debits posted": p.Balances.DebitsPosted,
			"credits pending": p.Balances.CreditsPending, "credits posted": p.Balances.CreditsPosted,
		} {
			secret.number(fmt.Sprintf("%s of %d", what, n.Lo), n.Lo)
		}
		secret.number(fmt.Sprintf("sequence %d", p.Sequence), p.Sequence)
	}
	note()
	answers := map[string][]proto.Message{}
	heard := func(call string, m proto.Message, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", call, err)
		}
		answers[call] = append(answers[call], m)
	}
	pays := func(commands ...*cairnv1.SettlementCommand) {
		t.Helper()
		heard("Execute", do(asker, "participant", commands...), nil)
		note()
	}
	pays(move("t-1", "a", "payee", "1", false))
	pays(move("t-2", "a", "payee", "2", true))
	pays(&cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_Resolve{Resolve: &cairnv1.ResolveTransfer{Id: "t-2"}}})
	today := time.UnixMicro(l.Head().Time).UTC().Format(time.DateOnly)
	instruct := func(id, party, other string, delivers, receives *cairnv1.InstructionLeg) *cairnv1.SettlementCommand {
		return &cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_Instruct{Instruct: &cairnv1.Instruct{
			Id: id, Party: party, Counterparty: other, Delivers: delivers, Receives: receives, SettlementDate: today,
		}}}
	}
	do(payee, "participant", instruct("i-payee", payee, asker, nil, &cairnv1.InstructionLeg{Account: "payee", Asset: "EUR", Amount: "3"}))
	pays(instruct("i-payer", asker, payee, &cairnv1.InstructionLeg{Account: "a", Asset: "EUR", Amount: "3"}, nil))

	stream, err := a.ExecuteStream(as(within(t), asker, "participant"))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&cairnv1.ExecuteStreamRequest{RequestId: 1, Execute: &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{move("t-3", "a", "payee", "4", false)}, Wait: cairnv1.Wait_WAIT_SEALED}}); err != nil {
		t.Fatal(err)
	}
	streamed, err := stream.Recv()
	heard("ExecuteStream", streamed, err)
	note()

	reads := func(ctx context.Context, account, instruction string, heard func(string, proto.Message, error)) {
		account1, err := a.GetAccount(ctx, &cairnv1.GetAccountRequest{Id: account})
		heard("GetAccount", account1, err)
		accounts, err := a.ListAccounts(ctx, &cairnv1.ListAccountsRequest{})
		heard("ListAccounts", accounts, err)
		assets, err := a.ListAssets(ctx, &cairnv1.ListAssetsRequest{})
		heard("ListAssets", assets, err)
		holds, err := a.ListHolds(ctx, &cairnv1.ListHoldsRequest{})
		heard("ListHolds", holds, err)
		instructions, err := a.ListInstructions(ctx, &cairnv1.ListInstructionsRequest{})
		heard("ListInstructions", instructions, err)
		one, err := a.GetInstruction(ctx, &cairnv1.GetInstructionRequest{Id: instruction})
		heard("GetInstruction", one, err)
		statement, err := a.Statement(ctx, &cairnv1.StatementRequest{Account: account})
		heard("Statement", statement, err)
		transfers, err := a.ListTransfers(ctx, &cairnv1.ListTransfersRequest{Prefix: "t-"})
		heard("ListTransfers", transfers, err)
		outcome, err := a.GetOutcome(ctx, &cairnv1.GetOutcomeRequest{Index: statement.GetEntries()[0].GetIndex()})
		heard("GetOutcome", outcome, err)
		proved, err := a.ProveAccount(ctx, &cairnv1.ProveAccountRequest{Account: account})
		heard("ProveAccount", proved, err)
		instructed, err := a.ProveInstruction(ctx, &cairnv1.ProveInstructionRequest{Id: instruction})
		heard("ProveInstruction", instructed, err)
		for _, id := range []string{"t-1", "t-2", "t-3"} {
			got, err := a.GetTransfer(ctx, &cairnv1.GetTransferRequest{Id: id})
			heard("GetTransfer", got, err)
			if account == "a" {
				file, err := a.ProveTransfer(ctx, &cairnv1.ProveTransferRequest{Id: id})
				heard("ProveTransfer", file, err)
			}
		}
	}
	reads(as(within(t), asker, "participant"), "a", "i-payer", heard)
	for _, m := range cairnv1.Settlement_ServiceDesc.Methods {
		if len(answers[m.MethodName]) == 0 {
			t.Errorf("the test does not call %s", m.MethodName)
		}
	}
	for call, list := range answers {
		for _, m := range list {
			if found := secret.in(m); len(found) > 0 {
				t.Errorf("%s tells the payer of the payee %q: %.3000s", call, found, prototext.Format(m))
			}
		}
	}

	// The search finds what is there: the payee sees all of it.
	seen := map[string]bool{}
	reads(as(within(t), payee, "participant"), "payee", "i-payee", func(call string, m proto.Message, err error) {
		if err != nil {
			t.Fatalf("%s: %v", call, err)
		}
		for _, what := range secret.in(m) {
			seen[what] = true
		}
	})
	for what := range secret {
		if !seen[what] {
			t.Errorf("the payee does not see the own %s", what)
		}
	}
}
