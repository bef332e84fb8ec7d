package wal

import (
	"fmt"
	"io"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"
)

// maxAppend bounds one Append, in bytes of frames.
const maxAppend = 1 << 30

// keepBuffer is how much buffer an Append leaves to the next one, in bytes.
const keepBuffer = 8 << 20

// Append writes the records: one write, and one fdatasync if sync is set, which
// covers everything appended before as well. It returns when that is done; only
// then do readers see the records.
//
// One goroutine appends. An error that matches ErrFatal ends the log's use; one
// that matches ErrInvalidRecord left no trace.
func (l *Log) Append(records []Record, sync bool) error {
	l.writer.Lock()
	defer l.writer.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	c := l.commit
	c.reset()
	for i := range records {
		if err := addRecord(c, &records[i]); err != nil {
			return err
		}
	}
	return l.write(c, sync)
}

// Bootstrap gives an empty group its first mark, and so its membership and the
// index behind which its log begins; durable on return. ErrNotEmpty if the group
// has any state.
func (l *Log) Bootstrap(group uint64, m Mark) error {
	l.mu.RLock()
	g := l.groups[group]
	empty := g == nil || g.empty()
	l.mu.RUnlock()
	if !empty {
		return errors.Wrapf(ErrNotEmpty, "bootstrap group %d", group)
	}
	return l.Append([]Record{{Group: group, Mark: &m}}, true)
}

// Sync makes durable what was appended without sync.
func (l *Log) Sync() error {
	l.writer.Lock()
	defer l.writer.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	return l.sync()
}

// writable returns why the log takes no writes. The caller holds writer.
func (l *Log) writable() error {
	if l.closed.Load() {
		return ErrClosed
	}
	return l.broken
}

// fail makes err the log's last word. The caller holds writer.
func (l *Log) fail(err error) error {
	l.broken = fatal(err)
	return l.broken
}

// addRecord adds a record's operations in the order in which they are recovered.
func addRecord(c *commit, r *Record) error {
	add := func(o op) error {
		o.group = r.Group
		if reason := c.add(o); reason != "" {
			return invalid("%s", reason)
		}
		return nil
	}
	if r.Restore {
		if r.Mark == nil || r.HardState != nil || len(r.Entries) > 0 {
			return invalid("group %d: a record that restores has a mark, and neither entries nor a hard state", r.Group)
		}
		if err := add(op{typ: frameBase, index: r.Mark.Index, term: r.Mark.Term}); err != nil {
			return err
		}
	}
	for _, e := range r.Entries {
		if len(e.Data) > MaxEntrySize {
			return invalid("group %d: entry %d has %d bytes, at most %d", r.Group, e.GetIndex(), len(e.Data), MaxEntrySize)
		}
		if t := e.GetType(); t < 0 || t > raftpb.EntryConfChangeV2 {
			return invalid("group %d: entry %d has unknown type %d", r.Group, e.GetIndex(), t)
		}
		if err := add(op{typ: frameEntry, index: e.GetIndex(), term: e.GetTerm(), entryType: e.GetType(), data: e.Data, entry: e}); err != nil {
			return err
		}
	}
	if hs := r.HardState; hs != nil {
		if err := add(op{typ: frameHardState, hs: hardState{hs.GetTerm(), hs.GetVote(), hs.GetCommit()}}); err != nil {
			return err
		}
	}
	if m := r.Mark; m != nil {
		if n := confStateIDs(m.ConfState); n > MaxConfStateIDs || len(m.Meta) > MaxMetaSize {
			return invalid("group %d: mark has %d member ids and %d bytes of summary", r.Group, n, len(m.Meta))
		}
		if err := add(op{typ: frameMark, mark: m}); err != nil {
			return err
		}
	}
	if n := r.Note; n != nil {
		if len(n.Data) > MaxNoteSize {
			return invalid("group %d: note has %d bytes, at most %d", r.Group, len(n.Data), MaxNoteSize)
		}
		return add(op{typ: frameNote, slot: n.Slot, data: n.Data})
	}
	return nil
}

func invalid(format string, args ...any) error {
	return errors.Wrap(ErrInvalidRecord, fmt.Sprintf(format, args...))
}

// write writes the commit. The caller holds writer.
func (l *Log) write(c *commit, sync bool) error {
	if len(c.ops) > 0 {
		size := int64(0)
		for i := range c.ops {
			size += int64(frameSize(c.ops[i].payloadSize()))
		}
		if size > maxAppend {
			return invalid("append has %d bytes, at most %d", size, int64(maxAppend))
		}
		// The carry does not count: were it as large as a segment, every Append would
		// write it again.
		if have := l.active.end - l.active.start; have > 0 && have+size > l.opts.SegmentSize {
			if err := l.rotate(); err != nil {
				return l.fail(err)
			}
		}
		if err := l.writeFrames(c, int(size)); err != nil {
			return l.fail(err)
		}
	}
	if sync {
		if err := l.sync(); err != nil {
			return err
		}
	}
	if len(c.ops) > 0 {
		l.publish(c)
	}
	return nil
}

// writeFrames encodes the commit into one buffer and writes it at the log's end.
func (l *Log) writeFrames(c *commit, size int) error {
	seg := l.active
	buf := l.buf[:0]
	if cap(buf) < size {
		buf = make([]byte, 0, size+int(l.opts.fillStep))
	}
	for i := range c.ops {
		o := &c.ops[i]
		o.offset = seg.end + int64(len(buf))
		h := frameHeader{typ: o.typ, group: o.group, synced: uint64(l.synced), ordinal: uint32(i)}
		if i == len(c.ops)-1 {
			h.flags |= flagLast
		}
		at := len(buf)
		buf = append(buf, zeroHeader[:]...)
		buf = o.appendPayload(buf)
		buf = sealFrame(buf, at, seg.salt, o.offset, h)
	}
	end := seg.end + int64(len(buf))
	if end > l.filled {
		// A large write extends the file anyway; filling on would double it.
		step := l.opts.fillStep
		if int64(len(buf)) >= step {
			step = pageSize
		}
		l.filled = roundUp(end, step)
		buf = append(buf, make([]byte, l.filled-end)...)
	}
	n, err := seg.file.WriteAt(buf, seg.end)
	if err == nil && n < len(buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return wrapIO(err, "write %s at offset %d", seg.path, seg.end)
	}
	l.recorded = l.synced
	l.end = end
	l.stats.appends.Add(1)
	l.stats.written.Add(uint64(len(buf)))
	if l.buf = buf; cap(buf) > keepBuffer {
		l.buf = nil
	}
	return nil
}

// sync makes everything written durable. The caller holds writer.
func (l *Log) sync() error {
	if l.end == l.synced {
		return nil
	}
	if err := l.active.file.SyncData(); err != nil {
		return l.fail(wrapIO(err, "sync %s", l.active.path))
	}
	l.synced = l.end
	l.stats.syncs.Add(1)
	return nil
}

// publish shows the written commit to readers.
func (l *Log) publish(c *commit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range c.ops {
		o := &c.ops[i]
		if o.typ == frameMarker {
			continue
		}
		g := l.group(o.group)
		g.apply(o, l.active)
		if o.typ == frameEntry {
			l.caches.push(&g.recent, o.entry, l.opts.CacheBytes)
		}
		l.lastData = l.end
	}
	l.active.end = l.end
}
