package accountmap_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/accountmap"
)

// naive is the definition of the map in a few lines: the root and the proof of a key over all
// leaves, which are distinct.
func naive(leaves []accountmap.Leaf, key accountmap.Key) (root merkle.Hash, p accountmap.Proof) {
	switch len(leaves) {
	case 0:
		return sha256.Sum256([]byte{5}), accountmap.Proof{End: accountmap.EndsAtNothing}
	case 1:
		l := leaves[0]
		p = accountmap.Proof{End: accountmap.EndsAtAccount, Record: l.Record}
		if l.Key != key {
			p.End, p.Other = accountmap.EndsAtOther, l.Key
		}
		return sha256.Sum256(slices.Concat([]byte{2}, l.Key[:], l.Record[:])), p
	}
	for bit := 0; ; bit++ {
		var sides [2][]accountmap.Leaf
		at := func(k accountmap.Key) int { return int(k[bit/8] >> (7 - bit%8) & 1) }
		for _, l := range leaves {
			sides[at(l.Key)] = append(sides[at(l.Key)], l)
		}
		if len(sides[0]) == 0 || len(sides[1]) == 0 {
			continue
		}
		left, pl := naive(sides[0], key)
		right, pr := naive(sides[1], key)
		step := accountmap.Step{Bit: uint8(bit), Sibling: right}
		if p = pl; at(key) == 1 {
			p, step.Sibling = pr, left
		}
		p.Steps = append([]accountmap.Step{step}, p.Steps...)
		return sha256.Sum256(slices.Concat([]byte{3, uint8(bit)}, left[:], right[:])), p
	}
}

// keyMaker makes keys that share long beginnings with keys from before, and random ones.
type keyMaker struct {
	rng  *rand.Rand
	made []accountmap.Key
}

func (m *keyMaker) next() accountmap.Key {
	var k accountmap.Key
	for i := 0; i < len(k); i += 8 {
		binary.BigEndian.PutUint64(k[i:], m.rng.Uint64())
	}
	if len(m.made) > 0 && m.rng.IntN(2) == 0 {
		from := m.made[m.rng.IntN(len(m.made))]
		n := m.rng.IntN(256)
		copy(k[:], from[:n/8])
		mask := byte(0xff) >> (n % 8)
		k[n/8] = from[n/8]&^mask | k[n/8]&mask
	}
	m.made = append(m.made, k)
	return k
}

func random(rng *rand.Rand) (h merkle.Hash) {
	for i := 0; i < len(h); i += 8 {
		binary.BigEndian.PutUint64(h[i:], rng.Uint64())
	}
	return h
}

// compare compares a tree with what it is to hold: the root, every account, and the proofs of some
// accounts and of some keys that it does not hold.
func compare(t *testing.T, tree *accountmap.Tree, want map[accountmap.Key]merkle.Hash, absent []accountmap.Key) {
	t.Helper()
	var leaves []accountmap.Leaf
	keys := slices.Clone(absent)
	for k, r := range want {
		leaves, keys = append(leaves, accountmap.Leaf{Key: k, Record: r}), append(keys, k)
	}
	root, _ := naive(leaves, accountmap.Key{})
	if tree.Len() != len(want) || tree.Root() != root {
		t.Fatalf("%d accounts with root %s, want %d with %s", tree.Len(), tree.Root(), len(want), root)
	}
	for i, k := range keys {
		wantRecord, wantPresent := want[k]
		if record, present := tree.Get(k); record != wantRecord || present != wantPresent {
			t.Fatalf("get %s: %s, %t, want %s, %t", k, record, present, wantRecord, wantPresent)
		}
		if i >= len(absent)+6 { // maps have no order, so these are others every time
			continue
		}
		_, wantProof := naive(leaves, k)
		p := tree.Prove(k)
		if fmt.Sprint(p) != fmt.Sprint(wantProof) {
			t.Fatalf("proof of %s: %v, want %v", k, p, wantProof)
		}
		record, present, err := p.Verify(root, k)
		if err != nil || present != wantPresent || present && record != wantRecord {
			t.Fatalf("verify %s: %s, %t, %v, want %s, %t", k, record, present, err, wantRecord, wantPresent)
		}
		parsed, err := accountmap.ParseProof(p.Append(nil))
		if err != nil || fmt.Sprint(parsed) != fmt.Sprint(p) {
			t.Fatalf("proof of %s: %v is parsed as %v, %v", k, p, parsed, err)
		}
	}
}

// TestDifferential compares trees with the definition, after every batch: batches of all sizes,
// with new keys, keys from before and keys that stand in them twice.
func TestDifferential(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		keys := &keyMaker{rng: rng}
		tree, want := accountmap.New(), map[accountmap.Key]merkle.Hash{}
		compare(t, tree, want, []accountmap.Key{keys.next()})
		for range 12 {
			var batch []accountmap.Leaf
			for range rng.IntN(1 << rng.IntN(6)) {
				k := keys.next()
				if rng.IntN(2) == 0 {
					k = keys.made[rng.IntN(len(keys.made))]
				}
				l := accountmap.Leaf{Key: k, Record: random(rng)}
				batch, want[k] = append(batch, l), l.Record
			}
			given := slices.Clone(batch)
			tree.Update(batch)
			if !slices.Equal(batch, given) {
				t.Fatal("Update changed the batch")
			}
			compare(t, tree, want, []accountmap.Key{keys.next(), keys.next()})
		}
		var leaves []accountmap.Leaf
		for k, r := range want {
			leaves = append(leaves, accountmap.Leaf{Key: k, Record: merkle.Hash{1}}, accountmap.Leaf{Key: k, Record: r})
		}
		built := accountmap.Build(leaves)
		compare(t, built, want, []accountmap.Key{keys.next()})
		l := accountmap.Leaf{Key: keys.next(), Record: random(rng)}
		built.Update([]accountmap.Leaf{l})
		want[l.Key] = l.Record
		compare(t, built, want, []accountmap.Key{keys.next()})
	}
}

func accounts(n int) []accountmap.Leaf {
	leaves := make([]accountmap.Leaf, n)
	for i := range leaves {
		leaves[i] = accountmap.Leaf{
			Key:    accountmap.KeyOf("example.org/accounts", fmt.Appendf(nil, "account-%d", i)),
			Record: sha256.Sum256(fmt.Appendf(nil, "record %d", i)),
		}
	}
	return leaves
}

// TestOrderDoesNotMatter: the root is the same whatever the order of the accounts and the sizes of
// the batches are, those that two goroutines hash included.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	leaves := accounts(5000)
	want := accountmap.Build(leaves).Root()
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 2))
		rng.Shuffle(len(leaves), func(i, j int) { leaves[i], leaves[j] = leaves[j], leaves[i] })
		tree := accountmap.New()
		for rest := leaves; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(1<<rng.IntN(12)))
			batch := slices.Clone(rest[:n])
			for range n / 3 { // records that do not last
				old := leaves[rng.IntN(len(leaves)-len(rest)+n)]
				tree.Update([]accountmap.Leaf{{Key: old.Key}})
				batch = append(batch, old)
			}
			tree.Update(batch)
			rest = rest[n:]
		}
		if tree.Root() != want || tree.Len() != len(leaves) {
			t.Fatalf("seed %d: %d accounts with root %s, want %d with %s", seed, tree.Len(), tree.Root(), len(leaves), want)
		}
	}
}

func TestBuildOfNothing(t *testing.T) {
	t.Parallel()
	tree := accountmap.Build(nil)
	tree.Update(nil)
	if tree.Len() != 0 || tree.Root() != accountmap.EmptyRoot() || tree.Root() != accountmap.New().Root() {
		t.Errorf("%d accounts with root %s", tree.Len(), tree.Root())
	}
}
