package transport

import (
	"cmp"
	"encoding/binary"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
)

// maxBeats bounds the beats of one frame.
const maxBeats = 1 << 14

// beat is a heartbeat without a context, or the answer to one, of one group. Its frame has the
// type, and its connection sender and receiver.
type beat struct {
	group, term uint64
	commit      uint64 // 0 in an answer
}

// beatOf returns m as a beat and the frame that carries it. ok is false for every message that
// holds more than a beat does: a heartbeat that confirms reads has a context, and leaves at once.
func beatOf(group uint64, m *raftpb.Message) (b beat, kind frameKind, ok bool) {
	switch m.GetType() {
	case raftpb.MsgHeartbeat:
		kind = kindBeats
	case raftpb.MsgHeartbeatResp:
		kind = kindBeatAnswers
	default:
		return beat{}, 0, false
	}
	b = beat{group: group, term: m.GetTerm(), commit: m.GetCommit()}
	ok = len(m.GetContext()) == 0 && len(m.GetEntries()) == 0 && !m.GetReject() &&
		m.GetLogTerm() == 0 && m.GetIndex() == 0 && m.GetRejectHint() == 0 && (kind == kindBeats || b.commit == 0)
	return b, kind, ok
}

// message is the message that beatOf has made b of.
func (b beat) message(kind frameKind, from, to NodeID) *raftpb.Message {
	m := &message{typ: raftpb.MsgHeartbeat, from: from, to: to, term: b.term, commit: b.commit}
	if kind == kindBeatAnswers {
		m.typ = raftpb.MsgHeartbeatResp
	}
	return m.proto()
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
		dst = binary.AppendUvarint(dst, b.term)
		if kind == kindBeats {
			dst = binary.AppendUvarint(dst, b.commit)
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
		x := beat{group: v[0], term: v[1], commit: v[2]}
		if i > 0 {
			if x.group += out[i-1].group; x.group <= out[i-1].group {
				return nil, malformed("beat %d of %d: its group does not follow group %d", i, n, out[i-1].group)
			}
		}
		if x.term == 0 {
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
			h.HandleBeat(b.group, p.id, b.message(kind, p.id, t.cfg.Self))
		} else {
			p.in[classControl.index()].dropped.Add(1)
		}
	}
	p.out[classControl.index()].release()
	return nil
}
