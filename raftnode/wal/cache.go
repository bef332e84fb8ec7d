package wal

import (
	"math/bits"

	"go.etcd.io/raft/v3/raftpb"
)

// cache holds a group's newest entries, so that sending them to followers and
// applying them reads no disk. Guarded by Log.mu.
type cache struct {
	// first is the index of entries[0].
	// Invariant: contiguous, and the last one is the group's last entry, unless
	// the cache is empty.
	first   uint64
	entries []*raftpb.Entry
	bytes   int64
}

// cachedSize is the memory an entry is taken to need, in bytes.
func cachedSize(e *raftpb.Entry) int64 { return int64(len(e.Data)) + 128 }

// push adds the group's next entry and evicts the oldest above limit bytes.
func (c *cache) push(e *raftpb.Entry, limit int64) {
	if n := len(c.entries); n == 0 || c.first+uint64(n) != e.GetIndex() {
		c.clear()
		c.first = e.GetIndex()
	}
	c.entries = append(c.entries, e)
	c.bytes += cachedSize(e)
	for c.bytes > limit && len(c.entries) > 0 {
		c.bytes -= cachedSize(c.entries[0])
		c.entries[0] = nil
		c.entries = c.entries[1:]
		c.first++
	}
}

func (c *cache) truncate(index uint64) {
	for n := len(c.entries); n > 0 && c.first+uint64(n)-1 >= index; n-- {
		c.bytes -= cachedSize(c.entries[n-1])
		c.entries[n-1] = nil
		c.entries = c.entries[:n-1]
	}
}

func (c *cache) clear() { *c = cache{} }

// start returns the first cached index, or end when there is none below it.
func (c *cache) start(end uint64) uint64 {
	if len(c.entries) == 0 {
		return end
	}
	return min(c.first, end)
}

// entrySize is proto.Size of an entry, by hand: the unit of maxSize in
// raft.Storage.
func entrySize(e *raftpb.Entry) (n uint64) {
	if e.Type != nil {
		n += 1 + varintSize(uint64(*e.Type))
	}
	if e.Term != nil {
		n += 1 + varintSize(*e.Term)
	}
	if e.Index != nil {
		n += 1 + varintSize(*e.Index)
	}
	if e.Data != nil {
		n += 1 + varintSize(uint64(len(e.Data))) + uint64(len(e.Data))
	}
	return n
}

func varintSize(v uint64) uint64 { return uint64(bits.Len64(v|1)+6) / 7 }
