// Package settlement is the program of a ledger that keeps accounts: assets, accounts, transfers,
// reservations, and instructions for delivery versus payment, every one of them an entry whose
// outcome stands in the leaf, a refusal included. docs/settlement.md has the model, the rules and
// the formats.
//
// Program is a ledger.Program. It is pure: what it decides follows from the entries before. It
// knows no Raft, no gRPC and no clock but the time of the entry.
//
// The smallest use, on the side that asks:
//
//	amount, err := settlement.ParseDecimal("12.34")
//	command := settlement.Command{Action: &settlement.Submit{Transfers: []settlement.Transfer{
//		{ID: "t-1", Debit: "alice", Credit: "bob", Amount: amount},
//	}}}
//	body, err := command.Marshal() // the body of an entry of ledger.KindCommand
//
// and on the side that reads a leaf: ParseCommand of the entry's body, ParseOutcome of its outcome.
//
// # Invariants
//
// For every asset, after every entry: the sum of all posted debits is the sum of all posted credits,
// and the same holds for what is pending.
//
// For every account, after every entry: posted and pending debits together fit an Amount, and so do
// the credits. No transfer takes an account above its limit, what is reserved included; only an
// operator who lowers the limit may leave it above. So a post never fails for want of funds.
//
// Two instructions that match have one status, and every leg of them is settled in the entry in which
// the other one is.
//
// An id is used once: what the first command with it came to, it stays.
package settlement
