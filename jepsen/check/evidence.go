package check

import (
	"fmt"

	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Evidence is what clients were given to prove things with: sealed checkpoints, and
// receipts under them. It is worth something only if it holds offline, without the
// nodes that gave it.
type Evidence struct {
	// Notes are signed notes, each once.
	Notes [][]byte
	// Receipts were given by nodes or checked by a client.
	Receipts []Receipt
	// Roots are what nodes said without a signature: root by size.
	Roots map[uint64]merkle.Hash
}

// Receipt is a tlog.Receipt that shares its checkpoint with others.
type Receipt struct {
	Index uint64
	Leaf  []byte
	Proof []merkle.Hash
	Note  int // position in Notes
}

// EvidenceCounts says how much was verified.
type EvidenceCounts struct{ Notes, Receipts, BadReceipts int }

// verifiedNote is a checkpoint whose signatures hold.
type verifiedNote struct {
	tlog.Checkpoint
	ok, whole bool // whole: a complete receipt under it was verified too
}

// Verify checks every checkpoint and receipt with the policy, as an auditor would,
// and against the final ledger: no two checkpoints may contradict each other, each
// must be a prefix of what the ledger has become, and a receipt's leaf must be what
// the ledger holds at its place.
func (e *Evidence) Verify(policy *tlog.Policy, final []FinalEntry) (EvidenceCounts, []Violation) {
	v := &evidenceCheck{policy: policy, final: final, roots: map[uint64]merkle.Hash{}}
	notes := make([]verifiedNote, len(e.Notes))
	for i, note := range e.Notes {
		notes[i] = v.note(i, note)
	}
	for size, root := range e.Roots {
		v.root(size, root)
	}
	v.prefixes()
	for i := range e.Receipts {
		r := &e.Receipts[i]
		if r.Note < 0 || r.Note >= len(notes) {
			v.fail("receipt", r.Index, "a receipt names checkpoint %d of %d", r.Note, len(notes))
			v.counts.BadReceipts++
		} else if n := &notes[r.Note]; !n.ok || !v.receipt(r, n, e.Notes[r.Note]) {
			v.counts.BadReceipts++
		}
		v.counts.Receipts++
	}
	return v.counts, v.found
}

type evidenceCheck struct {
	policy *tlog.Policy
	final  []FinalEntry
	roots  map[uint64]merkle.Hash // that some checkpoint names
	counts EvidenceCounts
	found  []Violation
}

func (v *evidenceCheck) fail(kind string, index uint64, format string, args ...any) {
	if len(v.found) < maxViolations {
		v.found = append(v.found, Violation{Kind: kind, Index: index, A: noOp, B: noOp, Text: fmt.Sprintf(format, args...)})
	}
}

func (v *evidenceCheck) note(i int, note []byte) verifiedNote {
	v.counts.Notes++
	c, err := v.policy.Verify(note)
	if err != nil {
		v.fail("checkpoint", 0, "checkpoint %d does not verify: %v", i, err)
		return verifiedNote{}
	}
	v.root(c.Checkpoint.Size, c.Checkpoint.Root)
	return verifiedNote{Checkpoint: c.Checkpoint, ok: true}
}

func (v *evidenceCheck) root(size uint64, root merkle.Hash) {
	if have, ok := v.roots[size]; ok && have != root {
		v.fail("equivocation", size, "size %d was given with roots %s and %s", size, have, root)
	}
	v.roots[size] = root
}

// prefixes compares every root that was signed with the final ledger's.
func (v *evidenceCheck) prefixes() {
	tree := merkle.NewTree()
	compare := func() {
		size := tree.Size()
		if want, ok := v.roots[size]; ok {
			if got := tree.Root(); got != want {
				v.fail("equivocation", size, "root %s was given for size %d, the final ledger gives %s", want, size, got)
			}
		}
	}
	compare()
	leaf := make([]merkle.Hash, 1)
	for i := range v.final {
		leaf[0] = v.final[i].Leaf
		tree.Append(leaf)
		compare()
	}
	for size := range v.roots {
		if size > uint64(len(v.final)) {
			v.fail("lost", size, "a root of %d entries was given, the final ledger has %d", size, len(v.final))
		}
	}
}

func (v *evidenceCheck) receipt(r *Receipt, n *verifiedNote, note []byte) bool {
	hash := merkle.LeafHash(r.Leaf)
	if err := merkle.VerifyInclusion(r.Index, n.Size, hash, r.Proof, n.Root); err != nil {
		v.fail("receipt", r.Index, "the receipt of entry %d under size %d does not verify: %v", r.Index, n.Size, err)
		return false
	}
	if !n.whole {
		// The other way, through the file format, once for each checkpoint.
		n.whole = true
		whole := &tlog.Receipt{Extra: r.Leaf, Index: r.Index, Proof: r.Proof, Checkpoint: note}
		parsed, err := tlog.ParseReceipt(whole.Marshal())
		if err == nil {
			_, err = v.policy.VerifyReceipt(parsed)
		}
		if err != nil {
			v.fail("receipt", r.Index, "the receipt of entry %d, as a file, does not verify: %v", r.Index, err)
			return false
		}
	}
	if r.Index >= uint64(len(v.final)) {
		v.fail("lost", r.Index, "entry %d has a receipt, the final ledger has %d entries", r.Index, len(v.final))
		return false
	}
	f := &v.final[r.Index]
	e, err := ledger.ParseLeaf(r.Leaf)
	if err != nil || f.Leaf != hash || f.Body != history.DigestOf(e.Body) {
		v.fail("mismatch", r.Index, "the receipt of entry %d is about another entry than the final ledger holds (%v)", r.Index, err)
		return false
	}
	return true
}
