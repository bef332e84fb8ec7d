package raftnode

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// TestLinesAboutRefusals: a sender has one line a minute, which counts what came since its last
// line.
func TestLinesAboutRefusals(t *testing.T) {
	t.Parallel()
	var counted int
	s := newStage(t, 3, func(c *Config) { c.Refused = func(*RefusedError) { counted++ } })
	lie := func(from uint64, n int) {
		for range n {
			s.hear(msg{typ: raftpb.MsgVote, from: from, term: 1 << 60})
		}
		s.run()
	}
	refusals := func() (out []string) {
		for _, line := range s.lines {
			if strings.Contains(line, "refused") {
				out = append(out, line[:strings.Index(line, ";")])
			}
		}
		s.lines = nil
		return out
	}
	expect := func(want ...string) {
		t.Helper()
		if got := refusals(); !slices.Equal(got, want) {
			t.Errorf("lines %q, want %q", got, want)
		}
	}
	s.now = time.Hour
	lie(2, 4)
	lie(3, 1)
	expect("raft: error: refused 1 message(s) of node 2", "raft: error: refused 1 message(s) of node 3")
	s.now += refusalPause - s.cfg.TickInterval - 1
	s.tick(1)
	expect()
	s.tick(1)
	expect("raft: error: refused 3 message(s) of node 2")
	lie(2, 2)
	s.now += refusalPause
	s.tick(1)
	expect("raft: error: refused 2 message(s) of node 2")
	if counted != 7 {
		t.Errorf("%d refusals counted, want 7", counted)
	}
}
