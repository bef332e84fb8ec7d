package report

import (
	"fmt"
	"html/template"
	"strings"
)

// A drawing is the content of one SVG element, plotWidth wide. It holds numbers
// and class names of this package only, never text that came with a run.
type drawing struct{ b strings.Builder }

func (d *drawing) html() template.HTML { return template.HTML(d.b.String()) }

// path adds path data under a class; empty data adds nothing.
func (d *drawing) path(class string, p *pathData) {
	if p.b.Len() > 0 {
		fmt.Fprintf(&d.b, `<path class="%s" d="%s"/>`, class, p.b.String())
	}
}

// grid draws the lines behind everything.
func (d *drawing) grid(t timeScale, v valueScale) {
	var p pathData
	for _, x := range t.at {
		p.line(plotWidth*x, 0, plotWidth*x, v.height)
	}
	for _, y := range v.at {
		p.line(0, y, plotWidth, y)
	}
	d.path("grid", &p)
}

// pathData is the d attribute of a path.
type pathData struct {
	b   strings.Builder
	pen bool // a curve is open
}

func (p *pathData) move(x, y float64) { p.b.WriteString("M" + number(x) + " " + number(y)) }

// curve continues the open curve, or starts one.
func (p *pathData) curve(x, y float64) {
	if p.pen {
		p.b.WriteString("L" + number(x) + " " + number(y))
		return
	}
	p.move(x, y)
	p.pen = true
}

// lift ends the open curve; a curve of one point becomes a dot.
func (p *pathData) lift() {
	if p.pen {
		p.b.WriteString("h0")
	}
	p.pen = false
}

func (p *pathData) line(x1, y1, x2, y2 float64) {
	p.move(x1, y1)
	p.b.WriteString("L" + number(x2) + " " + number(y2))
}

func (p *pathData) rect(x1, y1, x2, y2 float64) {
	p.move(x1, y1)
	p.b.WriteString("H" + number(x2) + "V" + number(y2) + "H" + number(x1) + "z")
}

// dot is a line of no length: round line caps make it a disc whose size does not
// depend on how the drawing is stretched.
func (p *pathData) dot(x, y float64) {
	p.move(x, y)
	p.b.WriteString("h0")
}
