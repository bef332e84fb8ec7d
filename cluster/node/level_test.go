package node_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/ledger"
)

// levelled is a cluster whose nodes run in this process, each with a program that knows a feature
// level of its own.
type levelled struct {
	t       *testing.T
	cluster *local.Cluster
	stop    map[string]func() error // of the nodes that run
	ended   map[string]chan error
}

func (l *levelled) start(name string, level uint32) {
	l.t.Helper()
	cfg, err := node.LoadConfig(filepath.Join(l.cluster.NodeDir(name), "node.yaml"))
	if err != nil {
		l.t.Fatal(err)
	}
	node.SetFeatureLevel(&cfg, level)
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	l.ended[name] = end
	go func() { end <- node.Run(ctx, cfg) }()
	l.stop[name] = func() error {
		cancel()
		return l.wait(name)
	}
}

// wait returns what a node ended with.
func (l *levelled) wait(name string) error {
	delete(l.stop, name)
	return <-l.ended[name]
}

// records are the feature levels that the entries of a ledger raise it to.
func (l *levelled) records(origin string) (raised []uint32) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), testWait)
	defer cancel()
	c, err := l.cluster.DialLedger(ctx, origin, "reader")
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Range(ctx, 0, 0, func(e client.StoredEntry) error {
		if e.Kind != ledger.KindRecord || e.Index == 0 {
			return nil
		}
		level, err := ledger.ParseLevel(e.Payload)
		if !strings.Contains(e.Principal, "/node/n") {
			l.t.Errorf("%q raised the level of %s", e.Principal, origin)
		}
		raised = append(raised, level)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return raised
}

// TestOldNodeInTheCluster: as long as one member's program knows no more than level 1, so does every
// ledger, and the old node takes part. Once all programs know level 2, every ledger is raised to
// it, the directory, too. From then on the old program does not start: it says what to do.
func TestOldNodeInTheCluster(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Create(local.Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 3, Executable: exe, LogLevel: "error"})
	if err != nil {
		t.Fatal(err)
	}
	l := &levelled{t: t, cluster: c, stop: map[string]func() error{}, ended: map[string]chan error{}}
	t.Cleanup(func() {
		for _, stop := range l.stop {
			_ = stop()
		}
	})
	l.start("n1", 2)
	l.start("n2", 2)
	l.start("n3", 1)
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	admin, err := c.DialLedger(ctx, c.Directory(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, _, err := admin.CreateLedger(ctx, c.Origin(), "log"); err != nil {
		t.Fatal(err)
	}
	writer, err := c.Dial(ctx, "writer")
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for i := range 3 { // longer than the leader needs to look around
		if _, err := writer.Append(ctx, client.Entry{Key: fmt.Append(nil, i), Payload: []byte("x")}, client.Sealed()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	for _, origin := range []string{c.Origin(), c.Directory()} {
		if raised := l.records(origin); len(raised) > 0 {
			t.Fatalf("%s is raised to %v, although n3 does not know that", origin, raised)
		}
	}
	if err := l.stop["n3"](); err != nil {
		t.Fatal(err)
	}
	l.start("n3", 2)
	for _, origin := range []string{c.Origin(), c.Directory()} {
		deadline := time.Now().Add(testWait)
		for raised := l.records(origin); len(raised) != 1 || raised[0] != 2; raised = l.records(origin) {
			if len(raised) > 1 || time.Now().After(deadline) {
				t.Fatalf("%s is raised to %v, want 2 once", origin, raised)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	created, _, err := admin.CreateLedger(ctx, c.Origin()+"/later", "log")
	if err != nil || created.FeatureLevel != 2 {
		t.Errorf("a later ledger begins with level %d, %v; want 2", created.GetFeatureLevel(), err)
	}
	if err := l.stop["n3"](); err != nil {
		t.Fatal(err)
	}
	l.start("n3", 1)
	if err := l.wait("n3"); err == nil || !strings.Contains(err.Error(), "upgrade this node") {
		t.Errorf("the old program starts again: %v, want to be told to upgrade", err)
	}
}
