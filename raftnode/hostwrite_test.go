package raftnode

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// stillHost is a host without ticker and writer, and so many members, each alone in its group. The
// test calls write.
func stillHost(t *testing.T, groups int) (h *Host, nodes []*Node) {
	t.Helper()
	log, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "wal", Cluster: 1, Node: 1, SegmentSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	h = &Host{cfg: HostConfig{Log: log, Transport: still{}, TickInterval: time.Hour}, budgets: newBudgets(Limits{}), start: time.Now(), commit: &GroupCommit{maxBytes: 100}, workers: new(Workers)}
	h.writer = h.workers.Runner(func() {
		if over.Load() {
			h.write()
		}
	})
	for g := 1; g <= groups; g++ {
		if err := log.Bootstrap(uint64(g), wal.Mark{Index: 1, Term: 1, ConfState: &raftpb.ConfState{Voters: []uint64{1}}}); err != nil {
			t.Fatal(err)
		}
		n, err := h.Start(Config{ID: 1, Group: uint64(g), Machine: &machine{}, StallTimeout: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	t.Cleanup(func() {
		over.Store(true)
		for _, n := range nodes {
			n.driver.Close()
			h.wantWrite(n)
			for _, ended := range n.ended {
				<-ended
			}
		}
		h.workers.Close()
		_ = log.Close()
	})
	return h, nodes
}

// TestOneNeedsTheSync: the write of all groups is synced when one of them relies on it, whichever
// comes last.
func TestOneNeedsTheSync(t *testing.T) {
	t.Parallel()
	h, nodes := stillHost(t, 3)
	mark := func(n *Node) {
		t.Helper()
		if !n.SetMark(wal.Mark{Index: 1, Term: 1}) {
			t.Fatal("a mark was not taken")
		}
	}
	syncs := func() uint64 {
		before := h.cfg.Log.Stats().Syncs
		h.write()
		return uint64(h.cfg.Log.Stats().Syncs - before)
	}
	var told []error
	mark(nodes[0])
	nodes[1].AppendNote(1, []byte("x"), func(err error) { told = append(told, err) })
	mark(nodes[2])
	if got := syncs(); got != 1 || len(told) != 1 || told[0] != nil {
		t.Errorf("%d syncs, the note is told %v; want one, and that it is durable", got, told)
	}
	mark(nodes[0])
	mark(nodes[1])
	if got := syncs(); got != 0 {
		t.Errorf("%d syncs for marks: nobody relies on one", got)
	}
}

// TestWriteHasABound: a group does not wait for all that the others have.
func TestWriteHasABound(t *testing.T) {
	t.Parallel()
	h, nodes := stillHost(t, 3)
	for _, n := range nodes {
		big := entry(1, 2, "")
		big.Data = make([]byte, h.commit.maxBytes*2/3)
		n.driver.pushWrite(writeItem{work: &AppendWork{Entries: []*raftpb.Entry{big}}})
	}
	must(t, h.cfg.Log.Close()) // so that the writes fail at once: what counts is what they took
	taken := func() (out int) {
		for _, n := range nodes {
			if n.Status().QueuedAppends == 0 {
				out++
			}
		}
		return out
	}
	for _, want := range []int{2, 3} {
		if h.write(); taken() != want {
			t.Errorf("the entries of %d groups were taken, want %d", taken(), want)
		}
	}
}
