package trial

import (
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/bank"
	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/jepsen/nemesis"
	"github.com/cairnledger/cairn/jepsen/report"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Result is what a trial showed.
type Result struct {
	Dir string
	Run report.Run
	// Broken are broken promises that are no contradiction within the history: a
	// node that crashed, a cluster that did not recover.
	Broken []string
	// Invalid says why the run proves nothing.
	Invalid []string
	Phases  phases
	// Asked are questions that no history holds; Sessions are local reads within a
	// session, Deliveries those of watches.
	Asked                int64
	Proofs               proofs
	Sessions, Deliveries int
	Evidence             check.EvidenceCounts
	Bank                 *bank.Verdict // nil: there was none
	// Kinds names the operations that the clients ask for.
	Kinds    []string
	Skipped  int // faults that were not possible when their turn came
	Checking time.Duration

	own      []check.Violation // what clients noted at once
	evidence *check.Evidence
	policy   []byte
}

// proofs are those between arbitrary sizes that clients asked for, and that held.
type proofs struct{ Inclusions, Consistencies int64 }

// take takes the faults over that happened.
func (r *Result) take(events []nemesis.Event) {
	r.Run.Faults, r.Skipped = nil, 0
	for _, e := range events {
		if e.Skipped {
			r.Skipped++
		} else {
			r.Run.Faults = append(r.Run.Faults, e.Fault)
		}
	}
	slices.SortStableFunc(r.Run.Faults, func(a, b report.Fault) int { return int(a.Start - b.Start) })
}

// judge runs every checker and gives the verdict.
func (r *Result) judge() error {
	begun := time.Now()
	policy, err := tlog.ParsePolicy(r.policy)
	if err != nil {
		return errors.Wrap(err, "parse policy")
	}
	run := &r.Run
	run.Violations = slices.Clone(r.own)
	broken, invalid := slices.Concat(r.Broken, r.stuck()), slices.Clone(r.Invalid)
	if run.Final == nil {
		invalid = append(invalid, "there is no final ledger to compare with")
	} else {
		run.Violations = append(run.Violations, check.Linear(run.Ops, run.Final)...)
		var bad []check.Violation
		r.Evidence, bad = r.evidence.Verify(policy, run.Final)
		run.Violations = append(run.Violations, bad...)
		run.Receipts = report.Receipts{Checked: r.Evidence.Receipts, Bad: r.Evidence.BadReceipts}
	}
	var bad []check.Violation
	r.Sessions, bad = check.Sessions(run.Ops)
	run.Violations = append(run.Violations, bad...)
	r.Deliveries, bad = check.Watches(run.Ops)
	run.Violations = append(run.Violations, bad...)
	invalid = append(invalid, r.untried()...)
	run.Verdict, run.Reasons = report.Pass, nil
	if len(invalid) > 0 {
		run.Verdict = report.Invalid
	}
	if len(run.Violations) > 0 || len(broken) > 0 {
		run.Verdict = report.Fail
	}
	for i, v := range run.Violations {
		if i == 10 {
			run.Reasons = append(run.Reasons, fmt.Sprintf("and %d more contradictions", len(run.Violations)-i))
			break
		}
		run.Reasons = append(run.Reasons, v.String())
	}
	run.Reasons = append(append(run.Reasons, broken...), invalid...)
	r.Checking = time.Since(begun)
	run.Extra = []report.Named{
		{Name: "successes before / during / after the faults", Value: fmt.Sprintf("%d / %d / %d", r.Phases.Before, r.Phases.During, r.Phases.After)},
		{Name: "appends that waited for a receipt after the faults, and got one", Value: fmt.Sprintf("%d / %d", r.Phases.Waited, r.Phases.Sealed)},
		{Name: "checkpoints verified", Value: fmt.Sprint(r.Evidence.Notes)},
		{Name: "local reads within a session", Value: fmt.Sprint(r.Sessions)},
		{Name: "deliveries of watches", Value: fmt.Sprint(r.Deliveries)},
		{Name: "questions outside of the history (proofs, nonsense)", Value: fmt.Sprint(r.Asked)},
		{Name: "proofs of inclusion / consistency that held", Value: fmt.Sprintf("%d / %d", r.Proofs.Inclusions, r.Proofs.Consistencies)},
		{Name: "faults put off", Value: fmt.Sprint(r.Skipped)},
	}
	if v := r.Bank; v != nil {
		run.Extra = append(run.Extra, report.Named{Name: "settlement: commands told / refused / unknown, entries, map roots", Value: fmt.Sprintf("%d / %d / %d, %d, %d", v.Answers, v.Refused, v.Unknown, v.Entries, v.Counts.Roots)})
	}
	return nil
}

// silence is how long nothing may succeed: several times what the worst series of
// faults was seen to cost, when five nodes start at once on slow disks.
const silence = 2 * time.Minute

// stuck says what the clients waited for in vain. Every fault ends, and the cluster has
// to recover from it, not only from the one that starts all nodes anew.
func (r *Result) stuck() (broken []string) {
	if p := r.Phases; p.Waited > 0 && p.Sealed == 0 {
		broken = append(broken, fmt.Sprintf("%d appends waited for their receipts after everything had healed, and none got one", p.Waited))
	}
	figures := report.Measure(r.Run)
	for _, s := range []struct {
		what string
		f    report.KindFigures
	}{{"append", figures.Appends}, {"linearizable read", figures.Reads}} {
		if s.f.Quiet > silence {
			broken = append(broken, fmt.Sprintf("no %s succeeded for %s", s.what, s.f.Quiet.Round(time.Millisecond)))
		}
	}
	return broken
}

// untried says what the clients never succeeded in: a run proves nothing about that.
func (r *Result) untried() (why []string) {
	succeeded := map[string]bool{}
	for i := range r.Run.Ops {
		if op := &r.Run.Ops[i]; op.Outcome == history.OK {
			succeeded[op.Kind.String()] = true
		}
	}
	for _, kind := range r.Kinds {
		if !succeeded[kind] {
			why = append(why, fmt.Sprintf("no %s succeeded", kind))
		}
	}
	for _, p := range []struct {
		of   history.Kind
		n    int
		what string
	}{
		{history.Append, r.Evidence.Receipts - r.Evidence.BadReceipts, "receipt was verified"},
		{history.Checkpoint, r.Evidence.Notes, "checkpoint was verified"},
		{history.LocalHead, r.Sessions, "local read was within a session"},
	} {
		if p.n == 0 && slices.Contains(r.Kinds, p.of.String()) {
			why = append(why, "no "+p.what)
		}
	}
	return append(why, r.unmet()...)
}

// thorough is how many operations a run has that must have met everything which is rare.
const thorough = 100_000

// unmet says which answers the clients never got, though they depend on promises that
// nothing else would show to be kept: a ledger that refuses every repetition loses none.
func (r *Result) unmet() (why []string) {
	if len(r.Run.Ops) < thorough || !slices.Contains(r.Kinds, history.Range.String()) {
		return nil
	}
	var batches, duplicates, conflicts, mismatches, sized, missing int64
	for i := range r.Run.Ops {
		switch op := &r.Run.Ops[i]; {
		case op.Reason == history.Conflict:
			conflicts++
		case op.Reason == history.SizeMismatch:
			mismatches++
		case op.Reason == history.NotFound:
			missing++
		case op.Kind == history.Append && op.Outcome == history.OK:
			if len(op.Entries) > 1 {
				batches++
			}
			if op.Conditional {
				sized++
			}
			if op.Entries[0].Duplicate {
				duplicates++
			}
		}
	}
	for _, m := range []struct {
		n    int64
		what string
	}{
		{batches, "append of several entries succeeded"},
		{sized, "append at an expected size succeeded"},
		{duplicates, "append was known to be a repetition"},
		{conflicts, "append met a key with another payload"},
		{mismatches, "append met another size than it expected"},
		{missing, "read was told that there is no such entry"},
		{r.Proofs.Inclusions, "proof of inclusion was verified"},
		{r.Proofs.Consistencies, "proof of consistency was verified"},
	} {
		if m.n == 0 {
			why = append(why, "no "+m.what)
		}
	}
	return why
}
