package node

import (
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

const (
	// scrubPiece is how many bytes are read between two pauses, at the least.
	scrubPiece = 64 << 10
	// firstScrub is how long after the start of a node it scrubs for the first time, at the latest.
	firstScrub = time.Minute
	// scrubReports is how many damaged places of a ledger one pass logs.
	scrubReports = 20
)

// scrubbing is what is known of reading a ledger's part of the store again. Owned by scrub; the
// numbers are read by others.
type scrubbing struct {
	at      atomic.Uint64 // the first entry that the present pass has not checked
	bytes   atomic.Uint64 // read since the start
	passes  atomic.Uint64 // that have come to the end
	damaged atomic.Int64  // places that the last complete pass found, or the present one if more
}

// scrub reads what the store holds again and again, one ledger after the other, at a bounded rate.
// What it finds is logged and counted; the ledger goes on with what is sound.
func (h *hosting) scrub(quit <-chan struct{}) {
	pause := func(d time.Duration) (going bool) {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-quit:
			return false
		case <-t.C:
			return true
		}
	}
	s := &h.node.cfg.Storage
	for wait := min(firstScrub, s.ScrubInterval); pause(wait); {
		began := time.Now()
		for _, l := range h.all() {
			if !l.scrub(int(s.ScrubBytes), pause) {
				return
			}
		}
		wait = max(0, s.ScrubInterval-time.Since(began))
	}
}

// scrub makes one pass through the ledger at a rate in bytes a second: entries first, then sealed
// checkpoints.
func (h *hosted) scrub(rate int, pause func(time.Duration) bool) (going bool) {
	l, s := h.Replica.Ledger(), &h.scrubbing
	found := int64(0)
	// look reports whether the pass can go on.
	look := func(read int, err error) (on, going bool) {
		s.bytes.Add(uint64(read))
		var corrupt *ledger.CorruptError
		switch {
		case errors.As(err, &corrupt):
			if found++; found <= scrubReports {
				h.node.log.Error("the store is damaged; the node serves what is sound",
					"ledger", h.origin, "kind", corrupt.Part.String(), "index", corrupt.Index, "problem", err.Error())
			}
			s.damaged.Store(max(s.damaged.Load(), found))
		case err != nil: // the store is closed, or cannot be read at all: whoever applies says so
			return false, pause(0)
		}
		going = pause(time.Duration(float64(read) / float64(rate) * float64(time.Second)))
		return going, going
	}
	for at := uint64(0); at < l.Head().Size; {
		next, read, err := l.Scrub(at, scrubPiece)
		if on, going := look(read, err); !on {
			return going
		}
		at = next
		s.at.Store(at)
	}
	for at := uint64(1); at > 0; {
		next, read, err := l.ScrubSealed(at)
		if on, going := look(read, err); !on {
			return going
		}
		at = next
	}
	if was := s.damaged.Swap(found); was > 0 && found == 0 {
		h.node.log.Info("the store's damage is gone", "ledger", h.origin)
	}
	s.passes.Add(1)
	return true
}
