package transport

import (
	"encoding/binary"
	"sync"
	"time"
)

// clockSize is the payload of a clock frame, which belongs to no group:
//
//	 0    1  1 question, 2 answer
//	 1    7  zero
//	 8    8  token of the question, repeated in the answer
//	16    8  in an answer: the wall clock of whoever answers, µs since the Unix epoch, signed
//	24    8  in an answer: its mark (Config.Mark), signed
const clockSize = 32

const (
	clockQuestion = 1
	clockAnswer   = 2
)

// maxRoundTrip bounds the round trips that say something about a clock.
const maxRoundTrip = 2 * time.Second

// ClockSample is what the newest answer of a peer said.
type ClockSample struct {
	// Offset is how far the peer's wall clock is ahead of this node's. The true value is
	// at most RoundTrip/2 away (Cristian's algorithm).
	Offset    time.Duration
	RoundTrip time.Duration
	// Age is how long ago the answer came.
	Age time.Duration
	// Mark is the peer's Config.Mark.
	Mark int64
}

// peerClock is what is known of one peer's clock.
type peerClock struct {
	sync.Mutex
	// asked is when the open question was sent, on this transport's monotonic clock, and its token.
	asked time.Duration
	token uint64
	open  bool
	// at is when the newest answer came; 0 before the first. wall is what the peer's clock showed
	// then, give or take half of the round trip.
	at        time.Duration
	wall      time.Time
	roundTrip time.Duration
	mark      int64
}

// Clocks returns the newest sample of each peer that has answered.
func (t *Transport) Clocks() map[NodeID]ClockSample {
	out := make(map[NodeID]ClockSample, len(*t.peers.Load()))
	now, wall := time.Since(t.started), t.cfg.Now()
	for id, p := range *t.peers.Load() {
		p.clock.Lock()
		if c := &p.clock; c.at != 0 {
			age := now - c.at
			// The offset is that of this moment: this node's clock may have jumped since the
			// answer. Sub saturates: a lying clock does not overflow.
			out[id] = ClockSample{Offset: c.wall.Add(age).Sub(wall), RoundTrip: c.roundTrip, Age: age, Mark: c.mark}
		}
		p.clock.Unlock()
	}
	return out
}

// askClocks asks every connected peer for its time, again and again.
func (t *Transport) askClocks() {
	ticker := time.NewTicker(t.cfg.ClockInterval)
	defer ticker.Stop()
	for {
		for _, p := range *t.peers.Load() {
			t.askClock(p)
		}
		select {
		case <-ticker.C:
		case <-t.ctx.Done():
			return
		}
	}
}

// askClock asks one peer for its time. A question that would have to wait for a
// connection is not asked: its answer would say nothing.
func (t *Transport) askClock(p *peer) {
	o := p.out[classControl.index()]
	o.mu.Lock()
	connected := o.mu.connected
	o.mu.Unlock()
	if !connected {
		return
	}
	p.clock.Lock()
	p.clock.asked, p.clock.open = time.Since(t.started), true
	p.clock.token++
	token := p.clock.token
	p.clock.Unlock()
	o.push(item{clock: appendClock(nil, clockQuestion, token, 0, 0), size: clockSize})
}

func appendClock(dst []byte, what byte, token uint64, wall, mark int64) []byte {
	dst = append(dst, what, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, token)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(wall))
	return binary.LittleEndian.AppendUint64(dst, uint64(mark))
}

// handleClock answers a question, or takes an answer.
func (t *Transport) handleClock(p *peer, b []byte) error {
	if len(b) != clockSize || b[0] != clockQuestion && b[0] != clockAnswer {
		return malformed("clock frame of %d bytes", len(b))
	}
	for _, zero := range b[1:8] {
		if zero != 0 {
			return malformed("reserved bytes of a clock frame are not zero")
		}
	}
	token := binary.LittleEndian.Uint64(b[8:])
	if b[0] == clockQuestion {
		p.out[classControl.index()].push(item{clock: appendClock(nil, clockAnswer, token, t.cfg.Now().UnixMicro(), t.cfg.Mark()), size: clockSize})
		return nil
	}
	now := time.Since(t.started)
	p.clock.Lock()
	defer p.clock.Unlock()
	if !p.clock.open || token != p.clock.token {
		return nil // late, or to a question that was never asked
	}
	p.clock.open = false
	trip := now - p.clock.asked
	if trip > maxRoundTrip {
		return nil
	}
	theirs := time.UnixMicro(int64(binary.LittleEndian.Uint64(b[16:])))
	p.clock.at, p.clock.wall, p.clock.roundTrip = now, theirs.Add(trip/2), trip
	p.clock.mark = int64(binary.LittleEndian.Uint64(b[24:]))
	return nil
}
