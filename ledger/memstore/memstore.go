// Package memstore is a ledger.Store in memory with explicit crashes, for tests and for the
// simulator: no goroutines, no clock, no randomness of its own.
//
// It models what badgerstore promises and nothing more. Commits go to the active memtable; a full
// one is rotated behind a queue and flushed when more than Options.MaxUnflushed wait (or by Flush).
// What is flushed survives everything. PowerLoss drops a suffix of the commits of each memtable
// that is not flushed: the rotated ones leave a hole in front of newer commits that survive. A mere
// process crash loses nothing: ProcessCrash.
package memstore

import (
	"bytes"
	"slices"
	"sync"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// ErrClosed is what a closed or crashed store returns.
var ErrClosed = errors.New("memstore: store is closed")

// Options of New. The zero value is useful.
type Options struct {
	// MemtableSize is how many bytes of keys and values a memtable takes; default 32 MiB.
	MemtableSize int
	// MaxUnflushed is how many full memtables wait before the oldest is flushed; default 1.
	MaxUnflushed int
}

// Store implements ledger.Store. Safe for concurrent use.
type Store struct {
	opts Options
	mu   struct {
		sync.Mutex
		closed  bool
		live    *table // what readers see: flushed and every memtable
		flushed *table // what survives a power failure for certain
		// mem are the memtables that are not flushed, oldest first; the last one is active.
		mem    []*memtable
		nextID ledger.Token
	}
}

type memtable struct {
	id      ledger.Token
	size    int
	commits []commit
}

type commit struct {
	version uint64
	pairs   []ledger.Pair
}

// New returns an empty store.
func New(opts Options) *Store {
	if opts.MemtableSize <= 0 {
		opts.MemtableSize = 32 << 20
	}
	if opts.MaxUnflushed <= 0 {
		opts.MaxUnflushed = 1
	}
	s := &Store{opts: opts}
	s.mu.live, s.mu.flushed = newTable(), newTable()
	s.mu.nextID = 1
	s.rotate()
	return s
}

func (s *Store) rotate() {
	s.mu.mem = append(s.mu.mem, &memtable{id: s.mu.nextID})
	s.mu.nextID++
}

// Get implements ledger.Store.
func (s *Store) Get(key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil, ErrClosed
	}
	v, ok := s.mu.live.values[string(key)]
	if !ok || v.value == nil {
		return nil, ledger.ErrKeyNotFound
	}
	return bytes.Clone(v.value), nil
}

// Seek implements ledger.Store.
func (s *Store) Seek(key, prefix []byte) (ledger.Pair, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return ledger.Pair{}, ErrClosed
	}
	return s.mu.live.seek(key, prefix)
}

// SeekLast implements ledger.Store.
func (s *Store) SeekLast(key, prefix []byte) (ledger.Pair, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return ledger.Pair{}, ErrClosed
	}
	return s.mu.live.seekLast(key, prefix)
}

// Scan implements ledger.Store.
func (s *Store) Scan(key, prefix []byte, limit int, visit func(key []byte) (take bool, next []byte)) ([]ledger.Pair, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil, ErrClosed
	}
	return s.mu.live.scan(key, prefix, limit, visit), nil
}

// Commit implements ledger.Store.
func (s *Store) Commit(version uint64, pairs []ledger.Pair) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return ErrClosed
	}
	if version == 0 {
		return errors.New("memstore: commit at version 0")
	}
	active := s.mu.mem[len(s.mu.mem)-1]
	if active.size >= s.opts.MemtableSize {
		s.rotate()
		active = s.mu.mem[len(s.mu.mem)-1]
		for len(s.mu.mem)-1 > s.opts.MaxUnflushed {
			s.flushOldest()
		}
	}
	c := commit{version, slices.Clone(pairs)}
	for _, p := range pairs {
		active.size += len(p.Key) + len(p.Value)
	}
	active.commits = append(active.commits, c)
	s.mu.live.apply(c)
	return nil
}

func (s *Store) flushOldest() {
	for _, c := range s.mu.mem[0].commits {
		s.mu.flushed.apply(c)
	}
	s.mu.mem = slices.Delete(s.mu.mem, 0, 1)
}

// Token implements ledger.Store.
func (s *Store) Token() (ledger.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.nextID - 1, nil
}

// Flushed implements ledger.Store.
func (s *Store) Flushed() (ledger.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.mem[0].id - 1, nil
}

// Sync implements ledger.Store.
func (s *Store) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return ErrClosed
	}
	s.flushAll()
	return nil
}

// Flush makes everything durable.
func (s *Store) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushAll()
}

func (s *Store) flushAll() {
	for len(s.mu.mem) > 0 {
		s.flushOldest()
	}
	s.rotate()
}

// Close implements ledger.Store. Reopen returns what is left.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return ErrClosed
	}
	s.flushAll()
	s.mu.closed = true
	return nil
}

// ProcessCrash ends the store without flushing and returns the one that a new process finds:
// nothing is lost, but nothing became durable either.
func (s *Store) ProcessCrash() *Store {
	return s.PowerLoss(func(_, commits int) int { return commits })
}

// PowerLoss ends the store and returns the one that is found afterwards. Of each memtable that was
// not flushed, oldest first, keep(i, n) says how many of its n commits survive; the last memtable
// is the active one.
func (s *Store) PowerLoss(keep func(memtable, commits int) int) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.closed = true
	after := New(s.opts)
	after.mu.flushed = s.mu.flushed
	after.mu.live = s.mu.flushed.clone()
	// As at the opening of Badger, the survivors wait to be flushed.
	after.mu.mem = after.mu.mem[:0]
	after.mu.nextID = s.mu.nextID
	for i, m := range s.mu.mem {
		n := min(max(keep(i, len(m.commits)), 0), len(m.commits))
		survivor := &memtable{id: m.id, commits: m.commits[:n:n]}
		for _, c := range survivor.commits {
			after.mu.live.apply(c)
			for _, p := range c.pairs {
				survivor.size += len(p.Key) + len(p.Value)
			}
		}
		after.mu.mem = append(after.mu.mem, survivor)
	}
	after.rotate()
	return after
}

// Reopen returns a store with the contents of a closed one.
func (s *Store) Reopen() *Store { return s.ProcessCrash() }
