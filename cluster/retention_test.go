package cluster_test

import (
	"fmt"
	"testing"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/node"
)

// TestLogIsBoundedByBytes: large payloads leave the store's memtables almost empty, and the Raft log
// is shortened nevertheless: what it keeps is bounded by bytes, whatever their size.
func TestLogIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, func(cfg *node.Config) {
		cfg.Storage.SegmentBytes, cfg.Storage.RetainBytes = 1<<20, 1<<20
	})
	cl := dial(t, c, "writer")
	const size, batch, batches = 65_000, 15, 180
	for round := range batches {
		entries := make([]client.Entry, batch)
		for i := range entries {
			entries[i] = client.Entry{Key: fmt.Appendf(nil, "%d %d", round, i), Payload: make([]byte, size)}
		}
		if _, err := cl.AppendBatch(t.Context(), entries); err != nil {
			t.Fatal(err)
		}
	}
	// The store makes everything durable after 64 MiB; then there are the retained bytes and two
	// segments, of which one may be larger by a block.
	const most = 64<<20 + 1<<20 + 2*(1<<20) + 4<<20
	if appended := size * batch * batches; appended < 2*most {
		t.Fatalf("%d bytes are appended, which shows little beside %d", appended, most)
	}
	eventually(t, "the log is shortened", func() bool {
		return metric(t, scrapeName(t, c, "n1"), "cairn_wal_bytes") < most
	})
}
