package transport

import (
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// heartbeatContext is what etcd/raft puts into a heartbeat that confirms reads.
const heartbeatContext = 8

// Validate checks that m is a message that one member may send to another, in
// the shape that etcd/raft expects without checking. Local messages and forwarded
// proposals are not sent. A snapshot is a position, never a state.
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
	case raftpb.MsgSnap, raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgTimeoutNow, raftpb.MsgReadIndexResp:
		if m.GetTerm() == 0 {
			return malformed("%s without term", t)
		}
	default:
		return malformed("message type %d is not sent between nodes", int32(t))
	}
	if (t == raftpb.MsgSnap) != (m.Snapshot != nil) {
		return malformed("%s, snapshot: %t", t, m.Snapshot != nil)
	}
	switch t {
	case raftpb.MsgApp:
		return validateAppend(m)
	case raftpb.MsgSnap:
		if err := validateSnapshot(m); err != nil {
			return err
		}
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
		if t := e.GetType(); t != raftpb.EntryNormal && t != raftpb.EntryConfChangeV2 {
			return malformed("entry %d has type %d", index, int32(t))
		}
		term = e.GetTerm()
	}
	return nil
}

// maxSnapshot bounds a snapshot on the wire, and maxMembers the members that it names.
const (
	maxSnapshot = 16 << 10
	maxMembers  = 1024
)

// validateSnapshot checks that a snapshot is a position and names its members.
func validateSnapshot(m *raftpb.Message) error {
	meta, conf := m.Snapshot.GetMetadata(), m.Snapshot.GetMetadata().GetConfState()
	if meta.GetIndex() == 0 || meta.GetIndex() > 1<<62 || meta.GetTerm() == 0 || meta.GetTerm() > m.GetTerm() {
		return malformed("message of term %d has a snapshot at index %d of term %d", m.GetTerm(), meta.GetIndex(), meta.GetTerm())
	}
	if n := proto.Size(m.Snapshot); n > maxSnapshot {
		return malformed("snapshot of %d bytes", n)
	}
	if len(conf.GetVotersOutgoing()) > 0 || len(conf.GetLearnersNext()) > 0 || conf.GetAutoLeave() {
		return malformed("snapshot within a change of the members")
	}
	seen := map[uint64]bool{}
	for _, ids := range [][]uint64{conf.GetVoters(), conf.GetLearners()} {
		for _, id := range ids {
			if id == 0 || seen[id] || len(seen) == maxMembers {
				return malformed("snapshot names member %d twice, or too many", id)
			}
			seen[id] = true
		}
	}
	if len(conf.GetVoters()) == 0 {
		return malformed("snapshot without voters")
	}
	return nil
}

// A snapshot travels as the data of one entry, at its own position: pack and unpack exchange the two.

// pack returns m in the form in which it travels.
func pack(m *raftpb.Message) *raftpb.Message {
	if m.GetType() != raftpb.MsgSnap {
		return m
	}
	data, err := proto.Marshal(m.Snapshot)
	if err != nil {
		return m // Validate has looked at it; the receiver refuses it
	}
	meta := m.Snapshot.GetMetadata()
	return &raftpb.Message{
		Type: m.Type, From: m.From, To: m.To, Term: m.Term,
		Entries: []*raftpb.Entry{{Index: new(meta.GetIndex()), Term: new(meta.GetTerm()), Data: data}},
	}
}

// unpack undoes pack.
func unpack(m *raftpb.Message) error {
	if m.GetType() != raftpb.MsgSnap {
		return nil
	}
	if len(m.Entries) != 1 || len(m.Entries[0].GetData()) > maxSnapshot {
		return malformed("%s with %d entries instead of one snapshot", m.GetType(), len(m.Entries))
	}
	s := &raftpb.Snapshot{}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(m.Entries[0].GetData(), s); err != nil {
		return malformed("snapshot: %v", err)
	}
	m.Snapshot, m.Entries = s, nil
	return nil
}
