package sim

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/wal"
)

func hashOf(data []byte) uint64 {
	return uint64(len(data))<<32 | uint64(crc32.Checksum(data, castagnoli))
}

func raftEntries(entries []*raftpb.Entry) []check.RaftEntry {
	out := make([]check.RaftEntry, len(entries))
	for i, e := range entries {
		out[i] = check.RaftEntry{Index: e.GetIndex(), Term: e.GetTerm(), Hash: hashOf(raftnode.BlockOf(e))}
	}
	return out
}

// traceStart tells the checker what was found on the disk.
func (m *member) traceStart() {
	s := m.driver.Status().State
	m.state, m.commit = s, s.Commit
	vote := uint64(0)
	hs, _, err := m.log.InitialState()
	if err == nil && hs.GetTerm() == s.Term {
		vote = hs.GetVote()
	}
	first, err1 := m.log.FirstIndex()
	last, err2 := m.log.LastIndex()
	baseTerm, err3 := m.log.Term(first - 1)
	var entries []*raftpb.Entry
	var err4 error
	if last >= first {
		entries, err4 = m.log.Entries(first, last+1, math.MaxUint64)
	}
	if err := errors.CombineErrors(errors.CombineErrors(err, err1), errors.CombineErrors(err2, errors.CombineErrors(err3, err4))); err != nil {
		m.g.fail("refused", 0, "node %d cannot read its own log: %v", m.n.id, err)
		return
	}
	m.g.raft.Restarted(m.n.id, s.Term, vote, first-1, baseTerm, raftEntries(entries), s.Commit, m.applied)
	m.w.trace.begin('u', m.n.id)
	m.w.trace.bytes(binary.BigEndian.AppendUint64(nil, s.Term))
}

// traceDurable tells the checker of its ledger that a record is on the disk for good.
func (p *process) traceDurable(r *wal.Record) {
	raft := p.w.groups[r.Group-1].raft
	if r.Restore {
		raft.Durable(p.n.id, r.Mark.Index, r.Mark.Term)
	}
	if k := len(r.Entries); k > 0 {
		raft.Durable(p.n.id, r.Entries[k-1].GetIndex(), r.Entries[k-1].GetTerm())
	}
	if hs := r.HardState; hs.GetVote() != 0 {
		raft.Voted(p.n.id, hs.GetTerm(), hs.GetVote())
	}
}
