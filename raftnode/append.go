package raftnode

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// appender is the append goroutine: the only one that writes to the log.
//
// It takes one piece of work, drains its queue, makes one write of all of it, one
// sync if anybody relies on it, and then delivers the responses in order. The
// drain is what makes group commit: while a sync is under way work piles up, and
// the next sync covers all of it.
type appender struct {
	n    *Node
	wake chan struct{} // capacity 1
	done chan struct{}
	// busySince is the time, in nanoseconds of the monotonic clock since the start
	// of the node, at which the oldest work of the write under way was queued; 0
	// when none is.
	busySince atomic.Int64

	mu struct {
		sync.Mutex
		queue   []appendItem
		stopped bool // nothing is accepted any more; what is queued will be done
	}
}

// appendItem is one of: work of the core, a mark, a note.
type appendItem struct {
	work *AppendWork
	mark *wal.Mark
	note *wal.Note
	done func(error) // of the note
	at   int64
}

func newAppender(n *Node) *appender {
	return &appender{n: n, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// push queues an item; false when the appender has stopped.
func (a *appender) push(it appendItem) bool {
	it.at = a.n.clock()
	a.mu.Lock()
	ok := !a.mu.stopped
	if ok {
		a.mu.queue = append(a.mu.queue, it)
	}
	a.mu.Unlock()
	if ok {
		a.signal()
	}
	return ok
}

func (a *appender) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// stop lets the goroutine finish what is queued and end.
func (a *appender) stop() {
	a.mu.Lock()
	a.mu.stopped = true
	a.mu.Unlock()
	a.signal()
}

// age is how long the oldest write has been under way; 0 when none is.
func (a *appender) age() time.Duration { return a.n.ageOf(&a.busySince) }

func (a *appender) queued() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.mu.queue)
}

func (a *appender) run() {
	defer close(a.done)
	var spare []appendItem
	var records []wal.Record
	var failed error
	for {
		a.mu.Lock()
		items := a.mu.queue
		stopped := a.mu.stopped
		if len(items) > 0 {
			a.mu.queue, spare = spare[:0], nil
		}
		a.mu.Unlock()
		if len(items) == 0 {
			if stopped {
				return
			}
			<-a.wake
			continue
		}
		if failed == nil {
			var sync bool
			records, sync = mergeRecords(records[:0], a.n.cfg.Group, items)
			a.busySince.Store(items[0].at)
			failed = a.n.cfg.Log.Append(records, sync)
			a.busySince.Store(0)
			clear(records)
			if failed != nil {
				a.n.fail(failed, "write to the log")
			}
		}
		a.deliver(items, failed)
		clear(items)
		spare = items
	}
}

// deliver hands out the responses of finished items. After a failure nothing
// leaves: nobody may rely on what was not written.
func (a *appender) deliver(items []appendItem, err error) {
	for i := range items {
		if it := &items[i]; it.work != nil && err == nil {
			for _, m := range it.work.Remote {
				a.n.cfg.Transport.SendRaft(a.n.cfg.Group, m)
			}
		} else if it.done != nil {
			it.done(err)
		}
	}
	if err == nil {
		a.n.inbox.put(func(m *mail) {
			for i := range items {
				if w := items[i].work; w != nil {
					m.appended = append(m.appended, w)
				}
			}
		})
	}
}

// mergeRecords turns queued items into as few records as possible and says
// whether they have to be synced. Runs of entries are joined while they are
// contiguous; entries that replace earlier ones start a new record.
func mergeRecords(out []wal.Record, group uint64, items []appendItem) (records []wal.Record, sync bool) {
	var cur *wal.Record
	next := func() {
		out = append(out, wal.Record{Group: group})
		cur = &out[len(out)-1]
	}
	next()
	owned := false // cur.Entries is a slice of ours, which may be appended to
	for i := range items {
		it := &items[i]
		switch {
		case it.work != nil:
			w := it.work
			sync = sync || w.NeedsSync
			if len(w.Entries) > 0 {
				if n := len(cur.Entries); n > 0 && cur.Entries[n-1].GetIndex()+1 != w.Entries[0].GetIndex() {
					next()
					owned = false
				}
				switch {
				case len(cur.Entries) == 0:
					cur.Entries = w.Entries
				case !owned:
					// The slice belongs to Raft: copy before appending.
					cur.Entries = append(cur.Entries[:len(cur.Entries):len(cur.Entries)], w.Entries...)
					owned = true
				default:
					cur.Entries = append(cur.Entries, w.Entries...)
				}
			}
			if w.HardState != nil {
				cur.HardState = w.HardState
			}
		case it.mark != nil:
			cur.Mark = it.mark // marks only rise: the newest stands for all
		case it.note != nil:
			sync = sync || it.done != nil
			if cur.Note != nil {
				next()
				owned = false
			}
			cur.Note = it.note
		}
	}
	return out, sync
}
