package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/node"
)

// TestStatusOfEachNode compares what nodes say about themselves and each other with the
// configuration, with each other, and with what happens to them.
func TestStatusOfEachNode(t *testing.T) {
	before := time.Now()
	c := startCluster(t, 3)
	if _, err := dial(t, c, "writer").Append(t.Context(), client.Entry{Payload: []byte("x")}, client.Sealed()); err != nil {
		t.Fatal(err)
	}
	check := func(stopped string) {
		t.Helper()
		for _, name := range c.Names() {
			if name == stopped {
				continue
			}
			cfg := nodeConfig(t, c, name)
			soon(t, func() (bad []string) {
				say := func(format string, args ...any) { bad = append(bad, name+": "+fmt.Sprintf(format, args...)) }
				leader, err := c.Leader(t.Context())
				if err != nil {
					return []string{err.Error()}
				}
				leads, err := c.Node(leader)
				if err != nil {
					t.Fatal(err)
				}
				s := statusOf(t, c, name)
				role := map[bool]string{true: "leader", false: "follower"}[name == leader]
				if s.Node != name || s.Id != cfg.Self().ID || s.Role != role || s.Leader != leader || s.LeaderAddress != leads.API ||
					s.Origin != c.Origin() || s.Version != node.Version || s.Size != 2 || s.SealedSize != 2 || s.Applied != s.Commit {
					say("the status is %v; %s leads at %s", s, leader, leads.API)
				}
				if at := time.UnixMicro(s.Started); at.Before(before) || at.After(time.Now()) {
					say("it was started at %v, the test began at %v", at, before)
				}
				if len(s.Peers) != len(cfg.Members) {
					say("its peers are %v", s.Peers)
					return bad
				}
				for i, m := range cfg.Members {
					p := s.Peers[i]
					if p.Id != m.ID || p.Name != m.Name || p.Address != m.API || p.Kind != "voter" || p.Problem != "" {
						say("its peer %d is %v, want %s at %s without a problem", i, p, m.Name, m.API)
					}
					if p.Connected != (m.Name != stopped) {
						say("%s is connected: %v; stopped is %q", m.Name, p.Connected, stopped)
					}
					// Only the leader knows how far the others are; all that run have everything.
					if want := map[bool]uint64{true: s.Commit}[name == leader]; m.Name != stopped && p.Match != want {
						say("%s has %d entries, want %d", m.Name, p.Match, want)
					}
				}
				return bad
			})
		}
	}
	check("")
	for _, name := range []string{"n3", "n1"} {
		if err := c.Stop(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		check(name)
		start(t, c, name)
		check("")
	}
}
