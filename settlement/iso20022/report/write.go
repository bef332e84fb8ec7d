package report

import (
	"fmt"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/schema"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// newDocument returns the body of a new message, whose parent is its Document.
func newDocument(definition string) *xmltree.Element {
	m, _, found := schema.Lookup(definition)
	if !found || m.Definition != definition {
		panic("no tables of " + definition)
	}
	return xmltree.New("urn:iso:std:iso:20022:tech:xsd:"+definition, "Document").Add(m.Body)
}

// encode checks a message against its schema and writes it.
func encode(definition string, body *xmltree.Element) ([]byte, error) {
	m, _, _ := schema.Lookup(definition)
	var err error
	m.Check(body, true, func(p schema.Problem) bool {
		name := p.Element.Path()
		if p.Child != "" {
			name += "/" + p.Child
		}
		err = errors.Newf("write %s: %s %s", definition, name, p.Text)
		return false
	})
	if err != nil {
		return nil, err
	}
	raw, err := xmltree.Write(body.Parent)
	return raw, errors.Wrapf(err, "write %s", definition)
}

// inside appends an element and fills it. It stays out when nothing is put into it.
func inside(parent *xmltree.Element, name string, fill func(e *xmltree.Element)) {
	e := parent.Add(name)
	fill(e)
	if len(e.Children) == 0 {
		parent.Children = parent.Children[:len(parent.Children)-1]
	}
}

// amount appends an amount, unless its value is empty.
func amount(parent *xmltree.Element, name string, a iso20022.Amount) {
	if e := parent.AddText(name, a.Value); e != nil {
		e.Attrs = []xmltree.Attr{{Name: "Ccy", Value: a.Currency}}
	}
}

// agent appends an institution, unless nothing is known of it.
func agent(parent *xmltree.Element, name string, p iso20022.Party) {
	inside(parent, name, func(e *xmltree.Element) {
		inside(e, "FinInstnId", func(e *xmltree.Element) {
			e.AddText("BICFI", p.BIC)
			if p.ClearingID != "" {
				member := e.Add("ClrSysMmbId")
				inside(member, "ClrSysId", func(e *xmltree.Element) { code(e, p.ClearingCode, 5) })
				member.AddText("MmbId", p.ClearingID)
			}
			e.AddText("LEI", p.LEI)
			e.AddText("Nm", p.Name)
			inside(e, "Othr", func(e *xmltree.Element) { e.AddText("Id", p.Other) })
		})
		if len(e.Children) > 0 {
			inside(e, "BrnchId", func(e *xmltree.Element) { e.AddText("Id", p.Branch) })
		}
	})
}

// party appends a party, unless nothing is known of it.
func party(parent *xmltree.Element, name string, p iso20022.Party) {
	inside(parent, name, func(e *xmltree.Element) {
		e.AddText("Nm", p.Name)
		inside(e, "Id", func(e *xmltree.Element) {
			inside(e, "OrgId", func(e *xmltree.Element) {
				e.AddText("AnyBIC", p.BIC)
				e.AddText("LEI", p.LEI)
				inside(e, "Othr", func(e *xmltree.Element) { e.AddText("Id", p.Other) })
			})
		})
		e.AddText("CtryOfRes", p.Country)
	})
}

// code appends a code of at most so many characters, or a proprietary name when it is longer.
func code(parent *xmltree.Element, value string, most int) {
	if len(value) <= most {
		parent.AddText("Cd", value)
		return
	}
	parent.AddText("Prtry", value)
}

// account appends the identification of an account and what else is known of it.
func account(e *xmltree.Element, a iso20022.Account) {
	inside(e, "Id", func(e *xmltree.Element) {
		if a.IBAN != "" {
			e.AddText("IBAN", a.IBAN)
			return
		}
		inside(e, "Othr", func(e *xmltree.Element) {
			e.AddText("Id", a.Other)
			inside(e, "SchmeNm", func(e *xmltree.Element) { code(e, a.Scheme, 4) })
		})
	})
	e.AddText("Ccy", a.Currency)
}

// original appends the identification of an original message.
func original(parent *xmltree.Element, name string, o iso20022.Original) {
	inside(parent, name, func(e *xmltree.Element) {
		e.AddText("OrgnlMsgId", o.MessageID)
		e.AddText("OrgnlMsgNmId", o.MessageName)
		e.AddText("OrgnlCreDtTm", o.Created)
	})
}

// reasons appends reasons, each in an element of this name.
func reasons(parent *xmltree.Element, name string, all []iso20022.Reason) {
	for _, r := range all {
		e := parent.Add(name)
		party(e, "Orgtr", r.Originator)
		inside(e, "Rsn", func(e *xmltree.Element) {
			e.AddText("Cd", r.Code)
			e.AddText("Prtry", r.Proprietary)
		})
		for _, text := range r.Additional {
			e.AddText("AddtlInf", text)
		}
	}
}

// hasReason says whether some reason has a code or a proprietary name.
func hasReason(all []iso20022.Reason) bool {
	for _, r := range all {
		if r.Code != "" || r.Proprietary != "" {
			return true
		}
	}
	return false
}

// dateOrTime appends a date, or a date and time, as one of Dt and DtTm.
func dateOrTime(parent *xmltree.Element, name, value string) {
	inside(parent, name, func(e *xmltree.Element) {
		if len(value) > len("2026-11-30Z") && value[len("2026-11-30")] == 'T' {
			e.AddText("DtTm", value)
			return
		}
		e.AddText("Dt", value)
	})
}

// indexed puts the place of an element of a list before an error.
func indexed(err error, format string, args ...any) error {
	return errors.Wrap(err, fmt.Sprintf(format, args...))
}
