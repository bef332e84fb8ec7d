package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/cluster/programs"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

func evidenceOfTwo() *tlog.Contradiction {
	return &tlog.Contradiction{Smaller: []byte("one\n"), Larger: []byte("two\n"), Root: merkle.LeafHash([]byte("r"))}
}

// TestEvidenceIsKept: a node that stops because two histories were cosigned, and one that goes on
// without a stolen key, write a file that verifies and name it.
func TestEvidenceIsKept(t *testing.T) {
	var out bytes.Buffer
	n := &node{
		cfg: Config{Name: "n2"}, dir: &dataDir{path: t.TempDir()}, metrics: newMetrics(),
		log: slog.New(slog.NewTextHandler(&out, nil)), fatal: make(chan error, 1),
	}
	h := &hosted{node: n, origin: "example.org/ledger"}
	evidence := evidenceOfTwo()
	files := func() []string {
		names, err := filepath.Glob(filepath.Join(n.dir.path, "contradiction-*.txt"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	h.Contradicted(seal.Contradiction{By: []string{"example.org/n1"}, Size: 7, Evidence: evidence})
	found := files()
	if len(found) != 1 || len(n.fatal) != 0 || !strings.Contains(out.String(), found[0]) || !strings.Contains(out.String(), "example.org/n1") {
		t.Fatalf("files %v, reasons to stop %d, log %s", found, len(n.fatal), out.String())
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := tlog.ParseContradiction(text)
	if err != nil || string(parsed.Marshal()) != string(evidence.Marshal()) {
		t.Errorf("the file holds %+v, %v", parsed, err)
	}
	if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	reason := errors.New("outvoted")
	h.Halt(reason, evidence)
	if err := <-n.fatal; !errors.Is(err, reason) || !strings.Contains(err.Error(), found[0]) || len(files()) != 1 {
		t.Errorf("the node stops because of %v, files %v; want one of each", err, files())
	}
	h.Halt(reason, nil)
	if err := <-n.fatal; !errors.Is(err, reason) || strings.Contains(err.Error(), "contradiction") {
		t.Errorf("without evidence the node stops because of %v", err)
	}
}

// lonely is the only member of a cluster, before it has begun anything, with its directory. Its
// store and its Raft log are in memory.
func lonely(t *testing.T) (*node, *ledger.Ledger) {
	t.Helper()
	log, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "wal", Cluster: 1, Node: 1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: directory.Group, Origin: "example.org/directory"})
	if err != nil {
		t.Fatal(err)
	}
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	if err != nil {
		t.Fatal(err)
	}
	cosigner, err := tlog.NewCosigner("example.org/n1", key)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{cfg: Config{Name: "n1", TrustDomain: "example.org", ClusterID: "0000000000000001", Members: []Member{{ID: 1, Name: "n1"}}}, wal: log, metrics: newMetrics(), fatal: make(chan error, 1)}
	n.cfg.setDefaults()
	n.log = slog.New(slog.DiscardHandler)
	n.keys = &keyring{log: key, cosigners: []seal.Cosigner{cosigner}, voters: map[uint64]*tlog.VerifierKey{1: cosigner.Key()}}
	n.hosting = &hosting{node: n}
	n.hosting.known.Store(&catalogue{})
	n.hosting.store, err = badgerstore.Open(badgerstore.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return n, l
}

// TestReadyWithoutLeader answers at once: a probe that waits for an election learns nothing before
// it gives up.
func TestReadyWithoutLeader(t *testing.T) {
	n, l := lonely(t)
	var err error
	if n.hosting.directory, err = newHosted(n, l, nil); err != nil { // without Raft: whoever asked it would not get this far
		t.Fatal(err)
	}
	defer n.hosting.store.Close()
	n.hosting.known.Store(&catalogue{all: []*hosted{n.hosting.directory}})
	n.members = newMembership(n, formation.New(1, 1, transport.Incarnation{1}, []formation.Member{{ID: 1, Name: "n1"}}), nil)
	s := &services{node: n, quit: make(chan struct{})}
	var leader *server.NotLeaderError
	if err := s.ready(); !errors.As(err, &leader) || leader.LeaderName != "" || !strings.Contains(err.Error(), l.Origin()) {
		t.Errorf("ready without a leader: %v, want a *server.NotLeaderError that names nobody, and the ledger", err)
	}
	close(s.quit)
	if err := s.ready(); !errors.Is(err, server.ErrStopped) {
		t.Errorf("ready while stopping: %v, want server.ErrStopped", err)
	}
}

// TestLogNamesTheNodeOnce, whatever a line is about.
func TestLogNamesTheNodeOnce(t *testing.T) {
	var out bytes.Buffer
	c := Config{Name: "n1", LogLevel: "info", DataDir: t.TempDir()}
	log := newLogger(&c, &out, slog.LevelInfo)
	n := &node{cfg: c, log: log}
	n.logf("raft")("leader of term %d", 3)
	log.With("part", "seal").LogAttrs(context.Background(), slog.LevelWarn, "sealing")
	for _, line := range bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n")) {
		if got := bytes.Count(line, []byte("node=")); got != 1 {
			t.Errorf("%d times node= in: %s", got, line)
		}
	}
}

// TestNoHostedLedger: a node whose replica cannot be made, here because no quorum of its members is
// possible, says so and stops. There is no replica to stop then.
func TestNoHostedLedger(t *testing.T) {
	n, l := lonely(t)
	n.cfg.Seal.Quorum = "2"
	var err error
	if n.hosting.directory, err = newHosted(n, l, nil); err == nil || n.hosting.directory != nil {
		t.Fatalf("newHosted: %v, %v; want an error and nothing else", n.hosting.directory, err)
	}
	if err := n.stop(err); err != nil {
		t.Error(err)
	}
}

// TestLedgersPastTheLimitShareALabel: the number of time series does not grow with the ledgers
// without a bound, and what the others have is added up.
func TestLedgersPastTheLimitShareALabel(t *testing.T) {
	figure := ledgerFigure{prometheus.NewDesc("size", "", []string{"ledger"}, nil), prometheus.GaugeValue, "", func(*hosted) float64 { return 2 }}
	for ledgers, want := range map[int]int{1: 1, labelledLedgers: labelledLedgers, labelledLedgers + 3: labelledLedgers + 1} {
		var all []*hosted
		for i := range ledgers {
			all = append(all, &hosted{origin: fmt.Sprintf("example.org/%d", i)})
		}
		registry := prometheus.NewRegistry()
		registry.MustRegister(&ledgerMetrics{all: func() []*hosted { return all }, figures: []ledgerFigure{figure}})
		families, err := registry.Gather()
		if err != nil || len(families) != 1 {
			t.Fatalf("%d ledgers: %d figures, %v", ledgers, len(families), err)
		}
		series, others := families[0].GetMetric(), 0.0
		for _, s := range series {
			if s.GetLabel()[0].GetValue() == otherLedgers {
				others += s.GetGauge().GetValue()
			}
		}
		if more := max(0, ledgers-labelledLedgers); len(series) != want || others != float64(2*more) {
			t.Errorf("%d ledgers: %d series, want %d; the others have %v", ledgers, len(series), want, others)
		}
	}
}

// TestLedgerThatCannotBeHosted: a ledger whose program, level, members, log key or quorum are not
// this node's, or whose parameters the node does not understand, is not hosted, and stops nobody.
func TestLedgerThatCannotBeHosted(t *testing.T) {
	n, l := lonely(t)
	defer n.hosting.store.Close()
	n.cfg.Members[0].Cosigner = "n1+key"
	var err error
	if n.hosting.directory, err = newHosted(n, l, nil); err != nil {
		t.Fatal(err)
	}
	good, err := n.genesis("example.org/x", 1, ledger.Log{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.kindOf(good); err != nil {
		t.Fatal(err)
	}
	for i, spoil := range []func(*ledger.Genesis){
		func(g *ledger.Genesis) { g.Program = "future" },
		func(g *ledger.Genesis) { g.ProgramVersion = 9 },
		func(g *ledger.Genesis) { g.FeatureLevel = ledger.FeatureLevel + 1 },
		func(g *ledger.Genesis) {
			g.Members = append(slices.Clone(g.Members), ledger.Member{ID: 2, Name: "n2", Cosigner: "c"})
		},
		func(g *ledger.Genesis) { g.Members = []ledger.Member{{ID: 1, Name: "n1", Cosigner: "other"}} },
		func(g *ledger.Genesis) { g.LogKeys = []string{"other"} },
		func(g *ledger.Genesis) { g.LogKeys = append(slices.Clone(g.LogKeys), "other") },
		func(g *ledger.Genesis) { g.SealQuorum++ },
		func(g *ledger.Genesis) { g.Parameters = []ledger.Parameter{{Name: "future", Value: "yes"}} },
		func(g *ledger.Genesis) {
			g.Parameters = []ledger.Parameter{{Name: programs.PublicReads, Value: "perhaps"}}
		},
	} {
		g := *good
		spoil(&g)
		if err := n.hosting.add(&directory.Ledger{Genesis: &g, Group: 2, Creator: "c", Time: 1}); err != nil {
			t.Errorf("ledger %d stops the node: %v", i, err)
		}
		if got := n.hosting.strangers.Load(); got != int64(i+1) || len(n.hosting.all()) != 0 {
			t.Errorf("ledger %d: %d are not hosted, want %d; %d are", i, got, i+1, len(n.hosting.all()))
		}
	}
}
