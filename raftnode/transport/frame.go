package transport

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/errors"
)

// MaxPayload is the largest payload of a frame on a bulk connection, and
// MaxControlPayload on a control connection, in bytes.
const (
	MaxPayload        = 16 << 20
	MaxControlPayload = 1 << 20
)

const (
	frameMagic   = 0x466e7263 // "crnF"
	frameVersion = 1
	headerSize   = 24
)

type frameKind uint8

const (
	kindHello frameKind = 1
	kindRaft  frameKind = 2
	kindApp   frameKind = 3
	kindClock frameKind = 4
	// Heartbeats without a context of all groups, and the answers to such: beats.go.
	kindBeats       frameKind = 5
	kindBeatAnswers frameKind = 6
)

// class is what a connection is for. Between a pair of nodes there are, in each direction, a
// control and a bulk connection. An inquiry ends after the answer to its hello.
type class uint8

const (
	classControl class = 1
	classBulk    class = 2
	classInquiry class = 3
)

func (c class) String() string {
	switch c {
	case classBulk:
		return "bulk"
	case classInquiry:
		return "inquiry"
	}
	return "control"
}

// index makes arrays of two out of control and bulk.
func (c class) index() int { return int(c) - 1 }

func (c class) maxPayload() int {
	if c == classBulk {
		return MaxPayload
	}
	return MaxControlPayload
}

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// ErrMalformed is matched by every error about bytes that are not a valid frame.
var ErrMalformed = errors.New("malformed frame")

func malformed(format string, args ...any) error {
	return errors.Mark(errors.Newf(format, args...), ErrMalformed)
}

type header struct {
	kind   frameKind
	group  uint64
	length int
	crc    uint32
	raw    [20]byte // what the checksum covers
}

// appendHeader appends a header whose checksum is still zero.
func appendHeader(dst []byte, kind frameKind, group uint64, length int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, frameMagic)
	dst = append(dst, frameVersion, byte(kind), 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, group)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(length))
	return binary.LittleEndian.AppendUint32(dst, 0)
}

// sealHeader puts the checksum into a header made by appendHeader.
func sealHeader(h []byte, crc uint32) { binary.LittleEndian.PutUint32(h[20:], crc) }

func parseHeader(b *[headerSize]byte, maxPayload int) (header, error) {
	var h header
	if m := binary.LittleEndian.Uint32(b[0:]); m != frameMagic {
		return h, malformed("bad magic %#x", m)
	}
	if b[4] != frameVersion {
		return h, malformed("unknown frame version %d", b[4])
	}
	if b[6] != 0 || b[7] != 0 {
		return h, malformed("reserved header bytes are not zero")
	}
	h.kind = frameKind(b[5])
	if h.kind < kindHello || h.kind > kindBeatAnswers {
		return h, malformed("unknown frame kind %d", b[5])
	}
	h.group = binary.LittleEndian.Uint64(b[8:])
	n := binary.LittleEndian.Uint32(b[16:])
	if n > uint32(maxPayload) {
		return h, malformed("payload of %d bytes exceeds %d", n, maxPayload)
	}
	h.length = int(n)
	h.crc = binary.LittleEndian.Uint32(b[20:])
	copy(h.raw[:], b[:20])
	return h, nil
}

// readFrame reads one frame. The payload is freshly allocated: entries keep
// referring to it.
func readFrame(r io.Reader, maxPayload int) (header, []byte, error) {
	var b [headerSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return header{}, nil, errors.Wrap(err, "read frame header")
	}
	h, err := parseHeader(&b, maxPayload)
	if err != nil {
		return h, nil, err
	}
	payload := make([]byte, h.length)
	if _, err := io.ReadFull(r, payload); err != nil {
		return h, nil, errors.Wrap(err, "read frame payload")
	}
	crc := crc32.Update(crc32.Checksum(h.raw[:], crcTable), crcTable, payload)
	if crc != h.crc {
		return h, nil, malformed("checksum mismatch: computed %#x, frame says %#x", crc, h.crc)
	}
	return h, payload, nil
}

// appendPayloadFrame appends a whole frame.
func appendPayloadFrame(dst []byte, kind frameKind, group uint64, payload []byte) []byte {
	start := len(dst)
	dst = appendHeader(dst, kind, group, len(payload))
	dst = append(dst, payload...)
	sealFrame(dst[start:])
	return dst
}

// sealFrame puts the checksum into a frame that is contiguous.
func sealFrame(frame []byte) {
	crc := crc32.Update(crc32.Checksum(frame[:20], crcTable), crcTable, frame[headerSize:])
	sealHeader(frame, crc)
}
