package report

import (
	"fmt"
	"strings"
)

// judge never shows a verdict better than what the run contains.
func (p *page) judge(run *Run, m *measured) {
	verdict, reasons := run.Verdict, append([]string(nil), run.Reasons...)
	demote := func(to Verdict, why string) {
		if verdict == Pass || to == Fail && verdict != Fail {
			verdict = to
		}
		reasons = append(reasons, why)
	}
	switch verdict {
	case Pass, Fail, Invalid:
	default:
		verdict = Invalid
		reasons = append(reasons, fmt.Sprintf("the run ended without a verdict (%q)", run.Verdict))
	}
	if verdict != Fail {
		if n := len(run.Violations); n > 0 {
			demote(Fail, fmt.Sprintf("%s: the first is %s at %d", counted(n, "contradiction", "contradictions"), run.Violations[0].Kind, run.Violations[0].Index))
		}
		if n := run.Receipts.Bad; n > 0 {
			demote(Fail, counted(n, "receipt does not verify", "receipts do not verify"))
		}
		if n := m.Fates[Lost] + m.Fates[RefusedPresent]; n > 0 && len(run.Violations) == 0 {
			demote(Fail, counted(n, "append has a fate that contradicts its answer", "appends have a fate that contradicts their answer"))
		}
		unseen := 0
		for _, f := range run.Faults {
			if f.Observed == "" {
				unseen++
			}
		}
		if unseen > 0 {
			demote(Invalid, fmt.Sprintf("%s not seen to take effect", counted(unseen, "fault was", "faults were")))
		}
	}
	p.Verdict, p.VerdictClass = string(verdict), strings.ToLower(string(verdict))
	over := fmt.Sprintf("%s over %s", counted(m.Ops, "operation", "operations"), long(m.Duration))
	if n := run.Params.Nodes; n > 0 {
		over += fmt.Sprintf(" on %s", counted(n, "node", "nodes"))
	}
	if n := len(run.Faults); n > 0 {
		over += ", under " + counted(n, "fault", "faults")
	} else {
		over += ", without faults"
	}
	switch {
	case verdict == Pass:
		p.Says = "The ledger kept every promise: no contradiction in " + over + "."
	case verdict == Invalid:
		p.Says = "This run says nothing about the ledger, neither good nor bad. It had " + over + "."
	case len(run.Violations) > 0:
		p.Says = "The ledger broke a promise: " + counted(len(run.Violations), "contradiction", "contradictions") + " in " + over + "."
	default:
		p.Says = "The run failed. It had " + over + "."
	}
	for i, r := range reasons {
		if i == maxReasons {
			p.MoreReasons = len(reasons) - i
			break
		}
		p.Reasons = append(p.Reasons, clip(r, 500))
	}
}
