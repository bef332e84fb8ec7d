package report

import (
	"time"

	"github.com/cairnledger/cairn/jepsen/history"
)

// buckets divide a run for the curves over time.
type buckets struct {
	width time.Duration
	n     int
}

const (
	maxBuckets   = 400
	minBuckets   = 24
	opsPerBucket = 25 // fewer make quantiles that say nothing
)

// newBuckets chooses a round width (1, 2 or 5 times a power of ten) such that there are at most
// maxBuckets, and fewer when there is little to show.
func newBuckets(d time.Duration, ops int) buckets {
	most := time.Duration(min(max(ops/opsPerBucket, minBuckets), maxBuckets))
	for unit := time.Microsecond; ; unit *= 10 {
		for _, k := range []time.Duration{1, 2, 5} {
			if w := k * unit; d/w < most {
				return buckets{width: w, n: int(d/w) + 1}
			}
		}
	}
}

func (b buckets) of(at int64) int {
	return int(min(max(at, 0)/int64(b.width), int64(b.n-1)))
}

// seconds returns how long bucket i lasted: the last one ends with the run.
func (b buckets) seconds(i int, d time.Duration) float64 {
	w := b.width
	if rest := d - time.Duration(i)*b.width; rest < w {
		w = rest
	}
	return max(w, b.width/4).Seconds()
}

// bucket is what happened in one of them.
type bucket struct {
	ok, bad int // bad: no answer, or a refusal
	latency *histogram
}

func (b *bucket) add(op *history.Op) {
	switch {
	case op.Outcome == history.OK:
		b.ok++
		if b.latency == nil {
			b.latency = new(histogram)
		}
		b.latency.add(op.Return - op.Call)
	case op.Outcome == history.Fail && (op.Reason == history.Conflict || op.Reason == history.SizeMismatch):
	default:
		b.bad++
	}
}
