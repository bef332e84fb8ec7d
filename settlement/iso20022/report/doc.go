// Package report writes the ISO 20022 messages that answer and report: status of payments
// (pacs.002.001.10), resolution of investigations (camt.029.001.09), account reports, statements
// and notifications (camt.052, camt.053 and camt.054, all .001.08), and status and confirmation of
// securities settlement (sese.024.001.13, sese.025.001.12).
//
// # What it guarantees
//
//   - Equal values give equal bytes.
//   - What is written fits its schema. A value that does not, such as a text that is too long, is
//     an error that names the element; then nothing is written.
//   - A statement adds up: opening balance and booked entries give the closing balance, and the
//     balances are those that its place among the pages wants.
//   - A rejection has a reason.
//
// The structures are neutral: they name no account or transfer of a ledger, and hold amounts as
// decimal strings. Where a balance has a sign, "-" is a debit balance; elsewhere amounts have none.
// Times and dates are written as given, in the forms of XML Schema.
//
// The smallest use:
//
//	raw, err := report.StatusReport{ID: "S-1", Created: "2026-11-30T12:00:00Z",
//		Transactions: []report.TransactionStatus{{Original: original, Status: "ACSC"}}}.Encode()
package report
