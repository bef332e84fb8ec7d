package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"

	"go.etcd.io/raft/v3/raftpb"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// trace hashes what happens, in order: the fingerprint of a run.
type trace struct {
	now    func() int64
	sum    hash.Hash
	buf    []byte
	events int
}

func newTrace(now func() int64) *trace {
	return &trace{now: now, sum: sha256.New(), buf: make([]byte, 0, 8<<10)}
}

func (t *trace) begin(what byte, node uint64) {
	if len(t.buf) > 4<<10 {
		t.sum.Write(t.buf)
		t.buf = t.buf[:0]
	}
	t.events++
	t.buf = append(t.buf, what, byte(node))
	t.buf = binary.LittleEndian.AppendUint64(t.buf, uint64(t.now()))
}

func (t *trace) number(n uint64) { t.buf = binary.LittleEndian.AppendUint64(t.buf, n) }

func (t *trace) bytes(b []byte) {
	t.buf = binary.LittleEndian.AppendUint32(t.buf, uint32(len(b)))
	t.buf = binary.LittleEndian.AppendUint32(t.buf, crc32.Checksum(b, castagnoli))
}

// disk records an operation on a node's disk.
func (t *trace) disk(node uint64, op byte, name string, off int64, data []byte) {
	t.begin(op, node)
	t.buf = append(t.buf, name...)
	t.number(uint64(off))
	t.bytes(data)
}

// message records that a message was sent ('>') or delivered ('<').
func (t *trace) message(dir byte, g *group, m *raftpb.Message) {
	t.begin(dir, m.GetFrom())
	t.buf = append(t.buf, byte(g.id), byte(m.GetTo()), byte(m.GetType()))
	reject := uint64(0)
	if m.GetReject() {
		reject = 1
	}
	for _, n := range [...]uint64{m.GetTerm(), m.GetLogTerm(), m.GetIndex(), m.GetCommit(), m.GetRejectHint()<<1 | reject} {
		t.number(n)
	}
	t.buf = append(t.buf, m.GetContext()...)
	for _, e := range m.GetEntries() {
		t.number(e.GetTerm())
		t.number(e.GetIndex())
		t.bytes(e.GetData())
	}
}

// app records a message between sealers.
func (t *trace) app(dir byte, g *group, from, to uint64, payload []byte) {
	t.begin(dir, from)
	t.buf = append(t.buf, byte(g.id), byte(to))
	t.bytes(payload)
}

func (t *trace) hash() (h [32]byte) {
	t.sum.Write(t.buf)
	t.buf = t.buf[:0]
	t.sum.Sum(h[:0])
	return h
}
