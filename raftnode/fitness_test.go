package raftnode

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"
)

// TestUnfitNodeDoesNotLead: a leader that finds itself unfit hands over, and stays out until it is
// fit again. When nobody is fit nobody leads.
func TestUnfitNodeDoesNotLead(t *testing.T) {
	t.Parallel()
	var unfit [4]atomic.Bool
	c := newCluster(t, 3, func(cfg *Config) {
		id := cfg.ID
		cfg.Unfit = func() error {
			if unfit[id].Load() {
				return errors.New("not today")
			}
			return nil
		}
	})
	if o := c.submit("before"); o.err != nil {
		t.Fatal(o.err)
	}
	first := c.leader().cfg.ID
	unfit[first].Store(true)
	c.eventually("another node leads", func() error {
		for id, n := range c.nodes {
			if s := n.Status(); id != first && s.Serving {
				return nil
			}
		}
		return errors.New("nobody else serves")
	})
	second := c.leader().cfg.ID
	if second == first {
		t.Fatalf("node %d leads although it is unfit", first)
	}
	third := 6 - first - second
	// Whoever is left takes over, even when the first choice of a successor is unfit too.
	unfit[second].Store(true)
	c.eventually("the last fit node leads", func() error {
		if !c.nodes[third].Status().Serving {
			return errors.Newf("node %d does not serve", third)
		}
		return nil
	})
	if o := c.submit("after"); o.err != nil {
		t.Fatal(o.err)
	}
	if got := c.agree(); !slices.Contains(got, "before") || !slices.Contains(got, "after") {
		t.Errorf("entries %q, want both", got)
	}
}

// TestUnfitMember neither stands for election nor, as a leader that nobody relieves, goes on with
// its heartbeats.
func TestUnfitMember(t *testing.T) {
	t.Parallel()
	var unfit error
	s := newStage(t, 3, func(c *Config) { c.Unfit = func() error { return unfit } })
	unfit = errors.New("not today")
	s.tick(3 * s.cfg.ElectionTicks)
	if len(s.sent) != 0 {
		t.Errorf("an unfit member sends %q, want nothing: it does not stand for election", s.events)
	}
	unfit = nil
	s.tick(1)
	s.lead()
	unfit = errors.New("not today")
	for tick := range 2*s.cfg.ElectionTicks + 2 {
		s.events = nil
		// Member 2 hears the leader, and does not take over. Member 3 needs appends.
		s.hear(msg{typ: raftpb.MsgHeartbeatResp, from: 2})
		s.hear(msg{typ: raftpb.MsgHeartbeatResp, from: 3})
		s.tick(1)
		if tick > s.cfg.ElectionTicks && (slices.Contains(s.events, "send MsgHeartbeat") || slices.Contains(s.events, "send MsgApp")) {
			t.Errorf("an unfit leader sends %q at tick %d, want neither heartbeat nor append after an election timeout", s.events, tick)
		}
	}
	if n := len(slices.DeleteFunc(slices.Clone(s.lines), func(l string) bool { return !strings.Contains(l, "does not lead: not today") })); n != 2 {
		t.Errorf("%d lines about the two times at which the member was unfit", n)
	}
	if st := s.Status(); st.Role != RoleLeader {
		t.Fatalf("state %+v, want a leader: the test shows nothing", st.State)
	}
	unfit = nil
	s.events = nil
	s.hear(msg{typ: raftpb.MsgHeartbeatResp, from: 2})
	s.tick(s.cfg.HeartbeatTicks)
	if !slices.Contains(s.events, "send MsgHeartbeat") {
		t.Errorf("a leader that is fit again sends %q", s.events)
	}
}
