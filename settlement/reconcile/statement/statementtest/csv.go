package statementtest

import (
	"bytes"
	"encoding/csv"
	"strings"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// CSV returns a statement as a table in the way of a German bank, and the mapping that reads it. A
// batch is a row without its transactions. The table has no pending entries.
func CSV(s *statement.Statement) (table, mapping []byte) {
	var b bytes.Buffer
	b.WriteString("Kontoauszug\n")
	w := csv.NewWriter(&b)
	w.Comma = ';'
	write := func(fields ...string) {
		// bytes.Buffer never fails; Flush is called below.
		_ = w.Write(fields)
	}
	write("Buchung", "Valuta", "Soll", "Haben", "Währung", "EndToEnd", "Instr", "Tx", "UETR", "Bankref", "Kundenref", "Sammler", "Name", "Konto", "Zweck", "Storno")
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.Status != statement.Booked {
			continue
		}
		var t statement.Transaction
		if len(e.Transactions) == 1 {
			t = e.Transactions[0]
		}
		for _, batch := range e.Batches {
			t.PaymentInfoID = batch.PaymentInfoID
		}
		other := t.Counterparty(e)
		debit, credit, reversal := "", germanNumber(e.Amount), ""
		if e.Amount.Sign() < 0 {
			debit, credit = germanNumber(e.Amount.Neg()), ""
		}
		if e.Reversal {
			reversal = "x"
		}
		write(germanDate(e.Booked), germanDate(e.Value), debit, credit, e.Currency, t.EndToEndID, t.InstructionID, t.TransactionID, t.UETR,
			firstOf(t.ServicerRef, e.ServicerRef), strings.Join(t.CreditorRefs, " "), t.PaymentInfoID, other.Name, other.Account,
			strings.Join(t.Text, " "), reversal)
	}
	w.Flush()
	var m strings.Builder
	m.WriteString("account: " + s.Account + "\ncurrency: " + s.Currency + "\nskip: 1\ndelimiter: \";\"\ndates: DD.MM.YYYY\ndecimal: \",\"\nthousands: \".\"\nsign: columns\n")
	for _, balance := range s.Balances {
		switch balance.Code {
		case "OPBD":
			m.WriteString("opening: \"" + germanNumber(balance.Amount) + "\"\n")
		case "CLBD":
			m.WriteString("closing: \"" + germanNumber(balance.Amount) + "\"\n")
		}
	}
	m.WriteString("columns: {booked: Buchung, value: Valuta, debit: Soll, credit: Haben, currency: Währung, end_to_end_id: EndToEnd, instruction_id: Instr, " +
		"transaction_id: Tx, uetr: UETR, servicer_ref: Bankref, creditor_ref: Kundenref, payment_info_id: Sammler, counterparty: Name, " +
		"counterparty_account: Konto, text: Zweck, reversal: Storno}\n")
	return b.Bytes(), []byte(m.String())
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func germanDate(d statement.Day) string {
	if d == 0 {
		return ""
	}
	return d.Time().Format("02.01.2006")
}

// germanNumber writes 1234567.89 as 1.234.567,89.
func germanNumber(a statement.Amount) string {
	whole, fraction, _ := strings.Cut(a.Abs().String(), ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "." + whole[i:]
	}
	if fraction != "" {
		whole += "," + fraction
	}
	if a.Sign() < 0 {
		return "-" + whole
	}
	return whole
}
