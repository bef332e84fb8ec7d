package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
)

// TestTimely: dates are compared if the options say so, and a payment that the ledger knows keeps its
// first answer, whenever it comes again.
func TestTimely(t *testing.T) {
	raw := pacs008("M-1", pay("T-1", "10"))
	at := func(day, hour int) time.Time { return time.Date(2026, 11, day, hour, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		name     string
		o        Options
		received time.Time
		want     string
	}{
		{"no business date, long past", Options{}, at(30, 12).AddDate(1, 0, 0), "done pacs.002.001.10 ACSC"},
		{"no business date, begun in the east", Options{}, at(29, 10), "done pacs.002.001.10 ACSC"},
		{"no business date, begun nowhere", Options{}, at(29, 9), "rejected pacs.002.001.10 RJCT/DT04/settlement_date_future"},
		{"today", Options{BusinessDate: Today, CutOff: "17:00", MaxAge: 24 * time.Hour}, at(30, 12), "done pacs.002.001.10 ACSC"},
		{"past", Options{BusinessDate: "2026-12-01"}, at(30, 12), "rejected pacs.002.001.10 RJCT/DT01/settlement_date_past"},
		{"future", Options{BusinessDate: Today}, at(29, 23), "rejected pacs.002.001.10 RJCT/DT04/settlement_date_future"},
		{"cut-off", Options{BusinessDate: Today, CutOff: "17:00"}, at(30, 17), "rejected pacs.002.001.10 RJCT/TM01/cut_off"},
		{"old", Options{MaxAge: time.Hour}, at(30, 13), "rejected pacs.002.001.10 RJCT/DT02/created_earlier"},
	} {
		c.o.Participant, c.o.Rail = opts.Participant, opts.Rail
		b := newBooks(t)
		b.open("EUR", 2, "100", iban1, iban2)
		g, err := New(b, c.o)
		if err != nil {
			t.Fatal(err)
		}
		a, err := g.Answer(t.Context(), Incoming{Raw: raw, Received: c.received})
		if err != nil || says(a) != c.want {
			t.Errorf("%s: %s, want %s (%v)", c.name, says(a), c.want, err)
		}
		if strings.HasPrefix(c.want, "rejected") {
			// What was not asked for is not decided.
			send(t, b, opts, raw)
		}
		if a, err = g.Answer(t.Context(), Incoming{Raw: raw, Received: c.received.AddDate(0, 1, 0)}); err != nil || says(a) != "done pacs.002.001.10 ACSC/again" {
			t.Errorf("%s, a month later: %s (%v)", c.name, says(a), err)
		}
	}
}

func TestOptions(t *testing.T) {
	o, err := ReadOptions([]byte("participant: BANK\nrail: rtgs\nothers: [B, C]\naccounts: {COBADEFF/EUR: bank-a, X: y}\nbetween_agents: true\n" +
		"reserve: true\nreserve_for: 1h\nbusiness_date: today\ncut_off: \"17:00\"\nmax_age: 24h\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Check(); err != nil || o.ReserveFor != time.Hour || o.Accounts["COBADEFF/EUR"] != "bank-a" || len(o.Others) != 2 || !o.BetweenAgents {
		t.Errorf("%+v: %v", o, err)
	}
	if _, err := ReadOptions([]byte("particpant: BANK\n")); err == nil || !strings.Contains(err.Error(), "particpant") {
		t.Errorf("an unknown key: %v", err)
	}
	if o, err := ReadOptions(nil); err != nil || o.Check() == nil {
		t.Errorf("nothing: %+v, %v", o, err)
	}
	for want, change := range map[string]func(*Options){
		"the participant":   func(o *Options) { o.Participant = "" },
		"the rail":          func(o *Options) { o.Rail = strings.Repeat("r", 101) },
		"other participant": func(o *Options) { o.Others = []string{"a\nb"} },
		"the account":       func(o *Options) { o.Accounts = map[string]string{"x": "a b"} },
		"needs reservation": func(o *Options) { o.ReserveFor = time.Hour },
		"microseconds":      func(o *Options) { o.Reserve, o.ReserveFor = true, time.Nanosecond },
		"an age":            func(o *Options) { o.MaxAge = -1 },
		"the business date": func(o *Options) { o.BusinessDate = "30.11.2026" },
		"the cut-off":       func(o *Options) { o.BusinessDate, o.CutOff = Today, "5pm" },
		"needs a business":  func(o *Options) { o.CutOff = "17:00" },
	} {
		o := opts
		change(&o)
		if _, err := New(nil, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want something about %q", o, err, want)
		}
	}
}

// TestAccounts: which accounts a payment moves money between.
func TestAccounts(t *testing.T) {
	euro := iso20022.Amount{Value: "1", Currency: "EUR"}
	customers := iso20022.Transaction{
		Settlement: euro, DebtorAccount: iso20022.Account{IBAN: iban1}, CreditorAccount: iso20022.Account{Other: "77"},
		DebtorAgent: iso20022.Party{BIC: "AAAADEFF"}, CreditorAgent: iso20022.Party{BIC: "BBBBDEFF"},
		Instructing: iso20022.Party{BIC: "CCCCDEFFXXX"}, Instructed: iso20022.Party{ClearingID: "021000021"},
	}
	alone := customers
	alone.Instructing, alone.Instructed = iso20022.Party{}, iso20022.Party{}
	banks := iso20022.Transaction{Settlement: euro, Debtor: iso20022.Party{BIC: "AAAADEFFXXX"}, Creditor: iso20022.Party{BIC: "BBBBDEFFXXX"}}
	numbered := banks
	numbered.DebtorAccount, numbered.CreditorAccount = iso20022.Account{Other: "acc-a"}, iso20022.Account{Other: "acc-b"}
	named := banks
	named.Creditor = iso20022.Party{Name: "Some Bank"}
	agents := map[string]string{"AAAADEFF": "a", "BBBBDEFF/EUR": "b-eur", "BBBBDEFF/USD": "b-usd", "BBBBDEFFXXX": "b", "CCCCDEFF": "c", "021000021": "d", "acc-b": "e"}
	for _, c := range []struct {
		name, kind    string
		t             iso20022.Transaction
		o             Options
		debit, credit string
		problem       string
	}{
		{"customers", "pacs.008.001.08", customers, Options{}, iban1, "77", ""},
		{"customers that are configured", "pacs.008.001.08", customers, Options{Accounts: map[string]string{"77": "seven", iban1 + "/USD": "no"}}, iban1, "seven", ""},
		{"between agents", "pacs.008.001.08", customers, Options{BetweenAgents: true, Accounts: agents}, "c", "d", ""},
		{"between agents of the parties", "pacs.008.001.08", alone, Options{BetweenAgents: true, Accounts: agents}, "a", "b-eur", ""},
		{"between agents that are accounts", "pacs.008.001.08", alone, Options{BetweenAgents: true}, "AAAADEFF", "BBBBDEFF", ""},
		{"banks by their BIC", "pacs.009.001.08", banks, Options{}, "AAAADEFFXXX", "BBBBDEFFXXX", ""},
		{"banks by their accounts", "pacs.009.001.08", numbered, Options{}, "acc-a", "acc-b", ""},
		{"banks that are configured", "pacs.009.001.08", numbered, Options{Accounts: agents}, "a", "b-eur", ""},
		{"a bank without an identification", "pacs.009.001.08", named, Options{}, "AAAADEFFXXX", "Some Bank", "account_id"},
		{"no account", "pacs.008.001.08", iso20022.Transaction{Settlement: euro}, Options{}, "", "", "account_missing"},
	} {
		debit, credit, p := c.o.sides(&iso20022.Message{Definition: c.kind}, &c.t)
		name := ""
		if p != nil {
			name = p.name
		}
		if name != c.problem || p == nil && (debit != c.debit || credit != c.credit) {
			t.Errorf("%s: %s to %s, %q; want %s to %s, %q", c.name, debit, credit, name, c.debit, c.credit, c.problem)
		}
	}
}

// many makes a message of so many payments of 0.01.
func many(id string, n int, text string) []byte {
	var all []transaction
	for i := range n {
		all = append(all, transaction{fmt.Sprintf("T-%d", i), "0.01", iban1, iban2, text})
	}
	return pacs008(id, all...)
}

// TestLargeMessages: a message of many transactions is split into commands, each of which has room
// for its outcome. Nothing but the message decides how, so a repetition appends nothing.
func TestLargeMessages(t *testing.T) {
	for _, c := range []struct {
		name     string
		raw      []byte
		commands int // at least
		whole    bool
	}{
		{"one", many("M-1", 1, "x"), 1, true},
		{"fits", many("M-1", 20, "x"), 1, true},
		{"in two", many("M-1", 60, "x"), 2, true},
		{"too large to keep", many("M-1", 700, "x"), 5, false},
		{"long texts", many("M-1", 30, strings.Repeat("é", 120)), 1, true},
	} {
		b := newBooks(t)
		b.open("EUR", 2, "100", iban1, iban2)
		before := b.entries
		a := send(t, b, opts, c.raw)
		n := len(a.Items)
		if a.Rejected || strings.Count(says(a), "ACSC") != n || b.balance(iban2) != fmt.Sprintf("%d.%02d", 100+n/100, n%100) {
			t.Errorf("%s: %.100s; the creditor has %s", c.name, says(a), b.balance(iban2))
		}
		commands := b.entries - before
		if commands < c.commands {
			t.Errorf("%s: %d commands, want at least %d", c.name, commands, c.commands)
		}
		audit := NewAudit(Options{}, nil)
		for i := b.l.Head().Size - uint64(commands); i < b.l.Head().Size; i++ {
			d := b.leaf(i)
			submit := d.Command.Action.(*settlement.Submit)
			if first := i == b.l.Head().Size-uint64(commands); (submit.Source.Form == settlement.RawSource) != (first && c.whole) {
				t.Errorf("%s: entry %d has a source of form %d", c.name, i, submit.Source.Form)
			} else if first && c.whole && !bytes.Equal(submit.Source.Raw, c.raw) {
				t.Errorf("%s: the ledger holds another message", c.name)
			}
			if size := d.Entry.LeafSize(); size > ledger.MaxLeafSize {
				t.Errorf("%s: a leaf of %d bytes", c.name, size)
			}
			if bad := audit.Check(i, d.Command); len(bad) > 0 {
				t.Errorf("%s: %v", c.name, bad)
			}
		}
		if want := commands; c.whole && audit.Compared != want || !c.whole && audit.Compared != 0 || audit.Commands != commands {
			t.Errorf("%s: of %d commands %d are compared", c.name, audit.Commands, audit.Compared)
		}
		before = b.entries
		if again := send(t, b, opts, c.raw); string(again.Reply) != string(a.Reply) || b.entries != before {
			t.Errorf("%s: a repetition appends %d entries, or gets another answer", c.name, b.entries-before)
		}
	}
}

// TestManyRequests: a message whose commands take several requests gets the outcomes in its order.
func TestManyRequests(t *testing.T) {
	b := newBooks(t)
	b.open("EUR", 2, "100", iban1, iban2)
	var all []transaction
	for i := range 2000 {
		all = append(all, transaction{fmt.Sprintf("T-%d", i), "0.01", iban1, iban2, "x"})
	}
	all[0].amount, all[1999].creditor = "5000", "GB33BUKB20201555555555"
	b.requests = 0
	a := send(t, b, opts, pacs008("M-1", all...))
	if b.requests < 2 {
		t.Errorf("%d requests: this proves nothing", b.requests)
	}
	for i, it := range a.Items {
		want := ""
		switch i {
		case 0:
			want = "insufficient_funds"
		case 1999:
			want = "credit_account_unknown"
		}
		if it.Name != want || it.Transaction != fmt.Sprintf("TxId=T-%d", i) || i > 0 && it.Index < a.Items[i-1].Index {
			t.Fatalf("transaction %d is %+v", i, it)
		}
	}
}

// TestLostAnswers: requests fail before or after the ledger has carried them out. Giving the messages
// again until all are answered moves the money once, and the answers are those of a ledger that
// always answers.
func TestLostAnswers(t *testing.T) {
	incoming := []Incoming{
		{Raw: many("M-1", 120, "x"), Received: noon}, {Raw: pacs008("M-2", pay("T-1", "5"), pay("T-2", "1000")), Received: noon},
		{Raw: about("pacs.028.001.03", "A-1", "M-2", "T-1"), Received: noon}, {Raw: pacs008("M-3", pay("T-1", "5")), Received: noon},
		{Raw: []byte(strings.Replace(string(about("pacs.004.001.10", "R-1", "M-2", "T-1")), "AMOUNT", "2", 1)), Received: noon},
		{Raw: []byte("no message"), Received: noon}, {Raw: many("M-4", 120, "y"), Received: noon},
	}
	run := func(seed uint64) (replies []string, balance string) {
		b := newBooks(t)
		b.open("EUR", 2, "100", iban1, iban2)
		rng := rand.New(rand.NewPCG(seed, 1))
		b.fail = func() error {
			switch {
			case seed == 0 || rng.IntN(3) == 0:
				return nil
			case rng.IntN(2) == 0:
				return errLost
			}
			return errors.New("no leader")
		}
		g, err := New(b, opts)
		if err != nil {
			t.Fatal(err)
		}
		answers := make([]*Answer, len(incoming))
		for from := 0; from < len(incoming); {
			got, err := g.AnswerAll(t.Context(), incoming[from:])
			for i, a := range got {
				answers[from+i] = a
			}
			for from < len(incoming) && answers[from] != nil {
				from++
			}
			if err == nil && from < len(incoming) {
				t.Fatalf("no error, and no answer to message %d", from)
			}
		}
		for _, a := range answers {
			replies = append(replies, string(a.Reply))
		}
		return replies, b.balance(iban1) + " " + b.balance(iban2)
	}
	want, balance := run(0)
	if balance != "89.60 110.40" {
		t.Fatalf("without faults the accounts have %s", balance)
	}
	for seed := uint64(1); seed < 12; seed++ {
		got, has := run(seed)
		if has != balance {
			t.Fatalf("seed %d: the accounts have %s, want %s", seed, has, balance)
		}
		for i := range got {
			if a, b := bare(got[i]), bare(want[i]); a != b {
				t.Fatalf("seed %d: the answer to message %d is\n%s\nwant\n%s", seed, i, a, b)
			}
		}
	}
}

// bare takes times and indexes out of a reply.
func bare(reply string) string {
	var b strings.Builder
	for line := range strings.Lines(reply) {
		if !strings.Contains(line, "<CreDtTm>") && !strings.Contains(line, "<AccptncDtTm>") && !strings.Contains(line, "<AcctSvcrRef>") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestRefusedByTheLedger: what the ledger does not take is answered, and takes nothing else with it.
func TestRefusedByTheLedger(t *testing.T) {
	b := newBooks(t)
	b.open("EUR", 2, "100", iban1, iban2)
	g, err := New(refuser{b}, opts)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := g.AnswerAll(t.Context(), []Incoming{{Raw: pacs008("M-1", pay("T-1", "1"))}, {Raw: pacs008("M-2", pay("POISON", "1"))}, {Raw: pacs008("M-3", pay("T-3", "1"))}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"done pacs.002.001.10 ACSC", "rejected pacs.002.001.10 RJCT/NARR/refused", "done pacs.002.001.10 ACSC"} {
		if says(answers[i]) != want {
			t.Errorf("message %d: %s, want %s", i, says(answers[i]), want)
		}
	}
	if b.balance(iban2) != "102.00" {
		t.Errorf("the creditor has %s", b.balance(iban2))
	}
}

// refuser takes no request with a transfer whose id has POISON in it.
type refuser struct{ *books }

func (r refuser) Execute(ctx context.Context, actions []settlement.Action) ([]Decision, error) {
	for _, a := range actions {
		for _, t := range a.(*settlement.Submit).Transfers {
			if strings.Contains(t.ID, "POISON") {
				return nil, errors.Join(ErrRefused, errors.New("it is poison"))
			}
		}
	}
	return r.books.Execute(ctx, actions)
}
