package node

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// TestEvidenceIsKept: a node that stops because two histories were cosigned, and one that goes on
// without a stolen key, write a file that verifies and name it.
func TestEvidenceIsKept(t *testing.T) {
	var out bytes.Buffer
	n := &node{
		cfg: Config{Name: "n2"}, dir: &dataDir{path: t.TempDir()}, metrics: newMetrics(),
		log: slog.New(slog.NewTextHandler(&out, nil)), fatal: make(chan error, 1),
	}
	h := &hosted{node: n}
	evidence := &tlog.Contradiction{Smaller: []byte("one\n"), Larger: []byte("two\n"), Root: merkle.LeafHash([]byte("r"))}
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
	if err := <-n.fatal; err.Error() != reason.Error() {
		t.Errorf("without evidence the node stops because of %v", err)
	}
}

// TestReadyWithoutLeader answers at once: a probe that waits for an election learns nothing before
// it gives up.
func TestReadyWithoutLeader(t *testing.T) {
	n := &node{hosted: &hosted{Replica: &replica.Replica{}}} // without Raft: whoever asked it would not get this far
	n.hosted.node = n
	n.members = newMembership(n, formation.New(1, 1, transport.Incarnation{1}, []formation.Member{{ID: 1, Name: "n1"}}), nil)
	s := &services{node: n, quit: make(chan struct{})}
	var leader *server.NotLeaderError
	if err := s.ready(); !errors.As(err, &leader) || leader.LeaderName != "" {
		t.Errorf("ready without a leader: %v, want a *server.NotLeaderError that names nobody", err)
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

// TestNoHostedLedger: a node whose replica cannot be made, here because its cosigner key is not the
// one that the others know, says so and stops. There is no replica to stop then.
func TestNoHostedLedger(t *testing.T) {
	log, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "wal", Cluster: 1, Node: 1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: group, Origin: "example.org/ledger"})
	if err != nil {
		t.Fatal(err)
	}
	key := func(name string) *tlog.Cosigner {
		k, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tlog.NewCosigner(name, k)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	n := &node{cfg: Config{Name: "n1", Members: []Member{{ID: 1, Name: "n1"}}}, wal: log, ledger: l, metrics: newMetrics()}
	n.cfg.setDefaults()
	n.keys = &keyring{
		log: key("example.org/ledger"), cosigner: key("example.org/ledger/n1"),
		voters: map[uint64]*tlog.VerifierKey{1: key("example.org/ledger/n1").Key()},
	}
	if n.hosted, err = newHosted(n); err == nil || n.hosted != nil {
		t.Fatalf("newHosted: %v, %v; want an error and nothing else", n.hosted, err)
	}
	if err := n.stop(err); err != nil {
		t.Error(err)
	}
}
