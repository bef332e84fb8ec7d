// Package reconcile compares what a ledger says about an account with what somebody else says: a
// bank's statement, a clearing house's report, another system's table.
//
// The package knows no Raft, no gRPC and no ledger. Its two inputs are a Book, which is the
// ledger's own side in neutral terms, and statements, which the package statement reads. Its
// result is a Report, which is a pure function of both and of the Options: the same inputs in any
// order give the same bytes.
//
// # Matching
//
// A movement of the ledger and an item of the statement are matched by the first of these rules
// that joins them. An item is an entry, or one transaction of a batch.
//
//  1. end_to_end_id: the payer's reference. NOTPROVIDED is no reference.
//  2. creditor_reference: the structured reference of the creditor.
//  3. instruction_id, transaction_id, uetr, transfer_id: identifiers of the payment.
//  4. servicer_ref: the reference of the account's keeper.
//  5. pattern: what a regular expression finds in the unstructured text.
//  6. batch: a batch that one side booked in one sum.
//  7. amount_date_counterparty, then amount_date where each side has one candidate only.
//
// A match takes both out: nothing is matched twice. Within a rule, equal amounts and near dates
// come first. A match by a reference may be of different amounts; it is then a break.
//
// # Sides and signs
//
// "Here" is the ledger, "there" the statement. An amount is positive when it raises the balance
// that the statement shows.
//
// The smallest use:
//
//	statements, err := statement.Read(raw, mapping)
//	joined, err := statement.Join(statements)
//	report, err := reconcile.Compare(book, joined, reconcile.DefaultOptions())
//	report.WriteText(os.Stdout, false)
//	if report.Breaks() > 0 { os.Exit(1) }
package reconcile
