package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// plotWidth is the width of every drawing in its own units. The browser stretches
// drawings to the width of the page, and only in this direction; text is not part
// of them, it is laid over them and keeps its size.
const plotWidth = 1000

// tick is a label of an axis.
type tick struct {
	Pos   template.CSS // of the label, in per cent of the axis
	Label string
	Edge  string // first, last: keeps the label inside the page
}

func percent(fraction float64) template.CSS {
	return template.CSS(number(100*fraction) + "%")
}

// number formats a coordinate.
func number(x float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0")
}

// timeScale maps moments of the run to x.
type timeScale struct {
	length time.Duration
	ticks  []tick
	at     []float64 // of the ticks, as fractions of the length
}

var timeSteps = []time.Duration{
	time.Microsecond, 2 * time.Microsecond, 5 * time.Microsecond, 10 * time.Microsecond, 20 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour,
}

func newTimeScale(from, to time.Duration, ticks int) timeScale {
	s := timeScale{length: to - from}
	step := timeSteps[len(timeSteps)-1]
	for _, t := range timeSteps {
		if s.length/t <= time.Duration(ticks) {
			step = t
			break
		}
	}
	first := (from + step - 1) / step * step
	for t := first; t <= to && len(s.ticks) < 100; t += step {
		x := float64(t-from) / float64(s.length)
		edge := ""
		if x < 0.02 {
			edge = "first"
		} else if x > 0.98 {
			edge = "last"
		}
		s.ticks = append(s.ticks, tick{percent(x), clock(t, step), edge})
		s.at = append(s.at, x)
	}
	return s
}

// x returns the position of a moment, kept inside the drawing.
func (s timeScale) x(at time.Duration) float64 {
	return plotWidth * min(max(float64(at)/float64(s.length), 0), 1)
}

// clock formats a moment of the run for an axis with the given step.
func clock(t, step time.Duration) string {
	switch {
	case step >= time.Hour:
		return fmt.Sprintf("%d h", t/time.Hour)
	case step >= time.Minute && t >= time.Hour && t%time.Hour == 0:
		return fmt.Sprintf("%d h", t/time.Hour)
	case step >= time.Minute && t >= time.Hour:
		return fmt.Sprintf("%d:%02d h", t/time.Hour, t%time.Hour/time.Minute)
	case step >= time.Minute:
		return fmt.Sprintf("%d min", t/time.Minute)
	case t >= time.Minute && step >= time.Second:
		return fmt.Sprintf("%d:%02d", t/time.Minute, t%time.Minute/time.Second)
	case step >= time.Second:
		return fmt.Sprintf("%d s", t/time.Second)
	case t == 0:
		return "0"
	case step >= time.Millisecond && t >= time.Second:
		return trimZeros(fmt.Sprintf("%.3f", t.Seconds())) + " s"
	case step >= time.Millisecond:
		return fmt.Sprintf("%d ms", t/time.Millisecond)
	case t >= time.Second:
		return trimZeros(fmt.Sprintf("%.6f", t.Seconds())) + " s"
	case t >= time.Millisecond:
		return trimZeros(fmt.Sprintf("%.3f", float64(t)/1e6)) + " ms"
	}
	return fmt.Sprintf("%d µs", t/time.Microsecond)
}

// valueScale maps values to y, from the bottom (low) to the top (high).
type valueScale struct {
	low, high float64
	log       bool
	height    float64
	ticks     []tick
	at        []float64 // y of the ticks
}

func (s *valueScale) y(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		v, low, high = math.Log(max(v, s.low)), math.Log(low), math.Log(high)
	}
	return s.height * (1 - min(max((v-low)/(high-low), 0), 1))
}

func (s *valueScale) tick(v float64, label string) {
	y := s.y(v)
	s.ticks = append(s.ticks, tick{Pos: percent(y / s.height), Label: label})
	s.at = append(s.at, y)
}

// newLinearScale goes from 0 to a round number above high.
func newLinearScale(high, height float64, format func(float64) string) valueScale {
	step := math.Pow(10, math.Floor(math.Log10(max(high, 1e-9))))
	for _, k := range []float64{0.2, 0.25, 0.5, 1, 2} {
		if high/(k*step) <= 5 {
			step *= k
			break
		}
	}
	s := valueScale{high: max(math.Ceil(high/step), 1) * step, height: height}
	for v := 0.0; v <= s.high*1.0001; v += step {
		s.tick(v, format(v))
	}
	return s
}

// newLatencyScale is logarithmic and includes low and high, in nanoseconds.
func newLatencyScale(low, high int64, height float64) valueScale {
	s := valueScale{low: 1e3, log: true, height: height}
	for s.low > 1 && s.low > float64(low) {
		s.low /= 10
	}
	for s.low*10 <= float64(low) {
		s.low *= 10
	}
	s.high = s.low * 10
	for s.high < float64(high) {
		s.high *= 10
	}
	for v := s.low; v <= s.high*1.01; v *= 10 {
		s.tick(v, latency(time.Duration(v)))
		if s.high/s.low < 150 && v*5 < s.high {
			s.tick(2*v, latency(time.Duration(2*v)))
			s.tick(5*v, latency(time.Duration(5*v)))
		}
	}
	return s
}

// latency formats a duration with about three digits and the unit that fits.
func latency(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + latency(-d)
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d < time.Millisecond:
		return digits(float64(d)/1e3) + " µs"
	case d < time.Second:
		return digits(float64(d)/1e6) + " ms"
	case d < 10*time.Minute:
		return digits(d.Seconds()) + " s"
	}
	return long(d)
}

// long formats the length of a run.
func long(d time.Duration) string {
	switch {
	case d < time.Minute:
		return latency(d)
	case d < time.Hour:
		return twoUnits(int64(d/time.Minute), "min", int64(d%time.Minute/time.Second), "s")
	}
	return twoUnits(int64(d/time.Hour), "h", int64(d%time.Hour/time.Minute), "min")
}

func twoUnits(a int64, unitA string, b int64, unitB string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, unitA)
	}
	return fmt.Sprintf("%d %s %d %s", a, unitA, b, unitB)
}

func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return trimZeros(fmt.Sprintf("%.1f", v))
	}
	return trimZeros(fmt.Sprintf("%.2f", v))
}

func trimZeros(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// grouped formats a count with a narrow space between thousands.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// rate formats a number of operations per second.
func rate(v float64) string {
	if v >= 1000 {
		return grouped(int(math.Round(v)))
	}
	return digits(v)
}
