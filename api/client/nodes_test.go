package client

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/internal/fakecluster"
)

// nodesNamed are n1 to n-something, which nobody connects to.
func nodesNamed(t *testing.T, count int) *nodes {
	t.Helper()
	o := defaultOptions()
	o.credentials = fakecluster.Insecure
	o.dialer = func(context.Context, string) (net.Conn, error) { return nil, fmt.Errorf("nobody is there") }
	var endpoints []Endpoint
	for i := range count {
		endpoints = append(endpoints, Endpoint{fmt.Sprintf("n%d", i+1), fmt.Sprintf("192.0.2.1:%d", i+1)})
	}
	ns := newNodes(&o, endpoints)
	t.Cleanup(func() { _ = ns.close() })
	return ns
}

// TestLeaderHints: a node that refuses may name the leader, known or not. A hint that leads nowhere
// is none, and hints do not make a client know more nodes than a profile may have.
func TestLeaderHints(t *testing.T) {
	for _, tc := range []struct {
		name  string
		known int
		hint  *Endpoint
		named bool
	}{
		{"none", 2, nil, false},
		{"known", 2, &Endpoint{"n2", "192.0.2.9:9"}, true},
		{"itself", 2, &Endpoint{"n1", "192.0.2.1:1"}, false},
		{"new", 2, &Endpoint{"n9", "192.0.2.9:9"}, true},
		{"no port", 2, &Endpoint{"n9", "192.0.2.9"}, false},
		{"no name", 2, &Endpoint{"a b", "192.0.2.9:9"}, false},
		{"the last that fits", maxEndpoints - 1, &Endpoint{"new", "192.0.2.9:9"}, true},
		{"one too many", maxEndpoints, &Endpoint{"new", "192.0.2.9:9"}, false},
	} {
		ns := nodesNamed(t, tc.known)
		first := ns.byName("n1")
		ns.leads(first)
		if named := ns.failed(first, tc.hint); named != tc.named {
			t.Errorf("%s: worth trying at once = %t, want %t", tc.name, named, tc.named)
		}
		if leader := ns.mu.leader; (leader != nil) != tc.named || tc.named && leader.Name != tc.hint.Name {
			t.Errorf("%s: the leader is %+v", tc.name, leader)
		}
		if n := len(ns.names()); n > maxEndpoints {
			t.Errorf("%s: %d nodes are known, at most %d are allowed", tc.name, n, maxEndpoints)
		}
	}
}

// TestBusyLeaderStays: a leader that has too much to do is asked again. One that cannot lead is
// not.
func TestBusyLeaderStays(t *testing.T) {
	for reason, stays := range map[string]bool{
		"OVERLOADED": true, "TOO_MANY_REQUESTS": true,
		"NOT_LEADER": false, "NO_LEADER": false, "STOPPING": false, "OUTCOME_UNKNOWN": false, ReasonUnreachable: false,
	} {
		ns := nodesNamed(t, 3)
		n := ns.byName("n2")
		ns.leads(n)
		ns.failedAppend(n, &Error{Reason: reason})
		if (ns.mu.leader == n) != stays {
			t.Errorf("after %s the leader is %v, want it to stay: %t", reason, ns.mu.leader, stays)
		}
	}
}

// TestPause: a client waits as long as a node asks, up to a minute; without being asked, a quarter
// of a second at most.
func TestPause(t *testing.T) {
	for attempt := range 100 {
		if d := pause(attempt, 0); d <= 0 || d > 250*time.Millisecond {
			t.Errorf("pause before attempt %d: %v", attempt, d)
		}
		for _, asked := range []time.Duration{300 * time.Millisecond, time.Minute} {
			if d := pause(attempt, asked); d != asked {
				t.Errorf("pause before attempt %d is %v, the node asked for %v", attempt, d, asked)
			}
		}
		if d := pause(attempt, 1000*time.Hour); d != time.Minute {
			t.Errorf("a node can make a client wait for %v", d)
		}
	}
}
