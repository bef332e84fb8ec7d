package node

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// TestRefusedMember: a refusal is logged once, not for each attempt, counted every time, shown in
// the status and gone from it when the member comes with the directory that is remembered.
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

// TestRefusedMemberFillsNoLog: a member that comes with another directory each time, and with the
// right one in between, has one line a minute for each kind of refusal, with a count.
func TestRefusedMemberFillsNoLog(t *testing.T) {
	var out bytes.Buffer
	n := &node{metrics: newMetrics(), log: slog.New(slog.NewTextHandler(&out, nil)), fatal: make(chan error, 1)}
	n.cfg.Members = []Member{{ID: 1, Name: "n1"}, {ID: 2, Name: "n2"}}
	m := newMembership(n, formation.New(7, 1, transport.Incarnation{1}, n.cfg.formationMembers()), func([]byte) error { return nil })
	now := time.Now()
	m.now = func() time.Time { return now }
	meet := func(cluster uint64, directory int) error {
		own := transport.Incarnation{2, byte(directory >> 8), byte(directory)}
		_, err := m.Meet(2, transport.Introduction{Cluster: cluster, Incarnation: own, Members: []transport.Acquaintance{
			{ID: 1, Incarnation: transport.Incarnation{1}, Complete: true}, {ID: 2, Incarnation: own, Complete: true},
		}})
		return err
	}
	refusals := func() (lines []string) {
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, "a member is refused") {
				lines = append(lines, line)
			}
		}
		out.Reset()
		return lines
	}
	alternate := func() {
		t.Helper()
		for i := range 500 {
			if err := meet(7, 1+i); err == nil {
				t.Fatal("another directory is taken")
			}
			if err := meet(uint64(8+i), 0); err == nil {
				t.Fatal("another cluster's node is taken")
			}
			if err := meet(7, 0); err != nil || m.problem(2) != "" {
				t.Fatalf("the remembered directory: %v, problem %q", err, m.problem(2))
			}
		}
	}
	if err := meet(7, 0); err != nil {
		t.Fatal(err)
	}
	alternate()
	if got := refusals(); len(got) != 2 {
		t.Errorf("1000 refusals of two kinds are %d lines, want 2:\n%s", len(got), got)
	}
	now = now.Add(remindInterval)
	alternate()
	if got := refusals(); len(got) != 2 || !strings.Contains(got[0], "times=500") || !strings.Contains(got[1], "times=500") {
		t.Errorf("a minute later: %s, want 2 lines with times=500", got)
	}
}

// TestMembersFile: a node that has another one's memory of the members does not start. One that has
// lost its own waits for the members to tell it again.
func TestMembersFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	d, err := createDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	n := &node{dir: d, metrics: newMetrics(), log: slog.New(slog.DiscardHandler), fatal: make(chan error, 1)}
	n.cfg = Config{Name: "n1", ClusterID: "0000000000000007", Members: []Member{{ID: 1, Name: "n1"}, {ID: 2, Name: "n2"}}}
	good := formation.New(7, 1, d.incarnation, n.cfg.formationMembers()).Marshal()
	file := filepath.Join(path, membersFile)
	for _, x := range []struct {
		name, want string
		content    []byte
	}{
		{"its own", "", good},
		{"damaged", "", append([]byte("x"), good...)},
		{"of a former directory", "another data directory", formation.New(7, 1, transport.Incarnation{9}, n.cfg.formationMembers()).Marshal()},
		{"of another cluster", "another data directory", formation.New(8, 1, d.incarnation, n.cfg.formationMembers()).Marshal()},
		{"of other members", "members are the founders", formation.New(7, 1, d.incarnation, []formation.Member{{ID: 1, Name: "n1"}}).Marshal()},
		{"absent", "", nil},
	} {
		_ = os.Remove(file)
		if x.content != nil {
			if err := wholefile.WriteSync(file, x.content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m, err := openMembership(n)
		switch {
		case err == nil && m.Formed():
			t.Errorf("%s: the node takes part in Raft before it has met n2", x.name)
		case x.want == "" && err != nil:
			t.Errorf("%s: %v", x.name, err)
		case x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)):
			t.Errorf("%s: %v, want an error with %q", x.name, err, x.want)
		}
	}
	// What is learned is in the file.
	if err := wholefile.WriteSync(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := openMembership(n)
	if err != nil {
		t.Fatal(err)
	}
	if m.problem(2) == "" || m.problem(1) != "" {
		t.Errorf("before n2 was met its problem is %q, that of this node %q", m.problem(2), m.problem(1))
	}
	own := transport.Incarnation{2}
	if _, err := m.Meet(2, transport.Introduction{Cluster: 7, Incarnation: own, Members: []transport.Acquaintance{{ID: 1}, {ID: 2, Incarnation: own}}}); err != nil {
		t.Fatal(err)
	}
	if m, err = openMembership(n); err != nil || m.State().Knows(2) != own {
		t.Errorf("after a restart n2 is remembered with %v, %v", m, err)
	}
}
