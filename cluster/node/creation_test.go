package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

const unitWait = 30 * time.Second // only ever reached by a failing test

// hermit is the only member of a cluster whose Raft log, in memory, begins with the directory's
// genesis. Nothing of it runs before hostAlone.
func hermit(t *testing.T) *node {
	t.Helper()
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	if err != nil {
		t.Fatal(err)
	}
	cosigner, err := tlog.NewCosigner("example.org/n1", key)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{
		cfg: Config{
			Name: "n1", TrustDomain: "example.org", ClusterID: "0000000000000001", Directory: "example.org/directory",
			Members: []Member{{ID: 1, Name: "n1", Cosigner: cosigner.Key().String()}},
		},
		dir: &dataDir{path: t.TempDir()}, log: slog.New(slog.DiscardHandler), metrics: newMetrics(), fatal: make(chan error, 1),
		keys: &keyring{log: key, cosigners: []seal.Cosigner{cosigner}, voters: map[uint64]*tlog.VerifierKey{1: cosigner.Key()}},
	}
	n.cfg.setDefaults()
	n.logs = &logs{log: n.log}
	if n.wal, err = wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "wal", Cluster: 1, Node: 1}); err != nil {
		t.Fatal(err)
	}
	genesis, err := n.directoryGenesis()
	if err == nil {
		_, err = replica.Bootstrap(n.wal, directory.Group, idsOf(n.cfg.founders()), genesis)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// hostAlone runs the ledgers of a hermit until the end of the test.
func (n *node) hostAlone(t *testing.T) {
	t.Helper()
	if err := n.openHosting(); err != nil {
		t.Fatal(err)
	}
	n.transport = transport.New(transport.Config{Self: 1})
	n.host = raftnode.NewHost(raftnode.HostConfig{Log: n.wal, Transport: n.transport, TickInterval: n.cfg.Raft.Tick})
	if err := n.hosting.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.hosting.stopRaft(context.Background()); err != nil {
			t.Error(err)
		}
		n.host.Close()
		if err := n.hosting.close(true); err != nil {
			t.Error(err)
		}
	})
}

// soon waits until something holds, and fails when the node has to stop.
func (n *node) soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(unitWait); !holds(); time.Sleep(time.Millisecond) {
		select {
		case err := <-n.fatal:
			t.Fatalf("%s: the node stops: %v", what, err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("did not happen: " + what)
		}
	}
}

// creation is the block that lists a ledger in the directory.
func (n *node) creation(t *testing.T, origin string, p ledger.Program) []byte {
	t.Helper()
	g, err := n.genesis(origin, 1, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	command, err := directory.Create(g)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, 7, []ledger.Batch{{
		Principal: "creator", Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: command}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// TestStartInTheMiddleOfACreation: whatever a creation has come to on this node when the node ends,
// the next start completes it, and the ledger begins with the genesis that the directory has.
func TestStartInTheMiddleOfACreation(t *testing.T) {
	t.Parallel()
	const origin, group = "example.org/x", directory.Group + 1
	mark := func(n *node, _ []byte) error {
		return n.wal.Bootstrap(group, wal.Mark{ConfState: &raftpb.ConfState{Voters: idsOf(n.cfg.founders())}})
	}
	all := func(n *node, genesis []byte) error {
		_, err := replica.Bootstrap(n.wal, group, idsOf(n.cfg.founders()), genesis)
		return err
	}
	for name, left := range map[string]func(*node, []byte) error{
		"listed": nil, "the Raft log's first mark": mark, "the Raft log's beginning": all,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := hermit(t)
			n.committed(t, directory.Group, n.creation(t, origin, ledger.Log{}))
			g, err := n.genesis(origin, 1, ledger.Log{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			genesis, err := (&directory.Ledger{Genesis: g, Group: group, Creator: "creator", Time: 7}).Block()
			if err != nil {
				t.Fatal(err)
			}
			if left != nil {
				if err := left(n, genesis); err != nil {
					t.Fatal(err)
				}
			}
			n.hostAlone(t)
			n.soon(t, "the ledger has a leader", func() bool { l := n.hosting.find(origin); return l != nil && l.State().Serving })
			l := n.hosting.find(origin)
			r, err := l.Append(t.Context(), ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("x")}}})
			if err != nil || r.Err != nil || r.Indexes[0] != 1 {
				t.Fatalf("the first append: %+v, %v", r, err)
			}
			block, err := ledger.ParseBlock(genesis)
			if err != nil {
				t.Fatal(err)
			}
			if leaf, err := l.Ledger().Leaf(0); err != nil || !bytes.Equal(leaf, block.Batches[0].Entries[0].Encoded) {
				t.Errorf("entry 0 is not the genesis that the directory lists: %x, %v", leaf, err)
			}
		})
	}
}

// TestLedgersThatAreNotKnownYet: as long as the directory lists, or may list, ledgers that this node
// has not begun, the node is not ready, and does not say that it hosts no such ledger.
func TestLedgersThatAreNotKnownYet(t *testing.T) {
	t.Parallel()
	n := hermit(t)
	n.hostAlone(t)
	h := n.hosting
	n.soon(t, "the directory is followed", func() bool { return h.learning() == nil && h.obstacle(t.Context()) == nil })
	if size := h.directory.Ledger().Head().Size; h.followed.Load() != size || size != 1 {
		t.Fatalf("%d of %d entries are followed", h.followed.Load(), size)
	}
	h.followed.Store(0)
	for what, err := range map[string]error{"ready": h.obstacle(t.Context()), "learning": h.learning()} {
		if err == nil || !strings.Contains(err.Error(), "the directory has 1 entries") {
			t.Errorf("%s, with an entry that is not followed: %v", what, err)
		}
	}
	h.followed.Store(1)
	for _, s := range []raftnode.State{{Leader: 0}, {Leader: 1, Serving: false}} {
		h.directory.StateChanged(s)
		if h.learning() == nil {
			t.Errorf("the node has learned all although the directory is in state %+v", s)
		}
	}
	h.directory.StateChanged(raftnode.State{Leader: 2})
	if err := h.learning(); err != nil {
		t.Errorf("with a leader and all followed: %v", err)
	}
	h.directory.StateChanged(raftnode.State{Leader: 1, Serving: true, Term: 2})
}

// TestTooManyLedgers: no more ledgers are created than the configuration allows, also not by creations
// that come together. One that exists is returned all the same.
func TestTooManyLedgers(t *testing.T) {
	t.Parallel()
	const most = 3
	n := hermit(t)
	n.cfg.Storage.MaxLedgers = most
	n.hostAlone(t)
	n.soon(t, "the directory has a leader", func() bool { return n.hosting.directory.State().Serving })
	create := func(origin string) (created bool, err error) {
		_, created, err = n.hosting.Create(t.Context(), "spiffe://example.org/admin", server.NewLedger{Origin: origin, Program: "log"})
		return created, err
	}
	if created, err := create("example.org/first"); err != nil || !created {
		t.Fatalf("the first one: created %t, %v", created, err)
	}
	var made atomic.Int32
	var all sync.WaitGroup
	for i := range 4 * most {
		all.Go(func() {
			created, err := create(fmt.Sprintf("example.org/other-%d", i))
			var full *server.TooManyLedgersError
			switch {
			case err == nil && created:
				made.Add(1)
			case !errors.As(err, &full) || full.Most != most || !strings.Contains(err.Error(), "storage.max_ledgers"):
				t.Errorf("created %t, %v; want a *server.TooManyLedgersError that names the limit", created, err)
			}
		})
	}
	all.Wait()
	n.soon(t, "there are as many as may be", func() bool {
		listed, err := directory.List(n.hosting.directory.Ledger().State())
		count := len(listed)
		if err != nil || count > most {
			t.Fatalf("%d ledgers, %v; want at most %d", count, err, most)
		}
		if count == most {
			return true
		}
		if _, err = create(fmt.Sprintf("example.org/late-%d", count)); err != nil {
			t.Fatalf("with %d of %d ledgers and nothing under way: %v", count, most, err)
		}
		return false
	})
	if made.Load() == 0 {
		t.Error("of creations that came together none succeeded")
	}
	if created, err := create("example.org/first"); err != nil || created {
		t.Errorf("one that exists: created %t, %v; want it returned", created, err)
	}
	if _, err := create("example.org/last"); err == nil {
		t.Errorf("more than %d ledgers were created", most)
	}
}
