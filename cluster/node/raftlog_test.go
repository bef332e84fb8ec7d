package node

import (
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// TestRaftLogThatLostOneEntry: a Raft log that was cut by a single entry which the ledger holds has
// forgotten an acknowledgement. The node does not start with such a log. With a log that ends
// exactly where the ledger does the node starts.
func TestRaftLogThatLostOneEntry(t *testing.T) {
	const applied = 5
	store := memstore.New(memstore.Options{})
	config := ledger.Config{Group: group, Origin: "example.org/ledger"}
	l, err := ledger.Open(store, config)
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= applied; i++ {
		if _, err := l.Apply(i, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = ledger.Open(store.Reopen(), config); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for last, lost := range map[uint64]bool{applied - 2: true, applied - 1: true, applied: false, applied + 1: false} {
		log, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "wal", Cluster: 1, Node: 1})
		if err != nil {
			t.Fatal(err)
		}
		var entries []*raftpb.Entry
		for i := uint64(1); i <= last; i++ {
			entries = append(entries, &raftpb.Entry{Index: new(i), Term: new(uint64(1))})
		}
		if err := log.Append([]wal.Record{{Group: group, Entries: entries}}, true); err != nil {
			t.Fatal(err)
		}
		n := &node{wal: log, ledger: l, dir: &dataDir{path: "data"}}
		if err := n.checkRaftLog(); errors.Is(err, ErrRaftLogLost) != lost || !lost && err != nil {
			t.Errorf("the Raft log ends at %d, the ledger at %d: %v, want ErrRaftLogLost: %t", last, applied, err, lost)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}
}
