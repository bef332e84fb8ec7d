package testbed

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Condition is what a link does to what one node sends to another.
type Condition struct {
	// Cut holds everything until the link is whole again.
	Cut bool
	// Delay is added to every read from a connection, plus up to Jitter more.
	Delay, Jitter time.Duration
	// Loss is how likely a piece of the stream meets a lost packet: it stalls for
	// a retransmission, or with Breaks the connection breaks.
	Loss   float64
	Breaks bool
}

// retransmission is how long TCP waits at least before it sends again.
const retransmission = 200 * time.Millisecond

// Traffic counts what passed a link, and what a fault did to it.
type Traffic struct {
	Bytes int64 // delivered
	// Held bytes waited for a cut to end, Delayed for a delay or a retransmission.
	Held, Delayed int64
	// Broken connections met a loss; Waiting ones began while the link was cut.
	Broken, Waiting int64
}

// Touched is how often the condition of a link has done something.
func (t Traffic) Touched() int64 { return t.Held + t.Delayed + t.Broken + t.Waiting }

func (t *Traffic) add(o Traffic) {
	t.Bytes += o.Bytes
	t.Held += o.Held
	t.Delayed += o.Delayed
	t.Broken += o.Broken
	t.Waiting += o.Waiting
}

// gate is one direction between two nodes: its condition and its traffic.
type gate struct {
	mu      sync.Mutex
	now     Condition
	changed chan struct{} // closed when now changes
	traffic Traffic
	rng     *rand.Rand
}

func newGate(seed uint64) *gate {
	return &gate{changed: make(chan struct{}), rng: rand.New(rand.NewPCG(seed, 7))}
}

func (g *gate) set(c Condition) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = c
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gate) stats() Traffic {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.traffic
}

// verdict is what becomes of a piece of a stream.
type verdict struct {
	hold   <-chan struct{} // not nil: ask again when it is closed
	wait   time.Duration
	breaks bool
}

// What else than bytes passes a gate. The end counts for nothing: that of a process
// which was killed says nothing about the link.
const (
	theBeginning = 0 // of a connection
	theEnd       = -1
)

// judge decides about n bytes, or the beginning or end of a connection. first is false
// when it asks about the same again.
func (g *gate) judge(n int, first bool) (v verdict) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &g.now
	if c.Cut {
		if first && n > 0 {
			g.traffic.Held += int64(n)
		} else if first && n == theBeginning {
			g.traffic.Waiting++
		}
		return verdict{hold: g.changed}
	}
	if v.wait = c.Delay; c.Jitter > 0 {
		v.wait += time.Duration(g.rng.Int64N(int64(c.Jitter)))
	}
	if n > 0 && c.Loss > 0 && g.rng.Float64() < c.Loss {
		if c.Breaks {
			g.traffic.Broken++
			v.breaks = true
			return v
		}
		v.wait += retransmission
	}
	if v.wait > 0 && n > 0 {
		g.traffic.Delayed += int64(n)
	}
	g.traffic.Bytes += int64(max(n, 0))
	return v
}

// pass waits until n bytes may go on. It returns false if they never may,
// because the connection breaks or quit is closed.
func (g *gate) pass(n int, quit <-chan struct{}) bool {
	for first := true; ; first = false {
		v := g.judge(n, first)
		switch {
		case v.breaks:
			return false
		case v.hold != nil:
			select {
			case <-v.hold:
				continue
			case <-quit:
				return false
			}
		case v.wait > 0:
			t := time.NewTimer(v.wait)
			defer t.Stop()
			select {
			case <-t.C:
			case <-quit:
				return false
			}
		}
		return true
	}
}
