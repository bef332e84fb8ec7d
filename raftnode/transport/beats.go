package transport

import (
	"cmp"
	"encoding/binary"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
)

// maxBeats bounds the beats of one frame.
const maxBeats = 1 << 14

// Beat is a heartbeat without a context, or the answer to one. Whoever sends or receives it names
// its group, its sender and its receiver.
type Beat struct {
	Term   uint64 // not 0
	Commit uint64 // 0 in an answer
	Answer bool
}

// BeatOf returns m as a Beat. ok is false for every message that holds more than a Beat does: a
// heartbeat that confirms reads has a context.
func BeatOf(m *raftpb.Message) (b Beat, ok bool) {
	t := m.GetType()
	b = Beat{Term: m.GetTerm(), Commit: m.GetCommit(), Answer: t == raftpb.MsgHeartbeatResp}
	ok = (t == raftpb.MsgHeartbeat || b.Answer && b.Commit == 0) &&
		len(m.GetContext()) == 0 && len(m.GetEntries()) == 0 && !m.GetReject() &&
		m.GetLogTerm() == 0 && m.GetIndex() == 0 && m.GetRejectHint() == 0
	return b, ok
}

// Message is the message that BeatOf makes b of.
func (b Beat) Message(from, to NodeID) *raftpb.Message {
	m := &message{typ: raftpb.MsgHeartbeat, from: from, to: to, term: b.Term, commit: b.Commit}
	if b.Answer {
		m.typ = raftpb.MsgHeartbeatResp
	}
	return m.proto()
}

// beat is a Beat of one group. Its frame says whether it is an answer, and its connection knows
// sender and receiver.
type beat struct {
	group uint64
	Beat
}

// round gathers the beats of one kind for one peer until they leave together.
//
// Invariants: the groups ascend, and each occurs once. So a round is bounded by the number of
// groups of this node, and a newer beat takes the place of an older one that has not left.
type round []beat

func (r round) put(b beat) round {
	i, found := len(r), false
	if i > 0 && b.group <= r[i-1].group { // a pass over all groups mostly appends
		i, found = slices.BinarySearchFunc(r, b.group, func(x beat, group uint64) int { return cmp.Compare(x.group, group) })
	}
	if found {
		r[i] = b
		return r
	}
	return slices.Insert(r, i, b)
}

// appendBeatsFrame appends a whole frame of at least one beat and at most maxBeats.
func appendBeatsFrame(dst []byte, kind frameKind, r round) []byte {
	start := len(dst)
	dst = appendHeader(dst, kind, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r)))
	before := uint64(0)
	for _, b := range r {
		dst = binary.AppendUvarint(dst, b.group-before)
		dst = binary.AppendUvarint(dst, b.Term)
		if kind == kindBeats {
			dst = binary.AppendUvarint(dst, b.Commit)
		}
		before = b.group
	}
	binary.LittleEndian.PutUint32(dst[start+16:], uint32(len(dst)-start-headerSize))
	sealFrame(dst[start:])
	return dst
}

// parseBeats decodes the payload of a beats frame.
func parseBeats(kind frameKind, b []byte) (round, error) {
	fields := 3
	if kind == kindBeatAnswers {
		fields = 2
	}
	if len(b) < 4 {
		return nil, malformed("beats frame of %d bytes", len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	b = b[4:]
	if n == 0 || n > maxBeats || int(n)*fields > len(b) {
		return nil, malformed("%d beats in %d bytes, allowed are 1 to %d", n, len(b), maxBeats)
	}
	out := make(round, n)
	for i := range out {
		var v [3]uint64
		for f := range fields {
			size := 0
			v[f], size = binary.Uvarint(b)
			// A last byte of 0 adds nothing: the number has a shorter form.
			if size <= 0 || size > 1 && b[size-1] == 0 {
				return nil, malformed("beat %d of %d has a number that is cut off, too large or not in its shortest form", i, n)
			}
			b = b[size:]
		}
		x := beat{group: v[0], Beat: Beat{Term: v[1], Commit: v[2], Answer: kind == kindBeatAnswers}}
		if i > 0 {
			if x.group += out[i-1].group; x.group <= out[i-1].group {
				return nil, malformed("beat %d of %d: its group does not follow group %d", i, n, out[i-1].group)
			}
		}
		if x.Term == 0 {
			return nil, malformed("beat of group %d without term", x.group)
		}
		out[i] = x
	}
	if len(b) != 0 {
		return nil, malformed("%d bytes behind the last beat", len(b))
	}
	return out, nil
}

// handleBeats delivers a frame of beats, and lets the answers of the groups leave together.
func (t *Transport) handleBeats(kind frameKind, payload []byte, p *peer) error {
	beats, err := parseBeats(kind, payload)
	if err != nil {
		return err
	}
	handlers := *t.handlers.Load()
	if !t.cfg.Membership.Formed() {
		handlers = nil
	}
	for _, b := range beats {
		if h := handlers[b.group]; h != nil {
			h.HandleBeat(b.group, p.id, b.Beat)
		} else {
			p.in[classControl.index()].dropped.Add(1)
		}
	}
	p.out[classControl.index()].release(false)
	return nil
}
