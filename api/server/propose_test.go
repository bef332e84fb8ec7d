package server_test

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/merkle"
)

const asker = "spiffe://fake.example/svc/asker"

// TestPropose: every command of a batch is an entry of its own, and its index, time and outcome
// come back.
func TestPropose(t *testing.T) {
	t.Parallel()
	hosted, _ := money(t, 1) // account 0 with 100
	decided, err := server.Propose(within(t), hosted.Nodes[0], server.CommandBatch(asker, accounts.Open(7, 5), accounts.Transfer(0, 7, 30), accounts.Transfer(0, 7, 1000)))
	if err != nil {
		t.Fatal(err)
	}
	number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	want := []string{string([]byte{accounts.Done}), "\x00" + string(number(70)) + string(number(35)), "\x03" + string(number(70))}
	for i, d := range decided {
		if len(decided) != 3 || d.Index != uint64(2+i) || d.Duplicate || string(d.Entry.Outcome) != want[i] || d.Entry.Kind != ledger.KindCommand ||
			d.Entry.Principal != asker || !justNow(d.Entry.Time) {
			t.Errorf("decision %d of %d: %+v, want the outcome %x at index %d", i, len(decided), d, want[i], 2+i)
		}
	}
}

// TestProposeAgain: a command under a key that was used is not appended again; what came of the
// first one comes back.
func TestProposeAgain(t *testing.T) {
	t.Parallel()
	hosted, _ := money(t, 1)
	b := server.CommandBatch(asker, accounts.Open(7, 5))
	b.Entries[0].Key = []byte("open 7")
	first, err := server.Propose(within(t), hosted.Nodes[0], b)
	if err != nil || first[0].Duplicate {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := server.Propose(within(t), hosted.Nodes[0], b)
	if err != nil || !again[0].Duplicate || again[0].Index != first[0].Index || string(again[0].Entry.Outcome) != string([]byte{accounts.Done}) {
		t.Errorf("%+v, %v; want the decision of entry %d", again, err, first[0].Index)
	}
	b.Entries[0].Body = accounts.Open(8, 5)
	var conflict *ledger.ConflictError
	if got, err := server.Propose(within(t), hosted.Nodes[0], b); !errors.As(err, &conflict) {
		t.Errorf("another command under the key: %+v, %v", got, err)
	}
}

// unread is a ledger whose leaves cannot be read.
type unread struct{ server.Ledger }

func (unread) Leaves(uint64, int, int) ([][]byte, error) { return nil, errors.New("a broken disk") }

// TestProposeFails: what the program does not understand, and what was given up before, is never
// proposed. Whoever does not lead says who does. What is in the ledger and cannot be read is not
// said to have failed.
func TestProposeFails(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 2, fakecluster.Options{})
	hosted := c.Host("fake.example/money", func(g *ledger.Genesis) {
		g.Program, g.ProgramVersion = accounts.Program{}.Name(), accounts.Program{}.Version()
	})
	leader, follower := hosted.Nodes[0], hosted.Nodes[1]
	good := server.CommandBatch(asker, accounts.Open(7, 5))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var elsewhere *server.NotLeaderError
	for name, c := range map[string]struct {
		ctx   context.Context
		n     *fakecluster.Node
		batch ledger.Batch
		is    func(error) bool
	}{
		"no command":     {t.Context(), leader, server.CommandBatch(asker, []byte("?")), func(err error) bool { return errors.Is(err, ledger.ErrBadBatch) }},
		"no commands":    {t.Context(), leader, server.CommandBatch(asker), func(err error) bool { return errors.Is(err, ledger.ErrBadBatch) }},
		"nobody asks":    {t.Context(), leader, server.CommandBatch("", accounts.Open(7, 5)), func(err error) bool { return errors.Is(err, ledger.ErrBadBatch) }},
		"given up":       {ended, leader, good, func(err error) bool { return errors.Is(err, context.Canceled) && !errors.Is(err, server.ErrIndefinite) }},
		"not the leader": {t.Context(), follower, good, func(err error) bool { return errors.As(err, &elsewhere) && elsewhere.LeaderName == leader.Name }},
	} {
		if got, err := server.Propose(c.ctx, c.n, c.batch); err == nil || !c.is(err) || got != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if size := leader.Ledger().Head().Size; size != 1 || len(leader.Requests()) != 0 {
		t.Errorf("the ledger has %d entries, and %d batches reached it; want the genesis alone", size, len(leader.Requests()))
	}
	leader.Replica = unread{leader.Ledger()}
	if got, err := server.Propose(t.Context(), leader, good); !errors.Is(err, server.ErrIndefinite) || got != nil {
		t.Errorf("a decision that cannot be read: %+v, %v; want an unknown outcome", got, err)
	}
	if size := follower.Ledger().Head().Size; size != 2 {
		t.Errorf("the ledger has %d entries, want the command behind the genesis", size)
	}
}

// TestNewest: the state of a program includes what another node has acknowledged, and without a
// leader there is none.
func TestNewest(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 2, fakecluster.Options{})
	hosted := c.Host("fake.example/money", func(g *ledger.Genesis) {
		g.Program, g.ProgramVersion = accounts.Program{}.Name(), accounts.Program{}.Version()
	})
	leader, follower := hosted.Nodes[0], hosted.Nodes[1]
	follower.Lag(true)
	if _, err := server.Propose(t.Context(), leader, server.CommandBatch(asker, accounts.Open(7, 5))); err != nil {
		t.Fatal(err)
	}
	row := binary.BigEndian.AppendUint64([]byte{'a'}, 7)
	if _, found, err := follower.Ledger().State().Get(row); err != nil || found {
		t.Fatalf("a node that lags has the row: %v", err)
	}
	state, err := server.Newest(t.Context(), follower)
	if err != nil || state.Size() != 2 {
		t.Fatalf("size %d, %v", state.Size(), err)
	}
	if value, found, err := state.Get(row); err != nil || !found || binary.BigEndian.Uint64(value) != 5 {
		t.Errorf("the account: %x, %v, %v; want 5", value, found, err)
	}
	hosted.Lead(nil)
	var nobody *server.NotLeaderError
	if _, err := server.Newest(t.Context(), follower); !errors.As(err, &nobody) {
		t.Errorf("without a leader: %v", err)
	}
}

// TestReceiptsOfCommands: a command has a receipt as every entry has, whose leaf holds the outcome.
func TestReceiptsOfCommands(t *testing.T) {
	t.Parallel()
	hosted, _ := money(t, 1)
	hosted.SealByHand()
	n := hosted.Nodes[0]
	decided, err := server.Propose(within(t), n, server.CommandBatch(asker, accounts.Open(7, 5), accounts.Open(7, 5)))
	if err != nil {
		t.Fatal(err)
	}
	indexes := []uint64{decided[0].Index, decided[1].Index}
	s, err := server.New(server.Config{
		Ledger: only(n), Credentials: fakecluster.Insecure(""), Limits: server.Limits{SealWait: 10 * time.Millisecond}, Logf: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(t.Context())
	if leaves, sealed := server.Receipts(s, t.Context(), n, indexes, 0); leaves != nil || sealed != nil {
		t.Errorf("before the seal: %v, %v", leaves, sealed)
	}
	hosted.SealNow()
	leaves, sealed := server.Receipts(s, t.Context(), n, indexes, 2)
	if len(leaves) != 2 || sealed.GetSize() != 4 || len(sealed.GetConsistency()) == 0 {
		t.Fatalf("%d leaves under a checkpoint of size %d", len(leaves), sealed.GetSize())
	}
	for i, outcome := range []byte{accounts.Done, accounts.Exists} {
		e, err := ledger.ParseLeaf(leaves[i].Leaf)
		if err != nil || string(e.Outcome) != string([]byte{outcome}) {
			t.Errorf("leaf %d: the outcome %x, %v; want %d", i, e.Outcome, err, outcome)
		}
		head := n.Ledger().Head()
		if err := merkle.VerifyInclusion(indexes[i], head.Size, merkle.LeafHash(leaves[i].Leaf), split(t, leaves[i].Proof), head.Root); err != nil {
			t.Errorf("leaf %d: %v", i, err)
		}
	}
}
