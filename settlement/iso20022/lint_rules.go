package iso20022

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cairnledger/cairn/settlement/iso20022/codes"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// headerRules compares the business application header with the message.
func (l *linter) headerRules() {
	h, e := l.message.Header, l.env.header
	if h == nil {
		return
	}
	if h.MessageDefinition != "" && h.MessageDefinition != l.message.Definition {
		l.add(Error, "header_definition", codeContent, e.Child("MsgDefIdr"), "", "MsgDefIdr is %.40q, but Document holds %s: make them agree",
			h.MessageDefinition, l.message.Definition)
	}
	switch h.CopyDuplicate {
	case "COPY", "CODU":
		l.add(Error, "header_copy", codeDuplicate, e.Child("CpyDplct"), "", "CpyDplct is %s: a copy is not carried out, send the original",
			h.CopyDuplicate)
	}
}

// identification checks the identifications on which carrying out exactly once depends.
func (l *linter) identification() {
	elements := l.transactionElements()
	// unique reports an identification that several transactions have.
	unique := func(severity Severity, rule, code string, value func(t *Transaction) string, at ...string) {
		first := map[string]int{}
		for i := range l.message.Transactions {
			v := value(&l.message.Transactions[i])
			if v == "" || v == notProvided {
				continue
			}
			other, found := first[v]
			if !found {
				first[v] = i
				continue
			}
			e := elements[i].At(at...)
			l.add(severity, rule, code, e, "", "%s is %.40q, as in the transaction of line %d: give each its own",
				e.Name, v, elements[other].Line)
		}
	}
	switch l.message.Type() {
	case "pacs.008", "pacs.009":
		unique(Error, "duplicate_id", codeReference, func(t *Transaction) string { return t.TransactionID }, "PmtId", "TxId")
		unique(Error, "duplicate_id", codeReference, func(t *Transaction) string { return t.InstructionID }, "PmtId", "InstrId")
		unique(Error, "duplicate_id", codeDuplicateTx, func(t *Transaction) string { return t.UETR }, "PmtId", "UETR")
		unique(Warning, "duplicate_end_to_end", codeDuplicateEnd, func(t *Transaction) string { return t.EndToEndID }, "PmtId", "EndToEndId")
		for i, t := range l.message.Transactions {
			if strings.HasPrefix(t.identification(i), "#") {
				l.add(Warning, "no_transaction_id", codeMissing, elements[i], "PmtId", "PmtId identifies the transaction neither by TxId nor "+
					"by InstrId or EndToEndId, so that its place in the message does: add TxId")
			}
		}
	case "pacs.004":
		unique(Error, "duplicate_id", codeReference, func(t *Transaction) string { return t.OwnID }, "RtrId")
	case "camt.056":
		unique(Error, "duplicate_id", codeReference, func(t *Transaction) string { return t.OwnID }, "CxlId")
	}
	l.sameOriginal(elements)
	l.sameIdentity(elements)
	l.blanks(l.env.body)
}

// sameIdentity reports transactions that nothing tells apart, where no other finding does.
func (l *linter) sameIdentity(elements []*xmltree.Element) {
	first := map[string]int{}
	for i := range l.message.Transactions {
		id := l.message.Transactions[i].identification(i)
		other, found := first[id]
		if !found {
			first[id] = i
			continue
		}
		if _, rejected := RejectedTransaction(l.findings, i); !rejected {
			l.add(Error, "duplicate_identity", codeReference, elements[i], "", "%s has the identification of the transaction of line %d, %.60s: "+
				"give each its own", elements[i].Name, elements[other].Line, id)
		}
	}
}

// sameOriginal reports two returns or cancellations of one transaction.
func (l *linter) sameOriginal(elements []*xmltree.Element) {
	if t := l.message.Type(); t != "pacs.004" && t != "camt.056" {
		return
	}
	type key struct{ message, tx, instr, uetr string }
	first := map[key]int{}
	for i, t := range l.message.Transactions {
		o := t.Original
		k := key{o.MessageID, o.TransactionID, o.InstructionID, o.UETR}
		if k.tx == "" && k.instr == "" && k.uetr == "" {
			continue
		}
		if other, found := first[k]; found {
			l.add(Error, "duplicate_original", codeDuplicateTx, elements[i], "", "%s is about the same original transaction as that of line %d: "+
				"remove one", elements[i].Name, elements[other].Line)
			continue
		}
		first[k] = i
	}
}

// identifiers are elements in which white space at an end hides a difference.
var identifiers = map[string]bool{
	"MsgId": true, "InstrId": true, "EndToEndId": true, "TxId": true, "ClrSysRef": true, "RtrId": true, "CxlId": true,
	"OrgnlMsgId": true, "OrgnlInstrId": true, "OrgnlEndToEndId": true, "OrgnlTxId": true, "StsId": true, "StsReqId": true,
}

// blanks reports white space around identifications. The recursion is as deep as the document.
func (l *linter) blanks(e *xmltree.Element) {
	if e.Name == "SplmtryData" || l.full {
		return
	}
	if identifiers[e.Name] && len(e.Children) == 0 && e.Text != e.String() {
		if e.String() == "" {
			l.add(Error, "blank_id", codeMissing, e, "", "%s is nothing but white space: fill it in", e.Name)
		} else {
			l.add(Warning, "blank_around_id", codeContent, e, "", "%s has white space at its ends, which is not kept: remove it", e.Name)
		}
	}
	for _, c := range e.Children {
		l.blanks(c)
	}
}

// dates checks creation time and settlement dates.
func (l *linter) dates() {
	m, r := l.message, l.rules
	if t, zoned, err := codes.ParseDateTime(m.Created); err == nil && !r.Now.IsZero() {
		e := l.created()
		late := time.Hour
		if !zoned {
			late = 15 * time.Hour // the zone may be any
		}
		switch {
		case t.After(r.Now.Add(late)):
			l.add(Warning, "created_later", codeCreationDate, e, "", "%s is %s, which is later than now: correct the clock or the zone", e.Name, m.Created)
		case r.MaxAge > 0 && r.Now.Sub(t) > r.MaxAge:
			l.add(Error, "created_earlier", codeCreationDate, e, "", "%s is %s, more than %s ago: send a new message", e.Name, m.Created, r.MaxAge)
		}
	}
	switch m.Type() {
	case "pacs.008", "pacs.009", "pacs.004":
	default:
		return
	}
	head := l.env.body.Child("GrpHdr")
	group := head.Child("IntrBkSttlmDt")
	for i, e := range l.transactionElements() {
		own := e.Child("IntrBkSttlmDt")
		switch {
		case own == nil && group == nil:
			l.add(Error, "settlement_date_missing", codeDate, e, "IntrBkSttlmDt", "IntrBkSttlmDt is missing: add it here or to GrpHdr")
			continue
		case own != nil && group != nil && own.String() != group.String():
			l.add(Error, "settlement_date_twice", codeDate, own, "", "IntrBkSttlmDt is %.40q here and %.40q in GrpHdr: keep one",
				own.String(), group.String())
		case own == nil && i > 0:
			continue // the group's date is checked once
		}
		at := own
		if at == nil {
			at = group
		}
		l.settlementDate(at)
	}
}

// created returns the element of the creation time.
func (l *linter) created() *xmltree.Element {
	switch l.message.Type() {
	case "camt.056":
		return l.env.body.At("Assgnmt", "CreDtTm")
	case "sese.023":
		return l.env.header.Child("CreDt")
	}
	return l.env.body.At("GrpHdr", "CreDtTm")
}

// settlementDate compares a date with the business date.
func (l *linter) settlementDate(e *xmltree.Element) {
	date, err := codes.ParseDate(e.String())
	if err != nil {
		if !l.flagged[e] {
			l.add(Error, "settlement_date", codeDate, e, "", "%s %s", e.Name, err.Error())
		}
		return
	}
	if l.rules.Today == "" {
		return
	}
	today, err := codes.ParseDate(l.rules.Today)
	if err != nil {
		return
	}
	ahead := int(date.Sub(today).Hours() / 24)
	switch {
	case ahead < 0:
		l.add(Error, "settlement_date_past", codeDate, e, "", "%s is %s, but today is %s: use today or a later date", e.Name, e.String(), l.rules.Today)
	case l.rules.MaxDaysAhead > 0 && ahead > l.rules.MaxDaysAhead:
		l.add(Error, "settlement_date_future", codeFuture, e, "", "%s is %s, %d days ahead; at most %d are allowed: send it later",
			e.Name, e.String(), ahead, l.rules.MaxDaysAhead)
	case ahead == 0 && !l.rules.CutOff.IsZero() && !l.rules.Now.IsZero() && !l.rules.Now.Before(l.rules.CutOff):
		l.add(Error, "cut_off", codeCutOff, e, "", "%s is today, but the cut-off at %s has passed: use the next business day",
			e.Name, l.rules.CutOff.UTC().Format(time.RFC3339))
	}
}

// amounts compares the totals of a message with its transactions.
func (l *linter) amounts() {
	m := l.message
	switch m.Type() {
	case "pacs.008", "pacs.009", "pacs.004":
		l.totals(l.env.body.Child("GrpHdr"), func(t *Transaction) Amount { return t.Settlement })
	case "camt.056":
		if len(m.Groups) == 0 {
			l.totals(l.env.body.Child("CtrlData"), func(t *Transaction) Amount { return t.Original.Settlement })
		}
	}
}

// totals checks number, sum and total that an element gives.
func (l *linter) totals(e *xmltree.Element, amount func(t *Transaction) Amount) {
	transactions := l.message.Transactions
	if n := e.Child("NbOfTxs"); n != nil && !l.flagged[n] {
		if count, err := strconv.Atoi(n.String()); err != nil || count != len(transactions) {
			l.add(Error, "transaction_count", codeGroupCount, n, "", "NbOfTxs is %.40s, but the message holds %d: correct the number or send the whole message",
				n.String(), len(transactions))
		}
	}
	var sum codes.Decimal
	currency := ""
	for i := range transactions {
		a := amount(&transactions[i])
		d, err := codes.ParseDecimal(a.Value)
		if err != nil {
			return // said elsewhere
		}
		sum = sum.Add(d)
		if i == 0 {
			currency = a.Currency
		} else if currency != a.Currency {
			currency = fmt.Sprintf("%.3s and %.3s", currency, a.Currency)
			if l.total(e) != nil {
				l.add(Error, "total_currency", codeCurrency, l.total(e), "", "%s is given, but the transactions are in %s: leave it out or split the message",
					l.total(e).Name, currency)
				return
			}
		}
	}
	if c := e.Child("CtrlSum"); c != nil && !l.flagged[c] {
		if d, err := codes.ParseDecimal(c.String()); err != nil || d.Cmp(sum) != 0 {
			l.add(Error, "control_sum", codeControlSum, c, "", "CtrlSum is %.40s, but the amounts add up to %s: correct the sum or send the whole message",
				c.String(), sum)
		}
	}
	t := l.total(e)
	if t == nil || l.flagged[t] {
		return
	}
	if d, err := codes.ParseDecimal(t.String()); err != nil || d.Cmp(sum) != 0 {
		l.add(Error, "total", codeControlSum, t, "", "%s is %.40s, but the amounts add up to %s: correct it or send the whole message",
			t.Name, t.String(), sum)
	}
	if c, _ := t.Attr("Ccy"); len(transactions) > 0 && c != currency {
		l.add(Error, "total_currency", codeCurrency, t, "", "%s is in %.3s, but the transactions are in %s: correct it", t.Name, c, currency)
	}
}

// total returns the total of the settlement amounts, nil for none.
func (l *linter) total(e *xmltree.Element) *xmltree.Element {
	if t := e.Child("TtlIntrBkSttlmAmt"); t != nil {
		return t
	}
	return e.Child("TtlRtrdIntrBkSttlmAmt")
}

// returns checks what a return needs beside its schema: what it returns, why and how much.
func (l *linter) returns() {
	l.originals()
	groupReasons := len(l.message.Groups) > 0 && len(l.message.Groups[0].Reasons) > 0
	for i, e := range l.transactionElements() {
		t := l.message.Transactions[i]
		if len(t.Reasons) == 0 && !groupReasons {
			l.add(Error, "reason_missing", codeMissing, e, "RtrRsnInf", "RtrRsnInf is missing: say why the payment is returned")
		}
		returned, err := codes.ParseDecimal(t.Settlement.Value)
		original, err2 := codes.ParseDecimal(t.Original.Settlement.Value)
		if err == nil && err2 == nil && t.Settlement.Currency == t.Original.Settlement.Currency && returned.Cmp(original) > 0 {
			l.add(Error, "returned_too_much", codeWrongAmount, e.Child("RtrdIntrBkSttlmAmt"), "",
				"RtrdIntrBkSttlmAmt is %s, more than the original amount of %s: return at most that", returned, original)
		}
	}
}

// originals checks that each transaction says which one it is about.
func (l *linter) originals() {
	for i, e := range l.transactionElements() {
		o := l.message.Transactions[i].Original
		if o.TransactionID == "" && o.InstructionID == "" && o.UETR == "" && (o.EndToEndID == "" || o.EndToEndID == notProvided) &&
			o.ClearingReference == "" {
			l.add(Error, "original_missing", codeMissing, e, "OrgnlTxId", "OrgnlTxId is missing: say which transaction this is about, by OrgnlTxId, "+
				"OrgnlInstrId, OrgnlEndToEndId or OrgnlUETR")
		}
		if o.MessageID == "" && o.UETR == "" && l.message.Type() != "pacs.002" {
			l.add(Warning, "original_message_missing", codeMissing, e, "OrgnlGrpInf", "OrgnlGrpInf is missing: say which message the original came in")
		}
	}
	if len(l.message.Transactions) == 0 && len(l.message.Groups) == 0 {
		l.add(Error, "original_missing", codeMissing, l.env.body, "", "%s is about no transaction and no message: name one", l.env.body.Name)
	}
}
