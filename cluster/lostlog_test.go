package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/cluster/replica"
)

// TestLostRaftLog takes a node's Raft log away, wholly and in part. The node has
// forgotten what it promised and must refuse to run, by name.
func TestLostRaftLog(t *testing.T) {
	c := startCluster(t, 3)
	l := startLoad(t, c, 4)
	l.waitFor(t, 50)
	if err := c.Kill(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	l.waitFor(t, 10)
	segments, err := filepath.Glob(filepath.Join(c.DataDir("n2"), "wal", "*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments: %v, %v", segments, err)
	}
	saved := map[string][]byte{}
	for _, s := range segments {
		saved[s] = readFile(t, s)
		if err := os.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	same := func(*node.Config) {}
	if said := tryNode(t, c, "n2", same); !strings.Contains(said, replica.ErrRaftLogLost.Error()) {
		t.Errorf("without its Raft log the node said\n%s", said)
	}
	made, err := filepath.Glob(filepath.Join(c.DataDir("n2"), "wal", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range made {
		if err := os.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	for s, b := range saved {
		if err := os.WriteFile(s, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(t, c, "n2")
	l.waitFor(t, 10)
	l.stop()
	l.verify(t, c)
}
