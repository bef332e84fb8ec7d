package workload_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/jepsen/testbed"
	"github.com/cairnledger/cairn/jepsen/workload"
	"github.com/cairnledger/cairn/merkle/tlog"
)

var (
	enough  = flag.Int64("ops", 4000, "how many operations of TestWorkload have to succeed")
	clients = flag.Int("clients", 16, "how many clients TestWorkload has")
	size    = flag.Int("nodes", 3, "how many nodes TestWorkload has")
)

// TestMain lets the test binary stand in for the program: called as "node
// --config FILE" it runs a node.
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

func startBed(t *testing.T) *testbed.Testbed {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bed, err := testbed.New(testbed.Options{Dir: t.TempDir(), Nodes: *size, Seed: 1, Executable: exe, Lifeline: true, Logf: t.Logf})
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
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := bed.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return bed
}

// TestWorkload: every kind of operation succeeds, the leader is killed meanwhile,
// and all checkers agree.
func TestWorkload(t *testing.T) {
	bed := startBed(t)
	rec, err := history.Create(filepath.Join(t.TempDir(), "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	start := time.Now()
	w, err := workload.Start(bed.Cluster, rec, start, workload.Options{Seed: 7, Clients: *clients})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	await(t, w, *enough/3)
	electing, cancelElecting := context.WithTimeout(t.Context(), time.Minute)
	defer cancelElecting()
	if leader, _, err := bed.Monitor.AwaitLeader(electing); err != nil {
		t.Error(err)
	} else if err := bed.Kill(leader); err != nil {
		t.Error(err)
	} else if err := bed.Spawn(t.Context(), leader); err != nil {
		t.Error(err)
	}
	await(t, w, *enough)
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := w.LastAppend(ctx); err != nil {
		t.Fatal(err)
	}
	final, err := w.ReadFinal(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if final.Unsettled != "" || final.Nodes != bed.Size() {
		t.Errorf("%d nodes were read, unsettled: %q", final.Nodes, final.Unsettled)
	}
	if !w.AwaitWatchers(ctx, uint64(len(final.Entries))) {
		t.Error("a watcher was not told everything")
	}
	ops := w.Ops()
	c := w.Counts()
	t.Logf("%d operations in %v: %d ok, %d refused, %d unknown, %d entries, %d questions", len(ops), took.Round(time.Millisecond),
		c.OK.Load(), c.Fail.Load(), c.Info.Load(), len(final.Entries), c.Asked.Load())
	t.Logf("%d proofs of inclusion and %d of consistency held", c.Inclusions.Load(), c.Consistencies.Load())
	succeeded(t, ops)
	policyText, err := os.ReadFile(bed.Cluster.PolicyPath())
	if err != nil {
		t.Fatal(err)
	}
	policy, err := tlog.ParsePolicy(policyText)
	if err != nil {
		t.Fatal(err)
	}
	counts, bad := w.Proof.All().Verify(policy, final.Entries)
	violations := append(w.Violations(), bad...)
	violations = append(violations, check.Linear(ops, final.Entries)...)
	sessions, bad := check.Sessions(ops)
	violations = append(violations, bad...)
	deliveries, bad := check.Watches(ops)
	violations = append(violations, bad...)
	for _, v := range violations {
		t.Errorf("%v (%+v, %+v)", v, opAt(ops, v.A), opAt(ops, v.B))
	}
	t.Logf("%+v, %d reads in sessions, %d deliveries", counts, sessions, deliveries)
	if counts.Notes == 0 || counts.Receipts == 0 || sessions == 0 || deliveries == 0 {
		t.Error("something was never done")
	}
}

// await waits until so many operations have succeeded.
func await(t *testing.T, w *workload.Workload, ok int64) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); w.Counts().OK.Load() < ok; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d operations succeeded within a minute, want %d", w.Counts().OK.Load(), ok)
		}
	}
}

func opAt(ops []history.Op, i int) *history.Op {
	if i < 0 {
		return nil
	}
	return &ops[i]
}

// succeeded demands that everything the history can hold has happened.
func succeeded(t *testing.T, ops []history.Op) {
	t.Helper()
	seen := map[string]int{}
	for i := range ops {
		o := &ops[i]
		name := o.Kind.String() + " " + o.Outcome.String()
		if o.Reason != history.None {
			name += " " + o.Reason.String()
		}
		seen[name]++
		if o.Kind == history.Append && o.Outcome == history.OK {
			for _, e := range o.Entries {
				if e.Duplicate {
					seen["append duplicate"]++
				}
			}
			if len(o.Entries) > 1 {
				seen["append batch"]++
			}
		}
	}
	t.Log(seen)
	for _, want := range []string{
		"append ok", "append batch", "append duplicate", "append fail conflict", "append fail size-mismatch", "append fail refused",
		"get ok", "get ok not-found", "head ok", "range ok", "watch ok", "checkpoint ok", "local-head ok",
	} {
		if seen[want] == 0 {
			t.Errorf("no %q in the history", want)
		}
	}
}
