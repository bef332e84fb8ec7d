package wal

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// hardState is raftpb.HardState by value.
type hardState struct{ term, vote, commit uint64 }

// op is one frame's content: what Append is about to write, or what recovery read.
type op struct {
	typ    frameType
	group  uint64
	offset int64 // of the frame in its segment

	// entry: index, term, type and the term of the entry before; base: index and term.
	index, term, prevTerm uint64
	entryType             raftpb.EntryType
	data                  []byte        // entry or note; when read, valid until the next frame
	entry                 *raftpb.Entry // what Append was given, for the cache

	hs   hardState
	mark *Mark
	slot uint8
}

const (
	entryPrefixSize   = 32
	hardStateSize     = 24
	markPrefixSize    = 32
	notePrefixSize    = 8
	baseSize          = 16
	markHasConfState  = 1 << 0
	markConfAutoLeave = 1 << 1
)

// payloadSize returns the length that appendPayload will add.
func (o *op) payloadSize() int {
	switch o.typ {
	case frameEntry:
		return entryPrefixSize + len(o.data)
	case frameHardState:
		return hardStateSize
	case frameMark:
		return markPrefixSize + 8*confStateIDs(o.mark.ConfState) + len(o.mark.Meta)
	case frameNote:
		return notePrefixSize + len(o.data)
	case frameBase:
		return baseSize
	}
	return 0
}

func appendU64(dst []byte, vs ...uint64) []byte {
	for _, v := range vs {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	return dst
}

func (o *op) appendPayload(dst []byte) []byte {
	switch o.typ {
	case frameEntry:
		dst = appendU64(dst, o.index, o.term, o.prevTerm)
		dst = append(dst, byte(o.entryType), 0, 0, 0, 0, 0, 0, 0)
		return append(dst, o.data...)
	case frameHardState:
		return appendU64(dst, o.hs.term, o.hs.vote, o.hs.commit)
	case frameMark:
		return appendMark(dst, o.mark)
	case frameNote:
		dst = append(dst, o.slot, 0, 0, 0, 0, 0, 0, 0)
		return append(dst, o.data...)
	case frameBase:
		return appendU64(dst, o.index, o.term)
	}
	return dst
}

func appendMark(dst []byte, m *Mark) []byte {
	var flags byte
	cs := m.ConfState
	if cs != nil {
		flags |= markHasConfState
		if cs.GetAutoLeave() {
			flags |= markConfAutoLeave
		}
	}
	dst = appendU64(dst, m.Index, m.Term)
	dst = append(dst, flags, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.Meta)))
	lists := confStateLists(cs)
	for _, ids := range lists {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(ids)))
	}
	for _, ids := range lists {
		dst = appendU64(dst, ids...)
	}
	return append(dst, m.Meta...)
}

func confStateLists(cs *raftpb.ConfState) [4][]uint64 {
	return [4][]uint64{cs.GetVoters(), cs.GetLearners(), cs.GetVotersOutgoing(), cs.GetLearnersNext()}
}

func confStateIDs(cs *raftpb.ConfState) (n int) {
	for _, ids := range confStateLists(cs) {
		n += len(ids)
	}
	return n
}

// parsePayload is the inverse of appendPayload. The reason says what is illegal.
func parsePayload(typ frameType, group uint64, b []byte) (o op, reason string) {
	o = op{typ: typ, group: group}
	u64 := binary.BigEndian.Uint64
	switch typ {
	case frameEntry:
		if len(b) < entryPrefixSize {
			return o, fmt.Sprintf("entry payload has %d bytes", len(b))
		}
		o.index, o.term, o.prevTerm = u64(b), u64(b[8:]), u64(b[16:])
		o.entryType = raftpb.EntryType(b[24])
		if kind := u64(b[24:]); kind&(1<<56-1) != 0 || kind>>56 > uint64(raftpb.EntryConfChangeV2) {
			return o, fmt.Sprintf("entry has unknown type %#x", kind)
		}
		o.data = b[entryPrefixSize:]
	case frameHardState:
		if len(b) != hardStateSize {
			return o, fmt.Sprintf("hard state payload has %d bytes", len(b))
		}
		o.hs = hardState{u64(b), u64(b[8:]), u64(b[16:])}
	case frameMark:
		o.mark, reason = parseMark(b)
	case frameNote:
		if len(b) < notePrefixSize || len(b) > notePrefixSize+MaxNoteSize {
			return o, fmt.Sprintf("note payload has %d bytes", len(b))
		}
		if u64(b)&(1<<56-1) != 0 {
			return o, "note has reserved bits set"
		}
		o.slot, o.data = b[0], b[notePrefixSize:]
	case frameBase:
		if len(b) != baseSize {
			return o, fmt.Sprintf("base payload has %d bytes", len(b))
		}
		o.index, o.term = u64(b), u64(b[8:])
	case frameMarker:
		if len(b) != 0 || group != 0 {
			return o, "marker has content"
		}
	}
	return o, reason
}

func parseMark(b []byte) (*Mark, string) {
	if len(b) < markPrefixSize {
		return nil, fmt.Sprintf("mark payload has %d bytes", len(b))
	}
	m := &Mark{Index: binary.BigEndian.Uint64(b), Term: binary.BigEndian.Uint64(b[8:])}
	flags, metaLen := b[16], binary.BigEndian.Uint32(b[20:])
	var counts [4]int
	total := 0
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(b[24+2*i:]))
		total += counts[i]
	}
	switch {
	case flags&^(markHasConfState|markConfAutoLeave) != 0 || b[17]|b[18]|b[19] != 0:
		return nil, "mark has reserved bits set"
	case flags&markHasConfState == 0 && (total > 0 || flags != 0):
		return nil, "mark has members but no membership"
	case total > MaxConfStateIDs || metaLen > MaxMetaSize:
		return nil, fmt.Sprintf("mark has %d member ids and %d bytes of summary", total, metaLen)
	case len(b) != markPrefixSize+8*total+int(metaLen):
		return nil, fmt.Sprintf("mark payload has %d bytes", len(b))
	}
	b = b[markPrefixSize:]
	if flags&markHasConfState != 0 {
		var lists [4][]uint64
		for i, n := range counts {
			for range n {
				lists[i] = append(lists[i], binary.BigEndian.Uint64(b))
				b = b[8:]
			}
		}
		m.ConfState = &raftpb.ConfState{Voters: lists[0], Learners: lists[1], VotersOutgoing: lists[2], LearnersNext: lists[3]}
		if flags&markConfAutoLeave != 0 {
			m.ConfState.AutoLeave = new(true)
		}
	}
	if len(b) > 0 {
		m.Meta = append([]byte(nil), b...)
	}
	return m, ""
}

// clone returns a copy that shares nothing with m.
func (m Mark) clone() Mark {
	if cs := m.ConfState; cs != nil {
		lists := confStateLists(cs)
		for i := range lists {
			lists[i] = append([]uint64(nil), lists[i]...)
		}
		m.ConfState = &raftpb.ConfState{Voters: lists[0], Learners: lists[1], VotersOutgoing: lists[2], LearnersNext: lists[3]}
		if cs.GetAutoLeave() {
			m.ConfState.AutoLeave = new(true)
		}
	}
	m.Meta = append([]byte(nil), m.Meta...)
	return m
}
