package stages

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets are logarithmic with linear parts: every power of two from 2^minBits ns has subBuckets of
// the same width, so a bucket is at most 1/16 as wide as its values are large. Durations outside
// count in the first or the last bucket.
const (
	minBits    = 9  // 512 ns
	maxBits    = 37 // 137 s
	subBits    = 4
	subBuckets = 1 << subBits
	buckets    = (maxBits - minBits) * subBuckets
)

// bucketOf returns the bucket of a duration in nanoseconds.
func bucketOf(ns int64) int {
	v := uint64(min(max(ns, 1<<minBits), 1<<maxBits-1))
	e := bits.Len64(v) - 1
	return (e-minBits)<<subBits + int(v>>(e-subBits))&(subBuckets-1)
}

// bucketEnd is the first duration, in nanoseconds, that is too long for a bucket.
func bucketEnd(i int) int64 {
	e := minBits + i>>subBits
	return int64(subBuckets+i&(subBuckets-1)+1) << (e - subBits)
}

// histogram counts durations. Its parts are read one after another, so a reader may see a duration
// in one of them only.
type histogram struct {
	counts [buckets]atomic.Uint64
	sum    atomic.Int64
	// max is the longest since the start, slotMax the longest since the newest Rotate.
	max, slotMax atomic.Int64
}

func (h *histogram) observe(ns int64) {
	ns = max(ns, 0)
	h.counts[bucketOf(ns)].Add(1)
	h.sum.Add(ns)
	raise(&h.slotMax, ns)
	raise(&h.max, ns)
}

func raise(m *atomic.Int64, v int64) {
	for old := m.Load(); v > old && !m.CompareAndSwap(old, v); old = m.Load() {
	}
}

func (h *histogram) read(d *Distribution) {
	for i := range h.counts {
		n := h.counts[i].Load()
		d.counts[i] = n
		d.Count += n
	}
	d.Sum, d.Max = h.sum.Load(), h.max.Load()
}

// Distribution is what a histogram held at one moment. Sum and Max are in nanoseconds.
type Distribution struct {
	Count    uint64
	Sum, Max int64
	counts   [buckets]uint64
}

func (d *Distribution) subtract(o *Distribution) {
	for i := range d.counts {
		d.counts[i] -= o.counts[i]
	}
	d.Count, d.Sum = d.Count-o.Count, d.Sum-o.Sum
}

// Quantile returns a duration that the share q of the durations does not exceed, at most 1/16 too
// long and never longer than Max; 0 when nothing was counted.
func (d *Distribution) Quantile(q float64) time.Duration {
	rank, seen := uint64(q*float64(d.Count)), uint64(0)
	for i, n := range d.counts {
		if seen += n; n > 0 && (seen > rank || seen == d.Count) {
			return time.Duration(min(bucketEnd(i)-1, d.Max))
		}
	}
	return 0
}

// Bounds of the buckets that metrics show: powers of two from 16 µs to 17 s.
const (
	firstBound = 14
	lastBound  = 34
)

// Cumulative returns how many durations were below each bound, in seconds.
func (d *Distribution) Cumulative() map[float64]uint64 {
	out, seen := make(map[float64]uint64, lastBound-firstBound+1), uint64(0)
	next := 0
	for b := firstBound; b <= lastBound; b++ {
		for ; next < (b-minBits)<<subBits; next++ {
			seen += d.counts[next]
		}
		out[float64(int64(1)<<b)/1e9] = seen
	}
	return out
}
