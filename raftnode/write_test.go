package raftnode

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// TestMergeRecords: works that continue each other are one record, a work that replaces entries
// begins another one, and Raft's own slices stay as they are.
func TestMergeRecords(t *testing.T) {
	t.Parallel()
	work := func(sync bool, ents ...*raftpb.Entry) writeItem {
		return writeItem{work: &AppendWork{Entries: ents, NeedsSync: sync}}
	}
	log := []*raftpb.Entry{entry(1, 2, "a"), entry(1, 3, "b"), entry(1, 4, "c")}
	items := []writeItem{work(false, log[:1]...), work(true, entry(1, 3, "b")), work(false, entry(1, 4, "c")), work(false, entry(2, 3, "x"))}
	// Raft's slice has room behind its end, and something of Raft's lies there.
	items[0].work.Entries = log[:1:3]
	records, sync := mergeRecords(nil, 1, items)
	if len(records) != 2 || !sync || len(records[0].Entries) != 3 || len(records[1].Entries) != 1 {
		t.Fatalf("records %+v, sync %t; want two of 3 and 1 entries, with a sync", records, sync)
	}
	for i, data := range []string{"a", "b", "c"} {
		if got := string(records[0].Entries[i].GetData()); got != data {
			t.Errorf("entry %d of the first record is %q, want %q", i, got, data)
		}
	}
	if log[1] == items[1].work.Entries[0] || log[2] == items[2].work.Entries[0] {
		t.Error("an entry was written into a slice of Raft's")
	}
	if _, sync := mergeRecords(nil, 1, []writeItem{work(false, log[0]), {mark: &wal.Mark{Index: 1}}}); sync {
		t.Error("a sync for a mark: nobody relies on one")
	}
	note := func(slot uint8) writeItem {
		return writeItem{note: &wal.Note{Slot: slot}, done: func(error) {}}
	}
	if records, sync := mergeRecords(nil, 1, []writeItem{note(1), note(2)}); !sync || len(records) != 2 || records[1].Note.Slot != 2 {
		t.Errorf("records %+v, sync %t; want one for each note, with a sync", records, sync)
	}
}
