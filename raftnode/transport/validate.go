package transport

import "go.etcd.io/raft/v3/raftpb"

// heartbeatContext is what etcd/raft puts into a heartbeat that confirms reads.
const heartbeatContext = 8

// Validate checks that m is a message that one member may send to another, in
// the shape that etcd/raft expects without checking. Local messages, forwarded
// proposals, snapshots and configuration changes are not sent by this version.
//
// Validate knows the message alone. What the receiver's log, term and role say about
// the message is judged by package raftnode (admit.go).
func Validate(m *raftpb.Message) error {
	t := m.GetType()
	if m.GetFrom() == 0 || m.GetTo() == 0 {
		return malformed("%s without sender or receiver", t)
	}
	entries, context := len(m.GetEntries()), len(m.GetContext())
	switch t {
	case raftpb.MsgReadIndex:
		// The only one that carries no term: it asks whoever leads.
		if m.GetTerm() != 0 {
			return malformed("%s with term %d", t, m.GetTerm())
		}
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgTimeoutNow, raftpb.MsgReadIndexResp:
		if m.GetTerm() == 0 {
			return malformed("%s without term", t)
		}
	default:
		return malformed("message type %d is not sent between nodes", int32(t))
	}
	switch t {
	case raftpb.MsgApp:
		return validateAppend(m)
	case raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
		if entries != 1 || len(m.GetEntries()[0].GetData()) == 0 {
			return malformed("%s with %d entries instead of one request id", t, entries)
		}
		return nil
	case raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp:
		if context != 0 && context != heartbeatContext {
			return malformed("%s with a context of %d bytes", t, context)
		}
	}
	if entries != 0 {
		return malformed("%s with %d entries", t, entries)
	}
	return nil
}

// validateAppend checks that entries continue each other and (index, log term).
func validateAppend(m *raftpb.Message) error {
	index, term := m.GetIndex(), m.GetLogTerm()
	if index > 1<<63 {
		return malformed("append behind index %d", index)
	}
	for _, e := range m.GetEntries() {
		index++
		if e.GetIndex() != index {
			return malformed("append has entry %d where %d is due", e.GetIndex(), index)
		}
		if e.GetTerm() < term || e.GetTerm() > m.GetTerm() || e.GetTerm() == 0 {
			return malformed("append of term %d has entry %d of term %d behind term %d", m.GetTerm(), index, e.GetTerm(), term)
		}
		if e.GetType() != raftpb.EntryNormal {
			return malformed("entry %d is a configuration change", index)
		}
		term = e.GetTerm()
	}
	return nil
}
