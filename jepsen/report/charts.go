package report

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// chart is one picture over the time of the run: a drawing with labels laid over it.
type chart struct {
	ID, Title, Note string
	Height          int
	Y               []tick
	Legend          []key
	Drawing         template.HTML
	Marks           []mark
	Rows            []row // labels at the left instead of Y
}

// key is one entry of a legend; Class names its colour.
type key struct{ Class, Shape, Label string }

// mark is a text inside the drawing.
type mark struct {
	Left, Width, Top template.CSS
	Class, Text      string
	Hint             string
}

// row is a label at the left of a row of the drawing.
type row struct {
	Top, Height template.CSS
	Text, Sub   string
}

// timeline draws everything that shares the run's time axis.
type timeline struct {
	run   *Run
	m     *measured
	scale timeScale
}

// span returns the ends of a fault in the drawing, wide enough to be seen.
func (t *timeline) span(f Fault) (float64, float64) {
	a, b := t.scale.x(f.Start), t.scale.x(f.End)
	if b-a < 2 {
		a = min(a, plotWidth-2)
		b = a + 2
	}
	return a, b
}

// bands draws the faults behind a chart.
// Overlapping ones look darker, unless there are too many to tell them apart.
func (t *timeline) bands(d *drawing, height float64) {
	var p pathData
	for _, f := range t.run.Faults {
		a, b := t.span(f)
		p.rect(a, 0, b, height)
		if len(t.run.Faults) <= maxFaultBands {
			d.path("band", &p)
			p = pathData{}
		}
	}
	d.path("band", &p)
}

const (
	laneHeight    = 20
	maxLanes      = 8
	maxFaultBands = 500
)

// faults draws one bar per fault with its name; faults that overlap lie in
// different lanes, as long as there are lanes.
func (t *timeline) faults() chart {
	var free [maxLanes]float64
	var labels [maxLanes]int // position+1 of the last label in each lane
	lanes := 1
	c := chart{ID: "faults", Title: "Faults"}
	var starts, ends []float64 // of the bars that have a label
	var seen, unseen pathData
	for i, f := range t.run.Faults {
		a, b := t.span(f)
		lane := 0
		for lane < maxLanes-1 && a < free[lane] {
			lane++
		}
		free[lane] = max(free[lane], b+1)
		lanes = max(lanes, lane+1)
		top := float64(lane * laneHeight)
		p := &seen
		if f.Observed == "" {
			p = &unseen
		}
		p.rect(a, top+2, b, top+laneHeight-2)
		if i >= maxFaultBands {
			continue
		}
		// A name may run on behind its bar, as far as the next bar of the lane.
		if k := labels[lane]; k > 0 {
			limitLabel(&c.Marks[k-1], starts[k-1], max(a, ends[k-1]))
		}
		c.Marks = append(c.Marks, mark{
			Left: percent(a / plotWidth), Top: px(top), Class: "fault",
			Text: fmt.Sprintf("%d %s", i+1, clip(f.Name, 60)), Hint: faultHint(i, f),
		})
		starts, ends = append(starts, a), append(ends, b)
		labels[lane] = len(c.Marks)
		limitLabel(&c.Marks[len(c.Marks)-1], a, plotWidth)
	}
	c.Height = lanes * laneHeight
	var d drawing
	d.grid(t.scale, valueScale{height: float64(c.Height)})
	d.path("faultbar", &seen)
	d.path("faultbar unseen", &unseen)
	c.Drawing = d.html()
	return c
}

// limitLabel gives a label the room from a to b, and leaves it only its number, or nothing, when
// that is narrow.
func limitLabel(m *mark, a, b float64) {
	m.Width = percent((b - a) / plotWidth)
	switch {
	case b-a < 20:
		m.Text = ""
	case b-a < 60:
		m.Text, _, _ = strings.Cut(m.Text, " ")
	}
}

func faultHint(i int, f Fault) string {
	s := fmt.Sprintf("%d: %s", i+1, clip(f.Name, 100))
	if f.Target != "" {
		s += " on " + clip(f.Target, 100)
	}
	s += ", " + clock(f.Start, time.Millisecond) + " to " + clock(f.End, time.Millisecond)
	if f.Observed == "" {
		return s + ", effect not observed"
	}
	return s
}

func px(v float64) template.CSS { return template.CSS(number(v) + "px") }

func (t *timeline) throughput() chart {
	const height = 150
	m := t.m
	high := 0.0
	for i := range m.buckets.n {
		s := m.buckets.seconds(i, m.Duration)
		high = max(high, float64(m.appends.series[i].ok)/s, float64(m.reads.series[i].ok)/s,
			float64(m.appends.series[i].bad+m.reads.series[i].bad)/s)
	}
	v := newLinearScale(high, height, rate)
	var d drawing
	t.bands(&d, height)
	d.grid(t.scale, v)
	var appends, reads, bad pathData
	for i := range m.buckets.n {
		s := m.buckets.seconds(i, m.Duration)
		x1, x2 := t.scale.x(time.Duration(i)*m.buckets.width), t.scale.x(time.Duration(i+1)*m.buckets.width)
		step := func(p *pathData, n int) {
			y := v.y(float64(n) / s)
			p.curve(x1, y)
			p.curve(x2, y)
		}
		step(&appends, m.appends.series[i].ok)
		if m.Reads.Count > 0 {
			step(&reads, m.reads.series[i].ok)
		}
		if n := m.appends.series[i].bad + m.reads.series[i].bad; n > 0 {
			bad.rect(x1, v.y(float64(n)/s), x2, height)
		}
	}
	d.path("badarea", &bad)
	d.path("curve reads", &reads)
	d.path("curve appends", &appends)
	c := chart{
		ID: "throughput", Title: "Throughput", Note: "operations per second, in steps of " + latency(m.buckets.width), Height: height, Y: v.ticks, Drawing: d.html(),
		Legend: []key{{"appends", "line", "appends acknowledged"}},
	}
	if m.Reads.Count > 0 {
		c.Legend = append(c.Legend, key{"reads", "line", "reads answered"})
	}
	c.Legend = append(c.Legend, key{"bad", "box", "refused or unanswered"})
	return c
}

// latencies draws the quantiles of acknowledged operations.
func (t *timeline) latencies(id, title string, k *kindData) chart {
	const height = 170
	m := t.m
	low, high := int64(0), max(k.latency.max, 1)
	for _, b := range k.series {
		if b.latency != nil {
			if p := b.latency.quantile(0.5); low == 0 || p < low {
				low = max(p, 1)
			}
		}
	}
	v := newLatencyScale(max(low, 1), high, height)
	var d drawing
	t.bands(&d, height)
	d.grid(t.scale, v)
	quantiles := []struct {
		class, label string
		q            float64
	}{{"max", "max", 1}, {"p99", "p99", 0.99}, {"p95", "p95", 0.95}, {"p50", "p50", 0.5}}
	c := chart{ID: id, Title: title, Note: "acknowledged operations, logarithmic", Height: height, Y: v.ticks}
	for _, q := range quantiles {
		var p pathData
		for i, b := range k.series {
			if b.latency == nil {
				p.lift()
				continue
			}
			value := b.latency.max
			if q.q < 1 {
				value = b.latency.quantile(q.q)
			}
			x := t.scale.x(time.Duration(i)*m.buckets.width + m.buckets.width/2)
			if q.q < 1 {
				p.curve(x, v.y(float64(value)))
			} else {
				p.dot(x, v.y(float64(value)))
			}
		}
		p.lift()
		d.path("curve "+q.class, &p)
		shape := "line"
		if q.q == 1 {
			shape = "disc"
		}
		c.Legend = append(c.Legend, key{q.class, shape, q.label})
	}
	c.Drawing = d.html()
	return c
}

// stripColumns is the resolution of the availability strip: of the slots that
// share a column the worst is drawn.
const stripColumns = 2000

func (t *timeline) availability() chart {
	const rowHeight, gap = 16, 6
	c := chart{
		ID: "availability", Title: "Availability", Note: "each 100 ms under load, as the clients saw it; where several share a pixel, the worst",
		Legend: []key{{"slot-ok", "box", "answered"}, {"slot-failing", "box", "only failures"}, {"slot-nothing", "box", "nothing"}},
	}
	var d drawing
	var areas [NumSlots]pathData
	y := 0.0
	strip := func(name string, k *kindData, f *KindFigures) {
		if f.Count == 0 {
			return
		}
		base, n := k.firstSlot(), len(k.load())
		columns := min(n, stripColumns)
		at := func(column int) int { return base + column*n/columns }
		x := func(slot int) float64 { return t.scale.x(time.Duration(slot) * SlotLength) }
		start, state := 0, NumSlots
		for col := 0; col <= columns; col++ {
			worst := NumSlots
			if col < columns {
				for _, s := range k.slots[at(col):at(col+1)] {
					worst = min(worst, s)
				}
			}
			if worst != state {
				if state != NumSlots {
					areas[state].rect(x(at(start)), y, x(at(col)), y+rowHeight)
				}
				start, state = col, worst
			}
		}
		c.Rows = append(c.Rows, row{Top: px(y), Height: px(rowHeight), Text: name})
		y += rowHeight + gap
	}
	strip("appends", &t.m.appends, &t.m.Appends)
	strip("reads", &t.m.reads, &t.m.Reads)
	for s := NumSlots; s > 0; s-- {
		d.path([...]string{"slot-nothing", "slot-failing", "slot-ok"}[s-1], &areas[s-1])
	}
	c.Height, c.Drawing = int(max(y-gap, rowHeight)), d.html()
	return c
}
