// Package proof makes and verifies the files that prove something about a settlement ledger with
// its policy alone: what an account had as of a size, or that there was no such account; what was
// instructed and what came of it; a statement between two sizes, complete. docs/settlement.md has
// their formats and how to verify them; testdata has examples.
//
// Each file is a few lines of text that end with C2SP receipts (.tlog-proof), byte for byte: who
// knows nothing of accounts can verify those by themselves.
//
// Verification trusts nothing but the policy. Parsers accept exactly what the writers produce, and
// never panic.
package proof
