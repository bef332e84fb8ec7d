package wal

import "go.etcd.io/raft/v3/raftpb"

// Record is what one group wants written by one Append. Its parts are written,
// and after a crash recovered, in the order Entries, HardState, Mark, Note; all
// records of one Append are recovered together or not at all.
//
// The log keeps the entries in its cache, so neither they nor their Data may be
// changed afterwards.
type Record struct {
	Group uint64
	// HardState replaces the group's; its Commit must not exceed the last index.
	HardState *raftpb.HardState
	// Entries must be contiguous. The first may lie at or below the last index,
	// if it lies above mark and commit index: then it and everything behind it is
	// replaced.
	Entries []*raftpb.Entry
	// Mark replaces the group's and must not lie below it. A mark above the last
	// index discards all entries: the log continues behind the mark.
	Mark *Mark
	// Restore makes the mark, which must lie above the former one and above the commit index, the end
	// of the log: all entries are discarded, also those behind the mark. Such a record has no Entries
	// and no HardState.
	Restore bool
	Note    *Note
}

// Mark is a group's position in the state machine: everything up to and
// including Index is durable there, so the log may drop it.
type Mark struct {
	Index, Term uint64
	// ConfState is the membership at Index, at most MaxConfStateIDs ids; nil
	// is kept as nil.
	ConfState *raftpb.ConfState
	// Meta is the state machine's own summary at Index, at most MaxMetaSize bytes.
	Meta []byte
}

// Note is a small durable value beside the Raft log, such as the newest size a
// replica has cosigned. Each group has 256 slots; a Note replaces what its slot
// held, and empty Data clears it.
type Note struct {
	Slot uint8
	Data []byte // at most MaxNoteSize bytes
}

// Limits of what a record may hold, in bytes or ids.
const (
	MaxEntrySize    = 64<<20 - 1024
	MaxNoteSize     = 64 << 10
	MaxMetaSize     = 64 << 10
	MaxConfStateIDs = 1024
)
