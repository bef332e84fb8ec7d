package wal

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The layout of segment and frame headers; docs/format-wal.md is the
// specification. All integers are big endian.
const (
	formatVersion = 1

	segmentMagic      = "CAIRNWAL"
	segmentHeaderSize = 72
	// maxSegmentSize bounds offsets: the index keeps them in 32 bits, in units
	// of frameAlign.
	maxSegmentSize = 32 << 30

	frameMagic      = 0xC157414C
	frameHeaderSize = 40
	frameAlign      = 8
	maxPayload      = 64 << 20

	// zeroFillStep is how far ahead a small write extends the file with zeros,
	// so that the following ones change no file size and fdatasync has no
	// metadata to write: 0.28 ms instead of 0.40 ms on ext4.
	zeroFillStep = 256 << 10
	pageSize     = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentHeader opens every segment file.
type segmentHeader struct {
	number        uint64 // also the file's name; consecutive
	cluster, node uint64
	// salt is random. It enters every frame's checksum, so that no payload can
	// imitate a frame and a stale block of another segment is never valid.
	salt uint64
	// prevEnd is where the previous segment ends, and prevSalt its salt. What
	// follows prevEnd in that file is a torn tail. Everything before it was
	// synced before this segment appeared. Both are 0 in segment 1.
	prevEnd, prevSalt uint64
}

func appendSegmentHeader(dst []byte, h segmentHeader) []byte {
	start := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.BigEndian.AppendUint32(dst, formatVersion)
	dst = binary.BigEndian.AppendUint32(dst, segmentHeaderSize)
	for _, v := range []uint64{h.number, h.cluster, h.node, h.salt, h.prevEnd, h.prevSalt} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	dst = binary.BigEndian.AppendUint32(dst, 0)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// parseSegmentHeader returns the header, or the version when only that is
// foreign, or the reason why b is no header.
func parseSegmentHeader(b []byte) (h segmentHeader, version uint32, reason string) {
	switch {
	case len(b) < segmentHeaderSize:
		return h, 0, "segment header is truncated"
	case !bytes.HasPrefix(b, []byte(segmentMagic)):
		return h, 0, "segment header has a wrong magic"
	}
	b = b[:segmentHeaderSize]
	if crc32.Checksum(b[:68], castagnoli) != binary.BigEndian.Uint32(b[68:]) {
		return h, 0, "segment header has a wrong checksum"
	}
	version = binary.BigEndian.Uint32(b[8:])
	if version != formatVersion {
		return h, version, ""
	}
	if n := binary.BigEndian.Uint32(b[12:]); n != segmentHeaderSize {
		return h, version, fmt.Sprintf("segment header size is %d", n)
	}
	if binary.BigEndian.Uint32(b[64:]) != 0 {
		return h, version, "segment header has reserved bits set"
	}
	h.number = binary.BigEndian.Uint64(b[16:])
	h.cluster = binary.BigEndian.Uint64(b[24:])
	h.node = binary.BigEndian.Uint64(b[32:])
	h.salt = binary.BigEndian.Uint64(b[40:])
	h.prevEnd = binary.BigEndian.Uint64(b[48:])
	h.prevSalt = binary.BigEndian.Uint64(b[56:])
	return h, version, ""
}

type frameType uint8

const (
	frameEntry     frameType = 1
	frameHardState frameType = 2
	frameMark      frameType = 3
	frameNote      frameType = 4
	frameBase      frameType = 5 // a group's last index and term: carried, or before a mark that restores
	frameMarker    frameType = 6 // no content: records the synced offset, ends a carry
)

func (t frameType) String() string {
	switch t {
	case frameEntry:
		return "entry"
	case frameHardState:
		return "hardstate"
	case frameMark:
		return "mark"
	case frameNote:
		return "note"
	case frameBase:
		return "base"
	case frameMarker:
		return "marker"
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

const (
	flagLast    = 1 << 0 // last frame of its commit
	flagCarried = 1 << 1 // state repeated at the head of a segment
)

// frameHeader precedes every payload.
type frameHeader struct {
	version    uint8
	typ        frameType
	flags      uint8
	group      uint64
	length     uint32 // of the payload, in bytes, without its padding
	payloadCRC uint32 // CRC-32C of payload and padding
	// synced is the offset in this segment up to which everything was durable
	// before this frame was written; always the end of a commit. 0 in the carry,
	// which is durable before the segment gets its name. Earlier segments are
	// durable as a whole, so the offset needs no segment number.
	synced  uint64
	ordinal uint32 // position of the frame in its commit, from 0
}

// paddedSize returns n rounded up to the frame alignment.
func paddedSize(n int) int { return (n + frameAlign - 1) &^ (frameAlign - 1) }

// frameSize returns the bytes that a frame with n bytes of payload occupies.
func frameSize(n int) int { return frameHeaderSize + paddedSize(n) }

var (
	zeroPad    [frameAlign]byte
	zeroHeader [frameHeaderSize]byte
)

// sealFrame completes the frame that starts at buf[start] and will lie at offset
// in its segment: its payload is appended already, the header's bytes reserved.
func sealFrame(buf []byte, start int, salt uint64, offset int64, h frameHeader) []byte {
	h.length = uint32(len(buf) - start - frameHeaderSize)
	buf = append(buf, zeroPad[:paddedSize(int(h.length))-int(h.length)]...)
	h.payloadCRC = crc32.Checksum(buf[start+frameHeaderSize:], castagnoli)
	b := buf[start:]
	binary.BigEndian.PutUint32(b[0:], frameMagic)
	b[4] = formatVersion
	b[5] = byte(h.typ)
	b[6] = h.flags
	b[7] = 0
	binary.BigEndian.PutUint64(b[8:], h.group)
	binary.BigEndian.PutUint32(b[16:], h.length)
	binary.BigEndian.PutUint32(b[20:], h.payloadCRC)
	binary.BigEndian.PutUint64(b[24:], h.synced)
	binary.BigEndian.PutUint32(b[32:], h.ordinal)
	binary.BigEndian.PutUint32(b[36:], headerCRC(b, salt, offset))
	return buf
}

// headerCRC binds a frame header to its segment and its place there.
func headerCRC(b []byte, salt uint64, offset int64) uint32 {
	var place [16]byte
	binary.BigEndian.PutUint64(place[:], salt)
	binary.BigEndian.PutUint64(place[8:], uint64(offset))
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, b[:36])
}

// parseFrameHeader returns the header in b, or why there is none. It checks that
// b was written as a header at this place, not that its values make sense.
func parseFrameHeader(b []byte, salt uint64, offset int64) (h frameHeader, reason string) {
	switch {
	case binary.BigEndian.Uint32(b) != frameMagic:
		if bytes.Equal(b[:frameHeaderSize], zeroHeader[:]) {
			return h, "zeros instead of a frame"
		}
		return h, "frame header has a wrong magic"
	case binary.BigEndian.Uint32(b[36:]) != headerCRC(b, salt, offset):
		return h, "frame header has a wrong checksum"
	}
	return frameHeader{
		version:    b[4],
		typ:        frameType(b[5]),
		flags:      b[6],
		group:      binary.BigEndian.Uint64(b[8:]),
		length:     binary.BigEndian.Uint32(b[16:]),
		payloadCRC: binary.BigEndian.Uint32(b[20:]),
		synced:     binary.BigEndian.Uint64(b[24:]),
		ordinal:    binary.BigEndian.Uint32(b[32:]),
	}, ""
}

// illegal returns why the values of a header that was really written make no
// sense to this build.
func (h frameHeader) illegal() string {
	switch {
	case h.typ < frameEntry || h.typ > frameMarker:
		return fmt.Sprintf("frame has unknown type %d", h.typ)
	case h.flags&^(flagLast|flagCarried) != 0:
		return fmt.Sprintf("frame has unknown flags %#x", h.flags)
	case h.length > maxPayload:
		return fmt.Sprintf("frame payload of %d bytes is above %d", h.length, maxPayload)
	}
	return ""
}

func randomSalt() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b[:]), nil
}
