package replica

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// ContinueAt returns what the Raft log of a ledger begins with that has been restored up to a position:
// a mark there with the members of the group, and the position's term as the first. Nothing before
// the position is in the log. All members begin with the same position, so the log of each says that
// it is committed; a member that comes later takes the blocks from the others.
//
// The records go into one Append, after the ledger is durable up to the position.
func ContinueAt(group uint64, voters []uint64, at ledger.Summary) []wal.Record {
	term, commit := at.RaftTerm, at.RaftIndex
	return []wal.Record{
		{Group: group, Mark: &wal.Mark{Index: at.RaftIndex, Term: at.RaftTerm, ConfState: &raftpb.ConfState{Voters: voters}, Meta: at.Marshal()}},
		{Group: group, HardState: &raftpb.HardState{Term: &term, Commit: &commit}},
	}
}
