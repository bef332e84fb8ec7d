package raftnode

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// idleCluster is three hosts in one process, connected over loopback, with so many groups of which
// each has a member on every host.
type idleCluster struct {
	hosts      []*Host
	logs       []*wal.Log
	transports []*transport.Transport
	groups     [][]*Node // by group, then by host
}

func memory() vfs.FS { return vfs.NewMem() }

// newIdleCluster returns once every group has a leader that serves and that all its members know.
func newIdleCluster(t testing.TB, groups int, disk func() vfs.FS) *idleCluster {
	t.Helper()
	c := &idleCluster{groups: make([][]*Node, groups)}
	voters, addrs := []uint64{1, 2, 3}, map[uint64]string{}
	var listeners []net.Listener
	for _, id := range voters {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		listeners, addrs[id] = append(listeners, ln), ln.Addr().String()
	}
	for i, id := range voters {
		log, err := wal.Open(wal.Options{FS: disk(), Dir: "wal", Cluster: testCluster, Node: id})
		must(t, err)
		tr := transport.New(transport.Config{Self: id, Peers: addrs, Dial: plainDial(id), Accept: plainAccept, Membership: acquainted{}})
		h := NewHost(HostConfig{Log: log, Transport: tr})
		c.logs, c.transports, c.hosts = append(c.logs, log), append(c.transports, tr), append(c.hosts, h)
		for g := range c.groups {
			must(t, log.Bootstrap(uint64(g+1), wal.Mark{Index: 1, Term: 1, ConfState: &raftpb.ConfState{Voters: voters}}))
			n, err := h.Start(Config{ID: id, Group: uint64(g + 1), Machine: &machine{id: id, forgetful: true}, StallTimeout: time.Hour})
			must(t, err)
			c.groups[g] = append(c.groups[g], n)
		}
		tr.Start(listeners[i])
	}
	t.Cleanup(c.close)
	deadline := time.Now().Add(3 * testWait)
	for g := range c.groups {
		for !c.settled(g) {
			if time.Now().After(deadline) {
				t.Fatalf("group %d has no leader", g+1)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return c
}

func (c *idleCluster) settled(g int) bool {
	serving := false
	leader := c.groups[g][0].Status().Leader
	for _, n := range c.groups[g] {
		s := n.Status()
		serving = serving || s.Serving
		if s.Leader == 0 || s.Leader != leader {
			return false
		}
	}
	return serving
}

func (c *idleCluster) close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // no hand-over
	for i, h := range c.hosts {
		c.transports[i].Close()
		for _, members := range c.groups {
			if i < len(members) {
				_ = members[i].Stop(ctx)
			}
		}
		h.Close()
		_ = c.logs[i].Close()
	}
}

// framesSent counts what all hosts have sent so far.
func (c *idleCluster) framesSent() (n uint64) {
	for _, tr := range c.transports {
		for _, s := range tr.Stats() {
			if !s.Inbound {
				n += s.Frames
			}
		}
	}
	return n
}

// TestGroupsShareFrames: the heartbeats of many groups, whoever leads them and since when, need no
// more frames than those of a few.
func TestGroupsShareFrames(t *testing.T) {
	const groups = 60
	c := newIdleCluster(t, groups, memory)
	time.Sleep(200 * time.Millisecond) // for every leader's first round
	before, start := c.framesSent(), time.Now()
	time.Sleep(time.Second)
	rounds := time.Since(start) / (5 * DefaultTick)
	// Three hosts send two others one frame of heartbeats and one of answers. Each group by itself
	// would need four frames a round.
	if sent, most := int(c.framesSent()-before), 2*groups*int(rounds); sent > most {
		t.Errorf("%d frames were sent in %d rounds, want about %d and certainly no more than %d", sent, rounds, 12*rounds, most)
	}
	for g := range c.groups {
		if !c.settled(g) {
			t.Errorf("group %d has lost its leader", g+1)
		}
	}
}

// TestCampaignsShareSyncs: when the leader of many groups dies, the survivors elect another one in
// all of them, and share the syncs that this takes.
func TestCampaignsShareSyncs(t *testing.T) {
	const groups = 90
	c := newIdleCluster(t, groups, func() vfs.FS {
		return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSyncData {
				time.Sleep(5 * time.Millisecond)
			}
			return nil
		}))
	})
	led := map[uint64]int{}
	dead := uint64(1)
	for _, members := range c.groups {
		leader := members[0].Status().Leader
		if led[leader]++; led[leader] > led[dead] {
			dead = leader
		}
	}
	syncs := func() (n uint64) {
		for i, log := range c.logs {
			if uint64(i+1) != dead {
				n += uint64(log.Stats().Syncs)
			}
		}
		return n
	}
	before, start := syncs(), time.Now()
	c.transports[dead-1].Close()
	for g, members := range c.groups {
		for served := false; !served; time.Sleep(time.Millisecond) {
			for i, n := range members {
				served = served || uint64(i+1) != dead && n.Status().Serving
			}
			if time.Since(start) > testWait {
				t.Fatalf("group %d has no leader", g+1)
			}
		}
	}
	// By itself each group needs four: a vote and the first entry, on two disks.
	if n := int(syncs() - before); n > 2*led[dead] {
		t.Errorf("%d groups took %d syncs, want far fewer than four each", led[dead], n)
	} else {
		t.Logf("%d groups took %d syncs and %s", led[dead], n, time.Since(start).Round(time.Millisecond))
	}
}

// processorTime is what this process has used so far.
func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIdle lets groups of three members be idle, a second an iteration, and reports what part
// of one core all members of all groups need together, and how many frames a second are sent.
func BenchmarkIdle(b *testing.B) {
	for _, groups := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(groups), func(b *testing.B) {
			c := newIdleCluster(b, groups, memory)
			time.Sleep(time.Second)
			b.ReportAllocs()
			b.ResetTimer()
			used, frames := processorTime(b), c.framesSent()
			for range b.N {
				time.Sleep(time.Second)
			}
			b.StopTimer()
			seconds := b.Elapsed().Seconds()
			b.ReportMetric(100*(processorTime(b)-used).Seconds()/seconds, "%core")
			b.ReportMetric(float64(c.framesSent()-frames)/seconds, "frames/s")
		})
	}
}

// BenchmarkIdleTick is a tick, and the turn that takes it, of a member that has nothing to do. Of a
// leader every fifth tick has heartbeats.
func BenchmarkIdleTick(b *testing.B) {
	for _, role := range []Role{RoleFollower, RoleLeader} {
		b.Run(role.String(), func(b *testing.B) {
			s := newStage(b, 3, func(c *Config) { c.ElectionTicks, c.HeartbeatTicks = 1<<40, 5 })
			if role == RoleLeader {
				s.lead()
			}
			b.ReportAllocs()
			tick := 0
			for b.Loop() {
				if tick++; s.Tick(tick%5 == 0) {
					s.Turn()
				}
				s.sent, s.events = s.sent[:0], s.events[:0]
			}
		})
	}
}
