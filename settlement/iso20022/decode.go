package iso20022

import (
	"fmt"

	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// Decode reads a message with the default limits. An error is a *Refused.
func Decode(raw []byte) (*Message, error) {
	m, _, refused := decode(raw, xmltree.Limits{})
	if refused != nil {
		return nil, refused
	}
	return m, nil
}

func decode(raw []byte, limits xmltree.Limits) (*Message, *envelope, *Refused) {
	env, refused := open(raw, limits)
	if refused != nil {
		return nil, nil, refused
	}
	d := &reader{space: env.document.Space}
	m := &Message{Definition: env.definition, Fingerprint: d.fingerprint(env.document)}
	d.foreign(env.body)
	if env.header != nil {
		m.Header = d.header(env.header)
	}
	env.family.read(d, m, env.body)
	if d.refused != nil {
		return nil, env, d.refused
	}
	return m, env, nil
}

// reader reads elements. It keeps the first thing that it would have to guess.
type reader struct {
	space   string
	refused *Refused
	buffer  []byte // of fingerprint
}

func (d *reader) refuse(rule, code string, e *xmltree.Element, format string, args ...any) {
	if d.refused == nil {
		d.refused = refuse(rule, code, e, format, args...)
	}
}

// foreign refuses elements of another namespace, which some readers would take for the message's
// own. Supplementary data may hold anything. The recursion is as deep as the document.
func (d *reader) foreign(e *xmltree.Element) {
	if e.Name == "Envlp" && e.Parent.Name == "SplmtryData" {
		return
	}
	for _, c := range e.Children {
		if c.Space != d.space {
			d.refuse("foreign_element", codeNotAllowed, c, "%s is of the namespace %.100q, not of the message's: "+
				"remove it, or put it into SplmtryData/Envlp", c.Name, c.Space)
			return
		}
		d.foreign(c)
	}
}

// one returns the child of a name, or nil. Two of them are refused: which of them counts would be a
// guess.
func (d *reader) one(e *xmltree.Element, name string) *xmltree.Element {
	first := e.Child(name)
	if first == nil {
		return nil
	}
	for i := len(e.Children) - 1; ; i-- {
		switch c := e.Children[i]; {
		case c == first:
			return first
		case c.Name == name && c.Space == e.Space:
			d.refuse("duplicate_element", codeNotAllowed, c, "%s stands twice, first in line %d: remove one", name, first.Line)
			return first
		}
	}
}

// at follows one child of each name.
func (d *reader) at(e *xmltree.Element, names ...string) *xmltree.Element {
	for _, name := range names {
		e = d.one(e, name)
	}
	return e
}

// leaf returns the text of an element that must not have children.
func (d *reader) leaf(e *xmltree.Element) string {
	if e != nil && len(e.Children) > 0 {
		d.refuse("text_expected", codeContent, e.Children[0], "%s stands inside %s, which holds text alone: remove it",
			e.Children[0].Name, e.Name)
	}
	return e.String()
}

// text returns the text at the end of a path.
func (d *reader) text(e *xmltree.Element, names ...string) string {
	return d.leaf(d.at(e, names...))
}

// choice returns the child that has one of the names, nil for none. Two alternatives are refused.
func (d *reader) choice(e *xmltree.Element, names ...string) *xmltree.Element {
	var found *xmltree.Element
	for _, name := range names {
		c := d.one(e, name)
		switch {
		case c == nil:
		case found != nil:
			d.refuse("several_alternatives", codeNotAllowed, c, "%s stands beside %s, and only one of the two is allowed: remove one",
				c.Name, found.Name)
		default:
			found = c
		}
	}
	return found
}

// codeOr returns the code or the proprietary name of a choice.
func (d *reader) codeOr(e *xmltree.Element) string {
	return d.leaf(d.choice(e, "Cd", "Prtry"))
}

func (d *reader) amount(e *xmltree.Element) Amount {
	if e == nil {
		return Amount{}
	}
	currency, _ := e.Attr("Ccy")
	return Amount{Value: d.leaf(e), Currency: currency}
}

// texts returns the texts of all children of a name.
func (d *reader) texts(e *xmltree.Element, name string) []string {
	var all []string
	for _, c := range e.All(name) {
		all = append(all, d.leaf(c))
	}
	return all
}

// or returns the first that is not the zero value.
func or[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}

// agent reads BranchAndFinancialInstitutionIdentification in all its versions.
func (d *reader) agent(e *xmltree.Element) Party {
	if e == nil {
		return Party{}
	}
	in := d.one(e, "FinInstnId")
	member := d.one(in, "ClrSysMmbId")
	return Party{
		Name:         d.text(in, "Nm"),
		BIC:          d.leaf(d.choice(in, "BICFI", "BIC")),
		LEI:          d.text(in, "LEI"),
		ClearingID:   d.text(member, "MmbId"),
		ClearingCode: d.codeOr(d.one(member, "ClrSysId")),
		Other:        d.text(in, "Othr", "Id"),
		OtherIssuer:  d.text(in, "Othr", "Issr"),
		Branch:       d.text(e, "BrnchId", "Id"),
		Country:      d.text(in, "PstlAdr", "Ctry"),
	}
}

// party reads PartyIdentification in all its versions.
func (d *reader) party(e *xmltree.Element) Party {
	if e == nil {
		return Party{}
	}
	id := d.choice(d.one(e, "Id"), "OrgId", "PrvtId")
	return Party{
		Name:        d.text(e, "Nm"),
		BIC:         d.leaf(d.choice(id, "AnyBIC", "BICOrBEI")),
		LEI:         d.text(id, "LEI"),
		Other:       d.text(id.Child("Othr"), "Id"),
		OtherIssuer: d.text(id.Child("Othr"), "Issr"),
		Country:     or(d.text(e, "CtryOfRes"), d.text(e, "PstlAdr", "Ctry")),
	}
}

// partyOrAgent reads a choice of the two, and in older versions a party alone.
func (d *reader) partyOrAgent(e *xmltree.Element) Party {
	switch c := d.choice(e, "Pty", "Agt"); {
	case c == nil:
		return d.party(e)
	case c.Name == "Agt":
		return d.agent(c)
	default:
		return d.party(c)
	}
}

// headerParty reads the sender or receiver of a header.
func (d *reader) headerParty(e *xmltree.Element) Party {
	c := d.choice(e, "FIId", "OrgId")
	if c != nil && c.Name == "FIId" {
		return d.agent(c)
	}
	return d.party(c)
}

func (d *reader) account(e *xmltree.Element) Account {
	if e == nil {
		return Account{}
	}
	id := d.one(e, "Id")
	a := Account{Currency: d.text(e, "Ccy"), Proxy: d.text(e, "Prxy", "Id")}
	if c := d.choice(id, "IBAN", "Othr"); c != nil && c.Name == "IBAN" {
		a.IBAN = d.leaf(c)
	} else {
		a.Other = d.text(c, "Id")
		a.Scheme = d.codeOr(d.one(c, "SchmeNm"))
	}
	return a
}

func (d *reader) reasons(e *xmltree.Element, name string) []Reason {
	var all []Reason
	for _, c := range e.All(name) {
		reason := d.choice(d.one(c, "Rsn"), "Cd", "Prtry")
		r := Reason{Originator: d.party(d.one(c, "Orgtr")), Additional: d.texts(c, "AddtlInf")}
		if reason != nil && reason.Name == "Cd" {
			r.Code = d.leaf(reason)
		} else {
			r.Proprietary = d.leaf(reason)
		}
		all = append(all, r)
	}
	return all
}

// header reads a business application header.
func (d *reader) header(e *xmltree.Element) *Header {
	return &Header{
		Definition:        e.Space[len(namespace):],
		From:              d.headerParty(d.one(e, "Fr")),
		To:                d.headerParty(d.one(e, "To")),
		ID:                d.text(e, "BizMsgIdr"),
		MessageDefinition: d.text(e, "MsgDefIdr"),
		Service:           d.text(e, "BizSvc"),
		Created:           d.text(e, "CreDt"),
		CopyDuplicate:     d.text(e, "CpyDplct"),
		PossibleDuplicate: d.text(e, "PssblDplct"),
		Priority:          d.text(e, "Prty"),
	}
}

// path is Element.Path for the elements of one name, whose ordinal is known: it does not count
// siblings.
func path(parent string, name string, ordinal, count int) string {
	if count == 1 {
		return parent + "/" + name
	}
	return fmt.Sprintf("%s/%s[%d]", parent, name, ordinal)
}
