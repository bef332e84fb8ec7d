package iso20022

import "github.com/cairnledger/cairn/settlement/iso20022/xmltree"

// securities reads sese.023.
func (d *reader) securities(m *Message, body *xmltree.Element) {
	s := &SecuritiesInstruction{Path: body.Path(), Line: body.Line}
	m.Securities = s
	s.TransactionID = d.text(body, "TxId")
	m.ID = s.TransactionID
	if h := m.Header; h != nil {
		m.ID, m.Created = or(h.ID, m.ID), h.Created
		m.Instructing, m.Instructed = h.From, h.To
	}

	kind := d.one(body, "SttlmTpAndAddtlParams")
	s.Movement = d.text(kind, "SctiesMvmntTp")
	s.Payment = d.text(kind, "Pmt")
	s.CommonID = d.text(kind, "CmonId")
	for _, e := range body.All("Lnkgs") {
		l := Link{Position: d.codeOr(d.one(e, "PrcgPos"))}
		if ref := d.one(e, "Ref"); ref != nil && len(ref.Children) > 0 {
			if len(ref.Children) > 1 {
				d.refuse("several_alternatives", codeNotAllowed, ref.Children[1], "Ref holds several references: keep one")
			}
			l.Kind, l.Reference = ref.Children[0].Name, d.leaf(ref.Children[0])
		}
		s.Links = append(s.Links, l)
	}

	trade := d.one(body, "TradDtls")
	s.TradeIDs = d.texts(trade, "TradId")
	s.TradeDate = d.dateOrCode(d.one(trade, "TradDt"))
	s.SettlementDate = d.dateOrCode(d.one(trade, "SttlmDt"))

	security := d.one(body, "FinInstrmId")
	s.ISIN = d.text(security, "ISIN")
	s.OtherID = d.text(security.Child("OthrId"), "Id")

	account := d.one(body, "QtyAndAcctDtls")
	if q := d.choice(d.at(account, "SttlmQty", "Qty"), "Unit", "FaceAmt", "AmtsdVal", "DgtlTknUnit"); q != nil {
		s.Quantity, s.QuantityKind = d.leaf(q), q.Name
	}
	s.Owner = d.settlementParty(d.one(account, "AcctOwnr")).Party
	s.SafekeepingAccount = d.text(account, "SfkpgAcct", "Id")
	if c := d.choice(d.one(account, "CshAcct"), "IBAN", "Prtry"); c != nil && c.Name == "IBAN" {
		s.CashAccount.IBAN = d.leaf(c)
	} else {
		s.CashAccount.Other = d.leaf(c)
	}

	params := d.one(body, "SttlmParams")
	s.Hold = d.text(params, "HldInd", "Ind")
	s.Priority = d.text(params, "Prty", "Nmrc")
	s.Partial = d.text(params, "PrtlSttlmInd")
	transaction := d.one(params, "SctiesTxTp")
	s.Transaction = or(d.text(transaction, "Cd"), d.text(transaction, "Prtry", "Id"))

	s.Delivering = d.chain(d.one(body, "DlvrgSttlmPties"))
	s.Receiving = d.chain(d.one(body, "RcvgSttlmPties"))
	amount := d.one(body, "SttlmAmt")
	s.Settlement = d.amount(d.one(amount, "Amt"))
	s.Side = d.text(amount, "CdtDbtInd")
}

// dateOrCode reads the dates of securities: a date, a date and time, or a code instead.
func (d *reader) dateOrCode(e *xmltree.Element) string {
	c := d.choice(e, "Dt", "DtCd")
	if c == nil {
		return ""
	}
	if c.Name == "Dt" {
		return d.leaf(d.choice(c, "Dt", "DtTm"))
	}
	return or(d.text(c, "Cd"), d.text(c, "Prtry", "Id"))
}

func (d *reader) chain(e *xmltree.Element) SettlementChain {
	chain := SettlementChain{Depository: d.settlementParty(d.one(e, "Dpstry")).Party}
	for _, name := range []string{"Pty1", "Pty2", "Pty3", "Pty4", "Pty5"} {
		if p := d.one(e, name); p != nil {
			chain.Parties = append(chain.Parties, d.settlementParty(p))
		}
	}
	return chain
}

func (d *reader) settlementParty(e *xmltree.Element) SettlementParty {
	id := d.one(e, "Id")
	d.choice(id, "AnyBIC", "PrtryId", "NmAndAdr", "Ctry", "DgtlLdgrId")
	return SettlementParty{
		Party: Party{
			Name:        d.text(id, "NmAndAdr", "Nm"),
			BIC:         d.text(id, "AnyBIC"),
			LEI:         d.text(e, "LEI"),
			Other:       or(d.text(id, "PrtryId", "Id"), d.text(id, "DgtlLdgrId")),
			OtherIssuer: d.text(id, "PrtryId", "Issr"),
			Country:     d.text(id, "Ctry"),
		},
		Account:      d.text(e, "SfkpgAcct", "Id"),
		ProcessingID: d.text(e, "PrcgId"),
	}
}
