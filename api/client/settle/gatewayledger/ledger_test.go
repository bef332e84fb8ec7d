package gatewayledger

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/gateway"
)

const (
	payer = "DE89370400440532013000"
	payee = "FR1420041010050500013M02606"
)

// bank is a settlement ledger on three nodes, on which payer has 2000 EUR. roles are those of the
// caller, who owns nothing.
func bank(t *testing.T, roles *atomic.Uint32) *settle.Client {
	t.Helper()
	cluster := fakecluster.New(t, 3, fakecluster.Options{Peer: func(context.Context) (server.Peer, bool) {
		return server.Peer{Principal: fakecluster.Principal, Roles: pki.Role(roles.Load())}, true
	}})
	hosted := cluster.Host("fake.example/bank", func(g *ledger.Genesis) {
		g.Program, g.ProgramVersion = settlement.ProgramName, settlement.Program{}.Version()
	})
	p := client.Profile{Origin: hosted.Origin, Policy: cluster.WritePolicy()}
	for _, n := range cluster.Nodes {
		p.Endpoints = append(p.Endpoints, client.Endpoint{Name: n.Name, Address: n.Address})
	}
	c, err := client.Dial(t.Context(), p, client.WithCredentials(fakecluster.Principal, fakecluster.Insecure))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	roles.Store(uint32(pki.RoleOperator))
	s := settle.New(c)
	outcomes, err := s.Execute(t.Context(), []settlement.Action{
		&settlement.CreateAsset{ID: "EUR", Scale: 2}, &settlement.OpenAccount{ID: "world", Asset: "EUR"},
		&settlement.OpenAccount{ID: payer, Asset: "EUR", Flags: settlement.DebitsLimited}, &settlement.OpenAccount{ID: payee, Asset: "EUR"},
		&settlement.Submit{Transfers: []settlement.Transfer{{ID: "fund", Debit: "world", Credit: payer, Amount: settlement.NewDecimal(settlement.AmountOf(2000), 0)}}},
	})
	if err != nil || outcomes[4].Results[0].Status != settlement.Posted {
		t.Fatalf("%+v, %v", outcomes, err)
	}
	return s
}

// TestPays: a message is carried out once, and its answer is the same when it comes again. The second
// one cannot be paid, and says why.
func TestPays(t *testing.T) {
	t.Parallel()
	s := bank(t, new(atomic.Uint32))
	raw, err := os.ReadFile(filepath.FromSlash("../../../../settlement/iso20022/testdata/valid/pacs008-single.xml"))
	if err != nil {
		t.Fatal(err)
	}
	l := New(s, 0)
	g, err := gateway.New(l, gateway.Options{Participant: "COBADEFF", Rail: "rtgs"})
	if err != nil {
		t.Fatal(err)
	}
	other := []byte(strings.NewReplacer("MSG-20261130-000017", "MSG-2", "TX-0001", "TX-0002").Replace(string(raw)))
	var first *gateway.Answer
	for i := range 3 {
		a, err := g.Answer(t.Context(), gateway.Incoming{Raw: raw, Received: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = a
		}
		if len(a.Items) != 1 || a.Items[0].Code != "ACSC" || a.Items[0].Repeated != (i > 0) || string(a.Reply) != string(first.Reply) {
			t.Errorf("time %d: %+v\n%s\nwant the answer of the first time\n%s", i+1, a.Items, a.Reply, first.Reply)
		}
	}
	a, err := g.Answer(t.Context(), gateway.Incoming{Raw: other, Received: time.Now()})
	if err != nil || !a.Rejected || a.Items[0].Reason != settlement.InsufficientFunds.ISO() {
		t.Errorf("a payment without funds: %+v, %v", a, err)
	}
	if x, _, err := s.Account(t.Context(), payee); err != nil || x.GetBalances().GetCreditsPosted() != "1250.50" {
		t.Errorf("the payee has %v, %v; want 1250.50", x, err)
	}

	id := first.Items[0].ID
	got, err := l.Transfer(t.Context(), id)
	if err != nil || got == nil {
		t.Fatalf("the transfer %s: %v, %v", id, got, err)
	}
	refs := got.References
	got.References = nil
	want := gateway.Transfer{ID: id, Status: settlement.Posted, Index: first.Items[0].Index, Resolved: first.Items[0].Index, Debit: payer, Credit: payee, Asset: "EUR", Amount: "1250.50", Posted: "1250.50"}
	if got.Debit != want.Debit || got.Credit != want.Credit || got.ID != want.ID || got.Status != want.Status || got.Reason != want.Reason ||
		got.Index != want.Index || got.Resolved != want.Resolved || got.Asset != want.Asset || got.Amount != want.Amount || got.Posted != want.Posted {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !slices.Contains(refs, settlement.Reference{Kind: settlement.EndToEndID, Value: "INV-2026-4711"}) {
		t.Errorf("the references are %v", refs)
	}
	if got, err := l.Transfer(t.Context(), a.Items[0].ID); err != nil || got.Status != settlement.Rejected || got.Reason != settlement.InsufficientFunds {
		t.Errorf("the rejected transfer: %+v, %v", got, err)
	}
	if got, err := l.Transfer(t.Context(), "nothing"); got != nil || err != nil {
		t.Errorf("an unknown transfer: %v, %v; want nothing", got, err)
	}
}

// TestRefused: ErrRefused is about the actions. What the caller may not do, and what cannot be
// reached, is no fault of the message.
func TestRefused(t *testing.T) {
	t.Parallel()
	var roles atomic.Uint32
	l := New(bank(t, &roles), 0)
	good := &settlement.Submit{Transfers: []settlement.Transfer{{ID: "t-1", Debit: payer, Credit: payee, Amount: settlement.NewDecimal(settlement.AmountOf(1), 0)}}}
	bad := *good
	bad.Transfers = []settlement.Transfer{{ID: "no space", Debit: payer, Credit: payee}}
	large := *good
	large.Transfers = nil
	for i := range settlement.MaxTransfers {
		t := good.Transfers[0]
		t.ID = strings.Repeat("x", settlement.MaxID-3) + string(rune('a'+i%26)) + string(rune('a'+i/26))
		t.References = []settlement.Reference{{Kind: settlement.Remittance, Value: strings.Repeat("y", 500)}}
		large.Transfers = append(large.Transfers, t)
	}
	for _, tc := range []struct {
		name   string
		action settlement.Action
		role   pki.Role
		want   bool
	}{
		{"a bad id", &bad, pki.RoleOperator, true},
		{"too large for an entry", &large, pki.RoleOperator, true},
		{"a caller who may read alone", good, pki.RoleReader, false},
	} {
		roles.Store(uint32(tc.role))
		if _, err := l.Execute(t.Context(), []settlement.Action{tc.action}); err == nil || errors.Is(err, gateway.ErrRefused) != tc.want {
			t.Errorf("%s: %v; refused: %t, want %t", tc.name, err, errors.Is(err, gateway.ErrRefused), tc.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Execute(ctx, []settlement.Action{good}); err == nil || errors.Is(err, gateway.ErrRefused) {
		t.Errorf("a call that was ended: %v", err)
	}
	if want := []string{server.ReasonInvalidArgument, server.ReasonEntryTooLarge, server.ReasonBatchTooLarge, server.ReasonRefused}; !slices.Equal(atFault, want) {
		t.Errorf("the reasons are %v, of the server %v", atFault, want)
	}
}
