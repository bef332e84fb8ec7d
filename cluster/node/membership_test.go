package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// TestRefusedMember: a refusal is logged once, not for each attempt, counted every time, shown in the
// status and gone from it when the member comes with the directory that is remembered.
func TestRefusedMember(t *testing.T) {
	var out bytes.Buffer
	members := []formation.Member{{ID: 1, Name: "n1"}, {ID: 2, Name: "n2"}}
	n := &node{metrics: newMetrics(), log: slog.New(slog.NewTextHandler(&out, nil)), fatal: make(chan error, 1)}
	n.cfg.Members = []Member{{ID: 1, Name: "n1"}, {ID: 2, Name: "n2"}}
	m := newMembership(n, formation.New(7, 1, transport.Incarnation{1}, members), func([]byte) error { return nil })
	if got := m.obstacle(); got == nil || !strings.Contains(got.Error(), "waiting for n2 to be met once") {
		t.Errorf("a node that has met nobody is hindered by %v", got)
	}
	meet := func(directory byte) error {
		own := transport.Incarnation{directory}
		_, err := m.Meet(2, transport.Introduction{Cluster: 7, Incarnation: own, Members: []transport.Acquaintance{
			{ID: 1, Incarnation: transport.Incarnation{1}, Complete: true}, {ID: 2, Incarnation: own, Complete: true},
		}})
		return err
	}
	if err := meet(2); err != nil || m.obstacle() != nil || m.problem(2) != "" {
		t.Fatalf("the first meeting: %v, obstacle %v, problem %q", err, m.obstacle(), m.problem(2))
	}
	for range 5 {
		if err := meet(3); err == nil {
			t.Fatal("another directory is taken")
		}
	}
	if got := strings.Count(out.String(), "n2 comes with the data directory"); got != 1 {
		t.Errorf("five refusals within a minute are %d lines\n%s", got, out.String())
	}
	if p := m.problem(2); !strings.Contains(p, "lost its disk") || m.problem(1) != "" {
		t.Errorf("the problem with n2 is %q, with n1 %q", p, m.problem(1))
	}
	if m.obstacle() != nil {
		t.Errorf("a node that is formed is hindered by %v", m.obstacle())
	}
	families, err := n.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var counted float64
	for _, f := range families {
		if f.GetName() == "cairn_peer_incarnation_refused_total" {
			counted = f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	if counted != 5 {
		t.Errorf("%v refusals are counted, want 5", counted)
	}
	if err := meet(2); err != nil || m.problem(2) != "" {
		t.Errorf("the former directory: %v, problem %q", err, m.problem(2))
	}
}
