package schema

import (
	"fmt"
	"strings"

	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// Rule is the kind of a problem. Rules are stable.
type Rule string

// Rules of a Problem.
const (
	Missing   Rule = "missing"   // a required element is not there
	Unknown   Rule = "unknown"   // the message has no such element or attribute here
	Order     Rule = "order"     // an element stands too late
	Repeated  Rule = "repeated"  // an element stands more often than allowed
	Choice    Rule = "choice"    // several alternatives of which one is allowed
	Text      Rule = "text"      // text where elements belong, or elements where text belongs
	Value     Rule = "value"     // a text that its type does not allow
	Namespace Rule = "namespace" // an element of another namespace
)

// Problem is one deviation from a schema.
type Problem struct {
	Rule    Rule
	Element *xmltree.Element // at fault, or the one whose child is missing
	Child   string           // the missing child, else ""
	Type    string           // of the value, as ISO 20022 names it, else ""
	Text    string           // a sentence without its subject that says what to do
}

// lenientSkip are types that versions of a message build differently. They are not looked into
// where the version is not the one of the tables.
var lenientSkip = map[string]bool{
	"PostalAddress24": true, "PostalAddress1": true, "Contact4": true, "Charges7": true,
	"OriginalTransactionReference28": true, "OriginalTransactionReference32": true,
	"OrganisationIdentification29": true, "PersonIdentification13": true, "DateAndPlaceOfBirth1": true,
	"TaxInformation7": true, "TaxInformation8": true, "RegulatoryReporting3": true,
	"StructuredRemittanceInformation16": true, "RemittanceLocation7": true,
	"CreditTransferTransaction37": true, "CreditTransferTransaction45": true,
	"BankTransactionCodeStructure4": true, "CardEntry4": true, "CardTransaction17": true,
}

// lenientOptional are elements that newer versions do not require.
var lenientOptional = map[string]bool{
	"CashAccount38.Id": true, "CashAccount39.Id": true,
}

// checker is one Check.
type checker struct {
	exact  bool
	report func(Problem) (more bool)
	done   bool
}

func (c *checker) add(p Problem) {
	if !c.done && !c.report(p) {
		c.done = true
	}
}

// element compares e with its type. Recursion is bounded by the depth of the tables and of the
// document.
func (c *checker) element(e *xmltree.Element, t *typ) {
	if c.done {
		return
	}
	c.attributes(e, t)
	switch t.kind {
	case simple, amount:
		if len(e.Children) > 0 {
			c.add(Problem{Rule: Text, Element: e.Children[0], Text: fmt.Sprintf("stands inside %s, which holds text alone: remove it", e.Name)})
			return
		}
		if text := t.value.problem(e.Text); text != "" {
			c.add(Problem{Rule: Value, Element: e, Type: t.name, Text: text})
		}
		return
	case anything:
		if c.exact && len(e.Children) != 1 {
			c.add(Problem{Rule: Repeated, Element: e, Text: fmt.Sprintf("holds %d elements: put exactly one into it", len(e.Children))})
		}
		return
	}
	if e.Text != "" {
		c.add(Problem{Rule: Text, Element: e, Text: fmt.Sprintf("holds the text %.40q beside elements: remove the text", strings.TrimSpace(e.Text))})
	}
	if t.kind == choice {
		c.choice(e, t)
		return
	}
	c.sequence(e, t)
}

// attributes allows Ccy on amounts, and what XML Schema itself defines everywhere.
func (c *checker) attributes(e *xmltree.Element, t *typ) {
	const instance = "http://www.w3.org/2001/XMLSchema-instance"
	found := false
	for _, a := range e.Attrs {
		switch {
		case a.Space == "" && a.Name == "Ccy" && t.kind == amount:
			found = true
			if text := currency.problem(a.Value); text != "" {
				c.add(Problem{Rule: Value, Element: e, Type: "ActiveOrHistoricCurrencyCode", Text: "has a currency that " + text})
			}
		case a.Space == instance && (a.Name == "schemaLocation" || a.Name == "noNamespaceSchemaLocation"):
		case c.exact:
			c.add(Problem{Rule: Unknown, Element: e, Text: fmt.Sprintf("has the attribute %.40s, which the message does not know: remove it", a.Name)})
		}
	}
	if t.kind == amount && !found {
		c.add(Problem{Rule: Missing, Element: e, Type: "ActiveOrHistoricCurrencyCode", Text: "has no currency: add the attribute Ccy"})
	}
}

// currency is the type of the attribute Ccy.
var currency = parseValue("currency", "like [A-Z]{3,3}")

// child returns the field of a child, or -1 after saying why there is none.
func (c *checker) child(e *xmltree.Element, t *typ) int {
	if e.Space != e.Parent.Space {
		c.add(Problem{Rule: Namespace, Element: e, Text: fmt.Sprintf("is of the namespace %.100q, which is not the message's: "+
			"remove it, or put it into SplmtryData/Envlp", e.Space)})
		return -1
	}
	i, known := t.index[e.Name]
	if !known {
		if c.exact {
			c.add(Problem{Rule: Unknown, Element: e, Text: fmt.Sprintf("is no element of %s: remove it or correct its name", e.Parent.Name)})
		}
		return -1
	}
	return i
}

func (c *checker) into(e *xmltree.Element, t *typ) {
	if c.exact || !lenientSkip[t.name] {
		c.element(e, t)
	}
}

func (c *checker) sequence(e *xmltree.Element, t *typ) {
	var buf [32]int
	counts := buf[:0]
	for range t.fields {
		counts = append(counts, 0)
	}
	last := 0
	for _, child := range e.Children {
		i := c.child(child, t)
		if i < 0 {
			continue
		}
		f := &t.fields[i]
		counts[i]++
		switch {
		case f.max >= 0 && counts[i] > f.max:
			c.add(Problem{Rule: Repeated, Element: child, Text: fmt.Sprintf("stands %d times; at most %d are allowed: remove one", counts[i], f.max)})
		case i < last && c.exact:
			c.add(Problem{Rule: Order, Element: child, Text: fmt.Sprintf("stands behind %s: put it before", t.fields[last].name)})
		}
		last = max(last, i)
		c.into(child, f.typ)
	}
	for i, f := range t.fields {
		if counts[i] < f.min && (c.exact || !lenientOptional[t.name+"."+f.name]) {
			c.add(Problem{Rule: Missing, Element: e, Child: f.name, Text: "is missing: add it"})
		}
	}
}

func (c *checker) choice(e *xmltree.Element, t *typ) {
	first, count := -1, 0
	for _, child := range e.Children {
		i := c.child(child, t)
		if i < 0 {
			continue
		}
		switch {
		case first < 0:
			first, count = i, 1
		case i != first:
			c.add(Problem{Rule: Choice, Element: child, Text: fmt.Sprintf("stands beside %s, and only one of the two is allowed: remove one",
				t.fields[first].name)})
			continue
		default:
			count++
			if f := t.fields[i]; f.max >= 0 && count > f.max {
				c.add(Problem{Rule: Repeated, Element: child, Text: fmt.Sprintf("stands %d times; at most %d are allowed: remove one", count, f.max)})
			}
		}
		c.into(child, t.fields[i].typ)
	}
	if first < 0 && (c.exact || len(e.Children) == 0) {
		names := make([]string, len(t.fields))
		for i, f := range t.fields {
			names[i] = f.name
		}
		c.add(Problem{Rule: Missing, Element: e, Child: names[0], Text: "is missing: add it, or another of " + strings.Join(names, ", ")})
	}
}
