package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/jepsen/report"
)

const maxPage = 3_000_000

// write makes a report and checks what holds for every page, whatever the run:
// it loads nothing, its drawings are well-formed and its data are JSON.
func write(t *testing.T, dir string, run report.Run) string {
	t.Helper()
	if err := report.Write(dir, run); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	if len(page) > maxPage {
		t.Errorf("the page has %d bytes, want at most %d", len(page), maxPage)
	}
	if !strings.Contains(page, "default-src &#39;none&#39;") && !strings.Contains(page, "default-src 'none'") {
		t.Error("the page does not forbid loading")
	}
	markup := page[strings.Index(page, "<main>"):]
	unquoted := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(page, `""`)
	for _, external := range []string{"<link", "<img", "<iframe", `src=""`, "@import", "url(", "xlink"} {
		if strings.Contains(unquoted, external) {
			t.Errorf("the page contains %s", external)
		}
	}
	for _, href := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(markup, -1) {
		if !strings.HasPrefix(href[1], "./") {
			t.Errorf("link %q leads out of the folder", href[1])
		}
	}
	if n := strings.Count(strings.ToLower(page), "<script"); n != 2 {
		t.Errorf("the page has %d scripts, want its own 2", n)
	}
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("the template engine refused a value")
	}
	for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1) {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("a drawing is not well-formed: %v", err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "path" {
				for _, a := range e.Attr {
					if a.Name.Local == "d" && !regexp.MustCompile(`^M[MLHVhz0-9. -]*$`).MatchString(a.Value) {
						t.Fatalf("path data %.80q", a.Value)
					}
				}
			}
		}
	}
	data := between(t, page, `id="data">`, `</script>`)
	if !json.Valid([]byte(data)) {
		t.Errorf("the page's data are not JSON: %.200s", data)
	}
	return page
}

func between(t *testing.T, s, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, from)
	inside, _, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("nothing between %q and %q", from, to)
	}
	return inside
}

// text removes the markup of a part of the page.
func text(s string) string {
	s = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(s, " ")
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "\u202f", "")), " ")
}

func section(t *testing.T, page, id string) string {
	t.Helper()
	return between(t, page, `<section id="`+id+`">`, `</section>`)
}

// dots counts the dots of one class in the fate plot.
func dots(t *testing.T, page, class string) int {
	t.Helper()
	n := 0
	for _, m := range regexp.MustCompile(`<path class="dots `+class+`(?: d\d)?" d="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		n += strings.Count(m[1], "h0")
	}
	return n
}

func appended(process uint32, n int, call, ret time.Duration, index uint64) history.Op {
	return history.Op{
		Process: process, Kind: history.Append, Outcome: history.OK, Call: int64(call), Return: int64(ret),
		Entries: []history.Entry{{Key: digest('k', n), Body: digest('b', n), Index: index}},
	}
}

func final(ns ...int) (out []check.FinalEntry) {
	for _, n := range ns {
		out = append(out, check.FinalEntry{Key: digest('k', n), Body: digest('b', n)})
	}
	return out
}

// small is a run of two seconds that can be computed by hand: an append every
// 100 ms that takes 10 ms, none between 0.5 s and 1.2 s, where one fault lies.
func small() report.Run {
	run := report.Run{
		Title: "small", Ring: report.Simulation, Verdict: report.Pass, Start: start, End: start.Add(2 * time.Second),
		Params:   report.Params{Seed: 99, Nodes: 3, Level: "simulated", Command: "cairn-jepsen sim --seed 99", Recheck: "cairn-jepsen recheck x", GitCommit: "abc1234"},
		Faults:   []report.Fault{{Name: "crash", Target: "n1", Start: 500 * time.Millisecond, End: 900 * time.Millisecond, Observed: "restarted"}},
		Receipts: report.Receipts{Checked: 12},
	}
	for i := range 20 {
		at := time.Duration(i) * 100 * time.Millisecond
		if at >= 500*time.Millisecond && at < 1200*time.Millisecond {
			continue
		}
		n := len(run.Final)
		run.Ops = append(run.Ops, appended(1, n, at, at+10*time.Millisecond, uint64(n)))
		run.Final = append(run.Final, final(n)...)
	}
	return run
}

func TestSmallRun(t *testing.T) {
	t.Parallel()
	run := small()
	f := report.Measure(run)
	want := report.KindFigures{
		Count: 13, OK: 13, Rate: 6.5, P50: 10 * time.Millisecond, P95: 10 * time.Millisecond, P99: 10 * time.Millisecond, Max: 10 * time.Millisecond,
		Quiet: 800 * time.Millisecond, Slots: [report.NumSlots]int{report.SlotNothing: 7, report.SlotOK: 13},
	}
	if f.Appends != want {
		t.Errorf("appends\n%+v\nwant\n%+v", f.Appends, want)
	}
	if f.Gaps[0].Write != 800*time.Millisecond || f.Gaps[0].Read != 0 {
		t.Errorf("gaps of the fault %+v, want 800ms without appends, and no reads", f.Gaps[0])
	}

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "history.jsonl"), make([]byte, 1234), 0o600); err != nil {
		t.Fatal(err)
	}
	page := write(t, dir, run)
	for id, words := range map[string][]string{
		"parameters": {"Again cairn-jepsen sim --seed 99", "Check again cairn-jepsen recheck x", "Seed 99", "Nodes 3", "Level simulated", "Commit abc1234", "Duration 2 s"},
		"figures":    {"appends 13 13 0 0 6.5 10 ms 10 ms 10 ms 10 ms 800 ms", "appends were answered in 65 %, only failed in 0 %, and went unanswered in 35 %"},
		"timeline":   {"Faults", "1 crash", "Throughput", "Latency of appends", "Availability"},
		"fates":      {"acknowledged 13", "definite failure 0", "unknown, in the ledger 0", "unknown, not in the ledger 0", "acknowledged, lost 0"},
		"faulttable": {"1 crash n1 500 ms 400 ms 800 ms – restarted"},
		"files":      {"history.jsonl 1.23 kB"},
	} {
		got := text(section(t, page, id))
		for _, w := range words {
			if !strings.Contains(got, w) {
				t.Errorf("section %s does not say %q:\n%.1500s", id, w, got)
			}
		}
	}
	head := text(between(t, page, "<header", "</header>"))
	for _, w := range []string{"PASS The ledger kept every promise: no contradiction in 13 operations over 2 s on 3 nodes, under 1 fault.", "Ring 1: simulation, virtual time", "receipts verified 12"} {
		if !strings.Contains(head, w) {
			t.Errorf("the head does not say %q:\n%s", w, head)
		}
	}
	if strings.Contains(page, `id="counterexample"`) {
		t.Error("a run without contradictions shows a counterexample")
	}
	if n := dots(t, page, "kept"); n != 13 {
		t.Errorf("%d dots for 13 appends", n)
	}
	if again := write(t, dir, run); again != page {
		t.Error("the same run gave another page")
	}
}

func TestVerdictIsNeverBetterThanTheRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*report.Run)
		want   report.Verdict
		says   string
	}{
		{"pass", func(*report.Run) {}, report.Pass, "kept every promise"},
		{"violation", func(r *report.Run) { r.Violations = []check.Violation{{Kind: "phantom", Index: 3, A: -1, B: -1}} }, report.Fail, "1 contradiction: the first is phantom at 3"},
		{"violation in an invalid run", func(r *report.Run) {
			r.Verdict, r.Violations = report.Invalid, []check.Violation{{Kind: "phantom", Index: 3, A: -1, B: -1}}
		}, report.Fail, "the first is phantom at 3"},
		{"bad receipt", func(r *report.Run) { r.Receipts.Bad = 2 }, report.Fail, "2 receipts do not verify"},
		{"lost append without violation", func(r *report.Run) { r.Final = r.Final[:12] }, report.Fail, "1 append has a fate that contradicts its answer"},
		{"unseen fault", func(r *report.Run) { r.Faults[0].Observed = "" }, report.Invalid, "1 fault was not seen to take effect"},
		{"unseen fault in a failing run", func(r *report.Run) {
			r.Verdict, r.Faults[0].Observed = report.Fail, ""
			r.Reasons = []string{"it did not recover"}
		}, report.Fail, "it did not recover"},
		{"no verdict", func(r *report.Run) { r.Verdict = "" }, report.Invalid, "ended without a verdict"},
		{"invalid", func(r *report.Run) { r.Verdict, r.Reasons = report.Invalid, []string{"too few operations"} }, report.Invalid, "too few operations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			run := small()
			c.change(&run)
			page := write(t, t.TempDir(), run)
			head := between(t, page, "<header", "</header>")
			if got := text(between(t, head, `<strong class="word">`, `</strong>`)); got != string(c.want) {
				t.Errorf("verdict %s, want %s", got, c.want)
			}
			if !strings.Contains(page, "<title>"+string(c.want)+": small</title>") {
				t.Error("the title does not name the verdict")
			}
			if !strings.Contains(text(head), c.says) {
				t.Errorf("the head does not say %q: %s", c.says, text(head))
			}
		})
	}
}

func TestFates(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	info := func(n int) history.Op {
		op := appended(9, n, 10*ms, 0, 0)
		op.Outcome, op.Return = history.Info, history.Never
		return op
	}
	fail := func(n int) history.Op {
		op := appended(8, n, 10*ms, 20*ms, 0)
		op.Outcome, op.Reason = history.Fail, history.Refused
		return op
	}
	halfThere := info(2)
	halfThere.Entries = append(halfThere.Entries, info(77).Entries...)
	altered := appended(1, 3, 1*ms, 2*ms, 3)
	altered.Entries[0].Body = digest('b', 1000)
	other := fail(1)
	other.Entries[0].Body = digest('b', 1001) // a conflict: the key is there, this payload is not
	for _, c := range []struct {
		name string
		op   history.Op
		want report.Fate
	}{
		{"acknowledged and there", appended(1, 1, 1*ms, 2*ms, 1), report.Kept},
		{"acknowledged behind the end", appended(1, 50, 1*ms, 2*ms, 50), report.Lost},
		{"acknowledged elsewhere", appended(1, 1, 1*ms, 2*ms, 2), report.Lost},
		{"acknowledged with another payload", altered, report.Lost},
		{"unknown and there", info(2), report.UnknownPresent},
		{"unknown and not there", info(60), report.UnknownAbsent},
		{"unknown batch, half of it there", halfThere, report.UnknownAbsent},
		{"refused", fail(61), report.Refused},
		{"refused, and acknowledged to somebody else", fail(0), report.Refused},
		{"refused with another payload", other, report.Refused},
		{"refused, and there all the same", fail(3), report.RefusedPresent},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ops := []history.Op{appended(5, 0, 0, 1*ms, 0), c.op}
			run := report.Run{Ops: ops, Final: final(0, 1, 2, 3)}
			var want [report.NumFates]int
			want[report.Kept]++
			want[c.want]++
			if got := report.Measure(run).Fates; got != want {
				t.Errorf("fates %v, want %v", got, want)
			}
		})
	}
}

func TestGaps(t *testing.T) {
	t.Parallel()
	const s = time.Second
	run := report.Run{Start: start, End: start.Add(200 * s), Faults: []report.Fault{
		{Name: "inside", Start: 12 * s, End: 13 * s},         // 11 to 15
		{Name: "quiet", Start: 20 * s, End: 21 * s},          // 1 s
		{Name: "late", Start: 40 * s, End: 41 * s},           // 48 to 52, within 10 s
		{Name: "early", Start: 43 * s, End: 43 * s},          // the same
		{Name: "next", Start: 60 * s, End: 61 * s},           // the next fault takes over at 62
		{Name: "overlapped", Start: 60*s + s/2, End: 63 * s}, // what starts inside it cuts nothing short: 64 to 70
		{Name: "taker", Start: 62 * s, End: 62 * s},          // 64 to 70
		{Name: "last", Start: 98 * s, End: 99 * s},           // unanswered until the last call at 104
		{Name: "after", Start: 150 * s, End: 151 * s},        // no load any more
	}}
	silent := [][2]int{{11, 15}, {48, 52}, {64, 70}, {100, 200}}
	for i := range 105 {
		op := appended(1, i, time.Duration(i)*s, time.Duration(i)*s, uint64(i))
		for _, q := range silent {
			if i > q[0] && i < q[1] {
				op.Outcome, op.Return = history.Info, history.Never
			}
		}
		run.Ops = append(run.Ops, op)
		run.Final = append(run.Final, final(i)...)
	}
	f := report.Measure(run)
	for i, want := range []time.Duration{4 * s, 1 * s, 1 * s, 4 * s, 1 * s, 6 * s, 6 * s, 4 * s, 0} {
		if got := f.Gaps[i].Write; got != want {
			t.Errorf("%s: gap %v, want %v", run.Faults[i].Name, got, want)
		}
	}
	if f.Appends.Quiet != 6*s {
		t.Errorf("longest gap %v, want 6s", f.Appends.Quiet)
	}
	// What the run itself asks for after the clients are done is no end of a gap.
	run.LoadEnd = 110 * s
	run.Ops = append(run.Ops, appended(1, 105, 199*s, 199*s, 105))
	if got := report.Measure(run); got.Appends.Quiet != 6*s || got.Appends.Slots != f.Appends.Slots {
		t.Errorf("with a late append: longest gap %v, slots %v, want 6s and %v", got.Appends.Quiet, got.Appends.Slots, f.Appends.Slots)
	}
}

// TestAvailability: what counts as an answer.
func TestAvailability(t *testing.T) {
	t.Parallel()
	const slot = report.SlotLength
	refusal := func(i int, why history.Reason) history.Op {
		op := appended(1, i, time.Duration(i)*slot, time.Duration(i)*slot+1, 0)
		op.Outcome, op.Reason = history.Fail, why
		return op
	}
	unknown := refusal(3, history.None)
	unknown.Outcome, unknown.Return = history.Info, history.Never
	ops := []history.Op{
		appended(1, 0, 0, 1, 0), refusal(0, history.Refused), refusal(1, history.Conflict), refusal(2, history.SizeMismatch), unknown, refusal(4, history.Refused),
		refusal(6, history.Refused), // nothing in the slot before
		{Kind: history.Get, Outcome: history.OK, Reason: history.NotFound, Call: int64(5 * slot), Return: int64(5*slot) + 1},
		{Kind: history.LocalHead, Outcome: history.OK, Call: int64(9 * slot), Return: int64(9*slot) + 1}, // may be answered by a cut-off node
	}
	f := report.Measure(report.Run{Ops: ops, Final: final(0)})
	if want := [report.NumSlots]int{report.SlotNothing: 1, report.SlotFailing: 3, report.SlotOK: 3}; f.Appends.Slots != want {
		t.Errorf("slots of appends %v, want %v", f.Appends.Slots, want)
	}
	if want := [report.NumSlots]int{report.SlotOK: 1}; f.Reads.Slots != want || f.Reads.Count != 1 {
		t.Errorf("slots of reads %v, want %v", f.Reads.Slots, want)
	}
}

// TestRareFatesAreDrawn: among many ordinary appends, one of each rare kind is a dot.
func TestRareFatesAreDrawn(t *testing.T) {
	t.Parallel()
	run := synthetic(100_000, time.Minute, 32)
	victim := 0
	for i := range run.Ops {
		if op := &run.Ops[i]; i > 50_000 && op.Kind == history.Append && op.Outcome == history.OK {
			victim = i
			break
		}
	}
	run.Final[run.Ops[victim].Entries[0].Index].Body = digest('x', 0)
	page := write(t, t.TempDir(), run)
	if n := dots(t, page, "lost"); n != 1 {
		t.Errorf("%d dots for one lost append", n)
	}
	f := report.Measure(run)
	for class, fate := range map[string]report.Fate{"unknown-present": report.UnknownPresent, "unknown-absent": report.UnknownAbsent, "refused": report.Refused} {
		if n := dots(t, page, class); n == 0 || n > f.Fates[fate] {
			t.Errorf("%s: %d dots for %d appends", class, n, f.Fates[fate])
		}
	}
}

func TestCounterexample(t *testing.T) {
	t.Parallel()
	run := broken()
	page := write(t, t.TempDir(), run)
	s := section(t, page, "counterexample")
	got := text(s)
	a, b := run.Ops[run.Violations[0].A], run.Ops[run.Violations[0].B]
	for _, want := range []string{
		fmt.Sprintf("1. stale at index %d", run.Violations[0].Index),
		fmt.Sprintf("A: head → size %d (process %d, called at %.6f s", a.Size, a.Process, float64(a.Call)/1e9),
		fmt.Sprintf("So the ledger had no more than %d entries at its call.", a.Size),
		fmt.Sprintf("B: append → index %d (process %d,", b.Entries[0].Index, b.Process),
		fmt.Sprintf("So entry %d, and all before it, existed when it returned.", b.Entries[0].Index),
		"a ledger only grows",
		fmt.Sprintf("A head → size %d", a.Size),
		fmt.Sprintf("B append → index %d", b.Entries[0].Index),
		"2. lost at index",
		fmt.Sprintf("In the end the ledger had %d entries", len(run.Final)),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("does not say %q:\n%.3000s", want, got)
		}
	}
	if strings.Index(got, "B: append") > strings.Index(got, "A: head") {
		t.Error("the story does not go in the order of time")
	}
	for _, class := range []string{`class="op a"`, `class="op b"`, `class="op other"`, `class="contradiction"`} {
		if !strings.Contains(s, class) {
			t.Errorf("no %s in the drawing", class)
		}
	}
	if !strings.Contains(page, `class="faultbar unseen"`) {
		t.Error("the fault that was not observed is drawn like the others")
	}
	if !strings.Contains(section(t, page, "faulttable"), "not observed") {
		t.Error("the table does not tell that a fault was not observed")
	}
}

func TestManyViolations(t *testing.T) {
	t.Parallel()
	run := small()
	for i := range 150 {
		run.Violations = append(run.Violations, check.Violation{Kind: "wrong-answer", Index: uint64(i), A: i % 13, B: -1, Text: "x"})
	}
	s := section(t, write(t, t.TempDir(), run), "counterexample")
	if n := strings.Count(s, "<article"); n != 3 {
		t.Errorf("%d counterexamples drawn, want 3", n)
	}
	if n := strings.Count(s, "<tr>"); n != 1+100 || !strings.Contains(text(s), "and 50 more") {
		t.Errorf("%d rows listed, want the heading and 100, and 50 more", n)
	}
}

// TestHostileText: names and texts come from logs, node names and file names.
func TestHostileText(t *testing.T) {
	t.Parallel()
	const evil = `</style></script><script>alert(1)</script>"'><img src=x onerror=alert(1)> javascript:alert(1) {{.}} ` + "\x00\xff\u2028"
	run := broken()
	run.Title, run.Reasons = evil, []string{evil}
	run.Params = report.Params{GitCommit: evil, GoVersion: evil, Kernel: evil, Level: evil, Command: evil, Recheck: evil, More: []report.Named{{Name: evil, Value: evil}}}
	run.Extra = []report.Named{{Name: evil, Value: evil}}
	for i := range run.Faults {
		run.Faults[i].Name, run.Faults[i].Target, run.Faults[i].Observed = evil, evil, evil
	}
	for i := range run.Nodes {
		run.Nodes[i].Node = evil
		run.Nodes[i].Samples[0].Role = evil
	}
	for i := range run.Violations {
		run.Violations[i].Kind, run.Violations[i].Text = evil, evil
	}
	dir := t.TempDir()
	for _, name := range []string{`"><script>alert(1)<`, "javascript:alert(1)", "100%", "a b#c?d"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	page := write(t, dir, run)
	for _, bad := range []string{"<script>alert", "<img", `href="javascript:`, "</style></script>"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	for _, want := range []string{`href="./javascript:alert%281%29"`, `href="./100%25"`, `href="./a%20b%23c%3Fd"`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s among the files", want)
		}
	}
}

// TestPageStaysSmall: as much of everything as a run can have.
func TestPageStaysSmall(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 3))
	run := synthetic(60_000, time.Hour, 64)
	for i := range run.Ops { // latencies all over the plot, every fate everywhere
		op := &run.Ops[i]
		if op.Outcome == history.OK {
			op.Return = op.Call + 1 + rng.Int64N(1<<(10+rng.IntN(24)))
		}
		if op.Kind == history.Append && i%4 > 0 {
			op.Outcome, op.Return = history.Outcome(i%4%3), op.Call+1000
		}
	}
	long := strings.Repeat("word ", 2000)
	for i := range 5000 {
		at := time.Duration(i) * 700 * time.Millisecond
		run.Faults = append(run.Faults, report.Fault{Name: long, Target: long, Observed: long, Start: at, End: at + time.Second})
	}
	for n := range 7 {
		strip := report.NodeStrip{Node: long}
		for i := range 100_000 {
			strip.Samples = append(strip.Samples, report.Sample{At: time.Duration(i) * 36 * time.Millisecond, Term: uint64(i), Commit: rng.Uint64(), Role: []string{"leader", "candidate", "down"}[(i+n)%3]})
		}
		run.Nodes = append(run.Nodes, strip)
	}
	for range 500 {
		run.Reasons = append(run.Reasons, long)
		run.Violations = append(run.Violations, check.Violation{Kind: "stale", A: rng.IntN(len(run.Ops)), B: rng.IntN(len(run.Ops)), Text: long})
		run.Params.More = append(run.Params.More, report.Named{Name: long, Value: long})
		run.Extra = append(run.Extra, report.Named{Name: long, Value: long})
	}
	run.Faults[len(run.Faults)-1].Observed = ""
	page := write(t, t.TempDir(), run)
	t.Logf("%d bytes", len(page))
	if !strings.Contains(section(t, page, "faulttable"), "not observed") {
		t.Error("the one fault that was not observed is among those that are not listed")
	}
}

// TestOddRuns: a harness that failed early still gets its report.
func TestOddRuns(t *testing.T) {
	t.Parallel()
	never := appended(1, 1, time.Second, 0, 0)
	never.Outcome, never.Return = history.Info, history.Never
	for name, run := range map[string]report.Run{
		"empty":         {},
		"no ops":        {Title: "x", Verdict: report.Invalid, Faults: []report.Fault{{Name: "kill"}}, Nodes: []report.NodeStrip{{Node: "n1"}}},
		"one unknown":   {Verdict: report.Pass, Ops: []history.Op{never}},
		"before start":  {Ops: []history.Op{appended(1, 1, -time.Second, -time.Millisecond, 0)}, Final: final(1)},
		"backwards":     {Ops: []history.Op{appended(1, 1, 2*time.Second, time.Second, 0)}, Final: final(1), Start: start, End: start.Add(-time.Hour)},
		"far away":      {Ops: []history.Op{appended(1, 1, 1<<62, 1<<62+5, 0)}, Final: final(1)},
		"bad positions": {Violations: []check.Violation{{Kind: "stale", A: 5, B: -7}, {Kind: "new kind", A: 0, B: 0}}, Ops: []history.Op{never}},
		"nanoseconds":   {Ops: []history.Op{appended(1, 1, 3, 5, 0)}, Final: final(1)},
		"odd samples":   {Nodes: []report.NodeStrip{{Samples: []report.Sample{{At: time.Hour, Role: "leader"}, {At: -time.Hour, Role: "king"}, {At: time.Minute}}}}},
		"fault at end":  {Faults: []report.Fault{{Name: "kill", Start: time.Minute, End: time.Minute, Observed: "x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := write(t, t.TempDir(), run)
			for _, id := range []string{"parameters", "figures", "timeline", "fates", "faulttable", "files"} {
				section(t, page, id)
			}
		})
	}
}

func TestWriteErrors(t *testing.T) {
	t.Parallel()
	if err := report.Write(filepath.Join(t.TempDir(), "absent"), small()); err == nil {
		t.Error("a report was written into a folder that does not exist")
	}
}
