package settlement_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement"
)

// TestInstructionCommands: what no instruction may say is refused by name, when it is written and
// when it is read.
func TestInstructionCommands(t *testing.T) {
	good := func() *settlement.Instruct {
		return &settlement.Instruct{
			ID: "i", Party: "A", Counterparty: "B", SettlementDate: 20514,
			Delivers: &settlement.Leg{Account: "a", Asset: "USD", Amount: settlement.NewDecimal(settlement.AmountOf(125), 2)},
		}
	}
	for _, c := range []struct {
		change func(*settlement.Instruct)
		says   string
	}{
		{func(a *settlement.Instruct) { a.ID = "" }, "give it 1 to 200"},
		{func(a *settlement.Instruct) { a.Party = "" }, "no party"},
		{func(a *settlement.Instruct) { a.Counterparty = "" }, "no counterparty"},
		{func(a *settlement.Instruct) { a.Party = strings.Repeat("A", 257) }, "at most 256"},
		{func(a *settlement.Instruct) { a.Counterparty = "B\n" }, "control character"},
		{func(a *settlement.Instruct) { a.Delivers = nil }, "no leg"},
		{func(a *settlement.Instruct) { a.Delivers.Account = "a b" }, "delivers: account"},
		{func(a *settlement.Instruct) { a.Receives = &settlement.Leg{Account: "b"} }, "receives: asset"},
		{func(a *settlement.Instruct) { a.SettlementDate = 0 }, "no settlement date"},
		{func(a *settlement.Instruct) { a.SettlementDate = settlement.MaxDate + 1 }, "after 9999-12-31"},
		{func(a *settlement.Instruct) { a.TradeDate = settlement.MaxDate + 1 }, "after 9999-12-31"},
		{func(a *settlement.Instruct) { a.Priority = 4 }, "at most 3"},
		{func(a *settlement.Instruct) { a.Expires = -1 }, "1970"},
		{func(a *settlement.Instruct) { a.Common = strings.Repeat("c", 257) }, "common reference"},
		{func(a *settlement.Instruct) { a.References = []settlement.Reference{{Kind: settlement.UETR}} }, "uetr is empty"},
		{func(a *settlement.Instruct) {
			a.Source = settlement.Source{Form: settlement.RawSource, Raw: []byte("x")}
		}, "without the type"},
	} {
		a := good()
		c.change(a)
		if _, err := (&settlement.Command{Action: a}).Marshal(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: error %v, want one that says %q", a, err, c.says)
		}
	}
	for _, c := range []struct {
		manage settlement.Manage
		says   string
	}{
		{settlement.Manage{Change: settlement.ManageHold}, "give it 1 to 200"},
		{settlement.Manage{ID: "i"}, "hold, release and cancel are 1, 2 and 3"},
		{settlement.Manage{ID: "i", Change: 4}, "hold, release and cancel are 1, 2 and 3"},
		{settlement.Manage{ID: "i", Request: "i", Change: settlement.ManageHold}, "another one, or none"},
		{settlement.Manage{ID: "i", Request: "a b", Change: settlement.ManageHold}, "request"},
	} {
		if _, err := (&settlement.Command{Action: &c.manage}).Marshal(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: error %v, want one that says %q", c.manage, err, c.says)
		}
	}
	// Every action with a source judges it.
	bad := settlement.Source{Form: settlement.RawSource, Raw: []byte("x")}
	for _, a := range []settlement.Action{&settlement.Submit{Transfers: make([]settlement.Transfer, 1)}, &settlement.Resolve{ID: "t"}, good()} {
		if s, ok := a.(*settlement.Submit); ok {
			s.Transfers[0] = settlement.Transfer{ID: "t", Debit: "a", Credit: "b"}
		}
		*settlement.SourceOf(a) = bad
		if _, err := (&settlement.Command{Action: a}).Marshal(); err == nil || !strings.Contains(err.Error(), "without the type") {
			t.Errorf("%s with a source without the type: %v", a.Op(), err)
		}
	}
	if b, err := (&settlement.Command{Action: good()}).Marshal(); err != nil {
		t.Fatal(err)
	} else if cut := b[:len(b)-1]; true {
		if _, err := settlement.ParseCommand(cut); err == nil {
			t.Error("a command that ends too early is taken")
		}
		if _, err := settlement.ParseCommand(append(bytes.Clone(b), 0)); err == nil {
			t.Error("a command with a byte too many is taken")
		}
	}
}

// FuzzCommand: every byte string is refused or encodes back to itself.
func FuzzCommand(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		f.Add(randomCommand(rng))
		f.Add(randomInstructionCommand(rng))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := settlement.ParseCommand(b)
		if err != nil {
			return
		}
		if again, err := c.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is %+v, which encodes to %x, %v", b, c.Action, again, err)
		}
	})
}

// FuzzOutcome: every byte string is refused or encodes back to itself.
func FuzzOutcome(f *testing.F) {
	d := newDriver(f, 1_700_000_000_000_000)
	rng := rand.New(rand.NewPCG(9, 10))
	for range 300 {
		c, err := settlement.ParseCommand(randomInstructionCommand(rng))
		if err != nil {
			f.Fatal(err)
		}
		o := d.do(operatorID, c.Action)
		f.Add(o.Marshal())
		for _, o := range d.advance() {
			f.Add(o.Marshal())
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := settlement.ParseOutcome(b)
		if err != nil {
			return
		}
		if again := o.Marshal(); !bytes.Equal(again, b) {
			t.Fatalf("%x is %+v, which encodes to %x", b, o, again)
		}
	})
}
