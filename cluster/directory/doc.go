// Package directory is the program of a cluster's own ledger: which ledgers the cluster keeps, in
// which Raft group each one lives, and which nodes keep them.
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
//   - A node has an id and a name that no other node ever had: founders by the genesis, later ones by
//     a command (NodeChange). The record says what the node is to become in every ledger (Role).
//   - A node that was added is bound to one data directory: the first one with which it was met.
//
// # What it assumes
//
// The program does not know which programs a binary has, which parameters they take, nor what a
// ledger's policy says of its members. Whoever proposes a command checks that first.
//
// docs/programs.md has the bytes of commands, outcomes and rows.
package directory
