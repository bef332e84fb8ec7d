package cluster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/node"
)

// TestMemberBehindTheLog keeps so little Raft log that a member which was away
// cannot catch up. The leader has to say so; the others go on.
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
			if log := string(readFile(t, c.LogPath(name))); strings.Contains(log, "will not catch up") && strings.Contains(log, "member=n3") {
				return true
			}
		}
		return false
	}
	// Enough that the ledger's store writes tables and the log is cut.
	deadline := time.Now().Add(3 * time.Minute)
	for round := 0; !said(); round++ {
		if time.Now().After(deadline) {
			t.Fatal("nobody says that n3 cannot catch up")
		}
		for i := range big { // with keys, so that they may be sent again when the leader changes
			big[i] = client.Entry{Key: fmt.Appendf(nil, "big %d %d", round, i), Payload: make([]byte, 60_000)}
		}
		if _, err := cl.AppendBatch(t.Context(), big); err != nil {
			t.Fatal(err)
		}
		keyed := make([]client.Entry, 2000) // fills memtables
		for i := range keyed {
			keyed[i] = client.Entry{Key: []byte(time.Now().String() + string(rune('a'+i%26)) + strings.Repeat("x", i%60)), Payload: []byte{1}}
		}
		for i := range keyed {
			keyed[i].Key = append(keyed[i].Key, byte(i), byte(i>>8))
		}
		if _, err := cl.AppendBatch(t.Context(), keyed); err != nil {
			t.Fatal(err)
		}
	}
}
