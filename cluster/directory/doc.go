// Package directory is the program of a cluster's own ledger: which ledgers the cluster keeps, and
// in which Raft group each one lives.
//
// # What it guarantees
//
//   - A ledger is created by one command (Create), which carries the ledger's whole genesis. All
//     members begin the ledger with the same block (Ledger.Block).
//   - An origin has one ledger. A second command for the same origin creates nothing and tells the
//     group of the first one (Outcome).
//   - Group ids ascend from 2 and are never used again. They are the prefix of all keys of a ledger,
//     so two ledgers with one id would mix.
//   - A ledger is never removed.
//
// # What it assumes
//
// The program does not know which programs a binary has, which parameters they take, nor who the
// members are. Whoever proposes a command checks that first.
//
// docs/programs.md has the bytes of commands, outcomes and rows.
package directory
