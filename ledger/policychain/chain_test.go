package policychain_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/policychain"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew (signatures are randomised, so it changes)")

const origin = "example.org/chain"

func key(t testing.TB, name string, number byte) *tlog.Cosigner {
	t.Helper()
	k, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, bytes.Repeat([]byte{number}, 32))
	if err != nil {
		t.Fatal(err)
	}
	c, err := tlog.NewCosigner(name, k)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func node(t testing.TB, number byte) *tlog.Cosigner {
	return key(t, fmt.Sprint(origin, "/k", number), number)
}

// history is a ledger whose members begin with the keys 1, 2 and 3.
type history struct {
	t testing.TB
	*ledger.Ledger
	blocks uint64
}

func begin(t testing.TB) *history {
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	h := &history{t: t, Ledger: l}
	g := &ledger.Genesis{FeatureLevel: 1, Origin: origin, Program: "log", ProgramVersion: 1, LogKeys: []string{key(t, origin, 100).Key().String()}, SealQuorum: 2}
	for i := range 3 {
		g.Members = append(g.Members, ledger.Member{ID: uint64(i + 1), Name: fmt.Sprint("n", i+1), Cosigner: node(t, byte(i+1)).Key().String()})
	}
	raw, err := ledger.EncodeGenesis(g, "creator", 5)
	if err != nil {
		t.Fatal(err)
	}
	h.apply(raw)
	return h
}

func (h *history) apply(raw []byte) {
	h.t.Helper()
	h.blocks++
	results, err := h.ApplyMany([]ledger.Committed{{RaftIndex: h.blocks, RaftTerm: 1, Block: raw}})
	if err == nil {
		err = results[0][0].Err
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) append(b ledger.Batch, err error) {
	h.t.Helper()
	var raw []byte
	if err == nil {
		raw, err = ledger.EncodeBlock(h.Anchor(), 6, []ledger.Batch{b})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.apply(raw)
}

func (h *history) payload(text string) {
	h.append(ledger.Batch{Principal: "w", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte(text)}}}, nil)
}

// rotate gives a member another cosigner key.
func (h *history) rotate(member int, number byte) {
	in, err := h.PolicyAt(h.Head().Size)
	if err != nil {
		h.t.Fatal(err)
	}
	c := &ledger.PolicyChange{Policy: *in.Newest, Reason: ledger.PolicyRotateCosigner}
	c.Policy.Epoch++
	c.Policy.Members = slices.Clone(c.Policy.Members)
	c.Policy.Members[member].Cosigner = node(h.t, number).Key().String()
	h.append(ledger.PolicyBatch("admin", c))
}

func (h *history) handover(epoch uint32, size uint64, keys ...byte) {
	h.append(ledger.HandoverBatch("n1", ledger.Handover{Epoch: epoch, Note: h.note(size, keys...)}))
}

func (h *history) note(size uint64, keys ...byte) []byte {
	h.t.Helper()
	root, err := h.RootAt(size)
	if err != nil {
		h.t.Fatal(err)
	}
	cp := tlog.Checkpoint{Origin: origin, Size: size, Root: root}
	n := tlog.Note{Text: cp.Text()}
	for _, k := range append([]byte{100}, keys...) {
		c := key(h.t, origin, k)
		if k != 100 {
			c = node(h.t, k)
		}
		sig, err := c.Cosign(cp, 1_700_000_000)
		if err != nil {
			h.t.Fatal(err)
		}
		n.Signatures = append(n.Signatures, sig)
	}
	return n.Marshal()
}

// receipt is that of an entry in a size that these keys sealed.
func (h *history) receipt(index, size uint64, keys ...byte) *tlog.Receipt {
	h.t.Helper()
	leaf, err := h.Leaf(index)
	if err != nil {
		h.t.Fatal(err)
	}
	proof, err := h.InclusionProof(index, size)
	if err != nil {
		h.t.Fatal(err)
	}
	return &tlog.Receipt{Extra: leaf, Index: index, Proof: proof, Checkpoint: h.note(size, keys...)}
}

func (h *history) chain() *policychain.Chain {
	h.t.Helper()
	c, err := policychain.Of(h)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// policy is the one in force at a size, for a verifier.
func (h *history) policy(size uint64) *tlog.Policy {
	h.t.Helper()
	in, err := h.PolicyAt(size)
	if err != nil {
		h.t.Fatal(err)
	}
	p, err := in.Newest.Verifier(origin)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// made is a ledger with two hand-overs: to epoch 1 (keys 1, 12, 3), and from it to epoch 3 (11, 12,
// 13), since epoch 2 was replaced before it took over.
func made(t testing.TB) *history {
	h := begin(t)
	h.payload("a")              // size 2
	h.rotate(1, 12)             // 3
	h.payload("b")              // 4
	h.handover(1, 4, 1, 2, 12)  // 5
	h.payload("c")              // 6
	h.rotate(0, 11)             // 7
	h.rotate(2, 13)             // 8
	h.handover(3, 8, 1, 12, 11) // 9
	h.payload("d")              // 10
	h.rotate(0, 21)             // 11: its hand-over has not ended
	return h
}

type vectors struct {
	Policy   string // that is trusted, of the genesis
	Chain    string
	Accepted []vector
	Refused  []vector
}

// vector is a receipt under Chain, or another chain.
type vector struct {
	Name    string
	Chain   string `json:",omitempty"`
	Receipt string `json:",omitempty"`
	Epoch   uint32 // accepted: of the policy
	Says    string `json:",omitempty"` // refused: is in the error
}

func makeVectors(t testing.TB) *vectors {
	h := made(t)
	chain := h.chain()
	v := &vectors{Policy: h.policy(1).String(), Chain: string(chain.Marshal())}
	accept := func(name string, epoch uint32, r *tlog.Receipt) {
		v.Accepted = append(v.Accepted, vector{Name: name, Receipt: string(r.Marshal()), Epoch: epoch})
	}
	accept("before every change", 0, h.receipt(1, 2, 1, 2))
	accept("in the hand-over, by both", 1, h.receipt(1, 4, 1, 2, 12))
	accept("behind the hand-over, by new keys", 1, h.receipt(5, 6, 12, 3))
	accept("in the hand-over of a change that was replaced", 2, h.receipt(5, 7, 1, 12, 11))
	accept("by keys that are all new", 3, h.receipt(9, 10, 11, 12, 13))
	refuse := func(name, says string, r *tlog.Receipt) {
		v.Refused = append(v.Refused, vector{Name: name, Receipt: string(r.Marshal()), Says: says})
	}
	refuse("a size before the change, by new keys", "size 2, under the policy of epoch 0: ", h.receipt(1, 2, 1, 12))
	refuse("in the hand-over, by the new keys alone", "size 4 lies in the hand-over to epoch 1, under the policy before", h.receipt(1, 4, 12, 3))
	refuse("in the hand-over, by the old keys alone", "size 4, under the policy of epoch 1: ", h.receipt(1, 4, 1, 2))
	refuse("behind the hand-over, by the old keys", "size 6, under the policy of epoch 1: ", h.receipt(5, 6, 1, 2))
	refuse("by a quorum of the first keys", "size 10, under the policy of epoch 3: ", h.receipt(9, 10, 1, 2, 3))
	refuse("by keys of a policy that was replaced", "size 10, under the policy of epoch 3: ", h.receipt(9, 10, 11, 3))
	spoil := func(name, says string, f func(*policychain.Chain)) {
		c := &policychain.Chain{Genesis: clone(chain.Genesis)}
		for _, r := range chain.Changes {
			c.Changes = append(c.Changes, clone(r))
		}
		f(c)
		v.Refused = append(v.Refused, vector{Name: name, Chain: string(c.Marshal()), Says: says})
	}
	const gap = "a change is left out, or stands elsewhere"
	spoil("the first change is left out", gap, func(c *policychain.Chain) { c.Changes = c.Changes[1:] })
	spoil("a change that was replaced is left out", gap, func(c *policychain.Chain) { c.Changes = slices.Delete(c.Changes, 1, 2) })
	spoil("two changes stand in each other's place", gap, func(c *policychain.Chain) { c.Changes[0], c.Changes[1] = c.Changes[1], c.Changes[0] })
	spoil("a change stands twice", gap, func(c *policychain.Chain) { c.Changes = append(c.Changes, c.Changes[2]) })
	spoil("a change has another index", "has index 1, the one before 2", func(c *policychain.Chain) { c.Changes[1].Index = 1 })
	spoil("a leaf is changed", "the change to epoch 1", func(c *policychain.Chain) { c.Changes[0].Extra[4] ^= 1 })
	spoil("the genesis is changed", "the trusted policy, of epoch 0", func(c *policychain.Chain) { c.Genesis.Extra[4] ^= 1 })
	spoil("an entry that is no change", "no policy change", func(c *policychain.Chain) { c.Changes[0] = h.receipt(1, 4, 1, 2, 12) })
	spoil("a change that the new keys alone have sealed", "the change to epoch 1 is not sealed under the policy before", func(c *policychain.Chain) {
		c.Changes[0].Checkpoint = h.note(4, 12, 3)
	})
	r := restored(t)
	v.Refused = append(v.Refused, vector{Name: "of a restored ledger, under the policy before", Chain: string(r.chain().Marshal()), Receipt: string(r.receipt(12, 13, 31, 33).Marshal()),
		Says: "restored: not signed by the policy before"})
	v.Accepted = append(v.Accepted, vector{Name: "before the ledger was restored", Chain: string(r.chain().Marshal()), Receipt: string(r.receipt(9, 10, 11, 13).Marshal()), Epoch: 3})
	spoil("a change that the old keys alone have sealed", "the policy of epoch 1 has not taken over", func(c *policychain.Chain) {
		c.Changes[0].Checkpoint = h.note(4, 1, 2)
	})
	return v
}

// restored is made, restored at size 11 with the keys 31, 32 and 33, and sealed behind the record.
func restored(t testing.TB) *history {
	h := made(t)
	in, err := h.PolicyAt(h.Head().Size)
	if err != nil {
		t.Fatal(err)
	}
	head := h.Head()
	c := &ledger.PolicyChange{Policy: *in.Newest, Reason: ledger.PolicyRestore, Restored: ledger.Anchor{Size: head.Size, Root: head.Root}}
	c.Policy.Epoch++
	c.Policy.Members = nil
	for i := range uint64(3) {
		c.Policy.Members = append(c.Policy.Members, ledger.PolicyMember{Member: ledger.Member{ID: 4 + i, Name: fmt.Sprint("n", 4+i), Cosigner: node(t, byte(31+i)).Key().String()}})
	}
	h.append(ledger.PolicyBatch("cluster", c)) // size 12
	h.payload("e")                             // 13
	h.seal(31, 32)
	return h
}

func (h *history) seal(keys ...byte) {
	h.t.Helper()
	head := h.Head()
	if err := h.SetSealed(&ledger.Sealed{Size: head.Size, Root: head.Root, Note: h.note(head.Size, keys...)}); err != nil {
		h.t.Fatal(err)
	}
}

// TestRestoredLedger: who trusts a policy from before a ledger was restored verifies what that policy
// and its followers sealed, and hears why the rest is refused. Who trusts the policy of the restored
// ledger verifies the rest.
func TestRestoredLedger(t *testing.T) {
	h := restored(t)
	file := h.chain().Marshal()
	chain, err := policychain.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	old, err := chain.Verify(h.policy(1))
	if err != nil {
		t.Fatal(err)
	}
	if old.Newest().Epoch() != 3 || old.Restored == nil || old.Restored.Policy.Epoch != 5 || old.Restored.Restored.Size != 11 {
		t.Errorf("the chain leads to epoch %d, and the ledger was restored: %t", old.Newest().Epoch(), old.Restored != nil)
	}
	before, after := h.receipt(9, 10, 11, 13), h.receipt(12, 13, 31, 33)
	if _, err := old.VerifyReceipt(before); err != nil {
		t.Errorf("a receipt from before: %v", err)
	}
	if _, err := old.VerifyReceipt(after); !errors.Is(err, policychain.ErrRestored) {
		t.Errorf("a receipt of the restored ledger: %v, want ErrRestored", err)
	}
	// What the old keys sealed behind the head was lost, and its receipt shows that.
	if _, err := old.VerifyReceipt(h.receipt(9, 13, 11, 13)); err != nil {
		t.Errorf("a receipt by the old keys: %v", err)
	}
	fresh, err := chain.Verify(h.policy(13))
	if err != nil {
		t.Fatal(err)
	}
	if fresh.Steps[0].Epoch() != 5 || fresh.Restored != nil {
		t.Errorf("trust in the restored policy begins with epoch %d, and %+v", fresh.Steps[0].Epoch(), fresh.Restored)
	}
	if _, err := fresh.VerifyReceipt(after); err != nil {
		t.Error(err)
	}
	if _, err := fresh.VerifyReceipt(before); err == nil {
		t.Error("the restored policy accepts what the old keys sealed")
	}
	// The chain goes on behind the restore.
	h.rotate(0, 34)
	h.handover(6, h.Head().Size, 31, 32, 34)
	h.payload("f")
	h.seal(34, 33)
	v, err := h.chain().Verify(h.policy(13))
	if err != nil || v.Newest().Epoch() != 6 {
		t.Fatalf("%+v, %v", v, err)
	}
	if v, err := h.chain().Verify(h.policy(1)); err != nil || v.Newest().Epoch() != 3 {
		t.Errorf("%+v, %v", v, err)
	}
	// A ledger without a hand-over, whose genesis only the restored keys have shown.
	g := begin(t)
	head := g.Head()
	c := &ledger.PolicyChange{Policy: *mustPolicy(t, g), Reason: ledger.PolicyRestore, Restored: ledger.Anchor{Size: head.Size, Root: head.Root}}
	c.Policy.Epoch, c.Policy.Members = 1, slices.Clone(c.Policy.Members)
	for i := range c.Policy.Members {
		c.Policy.Members[i].Cosigner = node(t, byte(31+i)).Key().String()
	}
	g.append(ledger.PolicyBatch("cluster", c))
	if unsealed, err := policychain.Of(g); err == nil {
		t.Errorf("a ledger without a checkpoint has the chain %+v", unsealed)
	}
	g.seal(31, 32)
	if _, err := g.chain().Verify(g.policy(1)); !errors.Is(err, policychain.ErrRestored) {
		t.Errorf("got %v, want ErrRestored", err)
	}
	if _, err := g.chain().Verify(g.policy(2)); err != nil {
		t.Error(err)
	}
}

func mustPolicy(t *testing.T, h *history) *ledger.Policy {
	in, err := h.PolicyAt(h.Head().Size)
	if err != nil {
		t.Fatal(err)
	}
	return in.Newest
}

func clone(r *tlog.Receipt) *tlog.Receipt {
	c := *r
	c.Extra, c.Checkpoint = bytes.Clone(r.Extra), bytes.Clone(r.Checkpoint)
	return &c
}

// check verifies what the vectors have.
func (v *vectors) check(t *testing.T) {
	t.Helper()
	policy, err := tlog.ParsePolicy([]byte(v.Policy))
	if err != nil {
		t.Fatal(err)
	}
	verify := func(c vector) (uint32, error) {
		file := c.Chain
		if file == "" {
			file = v.Chain
		}
		chain, err := policychain.Parse([]byte(file))
		if err != nil {
			return 0, err
		}
		verified, err := chain.Verify(policy)
		if err != nil || c.Receipt == "" {
			return 0, err
		}
		r, err := tlog.ParseReceipt([]byte(c.Receipt))
		if err != nil {
			return 0, err
		}
		cp, err := verified.VerifyReceipt(r)
		if err != nil {
			return 0, err
		}
		step, err := verified.At(cp.Size)
		return step.Epoch(), err
	}
	for _, c := range v.Accepted {
		if epoch, err := verify(c); err != nil || epoch != c.Epoch {
			t.Errorf("%s: epoch %d, %v; want epoch %d", c.Name, epoch, err, c.Epoch)
		}
	}
	for _, c := range v.Refused {
		if _, err := verify(c); err == nil || !strings.Contains(err.Error(), c.Says) {
			t.Errorf("%s: %v, want an error with %q", c.Name, err, c.Says)
		}
	}
}

// TestReceiptsUnderTheChain: a receipt is verified under the policy of its size, and a chain with
// anything left out, swapped, changed or sealed by one side alone is refused, which is named.
func TestReceiptsUnderTheChain(t *testing.T) { makeVectors(t).check(t) }

// TestGoldenChain: a file that was written once is still read and judged the same.
func TestGoldenChain(t *testing.T) {
	const name = "testdata/vectors.json"
	if *update {
		v := makeVectors(t)
		v.Refused = slices.DeleteFunc(v.Refused, func(c vector) bool { // a chain is large
			return c.Chain != "" && !slices.Contains([]string{"the first change is left out", "a leaf is changed", "a change that the new keys alone have sealed", "of a restored ledger, under the policy before"}, c.Name)
		})
		text, err := json.MarshalIndent(v, "", "\t")
		if err == nil {
			err = os.WriteFile(name, append(text, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Accepted) == 0 || len(v.Refused) == 0 {
		t.Fatal("there are no vectors")
	}
	v.check(t)
}

// TestTrustInALaterPolicy: who trusts a later policy verifies what was sealed from it on, and
// nothing that is older.
func TestTrustInALaterPolicy(t *testing.T) {
	h := made(t)
	for epoch, size := range map[uint32]uint64{1: 6, 3: 10} {
		v, err := h.chain().Verify(h.policy(size))
		if err != nil {
			t.Errorf("epoch %d: %v", epoch, err)
			continue
		}
		if v.Steps[0].Epoch() != epoch || v.Newest().Epoch() != 3 {
			t.Errorf("trust in epoch %d leads from %d to %d", epoch, v.Steps[0].Epoch(), v.Newest().Epoch())
		}
		if _, err := v.VerifyReceipt(h.receipt(9, 10, 11, 13)); err != nil {
			t.Errorf("epoch %d: %v", epoch, err)
		}
		if _, err := v.VerifyReceipt(h.receipt(1, 2, 1, 2, 3)); err == nil || !strings.Contains(err.Error(), "older than the trusted policy") {
			t.Errorf("epoch %d, a receipt from before: %v", epoch, err)
		}
	}
	if _, err := h.chain().Verify(h.policy(11)); err == nil || !strings.Contains(err.Error(), "none of the chain") {
		t.Errorf("a policy that has not taken over: %v", err)
	}
}

// TestChainWithoutChanges: a ledger whose policy never changed has a chain, too.
func TestChainWithoutChanges(t *testing.T) {
	h := begin(t)
	if _, err := policychain.Of(h); err == nil {
		t.Error("a ledger that was never sealed has a chain")
	}
	head := h.Head()
	if err := h.SetSealed(&ledger.Sealed{Size: head.Size, Root: head.Root, Note: h.note(head.Size, 1, 2)}); err != nil {
		t.Fatal(err)
	}
	v, err := h.chain().Verify(h.policy(1))
	if err != nil || len(v.Steps) != 1 || v.Origin != origin {
		t.Fatalf("%+v, %v", v, err)
	}
	if _, err := v.VerifyReceipt(h.receipt(0, 1, 2, 3)); err != nil {
		t.Error(err)
	}
}

// TestChainFile: every file that is shortened, lengthened or changed is refused.
func TestChainFile(t *testing.T) {
	b := made(t).chain().Marshal()
	if c, err := policychain.Parse(b); err != nil || !bytes.Equal(c.Marshal(), b) || !policychain.Is(b) {
		t.Fatal(err)
	}
	for n := 0; n < len(b); n += 97 {
		if _, err := policychain.Parse(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes parse", n, len(b))
		}
		c := bytes.Clone(b)
		c[n] ^= 1
		if _, err := policychain.Parse(c); err == nil {
			t.Errorf("it parses with another byte %d", n)
		}
	}
	if _, err := policychain.Parse(append(bytes.Clone(b), '\n')); err == nil {
		t.Error("a byte too many parses")
	}
}

func FuzzParse(f *testing.F) {
	b := made(f).chain().Marshal()
	f.Add(b)
	f.Add(b[:1000])
	f.Add([]byte("cairn-policy-chain v1\nsha256 \nparts \n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := policychain.Parse(b)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Marshal(), b) {
			t.Error("it is written otherwise")
		}
		_, _ = c.Verify(&tlog.Policy{})
	})
}
