package raftnode

import (
	"encoding/binary"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3"
)

// reads batches linearizable reads: one request to the leader is outstanding, and
// everybody who arrives meanwhile joins the next one. Raft drops a request
// silently when there is no leader or the leader changes, so it is repeated with
// a new number; an answer to any number of the current batch is good, since all
// its members had arrived before the first of them was issued.
type reads struct {
	incarnation uint64
	// last is the number of the newest request, first that of the oldest of the
	// current batch. Numbers start at 1.
	first, last uint64
	current     []pendingRead // the batch that is outstanding; empty when none
	next        []pendingRead // the batch that waits
	retryAt     uint64        // tick at which the current batch is asked again
	again       bool          // ask again at the next opportunity
}

type pendingRead struct {
	tag      uint64
	deadline uint64 // tick
}

// ReadIndex starts a linearizable read under a tag of the caller's. Exactly one
// Effects.Reads entry with the tag follows. Works on every member: a follower
// asks the leader.
func (c *Core) ReadIndex(tag uint64) {
	c.reads.next = append(c.reads.next, pendingRead{tag: tag, deadline: c.now + uint64(c.cfg.ReadTimeoutTicks)})
	c.issueRead()
}

// retry asks for the current batch to be issued again, after a change of leader.
func (r *reads) retry() { r.again = len(r.current) > 0 }

// confirm takes an answer of Raft.
func (r *reads) confirm(out []ReadResult, rs *raft.ReadState) []ReadResult {
	incarnation, number, ok := parseReadContext(rs.RequestCtx)
	if !ok || incarnation != r.incarnation || len(r.current) == 0 || number < r.first || number > r.last {
		return out // an answer to an earlier batch, or to an earlier process
	}
	for _, p := range r.current {
		out = append(out, ReadResult{Tag: p.tag, Index: rs.Index})
	}
	r.current, r.again = nil, false
	return out
}

// issueRead sends the request that is due, if any. A leader asks only once it serves:
// before, it does not know what its predecessors have committed, and Raft, alone in its
// configuration, would answer with the commit index that it found on disk.
func (c *Core) issueRead() {
	r := &c.reads
	if len(r.current) == 0 {
		if len(r.next) == 0 {
			return
		}
		r.current, r.next = r.next, nil
		r.first = r.last + 1
	} else if !r.again {
		return
	}
	// Asked of Raft: state is what its newest Ready said, and it may lead since then.
	if now := c.rn.BasicStatus(); now.RaftState == raft.StateLeader && c.appliedTerm != now.GetTerm() {
		r.again = true
		return
	}
	r.again = false
	r.last++
	r.retryAt = c.now + uint64(c.cfg.HeartbeatTicks)
	c.rn.ReadIndex(appendReadContext(nil, r.incarnation, r.last))
}

// tickReads repeats an unanswered request and gives up reads past their deadline.
func (c *Core) tickReads() {
	r := &c.reads
	r.current = c.expireReads(r.current)
	r.next = c.expireReads(r.next)
	if len(r.current) > 0 && c.now >= r.retryAt {
		r.again = true
	}
	c.issueRead()
}

func (c *Core) expireReads(list []pendingRead) []pendingRead {
	n := 0
	for n < len(list) && list[n].deadline <= c.now {
		c.readResults = append(c.readResults, ReadResult{
			Tag: list[n].tag, Err: errors.Wrapf(ErrReadTimeout, "after %d ticks", c.cfg.ReadTimeoutTicks),
		})
		n++
	}
	return list[n:]
}

// readContextSize: incarnation u64 BE ‖ number u64 BE.
const readContextSize = 16

func appendReadContext(dst []byte, incarnation, number uint64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, incarnation)
	return binary.BigEndian.AppendUint64(dst, number)
}

func parseReadContext(b []byte) (incarnation, number uint64, ok bool) {
	if len(b) != readContextSize {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), true
}
