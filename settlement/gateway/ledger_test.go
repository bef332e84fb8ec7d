package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/settlement"
)

// books is a real settlement ledger in memory, seen by one principal. Every request is a block.
type books struct {
	t        testing.TB
	l        *ledger.Ledger
	who      string
	operator bool
	time     int64 // of the next entry, in µs

	// fail, if it is not nil, is called before a request, and its error is the request's. A request
	// whose error is errLost is carried out all the same: its answer is lost.
	fail func() error
	// requests counts the calls of Execute, and entries the commands that were appended.
	requests, entries int
	statements        int  // calls of Settlements
	forgetful         bool // Settlements shows nothing
}

var errLost = errors.New("the answer was lost")

const nodeName = "spiffe://example.org/cluster/00000000000000c1/node/n1"

const testOrigin = "example.org/settlement"

// noon is the ledger time of the first entry.
var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func newBooks(t testing.TB) *books {
	t.Helper()
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: testOrigin, Program: settlement.Program{}})
	if err != nil {
		t.Fatal(err)
	}
	b := &books{t: t, l: l, who: "spiffe://example.org/svc/operator", operator: true, time: noon.UnixMicro()}
	g := ledger.Genesis{
		FeatureLevel: ledger.FeatureLevel, Origin: testOrigin, Program: settlement.ProgramName, ProgramVersion: settlement.Program{}.Version(),
		LogKeys: []string{"log key"}, Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: "cosigner key"}}, SealQuorum: 1,
	}
	body, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b.append("creator", ledger.KindRecord, [][]byte{body})
	return b
}

// as returns the same ledger, seen by another principal.
func (b *books) as(principal string) *books {
	c := *b
	c.who, c.operator = principal, false
	return &c
}

// append appends entries as one block and returns their indexes.
func (b *books) append(principal string, kind ledger.Kind, bodies [][]byte) []uint64 {
	b.t.Helper()
	batch := ledger.Batch{Principal: principal}
	for _, body := range bodies {
		batch.Entries = append(batch.Entries, ledger.NewEntry{Kind: kind, Body: body})
	}
	b.time = max(b.time, b.l.Head().Time) + 1000
	block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, b.time, []ledger.Batch{batch})
	if err != nil {
		b.t.Fatal(err)
	}
	results, err := b.l.ApplyMany([]ledger.Committed{{RaftIndex: b.l.Head().RaftIndex + 1, RaftTerm: 1, Block: block}})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := results[0][0].Err; err != nil {
		b.t.Fatalf("the batch is refused: %v", err)
	}
	return results[0][0].Indexes
}

// Execute implements Ledger as a node does: what is known is not appended again.
func (b *books) Execute(_ context.Context, actions []settlement.Action) ([]Decision, error) {
	b.requests++
	var failed error
	if b.fail != nil {
		if failed = b.fail(); failed != nil && !errors.Is(failed, errLost) {
			return nil, failed
		}
	}
	var bodies [][]byte
	indexes := make([]uint64, len(actions))
	existed := make([]bool, len(actions))
	for i, a := range actions {
		index, known, err := settlement.Known(b.l.State(), []byte(b.who), a)
		if err != nil {
			b.t.Fatal(err)
		}
		if known {
			indexes[i], existed[i] = index, true
			continue
		}
		body, err := (&settlement.Command{Operator: b.operator, Action: a}).Marshal()
		if err != nil {
			return nil, errors.Join(ErrRefused, err)
		}
		most, err := settlement.Program{}.MaxOutcome(ledger.KindCommand, body)
		if err != nil || len(body)+most > ledger.MaxBody(b.who, 0) {
			return nil, errors.Join(ErrRefused, err, errors.New("it does not fit into a leaf"))
		}
		bodies = append(bodies, body)
	}
	if len(bodies) > 0 {
		appended := b.append(b.who, ledger.KindCommand, bodies)
		b.entries += len(appended)
		for i := range actions {
			if !existed[i] {
				indexes[i], appended = appended[0], appended[1:]
			}
		}
	}
	if failed != nil {
		return nil, failed
	}
	decisions := make([]Decision, len(actions))
	for i, index := range indexes {
		d := b.leaf(index)
		if first, repeats := d.Repeats(); repeats {
			d, existed[i] = b.leaf(first), true
		}
		decisions[i] = Decision{Index: d.Index, Time: time.UnixMicro(d.Entry.Time), Existed: existed[i], Results: d.Outcome.Results}
	}
	return decisions, nil
}

func (b *books) leaf(index uint64) *settlement.Decided {
	b.t.Helper()
	leaf, err := b.l.Leaf(index)
	if err != nil {
		b.t.Fatal(err)
	}
	d, err := settlement.ParseLeaf(index, leaf)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// Transfer implements Ledger.
func (b *books) Transfer(_ context.Context, id string) (*Transfer, error) {
	state := b.l.State()
	s, err := settlement.ReadTransfer(state, id)
	if errors.Is(err, settlement.ErrUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := &Transfer{ID: id, Status: s.Status, Reason: s.Reason, Index: s.Index, Resolved: s.Resolved, Debit: s.Debit, Credit: s.Credit}
	if s.Debit != "" {
		a, _, err := settlement.ReadAccount(state, s.Debit)
		if err != nil {
			return nil, err
		}
		t.Asset, t.Amount, t.Posted = a.Asset, s.Amount.Decimal(a.Scale), s.Posted.Decimal(a.Scale)
	}
	if submit, ok := b.leaf(s.Index).Command.Action.(*settlement.Submit); ok {
		t.References = submit.Transfers[s.Position].References
	}
	return t, nil
}

// Transfers implements Ledger.
func (b *books) Transfers(ctx context.Context, prefix string) (all []*Transfer, err error) {
	err = settlement.Transfers(b.l.State(), prefix, "", func(id string, _ *settlement.State) bool {
		t, err := b.Transfer(ctx, id)
		all = append(all, t)
		return err == nil
	})
	return all, err
}

// Instruction implements Ledger.
func (b *books) Instruction(_ context.Context, id string) (*Instruction, error) {
	s, err := settlement.ReadInstruction(b.l.State(), id)
	if errors.Is(err, settlement.ErrUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	i := &Instruction{ID: id, Status: s.Status, Reason: s.Reason, Index: s.Index, Resolved: s.Resolved}
	if s.Instruction == nil {
		return i, nil
	}
	i.Held = s.Instruction.Held
	for _, leg := range []struct {
		leg *settlement.LegState
		to  *InstructionLeg
	}{{&s.Instruction.Delivers, &i.Delivers}, {&s.Instruction.Receives, &i.Receives}} {
		if account := leg.leg.Account; account != "" {
			*leg.to = InstructionLeg{account, b.units(account, leg.leg.Amount), b.units(account, leg.leg.Settled)}
		}
	}
	return i, nil
}

func (b *books) units(account string, amount settlement.Amount) string {
	b.t.Helper()
	a, _, err := settlement.ReadAccount(b.l.State(), account)
	if err != nil {
		b.t.Fatal(err)
	}
	return amount.Decimal(a.Scale)
}

// Settlements implements Ledger.
func (b *books) Settlements(_ context.Context, account, id string, from uint64) ([]Settlement, error) {
	state, err := settlement.ReadInstruction(b.l.State(), id)
	if err != nil {
		return nil, err
	}
	b.statements++
	if b.forgetful {
		return nil, nil
	}
	var list []Settlement
	for index := from; index < b.l.Head().Size; index++ {
		leaf, err := b.l.Leaf(index)
		if err != nil {
			return nil, err
		}
		d, err := settlement.ParseLeaf(index, leaf)
		if err != nil {
			continue // a record of the ledger
		}
		for _, r := range d.Outcome.Results {
			if r.ID != id || r.Delivered.IsZero() && r.Received.IsZero() {
				continue
			}
			s := Settlement{Index: index, Time: time.UnixMicro(d.Entry.Time)}
			if l := state.Instruction.Delivers.Account; l != "" {
				s.Delivered = b.units(l, r.Delivered)
			}
			if l := state.Instruction.Receives.Account; l != "" {
				s.Received = b.units(l, r.Received)
			}
			list = append(list, s)
		}
	}
	return list, nil
}

// advance lets the ledger's leader do what is due.
func (b *books) advance() {
	b.t.Helper()
	body, err := (&settlement.Command{Action: &settlement.Advance{}}).Marshal()
	if err != nil {
		b.t.Fatal(err)
	}
	b.append(nodeName, ledger.KindCommand, [][]byte{body})
}

// do asks for actions, none of which may be rejected.
func (b *books) do(actions ...settlement.Action) {
	b.t.Helper()
	decisions, err := b.Execute(context.Background(), actions)
	if err != nil {
		b.t.Fatal(err)
	}
	for i, d := range decisions {
		for _, r := range d.Results {
			if r.Status == settlement.Rejected || r.Status == settlement.Conflict {
				b.t.Fatalf("%s is %s: %s", actions[i].Op(), r.Status, r.Reason)
			}
		}
	}
}

// open opens accounts of an asset, the first one without a limit, which pays each of the others so
// much.
func (b *books) open(asset string, scale uint8, funds string, accounts ...string) {
	b.t.Helper()
	amount, err := settlement.ParseDecimal(funds)
	if err != nil {
		b.t.Fatal(err)
	}
	b.do(&settlement.CreateAsset{ID: asset, Scale: scale}, &settlement.OpenAccount{ID: "world-" + asset, Asset: asset})
	for _, id := range accounts {
		b.do(&settlement.OpenAccount{ID: id, Asset: asset, Flags: settlement.DebitsLimited, Owners: []string{"spiffe://example.org/svc/bank"}})
		if !amount.Coefficient.IsZero() {
			b.do(&settlement.Submit{Transfers: []settlement.Transfer{{ID: "fund-" + id, Debit: "world-" + asset, Credit: id, Amount: amount}}})
		}
	}
}

// balance returns what an account has available.
func (b *books) balance(id string) string {
	b.t.Helper()
	a, _, err := settlement.ReadAccount(b.l.State(), id)
	if err != nil {
		b.t.Fatalf("account %s: %v", id, err)
	}
	available, negative := a.Available()
	if negative {
		return "-" + available.Decimal(a.Scale)
	}
	return available.Decimal(a.Scale)
}
