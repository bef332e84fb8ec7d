package replica

import (
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/raftnode/wal"
)

func testGenesis(t *testing.T, quorum uint32) []byte {
	t.Helper()
	block, err := ledger.EncodeGenesis(&ledger.Genesis{
		FeatureLevel: 1, Origin: testOrigin, Program: "log", ProgramVersion: 1, LogKeys: []string{"log"},
		Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: "c1"}, {ID: 2, Name: "n2", Cosigner: "c2"}}, SealQuorum: quorum,
	}, "creator", 7)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

func openLog(t *testing.T, fs vfs.FS) *wal.Log {
	t.Helper()
	log, err := wal.Open(wal.Options{FS: fs, Dir: "wal", Cluster: 1, Node: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

// TestBootstrap: the genesis is the first entry, committed; a repetition changes nothing; other
// members and another genesis are refused; and a log that has gone on says so.
func TestBootstrap(t *testing.T) {
	log := openLog(t, vfs.NewMem())
	voters, genesis := []uint64{1, 2}, testGenesis(t, 2)
	before := log.Stats().Syncs
	for range 2 {
		if used, err := Bootstrap(log, group, voters, genesis); used || err != nil {
			t.Fatalf("bootstrap: %t, %v", used, err)
		}
		g := log.Group(group)
		hs, conf, err := g.InitialState()
		if err != nil || hs.GetCommit() != 1 || hs.GetTerm() != 1 || hs.GetVote() != 0 || len(conf.GetVoters()) != 2 {
			t.Fatalf("the log begins with %v, %v, %v", hs, conf, err)
		}
		entries, err := g.Entries(1, 2, 1<<20)
		if err != nil || len(entries) != 1 || string(entries[0].Data) != string(genesis) {
			t.Fatalf("the first entry: %v, %v", entries, err)
		}
	}
	if syncs := log.Stats().Syncs - before; syncs != 1 {
		t.Errorf("a bootstrap and its repetition sync %d times, want once", syncs)
	}
	if _, err := Bootstrap(log, group, []uint64{1, 2, 3}, genesis); !errors.Is(err, ErrOtherGenesis) {
		t.Errorf("other members: %v", err)
	}
	if _, err := Bootstrap(log, group, voters, testGenesis(t, 1)); !errors.Is(err, ErrOtherGenesis) {
		t.Errorf("another genesis: %v", err)
	}
	if err := log.Append([]wal.Record{{Group: group, HardState: &raftpb.HardState{Term: new(uint64(2)), Vote: new(uint64(2)), Commit: new(uint64(1))}}}, true); err != nil {
		t.Fatal(err)
	}
	if used, err := Bootstrap(log, group, voters, genesis); !used || err != nil {
		t.Errorf("a log that has voted: used %t, %v", used, err)
	}
}

// TestBootstrapInterrupted: what a power failure leaves of a bootstrap, at whatever moment, is
// completed by the next one.
func TestBootstrapInterrupted(t *testing.T) {
	voters, genesis := []uint64{1, 2}, testGenesis(t, 2)
	begin := wal.Record{Group: group, Mark: &wal.Mark{ConfState: &raftpb.ConfState{Voters: voters}}}
	entry := wal.Record{Group: group, Entries: []*raftpb.Entry{{Index: new(uint64(1)), Term: new(uint64(1)), Data: genesis}}}
	for n, written := range [][]wal.Record{{begin}, {begin, entry}} {
		fs := vfs.NewMem()
		log := openLog(t, fs)
		if err := log.Append(written, true); err != nil {
			t.Fatal(err)
		}
		if used, err := Bootstrap(log, group, voters, genesis); used || err != nil {
			t.Fatalf("with %d records written: used %t, %v", n+1, used, err)
		}
		if last, err := log.Group(group).LastIndex(); last != 1 || err != nil {
			t.Errorf("with %d records written: the log ends at %d, %v", n+1, last, err)
		}
	}
}

// TestCheckGenesis: a ledger that began with another genesis, or with none, is not taken for this
// one.
func TestCheckGenesis(t *testing.T) {
	for name, test := range map[string]struct {
		first []byte
		other bool
	}{
		"the same": {testGenesis(t, 2), false}, "another quorum": {testGenesis(t, 1), true}, "none": {nil, true}, "empty": {[]byte{}, false},
	} {
		l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: group, Origin: testOrigin})
		if err != nil {
			t.Fatal(err)
		}
		first := test.first
		if first == nil {
			first, err = ledger.EncodeBlock(l.Anchor(), 1, []ledger.Batch{testBatch("x")})
		}
		if err == nil {
			_, err = l.ApplyMany([]ledger.Committed{{RaftIndex: 1, RaftTerm: 1, Block: first}})
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckGenesis(l, testGenesis(t, 2)); errors.Is(err, ErrOtherGenesis) != test.other || !test.other && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
