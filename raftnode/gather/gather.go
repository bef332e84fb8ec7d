// Package gather lets a task that takes all that waits, such as a write with one sync, wait for
// those who are about to give it more.
//
// A goroutine that is woken runs next, before others that are ready to run and whose work the same
// round could take. Under load it finds little each time, and the price of a round (a sync, a write
// to a connection, a turn of a state machine) is paid for every little thing. So a round begins with
// a pause in which the others run. There is no timer: the pause ends when nobody else is ready.
//
// A request that is alone must not pay for that: there is a pause only while, or shortly after, more
// than one thing is on its way.
package gather

import (
	"runtime"
	"sync/atomic"
)

// Crowd counts what is on its way through a process. The zero value is ready; a nil Crowd never
// pauses. Safe for concurrent use.
type Crowd struct {
	count atomic.Int64
	// left is for how many ticks there are pauses although nobody was together with another one.
	left atomic.Int32
}

// lastsTicks is how long a crowd counts as one after it was seen, in ticks.
const lastsTicks = 2

// Add says that n more are on their way, or that -n have arrived.
func (c *Crowd) Add(n int) {
	if c.count.Add(int64(n)) > 1 && n > 0 && c.left.Load() != lastsTicks {
		c.left.Store(lastsTicks)
	}
}

// Count is how many are on their way.
func (c *Crowd) Count() int { return int(c.count.Load()) }

// Tick says that a tick has passed.
func (c *Crowd) Tick() {
	if n := c.left.Load(); n > 0 && c.count.Load() <= 1 {
		c.left.CompareAndSwap(n, n-1)
	}
}

// Crowded reports whether more than one is on its way, or was within the last ticks.
func (c *Crowd) Crowded() bool { return c != nil && c.left.Load() > 0 }

// Pause lets everybody run who is ready to, if it is crowded.
func (c *Crowd) Pause() {
	if c.Crowded() {
		runtime.Gosched()
	}
}
