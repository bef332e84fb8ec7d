// Package badgerstore is the ledger.Store of a node: Badger v4 in managed mode, without waiting for
// the disk.
//
// # What it guarantees
//
// A commit is one Badger transaction. A transaction lies in one memtable, and Badger's replay cuts
// the log of a memtable at the first transaction that is not complete. Of a commit that survives a
// power failure, large values may be lost, because the value log is a file of its own. Reading a
// lost value is a ledger.ErrValueLost. When a power failure took a file of the value log together
// with its name, Badger gives the file's number to the next one. A key may then read as the value
// of the key that was written to the same place later. The ledger's values name their keys, so the
// ledger recognises that (ledger.Store).
//
// A clean Close makes everything durable. While the store is open, commits become durable in two
// ways. A token names the highest memtable file (*.mem) of its moment. Badger deletes such a file
// only after the file's contents are a synced table in the synced MANIFEST. Once all files up to a
// token are gone, and the value log and the directory were synced after that, every commit before
// the token is durable. Large values leave the memtable almost empty, so that it may live for
// gigabytes: after Options.SyncBytes the store syncs the memtable files themselves. Then every
// commit before that is durable, too, because Badger's replay begins with them. db.Sync is no
// substitute for either: it skips memtables that were rotated and not yet written.
//
// Inspect opens the store of a stopped node for reading and writes nothing.
//
// # What it does against Badger's habits
//
// Badger drops what it cannot read. A table block with a bad checksum reads as absent keys, a
// damaged memtable file is cut at the damage, and some damage ends the process from a goroutine
// that no caller can recover. Open therefore reads and checks every table of the MANIFEST first and
// refuses a damaged table by name (*DamagedError). The ledger's position, its dense index space and
// its tree show all other damage. Blocks under load lie in the value log and are written once. The
// value log is never collected, because nothing in it is ever deleted.
//
// # What it assumes
//
// One process at a time writes to a directory (Badger's lock), and nothing but Badger writes there.
// Damage to a table that is open can make a lookup of an idempotency key miss. The ledger proves
// every other read. Badger's compactions (v4.9.6) take such damage for the end of a table, and a
// table that could not be written for one that was. The contents are gone afterwards, while all
// checksums are sound. The ledger finds lost entries and tiles when it reads them; only
// ledger.CheckKey finds lost idempotency keys.
package badgerstore
