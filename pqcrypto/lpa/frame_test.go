package lpa

import (
	"bytes"
	"io"
	"testing"

	"github.com/cockroachdb/errors"
)

func TestFrameRoundTripReadsExactly(t *testing.T) {
	t.Parallel()
	frame, err := newFrame(typeClientProof, maxProofFrame, []byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte("\x02\x00\x00\x04body"); !bytes.Equal(frame, want) {
		t.Fatalf("frame = %x, want %x", frame, want)
	}
	r := bytes.NewReader(append(bytes.Clone(frame), "application"...))
	got, err := readFrame(r, typeClientProof, maxProofFrame)
	if err != nil || !bytes.Equal(got, frame) {
		t.Fatalf("readFrame = %x, %v, want %x", got, err, frame)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "application" {
		t.Errorf("after the frame the stream holds %q, want %q: the reader took bytes that are not its own", rest, "application")
	}
}

func TestFrameRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		want     string // reason, or "" for an I/O error
	}{
		{"empty stream", "", ""},
		{"truncated header", "\x02\x00", ""},
		{"truncated body", "\x02\x00\x00\x04bod", ""},
		{"type of the frame before", "\x01\x00\x00\x04body", ReasonFrame},
		{"type of the frame after", "\x03\x00\x00\x04body", ReasonFrame},
		{"unknown type", "\x00\x00\x00\x04body", ReasonFrame},
		{"empty body", "\x02\x00\x00\x00", ReasonFrame},
		{"one byte over the limit", "\x02\x00\x04\x01", ReasonFrame},
		{"largest length", "\x02\xff\xff\xff", ReasonFrame},
		{"an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", ReasonFrame},
	} {
		t.Run(tc.name, func(t *testing.T) {
			frame, err := readFrame(bytes.NewReader([]byte(tc.in)), typeClientProof, 1<<10)
			if err == nil {
				t.Fatalf("readFrame(%q) = %q, want an error", tc.in, frame)
			}
			var h *HandshakeError
			if got := errors.As(err, &h); got != (tc.want != "") || got && h.Reason != tc.want {
				t.Errorf("readFrame(%q) failed with %v, want reason %q", tc.in, err, tc.want)
			}
		})
	}
}

func TestNewFrameBounds(t *testing.T) {
	t.Parallel()
	if _, err := newFrame(typeServerFinished, maxFinishedFrame, make([]byte, maxFinishedFrame)); err != nil {
		t.Errorf("a body of exactly the limit was refused: %v", err)
	}
	for _, n := range []int{0, maxFinishedFrame + 1} {
		if _, err := newFrame(typeServerFinished, maxFinishedFrame, make([]byte, n)); err == nil {
			t.Errorf("a body of %d bytes was accepted", n)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x04body"), byte(1))
	f.Add([]byte("\x02\xff\xff\xff"), byte(2))
	f.Add([]byte("\x03\x00\x00\x31"), byte(3))
	f.Fuzz(func(t *testing.T, in []byte, want byte) {
		r := bytes.NewReader(in)
		frame, err := readFrame(r, want, maxProofFrame)
		if err != nil {
			return
		}
		if frame[0] != want || !bytes.Equal(frame, in[:len(frame)]) || r.Len() != len(in)-len(frame) {
			t.Fatalf("readFrame(%x) = %x, %d bytes left of %d", in, frame, r.Len(), len(in))
		}
		again, err := newFrame(want, maxProofFrame, frame[frameHeader:])
		if err != nil || !bytes.Equal(again, frame) {
			t.Fatalf("newFrame does not restore %x: %x, %v", frame, again, err)
		}
	})
}
