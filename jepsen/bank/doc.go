// Package bank is the clients of a settlement ledger in a real cluster, and the verdict about what
// they were told and about what the ledger holds in the end.
//
// Tellers ask for random commands (package load), some as an operator and some as a participant,
// through the client library, which repeats a request whose answer was lost. The verdict reads the
// ledger from every node and demands:
//
//   - All nodes hold the same leaves, and package settle agrees with every one of them.
//   - What a teller was told stands in the leaf that it was told about: the same command, with the
//     same results.
//   - What was refused definitely, each time that it was asked for, is not in the ledger.
//   - No entry is there that nobody asked for, but those of the leaders.
//   - No reservation is pending that had ended before the last entry, once the leader has had time.
//   - The accounts that nodes serve have the balances of the model.
package bank
