package raftnode

import (
	"slices"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/errors"
)

// TestUnfitNodeDoesNotLead: a leader that finds itself unfit hands over, and stays out until it is fit again. When
// nobody is fit nobody leads.
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
