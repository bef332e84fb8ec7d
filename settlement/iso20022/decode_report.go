package iso20022

import "github.com/cairnledger/cairn/settlement/iso20022/xmltree"

// group reads what original groups share.
func (d *reader) group(e *xmltree.Element, base string, ordinal, count int) Group {
	return Group{
		Original: d.original(e),
		Path:     path(base, e.Name, ordinal, count),
		Line:     e.Line,
	}
}

// groups returns the children of a name that are about original messages, unless they are too many.
func (d *reader) groups(parent *xmltree.Element, name string) []*xmltree.Element {
	all := parent.All(name)
	if len(all) > MaxTransactions {
		d.refuse("too_many_groups", codeGroupCount, all[0], "the message is about %d original messages; at most %d are read: "+
			"split it into several messages", len(all), MaxTransactions)
		return nil
	}
	return all
}

// statusReport reads pacs.002.
func (d *reader) statusReport(m *Message, body *xmltree.Element) {
	d.groupHeader(m, d.one(body, "GrpHdr"))
	base := body.Path()
	groups := d.groups(body, "OrgnlGrpInfAndSts")
	for i, e := range groups {
		g := d.group(e, base, i+1, len(groups))
		g.Count = d.text(e, "OrgnlNbOfTxs")
		g.ControlSum = d.text(e, "OrgnlCtrlSum")
		g.Status = d.text(e, "GrpSts")
		g.Reasons = d.reasons(e, "StsRsnInf")
		for _, n := range e.All("NbOfTxsPerSts") {
			g.PerStatus = append(g.PerStatus, PerStatus{
				Status: d.text(n, "DtldSts"), Count: d.text(n, "DtldNbOfTxs"), ControlSum: d.text(n, "DtldCtrlSum"),
			})
		}
		m.Groups = append(m.Groups, g)
	}
	d.each(m, body, base, "TxInfAndSts", func(e *xmltree.Element, t *Transaction) {
		t.OwnID = d.text(e, "StsId")
		t.ClearingReference = d.text(e, "ClrSysRef")
		t.Original = d.originalTransaction(e, m.Groups)
		t.Status = d.text(e, "TxSts")
		t.AccountReference = d.text(e, "AcctSvcrRef")
		t.Effective = d.leaf(d.choice(d.one(e, "FctvIntrBkSttlmDt"), "Dt", "DtTm"))
		t.Reasons = d.reasons(e, "StsRsnInf")
	})
}

// statusRequest reads pacs.028.
func (d *reader) statusRequest(m *Message, body *xmltree.Element) {
	d.groupHeader(m, d.one(body, "GrpHdr"))
	base := body.Path()
	groups := d.groups(body, "OrgnlGrpInf")
	for i, e := range groups {
		g := d.group(e, base, i+1, len(groups))
		g.Count = d.text(e, "OrgnlNbOfTxs")
		g.ControlSum = d.text(e, "OrgnlCtrlSum")
		m.Groups = append(m.Groups, g)
	}
	d.each(m, body, base, "TxInf", func(e *xmltree.Element, t *Transaction) {
		t.OwnID = d.text(e, "StsReqId")
		t.ClearingReference = d.text(e, "ClrSysRef")
		t.Original = d.originalTransaction(e, m.Groups)
	})
}

// cancellation reads camt.056.
func (d *reader) cancellation(m *Message, body *xmltree.Element) {
	assignment := d.one(body, "Assgnmt")
	m.ID = d.text(assignment, "Id")
	m.Created = d.text(assignment, "CreDtTm")
	m.Instructing = d.partyOrAgent(d.one(assignment, "Assgnr"))
	m.Instructed = d.partyOrAgent(d.one(assignment, "Assgne"))
	control := d.one(body, "CtrlData")
	m.Count = d.text(control, "NbOfTxs")
	m.ControlSum = d.text(control, "CtrlSum")
	base := body.Path()
	underlying := d.groups(body, "Undrlyg")
	for i, u := range underlying {
		first := len(m.Groups)
		own := path(base, "Undrlyg", i+1, len(underlying))
		if e := d.one(u, "OrgnlGrpInfAndCxl"); e != nil {
			g := d.group(e, own, 1, 1)
			g.OwnID = d.text(e, "GrpCxlId")
			g.Count = d.text(e, "NbOfTxs")
			g.ControlSum = d.text(e, "CtrlSum")
			g.Whole = d.text(e, "GrpCxl")
			g.Reasons = d.reasons(e, "CxlRsnInf")
			m.Groups = append(m.Groups, g)
		}
		d.each(m, u, own, "TxInf", func(e *xmltree.Element, t *Transaction) {
			t.OwnID = d.text(e, "CxlId")
			t.Instructing = or(d.agent(d.one(e, "Assgnr")), m.Instructing)
			t.Instructed = or(d.agent(d.one(e, "Assgne")), m.Instructed)
			t.Original = d.originalTransaction(e, m.Groups[first:])
			t.Reasons = d.reasons(e, "CxlRsnInf")
		})
	}
}
