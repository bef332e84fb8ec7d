package raftnode

import (
	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// startStorage corrects what a log says at a start by what is known besides.
//
// The commit index is written without a sync, so after a power failure the
// durable one can be lower than what has been applied. Raft would refuse to start
// so; but what was applied is committed, and saying so is safe. Likewise the term
// is at least that of the last entry.
type startStorage struct {
	raft.Storage
	hardState *raftpb.HardState
	confState *raftpb.ConfState
}

func newStartStorage(s raft.Storage, applied uint64) (*startStorage, error) {
	hs, cs, err := s.InitialState()
	if err != nil {
		return nil, errors.Wrap(err, "read initial state")
	}
	first, err := s.FirstIndex()
	if err != nil {
		return nil, errors.Wrap(err, "read first index")
	}
	last, err := s.LastIndex()
	if err != nil {
		return nil, errors.Wrap(err, "read last index")
	}
	lastTerm, err := s.Term(last)
	if err != nil {
		return nil, errors.Wrapf(err, "read term of entry %d", last)
	}
	commit := max(hs.GetCommit(), applied, first-1)
	if commit > last {
		return nil, errors.Newf("log ends at index %d but %d was committed: the log has lost entries that it had promised to keep", last, commit)
	}
	if len(cs.GetVotersOutgoing()) > 0 || len(cs.GetLearnersNext()) > 0 {
		return nil, errors.Newf("the members are those of a joint configuration, %v, which no program of this kind makes", cs)
	}
	if applied+1 < first {
		return nil, errors.Newf("log starts at index %d but the state machine needs %d", first, applied+1)
	}
	term, vote := hs.GetTerm(), hs.GetVote()
	if term < lastTerm {
		term, vote = lastTerm, raft.None
	}
	out := &startStorage{Storage: s, confState: cs}
	out.hardState = &raftpb.HardState{Term: &term, Vote: &vote, Commit: &commit}
	return out, nil
}

// InitialState implements raft.Storage.
func (s *startStorage) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return s.hardState, s.confState, nil
}
