package workload

import (
	"crypto/sha256"
	"maps"
	"sync"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Evidence collects checkpoints and receipts from all clients. It does not verify
// them: that has to be possible at the end, without the nodes.
type Evidence struct {
	mu    sync.Mutex
	known map[[32]byte]int
	all   check.Evidence
}

// maxReceipts bounds the memory; a run that collects more keeps the first ones.
const maxReceipts = 1 << 20

// note keeps a checkpoint and returns what it says.
func (e *Evidence) note(w *Workload, note []byte) (cp tlog.Checkpoint, ok bool) {
	n, err := tlog.ParseNote(note)
	if err == nil {
		cp, err = tlog.ParseCheckpointText(n.Text)
	}
	if err != nil {
		w.violate("checkpoint", 0, "a node gave a checkpoint that is none: %v", err)
		return cp, false
	}
	e.keep(note)
	return cp, true
}

func (e *Evidence) keep(note []byte) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	sum := sha256.Sum256(note)
	i, ok := e.known[sum]
	if !ok {
		if e.known == nil {
			e.known = map[[32]byte]int{}
		}
		i = len(e.all.Notes)
		e.known[sum] = i
		e.all.Notes = append(e.all.Notes, note)
	}
	return i
}

// receipt keeps a receipt file that a node gave for an index, and returns the leaf.
func (e *Evidence) receipt(w *Workload, index uint64, file []byte) (leaf []byte, ok bool) {
	r, err := tlog.ParseReceipt(file)
	if err != nil || r.Index != index {
		w.violate("receipt", index, "a node gave for entry %d what is no receipt of it: %v", index, err)
		return nil, false
	}
	e.add(check.Receipt{Index: r.Index, Leaf: r.Extra, Proof: r.Proof}, r.Checkpoint)
	return r.Extra, true
}

// proved keeps a leaf with its proof, as an append returns it.
func (e *Evidence) proved(w *Workload, index uint64, leaf, proof, note []byte) {
	if len(proof)%merkle.HashSize != 0 || len(proof) > 65*merkle.HashSize {
		w.violate("receipt", index, "a node gave for entry %d a proof of %d bytes", index, len(proof))
		return
	}
	r := check.Receipt{Index: index, Leaf: leaf}
	for ; len(proof) > 0; proof = proof[merkle.HashSize:] {
		r.Proof = append(r.Proof, merkle.Hash(proof[:merkle.HashSize]))
	}
	e.add(r, note)
}

func (e *Evidence) add(r check.Receipt, note []byte) {
	r.Note = e.keep(note)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.all.Receipts) < maxReceipts {
		e.all.Receipts = append(e.all.Receipts, r)
	}
}

// root keeps a root that a node computed.
func (e *Evidence) root(w *Workload, size uint64, root []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all.Roots == nil {
		e.all.Roots = map[uint64]merkle.Hash{}
	}
	if have, ok := e.all.Roots[size]; ok && have != merkle.Hash(root) {
		w.violate("equivocation", size, "nodes gave roots %s and %x for size %d", have, root, size)
	}
	e.all.Roots[size] = merkle.Hash(root)
}

// All returns what was collected.
func (e *Evidence) All() *check.Evidence {
	e.mu.Lock()
	defer e.mu.Unlock()
	return &check.Evidence{
		Notes: append([][]byte(nil), e.all.Notes...), Receipts: append([]check.Receipt(nil), e.all.Receipts...), Roots: maps.Clone(e.all.Roots),
	}
}
