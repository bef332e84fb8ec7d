package lpa

import (
	"io"

	"github.com/cockroachdb/errors"
)

// Frame types. Each occurs exactly once in a handshake, in this order.
const (
	typeServerIdentity = 1 // M1, server to client
	typeClientProof    = 2 // M2, client to server
	typeServerFinished = 3 // M3, server to client
)

const (
	// frameHeader is the size of type(1) ‖ length(3, big endian).
	frameHeader = 4
	// maxIdentityFrame, maxProofFrame and maxFinishedFrame bound the bodies of M1, M2 and M3 in
	// bytes.
	maxIdentityFrame = 32 << 10
	maxProofFrame    = 32 << 10
	maxFinishedFrame = 1 << 10
)

// readFrame reads one frame of the wanted type and returns it whole, header included, because the
// transcript covers the header. It reads not one byte beyond the frame: what follows belongs to the
// application.
func readFrame(r io.Reader, want byte, maxBody int) ([]byte, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, errors.Wrapf(err, "read header of frame M%d", want)
	}
	if header[0] != want {
		return nil, fail(ReasonFrame, errors.Newf("read frame M%d: got frame type %d", want, header[0]))
	}
	n := int(header[1])<<16 | int(header[2])<<8 | int(header[3])
	if n == 0 || n > maxBody {
		return nil, fail(ReasonFrame, errors.Newf("read frame M%d: body of %d bytes, want 1 to %d", want, n, maxBody))
	}
	frame := make([]byte, frameHeader+n)
	copy(frame, header[:])
	if _, err := io.ReadFull(r, frame[frameHeader:]); err != nil {
		return nil, errors.Wrapf(err, "read body of frame M%d", want)
	}
	return frame, nil
}

// newFrame puts the header in front of a body.
func newFrame(typ byte, maxBody int, body []byte) ([]byte, error) {
	if len(body) == 0 || len(body) > maxBody {
		return nil, fail(ReasonConfig, errors.Newf("frame M%d would have a body of %d bytes, at most %d are allowed", typ, len(body), maxBody))
	}
	frame := make([]byte, 0, frameHeader+len(body))
	frame = append(frame, typ, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)))
	return append(frame, body...), nil
}
