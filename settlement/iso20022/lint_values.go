package iso20022

import (
	"errors"

	"github.com/cairnledger/cairn/settlement/iso20022/codes"
	"github.com/cairnledger/cairn/settlement/iso20022/schema"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// missingCode is the reason code of a missing element, where it has a more exact one than CH21.
var missingCode = map[string]string{
	"CreDtTm": codeCreationDate, "CreDt": codeCreationDate, "NbOfTxs": codeGroupCount,
	"IntrBkSttlmAmt": codeAmount, "RtrdIntrBkSttlmAmt": codeAmount, "IntrBkSttlmDt": codeDate,
	"DbtrAgt": codeDebtorBank, "CdtrAgt": codeCreditorBank,
}

// typeCode is the reason code of a wrong value by its type.
var typeCode = map[string]string{
	"ISODate": codeDate, "ISODateTime": codeDate, "ISOTime": codeDate,
	"ActiveCurrencyAndAmount": codeAmount, "ActiveOrHistoricCurrencyAndAmount": codeAmount,
	"ActiveOrHistoricCurrencyCode": codeCurrency, "DecimalNumber": codeAmount, "ImpliedCurrencyAndAmount": codeAmount,
	"BICFIDec2014Identifier": codeBIC, "AnyBICDec2014Identifier": codeBIC, "IBAN2007Identifier": codeAccount,
	"ISINOct2015Identifier": securityInstrument,
}

func schemaCode(p schema.Problem) string {
	name := p.Element.Name
	switch p.Rule {
	case schema.Missing:
		if p.Type != "" {
			return codeCurrency // the attribute Ccy
		}
		return or(missingCode[p.Child], codeMissing)
	case schema.Value:
		switch {
		case name == "CreDtTm" || name == "CreDt":
			return codeCreationDate
		case name == "NbOfTxs":
			return codeGroupCount
		}
		return or(contextCode(p.Element, typeCode[p.Type]), codeContent)
	case schema.Order, schema.Text:
		return codeContent
	}
	return codeNotAllowed
}

// contextCode makes the code of an account or bank that of debtor or creditor, where it is theirs.
func contextCode(e *xmltree.Element, code string) string {
	if code != codeAccount && code != codeBIC {
		return code
	}
	for ; e != nil; e = e.Parent {
		switch {
		case e.Name == "DbtrAcct" && code == codeAccount:
			return codeDebtorAccount
		case e.Name == "CdtrAcct" && code == codeAccount:
			return codeCreditorAccount
		case e.Name == "DbtrAgt" && code == codeBIC:
			return codeDebtorBank
		case e.Name == "CdtrAgt" && code == codeBIC:
			return codeCreditorBank
		}
	}
	return code
}

// check is a check of the text of an element.
type check struct {
	rule, code string
	err        func(string) error
}

// valueChecks are the checks by the name of an element. The schemas know the shape of these values,
// these checks their check digits too, and they serve the versions without a schema.
var valueChecks = map[string]check{
	"IBAN":      {"iban", codeAccount, codes.IBAN},
	"BICFI":     {"bic", codeBIC, codes.BIC},
	"BIC":       {"bic", codeBIC, codes.BIC},
	"AnyBIC":    {"bic", codeBIC, codes.BIC},
	"BICOrBEI":  {"bic", codeBIC, codes.BIC},
	"LEI":       {"lei", codeContent, codes.LEI},
	"ISIN":      {"isin", securityInstrument, codes.ISIN},
	"UETR":      {"uetr", codeContent, codes.UETR},
	"OrgnlUETR": {"uetr", codeContent, codes.UETR},
}

// values checks every value of a message that has check digits or a currency. Supplementary data is
// not looked into. The recursion is as deep as the document.
func (l *linter) values(e *xmltree.Element) {
	if e.Name == "SplmtryData" || l.full {
		return
	}
	if len(e.Children) == 0 && !l.flagged[e] {
		l.value(e)
	}
	if e.Name == "ClrSysMmbId" && e.At("ClrSysId", "Cd").String() == "USABA" {
		if id := e.Child("MmbId"); id != nil {
			if err := codes.ABA(id.String()); err != nil {
				l.add(Error, "aba", contextCode(e, codeBIC), id, "", "MmbId %s", err.Error())
			}
		}
	}
	for _, c := range e.Children {
		l.values(c)
	}
}

func (l *linter) value(e *xmltree.Element) {
	if currency, found := e.Attr("Ccy"); found {
		l.amount(e, currency)
		return
	}
	c, found := valueChecks[e.Name]
	if !found {
		return
	}
	err := c.err(e.String())
	if err == nil {
		return
	}
	severity := Error
	if errors.Is(err, codes.ErrUnlistedCountry) {
		severity = Warning
	}
	l.add(severity, c.rule, contextCode(e, c.code), e, "", "%s %s", e.Name, err.Error())
}

// settlementAmounts are the amounts that are to be settled: nothing settles in a currency that is
// no longer in use or has no minor unit.
var settlementAmounts = map[string]bool{
	"IntrBkSttlmAmt": true, "RtrdIntrBkSttlmAmt": true, "TtlIntrBkSttlmAmt": true, "TtlRtrdIntrBkSttlmAmt": true,
}

// amount checks currency and decimals.
func (l *linter) amount(e *xmltree.Element, code string) {
	settles := settlementAmounts[e.Name] && e.Parent.Name != "OrgnlTxRef" || e.Name == "Amt" && e.Parent.Name == "SttlmAmt"
	currency, found := codes.LookupCurrency(code)
	switch {
	case !found:
		l.add(Error, "currency", codeCurrency, e, "", "%s has the currency %q, which ISO 4217 does not list: correct it", e.Name, code)
		return
	case settles && (currency.Withdrawn || currency.Scale == codes.NoScale):
		l.add(Error, "currency", codeCurrency, e, "", "%s has the currency %s, in which nothing is settled: use one that is in use", e.Name, code)
		return
	}
	d, err := codes.ParseDecimal(e.String())
	if err != nil {
		l.add(Error, "amount", codeAmount, e, "", "%s %s", e.Name, err.Error())
		return
	}
	if d.Sign() < 0 {
		l.add(Error, "amount", codeAmount, e, "", "%s is %s, which is negative: write an amount of zero or more", e.Name, d)
	}
	if currency.Scale != codes.NoScale && d.Scale() > currency.Scale {
		l.add(Error, "amount_decimals", codeDecimals, e, "", "%s is %s, but %s has %d decimals: write no more",
			e.Name, e.String(), code, currency.Scale)
	}
	if settles && d.Sign() == 0 {
		l.add(Error, "amount_zero", codeZeroAmount, e, "", "%s is zero: write the amount that is to be settled", e.Name)
	}
}
