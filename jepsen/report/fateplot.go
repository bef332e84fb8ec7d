package report

import (
	"time"

	"github.com/cairnledger/cairn/jepsen/history"
)

// The fate plot's resolution, in units of the drawing: dots closer than that are one dot.
const (
	fateCellX = 2.5
	fateCellY = 2.5
	fateLane  = 26 // height of the lane of a fate that has no latency to show
	fateArea  = 220
)

var fateClasses = [NumFates]string{
	Kept: "kept", Refused: "refused", UnknownPresent: "unknown-present",
	UnknownAbsent: "unknown-absent", RefusedPresent: "refused-present", Lost: "lost",
}

// fateRows label the lanes, in two lines.
var fateRows = [NumFates][2]string{
	Refused: {"failed", "definitely"}, UnknownPresent: {"unknown", "in ledger"}, UnknownAbsent: {"unknown", "not in ledger"},
	RefusedPresent: {"refused", "yet in ledger"}, Lost: {"lost", ""},
}

// fatePlot draws a dot for every append at the moment of its call. What is in the ledger
// as acknowledged lies at its latency; every other fate has a lane of its own, so
// that one lost append among millions is seen.
func (t *timeline) fatePlot() chart {
	m := t.m
	c := chart{ID: "fate", Note: "Each append at the moment of its call; the acknowledged ones by latency, logarithmic; dots that coincide are one"}
	lanes := []Fate{Lost, RefusedPresent, UnknownAbsent, UnknownPresent, Refused}
	if m.Fates[RefusedPresent] == 0 {
		lanes = []Fate{Lost, UnknownAbsent, UnknownPresent, Refused}
	}
	var top [NumFates]float64
	y := 0.0
	for _, f := range lanes {
		top[f] = y
		c.Rows = append(c.Rows, row{Top: px(y), Height: px(fateLane), Text: fateRows[f][0], Sub: fateRows[f][1]})
		y += fateLane
	}
	lanesEnd := y
	y += 8

	low, high := int64(0), int64(1)
	for i := range t.run.Ops {
		op := &t.run.Ops[i]
		if f := m.fates[i]; f == Kept {
			l := op.Return - op.Call
			high = max(high, l)
			if low == 0 || l < low {
				low = max(l, 1)
			}
		}
	}
	v := newLatencyScale(max(low, 1), high, fateArea)

	columns, rows := int(plotWidth/fateCellX)+1, int((y+fateArea)/fateCellY)+1
	var cells [NumFates][]uint32
	for i := range t.run.Ops {
		f := m.fates[i]
		if f >= NumFates {
			continue
		}
		op := &t.run.Ops[i]
		py := 0.0
		if f == Kept {
			py = y + v.y(float64(op.Return-op.Call))
		} else {
			// Spread over the lane in a way that depends on the append only.
			py = top[f] + 5 + float64(scatter(op, i)%uint32(fateLane-9))
		}
		if cells[f] == nil {
			cells[f] = make([]uint32, columns*rows)
		}
		x := t.scale.x(time.Duration(op.Call))
		cells[f][int(py/fateCellY)*columns+int(x/fateCellX)]++
	}

	height := y + fateArea
	var d drawing
	t.bands(&d, height)
	grid := valueScale{height: height}
	for _, at := range v.at {
		grid.at = append(grid.at, y+at)
	}
	d.grid(t.scale, grid)
	var rules pathData
	for l := 1.0; l*fateLane <= lanesEnd; l++ {
		rules.line(0, l*fateLane, plotWidth, l*fateLane)
	}
	d.path("rule", &rules)
	for f := range NumFates {
		if cells[f] == nil {
			continue
		}
		levels := densities(cells[f])
		var dots [densityLevels]pathData
		for i, n := range cells[f] {
			if n > 0 {
				p := &dots[levels(n)]
				x, cy := float64(i%columns)*fateCellX, float64(i/columns)*fateCellY
				p.dot(x, cy)
			}
		}
		for level := range dots {
			class := "dots " + fateClasses[f]
			if f == Kept || f == Refused {
				class += [densityLevels]string{" d1", " d2", " d3"}[level]
			}
			d.path(class, &dots[level])
		}
	}
	for f := range NumFates {
		if f != RefusedPresent || m.Fates[f] > 0 {
			c.Legend = append(c.Legend, key{fateClasses[f], "disc", f.String() + " " + grouped(m.Fates[f])})
		}
	}
	for i, tk := range v.ticks {
		c.Y = append(c.Y, tick{Pos: px(y + v.at[i]), Label: tk.Label})
	}
	c.Height, c.Drawing = int(height), d.html()
	return c
}

func scatter(op *history.Op, i int) uint32 {
	h := uint32(i)*2654435761 ^ op.Process*40503
	return h >> 16
}

const densityLevels = 3

// densities sorts the cells of a plot by how many appends share them: most are drawn faint
// when some hold hundreds.
func densities(cells []uint32) func(uint32) int {
	most := uint32(0)
	for _, n := range cells {
		most = max(most, n)
	}
	return func(n uint32) int {
		switch {
		case most < 8 || n*8 >= most:
			return 2
		case n*64 >= most && n > 1:
			return 1
		}
		return 0
	}
}
