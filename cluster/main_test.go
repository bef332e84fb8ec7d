package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
)

var (
	kills = flag.Int("kills", 4, "how many nodes TestKillAnyNode kills")
	seed  = flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the random choices")
)

// TestMain lets the test binary stand in for the program: called as "node
// --config FILE" it runs a node, so that tests kill real processes.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "node" {
		os.Exit(runNode(os.Args[3]))
	}
	if len(os.Args) == 4 && os.Args[1] == "signer" {
		os.Exit(runSigner(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func runNode(file string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	c, err := node.LoadConfig(file)
	if err == nil {
		err = node.Run(ctx, c)
	} else {
		err = errors.Mark(err, node.ErrConfig)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		if errors.Is(err, node.ErrConfig) {
			fmt.Fprintln(os.Stderr, "  next:", node.FilesAdvice)
		}
		return 1
	}
	return 0
}

// startCluster creates and starts a cluster that the end of the test destroys.
// When the test fails the nodes' logs are shown.
func startCluster(t *testing.T, nodes int, change ...func(*node.Config)) *local.Cluster {
	t.Helper()
	c := createCluster(t, nodes, change...)
	start(t, c)
	return c
}

// createCluster creates a cluster that the end of the test destroys, and starts nothing.
func createCluster(t *testing.T, nodes int, change ...func(*node.Config)) *local.Cluster {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Create(local.Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: nodes, Executable: exe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range c.Names() {
				showLog(t, c, name)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.Destroy(ctx); err != nil {
			t.Errorf("destroy the cluster: %v", err)
		}
	})
	for _, name := range c.Names() {
		file := filepath.Join(c.NodeDir(name), "node.yaml")
		cfg, err := node.LoadConfig(file)
		if err != nil {
			t.Fatal(err)
		}
		dir := cfg.DataDir
		for _, f := range change {
			f(&cfg)
		}
		if cfg.DataDir != dir {
			if err := node.Init(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
		if err := cfg.Write(file); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func showLog(t *testing.T, c *local.Cluster, name string) {
	b, err := os.ReadFile(c.LogPath(name))
	if err != nil {
		t.Log(err)
		return
	}
	t.Logf("the end of %s's log:\n%s", name, b[max(0, len(b)-3000):])
}

func start(t *testing.T, c *local.Cluster, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Start(ctx, names...); err != nil {
		t.Fatalf("start %v: %v", names, err)
	}
}

func dial(t *testing.T, c *local.Cluster, role string, opts ...client.Option) *client.Client {
	t.Helper()
	cl, err := c.Dial(t.Context(), role, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

// pause stops nodes where they are, and waits until they stand still: on a busy machine a process
// goes on for a while after SIGSTOP was sent.
func pause(t *testing.T, c *local.Cluster, names ...string) {
	t.Helper()
	if err := c.Pause(names...); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		eventually(t, name+" stands still", func() bool { return c.Paused(name) })
	}
}
