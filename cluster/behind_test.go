package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/node"
)

// TestMemberBehindTheLog keeps so little Raft log that a member which was away needs blocks that no
// log holds any more. It takes them from the others, while appends go on, and is a voter again: the
// cluster then does without one of the others.
func TestMemberBehindTheLog(t *testing.T) {
	c := startCluster(t, 3, func(cfg *node.Config) {
		cfg.Storage.SegmentBytes, cfg.Storage.RetainBytes = 1<<20, 1<<20
	})
	cl := dial(t, c, "writer")
	if err := c.Kill(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	big := make([]client.Entry, 15)
	said := func() bool {
		for _, name := range []string{"n1", "n2"} {
			if log := string(readFile(t, c.LogPath(name))); strings.Contains(log, "holds no more") && strings.Contains(log, "member=n3") {
				return true
			}
		}
		return false
	}
	// Enough that the ledger's store writes tables and the log is cut.
	deadline := time.Now().Add(3 * time.Minute)
	for round := 0; !said(); round++ {
		if time.Now().After(deadline) {
			t.Fatal("the log was never cut behind n3")
		}
		for i := range big { // with keys, so that they may be sent again when the leader changes
			big[i] = client.Entry{Key: fmt.Appendf(nil, "big %d %d", round, i), Payload: make([]byte, 60_000)}
		}
		if _, err := cl.AppendBatch(t.Context(), big); err != nil {
			t.Fatal(err)
		}
		keyed := make([]client.Entry, 2000) // fills memtables
		for i := range keyed {
			keyed[i] = client.Entry{Key: fmt.Appendf(nil, "%d %d %s", round, i, strings.Repeat("x", i%60)), Payload: []byte{1}}
		}
		if _, err := cl.AppendBatch(t.Context(), keyed); err != nil {
			t.Fatal(err)
		}
	}
	// Appends go on while n3 comes back.
	ctx, stop := context.WithCancel(t.Context())
	var meanwhile atomic.Int64
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			e := client.Entry{Key: fmt.Appendf(nil, "meanwhile %d", meanwhile.Load()), Payload: make([]byte, 100)}
			if _, err := cl.Append(t.Context(), e); err != nil {
				done <- err
				return
			}
			meanwhile.Add(1)
		}
		done <- nil
	}()
	before := meanwhile.Load()
	start(t, c, "n3")
	eventually(t, "n3 has taken the blocks", func() bool {
		return strings.Contains(string(readFile(t, c.LogPath("n3"))), "the replica takes no more blocks from the others")
	})
	admin := dial(t, c, "admin")
	size := func(name string) uint64 {
		st, err := admin.Status(t.Context(), name)
		if err != nil {
			return 0
		}
		return st.Size
	}
	eventually(t, "n3 is where n1 was", func() bool { return size("n3")+1000 >= size("n1") && size("n3") > 15_000 })
	stop()
	if err := <-done; err != nil || meanwhile.Load() == before {
		t.Errorf("%d appends meanwhile, %v", meanwhile.Load()-before, err)
	}
	// n3 votes: without n1 the cluster needs it, for an election, for an append and for a seal.
	if err := c.Kill(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	after, err := cl.Append(t.Context(), client.Entry{Key: []byte("after"), Payload: []byte("after")}, client.Sealed())
	if err != nil {
		t.Fatal(err)
	}
	// It serves what it took, proved.
	eventually(t, "n3 has the last entry", func() bool { return size("n3") > after.Index })
	if log := string(readFile(t, c.LogPath("n3"))); strings.Contains(log, "of no use") {
		t.Error("n3 found an answer of a peer of no use")
	}
	// A start after that begins with what n3 has.
	if err := c.Kill(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	start(t, c, "n3")
	eventually(t, "n3 has the last entry again", func() bool { return size("n3") > after.Index })
}
