package workload

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/jepsen/history"
)

// batch is what a client appends.
type batch struct {
	entries []*cairnv1.NewEntry
	keyed   bool
}

// pool remembers batches with keys that were sent, to repeat or to contradict
// them: a sample of all, old ones too, since keys never expire.
type pool struct {
	mu   sync.Mutex
	kept []batch
	seen int
}

const poolSize = 8192

func (p *pool) put(r *rand.Rand, b batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen++
	if len(p.kept) < poolSize {
		p.kept = append(p.kept, b)
		return
	}
	// Half of the places are for the old, half for the new.
	if i := r.IntN(p.seen); i < poolSize/2 {
		p.kept[i] = b
	} else {
		p.kept[poolSize/2+p.seen%(poolSize/2)] = b
	}
}

func (p *pool) draw(r *rand.Rand) (batch, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.kept) == 0 {
		return batch{}, false
	}
	return p.kept[r.IntN(len(p.kept))], true
}

// payload makes one that no other entry of the run has.
func (w *Workload) payload(r *rand.Rand) []byte {
	n := r.IntN(w.opt.Payload + 1)
	if r.IntN(1000) == 0 {
		n = r.IntN(60_000)
	}
	b := make([]byte, 8+n)
	binary.BigEndian.PutUint64(b, w.payloads.Add(1))
	for i := 8; i < len(b); i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], r.Uint64())
		copy(b[i:], word[:])
	}
	return b
}

// draw makes an append: new entries with or without keys, one or several, a
// repetition of an earlier batch as a whole, or a contradiction to one.
func (w *Workload) draw(r *rand.Rand) batch {
	switch k := r.IntN(20); {
	case k < 2:
		if b, ok := w.pool.draw(r); ok {
			return b
		}
	case k == 2:
		// Only single entries: see check.Linear about batches.
		for range 8 {
			if old, ok := w.pool.draw(r); ok && len(old.entries) == 1 {
				return batch{keyed: true, entries: []*cairnv1.NewEntry{{Key: old.entries[0].Key, Payload: w.payload(r)}}}
			}
		}
	}
	n := 1
	switch k := r.IntN(100); {
	case k == 0:
		n = 1 + r.IntN(25*w.opt.Batch)
	case k < 50:
		n = 1 + r.IntN(w.opt.Batch)
	}
	b := batch{keyed: r.IntN(4) > 0, entries: make([]*cairnv1.NewEntry, n)}
	for i := range b.entries {
		e := &cairnv1.NewEntry{Payload: w.payload(r)}
		if b.keyed {
			e.Key = fmt.Appendf(nil, "key-%d", binary.BigEndian.Uint64(e.Payload)) // as unique as the payload
		}
		b.entries[i] = e
	}
	if b.keyed {
		w.pool.put(r, b)
	}
	return b
}

// asked are a batch's entries as the history has them.
func (b batch) asked(principal string) []history.Entry {
	out := make([]history.Entry, len(b.entries))
	for i, e := range b.entries {
		out[i] = history.Entry{Key: KeyOf(principal, e.Key, e.Payload), Body: history.DigestOf(e.Payload)}
	}
	return out
}
