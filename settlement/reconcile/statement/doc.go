// Package statement reads what a bank, or another keeper of an account, says of it: camt.053,
// camt.052 and camt.054 of ISO 20022 in the versions 02 to 08, and CSV files of any layout that a
// Mapping describes.
//
// # What it guarantees
//
//   - Amounts are exact. No amount passes through a float.
//   - An amount carries its effect on the account as its sign: a credit is positive. The indicator
//     of a reversal changes no sign, because ISO 20022 gives the sign of the reversal itself.
//   - The parsers are pure functions of bytes. What they do not understand is an error that names
//     the place and says what to do; nothing that a file holds makes them panic.
//   - Every entry and every transaction of a batch names its place in the file.
//
// # What it does not do
//
// A parser takes a statement as it stands. Whether the statement agrees with itself is what Check
// says: opening balance plus entries against closing balance, summaries, batches, pages.
//
// The smallest use:
//
//	statements, err := statement.Read(raw, nil)
//	for _, s := range statements {
//		for _, f := range s.Check() { … }
//	}
package statement
