package bank_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/jepsen/bank"
	"github.com/cairnledger/cairn/jepsen/testbed"
)

// TestMain lets the test binary stand in for the program: called as "node --config FILE" it runs a
// node.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "node" {
		os.Exit(runNode(os.Args[3], slices.Contains(os.Args, "--lifeline")))
	}
	os.Exit(m.Run())
}

func runNode(file string, lifeline bool) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if lifeline {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	c, err := node.LoadConfig(file)
	if err == nil {
		err = node.Run(ctx, c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	return 0
}

// TestBank: tellers ask for commands while leaders are killed; what they were told, what the ledger
// holds and what the model says agree.
func TestBank(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bed, err := testbed.New(testbed.Options{Dir: t.TempDir(), Nodes: 3, Seed: 1, Executable: exe, Lifeline: true, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for i := range bed.Size() {
				t.Logf("%s: %s", bed.Name(i), bed.LogTail(i, 2000))
			}
		}
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := bed.Start(ctx); err != nil {
		t.Fatal(err)
	}
	b, err := bank.Open(ctx, bed.Cluster, bank.Options{Seed: 3, Tellers: 6})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 3 {
		time.Sleep(2 * time.Second)
		leader, _, err := bed.Monitor.AwaitLeader(ctx)
		if err == nil {
			err = bed.Kill(leader)
		}
		if err == nil {
			err = bed.Spawn(ctx, leader)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2 * time.Second)
	b.Stop()
	v, err := b.Judge(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", v)
	for _, broken := range v.Broken {
		t.Error(broken)
	}
	if v.Nodes != 3 || v.Answers < 200 || v.Counts.Statuses[2] < 50 || v.Counts.Statuses[5] == 0 || v.Counts.Roots < 50 {
		t.Error("too little happened to show anything")
	}
}
