package settlement_test

import (
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/settlement"
)

const (
	driverOrigin = "example.org/settlement"
	nodeID       = "spiffe://example.org/cluster/00000000000000c1/node/n1"
	operatorID   = "spiffe://example.org/svc/operator"
)

// driver is a ledger of settlement that a test steps: every command is a block of its own.
type driver struct {
	t    testing.TB
	l    *ledger.Ledger
	time int64 // of the next entry, µs
}

// newDriver returns a driver whose first entry has the ledger time start.
func newDriver(t testing.TB, start int64) *driver {
	t.Helper()
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: driverOrigin, Program: settlement.Program{}})
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{t, l, start}
	g := ledger.Genesis{
		FeatureLevel: ledger.FeatureLevel, Origin: driverOrigin, Program: settlement.ProgramName, ProgramVersion: settlement.Program{}.Version(),
		LogKeys: []string{"log key"}, Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: "cosigner key"}}, SealQuorum: 1,
	}
	body, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	d.apply("creator", ledger.KindRecord, body)
	return d
}

// apply appends one entry and returns its leaf.
func (d *driver) apply(principal string, kind ledger.Kind, body []byte) ledger.Entry {
	d.t.Helper()
	batch := ledger.Batch{Principal: principal, Entries: []ledger.NewEntry{{Kind: kind, Body: body}}}
	block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, d.time, []ledger.Batch{batch})
	if err != nil {
		d.t.Fatal(err)
	}
	head := d.l.Head()
	results, err := d.l.ApplyMany([]ledger.Committed{{RaftIndex: head.RaftIndex + 1, RaftTerm: 1, Block: block}})
	if err != nil {
		d.t.Fatal(err)
	}
	if err := results[0][0].Err; err != nil {
		d.t.Fatalf("the entry is refused: %v\n%s", err, d.l.ProgramPanic())
	}
	leaf, err := d.l.Leaf(head.Size)
	if err != nil {
		d.t.Fatal(err)
	}
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		d.t.Fatal(err)
	}
	return e
}

// do decides a command of a caller; operatorID acts as operator.
func (d *driver) do(principal string, action settlement.Action) *settlement.Outcome {
	d.t.Helper()
	c := settlement.Command{Operator: principal == operatorID, Action: action}
	body, err := c.Marshal()
	if err != nil {
		d.t.Fatalf("%s: %v", action.Op(), err)
	}
	o, err := settlement.ParseOutcome(d.apply(principal, ledger.KindCommand, body).Outcome)
	if err != nil {
		d.t.Fatal(err)
	}
	return o
}

// must is do of an operator's command, which must not be rejected.
func (d *driver) must(action settlement.Action) *settlement.Outcome {
	d.t.Helper()
	o := d.do(operatorID, action)
	for _, r := range o.Results {
		if r.Status == settlement.Rejected {
			d.t.Fatalf("%s is rejected: %s", action.Op(), r.Reason)
		}
	}
	return o
}

// due returns the command that a leader proposes now, nil when nothing is due.
func (d *driver) due() []byte {
	d.t.Helper()
	work, ok, err := d.l.Work()
	if err != nil {
		d.t.Fatal(err)
	}
	if !ok || work.At > d.time {
		return nil
	}
	return work.Command
}

// advanceOnce decides the command that a leader proposes now, and returns what came of it; nil when
// nothing is due.
func (d *driver) advanceOnce() *settlement.Outcome {
	d.t.Helper()
	command := d.due()
	if command == nil {
		return nil
	}
	o, err := settlement.ParseOutcome(d.apply(nodeID, ledger.KindCommand, command).Outcome)
	if err != nil {
		d.t.Fatal(err)
	}
	d.time++ // a queue goes on a microsecond later
	return o
}

// advance does everything that is due, as the leader does, and returns what came of it, an outcome
// for each entry.
func (d *driver) advance() (outcomes []*settlement.Outcome) {
	d.t.Helper()
	for o := d.advanceOnce(); o != nil; o = d.advanceOnce() {
		if outcomes = append(outcomes, o); len(outcomes) > 10_000 {
			d.t.Fatal("work is due after 10,000 entries of it")
		}
	}
	return outcomes
}

func (d *driver) account(id string) *settlement.Account {
	d.t.Helper()
	a, _, err := settlement.ReadAccount(d.l.State(), id)
	if err != nil {
		d.t.Fatalf("account %s: %v", id, err)
	}
	return a
}

func (d *driver) instruction(id string) *settlement.State {
	d.t.Helper()
	s, err := settlement.ReadInstruction(d.l.State(), id)
	if err != nil {
		d.t.Fatalf("instruction %s: %v", id, err)
	}
	return s
}

func decimal(t testing.TB, s string) settlement.Decimal {
	t.Helper()
	n, err := settlement.ParseDecimal(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
