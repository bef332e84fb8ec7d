package ledger

import "github.com/cockroachdb/errors"

// ErrKeyNotFound is what a Store returns for a key that it does not hold.
var ErrKeyNotFound = errors.New("key not found")

// ErrValueLost is what a Store returns, wrapped, for a key that it holds with a value that it
// cannot read: damaged, or lost in a power failure.
var ErrValueLost = errors.New("value lost")

// Pair is one key with its new value. A nil Value deletes the key; an empty one does not.
type Pair struct{ Key, Value []byte }

// Token names a moment in a Store's life, for Flushed.
type Token uint64

// Store is the ordered key-value store under a Ledger: badgerstore in production, memstore in tests
// and in the simulator. Get, Seek and Scan are safe for concurrent use with everything; Commit has
// one caller at a time for ApplyMany and possibly another one for sealed checkpoints.
//
// A store promises no more than this about a power failure: everything before a flushed token
// survives, and of the rest any part may be missing, including the middle. Of a commit all keys
// survive or none; the value of one that did may be lost, and a large one may even read as that of
// another key until it is written again.
type Store interface {
	// Get returns a copy of the key's value with the highest version, or ErrKeyNotFound. Any other
	// error means that the data cannot be trusted.
	Get(key []byte) ([]byte, error)
	// Seek returns copies of the first pair whose key is >= key and begins with prefix, or
	// ErrKeyNotFound. The prefix holds at least group and kind (9 bytes), and key begins with it.
	Seek(key, prefix []byte) (Pair, error)
	// SeekLast returns copies of the last pair whose key is <= key and begins with prefix, or
	// ErrKeyNotFound. For key and prefix see Seek.
	SeekLast(key, prefix []byte) (Pair, error)
	// Scan returns copies of pairs whose keys are >= key and begin with prefix, ascending, at most
	// limit of them. For key and prefix see Seek. visit is asked about every key: whether its pair
	// is taken, and where to go on. nil is the next key, and a key without the prefix ends the
	// scan. visit must not use the store, nor keep or change the key. A nil visit takes every pair.
	Scan(key, prefix []byte, limit int, visit func(key []byte) (take bool, next []byte)) ([]Pair, error)
	// Commit writes the pairs atomically and makes them visible, without waiting for the disk.
	// Versions (at least 1) order the writes to one key: a lower version never hides a higher one.
	// One key is never written with two different values at one version. The store may keep Key and
	// Value. An error is final: nothing may be written after it.
	Commit(version uint64, pairs []Pair) error
	// Token returns the token of everything that has been committed so far. Tokens never decrease.
	Token() (Token, error)
	// Flushed returns a token such that everything committed before it was handed out survives a
	// power failure; 0 when there is none yet.
	Flushed() (Token, error)
	// Sync makes everything durable that has been committed so far, and waits for the disk. Flushed
	// then returns at least what Token returned before. Commits go on meanwhile.
	Sync() error
	// Close flushes everything and closes the store: after a nil error everything is durable.
	Close() error
}

// Shared returns the store for one of several ledgers. Close does nothing: whoever opened the store
// closes it, after all of its ledgers. Only then is everything durable.
func Shared(s Store) Store { return shared{s} }

type shared struct{ Store }

// Close implements Store.
func (shared) Close() error { return nil }
