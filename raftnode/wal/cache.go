package wal

import (
	"math/bits"
	"slices"

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
	all     *caches // set by the first push
}

// caches are those of all groups. They share one bound: what a busy group needs
// must not depend on how many quiet ones there are. Guarded by Log.mu.
type caches struct {
	bytes   int64
	entries int
	// order has one element for each entry that came into a cache, oldest first.
	// An entry that was truncated leaves its element behind.
	order []*cache
}

// cachedSize is the memory an entry is taken to need, in bytes.
func cachedSize(e *raftpb.Entry) int64 { return int64(len(e.Data)) + 128 }

// push adds the next entry of a cache and evicts the oldest of all caches above
// limit bytes.
func (a *caches) push(c *cache, e *raftpb.Entry, limit int64) {
	c.all = a
	if n := len(c.entries); n == 0 || c.first+uint64(n) != e.GetIndex() {
		c.clear()
		c.first = e.GetIndex()
	}
	c.entries = append(c.entries, e)
	c.count(e, 1)
	a.order = append(a.order, c)
	for a.bytes > limit && len(a.order) > 0 {
		a.order[0].evict()
		a.order[0] = nil
		a.order = a.order[1:]
	}
	if len(a.order) > 2*a.entries+1024 {
		a.tidy()
	}
}

// tidy removes the elements that truncated entries have left in order.
func (a *caches) tidy() {
	left := make(map[*cache]int)
	tidied := make([]*cache, 0, a.entries)
	for _, c := range slices.Backward(a.order) {
		if left[c] < len(c.entries) {
			left[c]++
			tidied = append(tidied, c)
		}
	}
	slices.Reverse(tidied)
	a.order = tidied
}

// count takes note of an entry that came (1) or went (-1).
func (c *cache) count(e *raftpb.Entry, n int) {
	size := int64(n) * cachedSize(e)
	c.bytes += size
	c.all.bytes += size
	c.all.entries += n
}

// evict removes the oldest entry, if there is one.
func (c *cache) evict() {
	if len(c.entries) == 0 {
		return
	}
	c.count(c.entries[0], -1)
	c.entries[0] = nil
	c.entries = c.entries[1:]
	c.first++
}

func (c *cache) truncate(index uint64) {
	for n := len(c.entries); n > 0 && c.first+uint64(n)-1 >= index; n-- {
		c.count(c.entries[n-1], -1)
		c.entries[n-1] = nil
		c.entries = c.entries[:n-1]
	}
}

func (c *cache) clear() {
	c.truncate(0)
	c.first, c.entries = 0, nil
}

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
