// Package stages measures how long each stage of an append or a read takes on a node.
//
// A Set has one histogram a stage. Observe costs one atomic addition to a bucket and one to the sum,
// so that the stages are measured always, and for every block. A Set never measures a single entry.
package stages

import (
	"sync"
	"time"
)

// Stage is one part of an append or of a read.
type Stage uint8

// The stages. An append passes them in this order; see docs/performance.md.
const (
	// Queue is from the arrival of a block's oldest request until the block is built.
	Queue Stage = iota
	// Write is one write to the Raft log with its sync.
	Write
	// Replicate is from the moment at which a block's messages leave until the leader knows that a
	// quorum stores the block.
	Replicate
	// Apply is from the moment at which a block is known to be committed until it is applied.
	Apply
	// Answer is from the end of an apply until all callers of its blocks have their answers.
	Answer
	// Seal is from the apply of the oldest block that a checkpoint is the first to cover until the
	// checkpoint is sealed.
	Seal
	// Proof is the making of the inclusion proofs of one call.
	Proof
	// Range is the reading of the entries of one message of a range.
	Range
	// Count is the number of stages.
	Count
)

var names = [Count]string{"queue", "write", "replicate", "apply", "answer", "seal", "proof", "range"}

func (s Stage) String() string { return names[s] }

// Moment is a point on the clock of a Set, in nanoseconds. Only differences matter.
type Moment int64

// Slots of the window that Recent covers. The shell of a Set calls Rotate once in SlotLength, so
// Recent covers between Slots-1 and Slots slots.
const (
	Slots      = 6
	SlotLength = 10 * time.Second
)

// Set is the histograms of a node. A nil Set measures nothing. Safe for concurrent use.
type Set struct {
	now    func() time.Duration
	stages [Count]histogram
	mu     struct {
		sync.Mutex
		// past are what the histograms held at the newest Rotates, the newest one first.
		past [Slots]*[Count]Distribution
	}
}

// New returns a Set that reads a monotonic clock.
func New(now func() time.Duration) *Set {
	return &Set{now: now}
}

// Now reads the clock. The moments of a Set are never 0, those of a nil Set always.
func (s *Set) Now() Moment {
	if s == nil {
		return 0
	}
	return Moment(s.now()) + 1
}

// Observe counts one duration of a stage.
func (s *Set) Observe(stage Stage, took Moment) {
	if s != nil {
		s.stages[stage].observe(int64(took))
	}
}

// Since is Observe for what began at a moment and ends now.
func (s *Set) Since(stage Stage, began Moment) {
	if s != nil {
		s.Observe(stage, s.Now()-began)
	}
}

// Rotate says that a slot is over.
func (s *Set) Rotate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(s.mu.past[1:], s.mu.past[:])
	last := new([Count]Distribution)
	for i := range s.stages {
		s.stages[i].read(&last[i])
		last[i].Max = s.stages[i].slotMax.Swap(0)
	}
	s.mu.past[0] = last
}

// Total is the distribution of a stage since the Set was made.
func (s *Set) Total(stage Stage) *Distribution {
	d := new(Distribution)
	if s != nil {
		s.stages[stage].read(d)
	}
	return d
}

// Recent is the distribution of a stage in the window.
func (s *Set) Recent(stage Stage) *Distribution {
	d := new(Distribution)
	if s == nil {
		return d
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stages[stage].read(d)
	d.Max = s.stages[stage].slotMax.Load()
	for i, p := range s.mu.past {
		switch {
		case p == nil:
		case i == Slots-1:
			d.subtract(&p[stage])
		default:
			d.Max = max(d.Max, p[stage].Max) // of the slot that ended then
		}
	}
	return d
}
