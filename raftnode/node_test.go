package raftnode

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// TestNothingAcknowledgedIsLost writes from many goroutines while the leader loses
// its power twice and comes back from what it had synced.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.leader()

	var (
		acked   sync.Map // data -> index
		count   atomic.Int64
		unknown atomic.Int64
		quit    = make(chan struct{})
		wg      sync.WaitGroup
		// Writers must not look at the cluster while a node is being replaced.
		nodes sync.RWMutex
	)
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-quit:
					return
				default:
				}
				data := fmt.Sprintf("w%d-%d", w, i)
				nodes.RLock()
				o := c.submitOnce(data)
				nodes.RUnlock()
				switch {
				case o.err == nil:
					acked.Store(data, o.index)
					count.Add(1)
				case errors.Is(o.err, ErrIndefinite):
					unknown.Add(1)
				default:
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	progress := func(n int64) {
		want := count.Load() + n
		c.eventually("make progress", func() error {
			if have := count.Load(); have < want {
				return errors.Newf("%d entries acknowledged, want %d", have, want)
			}
			return nil
		})
	}
	for range 2 {
		progress(200)
		victim := c.leader().cfg.ID
		c.crash(victim)
		progress(200)
		nodes.Lock()
		c.start(victim)
		nodes.Unlock()
		progress(200)
	}
	close(quit)
	wg.Wait()

	// In the end the power fails everywhere: only what was synced is left.
	for id := range c.nodes {
		c.crash(id)
	}
	for id := range c.nodes {
		c.start(id)
	}
	entries := c.agree()
	seen := map[string]int{}
	for _, e := range entries {
		seen[e]++
	}
	acked.Range(func(data, index any) bool {
		if seen[data.(string)] != 1 {
			t.Errorf("entry %s, acknowledged in block %d, was applied %d times", data, index, seen[data.(string)])
		}
		return true
	})
	t.Logf("%d acknowledged, %d unknown, %d applied", count.Load(), unknown.Load(), len(entries))
}

// submitOnce gives a request to whoever serves now and waits for its answer. A
// request that a crashing node never answers has an unknown outcome.
func (c *cluster) submitOnce(data string) outcome {
	for _, n := range c.nodes {
		if !n.Status().Serving {
			continue
		}
		r := newRequest(data)
		if err := n.Submit(r); err != nil {
			return outcome{err: err}
		}
		select {
		case o := <-r.result:
			return o
		case <-n.ended[TaskTurn]:
			select {
			case o := <-r.result:
				return o
			case <-time.After(100 * time.Millisecond):
				return outcome{err: ErrIndefinite}
			}
		}
	}
	return outcome{err: ErrNotLeader}
}

// TestStopHandsOver: the other nodes would wait 20 s before they held an election,
// so only the hand-over can make one of them leader. Nothing in flight is lost.
func TestStopHandsOver(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.ElectionTicks = 100
		if cfg.ID != 1 {
			cfg.ElectionTicks = 2000
		}
	})
	old := c.leader()
	if old.cfg.ID != 1 {
		t.Fatalf("node %d leads, want 1", old.cfg.ID)
	}
	var results []*request
	for i := range 500 {
		r := newRequest(fmt.Sprint(i))
		if err := old.Submit(r); err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
		if i == 100 {
			<-results[0].result
			results = results[1:]
		}
	}
	// The transport stays up, so that nobody is told that the leader is gone.
	ctx, cancel := context.WithTimeout(context.Background(), testWait)
	defer cancel()
	if err := old.Stop(ctx); err != nil {
		t.Error(err)
	}
	old.running = false
	defer func() { old.transport.Close(); old.host.Close(); _ = old.log.Close() }()
	committed := 0
	for _, r := range results {
		switch o := <-r.result; {
		case o.err == nil:
			committed++
		case !errors.Is(o.err, ErrStopped):
			t.Errorf("entry %s in flight during a hand-over: %v", r.data, o.err)
		}
	}
	next := c.leader()
	if n := len(next.machine.entries()); n != committed+1 {
		t.Errorf("new leader has %d entries, want the %d that were answered", n, committed+1)
	}
	if err := old.Submit(newRequest("late")); !errors.Is(err, ErrStopped) {
		t.Errorf("submit to a stopped node: %v, want ErrStopped", err)
	}
	if _, err := old.ReadIndex(context.Background()); !errors.Is(err, ErrStopped) {
		t.Errorf("read on a stopped node: %v, want ErrStopped", err)
	}
	if o := c.submit("more"); o.err != nil {
		t.Errorf("submit to the new leader: %v", o.err)
	}
}

// TestCrashedLeaderIsReplacedAtOnce: again nobody would hold an election for 20 s,
// but the leader's machine refuses connections.
func TestCrashedLeaderIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(cfg *Config) {
		if cfg.ID != 1 {
			cfg.ElectionTicks = 2000
		}
	})
	if id := c.leader().cfg.ID; id != 1 {
		t.Fatalf("node %d leads, want 1", id)
	}
	c.crash(1)
	if o := c.submit("x"); o.err != nil {
		t.Fatal(o.err)
	}
}

func TestTransferLeadership(t *testing.T) {
	t.Parallel()
	// A hand-over has one election timeout, which is to be enough on a loaded machine.
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.ElectionTicks = 100
		if cfg.ID != 1 {
			cfg.ElectionTicks = 2000
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), testWait)
	defer cancel()
	old := c.leader()
	to := old.cfg.ID%3 + 1
	if err := old.TransferLeadership(ctx, to); err != nil {
		t.Fatal(err)
	}
	if l := c.leader().cfg.ID; l != to {
		t.Errorf("node %d leads, want %d", l, to)
	}
	var notLeader *NotLeaderError
	if err := old.TransferLeadership(ctx, 0); !errors.As(err, &notLeader) || notLeader.Leader != to {
		t.Errorf("transfer from a follower: %v, want a hint at node %d", err, to)
	}
	if err := c.nodes[to].TransferLeadership(ctx, to); err != nil || c.leader().cfg.ID != to {
		t.Errorf("transfer to the leader itself: %v, and node %d leads, want %d", err, c.leader().cfg.ID, to)
	}
	alone := newCluster(t, 1, nil).leader()
	if err := alone.TransferLeadership(ctx, 0); !errors.Is(err, ErrNoSuccessor) {
		t.Errorf("transfer from the only node: %v, want ErrNoSuccessor", err)
	}
}

func TestSubmitErrors(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	leader := c.leader()
	follower := c.nodes[leader.cfg.ID%3+1]

	var notLeader *NotLeaderError
	if err := follower.Submit(newRequest("x")); !errors.As(err, &notLeader) || notLeader.Leader != leader.cfg.ID || !errors.Is(err, ErrNotLeader) {
		t.Errorf("submit to a follower: %v, want a hint at node %d", err, leader.cfg.ID)
	}
	if err := leader.Submit(newRequest(string(make([]byte, MaxRequestSize)))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("submit of %d bytes: %v, want ErrTooLarge", MaxRequestSize, err)
	}
	r := newRequest("refuse")
	if err := leader.Submit(r); err != nil {
		t.Fatal(err)
	}
	if o := <-r.result; o.err == nil || errors.Is(o.err, ErrIndefinite) {
		t.Errorf("request that cannot be built: %v, want a definite error", o.err)
	}
	if o := c.submit(string(make([]byte, 3<<19))); o.err != nil && !errors.Is(o.err, ErrIndefinite) {
		t.Errorf("request larger than MaxBlockBytes: %v", o.err)
	}
	c.agree()
}

func TestReadIndex(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.leader()
	ctx, cancel := context.WithTimeout(context.Background(), testWait)
	defer cancel()
	for i := range 20 {
		o := c.submit(fmt.Sprint(i))
		if o.err != nil {
			t.Fatal(o.err)
		}
		var wg sync.WaitGroup
		for _, n := range c.nodes {
			for range 3 {
				wg.Go(func() {
					index, err := n.ReadIndex(ctx)
					if err != nil {
						t.Errorf("read on node %d: %v", n.cfg.ID, err)
						return
					}
					if index < o.index {
						t.Errorf("read index %d on node %d does not cover entry %d, acknowledged before", index, n.cfg.ID, o.index)
					}
					if err := n.WaitApplied(ctx, index); err != nil {
						t.Errorf("wait on node %d: %v", n.cfg.ID, err)
					}
					if got := n.machine.entries(); !slices.Contains(got, fmt.Sprint(i)) {
						t.Errorf("node %d at read index %d does not have entry %d", n.cfg.ID, index, i)
					}
				})
			}
		}
		wg.Wait()
	}
	short, cancelShort := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancelShort()
	if err := c.nodes[1].WaitApplied(short, 1<<40); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait for a far index: %v, want context.DeadlineExceeded", err)
	}
}

// TestMarkAndNote: a node starts again from its mark, not from the beginning, and
// finds its notes.
func TestMarkAndNote(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	c.leader()
	var third outcome
	for i := range 6 {
		o := c.submit(fmt.Sprint(i))
		if o.err != nil {
			t.Fatal(o.err)
		}
		if i == 2 {
			third = o
		}
	}
	n := c.nodes[1]
	if n.SetMark(wal.Mark{Index: third.index + 100, Term: 2}) {
		t.Error("a mark beyond what is applied was taken")
	}
	for mark := (wal.Mark{Index: third.index, Term: 2, Meta: []byte("summary")}); !n.SetMark(mark); {
		time.Sleep(time.Millisecond) // until Raft knows that it is applied
	}
	done := make(chan error, 1)
	n.AppendNote(3, []byte("note"), func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.crash(1)
	n.AppendNote(3, []byte("late"), func(err error) { done <- err })
	if err := <-done; err == nil {
		t.Error("note on a stopped node: no error")
	}

	c.start(1)
	n = c.nodes[1]
	if got := string(n.driver.group.Note(3)); got != "note" {
		t.Errorf("note is %q, want %q", got, "note")
	}
	if m := n.driver.group.Mark(); m.Index != third.index || string(m.Meta) != "summary" || len(m.ConfState.GetVoters()) != 1 {
		t.Errorf("mark is %+v", m)
	}
	c.leader()
	if got, want := c.agree(), []string{"3", "4", "5", "last"}; !slices.Equal(got, want) {
		t.Errorf("applied after the restart: %q, want %q", got, want)
	}
}

func TestApplicationMessages(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	c.leader()
	c.eventually("receive a message", func() error {
		c.nodes[1].SendApp(2, []byte("hello"))
		m := c.nodes[2].machine
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.mu.apps) == 0 || m.mu.apps[0] != "1: hello" {
			return errors.Newf("got %q", m.mu.apps)
		}
		return nil
	})
}

// TestMachineFailureStopsTheNode: what was in flight has an unknown outcome,
// everything later is refused, and the owner hears why.
func TestMachineFailureStopsTheNode(t *testing.T) {
	t.Parallel()
	fatal := make(chan error, 2)
	c := newCluster(t, 1, func(cfg *Config) { cfg.Fatal = func(err error) { fatal <- err } })
	n := c.leader()
	broken := errors.New("diverged")
	n.machine.mu.Lock()
	n.machine.mu.applyErr = broken
	n.machine.mu.Unlock()
	r := newRequest("x")
	if err := n.Submit(r); err != nil {
		t.Fatal(err)
	}
	if o := <-r.result; !errors.Is(o.err, ErrIndefinite) {
		t.Errorf("request in flight: %v, want ErrIndefinite", o.err)
	}
	if err := <-fatal; !errors.Is(err, broken) {
		t.Errorf("Fatal got %v, want %v", err, broken)
	}
	<-n.ended[TaskTurn]
	if err := n.Submit(newRequest("y")); !errors.Is(err, ErrStopped) {
		t.Errorf("submit afterwards: %v, want ErrStopped", err)
	}
	if err := n.Status().Err; !errors.Is(err, broken) {
		t.Errorf("status has error %v, want %v", err, broken)
	}
	if err := n.Stop(context.Background()); !errors.Is(err, broken) {
		t.Errorf("stop: %v, want %v", err, broken)
	}
}
