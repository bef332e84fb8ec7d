package workload

import (
	"io"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// eachLeaves receives a Range and hands its messages over, in order and without a
// gap; anything else is a violation.
func eachLeaves(stream interface {
	Recv() (*cairnv1.RangeResponse, error)
}, first uint64, f func(first, size uint64, leaves [][]byte) bool, w *Workload) error {
	size, any := uint64(0), false
	for next := first; ; {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if !any {
				return errors.New("a range ended without a message")
			}
			return nil
		}
		if err != nil {
			return err
		}
		if resp.First != next || any && resp.Size != size || next+uint64(len(resp.Leaves)) > resp.Size {
			w.violate("wrong-answer", next, "a range that had reached %d of size %d continues with %d leaves from %d of size %d",
				next, size, len(resp.Leaves), resp.First, resp.Size)
			return errors.New("a range with a gap")
		}
		any, size = true, resp.Size
		next += uint64(len(resp.Leaves))
		if !f(resp.First, resp.Size, resp.Leaves) {
			return errors.New("a range of what are no leaves")
		}
	}
}
