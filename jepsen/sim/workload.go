package sim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/ledger"
)

// workload is all clients of one ledger: what they have asked for and been told.
type workload struct {
	w    *world
	g    *group
	left int // operations that may still be issued
	ops  []history.Op
	// sent are the batches with keys that were ever sent: to repeat, or to contradict.
	sent        []ledger.Batch
	nextProcess uint32
	nextPayload uint64
	clients     []*client
}

func newWorkload(g *group) *workload {
	w := g.w
	l := &workload{w: w, g: g, left: g.ops()}
	mean := w.opt.Pace
	for i := range max(1, g.share(w.opt.Clients)) {
		c := &client{l: l, rng: g.stream("client", i), think: mean, process: l.newProcess(), reader: i%3 == 2}
		c.node = 1 + c.rng.Uint64N(uint64(w.opt.Nodes))
		l.clients = append(l.clients, c)
		w.after(exp(c.rng, mean), c.next)
	}
	for i := range 1 + g.stream("watchers", 0).IntN(2) {
		s := &subscriber{l: l, rng: g.stream("watcher", i), process: l.newProcess()}
		w.after(time.Millisecond, s.subscribe)
	}
	return l
}

func (l *workload) newProcess() uint32 {
	l.nextProcess++
	return l.nextProcess
}

// payload makes one that no other entry has, in any ledger. Ledgers do have keys in common.
func (l *workload) payload(r *rand.Rand) []byte {
	l.nextPayload++
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8), (l.g.id-1)<<32|l.nextPayload)
	if r.IntN(3) > 0 {
		b = append(b, make([]byte, r.IntN(l.w.cfg.payload))...)
	}
	return b
}

var principals = []string{"spiffe://sim.example/svc/a", "spiffe://sim.example/svc/b"}

func keyOf(principal string, key, payload []byte) history.Digest {
	if len(key) == 0 {
		return history.DigestOf(append([]byte("payload:"), payload...))
	}
	return history.DigestOf([]byte(fmt.Sprintf("%s:%s", principal, key)))
}

// keyAt names the entry at an index. A leader may propose equal entries in its own name.
func keyAt(index uint64, e *ledger.Entry) history.Digest {
	if ofLeader(e.Principal) {
		return history.DigestOf(fmt.Appendf(nil, "own:%d:%s", index, e.Body))
	}
	return keyOf(e.Principal, e.Key, e.Body)
}

// entriesOf are a batch's entries as the history has them.
func entriesOf(b *ledger.Batch) []history.Entry {
	out := make([]history.Entry, len(b.Entries))
	for i, e := range b.Entries {
		out[i] = history.Entry{Key: keyOf(b.Principal, e.Key, e.Body), Body: history.DigestOf(e.Body)}
	}
	return out
}

// readEntries are leaves as the history has them; ok is false when one is no leaf.
func readEntries(first uint64, leaves [][]byte) (out []history.Entry, ok bool) {
	for i, leaf := range leaves {
		e, err := ledger.ParseLeaf(leaf)
		if err != nil {
			return nil, false
		}
		index := first + uint64(i)
		out = append(out, history.Entry{Key: keyAt(index, &e), Body: history.DigestOf(e.Body), Index: index})
	}
	return out, true
}

// batch draws an append: new entries with or without keys, one or several, a
// repetition of an earlier batch as a whole, or a contradiction to one.
func (l *workload) batch(r *rand.Rand, known uint64) ledger.Batch {
	b := ledger.Batch{Principal: pick(r, principals...)}
	switch k := r.IntN(20); {
	case k < 4 && len(l.sent) > 0:
		b = l.sent[r.IntN(len(l.sent))]
		b.ExpectedSize = nil
	case k == 4 && len(l.sent) > 0:
		old := l.sent[r.IntN(len(l.sent))]
		if len(old.Entries) > 1 {
			b = old
			b.ExpectedSize = nil
			break
		}
		b.Principal = old.Principal
		e := l.entry(r)
		e.Key = old.Entries[0].Key
		b.Entries = []ledger.NewEntry{e}
	default:
		n := 1
		if k < 9 {
			n = 2 + r.IntN(6)
		}
		keyed := r.IntN(4) > 0
		for range n {
			e := l.entry(r)
			if keyed && len(e.Key) == 0 {
				e.Key = []byte(fmt.Sprintf("key-%d", l.nextPayload))
			}
			b.Entries = append(b.Entries, e)
		}
		if len(b.Entries[0].Key) > 0 {
			l.sent = append(l.sent, b)
		}
	}
	if r.IntN(8) == 0 {
		size := known
		if r.IntN(3) == 0 {
			size = r.Uint64N(known + 3)
		}
		b.ExpectedSize = &size
	}
	return b
}

// record adds an operation to the history.
func (l *workload) record(op history.Op) {
	s := &l.w.stats
	switch op.Outcome {
	case history.OK:
		s.OK++
	case history.Fail:
		s.Failed++
	default:
		s.Unknown++
	}
	l.ops = append(l.ops, op)
}

// pending are the operations that have not ended.
func (l *workload) pending() (ops []history.Op) {
	for _, c := range l.clients {
		if a := c.current; a != nil && !a.ended {
			a.op.Return = history.Never
			ops = append(ops, a.op)
		}
	}
	return ops
}
