package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/jepsen/nemesis"
	"github.com/cairnledger/cairn/jepsen/report"
	"github.com/cairnledger/cairn/jepsen/workload"
	"github.com/cairnledger/cairn/jepsen/zoo"
	"github.com/cairnledger/cairn/ledger/seal"
)

// TestMain lets the test binary stand in for the program: called as "node
// --config FILE" it runs a node.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "node" {
		os.Exit(runNode(os.Args[3], slices.Contains(os.Args, "--lifeline")))
	}
	os.Exit(m.Run())
}

func runNode(file string, lifeline bool) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if lifeline {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	c, err := node.LoadConfig(file)
	if err == nil {
		err = node.Run(ctx, c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	return 0
}

func short(t *testing.T) Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Dir: filepath.Join(t.TempDir(), "run"), Nodes: 3, Seed: 1, Time: 5 * time.Second, Nemesis: "kill-one,partition-one", Least: 3,
		Calm: time.Second, Hold: [2]time.Duration{700 * time.Millisecond, time.Second}, Quiet: [2]time.Duration{50 * time.Millisecond, 100 * time.Millisecond},
		Executable: exe, Workload: workload.Options{Clients: 6, Rate: 300}, Logf: t.Logf,
		Progress: func(s string) { t.Log(s) },
	}
}

// TestTrial breaks a real cluster for a few seconds. What it leaves is enough to
// give the verdict again; and once somebody changes what a client was told, that
// verdict is another one.
func TestTrial(t *testing.T) {
	o := short(t)
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Run.Verdict != report.Pass {
		t.Fatalf("verdict %s, want PASS: %s", r.Run.Verdict, strings.Join(r.Run.Reasons, "\n"))
	}
	var names []string
	for _, f := range r.Run.Faults {
		names = append(names, f.Name)
		if f.Observed == "" {
			t.Errorf("%s was not observed", f.Name)
		}
	}
	for _, kind := range []string{"kill-one", "partition-one"} { // the latter may be any of partition-one, partition-one-way and partition-one-link
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, kind) }) {
			t.Errorf("faults %v, want some of %s", names, kind)
		}
	}
	if len(r.Run.Final) == 0 || r.Evidence.Notes == 0 {
		t.Errorf("%d entries and %d checkpoints, want some", len(r.Run.Final), r.Evidence.Notes)
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "cluster")); err == nil {
		t.Error("the keys of a run that passed were left behind")
	}
	again, err := Recheck(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	// The last reads of the run come after the load, and tell nothing about availability.
	end := r.Run.LoadEnd
	late := slices.ContainsFunc(r.Run.Ops, func(op history.Op) bool { return op.Kind == history.Head && op.Call > int64(end) })
	if end < o.Time || again.Run.LoadEnd != end || !late {
		t.Errorf("the load ended at %v, checked again %v, want at least %v; a head after that: %t, want one", end, again.Run.LoadEnd, o.Time, late)
	}
	if again.Run.Verdict != report.Pass || len(again.Run.Ops) != len(r.Run.Ops) || again.Evidence != r.Evidence {
		t.Errorf("checked again: %s, %d operations, %+v; at first PASS, %d, %+v: %v",
			again.Run.Verdict, len(again.Run.Ops), again.Evidence, len(r.Run.Ops), r.Evidence, again.Run.Reasons)
	}
	t.Run("doctored", func(t *testing.T) { doctored(t, o.Dir) })
	t.Run("undone", func(t *testing.T) { undone(t, o.Dir) })
}

// doctored plants contradictions, one at a time.
func doctored(t *testing.T, dir string) {
	for _, c := range []struct {
		name, file, want string
		change           func(t *testing.T, b []byte) []byte
	}{
		{"an acknowledged entry is missing", finalFile, "lost", func(t *testing.T, b []byte) []byte {
			return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1]
		}},
		{"two entries have changed places", finalFile, "moved", func(t *testing.T, b []byte) []byte {
			lines := bytes.SplitAfter(b, []byte("\n"))
			lines[3], lines[4] = lines[4], lines[3]
			return bytes.Join(lines, nil)
		}},
		{"the genesis counts as an append", finalFile, "phantom", func(_ *testing.T, b []byte) []byte {
			return bytes.Replace(b, []byte(`,"genesis":true`), nil, 1)
		}},
		{"a head was told that is too old", historyFile, "stale", func(t *testing.T, b []byte) []byte {
			lines := bytes.SplitAfter(b, []byte("\n"))
			for i := len(lines) - 1; i >= 0; i-- {
				var l map[string]any
				if json.Unmarshal(lines[i], &l) == nil && l["type"] == "ok" && l["f"] == float64(3) && l["size"] != nil {
					l["size"] = 1
					delete(l, "root")
					raw, err := json.Marshal(l)
					if err != nil {
						t.Fatal(err)
					}
					lines[i] = append(raw, '\n')
					return bytes.Join(lines, nil)
				}
			}
			t.Fatal("no head in the history")
			return nil
		}},
		{"a checkpoint has another signature", evidenceFile, "checkpoint", func(t *testing.T, b []byte) []byte {
			first, rest, _ := bytes.Cut(b, []byte("\n"))
			var l evidenceLine
			if err := json.Unmarshal(first, &l); err != nil {
				t.Fatal(err)
			}
			at := bytes.LastIndex(l.Note, []byte("\u2014 ")) + 200
			l.Note[at] ^= 1
			raw, err := json.Marshal(l)
			if err != nil {
				t.Fatal(err)
			}
			return append(append(raw, '\n'), rest...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := recheckChanged(t, dir, c.file, func(b []byte) []byte { return c.change(t, b) })
			var kinds []string
			for _, v := range r.Run.Violations {
				kinds = append(kinds, v.Kind)
			}
			if r.Run.Verdict != report.Fail || !slices.Contains(kinds, c.want) {
				t.Errorf("verdict %s with %v, want FAIL with %q", r.Run.Verdict, kinds, c.want)
			}
		})
	}
}

// recheckChanged gives the verdict about a run one of whose files is another one.
func recheckChanged(t *testing.T, dir, file string, change func([]byte) []byte) *Result {
	t.Helper()
	path := filepath.Join(dir, file)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}()
	if err := os.WriteFile(path, change(bytes.Clone(whole)), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Recheck(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// undone leaves things out that clients did: what they never did was not tested.
func undone(t *testing.T, dir string) {
	// lines drops the lines that a rule names.
	lines := func(drop func(l map[string]any) bool) func([]byte) []byte {
		return func(b []byte) (kept []byte) {
			for line := range bytes.Lines(b) {
				var l map[string]any
				if err := json.Unmarshal(line, &l); err != nil {
					t.Fatal(err)
				}
				if !drop(l) {
					kept = append(kept, line...)
				}
			}
			return kept
		}
	}
	of := func(k history.Kind) func(map[string]any) bool {
		return func(l map[string]any) bool { return l["f"] == float64(k) }
	}
	for _, c := range []struct {
		name, file, want string
		verdict          report.Verdict
		change           func([]byte) []byte
	}{
		{"ranges", historyFile, "no range succeeded", report.Invalid, lines(of(history.Range))},
		{"deliveries", historyFile, "no watch succeeded", report.Invalid, lines(of(history.Watch))},
		{"sessions", historyFile, "no local read was within a session", report.Invalid, lines(func(l map[string]any) bool {
			return of(history.LocalHead)(l) && l["first"] != nil
		})},
		{"receipts", evidenceFile, "no receipt was verified", report.Invalid, lines(func(l map[string]any) bool { return l["receipt"] != nil })},
		{"checkpoints", evidenceFile, "no checkpoint was verified", report.Invalid, lines(func(l map[string]any) bool { return l["root"] == nil })},
		{"receipts after the faults", resultsFile, "none got one", report.Fail, func(b []byte) []byte {
			var s results
			if err := json.Unmarshal(b, &s); err != nil {
				t.Fatal(err)
			}
			if s.Phases.Waited == 0 || s.Phases.Sealed == 0 {
				t.Errorf("after the faults %+v, want appends that waited, and receipts", s.Phases)
			}
			s.Phases.Waited, s.Phases.Sealed = 5, 0
			b, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := recheckChanged(t, dir, c.file, c.change)
			if all := strings.Join(r.Run.Reasons, "\n"); r.Run.Verdict != c.verdict || !strings.Contains(all, c.want) {
				t.Errorf("verdict %s, want %s with %q:\n%s", r.Run.Verdict, c.verdict, c.want, all)
			}
		})
	}
}

// TestUnobservedFaultIsInvalid: a run whose faults nobody saw proves nothing, nor
// does one in which nothing succeeded, or a fault never happened that had the time.
func TestUnobservedFaultIsInvalid(t *testing.T) {
	tr := &trial{opt: Options{Least: 50, Nemesis: "swarm"}}
	if why := tr.enough(nil, nil); len(why) != 5 {
		t.Errorf("a run without faults and successes: %q, want five reasons", why)
	}
	tr.phases = phases{Before: 50, During: 50, After: 50, Waited: 1, Sealed: 1}
	seen := nemesis.Event{Fault: report.Fault{Name: "kill-one", Observed: "gone"}}
	put := nemesis.Event{Fault: report.Fault{Name: "power-all"}, Skipped: true}
	if why := tr.enough([]nemesis.Event{seen, put}, []string{"kill-one"}); len(why) != 0 {
		t.Errorf("a run with everything: %q", why)
	}
	if why := tr.enough([]nemesis.Event{seen, put}, []string{"kill-one", "power-all"}); len(why) != 1 || !strings.Contains(why[0], "power-all") {
		t.Errorf("a run in which power-all was always put off: %q, want that it never happened", why)
	}
}

// TestBrokenUnderAFault: a node that breaks a promise under a fault fails the run, and
// the fault counts as seen.
func TestBrokenUnderAFault(t *testing.T) {
	tr := &trial{opt: Options{Least: 1, Nemesis: "swarm"}, phases: phases{1, 1, 1, 1, 1}}
	e := nemesis.Event{Fault: report.Fault{Name: "full-disk", Observed: "n1 went on"}, Broken: "n1 went on"}
	tr.struck(e)
	if why := tr.enough([]nemesis.Event{e}, []string{"full-disk"}); len(tr.broken) != 1 || len(why) != 0 {
		t.Errorf("broken %q, invalid %q; want one and none", tr.broken, why)
	}
}

// TestConfessions: what a node writes about itself, and must not.
func TestConfessions(t *testing.T) {
	const at = "time=2026-01-01T00:00:00Z level=WARN "
	for line, want := range map[string]struct{ sound, scarred bool }{
		"panic: runtime error":                   {true, true},
		"fatal error: all goroutines are asleep": {true, true},
		"WARNING: DATA RACE":                     {true, true},
		at + `msg="/cairn.v1.Ledger/Get: panic: index out of range\ngoroutine 7" node=n1 part=api`:        {true, false},
		at + "msg=sealing node=n1 part=seal problem=\"node 2 asks: " + seal.ErrRootMismatch.Error() + `"`: {true, false},
		at + "msg=sealing node=n1 part=seal problem=\"from node 2: " + seal.ErrForged.Error() + `"`:       {true, false},
		at + `msg=sealing node=n1 part=seal problem="seal size 7: input/output error"`:                    {false, false},
		at + `msg="append is committed, but there is no receipt" node=n1 part=api`:                        {false, false},
	} {
		if got := confesses(line, false); got != want.sound {
			t.Errorf("%s: %t, want %t", line, got, want.sound)
		}
		if got := confesses(line, true); got != want.scarred {
			t.Errorf("of a node that was damaged, %s: %t, want %t", line, got, want.scarred)
		}
	}
}

// TestEndedByItself: a process that ends while a fault has claimed all nodes, and is
// replaced when that heals, is a broken promise.
func TestEndedByItself(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs proc(5)")
	}
	o := short(t)
	o.Nemesis, o.Time = "pause-kill", 12*time.Second
	struck := make(chan string, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	go func() { struck <- killPaused(ctx, o.Dir) }()
	r, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	want := <-struck + " ended by itself"
	if all := strings.Join(r.Run.Reasons, "\n"); r.Run.Verdict != report.Fail || !strings.Contains(all, want) {
		t.Errorf("verdict %s, want FAIL with %q:\n%s", r.Run.Verdict, want, all)
	}
}

// killPaused ends the first process that it sees stopped, and returns the node's name.
func killPaused(ctx context.Context, dir string) string {
	for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		for _, name := range []string{"n1", "n2", "n3"} {
			var process struct{ PID int }
			raw, err := os.ReadFile(filepath.Join(dir, "cluster", name, "pid"))
			if err != nil || json.Unmarshal(raw, &process) != nil {
				continue
			}
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process.PID))
			if _, state, _ := bytes.Cut(stat, []byte(") ")); bytes.HasPrefix(state, []byte("T")) && syscall.Kill(process.PID, syscall.SIGKILL) == nil {
				return name
			}
		}
	}
	return "nobody"
}

// TestBugFailsTheRun: a trial of nodes with a deliberate bug fails, and says what that
// bug does.
func TestBugFailsTheRun(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program of the nodes")
	}
	bug, err := zoo.Find("refused-batch-leaves-entries")
	if err != nil {
		t.Fatal(err)
	}
	o := short(t)
	o.Bug, o.Nemesis = bug, "none"
	if _, err := Run(t.Context(), o); err == nil {
		t.Error("a bug was planted into a program that exists already")
	}
	o.Executable = ""
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	// What was refused is in the ledger: as it is, and again when its key was tried once more.
	shows := func(v check.Violation) bool { return v.Kind == "phantom" || v.Kind == "duplicate" || v.Kind == "moved" }
	if r.Run.Verdict != report.Fail || !slices.ContainsFunc(r.Run.Violations, shows) {
		t.Errorf("verdict %s, want FAIL with entries that were refused: %s", r.Run.Verdict, strings.Join(r.Run.Reasons, "\n"))
	}
	if !strings.Contains(r.Run.Title, bug.Name) {
		t.Errorf("the report is called %q, want it to name %s", r.Run.Title, bug.Name)
	}
}

// TestInterrupted: a trial that is cancelled leaves no process behind.
func TestInterrupted(t *testing.T) {
	o := short(t)
	o.Time = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(1500*time.Millisecond, cancel)
	if _, err := Run(ctx, o); err == nil {
		t.Fatal("a trial that was interrupted has a verdict")
	}
	for _, name := range []string{"n1", "n2", "n3"} {
		raw, err := os.ReadFile(filepath.Join(o.Dir, "cluster", name, "pid"))
		if err == nil {
			t.Errorf("%s still has a process: %s", name, raw)
		}
	}
}

// TestSilence: a cluster that does not recover before all of its nodes are started anew
// has broken a promise, although nothing contradicts anything.
func TestSilence(t *testing.T) {
	op := func(kind history.Kind, at time.Duration, outcome history.Outcome) history.Op {
		return history.Op{Kind: kind, Call: int64(at), Return: int64(at) + 1, Outcome: outcome}
	}
	for _, c := range []struct {
		kind  history.Kind
		quiet time.Duration
		want  string
	}{
		{history.Append, silence - time.Second, ""},
		{history.Append, silence + time.Second, "no append succeeded"},
		{history.Head, silence + time.Second, "no linearizable read succeeded"},
	} {
		var r Result
		r.Run.Ops = []history.Op{op(c.kind, 0, history.OK)}
		for at := time.Second; at < c.quiet; at += time.Second { // they ask, and are refused
			r.Run.Ops = append(r.Run.Ops, op(c.kind, at, history.Fail))
		}
		r.Run.Ops = append(r.Run.Ops, op(c.kind, c.quiet, history.OK))
		r.Run.LoadEnd = c.quiet
		if got := strings.Join(r.stuck(), "; "); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s after %s: %q, want %q", c.kind, c.quiet, got, c.want)
		}
	}
}

// TestUnmet: a long run in which no client ever got a rare answer proves nothing about it.
func TestUnmet(t *testing.T) {
	all := []history.Op{
		{Kind: history.Append, Outcome: history.OK, Conditional: true, Entries: make([]history.Entry, 2)},
		{Kind: history.Append, Outcome: history.OK, Entries: []history.Entry{{Duplicate: true}}},
		{Kind: history.Append, Outcome: history.Fail, Reason: history.Conflict},
		{Kind: history.Append, Outcome: history.Fail, Reason: history.SizeMismatch},
		{Kind: history.Get, Outcome: history.OK, Reason: history.NotFound},
	}
	result := func(ops ...history.Op) *Result {
		r := &Result{Kinds: []string{history.Range.String()}, Proofs: proofs{1, 1}}
		r.Run.Ops = append(append(make([]history.Op, thorough), ops...), history.Op{Kind: history.Range, Outcome: history.OK})
		return r
	}
	if why := result(all...).untried(); len(why) != 0 {
		t.Errorf("a run with everything: %q", why)
	}
	for i, want := range []int{2, 1, 1, 1, 1} {
		if why := result(slices.Delete(slices.Clone(all), i, i+1)...).untried(); len(why) != want {
			t.Errorf("without %s %s: %q, want %d reasons", all[i].Kind, all[i].Reason, why, want)
		}
	}
	r := result(all...)
	r.Proofs = proofs{}
	if why := r.untried(); len(why) != 2 {
		t.Errorf("without proofs: %q", why)
	}
	if r.Run.Ops = r.Run.Ops[thorough:]; len(r.untried()) != 0 {
		t.Errorf("a short run need not meet everything: %q", r.untried())
	}
}
