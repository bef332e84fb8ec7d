// Package wal is the Raft log of a node: hard states and entries of all its Raft
// groups, with their marks and notes, in one segmented, append-only,
// group-committing log. raftnode's append goroutine writes it; the Raft loop of
// each group reads it through Group, which implements raft.Storage.
//
// # What it guarantees
//
// Append writes any number of groups' records with one write and, when asked,
// one fdatasync. After a crash at any moment, Open finds exactly the records of
// the first n calls of Append, for some n that includes every call that was
// synced: a call is never recovered in part, and none is skipped.
//
// Damage is told apart from a crash. Every frame says up to which offset the log
// was already synced when it was written. A bad frame that no readable frame
// behind it claims to be synced is a torn tail: it had not been acknowledged to
// anybody, and Open cuts it and says so through Options.Logf. A bad frame that a
// later one does claim is corruption: Open returns a *CorruptionError with file
// and offset and changes nothing, because a node that forgets what it promised to
// Raft can make a cluster lose committed entries. What is read later is checked
// again.
//
// A failed write or sync is final: the error matches ErrFatal, and so does
// everything after it. A failed fsync may have dropped the dirty pages while
// marking them clean, so retrying it proves nothing; Open therefore writes the
// part of the tail that nothing confirms again before it relies on it.
//
// # What it assumes
//
// The disk keeps what fsync and fdatasync reported durable, a rename of a synced
// file is atomic, a directory's entries are durable after its fsync, and a power cut
// during a write leaves the rest of that block alone. It does not assume that
// unsynced bytes persist in order, whole, or at all. The last
// group commit of a log that was not closed is confirmed by no frame: a flipped
// bit there cannot be told from a torn write and is cut. docs/format-wal.md has
// the bytes and compares these assumptions with those of etcd and SQLite.
//
// # Smallest use
//
//	l, err := wal.Open(wal.Options{Dir: dir, Cluster: c, Node: n, Logf: log.Printf})
//	...
//	if err := l.Bootstrap(group, wal.Mark{ConfState: members}); err != nil { ... }
//	rn, err := raft.NewRawNode(&raft.Config{Storage: l.Group(group), ...})
//	...
//	err = l.Append([]wal.Record{{Group: group, Entries: entries, HardState: hs}}, true)
package wal
