// Package tlog reads, writes, signs and verifies the texts of transparency logs
// that C2SP specifies: signed notes, checkpoints, cosignatures, verifier keys,
// policies, and proofs of inclusion, which a ledger calls receipts.
//
// # Guarantees
//
// Parsers accept exactly the bytes that the writers produce (for a policy, whose
// layout is free: the bytes that tlog-policy allows), bounded before anything is
// allocated, and never panic. [Policy.Verify] and [Policy.VerifyReceipt] accept
// nothing that is not signed by a log of the policy and cosigned by its quorum;
// an error says which signature or how many of them are missing.
//
// # Assumptions
//
// Checkpoints have no extension lines: an ML-DSA-44 cosignature does not cover
// them, so a checkpoint that has some is refused. A policy with "quorum none" is
// valid C2SP and can be parsed and written, but nothing verifies under it: a
// checkpoint that nobody cosigned can be forged by whoever holds the log's key.
//
// # Use
//
// The sealer makes a checkpoint and collects signature lines, each from a
// [Cosigner]; a verifier needs a policy and a receipt, and no network:
//
//	policy, err := tlog.ParsePolicy(policyFile)
//	receipt, err := tlog.ParseReceipt(receiptFile)
//	verified, err := policy.VerifyReceipt(receipt)
package tlog
