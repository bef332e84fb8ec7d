package settlement_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
)

// TestAdvanceIsBounded: 150 pairs are due at one moment, and each entry settles as many as it may:
// 64 where their ids are short, fewer where their outcome would pass its largest size. No outcome
// passes it.
func TestAdvanceIsBounded(t *testing.T) {
	for _, c := range []struct {
		how     string
		account string // that waits; "" for a settlement date
		idSize  int
		want    []int // how many pairs each entry settles
	}{
		{"settlement dates, short ids", "", 8, []int{64, 64, 22}},
		{"a queue, short ids", "payer", 8, []int{32, 32, 32, 32, 22}},
		{"settlement dates, long ids", "", settlement.MaxID, []int{64, 64, 22}},
		{"two accounts for each pair, long ids", "each", settlement.MaxID, nil},
	} {
		t.Run(c.how, func(t *testing.T) {
			d := newDriver(t, scriptStart)
			d.must(&settlement.CreateAsset{ID: "USD", Scale: 2})
			name := func(kind string, n int) string {
				return fmt.Sprintf("%s-%d%s", kind, n, strings.Repeat("x", max(0, c.idSize-len(fmt.Sprintf("%s-%d", kind, n)))))
			}
			open := func(id string) {
				d.must(&settlement.OpenAccount{ID: id, Asset: "USD", Flags: settlement.DebitsLimited})
			}
			d.must(&settlement.OpenAccount{ID: "issuer", Asset: "USD"})
			open("payer")
			open("payee")
			date := settlement.DateOf(d.time) + 1
			const pairs = 150
			for n := range pairs {
				from, to := "payer", "payee"
				if c.account == "each" {
					from, to = name("from", n), name("to", n)
					open(from)
					open(to)
					d.must(&settlement.Submit{Transfers: []settlement.Transfer{{ID: fmt.Sprintf("fund-%d", n), Debit: "issuer", Credit: from, Amount: decimal(t, "1")}}})
				}
				one := decimal(t, "1")
				a := &settlement.Instruct{ID: name("a", n), Party: "A", Counterparty: "B", SettlementDate: date, Delivers: &settlement.Leg{Account: from, Asset: "USD", Amount: one}}
				b := &settlement.Instruct{ID: name("b", n), Party: "B", Counterparty: "A", SettlementDate: date, Receives: &settlement.Leg{Account: to, Asset: "USD", Amount: one}}
				if c.account == "payer" {
					a.SettlementDate, b.SettlementDate = date-1, date-1
				}
				d.must(a)
				d.must(b)
			}
			if c.account != "each" {
				d.must(&settlement.Submit{Transfers: []settlement.Transfer{{ID: "fund", Debit: "issuer", Credit: "payer", Amount: decimal(t, "150")}}})
			}
			d.time = date.Begin()
			var got []int
			settled := 0
			for command := d.due(); command != nil; command = d.due() {
				most, err := settlement.Program{}.MaxOutcome(ledger.KindCommand, command)
				if err != nil {
					t.Fatal(err)
				}
				e := d.apply(nodeID, ledger.KindCommand, command)
				o, err := settlement.ParseOutcome(e.Outcome)
				if err != nil {
					t.Fatal(err)
				}
				if len(e.Outcome) > most {
					t.Errorf("an outcome of %d bytes, at most %d", len(e.Outcome), most)
				}
				got = append(got, len(o.Results)/2)
				settled += len(o.Results) / 2
				d.time++
			}
			if settled != pairs {
				t.Errorf("%d pairs have settled, want %d", settled, pairs)
			}
			if c.want != nil && fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("the entries have settled %v pairs, want %v", got, c.want)
			}
			if c.want == nil && (len(got) < 3 || got[0] > 60) {
				t.Errorf("the entries have settled %v pairs: the size of the outcome has bounded none", got)
			}
		})
	}
}
