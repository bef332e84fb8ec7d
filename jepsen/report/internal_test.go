package report

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	t.Parallel()
	for v := range int64(1 << 20) {
		if c := classOf(v); classEnd(c) < v || c > 0 && classEnd(c-1) >= v {
			t.Fatalf("%d is in class %d, which ends at %d", v, c, classEnd(c))
		}
	}
	if c := classOf(1<<63 - 1); c != histogramClasses-1 {
		t.Errorf("the largest value is in class %d of %d", c, histogramClasses)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for n := 1; n <= 3000; n = n*3 + 1 {
		var h histogram
		var all []int64
		for range n {
			v := rng.Int64N(1 << (1 + rng.IntN(40)))
			h.add(v)
			all = append(all, v)
		}
		slices.Sort(all)
		for _, q := range []float64{0.5, 0.95, 0.99, 1} {
			exact := all[max(int(q*float64(n)+0.999999), 1)-1]
			if got := h.quantile(q); got < exact || float64(got) > float64(exact)*1.016+1 {
				t.Errorf("%d values, quantile %v: %d, want %d and at most 1.6%% more", n, q, got, exact)
			}
		}
		if h.max != all[n-1] {
			t.Errorf("max %d, want %d", h.max, all[n-1])
		}
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d     time.Duration
		ops   int
		width time.Duration
	}{
		{2 * time.Minute, 1_000_000, 500 * time.Millisecond},
		{time.Hour, 5_000_000, 10 * time.Second},
		{2 * time.Second, 10, 100 * time.Millisecond},
		{time.Millisecond, 0, 50 * time.Microsecond},
	} {
		b := newBuckets(c.d, c.ops)
		if b.width != c.width || b.of(int64(c.d)) != b.n-1 || b.n > maxBuckets {
			t.Errorf("%v with %d operations: %d buckets of %v, want %v", c.d, c.ops, b.n, b.width, c.width)
		}
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		latency(999):                       "999 ns",
		latency(1500):                      "1.5 µs",
		latency(10 * time.Millisecond):     "10 ms",
		latency(123456 * time.Microsecond): "123 ms",
		latency(2060 * time.Millisecond):   "2.06 s",
		latency(59600 * time.Millisecond):  "59.6 s",
		long(2 * time.Minute):              "2 min",
		long(125 * time.Second):            "2 min 5 s",
		long(90 * time.Minute):             "1 h 30 min",
		clock(75*time.Second, time.Second): "1:15",
		clock(15*time.Second, time.Second): "15 s",
		clock(time.Hour, 10*time.Minute):   "1 h",
		clock(80*time.Minute, time.Minute): "1:20 h",
		clock(20*time.Minute, time.Minute): "20 min",
		clock(1250*time.Millisecond, 1e6):  "1.25 s",
		clock(250*time.Millisecond, 1e6):   "250 ms",
		grouped(1234567):                   "1\u202f234\u202f567",
		grouped(-123456):                   "-123\u202f456",
		grouped(999):                       "999",
		fileSize(1234):                     "1.23 kB",
		clip("añb", 2):                     "a…",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestScales(t *testing.T) {
	t.Parallel()
	v := newLinearScale(523, 100, rate)
	if v.high != 600 || v.ticks[0].Label != "0" || v.ticks[len(v.ticks)-1].Label != "600" || v.y(300) != 50 {
		t.Errorf("linear scale to %v, ticks %v", v.high, v.ticks)
	}
	l := newLatencyScale(int64(3*time.Millisecond), int64(2*time.Second), 100)
	if l.low != 1e6 || l.high != 1e10 || l.ticks[0].Label != "1 ms" || math.Abs(l.y(1e8)-50) > 1e-6 {
		t.Errorf("latency scale from %v to %v, ticks %v", l.low, l.high, l.ticks)
	}
	s := newTimeScale(0, 2*time.Minute, 8)
	if n := len(s.ticks); n != 9 || s.ticks[1].Label != "15 s" || s.ticks[8].Label != "2:00" || s.x(time.Minute) != plotWidth/2 {
		t.Errorf("time ticks %v", s.ticks)
	}
}
