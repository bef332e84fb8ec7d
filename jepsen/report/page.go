package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
)

// pageName is the file that Write makes.
const pageName = "index.html"

var (
	//go:embed page.html.tmpl
	pageText string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string

	pageTemplate = template.Must(template.New(pageName).Parse(pageText))
)

// Bounds on what is shown of one run, so that the page stays small.
const (
	maxFaultRows = 500 // and as many more that were not observed
	maxReasons   = 50
	maxListed    = 100 // violations
	maxNamed     = 100
)

// Write writes dir/index.html. dir must exist; the files in it are listed on the page,
// so a caller saves history and logs first. An existing report is replaced.
func Write(dir string, run Run) error {
	files, more, err := listFiles(dir)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, newPage(&run, files, more)); err != nil {
		return errors.Wrap(err, "lay out report")
	}
	return errors.Wrap(wholefile.Write(filepath.Join(dir, pageName), out.Bytes(), 0o644), "write report")
}

// page is what the template shows.
type page struct {
	Style  template.CSS
	Script template.JS

	Title, Ring                 string
	Verdict, VerdictClass, Says string
	Reasons                     []string
	MoreReasons                 int
	When                        string
	Headline                    []Named
	Params                      []param
	Kinds                       []kindRow
	Extra                       []Named
	Ticks                       []tick
	Charts                      []chart
	Fate                        *chart
	Faults                      []faultRow
	MoreFaults                  int
	Drawn                       []counterexample
	Listed                      []violationRow
	MoreViolations              int
	Files                       []rawFile
	MoreFiles                   int
	Data                        cursorData
}

type param struct {
	Name, Value string
	Command     bool
}

type kindRow struct {
	Name, Count, OK, Failed, Unknown, Rate, P50, P95, P99, Max, Quiet string
	SlotsOK, SlotsFailing, SlotsNothing                               string
}

type faultRow struct {
	Number                                   int
	Name, Target, Start, Length, Write, Read string
	Observed                                 string
}

type violationRow struct {
	Number                  int
	Kind, Index, Text, A, B string
}

// cursorData lets the page tell the numbers under the pointer.
type cursorData struct {
	Length float64       `json:"length"` // seconds
	Step   float64       `json:"step"`   // seconds
	Rows   [][7]float64  `json:"rows"`   // appends/s, reads/s, bad/s, p50, p95, p99, max of appends in ms
	Faults []cursorFault `json:"faults"`
}

type cursorFault struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
	Name string  `json:"name"`
}

func newPage(run *Run, files []rawFile, moreFiles int) *page {
	m := measure(run)
	p := &page{
		Style: template.CSS(pageStyle), Script: template.JS(pageScript),
		Title: clip(run.Title, 200), Ring: fmt.Sprintf("Ring %d: %s", run.Ring, run.Ring),
		Files: files, MoreFiles: moreFiles,
	}
	p.judge(run, m)
	p.head(run, m)
	p.figures(run, m)

	t := &timeline{run: run, m: m, scale: newTimeScale(0, m.Duration, 8)}
	p.Ticks = t.scale.ticks
	if len(run.Faults) > 0 {
		p.Charts = append(p.Charts, t.faults())
	}
	p.Charts = append(p.Charts, t.throughput())
	if m.Appends.Count > 0 {
		p.Charts = append(p.Charts, t.latencies("append-latency", "Latency of appends", &m.appends))
	}
	if m.Reads.Count > 0 {
		p.Charts = append(p.Charts, t.latencies("read-latency", "Latency of reads", &m.reads))
	}
	p.Charts = append(p.Charts, t.availability())
	if len(run.Nodes) > 0 {
		p.Charts = append(p.Charts, t.nodes())
	}
	if m.Appends.Count > 0 {
		c := t.fatePlot()
		p.Fate = &c
	}
	p.faults(run, m)
	p.violations(run)
	p.cursor(run, m)
	return p
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(n) + " " + many
}

// head fills in what identifies the run.
func (p *page) head(run *Run, m *measured) {
	if !run.Start.IsZero() {
		p.When = run.Start.UTC().Format("2006-01-02 15:04:05") + " UTC"
		if !run.End.IsZero() {
			p.When += " to " + run.End.UTC().Format("2006-01-02 15:04:05") + " UTC"
		}
	}
	q := run.Params
	add := func(name, value string, command bool) {
		if value != "" {
			p.Params = append(p.Params, param{name, clip(value, 2000), command})
		}
	}
	add("Again", q.Command, true)
	add("Check again", q.Recheck, true)
	add("Seed", fmt.Sprint(q.Seed), false)
	if q.Nodes > 0 {
		add("Nodes", fmt.Sprint(q.Nodes), false)
	}
	add("Level", q.Level, false)
	add("Commit", q.GitCommit, false)
	add("Go", q.GoVersion, false)
	add("Kernel", q.Kernel, false)
	add("Time", p.When, false)
	add("Duration", long(m.Duration), false)
	for i, n := range q.More {
		if i < maxNamed {
			add(clip(n.Name, 100), clip(n.Value, 500), false)
		}
	}
}

func (p *page) figures(run *Run, m *measured) {
	p.Headline = []Named{
		{"operations", grouped(m.Ops)},
		{"entries", grouped(m.FinalSize)},
	}
	if m.Appends.Count > 0 {
		p.Headline = append(p.Headline,
			Named{"appends/s", rate(m.Appends.Rate)},
			Named{"append p99", latency(m.Appends.P99)},
			Named{"longest write gap", latency(m.Appends.Quiet)})
	}
	p.Headline = append(p.Headline, Named{"contradictions", grouped(len(run.Violations))})
	receipts := grouped(run.Receipts.Checked)
	if run.Receipts.Bad > 0 {
		receipts = grouped(run.Receipts.Bad) + " bad of " + receipts
	}
	p.Headline = append(p.Headline, Named{"receipts verified", receipts})
	for _, k := range []struct {
		name string
		f    *KindFigures
	}{{"appends", &m.Appends}, {"reads", &m.Reads}} {
		f := k.f
		if f.Count == 0 {
			continue
		}
		slots := func(s Slot) string {
			n := 0
			for _, c := range f.Slots {
				n += c
			}
			share := 100 * float64(f.Slots[s]) / float64(n)
			if share > 99.99 && f.Slots[s] < n {
				share = 99.99
			}
			return trimZeros(fmt.Sprintf("%.2f", share)) + " %"
		}
		p.Kinds = append(p.Kinds, kindRow{
			k.name, grouped(f.Count), grouped(f.OK), grouped(f.Failed), grouped(f.Unknown), rate(f.Rate),
			latency(f.P50), latency(f.P95), latency(f.P99), latency(f.Max), latency(f.Quiet),
			slots(SlotOK), slots(SlotFailing), slots(SlotNothing),
		})
	}
	for i, n := range run.Extra {
		if i < maxNamed {
			p.Extra = append(p.Extra, Named{clip(n.Name, 100), clip(n.Value, 500)})
		}
	}
}

func (p *page) faults(run *Run, m *measured) {
	for i, f := range run.Faults {
		if i >= maxFaultRows && f.Observed != "" || len(p.Faults) >= 2*maxFaultRows {
			p.MoreFaults++
			continue
		}
		r := faultRow{
			Number: i + 1, Name: clip(f.Name, 100), Target: clip(f.Target, 100), Start: clock(f.Start, time.Millisecond),
			Length: latency(f.End - f.Start), Observed: clip(f.Observed, 300), Write: "–", Read: "–",
		}
		if f.End == f.Start {
			r.Length = "instant"
		}
		if m.Appends.Count > 0 {
			r.Write = latency(m.Gaps[i].Write)
		}
		if m.Reads.Count > 0 {
			r.Read = latency(m.Gaps[i].Read)
		}
		p.Faults = append(p.Faults, r)
	}
}

func (p *page) violations(run *Run) {
	for i, v := range run.Violations {
		if i < maxDrawn {
			p.Drawn = append(p.Drawn, newCounterexample(run, i+1, v))
		}
		if i == maxListed {
			p.MoreViolations = len(run.Violations) - i
			break
		}
		r := violationRow{Number: i + 1, Kind: clip(v.Kind, 40), Index: fmt.Sprint(v.Index), Text: clip(v.Text, 500)}
		if op := position(run, v.A); op != nil {
			r.A = describe(op) + " " + when(op)
		}
		if op := position(run, v.B); op != nil {
			r.B = describe(op) + " " + when(op)
		}
		p.Listed = append(p.Listed, r)
	}
	if len(p.Listed) <= len(p.Drawn) {
		p.Listed = nil // all of them are drawn
	}
}

func (p *page) cursor(run *Run, m *measured) {
	p.Data = cursorData{Length: m.Duration.Seconds(), Step: m.buckets.width.Seconds(), Rows: make([][7]float64, m.buckets.n), Faults: []cursorFault{}}
	short := func(x float64) float64 { return float64(int64(x*1000+0.5)) / 1000 }
	for i := range p.Data.Rows {
		s := m.buckets.seconds(i, m.Duration)
		a, r := m.appends.series[i], m.reads.series[i]
		row := &p.Data.Rows[i]
		row[0], row[1], row[2] = short(float64(a.ok)/s), short(float64(r.ok)/s), short(float64(a.bad+r.bad)/s)
		if h := a.latency; h != nil {
			for k, v := range []int64{h.quantile(0.5), h.quantile(0.95), h.quantile(0.99), h.max} {
				row[3+k] = short(float64(v) / 1e6)
			}
		}
	}
	for i, f := range run.Faults {
		if i == maxFaultBands {
			break
		}
		p.Data.Faults = append(p.Data.Faults, cursorFault{short(f.Start.Seconds()), short(f.End.Seconds()), fmt.Sprintf("%d %s", i+1, clip(f.Name, 40))})
	}
}

// clip bounds a text that came with a run.
func clip(s string, most int) string {
	if len(s) <= most {
		return strings.ToValidUTF8(s, "�")
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
