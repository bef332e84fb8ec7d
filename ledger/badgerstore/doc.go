// Package badgerstore is the ledger.Store of a node: Badger v4 in managed mode, without waiting for the disk.
//
// # What it guarantees
//
// A commit is one Badger transaction: a transaction lies in one memtable, and Badger's replay of a memtable's file cuts
// it at the first transaction that is not complete. Of a commit that survives, large values may be lost (the value log is
// a file of its own): reading one is a ledger.ErrValueLost. When a whole file of the value log was lost, name and all,
// Badger gives its number to the next one, and a key may read as the value of the key that was written to the same place
// since: values say whose they are (ledger.Store). A clean Close makes everything durable.
// In between a token does: it names the highest memtable file (*.mem) of its moment. Badger deletes such a file only after
// its contents are a synced table in the synced MANIFEST; when all files up to a token are gone, and the value log and the
// directory were synced after that, every commit before the token is durable. db.Sync is no substitute: it passes over
// memtables that were rotated and not yet written.
//
// # What it does against Badger's habits
//
// Badger drops what it cannot read: a table block with a bad checksum reads as absent keys, a damaged memtable file is
// cut at the damage, and some damage ends the process from a goroutine where nobody can recover. Open therefore reads
// and checks every table of the MANIFEST first and refuses a damaged one by name (*DamagedError). The ledger's
// position, its dense index space and its tree show the rest. Blocks under load lie in the value log, written once; it is
// never collected, since nothing in it is ever deleted.
//
// # What it assumes
//
// One process at a time per directory (Badger's lock file). Writes to the directory come from Badger only. Damage that
// happens to a table while it is open can make a lookup of an idempotency key miss; every other read is proved by
// the ledger. Badger's compactions take such damage for the end of a table, and a table that could not be written for
// one that was (v4.9.6): what was in it is gone afterwards, with sound checksums everywhere. Of entries and tiles the
// ledger finds that out when it reads them, of keys only ledger.CheckKey does.
package badgerstore
