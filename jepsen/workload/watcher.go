package workload

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/jepsen/history"
)

// watcher follows the ledger from its beginning, on one node after the other.
type watcher struct {
	*journal
	rng  *rand.Rand
	next atomic.Uint64
}

func newWatcher(w *Workload, i int) *watcher {
	return &watcher{journal: newJournal(w), rng: w.rng("watcher", i)}
}

func (s *watcher) run() {
	defer s.end()
	for s.w.watching.Err() == nil {
		s.subscribe()
		select {
		case <-s.w.watching.Done():
		case <-time.After(time.Duration(s.rng.Int64N(int64(50 * time.Millisecond)))):
		}
	}
}

// subscribe watches for a while, and resumes where the last time had ended. A
// stream that says nothing for too long is given up: the node may be paused.
func (s *watcher) subscribe() {
	user := s.w.users[s.rng.IntN(len(s.w.users))]
	node := s.rng.IntN(len(user.conns))
	patience := 500*time.Millisecond + time.Duration(s.rng.ExpFloat64()*float64(5*time.Second))
	ctx, cancel := context.WithTimeout(s.w.watching, patience)
	defer cancel()
	silence := time.AfterFunc(3*time.Second, cancel)
	defer silence.Stop()
	next := s.next.Load()
	stream, err := user.conns[node].Ledger.Watch(ctx, &cairnv1.WatchRequest{From: next})
	if err != nil {
		return
	}
	for {
		op := history.Op{Kind: history.Watch, First: next, Node: uint16(node + 1)}
		op.Process, op.Call, op.Return = s.process, s.w.now(), history.Never
		resp, err := stream.Recv()
		if err != nil {
			s.w.blame(node, op.Call, understand(err, true))
			return
		}
		silence.Reset(3 * time.Second)
		if resp.First != next || resp.First+uint64(len(resp.Leaves)) > resp.Size && len(resp.Leaves) > 0 {
			s.w.violate("watch", next, "a watch that had reached %d was told %d entries from %d on, of size %d", next, len(resp.Leaves), resp.First, resp.Size)
			return
		}
		if len(resp.Leaves) == 0 {
			continue
		}
		if !s.deliver(op, resp) {
			return
		}
		next += uint64(len(resp.Leaves))
		s.next.Store(next)
		s.w.saw(next)
	}
}

// deliver records a delivery. It is known only now that there is one, so both its
// lines are written now.
func (s *watcher) deliver(op history.Op, resp *cairnv1.WatchResponse) bool {
	entries, ok := s.w.readEntries(resp.First, resp.Leaves)
	if !ok {
		return false
	}
	id, err := s.w.rec.Invoke(&op)
	if err != nil {
		s.w.fail(err)
	}
	op.Outcome, op.Entries = history.OK, entries
	s.complete(id, &op)
	return true
}
