package settle_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cairnledger/cairn/jepsen/settle"
	"github.com/cairnledger/cairn/jepsen/settle/load"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/proof"
)

var (
	commands = flag.Int("commands", 20_000, "how many commands the one long history has")
	every    = flag.Int("every", 50, "prove a balance at every so many map roots")
)

// TestOneHistory decides many random commands in one ledger, and compares it with the model as it
// grows:
//
//   - Every outcome, record and map root is the one of the model. So after every entry the sums of
//     every asset are conserved and no account passes its limit: the model checks that of its own.
//   - After every block, the records that the ledger keeps add up to nothing in every asset.
//   - A balance is proved as of every so many sizes. The proof verifies and says what the model says;
//     changed proofs are refused.
//
// The history does not run dry: accounts stay open, and what was left pending is ended from time to
// time.
func TestOneHistory(t *testing.T) {
	n, step := *commands, *every
	if testing.Short() {
		n = min(n, 2*tidyEvery)
	}
	store, err := badgerstore.Open(badgerstore.Options{Dir: t.TempDir(), MemTableSize: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	h := &history{bank: openBank(t, store), model: settle.New(origin), rng: rand.New(rand.NewPCG(*firstSeed, 7)), records: map[string][]byte{}}
	h.log, h.cosigner = cosigner(t, origin, 1), cosigner(t, origin+"/n1", 2)
	if h.policy, err = tlog.NewPolicy([]*tlog.VerifierKey{h.log.Key()}, []*tlog.VerifierKey{h.cosigner.Key()}, 1); err != nil {
		t.Fatal(err)
	}
	h.load = &load.Load{Owners: owners, Timeout: 2000, Grain: 20, Now: func() int64 { return h.now }}
	start := time.Now()
	// The end of the history has a tidying in it, which most voids and cancellations come from.
	end := max(n/10, tidyEvery)
	var last settle.Counts // before the end
	roots := 0
	for h.made < n {
		h.block()
		if h.made%tidyEvery < 3 && h.made > tidyEvery {
			h.tidy()
		}
		if got := h.model.Counts().Roots; got != roots {
			if roots = got; roots%step == 0 {
				h.prove()
			}
		}
		if last.Commands == 0 && h.made > n-end {
			last = h.model.Counts()
		}
	}
	for h.work() {
		h.now += 20
		h.follow()
	}
	h.compareRecords()
	if err := h.model.End(); err != nil {
		h.failf("%v", err)
	}
	c := h.model.Counts()
	t.Logf("seed %d: %d commands in %d entries, %d map roots, %d proofs, %d changed ones refused, %s", *firstSeed, c.Commands, h.model.Size(), c.Roots, h.proved, h.refused, time.Since(start).Round(time.Second))
	t.Logf("%+v", c)
	if h.proved == 0 || h.absent == 0 || h.refused < 4*h.proved {
		t.Errorf("%d proofs, %d of absences, %d changed ones: too few to show anything", h.proved, h.absent, h.refused)
	}
	for _, s := range []settlement.Status{settlement.Posted, settlement.Pending, settlement.Voided, settlement.Settled, settlement.Exists, settlement.Rejected} {
		if got := c.Statuses[s] - last.Statuses[s]; got*1000 < c.Commands-last.Commands {
			t.Errorf("of the last %d commands %d are %s: the history ran dry", c.Commands-last.Commands, got, s)
		}
	}
}

// tidyEvery is after how many commands what is pending is ended.
const tidyEvery = 2000

// history is a ledger that grows, and the model beside it.
type history struct {
	*bank
	model *settle.Model
	load  *load.Load
	rng   *rand.Rand
	made  int // commands

	log, cosigner           *tlog.Cosigner
	policy                  *tlog.Policy
	records                 map[string][]byte // by account, of the proof before
	proved, absent, refused int
}

func (h *history) failf(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("seed %d, entry %d: %s\nagain: go test ./jepsen/settle -run TestOneHistory -args -seed %d -commands %d -every %d",
		*firstSeed, h.model.Size(), fmt.Sprintf(format, args...), *firstSeed, *commands, *every)
}

// block appends a few commands, and lets time pass: mostly so little that commands come at the very
// end of reservations, rarely hours.
func (h *history) block() {
	var some []settlement.Command
	for range 1 + h.rng.IntN(3) {
		c := h.load.Next(h.rng)
		if x, closes := c.Action.(*settlement.ChangeAccount); closes && x.Close {
			continue // for ever: with time all accounts would be
		}
		some = append(some, c)
	}
	h.give(owners[h.rng.IntN(2)], some...)
	h.now += 20 * h.rng.Int64N(6)
	if h.rng.IntN(4000) == 0 {
		h.now += h.rng.Int64N(12 * 3_600_000_000)
	}
	if h.rng.IntN(4) == 0 {
		h.work()
		h.follow()
	}
}

func (h *history) give(principal string, some ...settlement.Command) {
	if len(some) == 0 {
		return
	}
	h.submit(principal, some...)
	h.made += len(some)
	h.follow()
}

// tidy ends what is pending: an operator voids the reservations and cancels the instructions.
func (h *history) tidy() {
	var some []settlement.Command
	end := func(a settlement.Action) { some = append(some, settlement.Command{Operator: true, Action: a}) }
	if err := settlement.Holds(h.l.State(), false, nil, 0, func(x settlement.Hold) bool {
		end(&settlement.Resolve{ID: x.ID, Void: true})
		return true
	}); err != nil {
		h.t.Fatal(err)
	}
	if err := settlement.OpenInstructions(h.l.State(), "", func(id string, _ *settlement.State) bool {
		end(&settlement.Manage{ID: id, Change: settlement.ManageCancel})
		return true
	}); err != nil {
		h.t.Fatal(err)
	}
	for part := range slices.Chunk(some, 20) {
		h.give(owners[0], part...)
	}
}

// follow gives the model what was appended, and looks at what the ledger keeps.
func (h *history) follow() {
	h.t.Helper()
	for h.model.Size() < h.l.Head().Size {
		leaf, detail, err := h.l.Detail(h.model.Size())
		if err != nil {
			h.t.Fatal(err)
		}
		if problems := h.model.Leaf(leaf); len(problems) > 0 {
			h.failf("%v", problems[0])
		}
		if !bytes.Equal(detail, h.model.Detail()) {
			h.failf("the detail is %x, by the rules it is %x", detail, h.model.Detail())
		}
	}
	sums := map[string]*big.Int{}
	for id := range h.model.Balances() {
		a, _, err := settlement.ReadAccount(h.l.State(), id)
		if err != nil {
			h.failf("read the account %s: %v", id, err)
		}
		for kind, x := range map[string][2]settlement.Amount{
			"posted":  {a.Balances.CreditsPosted, a.Balances.DebitsPosted},
			"pending": {a.Balances.CreditsPending, a.Balances.DebitsPending},
		} {
			s := sums[a.Asset+" "+kind]
			if s == nil {
				s = new(big.Int)
				sums[a.Asset+" "+kind] = s
			}
			s.Add(s, bigOf(x[0])).Sub(s, bigOf(x[1]))
		}
	}
	for what, s := range sums {
		if s.Sign() != 0 {
			h.failf("the accounts have %s more %s than the others have less", s, what)
		}
	}
}

func bigOf(a settlement.Amount) *big.Int {
	n := new(big.Int).SetUint64(a.Hi)
	return n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(a.Lo))
}

// compareRecords compares all records that the ledger keeps with those of the model.
func (h *history) compareRecords() {
	h.t.Helper()
	stored := map[string][]byte{}
	if err := h.l.State().Range([]byte{'a'}, []byte{'b'}, func(k, v []byte) bool {
		stored[string(k[1:])] = bytes.Clone(v)
		return true
	}); err != nil {
		h.t.Fatal(err)
	}
	if want := h.model.Rows(); !maps.EqualFunc(stored, want, bytes.Equal) {
		h.failf("the records are\n%x\nby the rules they are\n%x", stored, want)
	}
}

// prove proves an account as of the size of the newest map root, or that there is none, and tries
// what is not a proof.
func (h *history) prove() {
	h.t.Helper()
	h.compareRecords()
	want := h.model.Records()
	ids := slices.Sorted(maps.Keys(want))
	id := ids[h.rng.IntN(len(ids))]
	if h.proved%8 == 7 {
		id = "nobody"
	}
	size := h.l.Head().Size
	p := h.proof(id, size)
	raw := p.Marshal()
	v, err := proof.Verify(raw, h.policy)
	switch {
	case err != nil:
		h.failf("the proof of %s: %v", id, err)
	case v.Account == nil || v.Account.ID != id || v.Account.Size != h.model.RootAt()+1: // what follows touches no account
		h.failf("the proof of %s as of size %d proves %+v", id, size, v.Account)
	case (v.Account.Account == nil) != (want[id] == nil) || v.Account.Account != nil && !bytes.Equal(v.Account.Account.Marshal(), want[id]):
		h.failf("the proof of %s proves %+v, by the rules the record is %x", id, v.Account.Account, want[id])
	}
	h.proved++
	if want[id] == nil {
		h.absent++
	}
	for range 4 {
		bit := h.rng.IntN(8 * len(raw))
		flipped := bytes.Clone(raw)
		flipped[bit/8] ^= 1 << (bit % 8)
		h.refuse(fmt.Sprintf("bit %d is flipped", bit), flipped)
	}
	changed := *p
	if want[id] == nil {
		changed.Record = want[ids[0]]
		h.refuse("another account's record where there is none", changed.Marshal())
		return
	}
	richer := *v.Account.Account
	richer.Balances.CreditsPosted, _ = richer.Balances.CreditsPosted.Add(settlement.AmountOf(1))
	changed.Record = richer.Marshal()
	h.refuse("one more unit", changed.Marshal())
	changed.Record = nil
	h.refuse("no record", changed.Marshal())
	if before := h.records[id]; before != nil && !bytes.Equal(before, want[id]) {
		changed.Record = before
		h.refuse("the record of an earlier size", changed.Marshal())
	}
	h.records[id] = want[id]
	changed = *p
	changed.Map = h.proof(ids[(slices.Index(ids, id)+1)%len(ids)], size).Map
	h.refuse("the path of another account", changed.Marshal())
}

func (h *history) refuse(what string, raw []byte) {
	h.t.Helper()
	if _, err := proof.Verify(raw, h.policy); err == nil {
		h.failf("a changed proof is accepted: %s\n%s", what, raw)
	}
	h.refused++
}

func (h *history) proof(id string, size uint64) *proof.Account {
	h.t.Helper()
	p, err := h.l.MapProof(size, []byte(id))
	if err != nil {
		h.failf("prove %s as of size %d: %v", id, size, err)
	}
	return &proof.Account{ID: id, Record: p.Record, Map: p.Proof, Root: h.receipt(p.Index)}
}

func (h *history) receipt(index uint64) *tlog.Receipt {
	h.t.Helper()
	head := h.l.Head()
	cp := tlog.Checkpoint{Origin: origin, Size: head.Size, Root: head.Root}
	note := &tlog.Note{Text: cp.Text()}
	for _, c := range []*tlog.Cosigner{h.log, h.cosigner} {
		sig, err := c.Cosign(cp, 1_700_000_000)
		if err != nil {
			h.t.Fatal(err)
		}
		note.Signatures = append(note.Signatures, sig)
	}
	leaf, err := h.l.Leaf(index)
	if err != nil {
		h.t.Fatal(err)
	}
	path, err := h.l.InclusionProof(index, head.Size)
	if err != nil {
		h.t.Fatal(err)
	}
	return &tlog.Receipt{Extra: leaf, Index: index, Proof: path, Checkpoint: note.Marshal()}
}

func cosigner(t *testing.T, name string, seed byte) *tlog.Cosigner {
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
