// Package backup keeps a verified copy of all ledgers of a cluster in a directory, and reads it
// again. Take makes and continues a copy while the cluster runs, Verify checks one offline with a
// policy alone, and Ledger.Records gives the blocks from which a cluster is restored.
//
// # Layout
//
//	MANIFEST                    which ledgers the copy has, and how far; written last
//	LOCK                        held by the process that writes
//	ledgers/GROUP/checkpoint    the newest sealed checkpoint, a signed note
//	ledgers/GROUP/policychain   the chain of policies (package policychain)
//	ledgers/GROUP/tile/…        hash tiles and entry bundles, as C2SP tlog-tiles lays them out
//	ledgers/GROUP/blocks/FIRST  block records from entry FIRST on, which has 20 digits
//
// GROUP is the ledger's Raft group, 1 for the directory. checkpoint and tile are a copy as `cairn
// audit --save` makes one: tools that know C2SP read it. blocks has what a node needs besides: which
// entries came in one block, and the Raft index and term of each block.
//
// # A file of blocks
//
// Integers are big-endian.
//
//	4  magic "CRNK"
//	1  version, 1
//	3  zero
//	8  index of the first entry
//	8  size of the ledger after the last entry
//	   records: 4 bytes length, then a block record (docs/format-ledger.md)
//	4  CRC-32C of everything before
//
// # Nothing good is replaced by anything bad
//
// A file takes shape under a name that ends in .tmp, is synced, and is renamed. Only MANIFEST,
// checkpoint and policychain are ever replaced, and a partial tile is removed when a wider one has
// taken its place. Every block is proved to belong to the tree of a sealed checkpoint before its file is
// written, and the checkpoint to continue the one before. Signatures are judged under the policies
// that the entries themselves say, from a trusted policy on, before the checkpoint is replaced. The
// checkpoint of the directory is replaced after those of the ledgers that it lists, and MANIFEST after
// all. So at any moment the directory names no ledger that the copy lacks.
//
// An interrupted Take leaves what MANIFEST says, and files of blocks behind it. The next Take reads
// these, and proves and keeps those that belong to the ledger.
package backup
