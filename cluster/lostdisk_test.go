package cluster_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
)

// launch starts nodes that are not expected to become ready, and waits until they answer.
func launch(t *testing.T, c *local.Cluster, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Start(ctx, names...); err == nil {
		t.Errorf("%v are ready", names)
	}
	for _, name := range names {
		eventually(t, name+" answers", func() bool { return readiness(t, c, name) != "" })
	}
}

// readiness is what a node says about its readiness; "" if it does not answer.
func readiness(t *testing.T, c *local.Cluster, name string) string {
	t.Helper()
	return read(t, c, name, "/readyz")
}

// read is what a node answers over HTTP; "" if it does not answer.
func read(t *testing.T, c *local.Cluster, name, path string) string {
	t.Helper()
	n, err := c.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(n.HTTPURL() + path)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) { // only ever reached by a failing test
			t.Fatal("did not happen: " + what)
		}
	}
}

func nodeConfig(t *testing.T, c *local.Cluster, name string) node.Config {
	t.Helper()
	cfg, err := node.LoadConfig(filepath.Join(c.NodeDir(name), "node.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// refusesAppends tries to append for a while and wants nothing to be acknowledged.
func refusesAppends(t *testing.T, cl *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if a, err := cl.Append(ctx, client.Entry{Payload: []byte("in its place")}); err == nil {
		t.Errorf("entry %d was acknowledged", a.Index)
	}
}

// TestLostDisk is the trial that loses an entry if a member may come back with an empty directory.
// n1 and n2 acknowledge an entry while n3 is down. n2 loses its disk. n2 and n3 must not become a
// majority that has never heard of the entry.
func TestLostDisk(t *testing.T) {
	c := startCluster(t, 3)
	cl := dial(t, c, "writer")
	if err := c.Stop(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	kept, err := cl.Append(t.Context(), client.Entry{Key: []byte("k"), Payload: []byte("kept")}, client.Sealed())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(c.DataDir("n2")); err != nil {
		t.Fatal(err)
	}
	n2 := nodeConfig(t, c, "n2")
	if err := node.Init(t.Context(), n2); !errors.Is(err, node.ErrKnown) || !strings.Contains(err.Error(), "n1 at ") {
		t.Fatalf("while n1 is up and knows n2: %v, want ErrKnown that names n1", err)
	}
	if _, err := os.Stat(c.DataDir("n2")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the refused command has made something: %v", err)
	}
	// The members' memory is bypassed: nobody answers.
	if err := c.Stop(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	if err := node.Init(t.Context(), n2); err != nil {
		t.Fatalf("while nobody is up: %v", err)
	}
	launch(t, c, "n2", "n3")
	eventually(t, "n3 refuses n2, both say so, and n3 counts it", func() bool {
		return strings.Contains(readiness(t, c, "n2"), "n3 remembers this node with the data directory") &&
			strings.Contains(string(readFile(t, c.LogPath("n3"))), "n2 comes with the data directory") &&
			!strings.Contains(read(t, c, "n3", "/metrics"), `cairn_peer_incarnation_refused_total{member="n2"} 0`)
	})
	refusesAppends(t, cl)
	admin := dial(t, c, "admin")
	st, err := admin.Status(t.Context(), "n3")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range st.Peers {
		if refused := strings.Contains(p.Problem, "lost its disk"); refused != (p.Name == "n2") {
			t.Errorf("the status of n3 says about %s: %q", p.Name, p.Problem)
		}
	}
	if st.Size != 1 {
		t.Errorf("n3 has %d entries, want the genesis alone", st.Size)
	}
	// The entry is where it was, and the others go on without n2.
	start(t, c, "n1")
	if e, err := cl.Get(t.Context(), kept.Index); err != nil || string(e.Payload) != "kept" {
		t.Errorf("the sealed entry is %q, %v", e.Payload, err)
	}
	if a, err := cl.Append(t.Context(), client.Entry{Payload: []byte("next")}, client.Sealed()); err != nil || a.Index != kept.Index+1 {
		t.Errorf("n1 and n3 go on with %+v, %v; want entry %d", a, err, kept.Index+1)
	}
}

// TestFormation: a new cluster serves when all members have met, and not before. Then it needs a
// majority only.
func TestFormation(t *testing.T) {
	c := createCluster(t, 3)
	launch(t, c, "n1", "n2")
	const waits = "waiting for n3 to be met once"
	eventually(t, "n1 and n2 wait for n3", func() bool {
		return strings.Contains(readiness(t, c, "n1"), waits) && strings.Contains(readiness(t, c, "n2"), waits) &&
			strings.Contains(string(readFile(t, c.LogPath("n1"))), waits)
	})
	cl := dial(t, c, "writer")
	refusesAppends(t, cl)
	start(t, c, "n3")
	eventually(t, "all are ready", func() bool {
		return readiness(t, c, "n1") == "ok\n" && readiness(t, c, "n2") == "ok\n" && readiness(t, c, "n3") == "ok\n"
	})
	// What was met is remembered.
	if err := c.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, c, "n2", "n3")
	if _, err := cl.Append(t.Context(), client.Entry{Payload: []byte("x")}); err != nil {
		t.Error(err)
	}
}

// TestNeverMet: n2 is made a second time before it has met n3. n1, which met the former n2, keeps
// refusing the new one, so the cluster does not begin with it.
func TestNeverMet(t *testing.T) {
	c := createCluster(t, 3)
	launch(t, c, "n1", "n2")
	eventually(t, "n1 and n2 have met", func() bool {
		return strings.Contains(readiness(t, c, "n1"), "waiting for n3 to be met once") && strings.Contains(readiness(t, c, "n2"), "waiting for n3 to be met once")
	})
	if err := c.Kill(t.Context(), "n1", "n2"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(c.DataDir("n2")); err != nil {
		t.Fatal(err)
	}
	if err := node.Init(t.Context(), nodeConfig(t, c, "n2")); err != nil {
		t.Fatal(err)
	}
	launch(t, c, "n2", "n3")
	eventually(t, "n2 and n3, who do not know of the former n2, wait for n1", func() bool {
		return strings.Contains(readiness(t, c, "n2"), "waiting for n1 to be met once") && strings.Contains(readiness(t, c, "n3"), "waiting for n1 to be met once")
	})
	launch(t, c, "n1")
	eventually(t, "n1 refuses the new n2, and n3 which believes it", func() bool {
		log := string(readFile(t, c.LogPath("n1")))
		return strings.Contains(log, "n2 comes with the data directory") && strings.Contains(log, "n3 remembers n2 with the data directory")
	})
	refusesAppends(t, dial(t, c, "writer"))
}
