package ledger_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// keyOf returns the key of a number under a name.
func keyOf(t testing.TB, name string, number byte) *tlog.Cosigner {
	t.Helper()
	key, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, bytes.Repeat([]byte{number}, 32))
	if err != nil {
		t.Fatal(err)
	}
	c, err := tlog.NewCosigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// policies is a ledger whose members n1, n2 and n3 have the keys 1, 2 and 3 and whose log key is 100.
type policies struct {
	t     *testing.T
	store *memstore.Store
	*ledger.Ledger
	blocks []ledger.Committed // that were applied
}

func logKey(t testing.TB) *tlog.Cosigner { return keyOf(t, genesisOrigin, 100) }

func nodeKey(t testing.TB, number byte) *tlog.Cosigner {
	return keyOf(t, fmt.Sprint(genesisOrigin, "/k", number), number)
}

func policyGenesis(t testing.TB) *ledger.Genesis {
	g := testGenesis()
	g.LogKeys = []string{logKey(t).Key().String()}
	for i := range g.Members {
		g.Members[i].Cosigner = nodeKey(t, byte(i+1)).Key().String()
	}
	return g
}

func openPolicies(t *testing.T) *policies {
	p := &policies{t: t, store: memstore.New(memstore.Options{})}
	p.open(ledger.Summary{})
	raw, err := ledger.EncodeGenesis(policyGenesis(t), "creator", 5)
	if err != nil {
		t.Fatal(err)
	}
	p.apply(raw)
	return p
}

func (p *policies) open(start ledger.Summary) {
	p.t.Helper()
	l, err := ledger.Open(p.store, ledger.Config{Group: 1, Origin: genesisOrigin, Start: start})
	if err != nil {
		p.t.Fatal(err)
	}
	p.Ledger = l
}

func (p *policies) apply(raw []byte) []ledger.Result {
	p.t.Helper()
	p.blocks = append(p.blocks, ledger.Committed{RaftIndex: uint64(len(p.blocks) + 1), RaftTerm: 1, Block: raw})
	results, err := p.ApplyMany(p.blocks[len(p.blocks)-1:])
	if err != nil {
		p.t.Fatal(err)
	}
	return results[0]
}

func (p *policies) append(batches ...ledger.Batch) []ledger.Result {
	p.t.Helper()
	raw, err := ledger.EncodeBlock(p.Anchor(), 6, batches)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.apply(raw)
}

func (p *policies) batch(c *ledger.PolicyChange) ledger.Batch {
	p.t.Helper()
	b, err := ledger.PolicyBatch("spiffe://example.org/admin", c)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// change returns a change behind the newest policy.
func (p *policies) change(reason ledger.PolicyReason, f func(*ledger.Policy)) *ledger.PolicyChange {
	p.t.Helper()
	in, err := p.PolicyAt(p.Head().Size)
	if err != nil {
		p.t.Fatal(err)
	}
	c := &ledger.PolicyChange{Policy: *in.Newest, Reason: reason}
	c.Policy.Epoch++
	c.Policy.Members = slices.Clone(c.Policy.Members)
	c.Policy.LogKeys = slices.Clone(c.Policy.LogKeys)
	f(&c.Policy)
	return c
}

// rotate gives a member another cosigner key.
func (p *policies) rotate(member int, number byte) *ledger.PolicyChange {
	return p.change(ledger.PolicyRotateCosigner, func(q *ledger.Policy) {
		q.Members[member].Cosigner = nodeKey(p.t, number).Key().String()
	})
}

// note returns a checkpoint of a size by the log and the keys of these numbers.
func (p *policies) note(size uint64, keys ...byte) []byte {
	p.t.Helper()
	root, err := p.RootAt(size)
	if err != nil {
		p.t.Fatal(err)
	}
	return signedNote(p.t, tlog.Checkpoint{Origin: genesisOrigin, Size: size, Root: root}, keys...)
}

func signedNote(t testing.TB, cp tlog.Checkpoint, keys ...byte) []byte {
	t.Helper()
	n := tlog.Note{Text: cp.Text()}
	for _, c := range append([]*tlog.Cosigner{logKey(t)}, cosigners(t, keys)...) {
		sig, err := c.Cosign(cp, 1_700_000_000)
		if err != nil {
			t.Fatal(err)
		}
		n.Signatures = append(n.Signatures, sig)
	}
	return n.Marshal()
}

func cosigners(t testing.TB, keys []byte) (all []*tlog.Cosigner) {
	for _, k := range keys {
		all = append(all, nodeKey(t, k))
	}
	return all
}

func (p *policies) handover(epoch uint32, note []byte) ledger.Batch {
	p.t.Helper()
	b, err := ledger.HandoverBatch("n1", ledger.Handover{Epoch: epoch, Note: note})
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// took checks that a batch was appended.
func (p *policies) took(b ledger.Batch) {
	p.t.Helper()
	if res := p.append(b); res[0].Err != nil {
		p.t.Fatal(res[0].Err)
	}
}

// refuses checks that a batch has no effect, and is counted once.
func (p *policies) refuses(what string, b ledger.Batch) {
	p.t.Helper()
	before, size, counted := p.inForce(), p.Head().Size, p.refused()
	res := p.append(b)
	var refused *ledger.RefusedError
	if !errors.As(res[0].Err, &refused) || p.Head().Size != size || p.refused() != counted+1 || p.inForce() != before {
		p.t.Errorf("%s: %v, %d entries more, %d refused, in force %s, before %s; want a refusal without effect", what, res[0].Err, p.Head().Size-size,
			p.refused()-counted, p.inForce(), before)
	}
}

// refused is how many batches were refused: a record that no version of this one has is not
// understood.
func (p *policies) refused() uint64 {
	return p.Refused(ledger.RefusedPolicy) + p.Refused(ledger.RefusedNotUnderstood)
}

// inForce describes whose signatures the newest size needs.
func (p *policies) inForce() string { return p.at(p.Head().Size) }

func (p *policies) at(size uint64) string {
	p.t.Helper()
	in, err := p.PolicyAt(size)
	if err != nil {
		p.t.Fatalf("policy at size %d: %v", size, err)
	}
	var epochs []string
	for _, q := range in.All() {
		epochs = append(epochs, fmt.Sprint(q.Epoch))
	}
	return strings.Join(epochs, "+")
}

func (p *policies) summary() ledger.Summary {
	h := p.Head()
	return ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}
}

// TestPolicyOfEverySize: which policies a size needs follows from the entries below it: one alone,
// both from a change to the end of its hand-over, and a later change in place of one whose
// hand-over did not end. It can be read of every size, from the ledger that applied the entries,
// from one that opens the store at any position, and from one that applies them again.
func TestPolicyOfEverySize(t *testing.T) {
	p := openPolicies(t)
	starts := []ledger.Summary{{}, p.summary()}
	step := func(b ledger.Batch) {
		p.took(b)
		starts = append(starts, p.summary())
	}
	step(payload("a"))                            // size 2
	step(p.batch(p.rotate(1, 12)))                // 3: n2 has another key
	step(payload("b"))                            // 4
	step(p.handover(1, p.note(4, 1, 2, 3, 12)))   // 5
	step(payload("c"))                            // 6
	step(p.batch(p.rotate(0, 11)))                // 7
	step(p.batch(p.rotate(2, 13)))                // 8: takes the place of the one before
	step(p.handover(3, p.note(8, 1, 12, 11, 13))) // 9
	step(p.batch(p.rotate(0, 21)))                // 10
	step(payload("d"))
	want := []string{"0", "0", "0+1", "0+1", "1", "1", "1+2", "1+3", "3", "3+4", "3+4"}
	check := func(how string, size uint64) {
		t.Helper()
		for s := uint64(1); s <= size; s++ {
			if got := p.at(s); got != want[s-1] {
				t.Errorf("%s: size %d needs %s, want %s", how, s, got, want[s-1])
			}
		}
	}
	check("applied", 11)
	if got, err := p.PolicyRecords(p.Head().Size); err != nil || !slices.Equal(got, []uint64{2, 4, 6, 7, 8, 9}) {
		t.Errorf("records at %v, %v", got, err)
	}
	for _, start := range starts {
		p.open(start)
		check(fmt.Sprintf("opened at size %d", start.Size), start.Size)
		if _, err := p.ApplyMany(p.blocks[start.RaftIndex:]); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprintf("applied again from size %d", start.Size), 11)
	}
	if _, err := p.PolicyAt(12); !errors.As(err, new(*ledger.NotFoundError)) {
		t.Errorf("policy of a size that is not reached: %v", err)
	}
}

// TestPolicyChangeWithoutEffect: a change that cannot follow the policies in force has no effect.
func TestPolicyChangeWithoutEffect(t *testing.T) {
	p := openPolicies(t)
	good := p.batch(p.rotate(0, 11))
	epoch := func(n uint32) ledger.Batch {
		c := p.rotate(0, 11)
		c.Policy.Epoch = n
		return p.batch(c)
	}
	as := func(r ledger.PolicyReason, f func(*ledger.Policy)) ledger.Batch { return p.batch(p.change(r, f)) }
	member := func(id uint64, number byte) ledger.PolicyMember {
		return ledger.PolicyMember{Member: ledger.Member{ID: id, Name: fmt.Sprint("n", id), Cosigner: nodeKey(t, number).Key().String()}}
	}
	restored := func(size uint64, root merkle.Hash) ledger.Batch {
		c := p.change(ledger.PolicyRestore, func(q *ledger.Policy) {
			for i := range q.Members {
				q.Members[i].Cosigner = nodeKey(t, byte(40+i)).Key().String()
			}
		})
		c.Restored = ledger.Anchor{Size: size, Root: root}
		return p.batch(c)
	}
	two := good
	two.Entries = append(slices.Clone(good.Entries), good.Entries...)
	cut, newer := good, good
	cut.Entries = []ledger.NewEntry{{Kind: ledger.KindRecord, Body: good.Entries[0].Body[:40]}}
	newer.Entries = []ledger.NewEntry{{Kind: ledger.KindRecord, Body: append([]byte{4, 2}, good.Entries[0].Body[2:]...)}}
	for what, b := range map[string]ledger.Batch{
		"an epoch left out":        epoch(2),
		"two records in a batch":   two,
		"a record that is cut off": cut,
		"a newer version":          newer,
		"no difference":            as(ledger.PolicyRotateCosigner, func(*ledger.Policy) {}),
		"two rotations": as(ledger.PolicyRotateCosigner, func(q *ledger.Policy) {
			q.Members[0] = member(1, 11)
			q.Members[1] = member(2, 12)
		}),
		"another reason":         as(ledger.PolicyRotateLog, func(q *ledger.Policy) { q.Members[0] = member(1, 11) }),
		"another quorum besides": as(ledger.PolicyRotateCosigner, func(q *ledger.Policy) { q.Members[0] = member(1, 11); q.Quorum = 3 }),
		"another name":           as(ledger.PolicyRotateCosigner, func(q *ledger.Policy) { q.Members[0].Name = "x" }),
		"the log key of another ledger": as(ledger.PolicyRotateLog, func(q *ledger.Policy) {
			q.LogKeys = []string{keyOf(t, "example.org/other", 101).Key().String()}
		}),
		"a restored head beyond the ledger":  restored(2, p.Head().Root),
		"another restored head":              restored(1, merkle.EmptyRoot()),
		"a hand-over when none is under way": p.handover(0, p.note(1, 1, 2, 3)),
		"a hand-over that is cut off": {Principal: "n1", Entries: []ledger.NewEntry{{Kind: ledger.KindRecord,
			Body: []byte{5, 1, 0, 0, 0, 1}}}},
	} {
		p.refuses(what, b)
	}
	p.took(p.batch(p.change(ledger.PolicyAdd, func(q *ledger.Policy) {
		m := member(4, 4)
		m.Learner = true
		q.Members = append(q.Members, m)
	})))
	p.refuses("the same change again", good)
	p.took(p.batch(p.change(ledger.PolicyPromote, func(q *ledger.Policy) { q.Members[3].Learner, q.Quorum = false, 3 })))
	replace := func(learner bool) func(q *ledger.Policy) {
		return func(q *ledger.Policy) {
			q.Members[0] = member(5, 5)
			q.Members[0].Learner = learner
			q.Quorum = uint32(len(q.Voters())/2 + 1)
			slices.SortFunc(q.Members, byID)
		}
	}
	p.refuses("a voter in the place of another", as(ledger.PolicyReplace, replace(false)))
	p.took(p.batch(p.change(ledger.PolicyReplace, replace(true))))
	p.took(p.batch(p.change(ledger.PolicyRemove, func(q *ledger.Policy) { q.Members, q.Quorum = q.Members[1:], 2 })))
	p.took(p.batch(p.change(ledger.PolicyRotateLog, func(q *ledger.Policy) {
		q.LogKeys = []string{keyOf(t, genesisOrigin, 101).Key().String()}
	})))
	if got := p.inForce(); got != "0+5" {
		t.Errorf("in force are %s, want 0+5: nothing was handed over", got)
	}
}

// TestRestoredPolicy: the record that restores a ledger names the head that it continues, is the first
// entry behind it, and from there on its policy alone seals, whatever hand-over was under way. Quorums
// of the policies before bound nothing.
func TestRestoredPolicy(t *testing.T) {
	p := openPolicies(t)
	if c, _, err := p.Restored(); c != nil || err != nil {
		t.Fatalf("a ledger that was never restored: %v, %v", c, err)
	}
	p.took(p.batch(p.rotate(0, 11))) // its hand-over has not ended
	former := p.Head()
	p.took(payload("behind it"))
	restored := func(a ledger.Anchor) ledger.Batch {
		c := p.change(ledger.PolicyRestore, func(q *ledger.Policy) {
			q.Members = nil
			for id := uint64(7); id <= 16; id++ {
				q.Members = append(q.Members, ledger.PolicyMember{Member: ledger.Member{ID: id, Name: fmt.Sprint("n", id), Cosigner: nodeKey(t, byte(40+id)).Key().String()}})
			}
			q.Quorum = 9
			q.LogKeys = []string{keyOf(t, genesisOrigin, 101).Key().String()}
		})
		c.Restored = a
		return p.batch(c)
	}
	head := p.Head()
	p.refuses("a former head", restored(ledger.Anchor{Size: former.Size, Root: former.Root}))
	p.refuses("another root", restored(ledger.Anchor{Size: head.Size, Root: former.Root}))
	// A block in which another entry comes first.
	b := restored(ledger.Anchor{Size: head.Size, Root: head.Root})
	raw, err := ledger.EncodeBlock(p.Anchor(), 6, []ledger.Batch{payload("first"), b})
	if err != nil {
		t.Fatal(err)
	}
	if !ledger.Restores(raw) {
		t.Error("a block with the record restores nothing")
	}
	if res := p.apply(raw); res[0].Err != nil || res[1].Err == nil {
		t.Errorf("behind another entry of its block: %v, %v", res[0].Err, res[1].Err)
	}
	head = p.Head()
	p.took(restored(ledger.Anchor{Size: head.Size, Root: head.Root}))
	if got := p.inForce(); got != "2" {
		t.Errorf("in force is %s, want 2 alone", got)
	}
	c, index, err := p.Restored()
	if err != nil || c == nil || index != head.Size || c.Restored.Size != head.Size {
		t.Errorf("restored by %+v at %d, %v; want the entry %d", c, index, err, head.Size)
	}
	if in, err := p.PolicyAt(head.Size); err != nil || in.Before == nil {
		t.Errorf("the sizes before stay in the hand-over: %+v, %v", in, err)
	}
	p.took(p.batch(p.change(ledger.PolicyRemove, func(q *ledger.Policy) { q.Members, q.Quorum = q.Members[1:], 5 })))
	if got := p.inForce(); got != "2+3" {
		t.Errorf("in force are %s, want 2+3: the next change is handed over again", got)
	}
	plain, err := ledger.EncodeBlock(p.Anchor(), 6, []ledger.Batch{payload("x"), p.batch(p.rotate(0, 11))})
	if err != nil || ledger.Restores(plain) || ledger.Restores(nil) {
		t.Errorf("a block without such a record restores, or %v", err)
	}
}

func byID(a, b ledger.PolicyMember) int { return int(a.ID) - int(b.ID) }

// TestHandoverEnds: a hand-over ends with a checkpoint that includes the change and that both
// policies have sealed, and with nothing else.
func TestHandoverEnds(t *testing.T) {
	p := openPolicies(t)
	p.took(payload("a"))
	p.took(p.batch(p.rotate(1, 12))) // index 2, in size 3
	p.took(payload("b"))
	other := signedNote(t, tlog.Checkpoint{Origin: genesisOrigin, Size: 4, Root: merkle.EmptyRoot()}, 1, 2, 12)
	foreign := signedNote(t, tlog.Checkpoint{Origin: "example.org/other", Size: 4, Root: p.Head().Root}, 1, 2, 12)
	damaged := bytes.Replace(p.note(4, 1, 2, 12), []byte("/k2 "), []byte("/k3 "), 1)
	for what, b := range map[string]ledger.Batch{
		"the new quorum alone":                 p.handover(1, p.note(4, 1, 12)),
		"the old quorum alone":                 p.handover(1, p.note(4, 1, 2)),
		"too few of both":                      p.handover(1, p.note(4, 2, 12)),
		"a size before the change":             p.handover(1, p.note(2, 1, 2, 12)),
		"another root":                         p.handover(1, other),
		"another ledger":                       p.handover(1, foreign),
		"another epoch":                        p.handover(2, p.note(4, 1, 2, 12)),
		"a signature under another key's name": p.handover(1, damaged),
	} {
		p.refuses(what, b)
	}
	// The change and a hand-over with it in one block: the checkpoint is of a size that the block
	// does not have yet.
	raw, err := ledger.EncodeBlock(p.Anchor(), 6, []ledger.Batch{p.batch(p.rotate(0, 11)), p.handover(2, p.note(4, 1, 2, 11, 12)), payload("c")})
	if err != nil {
		t.Fatal(err)
	}
	if res := p.apply(raw); res[0].Err != nil || res[1].Err == nil || res[2].Err != nil {
		t.Errorf("change, hand-over and payload in one block: %v, %v, %v", res[0].Err, res[1].Err, res[2].Err)
	}
	p.took(p.handover(2, p.note(6, 1, 2, 11, 12)))
	if got := p.inForce(); got != "2" {
		t.Errorf("in force is %s, want 2", got)
	}
	p.refuses("the same hand-over again", p.handover(2, p.note(6, 1, 2, 11, 12)))
}

// TestPolicyRecordIsMissed: a record of the policies that the store has lost is found.
func TestPolicyRecordIsMissed(t *testing.T) {
	p := openPolicies(t)
	p.took(p.batch(p.rotate(1, 12)))
	leaf, err := p.Leaf(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckKey(1, leaf); err != nil {
		t.Fatal(err)
	}
	if err := p.store.Commit(100, []ledger.Pair{{Key: ledger.PolicyKey(1, 1)}}); err != nil {
		t.Fatal(err)
	}
	var corrupt *ledger.CorruptError
	if err := p.CheckKey(1, leaf); !errors.As(err, &corrupt) {
		t.Errorf("a lost record: %v, want a *CorruptError", err)
	}
}

// TestPolicyChangeRefused: a change that breaks a rule in itself is neither written nor read.
func TestPolicyChangeRefused(t *testing.T) {
	for what, f := range map[string]func(*ledger.PolicyChange){
		"epoch 0":           func(c *ledger.PolicyChange) { c.Policy.Epoch = 0 },
		"no reason":         func(c *ledger.PolicyChange) { c.Reason = 0 },
		"an unknown reason": func(c *ledger.PolicyChange) { c.Reason = 8 },
		"a restored head without being restored": func(c *ledger.PolicyChange) {
			c.Restored.Size = 1
		},
		"restored without a head":   func(c *ledger.PolicyChange) { c.Reason = ledger.PolicyRestore },
		"no log key":                func(c *ledger.PolicyChange) { c.Policy.LogKeys = nil },
		"no key":                    func(c *ledger.PolicyChange) { c.Policy.LogKeys[0] = "log" },
		"no member":                 func(c *ledger.PolicyChange) { c.Policy.Members = nil },
		"learners alone":            func(c *ledger.PolicyChange) { each(c, func(m *ledger.PolicyMember) { m.Learner = true }) },
		"a quorum of less than all": func(c *ledger.PolicyChange) { c.Policy.Quorum = 0 },
		"two disjoint quorums":      func(c *ledger.PolicyChange) { c.Policy.Quorum = 1 },
		"two disjoint quorums of 4": func(c *ledger.PolicyChange) {
			c.Policy.Members = append(c.Policy.Members, ledger.PolicyMember{Member: ledger.Member{ID: 4, Name: "n4", Cosigner: nodeKey(t, 4).Key().String()}})
		},
		"a quorum of more than there are": func(c *ledger.PolicyChange) { c.Policy.Quorum = 4 },
		"member 0":                        func(c *ledger.PolicyChange) { c.Policy.Members[0].ID = 0 },
		"a member twice":                  func(c *ledger.PolicyChange) { c.Policy.Members[1].ID = 1 },
		"a name twice":                    func(c *ledger.PolicyChange) { c.Policy.Members[1].Name = "n1" },
		"a key twice":                     func(c *ledger.PolicyChange) { c.Policy.Members[1].Cosigner = c.Policy.Members[0].Cosigner },
		"the public key of another one": func(c *ledger.PolicyChange) {
			c.Policy.Members[1].Cosigner = keyOf(t, genesisOrigin+"/x", 1).Key().String()
		},
	} {
		c := &ledger.PolicyChange{Policy: *policyGenesis(t).Policy0(), Reason: ledger.PolicyAdd}
		c.Policy.Epoch = 1
		if _, err := c.Marshal(); err != nil {
			t.Fatal(err)
		}
		f(c)
		if _, err := c.Marshal(); err == nil {
			t.Errorf("%s: it is written", what)
		}
	}
}

func each(c *ledger.PolicyChange, f func(*ledger.PolicyMember)) {
	for i := range c.Policy.Members {
		f(&c.Policy.Members[i])
	}
}

func FuzzParsePolicyChange(f *testing.F) {
	c := &ledger.PolicyChange{Policy: *policyGenesis(f).Policy0(), Reason: ledger.PolicyRestore, Restored: ledger.Anchor{Size: 1}}
	c.Policy.Epoch = 1
	c.Policy.Members[2].Learner = true
	body, err := c.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	for n := range body {
		if n%97 == 0 {
			f.Add(body[:n])
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := ledger.ParsePolicyChange(body)
		if err != nil {
			return
		}
		if again, err := c.Marshal(); err != nil || !bytes.Equal(again, body) {
			t.Errorf("%x encodes back to %x, %v", body, again, err)
		}
	})
}
