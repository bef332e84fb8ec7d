package iso20022

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/cairnledger/cairn/settlement/iso20022/schema"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// Rules are what Check cannot know from a message. The zero value checks nothing against dates.
type Rules struct {
	Limits xmltree.Limits

	// Now is the time at which the message came, the zero value for none: a creation time more than
	// an hour later is a warning.
	Now time.Time
	// MaxAge is how old a message may be at Now, 0 for any age.
	MaxAge time.Duration
	// Today is the business date of the settlement system, "YYYY-MM-DD" or "" for none: a settlement
	// date before it is an error.
	Today string
	// MaxDaysAhead is how many days after Today may be a settlement date, in calendar days; 0 for any
	// number.
	MaxDaysAhead int
	// CutOff is the end of Today's settlement, the zero value for none: what is to settle today and
	// comes at CutOff or later is an error.
	CutOff time.Time
}

// maxFindings bounds what Check says about one message.
const maxFindings = 1000

// Lint judges a message by what is in it. No finding means that nothing is wrong.
func Lint(raw []byte) []Finding {
	_, findings := Check(raw, Rules{})
	return findings
}

// Check reads a message and judges it. The message is nil when Decode would refuse it; then there
// is a finding. Findings are ordered by their place; there are at most 1,000, and the last one says
// so when more were found.
func Check(raw []byte, rules Rules) (*Message, []Finding) {
	m, env, refused := decode(raw, rules.Limits)
	l := &linter{rules: rules, message: m, flagged: map[*xmltree.Element]bool{}}
	if refused != nil {
		l.findings = append(l.findings, refused.Finding)
	}
	if env != nil {
		l.env = env
		l.schemas(refused)
	}
	if m != nil {
		l.values(env.body)
		l.headerRules()
		l.identification()
		l.dates()
		l.amounts()
		switch m.Type() {
		case "pacs.004":
			l.returns()
		case "camt.056", "pacs.028", "pacs.002":
			l.originals()
		case "sese.023":
			l.securities()
		}
	}
	return m, l.sorted()
}

// linter collects findings about one message.
type linter struct {
	rules    Rules
	env      *envelope
	message  *Message
	findings []Finding
	full     bool

	// flagged are elements whose value the schema refuses: other checks say nothing about them.
	flagged map[*xmltree.Element]bool
	// owner holds the elements of transactions with their index, nil until it is needed.
	owner map[*xmltree.Element]int
}

// add keeps a finding about an element, or about its child when child is not "".
func (l *linter) add(severity Severity, rule, code string, e *xmltree.Element, child, format string, args ...any) {
	if len(l.findings) >= maxFindings {
		l.full = true
		return
	}
	f := Finding{Severity: severity, Rule: rule, Code: code, Path: e.Path(), Line: e.Line, Column: e.Column,
		Transaction: l.transaction(e), Text: fmt.Sprintf(format, args...)}
	if child != "" {
		f.Path += "/" + child
	}
	l.findings = append(l.findings, f)
}

// transaction returns the index of the transaction that an element is in, -1 for none.
func (l *linter) transaction(e *xmltree.Element) int {
	if l.owner == nil && l.message != nil {
		l.owner = map[*xmltree.Element]int{}
		for i, t := range l.transactionElements() {
			l.owner[t] = i
		}
	}
	for ; e != nil; e = e.Parent {
		if i, found := l.owner[e]; found {
			return i
		}
	}
	return -1
}

// transactionElements returns the elements behind Message.Transactions, in the same order.
func (l *linter) transactionElements() []*xmltree.Element {
	body := l.env.body
	switch l.message.Type() {
	case "pacs.008", "pacs.009":
		return body.All("CdtTrfTxInf")
	case "pacs.002":
		return body.All("TxInfAndSts")
	case "camt.056":
		var all []*xmltree.Element
		for _, u := range body.All("Undrlyg") {
			all = append(all, u.All("TxInf")...)
		}
		return all
	}
	return body.All("TxInf")
}

// schemas reports deviations from the schemas of message and header.
func (l *linter) schemas(refused *Refused) {
	report := func(p schema.Problem) bool {
		if p.Rule == schema.Value || p.Rule == schema.Text {
			l.flagged[p.Element] = true
		}
		subject, code := p.Element.Name, schemaCode(p)
		if p.Child != "" {
			subject = p.Child
		}
		if refused != nil && p.Child == "" && p.Element.Path() == refused.Path {
			return true // said already
		}
		rule, text := "schema_"+string(p.Rule), p.Text
		if c, found := valueChecks[p.Element.Name]; found && p.Rule == schema.Value {
			// The check says it in words, where the schema has a pattern.
			if err := c.err(p.Element.String()); err != nil {
				rule, text = c.rule, err.Error()
			}
		}
		l.add(Error, rule, code, p.Element, p.Child, "%s %s", subject, text)
		return !l.full
	}
	if l.env.header != nil {
		if m, exact, found := schema.Lookup(l.env.header.Space[len(namespace):]); found {
			m.Check(l.env.header, exact, report)
		}
	}
	if m, exact, found := schema.Lookup(l.env.definition); found {
		m.Check(l.env.body, exact, report)
	}
}

// sorted returns the findings by place; where two have one place, in the order of the checks.
func (l *linter) sorted() []Finding {
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if l.full {
		l.findings = append(l.findings, Finding{Rule: "too_many_findings", Line: 1, Column: 1, Transaction: -1,
			Text: fmt.Sprintf("there are more than %d findings: correct these first", maxFindings)})
	}
	return l.findings
}
