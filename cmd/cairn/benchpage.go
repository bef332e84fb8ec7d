package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
)

//go:embed benchpage.html
var benchPageText string

var benchPageTemplate = template.Must(template.New("bench").Parse(benchPageText))

// benchPage draws a result as a page that needs no other file.
func benchPage(r *benchResult) ([]byte, error) {
	words := newPage(screen{})
	r.summary(words)
	var b bytes.Buffer
	err := benchPageTemplate.Execute(&b, map[string]any{
		"Corrected": r.Options.Rate > 0, "Words": strings.TrimSpace(words.String()), "Version": r.Version,
		"Quantiles": quantilePlot(r.quantiles), "Bars": barPlot(r.Histogram), "Rate": ratePlot(r.Timeline), "Longest": longestPlot(r.Timeline),
		"Stalls": r.Timeline.stalls(),
	})
	return b.Bytes(), errors.Wrap(err, "write the page")
}

// plot is an SVG with axes. x and y map a value to 0 … 1.
type plot struct {
	XLabel, YLabel string
	X, Y           []tick
	Line           string // points of a line
	Bars           []bar
}

// tick is a label at a place of an axis, in the units of the SVG.
type tick struct {
	At   float64
	Text string
}

type bar struct {
	X, Y, W, H float64
	Title      string
}

// The area of a plot within its SVG of 860 by 300.
const (
	plotLeft, plotRight = 80.0, 840.0
	plotTop, plotBottom = 12.0, 250.0
)

func plotX(share float64) float64 { return plotLeft + share*(plotRight-plotLeft) }
func plotY(share float64) float64 { return plotBottom - share*(plotBottom-plotTop) }

// logAxis maps values from lo to hi to 0 … 1 by their logarithm, with a tick at each power of ten and
// at 2 and 5 times that where there is room.
type logAxis struct{ lo, hi float64 }

func (a logAxis) at(v float64) float64 {
	if a.hi <= a.lo {
		return 0
	}
	return min(max(math.Log(v/a.lo)/math.Log(a.hi/a.lo), 0), 1)
}

func (a logAxis) ticks(text func(float64) string) (all []tick) {
	steps := []float64{1, 2, 5}
	if math.Log10(a.hi/a.lo) > 3 {
		steps = steps[:1]
	}
	for decade := math.Pow(10, math.Floor(math.Log10(a.lo))); decade <= a.hi; decade *= 10 {
		for _, s := range steps {
			if v := decade * s; v >= a.lo*0.999 && v <= a.hi*1.001 {
				all = append(all, tick{a.at(v), text(v)})
			}
		}
	}
	return all
}

// latencyAxis covers latencies in microseconds, with room around them.
func latencyAxis(least, most int64) logAxis {
	return logAxis{float64(max(least, 1)) / 1.3, float64(max(most, least, 1)) * 1.3}
}

func latencyTick(us float64) string { return shortLatency(time.Duration(us) * time.Microsecond) }

// linearTicks are about five round values from 0 to most, and the end of the axis.
func linearTicks(most float64, text func(float64) string) (all []tick, end float64) {
	if most <= 0 {
		most = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most/4)))
	for _, s := range []float64{1, 2, 2.5, 5, 10} {
		if most/(step*s) <= 5 {
			step *= s
			break
		}
	}
	end = math.Ceil(most/step) * step
	for v := 0.0; v <= end*1.001; v += step {
		all = append(all, tick{v / end, text(v)})
	}
	return all, end
}

func placed(all []tick, place func(float64) float64) []tick {
	for i := range all {
		all[i].At = place(all[i].At)
	}
	return all
}

// quantilePlot draws latency over the share of requests, with as much room for each further nine.
func quantilePlot(all []quantile) plot {
	p := plot{XLabel: "share of the requests", YLabel: "latency"}
	if len(all) == 0 {
		return p
	}
	last := all[len(all)-1]
	nines := func(share float64) float64 { return -math.Log10(1 - share) }
	width := max(nines(last.share), 1)
	y := latencyAxis(all[0].us, last.us)
	p.Y = placed(y.ticks(latencyTick), plotY)
	for _, share := range []float64{0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999} {
		if nines(share) <= width+1e-9 {
			p.X = append(p.X, tick{plotX(nines(share) / width), fmt.Sprintf("%.7g %%", 100*share)})
		}
	}
	var b strings.Builder
	for _, q := range all {
		fmt.Fprintf(&b, "%.1f,%.1f ", plotX(nines(q.share)/width), plotY(y.at(float64(max(q.us, 1)))))
	}
	p.Line = strings.TrimSpace(b.String())
	return p
}

// barPlot draws the classes of latencies.
func barPlot(bars []latencyBar) plot {
	p := plot{XLabel: "latency", YLabel: "requests"}
	if len(bars) == 0 {
		return p
	}
	most := int64(0)
	for _, b := range bars {
		most = max(most, b.Count)
	}
	ticks, end := linearTicks(float64(most), func(v float64) string { return count(v) })
	p.Y = placed(ticks, plotY)
	wide := (plotRight - plotLeft) / float64(len(bars))
	skip := 1 + len(bars)/14
	for i, b := range bars {
		h := float64(b.Count) / end * (plotBottom - plotTop)
		x := plotLeft + float64(i)*wide
		from := shortLatency(time.Duration(b.From) * time.Microsecond)
		p.Bars = append(p.Bars, bar{x + 1, plotBottom - h, wide - 2, h,
			fmt.Sprintf("%s to %s: %s", from, shortLatency(time.Duration(b.To)*time.Microsecond), plural(b.Count, "request", "requests"))})
		if i%skip == 0 {
			p.X = append(p.X, tick{x, from})
		}
	}
	return p
}

// timeAxis labels the seconds of a timeline.
func (p *plot) timeAxis(t timeline) (end float64) {
	ticks, end := linearTicks(float64(len(t))*slotLength.Seconds(), func(v float64) string { return fmt.Sprintf("%g s", v) })
	p.X, p.XLabel = placed(ticks, plotX), "time since the begin of the measurement"
	return end
}

// ratePlot draws entries a second over time.
func ratePlot(t timeline) plot {
	p := plot{YLabel: "entries/s"}
	end, most := p.timeAxis(t), int64(0)
	for _, s := range t {
		most = max(most, s.Entries)
	}
	second := float64(time.Second / slotLength)
	ticks, top := linearTicks(float64(most)*second, func(v float64) string { return count(v) })
	p.Y = placed(ticks, plotY)
	var b strings.Builder
	for i, s := range t {
		fmt.Fprintf(&b, "%.1f,%.1f ", plotX((float64(i)+0.5)*slotLength.Seconds()/end), plotY(float64(s.Entries)*second/top))
	}
	p.Line = strings.TrimSpace(b.String())
	return p
}

// longestPlot draws the longest latency of each slot. A slot without a bar had no answer.
func longestPlot(t timeline) plot {
	p := plot{YLabel: "longest latency"}
	end, least, most := p.timeAxis(t), int64(math.MaxInt64), int64(0)
	for _, s := range t {
		if s.Entries > 0 {
			least, most = min(least, s.Longest), max(most, s.Longest)
		}
	}
	if most == 0 {
		return p
	}
	y := latencyAxis(least/2, most)
	p.Y = placed(y.ticks(latencyTick), plotY)
	wide := (plotRight - plotLeft) * slotLength.Seconds() / end
	for i, s := range t {
		if s.Entries == 0 {
			continue
		}
		h := y.at(float64(max(s.Longest, 1))) * (plotBottom - plotTop)
		p.Bars = append(p.Bars, bar{plotLeft + float64(i)*wide, plotBottom - h, max(wide-0.5, 0.5), h,
			fmt.Sprintf("%.1f s: %s", float64(i)*slotLength.Seconds(), latencyString(time.Duration(s.Longest)*time.Microsecond))})
	}
	return p
}
