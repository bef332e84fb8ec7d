package check_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

const origin = "test.example/ledger"

// sealers are the keys of a cluster of three nodes.
type sealers struct {
	log    *tlog.Cosigner
	nodes  []*tlog.Cosigner
	policy *tlog.Policy
}

func newSealers(t *testing.T) *sealers {
	t.Helper()
	cosigner := func(name string) *tlog.Cosigner {
		key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tlog.NewCosigner(name, key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s := &sealers{log: cosigner(origin)}
	var keys []*tlog.VerifierKey
	for i := range 3 {
		c := cosigner(fmt.Sprintf("%s/n%d", origin, i+1))
		s.nodes, keys = append(s.nodes, c), append(keys, c.Key())
	}
	var err error
	if s.policy, err = tlog.NewPolicy([]*tlog.VerifierKey{s.log.Key()}, keys, 2); err != nil {
		t.Fatal(err)
	}
	return s
}

// seal makes a checkpoint with cosignatures of n nodes.
func (s *sealers) seal(t *testing.T, size uint64, root merkle.Hash, n int) []byte {
	t.Helper()
	cp := tlog.Checkpoint{Origin: origin, Size: size, Root: root}
	note := tlog.Note{Text: cp.Text()}
	for _, c := range append([]*tlog.Cosigner{s.log}, s.nodes[:n]...) {
		sig, err := c.Cosign(cp, 1_800_000_000)
		if err != nil {
			t.Fatal(err)
		}
		note.Signatures = append(note.Signatures, sig)
	}
	return note.Marshal()
}

// proved is a ledger of leaves with evidence about it.
type proved struct {
	leaves [][]byte
	final  []check.FinalEntry
	check.Evidence
}

func (s *sealers) prove(t *testing.T) *proved {
	t.Helper()
	p := &proved{}
	var hashes []merkle.Hash
	for i := range 10 {
		e := ledger.Entry{Kind: ledger.KindPayload, Time: 1, Principal: "spiffe://test.example/svc/a", Key: []byte{byte(i + 1)}, Body: []byte{byte(i), 'x'}}
		leaf := e.AppendLeaf(nil)
		hash := merkle.LeafHash(leaf)
		p.leaves, hashes = append(p.leaves, leaf), append(hashes, hash)
		p.final = append(p.final, check.FinalEntry{Key: history.DigestOf(e.Key), Body: history.DigestOf(e.Body), Leaf: hash})
	}
	p.Roots = map[uint64]merkle.Hash{3: rootOf(hashes[:3])}
	for n, size := range []uint64{4, 10} {
		p.Notes = append(p.Notes, s.seal(t, size, rootOf(hashes[:size]), 2))
		for i := range size {
			proof, err := merkle.InclusionProof(tilesOf(hashes), i, size)
			if err != nil {
				t.Fatal(err)
			}
			p.Receipts = append(p.Receipts, check.Receipt{Index: i, Leaf: p.leaves[i], Proof: proof, Note: n})
		}
	}
	return p
}

func rootOf(hashes []merkle.Hash) merkle.Hash {
	tree := merkle.NewTree()
	tree.Append(hashes)
	return tree.Root()
}

// tilesOf serves the only tile that so small a tree has.
type tilesOf []merkle.Hash

func (l tilesOf) ReadTile(level uint8, index uint64, width int) ([]merkle.Hash, error) {
	if level != 0 || index != 0 || width > len(l) {
		return nil, fmt.Errorf("no tile %d/%d of width %d", level, index, width)
	}
	return l[:width], nil
}

// TestEvidence: what is right passes, and everything that can be wrong is found.
func TestEvidence(t *testing.T) {
	s := newSealers(t)
	other := newSealers(t)
	cases := []struct {
		name, kind string // kind of the violation; "" for none
		receipts   bool   // some receipt is worth nothing
		change     func(p *proved)
	}{
		{"nothing", "", false, func(*proved) {}},
		{"a root that nobody has", "equivocation", false, func(p *proved) { p.Roots[5] = merkle.Hash{1} }},
		{"a root of the future", "lost", false, func(p *proved) { p.Roots[11] = merkle.Hash{1} }},
		{"two roots for one size", "equivocation", false, func(p *proved) {
			p.Notes = append(p.Notes, s.seal(t, 4, merkle.Hash{1}, 2))
		}},
		{"a root that contradicts a checkpoint", "equivocation", false, func(p *proved) { p.Roots[4] = merkle.Hash{1} }},
		{"a checkpoint of another ledger", "checkpoint", false, func(p *proved) {
			p.Notes = append(p.Notes, other.seal(t, 3, p.Roots[3], 2))
		}},
		{"a minority's cosignatures", "checkpoint", false, func(p *proved) {
			p.Notes = append(p.Notes, s.seal(t, 3, p.Roots[3], 1))
		}},
		{"a checkpoint of what is lost", "lost", true, func(p *proved) { p.final = p.final[:9] }},
		{"an entry that was replaced", "equivocation", true, func(p *proved) { p.final[2].Leaf = merkle.Hash{1} }},
		{"a receipt of another entry", "receipt", true, func(p *proved) { p.Receipts[2].Index = 3 }},
		{"a leaf that was changed", "receipt", true, func(p *proved) {
			p.Receipts[2].Leaf = slices.Clone(p.Receipts[2].Leaf)
			p.Receipts[2].Leaf[1] ^= 1
		}},
		{"a proof that was changed", "receipt", true, func(p *proved) {
			p.Receipts[2].Proof = slices.Clone(p.Receipts[2].Proof)
			p.Receipts[2].Proof[0][0] ^= 1
		}},
		{"a receipt under another checkpoint", "receipt", true, func(p *proved) { p.Receipts[2].Note = 1 }},
		{"a receipt without a checkpoint", "receipt", true, func(p *proved) { p.Receipts[2].Note = 7 }},
		{"another payload in the final ledger", "mismatch", true, func(p *proved) { p.final[2].Body = history.Digest{1} }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := s.prove(t)
			c.change(p)
			counts, found := p.Verify(s.policy, p.final)
			if c.kind == "" {
				if len(found) > 0 || counts.BadReceipts > 0 {
					t.Errorf("%+v, %v; want nothing", counts, found)
				}
				if counts.Notes != 2 || counts.Receipts != 14 {
					t.Errorf("verified %+v, want 2 notes and 14 receipts", counts)
				}
				return
			}
			if !slices.ContainsFunc(found, func(v check.Violation) bool { return v.Kind == c.kind }) {
				t.Errorf("found %v, want one %q", found, c.kind)
			}
			if bad := counts.BadReceipts > 0; bad != c.receipts {
				t.Errorf("%d bad receipts", counts.BadReceipts)
			}
		})
	}
}

// TestSessions: a local read that goes back behind what was asked for is found.
func TestSessions(t *testing.T) {
	local := func(process uint32, first, size uint64) history.Op {
		return history.Op{Process: process, Kind: history.LocalHead, Outcome: history.OK, First: first, Size: size}
	}
	good := []history.Op{
		{Process: 1, Kind: history.Append, Outcome: history.OK, Entries: []history.Entry{{Index: 4}}},
		local(1, 5, 5), local(2, 0, 3), local(1, 5, 9), local(1, 9, 9),
		local(1, 0, 2), // outside of any session
		{Process: 1, Kind: history.LocalHead, Outcome: history.Fail, First: 99},
	}
	if within, found := check.Sessions(good); len(found) > 0 || within != 3 {
		t.Errorf("%d reads in sessions, %v; want 3 and nothing", within, found)
	}
	for _, bad := range []history.Op{local(1, 9, 8), local(3, 1, 0)} {
		_, found := check.Sessions(append(slices.Clone(good), bad))
		if len(found) != 1 || found[0].Kind != "session" || found[0].A != len(good) {
			t.Errorf("%+v: found %v, want it", bad, found)
		}
	}
}

// TestWatches: gaps and repetitions are found, for each process by itself.
func TestWatches(t *testing.T) {
	told := func(process uint32, first uint64, n int) history.Op {
		return history.Op{Process: process, Kind: history.Watch, Outcome: history.OK, First: first, Entries: make([]history.Entry, n)}
	}
	good := []history.Op{told(1, 0, 3), told(2, 7, 1), told(1, 3, 2), told(2, 8, 4), told(1, 5, 1)}
	if n, found := check.Watches(good); len(found) > 0 || n != 5 {
		t.Errorf("%d deliveries, %v; want 5 and nothing", n, found)
	}
	for what, bad := range map[string]history.Op{"gap": told(1, 7, 1), "repetition": told(2, 11, 1)} {
		_, found := check.Watches(append(slices.Clone(good), bad))
		if len(found) != 1 || found[0].Kind != "watch" || !strings.Contains(found[0].Text, what) || found[0].B != len(good) {
			t.Errorf("%s: found %v, want it", what, found)
		}
	}
}
