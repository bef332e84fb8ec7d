package report

import "math/bits"

// A histogram counts durations in classes that are at most 1/64 of their value
// wide, so a quantile is at most 1.6 % too high. The largest value is kept exactly.
type histogram struct {
	counts [histogramClasses]uint32
	total  uint64
	max    int64 // ns
}

const (
	subBits          = 6
	maxOctave        = 44 // 2^44 ns is almost five hours
	histogramClasses = (maxOctave - subBits + 2) << subBits
)

// classOf returns the class of v: the leading bit and the subBits after it.
func classOf(v int64) int {
	if v < 1<<subBits {
		return int(max(v, 0))
	}
	v = min(v, 1<<(maxOctave+1)-1)
	shift := bits.Len64(uint64(v)) - 1 - subBits
	return (shift+1)<<subBits + int(v>>shift) - 1<<subBits
}

// classEnd returns the largest value of class c.
func classEnd(c int) int64 {
	if c < 1<<subBits {
		return int64(c)
	}
	shift := c>>subBits - 1
	return (int64(c&(1<<subBits-1))+1<<subBits+1)<<shift - 1
}

func (h *histogram) add(v int64) {
	h.counts[classOf(v)]++
	h.total++
	h.max = max(h.max, v)
}

// quantile returns the smallest class end that at least the fraction q of all
// values does not exceed; 0 when there are none.
func (h *histogram) quantile(q float64) int64 {
	if h.total == 0 {
		return 0
	}
	want := max(uint64(q*float64(h.total)+0.999999), 1)
	seen := uint64(0)
	for c, n := range h.counts {
		if seen += uint64(n); seen >= want {
			return min(classEnd(c), h.max)
		}
	}
	return h.max
}
