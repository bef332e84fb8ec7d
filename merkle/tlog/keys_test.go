package tlog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/pqcrypto"
)

const testOrigin = "ledger.example/audit"

// testCosigner returns the cosigner whose key comes from a seed of repeated
// bytes. The same number gives the same key.
func testCosigner(t testing.TB, name string, number byte) *Cosigner {
	t.Helper()
	key, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, bytes.Repeat([]byte{number}, 32))
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCosigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// testLedger is a small ledger: its log key, the cosigner keys of its nodes,
// and a tree of entries.
type testLedger struct {
	log    *Cosigner
	nodes  []*Cosigner
	leaves [][]byte
	tree   *merkle.Tree
}

func newTestLedger(t testing.TB, nodes int) *testLedger {
	l := &testLedger{log: testCosigner(t, testOrigin, 1), tree: merkle.NewTree()}
	for i := range nodes {
		l.nodes = append(l.nodes, testCosigner(t, fmt.Sprintf("%s/n%d", testOrigin, i+1), byte(10+i)))
	}
	for i := range 37 {
		l.leaves = append(l.leaves, fmt.Appendf(nil, "entry %d", i))
	}
	l.tree.Append(merkle.LeafHashes(l.leaves))
	return l
}

func (l *testLedger) checkpoint() Checkpoint {
	return Checkpoint{Origin: testOrigin, Size: l.tree.Size(), Root: l.tree.Root()}
}

// note returns the checkpoint signed by the given cosigners.
func (l *testLedger) note(t testing.TB, by ...*Cosigner) []byte {
	t.Helper()
	n := &Note{Text: l.checkpoint().Text()}
	for i, c := range by {
		sig, err := c.Cosign(l.checkpoint(), uint64(1_700_000_000+i))
		if err != nil {
			t.Fatal(err)
		}
		n.Signatures = append(n.Signatures, sig)
	}
	return n.Marshal()
}

// policy demands k of the nodes.
func (l *testLedger) policy(t testing.TB, k int) *Policy {
	t.Helper()
	var keys []*VerifierKey
	for _, n := range l.nodes {
		keys = append(keys, n.Key())
	}
	p, err := NewPolicy([]*VerifierKey{l.log.Key()}, keys, k)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// receipt returns the receipt of an entry under a checkpoint signed by the log
// and the first k nodes.
func (l *testLedger) receipt(t testing.TB, index uint64, k int) *Receipt {
	t.Helper()
	proof, err := merkle.InclusionProof(merkle.TileReaderFunc(func(level uint8, _ uint64, _ int) ([]merkle.Hash, error) {
		return l.tree.Partial(level), nil
	}), index, l.tree.Size())
	if err != nil {
		t.Fatal(err)
	}
	signers := append([]*Cosigner{l.log}, l.nodes[:k]...)
	return &Receipt{Extra: l.leaves[index], Index: index, Proof: proof, Checkpoint: l.note(t, signers...)}
}

// wantError checks that an error has a text, and nothing if that is empty.
func wantError(t testing.TB, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v, want no error", what, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: error %v, want one with %q", what, err, want)
	}
}
