package raftnode

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnledger/cairn/internal/stages"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// writeQueue is what waits to be written to the log.
//
// A write takes everything that waits and makes one write of it, with one sync if anybody relies on
// it. That is group commit: while a sync is under way work piles up, and the next sync covers all
// of it.
type writeQueue struct {
	mu struct {
		sync.Mutex
		items []writeItem
		// restored is the index of the newest snapshot that was queued: a mark below it is of no use.
		restored uint64
		ended    bool // nothing is accepted any more; what is queued will be done
	}
	// bytes are those of the entries that wait, or are being written.
	bytes part
	// since is when the oldest item of the write under way was queued; 0 when none is.
	since atomic.Int64

	// The rest is owned by whoever runs TaskWrite.
	busy   []writeItem // of the write under way; empty when none is
	write  Write
	began  stages.Moment // when the write under way was handed out
	failed error
}

// writeItem is one of: work of the core, a mark, a note.
type writeItem struct {
	work *AppendWork
	mark *wal.Mark
	note *wal.Note
	done func(error) // of the note
	at   int64
	// foreign: the work has entries of another leader.
	foreign bool
}

// size is how many bytes of entries the item holds.
func (it *writeItem) size() (n int) {
	if it.work != nil {
		for _, e := range it.work.Entries {
			n += len(e.GetData())
		}
	}
	return n
}

// Write is one write to the log: all Records in order, then one sync if Sync says so. The records
// are valid until Written.
type Write struct {
	Records []wal.Record
	Sync    bool
}

// size is how many bytes of entries the write holds.
func (w *Write) size() (n int) {
	for i := range w.Records {
		for _, e := range w.Records[i].Entries {
			n += len(e.GetData())
		}
	}
	return n
}

// pushWrite queues an item; false when the driver has ended, and for a mark that a snapshot has
// overtaken.
func (d *Driver) pushWrite(it writeItem) bool {
	it.at = d.clock()
	q := &d.writes
	q.mu.Lock()
	ok := !q.mu.ended && (it.mark == nil || it.mark.Index >= q.mu.restored)
	if ok {
		if it.work != nil && it.work.Snapshot != nil {
			q.mu.restored = it.work.Snapshot.GetMetadata().GetIndex()
		}
		q.mu.items = append(q.mu.items, it)
		q.bytes.add(it.size())
		if it.foreign {
			d.cfg.crowd.Add(1)
		}
	}
	q.mu.Unlock()
	if ok {
		d.shell.Wake(TaskWrite)
	}
	return ok
}

func (d *Driver) endWrites() {
	d.writes.mu.Lock()
	d.writes.mu.ended = true
	d.writes.mu.Unlock()
	d.shell.Wake(TaskWrite)
}

// NextWrite returns what is to be written now, nil when nothing waits, and whether there can be
// more later. Every write has to be followed by Written.
func (d *Driver) NextWrite() (w *Write, more bool) {
	q := &d.writes
	if len(q.busy) > 0 {
		panic("raftnode: NextWrite before the last write has ended")
	}
	for {
		q.mu.Lock()
		items, ended := q.mu.items, q.mu.ended
		if len(items) > 0 {
			q.mu.items = q.busy[:0]
		}
		q.mu.Unlock()
		if len(items) == 0 {
			return nil, !ended
		}
		q.busy = items
		if q.failed != nil {
			d.deliver(q.failed)
			continue
		}
		q.write.Records, q.write.Sync = mergeRecords(q.write.Records[:0], d.cfg.Group, items)
		q.since.Store(items[0].at)
		q.began = d.cfg.Stages.Now()
		return &q.write, true
	}
}

// Written says how the write under way ended. After a success everything that relied on it goes on:
// messages leave, notes are durable, and the next turn hears of it. An error ends the driver;
// nobody may rely on what was not written.
func (d *Driver) Written(err error) {
	q := &d.writes
	q.since.Store(0)
	clear(q.write.Records)
	if err == nil && q.write.Sync {
		d.cfg.Stages.Since(stages.Write, q.began)
	}
	if err != nil {
		q.failed = err
		d.fail(err, "write to the log")
	}
	d.deliver(err)
}

// deliver hands out the responses of q.busy, in order.
func (d *Driver) deliver(err error) {
	items := d.writes.busy
	for i := range items {
		d.writes.bytes.add(-items[i].size())
		if items[i].foreign {
			d.cfg.crowd.Add(-1)
		}
		if it := &items[i]; it.work != nil && err == nil {
			for _, m := range it.work.Remote {
				d.cfg.Transport.SendRaft(d.cfg.Group, m)
			}
		} else if it.done != nil {
			it.done(err)
		}
	}
	if err == nil {
		commit, urgent := d.state.Load().Commit, false
		for i := range items {
			urgent = urgent || items[i].work != nil && items[i].work.awaited(commit)
		}
		d.inbox.leave(urgent, func(m *mail) {
			for i := range items {
				if w := items[i].work; w != nil {
					m.written = append(m.written, w)
				}
			}
		})
	}
	clear(items)
	d.writes.busy = items[:0]
}

// writeAge is how long the oldest write has been under way; 0 when none is.
func (d *Driver) writeAge() time.Duration { return d.ageOf(&d.writes.since) }

func (q *writeQueue) queued() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.mu.items)
}

// mergeRecords turns queued items into as few records as possible and says
// whether they have to be synced. Runs of entries are joined while they are
// contiguous; entries that replace earlier ones start a new record.
func mergeRecords(out []wal.Record, group uint64, items []writeItem) (records []wal.Record, sync bool) {
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
			if w.Snapshot != nil {
				next()
				meta := w.Snapshot.GetMetadata()
				cur.Restore, cur.Mark = true, &wal.Mark{Index: meta.GetIndex(), Term: meta.GetTerm(), ConfState: meta.GetConfState(), Meta: w.Snapshot.GetData()}
				next()
				owned = false
			}
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
