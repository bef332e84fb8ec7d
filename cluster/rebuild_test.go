package cluster_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
)

// filesOf returns the files of a node's store whose names end so, oldest first.
func filesOf(t *testing.T, c *local.Cluster, name, suffix string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.DataDir(name), "ledger", "*"+suffix))
	if err != nil || len(files) == 0 {
		t.Fatalf("the store of %s has no file that ends with %s: %v", name, suffix, err)
	}
	return files
}

// asideOf returns the damaged stores that a node has moved aside.
func asideOf(t *testing.T, c *local.Cluster, name string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(c.DataDir(name), "ledger", "damaged-*"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// TestStoreIsRebuilt: a store that does not open, or has lost a part, is moved aside and rebuilt by a
// start alone, again and again, with everything that was acknowledged. The node then is a voter that
// the cluster can do with.
func TestStoreIsRebuilt(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	cl := dial(t, c, "writer")
	payload := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "payload %d, ", i), 3000) }
	for i := range 4 {
		if _, err := cl.Append(t.Context(), client.Entry{Payload: payload(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		if _, err := cl.Append(t.Context(), client.Entry{Key: fmt.Appendf(nil, "%d", i), Payload: []byte("small")}); err != nil {
			t.Fatal(err)
		}
	}
	size := uint64(305)
	eventually(t, "n1 has all of it", func() bool { return statusOf(t, c, "n1").Size >= size })
	last := ""
	for what, damage := range map[string]func(t *testing.T){
		"the MANIFEST is gone": func(t *testing.T) { remove(t, filesOf(t, c, "n1", "MANIFEST")[0]) },
		"a table is gone":      func(t *testing.T) { remove(t, filesOf(t, c, "n1", ".sst")[0]) },
		"the store is empty": func(t *testing.T) {
			for _, f := range filesOf(t, c, "n1", "") {
				remove(t, f)
			}
		},
		"a table is damaged": func(t *testing.T) {
			f := filesOf(t, c, "n1", ".sst")[0]
			b := readFile(t, f)
			copy(b[len(b)/2:], bytes.Repeat([]byte{0xa5}, 64))
			if err := os.WriteFile(f, b, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		if err := c.Stop(t.Context(), "n1"); err != nil {
			t.Fatal(err)
		}
		damage(t)
		start(t, c, "n1")
		status, body := bundle(t, c, "n1")
		if status != 200 || !strings.Contains(body, string(payload(3))) {
			t.Errorf("%s: n1 answers %d with %d bytes", what, status, len(body))
		}
		st := statusOf(t, c, "n1")
		if st.Size < size {
			t.Errorf("%s: n1 has %d entries, want %d", what, st.Size, size)
		}
		dirs := asideOf(t, c, "n1")
		if len(dirs) != 1 || dirs[0] == last {
			t.Fatalf("%s: %v was moved aside, before that %s", what, dirs, last)
		}
		last = dirs[0]
		if log := string(readFile(t, c.LogPath("n1"))); !strings.Contains(log, "kept="+last) {
			t.Errorf("%s: the log of n1 does not say what is kept", what)
		}
		eventually(t, "n1 has a sealed checkpoint", func() bool { return statusOf(t, c, "n1").SealedSize >= size })
		// n1 remembers the keys of what it has rebuilt, and the cluster can do with it.
		if err := c.Stop(t.Context(), "n2"); err != nil {
			t.Fatal(err)
		}
		again, err := cl.Append(t.Context(), client.Entry{Key: []byte("7"), Payload: []byte("small")})
		if err != nil || !again.Duplicate {
			t.Errorf("%s: an entry sent again is %+v, %v", what, again, err)
		}
		if _, err := cl.Append(t.Context(), client.Entry{Payload: []byte("after")}, client.Sealed()); err != nil {
			t.Errorf("%s: without n2: %v", what, err)
		}
		size++
		start(t, c, "n2")
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// TestStoreIsNotRebuilt: the configuration can forbid it, and then the last line of the log says what
// to do.
func TestStoreIsNotRebuilt(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, func(cfg *node.Config) { cfg.Storage.Rebuild = "never" })
	if _, err := dial(t, c, "writer").Append(t.Context(), client.Entry{Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	remove(t, filesOf(t, c, "n1", "MANIFEST")[0])
	tryNode(t, c, "n1", func(*node.Config) {})
	said := tryNode(t, c, "n1", func(*node.Config) {})
	if want := "storage.rebuild is never: set it to auto and start the node again"; !strings.Contains(said, want) {
		t.Fatalf("the node said\n%swant %q", said, want)
	}
	// Its own log holds everything: a node alone rebuilds its store from it.
	cfg := nodeConfig(t, c, "n1")
	cfg.Storage.Rebuild = "auto"
	if err := cfg.Write(filepath.Join(c.NodeDir("n1"), "node.yaml")); err != nil {
		t.Fatal(err)
	}
	start(t, c, "n1")
	if e, err := dial(t, c, "writer").Get(t.Context(), 1); err != nil || string(e.Payload) != "x" {
		t.Errorf("entry 1 is %q, %v", e.Payload, err)
	}
}
