package tlog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/merkle"
)

// fork is a ledger with the same keys and other entries from index first on.
func (l *testLedger) fork(first, size int) *testLedger {
	f := &testLedger{log: l.log, nodes: l.nodes, tree: merkle.NewTree()}
	for i := range size {
		leaf := fmt.Appendf(nil, "entry %d", i)
		if i >= first {
			leaf = append(leaf, " of the fork"...)
		}
		f.leaves = append(f.leaves, leaf)
	}
	f.tree.Append(merkle.LeafHashes(f.leaves))
	return f
}

func (l *testLedger) consistency(t testing.TB, size uint64) (merkle.Hash, []merkle.Hash) {
	t.Helper()
	leaves := merkle.LeafHashes(l.leaves)
	proof, err := merkle.ConsistencyProof(merkle.TileReaderFunc(func(_ uint8, _ uint64, width int) ([]merkle.Hash, error) {
		return leaves[:width], nil
	}), size, l.tree.Size())
	if err != nil {
		t.Fatal(err)
	}
	old := merkle.NewTree()
	old.Append(leaves[:size])
	return old.Root(), proof
}

func TestContradiction(t *testing.T) {
	t.Parallel()
	l := newTestLedger(t, 3)
	policy := l.policy(t, 2)
	small := l.fork(20, 30)
	root, proof := l.consistency(t, 30)
	c := &Contradiction{Smaller: small.note(t, l.nodes[0], l.nodes[1]), Larger: l.note(t, l.log, l.nodes[0], l.nodes[2]), Root: root, Proof: proof}
	text := c.Marshal("first line", "second\nline")
	if !strings.HasPrefix(string(text), "# first line\n# second line\n"+contradictionMagic+"\n") {
		t.Errorf("the text begins with %.60q", text)
	}
	if !bytes.Contains(text, c.Smaller) || !bytes.Contains(text, c.Larger) {
		t.Error("the notes are not whole in the text")
	}
	parsed, err := ParseContradiction(text)
	if err != nil || string(parsed.Marshal()) != string(c.Marshal()) {
		t.Fatalf("parsed %+v, %v", parsed, err)
	}
	v, err := policy.VerifyContradiction(parsed)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{l.nodes[0].Key().Name()}; !slices.Equal(v.Both, want) || v.SmallerSealed || !v.LargerSealed {
		t.Errorf("verified %+v, want both signed by %v and the larger one sealed", v, want)
	}
	for i := range text {
		if _, err := ParseContradiction(text[:i]); err == nil {
			t.Fatalf("the first %d of %d bytes are accepted", i, len(text))
		}
	}
	if _, err := ParseContradiction(append(text, 'x')); err == nil {
		t.Error("a byte after the end is accepted")
	}
}

// TestNoContradiction: what can both be true, or what nobody signed, is no evidence against
// anybody.
func TestNoContradiction(t *testing.T) {
	t.Parallel()
	l := newTestLedger(t, 3)
	policy := l.policy(t, 2)
	same, small, elsewhere := l.fork(37, 30), l.fork(20, 30), newTestLedger(t, 3)
	root, proof := l.consistency(t, 30)
	honest, err := ParseNote(same.note(t, l.nodes[0]))
	if err != nil {
		t.Fatal(err)
	}
	forged := (&Note{Text: small.checkpoint().Text(), Signatures: honest.Signatures}).Marshal()
	for i, n := range l.nodes {
		elsewhere.nodes[i] = testCosigner(t, n.Key().Name(), byte(50+i))
	}
	large := l.note(t, l.log, l.nodes[0], l.nodes[1])
	for name, x := range map[string]struct {
		c    Contradiction
		want error
	}{
		"a prefix":                   {Contradiction{Smaller: same.note(t, l.nodes[0]), Larger: large, Root: root, Proof: proof}, ErrNoContradiction},
		"an invented root":           {Contradiction{Smaller: same.note(t, l.nodes[0]), Larger: large, Root: small.tree.Root(), Proof: proof}, ErrNoContradiction},
		"no proof":                   {Contradiction{Smaller: small.note(t, l.nodes[0]), Larger: large, Root: root}, ErrNoContradiction},
		"the other way around":       {Contradiction{Smaller: large, Larger: small.note(t, l.nodes[0]), Root: root, Proof: proof}, ErrNoContradiction},
		"one checkpoint twice":       {Contradiction{Smaller: large, Larger: large, Root: l.tree.Root()}, ErrNoContradiction},
		"a signature that is forged": {Contradiction{Smaller: forged, Larger: large, Root: root, Proof: proof}, ErrBadSignature},
		"keys that nobody knows":     {Contradiction{Smaller: small.note(t, elsewhere.nodes[0]), Larger: large, Root: root, Proof: proof}, ErrBadSignature},
		"the log's line only":        {Contradiction{Smaller: small.note(t, l.log), Larger: large, Root: root, Proof: proof}, ErrBadSignature},
	} {
		if v, err := policy.VerifyContradiction(&x.c); !errors.Is(err, x.want) {
			t.Errorf("%s: %+v, %v; want %v", name, v, err, x.want)
		}
	}
}

func TestPolicyThreshold(t *testing.T) {
	t.Parallel()
	l := newTestLedger(t, 3)
	for k := 1; k <= 3; k++ {
		if got, of := l.policy(t, k).Threshold(); got != k || of != 3 {
			t.Errorf("a policy of %d of 3: %d of %d", k, got, of)
		}
	}
	w := fmt.Sprintf("log %s\nwitness a %s\nwitness b %s\n", l.log.Key(), l.nodes[0].Key(), l.nodes[1].Key())
	for text, want := range map[string]int{
		w + "quorum a\n":                                 1,
		w + "group g all a b\nquorum g\n":                2,
		w + "group g any a b\nquorum g\n":                1,
		w + "quorum none\n":                              0,
		w + "group g any a\ngroup h all g b\nquorum h\n": 0,
	} {
		p, err := ParsePolicy([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := p.Threshold(); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}
