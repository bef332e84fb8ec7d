package sim

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/raftnode/wal"
)

func hashOf(data []byte) uint64 {
	return uint64(len(data))<<32 | uint64(crc32.Checksum(data, castagnoli))
}

func raftEntries(entries []*raftpb.Entry) []check.RaftEntry {
	out := make([]check.RaftEntry, len(entries))
	for i, e := range entries {
		out[i] = check.RaftEntry{Index: e.GetIndex(), Term: e.GetTerm(), Hash: hashOf(e.GetData())}
	}
	return out
}

// traceStart tells the checker what was found on the disk.
func (p *process) traceStart() {
	s := p.driver.Status().State
	p.state, p.commit = s, s.Commit
	vote := uint64(0)
	hs, _, err := p.group.InitialState()
	if err == nil && hs.GetTerm() == s.Term {
		vote = hs.GetVote()
	}
	first, err1 := p.group.FirstIndex()
	last, err2 := p.group.LastIndex()
	baseTerm, err3 := p.group.Term(first - 1)
	var entries []*raftpb.Entry
	var err4 error
	if last >= first {
		entries, err4 = p.group.Entries(first, last+1, math.MaxUint64)
	}
	if err := errors.CombineErrors(errors.CombineErrors(err, err1), errors.CombineErrors(err2, errors.CombineErrors(err3, err4))); err != nil {
		p.w.fail("refused", 0, "node %d cannot read its own log: %v", p.n.id, err)
		return
	}
	p.w.raft.Restarted(p.n.id, s.Term, vote, first-1, baseTerm, raftEntries(entries), s.Commit, p.applied)
	p.w.trace.begin('u', p.n.id)
	p.w.trace.bytes(binary.BigEndian.AppendUint64(nil, s.Term))
}

// traceDurable tells the checker that a record is on the disk for good.
func (p *process) traceDurable(w *wal.Record) {
	if k := len(w.Entries); k > 0 {
		p.w.raft.Durable(p.n.id, w.Entries[k-1].GetIndex(), w.Entries[k-1].GetTerm())
	}
	if hs := w.HardState; hs.GetVote() != 0 {
		p.w.raft.Voted(p.n.id, hs.GetTerm(), hs.GetVote())
	}
}
