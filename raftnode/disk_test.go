package raftnode

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// sickFS is a file system whose syncs can be made to hang or to fail.
type sickFS struct {
	vfs.FS
	mu   sync.Mutex
	gate chan struct{} // syncs wait until it is closed; nil: they do not wait
	err  error
}

func (fs *sickFS) hang() (release func()) {
	gate := make(chan struct{})
	fs.mu.Lock()
	fs.gate = gate
	fs.mu.Unlock()
	return func() {
		fs.mu.Lock()
		fs.gate = nil
		fs.mu.Unlock()
		close(gate)
	}
}

func (fs *sickFS) breakWith(err error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.err = err
}

func (fs *sickFS) before() error {
	fs.mu.Lock()
	gate, err := fs.gate, fs.err
	fs.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return err
}

func (fs *sickFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return &sickFile{f, fs}, err
}

func (fs *sickFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, o...)
	return &sickFile{f, fs}, err
}

type sickFile struct {
	vfs.File
	fs *sickFS
}

func (f *sickFile) Sync() error {
	if err := f.fs.before(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *sickFile) SyncData() error {
	if err := f.fs.before(); err != nil {
		return err
	}
	return f.File.SyncData()
}

func newSickCluster(t *testing.T, n int, configure func(*Config)) (*cluster, map[uint64]*sickFS) {
	disks := map[uint64]*sickFS{}
	c := makeCluster(t, n, configure)
	c.wrap = func(id uint64, fs vfs.FS) vfs.FS {
		disks[id] = &sickFS{FS: fs}
		return disks[id]
	}
	c.startAll()
	return c, disks
}

// newStallingCluster starts three nodes of which node 1 leads: the others would wait
// 20 s before they held an election. Only node 1 notices a stall soon, since any
// node that is merely slow looks stalled for a moment. Its hand-over has 1 s.
func newStallingCluster(t *testing.T) (c *cluster, old *testNode, disks map[uint64]*sickFS) {
	t.Helper()
	c, disks = newSickCluster(t, 3, func(cfg *Config) {
		cfg.ElectionTicks, cfg.StallTimeout = 100, time.Second
		if cfg.ID != 1 {
			cfg.ElectionTicks, cfg.StallTimeout = 2000, time.Hour
		}
	})
	if old = c.leader(); old.cfg.ID != 1 {
		t.Fatalf("node %d leads, want 1", old.cfg.ID)
	}
	return c, old, disks
}

// leftBy waits until somebody else than a stalled leader leads.
func (c *cluster) leftBy(old *testNode) {
	c.t.Helper()
	c.eventually("hand over", func() error {
		for id, n := range c.nodes {
			if id != old.cfg.ID && n.Status().Serving {
				return nil
			}
		}
		return errors.Newf("nobody else leads; the stalled node says %+v", old.Status())
	})
}

// recovers waits until a node is not stalled any more.
func (c *cluster) recovers(old *testNode) {
	c.t.Helper()
	c.eventually("recover", func() error {
		if s := old.Status(); s.Stalled {
			return errors.Newf("status %+v", s)
		}
		return nil
	})
}

// TestStalledDiskGivesLeadershipAway: a leader whose disk hangs keeps its
// followers' loyalty, so it has to notice by itself.
func TestStalledDiskGivesLeadershipAway(t *testing.T) {
	t.Parallel()
	c, old, disks := newStallingCluster(t)
	release := disks[old.cfg.ID].hang()
	released := sync.OnceFunc(release)
	defer released()

	stuck := newRequest("stuck")
	if err := old.Submit(stuck); err != nil {
		t.Fatal(err)
	}
	c.leftBy(old)
	if s := old.Status(); !s.Stalled || s.AppendAge == 0 {
		t.Errorf("status of the stalled node: %+v", s)
	}
	// The others go on, and what had reached them survives.
	if o := c.submit("more"); o.err != nil {
		t.Error(o.err)
	}
	released()
	c.recovers(old)
	// The request was committed by the others; whether its node learned of that
	// before it gave the request up depends on how long the disk was stalled.
	if o := <-stuck.result; o.err != nil && !errors.Is(o.err, ErrIndefinite) {
		t.Errorf("request in flight: %v", o.err)
	}
	c.agree()
}

// TestStalledMachineGivesLeadershipAway: a machine that does not finish an entry, as when
// the store's disk hangs and the log's does not, stops a leader just the same.
func TestStalledMachineGivesLeadershipAway(t *testing.T) {
	t.Parallel()
	c, old, _ := newStallingCluster(t)
	gate := make(chan struct{})
	released := sync.OnceFunc(func() { close(gate) })
	defer released()
	old.machine.gate.Store(&gate)
	stuck := newRequest("stuck")
	if err := old.Submit(stuck); err != nil {
		t.Fatal(err)
	}
	c.leftBy(old)
	// It writes what the new leader sends, but no write hangs.
	c.eventually("tell a stalled machine from a stalled log", func() error {
		if s := old.Status(); !s.Stalled || s.ApplyAge == 0 || s.AppendAge != 0 {
			return errors.Newf("status of the stalled node: %+v", s)
		}
		return nil
	})
	if o := c.submit("more"); o.err != nil {
		t.Error(o.err)
	}
	old.machine.gate.Store(nil)
	released()
	c.recovers(old)
	if o := <-stuck.result; o.err != nil && !errors.Is(o.err, ErrIndefinite) {
		t.Errorf("request in flight: %v", o.err)
	}
	c.agree()
}

// TestStalledLeaderFallsSilent: when the hand-over does not succeed either, a
// stalled leader stops its heartbeats, so that the others elect.
func TestStalledLeaderFallsSilent(t *testing.T) {
	t.Parallel()
	w := watchdog{}
	heartbeat, vote, app := message("MsgHeartbeat"), message("MsgVote"), message("MsgAppResp")
	for _, tc := range []struct {
		stalled, muted              bool
		heartbeatOK, voteOK, respOK bool
	}{
		{false, false, true, true, true},
		{true, false, true, false, true},
		{true, true, false, false, true},
	} {
		w.stalled, w.muted = tc.stalled, tc.muted
		if got := !w.mutes(heartbeat); got != tc.heartbeatOK {
			t.Errorf("%+v sends heartbeats: %t", w, got)
		}
		if got := !w.mutes(vote); got != tc.voteOK {
			t.Errorf("%+v asks for votes: %t", w, got)
		}
		if got := !w.mutes(app); got != tc.respOK {
			t.Errorf("%+v acknowledges: %t", w, got)
		}
	}
}

// TestQueueIsBounded: with a stalled disk nothing is committed, blocks in flight
// are limited, then the queue is full.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	const size, limit = 1000, 10_000
	c, disks := newSickCluster(t, 1, func(cfg *Config) {
		cfg.MaxInflightBlocks, cfg.MaxBlockBytes = 2, 2*size
		cfg.budgets = newBudgets(Limits{QueueBytes: limit})
		cfg.budgets.queue.reserve = 0
	})
	n := c.leader()
	release := sync.OnceFunc(disks[1].hang())
	defer release()
	var accepted []*request
	var err error
	c.eventually("fill the queue", func() error {
		r := newRequest(string(make([]byte, size-4)))
		if err = n.Submit(r); err == nil {
			accepted = append(accepted, r)
			return errors.Newf("%d requests accepted", len(accepted))
		}
		// The loop may have taken requests out of the queue only a moment later.
		if s := n.Status(); s.InflightBlocks < 2 {
			return errors.Newf("%d blocks in flight", s.InflightBlocks)
		}
		return nil
	})
	if !errors.Is(err, ErrQueueFull) {
		t.Errorf("submit to a full queue: %v, want ErrQueueFull", err)
	}
	s := n.Status()
	if s.InflightBlocks != 2 || s.QueuedBytes > limit || s.QueuedBytes < limit-2*size || s.QueuedRequests != s.QueuedBytes/size {
		t.Errorf("status with a full queue: %+v", s)
	}
	release()
	for i, r := range accepted {
		if o := <-r.result; o.err != nil {
			t.Errorf("accepted request %d: %v", i, o.err)
		}
	}
}

// TestGroupCommit: what arrives while a sync is under way shares the next one.
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	c, disks := newSickCluster(t, 1, func(cfg *Config) { cfg.MaxInflightBlocks = 100; cfg.StallTimeout = time.Hour })
	n := c.leader()
	before := n.log.Stats().Syncs
	release := disks[1].hang()
	first := newRequest("first")
	if err := n.Submit(first); err != nil {
		t.Fatal(err)
	}
	c.eventually("start a sync", func() error {
		if n.driver.writeAge() == 0 {
			return errors.New("no write under way")
		}
		return nil
	})
	var waiting []*request
	for i := range 50 {
		r := newRequest(fmt.Sprint(i))
		if err := n.Submit(r); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, r)
		c.eventually("propose", func() error {
			if s := n.Status(); s.QueuedRequests > 0 {
				return errors.Newf("%d requests queued", s.QueuedRequests)
			}
			return nil
		})
	}
	done := make(chan error, 1)
	n.AppendNote(1, []byte("x"), func(err error) { done <- err })
	c.eventually("queue 50 blocks and a note behind the sync", func() error {
		if queued := n.Status().QueuedAppends; queued != 51 {
			return errors.Newf("%d works queued, want 51", queued)
		}
		return nil
	})
	release()
	for _, r := range append(waiting, first) {
		if o := <-r.result; o.err != nil {
			t.Fatal(o.err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if syncs := n.log.Stats().Syncs - before; syncs != 2 {
		t.Errorf("51 blocks and a note took %d syncs, want 2", syncs)
	}
}

// TestFailedSyncStopsTheNode: nobody hears of success after a failed sync.
func TestFailedSyncStopsTheNode(t *testing.T) {
	t.Parallel()
	fatal := make(chan error, 1)
	c, disks := newSickCluster(t, 1, func(cfg *Config) { cfg.Fatal = func(err error) { fatal <- err } })
	n := c.leader()
	broken := errors.New("input/output error")
	disks[1].breakWith(broken)
	r := newRequest("x")
	if err := n.Submit(r); err != nil {
		t.Fatal(err)
	}
	if err := <-fatal; !errors.Is(err, broken) {
		t.Errorf("Fatal got %v, want %v", err, broken)
	}
	if o := <-r.result; !errors.Is(o.err, ErrIndefinite) {
		t.Errorf("request in flight: %v, want ErrIndefinite", o.err)
	}
	done := make(chan error, 1)
	n.AppendNote(1, []byte("x"), func(err error) { done <- err })
	if err := <-done; err == nil {
		t.Error("note after a failed sync: no error")
	}
}
