// Package ledger applies blocks: it turns the sequence of committed blocks into entries with
// indexes, an RFC 6962 Merkle tree, an idempotency index and sealed checkpoints, keeps all of that
// in a Store and answers reads from it.
//
// # What it guarantees
//
//   - ApplyMany is a pure function of the blocks applied so far: every replica that applies the
//     same blocks has the same entries, results and roots. A block that is malformed, names a false
//     anchor or is older than the newest entry has no effect on any of them and is counted
//     (IgnoreReason).
//   - A batch is atomic. An idempotency key is never stored twice; the index of a stored key never
//     expires.
//   - A program reads its state as the entries before left it, in a replay too. A refused batch
//     leaves neither entries nor outcomes nor rows.
//   - A genesis says what the ledger is, who keeps it and whose signatures seal it. It is taken as
//     entry 0 alone, for the origin and the program that the ledger was opened with.
//   - The feature level of a ledger changes only with a record in the ledger, and never down. A
//     program that does not know the level stops with ErrNewerLevel.
//   - Whose signatures seal a checkpoint of a size is a function of the entries below it: the genesis
//     and the policy changes that were taken (PolicyInForce).
//   - Several ledgers of one store share no key. Each is named by its group and its origin.
//   - Whatever is read was checked against the tree whose right edge is in memory: leaves against
//     their hashes, tiles against the tiles above. What does not prove is a *CorruptError and never
//     data. The index space is dense: what is missing below the size is corruption too.
//   - After any stop, replay from a durable Summary gives exactly the same state, whatever part of
//     the later commits the store lost.
//
// # What it assumes
//
// The caller has made the blocks durable (the Raft log) and hands over the same ones again from the
// Summary on. One goroutine applies; reads are safe from any number of them and never wait for an
// apply. A finding of absence in the idempotency index cannot be proved against the tree: it is as
// good as the store's own checksums (see badgerstore).
//
// The smallest use:
//
//	store := memstore.New(memstore.Options{})
//	l, err := ledger.Open(store, ledger.Config{Group: 1, Origin: "example.org/ledger"})
//	block, err := ledger.EncodeBlock(l.Anchor(), now, []ledger.Batch{batch})
//	results, err := l.ApplyMany([]ledger.Committed{{RaftIndex: 1, RaftTerm: 1, Block: block}})
//	leaf, err := l.Leaf(results[0][0].Indexes[0])
//
// The node's replica calls ApplyMany; package api and the audit commands read. A Program decides
// the entries: docs/programs.md.
package ledger
