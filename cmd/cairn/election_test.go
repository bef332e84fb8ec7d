package main

import (
	"context"
	"strings"
	"testing"
)

// TestElection: a status waits while nodes elect, and never prints followers of nobody without
// saying so.
func TestElection(t *testing.T) {
	t.Parallel()
	dead := nodeStatus{Node: "n2"}
	follower := func(name, leader string) nodeStatus {
		return nodeStatus{Node: name, Role: "follower", Leader: leader, figures: &figures{}}
	}
	leader := nodeStatus{Node: "n3", Role: "leader", Leader: "n3", figures: &figures{}}
	for name, c := range map[string]struct {
		all      []nodeStatus
		electing bool
		says     string // the error, "" for none
	}{
		"a leader":                    {[]nodeStatus{follower("n1", "n3"), dead, leader}, false, ""},
		"a leader that nobody knows":  {[]nodeStatus{follower("n1", ""), dead, leader}, false, ""},
		"the leader has just died":    {[]nodeStatus{follower("n1", "n2"), dead, follower("n3", "n2")}, true, "an election goes on"},
		"nobody leads yet":            {[]nodeStatus{follower("n1", ""), dead, follower("n3", "")}, true, "an election goes on"},
		"one is left":                 {[]nodeStatus{follower("n1", "n2"), dead, {Node: "n3"}}, false, "1 of 3 nodes answer, 2 are needed"},
		"none is left":                {[]nodeStatus{{Node: "n1"}, dead, {Node: "n3"}}, false, "0 of 3 nodes answer, 2 are needed"},
		"the leader is not asked for": {[]nodeStatus{follower("n1", "n9")}, false, ""},
	} {
		if got := electing(c.all); got != c.electing {
			t.Errorf("%s: electing %t, want %t", name, got, c.electing)
		}
		switch err := noLeader(c.all); {
		case (err == nil) != (c.says == ""):
			t.Errorf("%s: error %v, want %q", name, err, c.says)
		case err != nil && (!strings.Contains(err.Error(), c.says) || classify(err).code != exitUnavailable):
			t.Errorf("%s: error %v, want %q and code %d", name, err, c.says, exitUnavailable)
		}
	}

	asked := 0
	all, err := settled(context.Background(), func() ([]nodeStatus, error) {
		if asked++; asked < 3 {
			return []nodeStatus{follower("n1", "n2"), dead, follower("n3", "n2")}, nil
		}
		return []nodeStatus{follower("n1", "n3"), dead, leader}, nil
	})
	if err != nil || asked != 3 || all[2].Role != "leader" || all[0].Electing {
		t.Errorf("an election that ends: asked %d times, %+v, %v", asked, all, err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	all, _ = settled(ended, func() ([]nodeStatus, error) {
		return []nodeStatus{follower("n1", "n2"), dead, follower("n3", "n2")}, nil
	})
	out := rendered(0, func(p *page) { statusTable(p, all) })
	if strings.Contains(out, "follower") || strings.Count(out, "electing") != 2 {
		t.Errorf("an election that does not end:\n%s", out)
	}
}

// TestStatusFigures: figures of a node that does not answer are absent, not zero.
func TestStatusFigures(t *testing.T) {
	t.Parallel()
	raw, err := marshalLine(nodeStatus{Node: "n2", Address: "127.0.0.1:1", Error: "n2 does not answer"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(raw), `{"node":"n2","address":"127.0.0.1:1","error":"n2 does not answer"}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	raw, err = marshalLine(nodeStatus{Node: "n1", Role: "leader", figures: &figures{}})
	if err != nil || !strings.Contains(string(raw), `"size":0,`) {
		t.Errorf("a node with an empty ledger: %s, %v", raw, err)
	}
}
