package seal

import (
	"testing"
	"time"

	"github.com/cairnledger/cairn/merkle/tlog"
)

// TestCallersShareASeal: as long as fewer than half as many callers wait as the seal before had,
// they wait for others, up to Gather; a lone caller after a lone caller waits for nobody.
func TestCallersShareASeal(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.step(1, Leader{true})
	c.step(1, Wanted{10})
	c.growAll(10)
	c.settle()
	c.wantSealed(10)
	c.growAll(14)
	c.step(1, Wanted{3})
	c.step(1, Wanted{1})
	c.settle()
	c.wantSealed(10)
	c.step(1, Wanted{1}) // the fifth
	c.settle()
	c.wantSealed(14)
	c.growAll(16)
	c.step(1, Wanted{2})
	c.tick(DefaultGather - 1)
	c.settle()
	c.wantSealed(14)
	c.tick(1)
	c.settle()
	c.wantSealed(16)
	for size := uint64(17); size < 20; size++ {
		c.growAll(size)
		c.step(1, Wanted{1})
		c.settle()
		c.wantSealed(size)
	}
}

// TestPause: after a seal that took long the next one starts after half of that time, and after
// Gather at the latest.
func TestPause(t *testing.T) {
	t.Parallel()
	for took, pause := range map[time.Duration]time.Duration{
		time.Millisecond:       time.Millisecond / 2,
		100 * time.Millisecond: DefaultGather,
	} {
		c := newCluster(t, 3)
		c.step(1, Leader{true})
		c.growAll(1)
		c.step(1, Wanted{1})
		c.now = c.now.Add(took)
		c.settle()
		c.wantSealed(1)
		c.growAll(2)
		if at, ok := c.nodes[1].Deadline(); !ok || at.Sub(c.now) != pause {
			t.Errorf("after a seal of %v the next one starts in %v, %t; want %v", took, at.Sub(c.now), ok, pause)
		}
		c.tick(pause - 1)
		c.settle()
		c.wantSealed(1)
		c.tick(1)
		c.settle()
		c.wantSealed(2)
	}
}

// TestSignsAhead: a voter signs while its disk works, and nothing leaves it before that is done. The
// leader makes the log's line while it waits for the others.
func TestSignsAhead(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	cp := tlog.Checkpoint{Origin: origin, Size: 5, Root: trueRoot(5)}
	c.step(1, Leader{true})
	c.growAll(5)
	for _, d := range c.wire {
		c.deliver(d)
	}
	c.wire = nil
	for id := uint64(1); id <= 2; id++ {
		c.step(id, Tick{})
		if c.nodes[id].ready[testKeys()[id]].cp != cp {
			t.Errorf("node %d does not sign while its disk works", id)
		}
	}
	if len(c.wire) > 0 {
		t.Errorf("%d messages left while the disks worked", len(c.wire))
	}
	c.step(1, Tick{})
	if c.nodes[1].ready[testKeys()[0]].cp != cp {
		t.Error("the leader does not make the log's line while it waits")
	}
	c.settle()
	c.wantSealed(5)
}

// TestSharers: with several ledgers on a node, each takes its share of the time for signing, whether
// a caller waits or not.
func TestSharers(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	sharers := 1
	c.nodes[1].cfg.Sharers = func() int { return sharers }
	c.start(1)
	c.step(1, Leader{true})
	c.growAll(5)
	c.settle()
	c.growAll(6)
	want := func(d time.Duration) {
		t.Helper()
		if at, ok := c.nodes[1].Deadline(); !ok || at.Sub(c.now) != d {
			t.Errorf("with %d sharers: deadline in %v, %v; want %v", sharers, at.Sub(c.now), ok, d)
		}
	}
	sharers = 0 // none has been counted yet
	want(DefaultCadence)
	sharers = 3
	want(3 * DefaultCadence)
	c.settle()
	c.tick(3 * DefaultCadence)
	c.settle() // a seal for which nobody waited
	c.wantSealed(6)
	c.step(1, Wanted{4})
	c.growAll(7)
	c.settle()
	c.wantSealed(7)
	c.growAll(8)
	c.step(1, Wanted{1})
	want(3 * DefaultGather)
	c.tick(3 * DefaultGather)
	c.now = c.now.Add(2 * time.Millisecond)
	c.settle()
	c.wantSealed(8)
	c.growAll(9)
	c.step(1, Wanted{1})
	want(3 * time.Millisecond)
}
