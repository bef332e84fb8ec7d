package report

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"time"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
)

const (
	maxDrawn    = 3  // violations that are drawn; all are listed
	contextRows = 14 // operations around the two that contradict each other
	opRowHeight = 24
)

// counterexample is one violation with the operations around it.
type counterexample struct {
	Number  int
	Kind    string
	Index   string
	Text    string   // the checker's own words
	Story   []string // the same in plain words, one step after the other
	Ops     []opLine
	Height  int
	Drawing template.HTML
	Marks   []mark
	Ticks   []tick
	Hidden  string // how many operations of that time are not drawn
}

// opLine is one row: an operation and its description.
type opLine struct {
	Letter, Class string // A, B or nothing
	Who, What     string
}

// whatKind explains the stable words of check.Violation.
var whatKind = map[string]string{
	"stale":        "Somebody saw less than somebody else had already seen before.",
	"lost":         "Something that a client was told, or saw, is not in the final ledger.",
	"phantom":      "The final ledger holds an entry that nobody can have put there.",
	"moved":        "An entry is not at the index under which it was acknowledged.",
	"duplicate":    "One entry was added twice.",
	"mismatch":     "An entry reads differently from what was acknowledged or seen.",
	"torn-batch":   "A batch that must appear as a whole was seen or stored in parts.",
	"wrong-root":   "A root was named that is not the Merkle tree hash of the entries.",
	"future":       "Something was seen before anybody had asked for it.",
	"wrong-answer": "An answer contradicts its own question.",
	"failure":      "A node failed at what it must be able to do, whatever it is asked.",
}

func newCounterexample(run *Run, number int, v check.Violation) counterexample {
	c := counterexample{Number: number, Kind: v.Kind, Index: fmt.Sprint(v.Index), Text: clip(v.Text, 1000)}
	if s, ok := whatKind[v.Kind]; ok {
		c.Story = append(c.Story, s)
	}
	a, b := position(run, v.A), position(run, v.B)
	if a == nil && b == nil {
		return c
	}
	w := windowOf(run, v)
	told := len(c.Story)
	if a != nil {
		c.Story = append(c.Story, "A: "+describe(a)+" "+when(a)+lesson(v, a, true))
	}
	if b != nil {
		c.Story = append(c.Story, "B: "+describe(b)+" "+when(b)+lesson(v, b, false))
	}
	if a != nil && b != nil && b.Call < a.Call {
		slices.Reverse(c.Story[told:])
	}
	if v.Kind == "lost" {
		c.Story = append(c.Story, "In the end the ledger had "+counted(len(run.Final), "entry", "entries")+", and this was not among them.")
	}
	if v.Kind == "stale" && a != nil && b != nil && a.Call > b.Return {
		c.Story = append(c.Story, fmt.Sprintf("Between B's return and A's call lie %s in which the ledger would have had to shrink, and a ledger only grows.",
			latency(time.Duration(a.Call-b.Return))))
	}
	w.draw(&c, run, v)
	return c
}

func position(run *Run, i int) *history.Op {
	if i < 0 || i >= len(run.Ops) {
		return nil
	}
	return &run.Ops[i]
}

// window is the part of the run around a violation.
type window struct {
	from, to int64
	shown    []int // positions in the history, in order of call
	hidden   int
	scale    timeScale
}

func windowOf(run *Run, v check.Violation) *window {
	w := &window{from: history.Never, to: -history.Never}
	var pair []int
	for _, i := range []int{v.A, v.B} {
		if op := position(run, i); op != nil {
			pair = append(pair, i)
			w.from, w.to = min(w.from, op.Call), max(w.to, op.Call)
			if op.Return != history.Never {
				w.to = max(w.to, op.Return)
			}
		}
	}
	pad := max((w.to-w.from)/6, 20_000)
	w.from, w.to = max(w.from-pad, 0), w.to+pad

	// Of the operations in the window those about the same entry are the most
	// telling, then those nearest to A or B.
	type candidate struct {
		i        int
		about    bool
		distance int64
	}
	var found []candidate
	for i := range run.Ops {
		op := &run.Ops[i]
		if i == v.A || i == v.B || op.Call > w.to || op.Return < w.from || op.Return == history.Never && op.Call < w.from {
			continue
		}
		w.hidden++
		d := int64(history.Never)
		for _, p := range pair {
			other := &run.Ops[p]
			d = min(d, abs(op.Call-other.Call))
			if other.Return != history.Never && op.Return != history.Never {
				d = min(d, abs(op.Return-other.Return))
			}
		}
		found = append(found, candidate{i, about(op, v.Index), d})
		if len(found) >= 64*contextRows {
			found = nearest(found, func(a, b candidate) int { return byRelevance(a.about, b.about, a.distance, b.distance, a.i, b.i) })
		}
	}
	found = nearest(found, func(a, b candidate) int { return byRelevance(a.about, b.about, a.distance, b.distance, a.i, b.i) })
	w.hidden -= len(found)
	w.shown = pair
	for _, c := range found {
		w.shown = append(w.shown, c.i)
	}
	slices.SortFunc(w.shown, func(a, b int) int {
		return cmp.Or(cmp.Compare(run.Ops[a].Call, run.Ops[b].Call), cmp.Compare(a, b))
	})
	w.shown = slices.Compact(w.shown)
	w.scale = newTimeScale(time.Duration(w.from), time.Duration(w.to), 6)
	return w
}

func nearest[T any](s []T, less func(a, b T) int) []T {
	slices.SortFunc(s, less)
	return s[:min(len(s), contextRows)]
}

func byRelevance(aboutA, aboutB bool, dA, dB int64, iA, iB int) int {
	if aboutA != aboutB {
		if aboutA {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(dA, dB), cmp.Compare(iA, iB))
}

func abs(x int64) int64 { return max(x, -x) }

// about: op names the entry or the size that a violation is about.
func about(op *history.Op, index uint64) bool {
	switch op.Kind {
	case history.Append:
		return slices.ContainsFunc(op.Entries, func(e history.Entry) bool { return op.Outcome == history.OK && e.Index == index })
	case history.Get:
		return op.First == index
	case history.Range, history.Watch:
		return index >= op.First && index-op.First <= uint64(len(op.Entries))
	}
	return op.Size == index || op.Size == index+1
}

// when says when an operation was called and answered.
func when(op *history.Op) string {
	s := fmt.Sprintf("(process %d, called at %s", op.Process, moment(op.Call))
	if op.Return == history.Never {
		return s + ", never answered)"
	}
	return s + ", returned at " + moment(op.Return) + ")"
}

// moment formats a moment of the run to the microsecond.
func moment(ns int64) string {
	return fmt.Sprintf("%.6f s", float64(ns)/1e9)
}

func (w *window) draw(c *counterexample, run *Run, v check.Violation) {
	c.Height = len(w.shown) * opRowHeight
	c.Ticks = w.scale.ticks
	if w.hidden > 0 {
		c.Hidden = counted(w.hidden, "other operation", "other operations")
	}
	x := func(at int64) float64 { return w.scale.x(time.Duration(at - w.from)) }
	var d drawing
	d.grid(w.scale, valueScale{height: float64(c.Height)})
	bars := map[string]*pathData{"a": {}, "b": {}, "other": {}, "open": {}}
	for i, at := range w.shown {
		op := &run.Ops[at]
		line := opLine{Who: fmt.Sprintf("p%d", op.Process), What: describe(op)}
		class := "other"
		switch at {
		case v.A:
			class, line.Letter, line.Class = "a", "A", "a"
		case v.B:
			class, line.Letter, line.Class = "b", "B", "b"
		}
		c.Ops = append(c.Ops, line)
		y := float64(i * opRowHeight)
		x1, x2 := x(op.Call), plotWidth*1.0
		if op.Return != history.Never {
			x2 = x(op.Return)
		} else if class == "other" {
			class = "open"
		}
		if x2-x1 < 4 {
			x2 = x1 + 4
		}
		bars[class].rect(x1, y+5, x2, y+opRowHeight-5)
		if line.Letter != "" {
			c.Marks = append(c.Marks, mark{Left: percent(x1 / plotWidth), Width: "1.5em", Top: px(y), Class: "letter", Text: line.Letter, Hint: line.What})
		}
	}
	for _, class := range []string{"other", "open", "a", "b"} {
		d.path("op "+class, bars[class])
	}
	if a, b := position(run, v.A), position(run, v.B); v.Kind == "stale" && a != nil && b != nil && a.Call > b.Return {
		var gap, ends pathData
		x1, x2 := x(b.Return), x(a.Call)
		gap.rect(x1, 0, x2, float64(c.Height))
		ends.line(x1, 0, x1, float64(c.Height))
		ends.line(x2, 0, x2, float64(c.Height))
		d.path("contradiction", &gap)
		d.path("contradiction-ends", &ends)
	}
	c.Drawing = d.html()
}
