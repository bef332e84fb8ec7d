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
	size    atomic.Uint64 // of the ledger when the present pass began
	passes  atomic.Uint64 // that have come to the end
	done    atomic.Int64  // when the last one did, µs since the Unix epoch
	damaged atomic.Int64  // places that the last complete pass could not repair, or the present one if more
}

// scrub reads what the store holds again and again, one ledger after the other, at a bounded rate.
// What it finds damaged is repaired with the help of other members; what cannot be repaired is
// logged and counted, and the ledger goes on with what is sound.
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
// checkpoints. What is damaged is repaired and read once more before the pass goes on behind it.
func (h *hosted) scrub(rate int, pause func(time.Duration) bool) (going bool) {
	l, s := h.Replica.Ledger(), &h.scrubbing
	s.size.Store(l.Head().Size)
	p := pass{h: h}
	for at := uint64(0); at < l.Head().Size; s.at.Store(at) {
		next, read, err := l.Scrub(at, scrubPiece)
		s.bytes.Add(uint64(read))
		again, err := p.judge(err)
		if err != nil || !pause(time.Duration(float64(read)/float64(rate)*float64(time.Second))) {
			return err != nil && pause(0)
		}
		if !again {
			at = next
		}
	}
	for at := uint64(1); at > 0; {
		next, read, err := l.ScrubSealed(at)
		s.bytes.Add(uint64(read))
		again, err := p.judge(err)
		if err != nil || !pause(time.Duration(float64(read)/float64(rate)*float64(time.Second))) {
			return err != nil && pause(0)
		}
		if !again {
			at = next
		}
	}
	if was := s.damaged.Swap(p.found); was > 0 && p.found == 0 {
		h.node.log.Info("the store's damage is gone", "ledger", h.origin)
	}
	s.passes.Add(1)
	s.done.Store(time.Now().UnixMicro())
	return true
}

// pass is one pass of the scrub through a ledger.
type pass struct {
	h     *hosted
	found int64 // damaged places that could not be repaired
	last  place // the newest one that was repaired
}

// judge takes what reading has found. Damage is repaired: again says that the same place is to be
// read once more. An error is none of damage: the store is closed, or cannot be read at all; whoever
// applies says so.
func (p *pass) judge(err error) (again bool, fatal error) {
	var corrupt *ledger.CorruptError
	if !errors.As(err, &corrupt) {
		return false, err
	}
	h, s := p.h, &p.h.scrubbing
	at := placeOf(h, corrupt)
	why := errors.New("it was damaged again at once")
	if at != p.last {
		if why = h.node.repairs.repair(h, corrupt, false); why == nil {
			p.last = at
			return true, nil
		}
	}
	if p.found++; p.found <= scrubReports {
		h.node.log.Error("the store is damaged; the node serves what is sound",
			"ledger", h.origin, "kind", corrupt.Part.String(), "index", corrupt.Index, "problem", err.Error(), "repair", why.Error())
	}
	s.damaged.Store(max(s.damaged.Load(), p.found))
	return false, nil
}
