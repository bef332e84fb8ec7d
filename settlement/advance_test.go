package settlement_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
)

// TestAdvanceIsBounded: 150 pairs are due at one moment, and each entry settles as many as it may:
// 64 in all and 32 of one queue, and fewer where their outcome would pass its largest size.
func TestAdvanceIsBounded(t *testing.T) {
	for _, c := range []struct {
		how    string
		queues int // how many accounts the pairs wait for; 0: they wait for their settlement date
		idSize int
		want   []int // how many pairs each entry settles
	}{
		{"settlement dates", 0, 8, []int{64, 64, 22}},
		{"one queue", 1, 8, []int{32, 32, 32, 32, 22}},
		{"three queues", 3, 8, []int{64, 64, 22}},
		{"settlement dates, long ids", 0, settlement.MaxID, []int{36, 36, 36, 36, 6}},
		{"three queues, long ids", 3, settlement.MaxID, []int{35, 35, 35, 32, 13}},
	} {
		t.Run(c.how, func(t *testing.T) {
			d := newDriver(t, scriptStart)
			date := settlement.DateOf(d.time) + 1
			if c.queues > 0 {
				date--
			}
			fund := manyPairs(d, 150, max(1, c.queues), c.idSize, date)
			d.must(fund)
			d.time = max(d.time, date.Begin())
			if got := settleAll(d); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("the entries have settled %v pairs, want %v", got, c.want)
			}
		})
	}
}

// manyPairs gives instructions that match: each exchanges 1 of USD, of one of the payers, for 1 of
// SEC. It returns what funds the payers.
func manyPairs(d *driver, pairs, payers, idSize int, date settlement.Date) (fund *settlement.Submit) {
	d.t.Helper()
	one := decimal(d.t, "1")
	long := func(kind string, n int) string {
		id := fmt.Sprintf("%s-%d", kind, n)
		return id + strings.Repeat("x", max(0, idSize-len(id)))
	}
	open := func(id, asset string, flags settlement.Flags) string {
		d.must(&settlement.OpenAccount{ID: id, Asset: asset, Flags: flags})
		return id
	}
	for _, asset := range []string{"USD", "SEC"} {
		d.must(&settlement.CreateAsset{ID: asset, Scale: 2})
		open("issuer-"+asset, asset, 0)
	}
	fund = &settlement.Submit{}
	for n := range payers {
		payer := open(fmt.Sprintf("payer-%d", n), "USD", settlement.DebitsLimited)
		fund.Transfers = append(fund.Transfers, settlement.Transfer{ID: "fund-" + payer, Debit: "issuer-USD", Credit: payer, Amount: decimal(d.t, "1000")})
	}
	for n := range pairs {
		leg := func(account, asset string) *settlement.Leg {
			return &settlement.Leg{Account: account, Asset: asset, Amount: one}
		}
		a := &settlement.Instruct{ID: long("a", n), Party: "A", Counterparty: "B", SettlementDate: date}
		b := &settlement.Instruct{ID: long("b", n), Party: "B", Counterparty: "A", SettlementDate: date}
		a.Delivers, b.Receives = leg(fmt.Sprintf("payer-%d", n%payers), "USD"), leg(open(long("cash", n), "USD", 0), "USD")
		b.Delivers, a.Receives = leg(open(long("from", n), "SEC", 0), "SEC"), leg(open(long("to", n), "SEC", 0), "SEC")
		d.must(a)
		d.must(b)
	}
	return fund
}

// settleAll does what is due, and returns how many pairs each entry has settled.
func settleAll(d *driver) (settled []int) {
	d.t.Helper()
	for command := d.due(); command != nil; command = d.due() {
		most, err := settlement.Program{}.MaxOutcome(ledger.KindCommand, command)
		if err != nil {
			d.t.Fatal(err)
		}
		e := d.apply(nodeID, ledger.KindCommand, command)
		o, err := settlement.ParseOutcome(e.Outcome)
		if err != nil {
			d.t.Fatal(err)
		}
		if len(e.Outcome) > most {
			d.t.Errorf("an outcome of %d bytes, at most %d", len(e.Outcome), most)
		}
		for _, r := range o.Results {
			if r.Status != settlement.Settled {
				d.t.Fatalf("%s is %s (%s)", r.ID, r.Status, r.Reason)
			}
		}
		settled = append(settled, len(o.Results)/2)
		d.time++
	}
	return settled
}

// TestAdvanceTooEarly: an advance that comes before the next thing is due writes no row, also when
// timers that nobody needs any more stand before it.
func TestAdvanceTooEarly(t *testing.T) {
	d := newDriver(t, scriptStart)
	fund := manyPairs(d, 1, 1, 8, settlement.DateOf(d.time))
	const hour = 3_600_000_000
	expiring := func(id string, party string, hours int64) {
		a := &settlement.Instruct{ID: id, Party: party, Counterparty: "B", SettlementDate: settlement.DateOf(d.time), Expires: d.time + hours*hour}
		a.Delivers = &settlement.Leg{Account: "payer-0", Asset: "USD", Amount: decimal(t, "1")}
		d.must(a)
	}
	expiring("first", "A", 1)
	d.must(&settlement.Instruct{ID: "match", Party: "B", Counterparty: "A", SettlementDate: settlement.DateOf(d.time), Receives: &settlement.Leg{Account: "issuer-USD", Asset: "USD", Amount: decimal(t, "1")}})
	expiring("second", "C", 2)
	expiring("third", "C", 3)
	d.must(&settlement.Manage{ID: "second", Change: settlement.ManageCancel})
	d.must(fund)
	d.advance() // settles the first one, whose expiry is not needed any more
	if s := d.instruction("first"); s.Status != settlement.Settled {
		t.Fatalf("the first one is %s", s.Status)
	}
	rows := func() []byte {
		var b bytes.Buffer
		if err := d.l.State().Range(nil, nil, func(key, value []byte) bool {
			fmt.Fprintf(&b, "%x %x\n", key, value)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	body, err := (&settlement.Command{Action: &settlement.Advance{}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	d.time += 2*hour + hour/2
	before := rows()
	d.apply(nodeID, ledger.KindCommand, body)
	if !bytes.Equal(rows(), before) {
		t.Error("an advance to which nothing is due writes rows")
	}
	d.time += hour
	if d.advance(); d.instruction("third").Status != settlement.Expired {
		t.Error("the third one has not expired")
	}
}
