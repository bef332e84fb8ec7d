package proof_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/proof"
)

const (
	origin = "example.org/bank"
	node   = "spiffe://example.org/cluster/00000000000000c1/node/n1"
)

// bank is a settlement ledger whose checkpoints are signed by keys of the test.
type bank struct {
	t       testing.TB
	l       *ledger.Ledger
	log     *tlog.Cosigner
	node    *tlog.Cosigner
	policy  *tlog.Policy
	time    int64
	account map[uint64]settlement.Account // alice as of each size with a map root
}

func cosigner(t testing.TB, name string, seed byte) *tlog.Cosigner {
	t.Helper()
	key, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	c, err := tlog.NewCosigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newBank(t testing.TB) *bank {
	t.Helper()
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: origin, Program: settlement.Program{}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bank{t: t, l: l, log: cosigner(t, origin, 1), node: cosigner(t, origin+"/n1", 2), time: 1_772_000_000_000_000, account: map[uint64]settlement.Account{}}
	if b.policy, err = tlog.NewPolicy([]*tlog.VerifierKey{b.log.Key()}, []*tlog.VerifierKey{b.node.Key()}, 1); err != nil {
		t.Fatal(err)
	}
	g := ledger.Genesis{
		FeatureLevel: ledger.FeatureLevel, Origin: origin, Program: settlement.ProgramName, ProgramVersion: 1,
		LogKeys: []string{"log key"}, Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: "cosigner key"}}, SealQuorum: 1,
	}
	body, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b.append(ledger.NewEntry{Kind: ledger.KindRecord, Body: body})
	return b
}

func (b *bank) append(entries ...ledger.NewEntry) {
	b.t.Helper()
	b.time += 1000
	batches := ledger.WithMapRoot(settlement.Program{}, node, []ledger.Batch{{Principal: "spiffe://example.org/svc/a", Entries: entries}})
	block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, b.time, batches)
	if err != nil {
		b.t.Fatal(err)
	}
	results, err := b.l.ApplyMany([]ledger.Committed{{RaftIndex: b.l.Head().RaftIndex + 1, RaftTerm: 1, Block: block}})
	if err != nil {
		b.t.Fatal(err)
	}
	if results[0][0].Err != nil {
		b.t.Fatal(results[0][0].Err)
	}
	if a, _, err := settlement.ReadAccount(b.l.State(), "alice"); err == nil {
		b.account[b.l.Head().Size] = *a
	}
}

func (b *bank) do(actions ...settlement.Action) {
	b.t.Helper()
	var entries []ledger.NewEntry
	for _, a := range actions {
		body, err := (&settlement.Command{Operator: true, Action: a}).Marshal()
		if err != nil {
			b.t.Fatal(err)
		}
		entries = append(entries, ledger.NewEntry{Kind: ledger.KindCommand, Body: body})
	}
	b.append(entries...)
}

func (b *bank) receipt(index uint64) *tlog.Receipt {
	b.t.Helper()
	head := b.l.Head()
	cp := tlog.Checkpoint{Origin: origin, Size: head.Size, Root: head.Root}
	n := &tlog.Note{Text: cp.Text()}
	for _, c := range []*tlog.Cosigner{b.log, b.node} {
		sig, err := c.Cosign(cp, 1_700_000_000)
		if err != nil {
			b.t.Fatal(err)
		}
		n.Signatures = append(n.Signatures, sig)
	}
	leaf, err := b.l.Leaf(index)
	if err != nil {
		b.t.Fatal(err)
	}
	path, err := b.l.InclusionProof(index, head.Size)
	if err != nil {
		b.t.Fatal(err)
	}
	return &tlog.Receipt{Extra: leaf, Index: index, Proof: path, Checkpoint: n.Marshal()}
}

func (b *bank) prove(id string, size uint64) *proof.Account {
	b.t.Helper()
	p, err := b.l.MapProof(size, []byte(id))
	if err != nil {
		b.t.Fatal(err)
	}
	return &proof.Account{ID: id, Record: p.Record, Map: p.Proof, Root: b.receipt(p.Index)}
}

func amount(n uint64) settlement.Decimal { return settlement.NewDecimal(settlement.AmountOf(n), 2) }

// filled returns a bank with some history: alice is opened, paid, pays, reserves.
func filled(t testing.TB) *bank {
	b := newBank(t)
	b.do(&settlement.CreateAsset{ID: "USD", Scale: 2}, &settlement.OpenAccount{ID: "world", Asset: "USD", Key: settlement.Key{1}})
	b.do(&settlement.OpenAccount{ID: "alice", Asset: "USD", Flags: settlement.DebitsLimited, Key: settlement.Key{2}}, &settlement.OpenAccount{ID: "bob", Asset: "USD", Key: settlement.Key{3}})
	transfer := func(id, from, to string, n uint64, pending bool) *settlement.Submit {
		return &settlement.Submit{Pending: pending, Transfers: []settlement.Transfer{{ID: id, Debit: from, Credit: to, Amount: amount(n)}}}
	}
	for i := range uint64(12) {
		b.do(transfer(fmt.Sprintf("in-%d", i), "world", "alice", 1000+i, false), transfer(fmt.Sprintf("else-%d", i), "world", "bob", 5, false))
		b.do(transfer(fmt.Sprintf("out-%d", i), "alice", "bob", 10*i+1, i%3 == 0))
	}
	b.do(&settlement.Resolve{ID: "out-3", Amounts: []settlement.Partial{{Amount: amount(30)}}}, &settlement.Resolve{ID: "out-6", Void: true})
	b.do(transfer("too-much", "alice", "bob", 1e9, false))
	return b
}

// TestAccountAtEverySize: at every size the proof shows what the account had as of the newest root
// below it, and that another account does not exist.
func TestAccountAtEverySize(t *testing.T) {
	b := filled(t)
	for size := uint64(4); size <= b.l.Head().Size; size++ {
		raw := b.prove("alice", size).Marshal()
		v, err := proof.Verify(raw, b.policy)
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		if v.Account.Size > size {
			t.Fatalf("size %d: a proof as of size %d", size, v.Account.Size)
		}
		want, exists := b.account[v.Account.Size]
		if exists != (v.Account.Account != nil) || exists && !bytes.Equal(v.Account.Account.Marshal(), want.Marshal()) {
			t.Errorf("size %d: proved %+v as of %d, want %+v", size, v.Account.Account, v.Account.Size, want)
		}
		if v, err := proof.Verify(b.prove("nobody", size).Marshal(), b.policy); err != nil || v.Account.Account != nil {
			t.Errorf("size %d: absence: %+v, %v", size, v.Account, err)
		}
	}
}

func (b *bank) transferProof(id string, receipts ...uint64) *proof.Transfer {
	p := &proof.Transfer{ID: id, Asked: b.receipt(receipts[0])}
	if len(receipts) > 1 {
		p.Resolution = b.receipt(receipts[1])
	}
	for part, index := range receipts {
		p.Details = append(p.Details, b.details(part, index, "alice")...)
	}
	return p
}

// details returns the detail of an account in an entry, if the entry touched it.
func (b *bank) details(part int, index uint64, account string) []proof.Detail {
	m, err := settlement.ReadMovement(b.l.Detail, index, account)
	if err != nil {
		return nil
	}
	return []proof.Detail{{Part: part, Bytes: m.Detail.Append(nil)}}
}

// TestDetailsInAProof: a file shows what the account of its details has, and a detail of another
// entry, of another account or with other balances is refused.
func TestDetailsInAProof(t *testing.T) {
	b := filled(t)
	at := mustIndex(t, b, "out-3")
	good := b.transferProof("out-3", at...)
	v, err := proof.Verify(good.Marshal(), b.policy)
	if err != nil || len(v.Transfer.Shown) != 2 {
		t.Fatalf("%+v, %v", v.Transfer, err)
	}
	for i, s := range v.Transfer.Shown {
		m, err := settlement.ReadMovement(b.l.Detail, at[i], "alice")
		if err != nil || s.Index != at[i] || s.Line != m.Detail.Line || s.Line.Balances == (settlement.Balances{}) {
			t.Errorf("receipt %d shows %+v of entry %d, %v", i, s.Line, s.Index, err)
		}
	}
	if file := string(good.Marshal()); strings.Count(file, "\ndetail ") != 2 {
		t.Errorf("the file has details of others:\n%s", file)
	}
	for name, change := range map[string]func(p *proof.Transfer){
		"of another entry": func(p *proof.Transfer) { p.Details[0].Bytes = p.Details[1].Bytes },
		"of no receipt":    func(p *proof.Transfer) { p.Details[1].Part = 2 },
		"twice":            func(p *proof.Transfer) { p.Details[1] = p.Details[0] },
		"in another order": func(p *proof.Transfer) { p.Details[0], p.Details[1] = p.Details[1], p.Details[0] },
		"with other balances": func(p *proof.Transfer) {
			p.Details[0].Bytes = bytes.Clone(p.Details[0].Bytes)
			p.Details[0].Bytes[80] ^= 1
		},
		"with another blind": func(p *proof.Transfer) {
			p.Details[0].Bytes = bytes.Clone(p.Details[0].Bytes)
			p.Details[0].Bytes[40] ^= 1
		},
		"of an account that the entry did not touch": func(p *proof.Transfer) { p.Details = b.details(0, mustIndex(t, b, "else-1")[0], "world") },
	} {
		p := b.transferProof("out-3", at...)
		change(p)
		if v, err := proof.Verify(p.Marshal(), b.policy); err == nil {
			t.Errorf("a detail %s: %+v", name, v.Transfer)
		}
	}
}

// TestTransfers: what was asked, what came of it, and how it was resolved, and nothing else.
func TestTransfers(t *testing.T) {
	b := filled(t)
	state := func(id string) *settlement.State {
		s, err := settlement.ReadTransfer(b.l.State(), id)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for id, want := range map[string]settlement.Status{"in-1": settlement.Posted, "out-3": settlement.Posted, "out-6": settlement.Voided, "out-9": settlement.Pending, "too-much": settlement.Rejected} {
		s := state(id)
		indexes := []uint64{s.Index}
		if s.Resolved != s.Index {
			indexes = append(indexes, s.Resolved)
		}
		v, err := proof.Verify(b.transferProof(id, indexes...).Marshal(), b.policy)
		if err != nil || v.Transfer.Status != want {
			t.Errorf("%s: %+v, %v, want %s", id, v.Transfer, err, want)
		}
	}
	for name, p := range map[string]*proof.Transfer{
		"another transfer":           b.transferProof("in-2", state("in-1").Index),
		"another's resolution":       b.transferProof("out-6", state("out-6").Index, state("out-3").Resolved),
		"a resolution of the posted": b.transferProof("in-1", state("in-1").Index, state("out-3").Resolved),
		"no resolution":              b.transferProof("out-9", state("out-9").Index, state("in-1").Index),
		"no transfer":                b.transferProof("alice", 4),
	} {
		if v, err := proof.Verify(p.Marshal(), b.policy); err == nil {
			t.Errorf("%s is proved: %+v", name, v.Transfer)
		}
	}
}

// statement returns the statement of alice between two sizes; 0 is from the beginning.
func (b *bank) statement(from, to uint64, hide func(index uint64) bool) *proof.Statement {
	b.t.Helper()
	s, first := &proof.Statement{Closing: b.prove("alice", to)}, uint64(0)
	if from > 0 {
		s.Opening = b.prove("alice", from)
		first = s.Opening.Root.Index + 1
	}
	closing, err := settlement.ParseAccount(s.Closing.Record)
	if err != nil {
		b.t.Fatal(err)
	}
	err = settlement.History(b.l.Detail, "alice", closing.Last, first, func(m *settlement.Movement) bool {
		e := proof.StatementEntry{Index: m.Index, Covered: m.Covered(), Detail: m.Detail.Append(nil)}
		if hide(m.Index) {
			e.Covered, e.Digest = nil, m.Digest()
		}
		s.Entries = append([]proof.StatementEntry{e}, s.Entries...)
		return true
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// otherLine hides an entry behind a line with other balances.
func otherLine(t *testing.T, b *bank, e proof.StatementEntry) proof.StatementEntry {
	t.Helper()
	m, err := settlement.ReadMovement(b.l.Detail, e.Index, "alice")
	if err != nil {
		t.Fatal(err)
	}
	m.Detail.Line.Balances.CreditsPosted.Lo++
	return proof.StatementEntry{Index: e.Index, Digest: m.Digest(), Detail: m.Detail.Append(nil)}
}

// TestStatements: a statement verifies with all entries, with some hidden, and not with one left
// out, twice, moved or changed.
func TestStatements(t *testing.T) {
	b := filled(t)
	head := b.l.Head().Size
	for _, hide := range []func(uint64) bool{func(uint64) bool { return false }, func(i uint64) bool { return i%3 == 0 }, func(uint64) bool { return true }} {
		for _, from := range []uint64{0, 4, 14, 30} {
			s := b.statement(from, head, hide)
			v, err := proof.Verify(s.Marshal(), b.policy)
			if err != nil {
				t.Fatalf("from %d: %v", from, err)
			}
			if len(v.Statement.Entries) != len(s.Entries) || len(s.Entries) < 5 {
				t.Errorf("from %d: %d entries", from, len(v.Statement.Entries))
			}
			if first := v.Statement.Entries[0].Line.Sequence; first == 1 != (from <= 4) {
				t.Errorf("from %d: the first entry is the account's %d", from, first)
			}
			for i, e := range v.Statement.Entries[1:] {
				if e.Before != v.Statement.Entries[i].Line.Balances {
					t.Errorf("from %d: entry %d begins with other balances than those before left", from, e.Index)
				}
			}
		}
	}
	damage := map[string]func(s *proof.Statement){
		"the last one is left out":    func(s *proof.Statement) { s.Entries = s.Entries[:len(s.Entries)-1] },
		"the first one is left out":   func(s *proof.Statement) { s.Entries = s.Entries[1:] },
		"one is left out":             func(s *proof.Statement) { s.Entries = append(s.Entries[:3:3], s.Entries[4:]...) },
		"one stands twice":            func(s *proof.Statement) { s.Entries = append(s.Entries[:3:3], s.Entries[2:]...) },
		"two are swapped":             func(s *proof.Statement) { s.Entries[2], s.Entries[3] = s.Entries[3], s.Entries[2] },
		"one has another index":       func(s *proof.Statement) { s.Entries[2].Index++ },
		"one is hidden under a lie":   func(s *proof.Statement) { s.Entries[2].Covered, s.Entries[2].Digest[0] = nil, 1 },
		"another line":                func(s *proof.Statement) { s.Entries[2] = otherLine(t, b, s.Entries[2]) },
		"the opening is left out":     func(s *proof.Statement) { s.Opening = nil },
		"one is another leaf":         func(s *proof.Statement) { s.Entries[2].Covered = s.Entries[4].Covered },
		"it ends before it begins":    func(s *proof.Statement) { s.Opening, s.Closing = s.Closing, s.Opening },
		"the closing is that of then": func(s *proof.Statement) { s.Closing = s.Opening },
	}
	for name, change := range damage {
		for _, hide := range []func(uint64) bool{func(uint64) bool { return false }, func(i uint64) bool { return i%2 == 0 }} {
			s := b.statement(12, head, hide)
			change(s)
			if _, err := proof.Verify(s.Marshal(), b.policy); err == nil {
				t.Errorf("%s: it verifies", name)
			}
		}
	}
}

// TestChangedFilesAreRefused changes one byte, drops some and adds some, everywhere in files of each
// kind, outside of signatures that the quorum does not need.
func TestChangedFilesAreRefused(t *testing.T) {
	b := filled(t)
	files := map[string][]byte{
		"account":   b.prove("alice", b.l.Head().Size).Marshal(),
		"absence":   b.prove("nobody", b.l.Head().Size).Marshal(),
		"transfer":  b.transferProof("out-3", mustIndex(t, b, "out-3")...).Marshal(),
		"statement": b.statement(12, 30, func(i uint64) bool { return i%2 == 0 }).Marshal(),
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for name, raw := range files {
		if _, err := proof.Verify(raw, b.policy); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for range 400 {
			changed := bytes.Clone(raw)
			at := rng.IntN(len(raw))
			switch rng.IntN(4) {
			case 0:
				changed[at] ^= 1 << rng.IntN(8)
			case 1:
				changed = append(changed[:at], changed[min(len(raw), at+1+rng.IntN(3)):]...)
			case 2:
				changed = append(changed[:at:at], append([]byte{raw[at]}, raw[at:]...)...)
			case 3:
				other := rng.IntN(len(raw))
				changed[at], changed[other] = changed[other], changed[at]
			}
			if bytes.Equal(changed, raw) {
				continue
			}
			if v, err := proof.Verify(changed, b.policy); err == nil {
				t.Errorf("%s with a change at byte %d of %d verifies: %+v", name, at, len(raw), v)
			}
		}
	}
}

func mustIndex(t testing.TB, b *bank, id string) []uint64 {
	t.Helper()
	s, err := settlement.ReadTransfer(b.l.State(), id)
	if err != nil {
		t.Fatal(err)
	}
	return []uint64{s.Index, s.Resolved}
}

// FuzzVerify: no file makes verification panic.
func FuzzVerify(f *testing.F) {
	b := filled(f)
	f.Add(b.prove("alice", b.l.Head().Size).Marshal())
	f.Add(b.statement(12, 20, func(i uint64) bool { return i%2 == 0 }).Marshal())
	f.Add(b.transferProof("in-1", 5).Marshal())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if v, err := proof.Verify(raw, b.policy); err == nil && v.Checkpoint().Origin != origin {
			t.Errorf("a proof about %s", v.Checkpoint().Origin)
		}
	})
}
