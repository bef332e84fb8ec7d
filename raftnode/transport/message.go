package transport

import (
	"encoding/binary"
	"hash/crc32"

	"go.etcd.io/raft/v3/raftpb"
)

const (
	messageSize = 64
	entrySize   = 20
	// maxContext is far above what Raft uses: 8 bytes in heartbeats, the word
	// "CampaignTransfer" in votes.
	maxContext = 1024

	flagReject = 1

	// changeBit of an entry's data length says that the members change at the entry.
	changeBit = 1 << 31
)

// messageLength is the payload length of m in bytes.
func messageLength(m *raftpb.Message) int {
	n := messageSize + len(m.GetContext())
	for _, e := range m.GetEntries() {
		n += entrySize + len(e.GetData())
	}
	return n
}

// classOf says which connection carries m.
func classOf(m *raftpb.Message) class {
	if m.GetType() == raftpb.MsgApp {
		return classBulk
	}
	return classControl
}

// appendMessageHead appends the fixed part and the context.
func appendMessageHead(dst []byte, m *raftpb.Message) []byte {
	flags := byte(0)
	if m.GetReject() {
		flags |= flagReject
	}
	dst = append(dst, byte(m.GetType()), flags)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(m.GetContext())))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.GetEntries())))
	dst = binary.LittleEndian.AppendUint64(dst, m.GetFrom())
	dst = binary.LittleEndian.AppendUint64(dst, m.GetTo())
	dst = binary.LittleEndian.AppendUint64(dst, m.GetTerm())
	dst = binary.LittleEndian.AppendUint64(dst, m.GetLogTerm())
	dst = binary.LittleEndian.AppendUint64(dst, m.GetIndex())
	dst = binary.LittleEndian.AppendUint64(dst, m.GetCommit())
	dst = binary.LittleEndian.AppendUint64(dst, m.GetRejectHint())
	return append(dst, m.GetContext()...)
}

func appendEntryHead(dst []byte, e *raftpb.Entry) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, e.GetTerm())
	dst = binary.LittleEndian.AppendUint64(dst, e.GetIndex())
	length := uint32(len(e.GetData()))
	if e.GetType() == raftpb.EntryConfChangeV2 {
		length |= changeBit
	}
	return binary.LittleEndian.AppendUint32(dst, length)
}

// appendRaftFrame appends a whole raft frame, contiguous.
func appendRaftFrame(dst []byte, group uint64, m *raftpb.Message) []byte {
	start := len(dst)
	dst = appendHeader(dst, kindRaft, group, messageLength(m))
	dst = appendMessageHead(dst, m)
	for _, e := range m.GetEntries() {
		dst = appendEntryHead(dst, e)
		dst = append(dst, e.GetData()...)
	}
	sealFrame(dst[start:])
	return dst
}

// raftFrameCRC computes the checksum of a raft frame without putting its data
// next to each other. head holds header and message head, entryHeads the heads of
// all entries.
func raftFrameCRC(head, entryHeads []byte, m *raftpb.Message) uint32 {
	crc := crc32.Checksum(head[:20], crcTable)
	crc = crc32.Update(crc, crcTable, head[headerSize:])
	for i, e := range m.GetEntries() {
		crc = crc32.Update(crc, crcTable, entryHeads[i*entrySize:(i+1)*entrySize])
		crc = crc32.Update(crc, crcTable, e.GetData())
	}
	return crc
}

// message is a raftpb.Message together with the scalars that it points at: one
// allocation instead of ten.
type message struct {
	raftpb.Message
	typ                                                raftpb.MessageType
	from, to, term, logTerm, index, commit, rejectHint uint64
	reject                                             bool
}

// proto lets the Message point at its scalars.
func (m *message) proto() *raftpb.Message {
	m.Type, m.From, m.To, m.Term, m.LogTerm = &m.typ, &m.from, &m.to, &m.term, &m.logTerm
	m.Index, m.Commit, m.RejectHint, m.Reject = &m.index, &m.commit, &m.rejectHint, &m.reject
	return &m.Message
}

// entry is likewise a raftpb.Entry with its scalars. The type of a normal entry stays nil.
type entry struct {
	raftpb.Entry
	term, index uint64
}

// parseMessage decodes and validates the payload of a raft frame. The result
// refers to b.
func parseMessage(b []byte) (*raftpb.Message, error) {
	if len(b) < messageSize {
		return nil, malformed("raft message of %d bytes is shorter than %d", len(b), messageSize)
	}
	m := &message{
		typ:        raftpb.MessageType(b[0]),
		reject:     b[1]&flagReject != 0,
		from:       binary.LittleEndian.Uint64(b[8:]),
		to:         binary.LittleEndian.Uint64(b[16:]),
		term:       binary.LittleEndian.Uint64(b[24:]),
		logTerm:    binary.LittleEndian.Uint64(b[32:]),
		index:      binary.LittleEndian.Uint64(b[40:]),
		commit:     binary.LittleEndian.Uint64(b[48:]),
		rejectHint: binary.LittleEndian.Uint64(b[56:]),
	}
	if b[1]&^flagReject != 0 {
		return nil, malformed("unknown message flags %#x", b[1])
	}
	contextLen := int(binary.LittleEndian.Uint16(b[2:]))
	entries := int64(binary.LittleEndian.Uint32(b[4:]))
	b = b[messageSize:]
	if contextLen > maxContext || contextLen > len(b) {
		return nil, malformed("context of %d bytes in a message with %d left", contextLen, len(b))
	}
	if contextLen > 0 {
		m.Context = b[:contextLen:contextLen]
	}
	b = b[contextLen:]
	if entries*entrySize > int64(len(b)) {
		return nil, malformed("%d entries cannot fit into %d bytes", entries, len(b))
	}
	if entries > 0 {
		slab := make([]entry, entries)
		m.Entries = make([]*raftpb.Entry, entries)
		for i := range slab {
			e := &slab[i]
			if len(b) < entrySize {
				return nil, malformed("entry %d of %d is cut off", i, entries)
			}
			e.term = binary.LittleEndian.Uint64(b)
			e.index = binary.LittleEndian.Uint64(b[8:])
			length := binary.LittleEndian.Uint32(b[16:])
			if length&changeBit != 0 {
				e.Type = raftpb.EntryConfChangeV2.Enum()
			}
			n := int64(length &^ changeBit)
			b = b[entrySize:]
			if n > int64(len(b)) {
				return nil, malformed("entry %d claims %d bytes of %d left", i, n, len(b))
			}
			if n > 0 {
				e.Data = b[:n:n]
			}
			b = b[n:]
			e.Term, e.Index = &e.term, &e.index
			m.Entries[i] = &e.Entry
		}
	}
	if len(b) != 0 {
		return nil, malformed("%d bytes behind the last entry", len(b))
	}
	out := m.proto()
	if err := unpack(out); err != nil {
		return nil, err
	}
	if err := Validate(out); err != nil {
		return nil, err
	}
	return out, nil
}
