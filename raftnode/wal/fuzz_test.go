package wal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func crc32c(b []byte) uint32      { return crc32.Checksum(b, castagnoli) }
func putCRC(dst []byte, v uint32) { binary.BigEndian.PutUint32(dst, v) }

// recoverArbitrary opens a log of arbitrary bytes: it may refuse, but not panic,
// and what it opens it must open again, the same, and be able to continue.
func recoverArbitrary(t *testing.T, files map[string][]byte) {
	fs := memFS(t, "data/wal", files)
	o := testOptions(fs)
	report, verr := Verify(fs, o.Dir)
	derr := Dump(&bytes.Buffer{}, fs, o.Dir)
	l, err := Open(o)
	if (verr == nil) != (err == nil) || (derr == nil) != (err == nil) {
		var id *IdentityError
		if !errors.As(err, &id) {
			t.Fatalf("verify says %v, dump %v, open %v", verr, derr, err)
		}
	}
	if err != nil {
		for p, b := range readFiles(t, fs, o.Dir) {
			if !bytes.Equal(b, files[p]) {
				t.Fatalf("open failed with %v and changed %s", err, p)
			}
		}
		return
	}
	for _, g := range report.Groups {
		v := l.Group(g.Group)
		if _, _, err := v.InitialState(); err != nil {
			t.Fatal(err)
		}
		if g.First <= g.Last {
			got, err := v.Entries(g.First, g.Last+1, 1<<40)
			if err != nil || uint64(len(got)) != g.Last-g.First+1 {
				t.Fatalf("group %d: %d entries of [%d, %d]: %v", g.Group, len(got), g.First, g.Last, err)
			}
		}
		if g.LastTerm < 1<<62 && g.Last < 1<<62 {
			if err := l.Append([]Record{{Group: g.Group, Entries: entries(g.Last+1, g.LastTerm, "more")}}, false); err != nil {
				t.Fatalf("group %d: append: %v", g.Group, err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Verify(fs, o.Dir)
	if err != nil || again.Torn != nil || len(again.Groups) < len(report.Groups) {
		t.Fatalf("verify after close: %+v, %v", again, err)
	}
}

// FuzzRecoverBytes opens arbitrary bytes as the first of two segments, whose
// second is optional.
func FuzzRecoverBytes(f *testing.F) {
	mem := vfs.NewMem()
	o := testOptions(mem)
	l, err := Open(o)
	if err != nil {
		f.Fatal(err)
	}
	h, w := &history{}, newWorkload(4, 2)
	if err := h.run(l, w, 15); err != nil {
		f.Fatal(err)
	}
	files := readFiles(f, mem, o.Dir)
	first := files[o.Dir+"/"+segmentName(1)]
	f.Add(first, []byte(nil))
	f.Add(first, files[o.Dir+"/"+segmentName(2)])
	f.Add(first[:len(first)/2], []byte(nil))
	f.Add([]byte(segmentMagic), []byte(nil))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		files := map[string][]byte{"data/wal/" + segmentName(1): one}
		if len(two) > 0 {
			files["data/wal/"+segmentName(2)] = two
		}
		recoverArbitrary(t, files)
	})
}

// FuzzRecoverFrames gets past the checksums: the input describes frames, which are
// then sealed properly. Each takes 5 bytes (type, flags, group, synced, length)
// and its payload.
func FuzzRecoverFrames(f *testing.F) {
	e := (&op{typ: frameEntry, index: 1, term: 1, data: []byte("x")}).appendPayload(nil)
	f.Add(append([]byte{byte(frameEntry), flagLast, 1, 0, byte(len(e))}, e...))
	m := (&op{typ: frameMark, mark: &Mark{Index: 1, Term: 1}}).appendPayload(nil)
	f.Add(append([]byte{byte(frameMark), flagLast, 1, 0, byte(len(m))}, m...))
	hs := (&op{typ: frameHardState, hs: hardState{1, 2, 0}}).appendPayload(nil)
	f.Add(append([]byte{byte(frameHardState), flagLast, 2, 0, byte(len(hs))}, hs...))
	f.Fuzz(func(t *testing.T, in []byte) {
		h := segmentHeader{number: 1, cluster: 0xc, node: 2, salt: 7}
		buf := appendCarry(appendSegmentHeader(nil, h), 0, h.salt, nil)
		start := len(buf)
		ordinal := uint32(0)
		for len(in) >= 5 {
			fh := frameHeader{typ: frameType(in[0]), flags: in[1], group: uint64(in[2]), synced: uint64(start + 8*int(in[3])), ordinal: ordinal}
			n := min(int(in[4]), len(in)-5)
			at := len(buf)
			buf = append(append(buf, zeroHeader[:]...), in[5:5+n]...)
			buf = sealFrame(buf, at, h.salt, int64(at), fh)
			in = in[5+n:]
			if ordinal++; fh.flags&flagLast != 0 {
				ordinal = 0
			}
		}
		recoverArbitrary(t, map[string][]byte{"data/wal/" + segmentName(1): buf})
	})
}
