package stages

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestBuckets: every duration lies in its bucket, and the end of a bucket is at most 1/16 above.
func TestBuckets(t *testing.T) {
	for _, ns := range []int64{512, 513, 543, 544, 1023, 1024, 1_000_000, 1<<maxBits - 1} {
		i := bucketOf(ns)
		begin := int64(1 << minBits)
		if i > 0 {
			begin = bucketEnd(i - 1)
		}
		if end := bucketEnd(i); ns < begin || ns >= end || end-begin > begin/16 {
			t.Errorf("%d ns is in bucket %d, which is from %d to %d", ns, i, begin, end)
		}
	}
	if bucketOf(-1) != 0 || bucketOf(1<<62) != buckets-1 {
		t.Errorf("durations outside are in the buckets %d and %d", bucketOf(-1), bucketOf(1<<62))
	}
}

// TestQuantiles: the quantiles of random durations are those of the sorted list, and at most 1/16
// above, and the longest is exact.
func TestQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := New(func() time.Duration { return 0 })
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(1000 * (1 + rng.ExpFloat64()*500))
		all = append(all, d)
		s.Observe(Apply, Moment(d))
	}
	slices.Sort(all)
	d := s.Total(Apply)
	for _, q := range []float64{0, 0.5, 0.99, 0.999, 1} {
		want := all[min(len(all)-1, int(q*float64(len(all))))]
		if got := d.Quantile(q); got < want || got > want+want/16 {
			t.Errorf("quantile %g is %v, want %v", q, got, want)
		}
	}
	if d.Count != 20_000 || time.Duration(d.Max) != all[len(all)-1] || s.Total(Write).Count != 0 || s.Total(Write).Quantile(0.5) != 0 {
		t.Errorf("%d durations, the longest %d; of another stage %d", d.Count, d.Max, s.Total(Write).Count)
	}
	below := 0
	for _, d := range all {
		if d < 1<<20 {
			below++
		}
	}
	if got := d.Cumulative()[float64(1<<20)/1e9]; got != uint64(below) {
		t.Errorf("%d are below 2^20 ns, want %d", got, below)
	}
}

// TestRecent: the window forgets what is older than Slots slots, its maximum too.
func TestRecent(t *testing.T) {
	s := New(func() time.Duration { return 0 })
	s.Observe(Seal, 1_000_000)
	for i := range Slots - 1 {
		s.Rotate()
		if d := s.Recent(Seal); d.Count != 1 || d.Max != 1_000_000 {
			t.Fatalf("after %d slots the window has %d durations, the longest %d", i+1, d.Count, d.Max)
		}
	}
	s.Observe(Seal, 1000)
	s.Rotate()
	if d := s.Recent(Seal); d.Count != 1 || d.Max != 1000 || d.Sum != 1000 || d.Quantile(1) != 1000 {
		t.Errorf("after %d slots the window has %d durations, the longest %d, together %d", Slots, d.Count, d.Max, d.Sum)
	}
	if d := s.Total(Seal); d.Count != 2 || d.Max != 1_000_000 {
		t.Errorf("since the start: %d durations, the longest %d", d.Count, d.Max)
	}
	var none *Set
	none.Observe(Seal, 1)
	none.Since(Seal, none.Now())
	if none.Total(Seal).Count != 0 || none.Recent(Seal).Count != 0 {
		t.Error("a nil Set measures")
	}
}

// TestConcurrentObservers: nothing is lost when many observe and one rotates.
func TestConcurrentObservers(t *testing.T) {
	s := New(func() time.Duration { return 0 })
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 1000 {
				s.Observe(Queue, Moment(i*1000+j))
			}
		})
	}
	for range 10 {
		s.Rotate()
		s.Recent(Queue)
	}
	wg.Wait()
	if d := s.Total(Queue); d.Count != 4000 || d.Max != 3999 {
		t.Errorf("%d durations, the longest %d ns; want 4000 and 3999", d.Count, d.Max)
	}
}

func BenchmarkObserve(b *testing.B) {
	start := time.Now()
	s := New(func() time.Duration { return time.Since(start) })
	for b.Loop() {
		s.Since(Apply, s.Now())
	}
}
