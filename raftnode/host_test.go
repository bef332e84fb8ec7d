package raftnode

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// testWriteBytes is small, for a disk in memory.
const testWriteBytes = 30_000

// manyGroups starts groups of which this process is the only member, on one host.
func manyGroups(t *testing.T, groups int) (*sickFS, *Host, []*Node) {
	disk := &sickFS{FS: vfs.NewMem()}
	log, err := wal.Open(wal.Options{FS: disk, Dir: "wal", Cluster: 1, Node: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := NewHost(HostConfig{Log: log, Transport: still{}})
	h.commit.maxBytes = testWriteBytes
	var nodes []*Node
	for g := 1; g <= groups; g++ {
		if err := log.Bootstrap(uint64(g), wal.Mark{ConfState: &raftpb.ConfState{Voters: []uint64{1}}}); err != nil {
			t.Fatal(err)
		}
		n, err := h.Start(Config{ID: 1, Group: uint64(g), Machine: &machine{}, StallTimeout: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	t.Cleanup(func() {
		for _, n := range nodes {
			if err := n.Stop(context.Background()); err != n.Status().Err {
				t.Error(err)
			}
		}
		h.Close()
		_ = log.Close()
	})
	deadline := time.Now().Add(testWait)
	for _, n := range nodes {
		for !n.Status().Serving {
			if time.Now().After(deadline) {
				t.Fatal("no leader")
			}
			time.Sleep(time.Millisecond)
		}
	}
	return disk, h, nodes
}

// TestGroupsShareOneSync: what the groups of a process have to write while a sync is under way
// shares the next one.
func TestGroupsShareOneSync(t *testing.T) {
	t.Parallel()
	disk, h, nodes := manyGroups(t, 50)
	release := disk.hang()
	before := h.cfg.Log.Stats().Syncs
	var waiting []*request
	submit := func(n *Node) {
		r := newRequest("x")
		if err := n.Submit(r); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, r)
	}
	eventually := func(what string, holds func() bool) {
		for deadline := time.Now().Add(testWait); !holds(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	submit(nodes[0])
	eventually("no sync is under way", func() bool { return nodes[0].driver.writeAge() > 0 })
	for _, n := range nodes {
		submit(n)
	}
	eventually("not every group has something to write", func() bool {
		h.commit.mu.Lock()
		defer h.commit.mu.Unlock()
		return len(h.commit.mu.waiting) == len(nodes)
	})
	release()
	for _, r := range waiting {
		if o := <-r.result; o.err != nil {
			t.Error(o.err)
		}
	}
	if syncs := h.cfg.Log.Stats().Syncs - before; syncs != 2 {
		t.Errorf("%d groups took %d syncs, want 2", len(nodes), syncs)
	}
}

// TestLargeWritesTakeTurns: a write ends at a bound, the rest follows, and every group gets its
// answer.
func TestLargeWritesTakeTurns(t *testing.T) {
	t.Parallel()
	_, _, nodes := manyGroups(t, 6)
	big := strings.Repeat("x", testWriteBytes/3)
	var waiting []*request
	for range 3 {
		for _, n := range nodes {
			r := newRequest(big)
			if err := n.Submit(r); err != nil {
				t.Fatal(err)
			}
			waiting = append(waiting, r)
		}
	}
	for i, r := range waiting {
		if o := <-r.result; o.err != nil {
			t.Errorf("request %d: %v", i, o.err)
		}
	}
}

// TestFailedLogStopsEveryGroup: all groups of a process stop with the reason of the log.
func TestFailedLogStopsEveryGroup(t *testing.T) {
	t.Parallel()
	disk, _, nodes := manyGroups(t, 3)
	broken := errors.New("input/output error")
	disk.breakWith(broken)
	for i, n := range nodes {
		if err := n.Submit(newRequest(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		<-n.ended[TaskTurn]
		if err := n.Status().Err; !errors.Is(err, broken) {
			t.Errorf("a group has stopped because of %v, want %v", err, broken)
		}
	}
}

// TestIdleGroupHasNoGoroutine: members that have nothing to do cost no goroutine.
func TestIdleGroupHasNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	_, _, nodes := manyGroups(t, 100)
	least := 1 << 30
	bound := before + keptWorkers + 10
	for deadline := time.Now().Add(testWait); least > bound && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		least = min(least, runtime.NumGoroutine())
	}
	if least > bound {
		t.Errorf("%d groups have at least %d goroutines, %d before", len(nodes), least, before)
	}
}

// TestRunnerRunsOnce: a runner never runs twice at a time, and what is left before a Wake or a Run
// is seen by a run that begins after it.
func TestRunnerRunsOnce(t *testing.T) {
	t.Parallel()
	var left, seen atomic.Int64
	var running atomic.Bool
	run := func() {
		if running.Swap(true) {
			t.Error("two runs at a time")
		}
		n := left.Load()
		runtime.Gosched()
		seen.Store(max(seen.Load(), n))
		running.Store(false)
	}
	var workers Workers
	defer workers.Close()
	r := workers.Runner(run)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5000 {
				left.Add(1)
				if i%2 == 0 {
					r.Wake()
				} else {
					r.Run(run)
				}
			}
		})
	}
	wg.Wait()
	for deadline := time.Now().Add(testWait); seen.Load() != left.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d were seen", seen.Load(), left.Load())
		}
	}
}

// TestRunnerLetsTheCallerGo: a function that is woken in each of its runs keeps nobody who calls
// Run. The ticker of all groups is such a caller.
func TestRunnerLetsTheCallerGo(t *testing.T) {
	t.Parallel()
	var r *Runner
	var over atomic.Bool
	ended := make(chan struct{})
	run := func() {
		if over.Load() {
			close(ended)
			return
		}
		r.Wake()
	}
	var workers Workers
	defer workers.Close()
	r = workers.Runner(run)
	back := make(chan struct{})
	go func() {
		r.Run(run)
		close(back)
	}()
	select {
	case <-back:
	case <-time.After(testWait):
		t.Error("the caller of Run runs the function again and again")
	}
	over.Store(true)
	<-ended
}
