package accountmap_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/accountmap"
)

// mutations returns proofs that differ from p and say something, true or not, in another way.
func mutations(p accountmap.Proof, stranger accountmap.Leaf, rng *rand.Rand) map[string]accountmap.Proof {
	out := map[string]accountmap.Proof{}
	add := func(name string, change func(m *accountmap.Proof)) {
		m := p
		m.Steps = slices.Clone(p.Steps)
		change(&m)
		out[name] = m
	}
	flip := func(b []byte) { b[rng.IntN(len(b))] ^= 1 << rng.IntN(8) }
	for _, end := range []accountmap.End{0, accountmap.EndsAtAccount, accountmap.EndsAtOther, accountmap.EndsAtNothing, 4} {
		if end != p.End {
			add("end "+end.String(), func(m *accountmap.Proof) { m.End = end })
			add("end "+end.String()+" with its fields", func(m *accountmap.Proof) {
				m.End, m.Record, m.Other = end, stranger.Record, accountmap.Key{}
				switch end {
				case accountmap.EndsAtOther:
					m.Other = stranger.Key
				case accountmap.EndsAtNothing:
					m.Record, m.Steps = merkle.Hash{}, nil
				}
			})
		}
	}
	add("record", func(m *accountmap.Proof) { flip(m.Record[:]) })
	add("other", func(m *accountmap.Proof) { flip(m.Other[:]) })
	add("other account", func(m *accountmap.Proof) { m.Other, m.Record = stranger.Key, stranger.Record })
	add("record of another account", func(m *accountmap.Proof) { m.Record = stranger.Record })
	if n := len(p.Steps); n > 0 {
		at := rng.IntN(n)
		add("first step dropped", func(m *accountmap.Proof) { m.Steps = m.Steps[1:] })
		add("last step dropped", func(m *accountmap.Proof) { m.Steps = m.Steps[:n-1] })
		add("step dropped", func(m *accountmap.Proof) { m.Steps = slices.Delete(m.Steps, at, at+1) })
		add("step doubled", func(m *accountmap.Proof) { m.Steps = slices.Insert(m.Steps, at, m.Steps[at]) })
		add("no steps", func(m *accountmap.Proof) { m.Steps = nil })
		add("sibling", func(m *accountmap.Proof) { flip(m.Steps[at].Sibling[:]) })
		add("bit", func(m *accountmap.Proof) { m.Steps[at].Bit += 1 + uint8(rng.IntN(255)) })
		if at+1 < n {
			add("steps swapped", func(m *accountmap.Proof) { m.Steps[at], m.Steps[at+1] = m.Steps[at+1], m.Steps[at] })
			add("siblings swapped", func(m *accountmap.Proof) {
				m.Steps[at].Sibling, m.Steps[at+1].Sibling = m.Steps[at+1].Sibling, m.Steps[at].Sibling
			})
			add("bits swapped", func(m *accountmap.Proof) { m.Steps[at].Bit, m.Steps[at+1].Bit = m.Steps[at+1].Bit, m.Steps[at].Bit })
		}
	}
	add("step more", func(m *accountmap.Proof) {
		m.Steps = append(m.Steps, accountmap.Step{Bit: 255, Sibling: stranger.Record})
	})
	return out
}

// TestMutatedProofs: of the proofs of 10,000 accounts, and of 2,000 that do not exist, none
// verifies once it is changed in any way, nor for another key or another root.
func TestMutatedProofs(t *testing.T) {
	t.Parallel()
	const n = 10_000
	leaves := accounts(n + 2_000)
	tree := accountmap.Build(leaves[:n])
	root, count := tree.Root(), 0
	for i, l := range leaves {
		rng := rand.New(rand.NewPCG(uint64(i), 3))
		p := tree.Prove(l.Key)
		if record, present, err := p.Verify(root, l.Key); err != nil || present != (i < n) || present && record != l.Record {
			t.Fatalf("account %d: %s, %t, %v", i, record, present, err)
		}
		stranger := leaves[rng.IntN(n)]
		if stranger.Key == l.Key || stranger.Key == p.Other {
			continue
		}
		for name, m := range mutations(p, stranger, rng) {
			count++
			if _, _, err := m.Verify(root, l.Key); !errors.Is(err, accountmap.ErrProof) {
				t.Fatalf("account %d, %s: verifies: %v\n%+v", i, name, err, m)
			}
		}
		if _, _, err := p.Verify(root, stranger.Key); !errors.Is(err, accountmap.ErrProof) {
			t.Fatalf("account %d: verifies for another key", i)
		}
		if _, _, err := p.Verify(stranger.Record, l.Key); !errors.Is(err, accountmap.ErrProof) {
			t.Fatalf("account %d: verifies for another root", i)
		}
		wantNoBitFree(t, p, root, l.Key, rng, i%500 == 0)
	}
	if count < len(leaves)*15 {
		t.Errorf("%d mutations: the test shows little", count)
	}
}

// wantNoBitFree flips bits of the encoded proof, some or all: it is refused or does not verify.
func wantNoBitFree(t *testing.T, p accountmap.Proof, root merkle.Hash, key accountmap.Key, rng *rand.Rand, all bool) {
	t.Helper()
	b := p.Append(nil)
	try := func(bit int) {
		b[bit/8] ^= 1 << (bit % 8)
		if m, err := accountmap.ParseProof(b); err == nil {
			if _, _, err := m.Verify(root, key); err == nil {
				t.Fatalf("key %s: the proof verifies with bit %d flipped", key, bit)
			}
		} else if !errors.Is(err, accountmap.ErrProof) {
			t.Fatalf("key %s, bit %d: %v", key, bit, err)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
	if !all {
		try(rng.IntN(8 * len(b)))
		return
	}
	for bit := range 8 * len(b) {
		try(bit)
	}
	for n := range b {
		if _, err := accountmap.ParseProof(b[:n]); err == nil {
			t.Fatalf("key %s: the first %d of %d bytes are a proof", key, n, len(b))
		}
	}
	if _, err := accountmap.ParseProof(append(slices.Clone(b), 0)); err == nil {
		t.Fatalf("key %s: a byte more is a proof", key)
	}
}

// cheat is a tree that no honest builder makes: any node with any children, and empty maps among
// them.
type cheat struct {
	leaf        *accountmap.Leaf
	bit         uint8
	left, right *cheat // nil in a leaf, and in an empty map
}

func (c *cheat) hash() merkle.Hash {
	switch {
	case c.leaf != nil:
		return accountmap.LeafHash(c.leaf.Key, c.leaf.Record)
	case c.left == nil:
		return accountmap.EmptyRoot()
	}
	return accountmap.InnerHash(c.bit, c.left.hash(), c.right.hash())
}

// walks returns every proof that somebody who knows the whole tree can make: one for each leaf and
// each end.
func (c *cheat) walks(above []accountmap.Step) (proofs []accountmap.Proof) {
	switch {
	case c.leaf != nil:
		return []accountmap.Proof{
			{End: accountmap.EndsAtAccount, Steps: above, Record: c.leaf.Record},
			{End: accountmap.EndsAtOther, Steps: above, Record: c.leaf.Record, Other: c.leaf.Key},
		}
	case c.left == nil:
		return []accountmap.Proof{{End: accountmap.EndsAtNothing, Steps: above}}
	}
	with := func(sibling *cheat) []accountmap.Step {
		return append(slices.Clone(above), accountmap.Step{Bit: c.bit, Sibling: sibling.hash()})
	}
	return append(c.left.walks(with(c.right)), c.right.walks(with(c.left))...)
}

// TestCheatingBuilder: whoever makes a root of a tree with accounts in wrong places, twice, or with
// nodes in a wrong order, cannot prove two things about one key, and nothing at all by a walk that
// breaks the rules.
func TestCheatingBuilder(t *testing.T) {
	t.Parallel()
	proved, refused := 0, 0
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 4))
		keys := make([]accountmap.Key, 3) // that differ in few bits, so that wrong places are right for some
		for i := range keys {
			keys[i][0] = byte(rng.IntN(4)) << 6
		}
		var grow func(depth int) *cheat
		grow = func(depth int) *cheat {
			switch n := rng.IntN(8); {
			case n == 0:
				return &cheat{}
			case depth == 0 || n < 3:
				return &cheat{leaf: &accountmap.Leaf{Key: keys[rng.IntN(len(keys))], Record: merkle.Hash{byte(rng.IntN(5))}}}
			}
			return &cheat{bit: uint8(rng.IntN(3)), left: grow(depth - 1), right: grow(depth - 1)}
		}
		tree := grow(1 + rng.IntN(3))
		root, proofs := tree.hash(), tree.walks(nil)
		for top := range 4 {
			key := accountmap.Key{byte(top) << 6}
			var said string
			for _, p := range proofs {
				record, present, err := p.Verify(root, key)
				if err != nil {
					refused++
					continue
				}
				says := "absent"
				if present {
					says = record.String()
				}
				if said != "" && said != says {
					t.Fatalf("seed %d: two statements about key %s: %s and %s", seed, key, said, says)
				}
				said = says
				proved++
				wantWithinTheRules(t, seed, p, key)
			}
		}
	}
	if proved < 1000 || refused < 1000 {
		t.Errorf("%d proofs verify and %d do not: the test shows little", proved, refused)
	}
}

func wantWithinTheRules(t *testing.T, seed uint64, p accountmap.Proof, key accountmap.Key) {
	t.Helper()
	end := key
	if p.End == accountmap.EndsAtOther {
		end = p.Other
	}
	for i, s := range p.Steps {
		at := func(k accountmap.Key) byte { return k[s.Bit/8] >> (7 - s.Bit%8) & 1 }
		if i > 0 && s.Bit <= p.Steps[i-1].Bit || at(key) != at(end) || p.End == accountmap.EndsAtNothing {
			t.Fatalf("seed %d: verifies for key %s: %+v", seed, key, p)
		}
	}
}

// TestProofSizes: a proof of a million accounts has about 710 bytes, and the longest possible walk
// fits into MaxProofSize.
func TestProofSizes(t *testing.T) {
	t.Parallel()
	var key accountmap.Key
	leaves := []accountmap.Leaf{{Key: key}}
	for bit := range 256 {
		other := key
		other[bit/8] ^= 0x80 >> (bit % 8)
		leaves = append(leaves, accountmap.Leaf{Key: other})
	}
	tree := accountmap.Build(leaves[1:])
	p := tree.Prove(key)
	if b := p.Append(nil); len(p.Steps) != 255 || len(b) > accountmap.MaxProofSize {
		t.Errorf("absence has %d steps in %d bytes", len(p.Steps), len(b))
	}
	if _, present, err := p.Verify(tree.Root(), key); present || err != nil {
		t.Errorf("absence below 255 steps: %t, %v", present, err)
	}
	tree.Update(leaves)
	p = tree.Prove(key)
	if _, present, err := p.Verify(tree.Root(), key); !present || err != nil || len(p.Steps) != 256 {
		t.Errorf("presence: %d steps, %t, %v", len(p.Steps), present, err)
	}
	most := accountmap.Proof{End: accountmap.EndsAtOther, Steps: p.Steps, Other: accountmap.Key{1}}
	if b := most.Append(nil); len(b) != accountmap.MaxProofSize {
		t.Errorf("the largest proof has %d bytes, want %d", len(b), accountmap.MaxProofSize)
	}
}
