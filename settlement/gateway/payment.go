package gateway

import (
	"cmp"
	"encoding/hex"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
)

// payment returns the transfer that a transaction of pacs.008 or pacs.009 asks for, or what is wrong
// with it.
func (e *exchange) payment(it *item) (settlement.Transfer, *problem) {
	debit, credit, p := e.g.options.sides(e.m, it.tx)
	if p != nil {
		return settlement.Transfer{}, p
	}
	t := settlement.Transfer{ID: it.id, Debit: debit, Credit: credit, References: e.references(it)}
	return t, e.amount(it, &t)
}

// prepareReturn makes the transfer that a transaction of pacs.004 asks for: from the account that the
// original transfer credited to the one that it debited.
func (e *exchange) prepareReturn(it *item) {
	switch o := it.original; {
	case it.problem != nil:
	case o == nil:
		it.problem = problemOfReason(settlement.OriginalUnknown)
	case o.Debit == "":
		it.problem = problemOfReason(settlement.OriginalNotPosted)
	default:
		it.transfer = settlement.Transfer{ID: it.id, Debit: o.Credit, Credit: o.Debit, Original: o.ID, References: e.references(it)}
		it.problem = e.amount(it, &it.transfer)
	}
}

// amount puts amount and asset of a transaction into its transfer. It also sees to the settlement
// date: the ledger settles at once.
func (e *exchange) amount(it *item, t *settlement.Transfer) *problem {
	amount, err := settlement.ParseDecimal(it.tx.Settlement.Value)
	if err != nil {
		return &problem{codeAmount, "amount", err.Error()}
	}
	t.Amount, t.Asset = amount, it.tx.Settlement.Currency
	if err := settlement.CheckID(t.Asset); err != nil {
		return &problem{codeAmount, "currency", "the currency can be no asset: " + err.Error()}
	}
	if today := e.g.options.latest(e.in.Received); today != "" && dateOf(it.tx.SettlementDate) > today {
		it.late = &problem{codeFutureDate, "settlement_date_future",
			"the settlement date is " + dateOf(it.tx.SettlementDate) + ", and today is " + today + ": send the message on its settlement date"}
	}
	return nil
}

// dateOf cuts the zone off a date, and the time.
func dateOf(s string) string { return s[:min(len(s), len(time.DateOnly))] }

// references returns what the ledger records with the transfer of a transaction.
func (e *exchange) references(it *item) []settlement.Reference {
	t := it.tx
	values := map[settlement.ReferenceKind]string{
		settlement.EndToEndID: t.EndToEndID, settlement.InstructionID: t.InstructionID, settlement.TransactionID: t.TransactionID,
		settlement.UETR: t.UETR, settlement.MessageID: e.m.ID, settlement.Participant: e.g.options.Participant, settlement.Rail: e.g.options.Rail,
		settlement.CreditorReference: t.CreditorReference, settlement.Remittance: strings.Join(t.Remittance, " "), settlement.Purpose: t.Purpose,
		settlement.DebtorName: t.Debtor.Name, settlement.CreditorName: t.Creditor.Name, settlement.ValueDate: t.SettlementDate,
		settlement.Fingerprint: hex.EncodeToString(t.Fingerprint[:]),
	}
	if e.m.Type() == "pacs.004" {
		values[settlement.TransactionID] = cmp.Or(t.TransactionID, t.OwnID)
		values[settlement.EndToEndID], values[settlement.UETR] = t.Original.EndToEndID, t.Original.UETR
		if r := e.returnReason(t); r != "" {
			values[settlement.ReturnReason] = r
		}
	}
	for kind, value := range values {
		if values[kind] = clean(value); values[kind] == "" {
			delete(values, kind)
		}
	}
	return settlement.References(values)
}

// returnReason returns why a payment is returned: of the transaction, else of the group.
func (e *exchange) returnReason(t *iso20022.Transaction) string {
	reasons := t.Reasons
	if len(reasons) == 0 && len(e.m.Groups) > 0 {
		reasons = e.m.Groups[0].Reasons
	}
	if len(reasons) == 0 {
		return ""
	}
	return cmp.Or(reasons[0].Code, reasons[0].Proprietary)
}

// clean makes a text that a reference can have: on one line, and cut where it is too long.
func clean(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s))
	if len(s) <= settlement.MaxReference {
		return s
	}
	n := settlement.MaxReference
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimSpace(s[:n])
}
