package wal

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

func sized(index uint64, size int) *raftpb.Entry {
	return &raftpb.Entry{Index: new(index), Term: new(uint64(1)), Data: make([]byte, size)}
}

// TestCachesShareOneBound: the oldest entries go first, whichever group they belong to. So a busy
// group may have nearly all of the room, however many quiet groups there are.
func TestCachesShareOneBound(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	var all caches
	var quiet [1000]cache
	var busy cache
	for i := range quiet {
		all.push(&quiet[i], sized(1, 100), limit)
	}
	size := cachedSize(sized(1, 10_000))
	for i := uint64(1); i <= 200; i++ {
		all.push(&busy, sized(i, 10_000), limit)
		if all.bytes > limit {
			t.Fatalf("%d bytes are cached, at most %d", all.bytes, limit)
		}
	}
	if got, want := int64(len(busy.entries)), limit/size; got != want {
		t.Errorf("the busy group has %d entries in its cache, want %d", got, want)
	}
	for i := range quiet {
		if quiet[i].bytes != 0 {
			t.Fatalf("quiet group %d keeps %d bytes, older than those of the busy one", i, quiet[i].bytes)
		}
	}
	if last := busy.first + uint64(len(busy.entries)) - 1; last != 200 || busy.start(201) != busy.first {
		t.Errorf("the busy cache ends at %d, want 200", last)
	}
}

// TestCachesForgetTruncatedEntries: entries that replace others take no more room than those did,
// however often.
func TestCachesForgetTruncatedEntries(t *testing.T) {
	t.Parallel()
	var all caches
	var c, other cache
	all.push(&other, sized(7, 50), 1<<20)
	for range 10_000 {
		for i := uint64(1); i <= 10; i++ {
			all.push(&c, sized(i, 100), 1<<20)
		}
		c.truncate(1)
	}
	if len(all.order) > 3000 || all.entries != 1 || all.bytes != other.bytes {
		t.Errorf("%d elements for %d entries of %d bytes", len(all.order), all.entries, all.bytes)
	}
	all.push(&c, sized(1, 100), 100) // evicts everything, elements without an entry among it
	if all.bytes != 0 || all.entries != 0 {
		t.Errorf("%d bytes and %d entries are left", all.bytes, all.entries)
	}
	all.push(&c, sized(2, 100), -1)
	if all.bytes != 0 || c.start(3) != 3 {
		t.Errorf("%d bytes are cached although the cache is off", all.bytes)
	}
}
