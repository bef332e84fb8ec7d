package node

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// TestFailedApplyAnswersOnce: when a block cannot be applied, Raft fails its requests. An answer from Apply as well would
// be the second one, for which a caller whose time was up has no room: the apply goroutine would wait for ever, and with
// it everybody who wants to stop the node.
func TestFailedApplyAnswersOnce(t *testing.T) {
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: group, Origin: "example.org/ledger"})
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{ledger: l, clocks: &clocks{voters: 1, now: time.Now, samples: noSamples, ledgerTime: func() int64 { return l.Head().Time }}}
	r.state.Store(&raftnode.State{})
	batch := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("x")}}}
	var answers []error
	reqs := []raftnode.Request{&appendRequest{batch: batch, size: batch.Size(), at: time.Now(),
		done: func(_ ledger.Result, err error) { answers = append(answers, err) }}}
	block, err := r.BuildBlock(reqs)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // every Apply fails from here on
		t.Fatal(err)
	}
	if err := r.Apply(&raftnode.Committed{Index: 1, Term: 1, Data: block, Requests: reqs}); err == nil {
		t.Fatal("apply to a closed ledger: no error")
	}
	if len(answers) != 0 {
		t.Fatalf("Apply failed and answered %v: Raft will have the requests answered again", answers)
	}
	r.Fail(reqs, raftnode.ErrIndefinite)
	if len(answers) != 1 || !errors.Is(answers[0], server.ErrIndefinite) {
		t.Fatalf("answers are %v, want one server.ErrIndefinite", answers)
	}
}

// TestStoppedLogIsNoReason: a promise that cannot be written because Raft has stopped must not hide why it has.
func TestStoppedLogIsNoReason(t *testing.T) {
	var reasons []error
	s := &sealer{
		fatal:   func(err error) { reasons = append(reasons, err) },
		persist: func(_ []byte, done func(error)) { done(raftnode.ErrStopped) },
	}
	s.carryOut([]seal.Effect{seal.Persist{Token: 1}})
	if len(reasons) != 0 {
		t.Errorf("the node is asked to stop because of %v", reasons)
	}
	broken := errors.New("input/output error")
	s.persist = func(_ []byte, done func(error)) { done(broken) }
	s.carryOut([]seal.Effect{seal.Persist{Token: 2}})
	if len(reasons) != 1 || !errors.Is(reasons[0], broken) {
		t.Errorf("reasons to stop are %v, want %v", reasons, broken)
	}
}

// TestOutvotedNodeStops: a replica that a majority contradicts is no longer of use to anybody.
func TestOutvotedNodeStops(t *testing.T) {
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var reasons []error
	s := &sealer{fatal: func(err error) { reasons = append(reasons, err) }, ledger: l}
	s.carryOut([]seal.Effect{seal.Outvoted{Size: 7, Ours: merkle.LeafHash([]byte("ours")), Theirs: merkle.LeafHash([]byte("theirs"))}})
	var diverged *ledger.DivergenceError
	if len(reasons) != 1 || !errors.As(reasons[0], &diverged) || diverged.Size != 7 {
		t.Errorf("reasons to stop are %v, want a divergence at size 7", reasons)
	}
}

// TestEvidenceIsKept: a node that stops because two histories were cosigned, and one that goes on without a stolen key,
// write a file that verifies and name it. Restored stops the node.
func TestEvidenceIsKept(t *testing.T) {
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var reasons []error
	var out bytes.Buffer
	s := &sealer{
		fatal: func(err error) { reasons = append(reasons, err) }, ledger: l, dir: t.TempDir(), name: "n2",
		metrics: newMetrics(), log: slog.New(slog.NewTextHandler(&out, nil)),
	}
	evidence := &tlog.Contradiction{Smaller: []byte("one\n"), Larger: []byte("two\n"), Root: merkle.LeafHash([]byte("r"))}
	files := func() []string {
		names, err := filepath.Glob(filepath.Join(s.dir, "contradiction-*.txt"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	s.carryOut([]seal.Effect{seal.Contradiction{By: []string{"example.org/n1"}, Size: 7, Evidence: evidence}})
	found := files()
	if len(found) != 1 || len(reasons) != 0 || !strings.Contains(out.String(), found[0]) || !strings.Contains(out.String(), "example.org/n1") {
		t.Fatalf("files %v, reasons to stop %v, log %s", found, reasons, out.String())
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
	s.carryOut([]seal.Effect{seal.Outvoted{Size: 7, Theirs: merkle.LeafHash([]byte("theirs")), Evidence: evidence}})
	if len(reasons) != 1 || !strings.Contains(reasons[0].Error(), found[0]) || !errors.Is(reasons[0], seal.ErrContradiction) || len(files()) != 1 {
		t.Errorf("reasons %v, files %v; want one of each", reasons, files())
	}
	reasons = nil
	s.carryOut([]seal.Effect{seal.Restored{Size: 9, Promised: 4}})
	if len(reasons) != 1 || !errors.Is(reasons[0], seal.ErrRestored) || !strings.Contains(reasons[0].Error(), "do not start this node again") {
		t.Errorf("reasons %v, want that the node was restored from an older copy", reasons)
	}
}

// TestSealMailboxIsBounded: a peer can fill it neither with messages nor with bytes, and what this node tells itself
// always has room.
func TestSealMailboxIsBounded(t *testing.T) {
	s := &sealer{wake: make(chan struct{}, 1)}
	for range 2 * maxSealEvents {
		s.received(2, nil)
	}
	if n := len(s.mu.events); n != maxSealEvents {
		t.Errorf("%d empty messages wait, want %d", n, maxSealEvents)
	}
	s.leading(true)
	if events, _ := s.take(0); len(events) != maxSealEvents+1 {
		t.Errorf("%d events were taken, want %d and the change of leader", len(events), maxSealEvents)
	}
	large := make([]byte, 1<<20)
	for range 64 {
		s.received(2, large)
	}
	if n := len(s.mu.events); n != maxSealBytes/len(large) {
		t.Errorf("%d messages of %d bytes wait, want %d", n, len(large), maxSealBytes/len(large))
	}
	s.take(0)
	s.received(2, large)
	if n := len(s.mu.events); n != 1 {
		t.Errorf("%d messages wait after the mailbox was emptied, want 1", n)
	}
}

// TestReadyWithoutLeader answers at once: a probe that waits for an election learns nothing before it gives up.
func TestReadyWithoutLeader(t *testing.T) {
	r := &replica{} // without Raft: whoever asked it would not get this far
	r.state.Store(&raftnode.State{})
	n := &node{replica: r}
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
