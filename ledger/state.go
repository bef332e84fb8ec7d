package ledger

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/errors"
)

// A row of a program's state is written once and under a key of its own: the program's key and the
// index of the entry that put it (keyspace.row). The newest row of a key below an index is the
// state as of that index. So a replay after a power failure reads what the first run read, although
// the store may hold rows of entries that are still to be replayed, with holes between them.
//
// A row is deleted when nothing reads it any more: a newer row of its key lies below the durable
// position of the Raft log, from where every replay begins (Ledger.Marked). The newest row of a key
// is never deleted, so whatever part of the deletions a power failure takes back, reads are the
// same.
const (
	// rowsPerCommit and rowBytesPerCommit bound the rows that one commit to the store carries.
	rowsPerCommit     = 4096
	rowBytesPerCommit = 256 << 10
)

// row is one row of a program's state. It is immutable.
type row struct {
	absent bool   // there is no such row
	index  uint64 // of the entry that put it
	value  []byte
}

// programState is a program's View, and what the applier knows of the program's rows.
type programState struct {
	store Store
	keys  keyspace
	cache ledgerCache // rows, and absences, as of size
	// size is the ledger's size as of the last commit. The store is read as of it: later rows are
	// in fresh, and those that the store may hold are of the future.
	size uint64
	// opened is the size that the store held at Open: of a row below it, older rows may be left.
	opened uint64

	// fresh has the newest row of every key that was put since the last commit, written the keys in
	// the order of their first put, and below the rows that the store holds for them.
	fresh   map[string]*row
	written []string
	below   map[string]*row
	undone  []undoneRow // since the last batch that was kept
	order   []string    // written, sorted; valid when sorted
	sorted  bool
	bytes   int // of the puts since the last commit
	block   int // of the puts in this block

	// of the entry that is being decided
	deciding  bool
	index     uint64
	ranging   int
	err       error // of the store; the program's decision does not count
	violation error // of a limit; the same

	floor atomic.Uint64 // size at the durable position of the Raft log; replays begin there or later
	old   []superseded  // rows to delete, ascending in at
}

// undoneRow is what fresh had for a key before a put.
type undoneRow struct {
	key    string
	before *row // nil: nothing
}

// superseded is a row that nothing reads once the durable size is above at.
type superseded struct {
	key   string
	index uint64
	at    uint64 // index of the entry that put the next row of the key
	older bool   // the store may hold older rows of the key, left from before the last stop
}

func (s *programState) init(store Store, keys keyspace, cache ledgerCache, size, stored uint64) {
	s.store, s.keys, s.cache, s.size, s.opened = store, keys, cache, size, stored
	s.fresh, s.below = make(map[string]*row), make(map[string]*row)
	s.floor.Store(size)
}

func (s *programState) begin(index uint64) { s.index, s.deciding = index, true }

func (s *programState) end() { s.deciding, s.ranging = false, 0 }

// keep keeps what the batch put, and reports whether it put a row.
func (s *programState) keep() (wrote bool) {
	wrote = len(s.undone) > 0
	s.undone = s.undone[:0]
	return wrote
}

// undo drops what the batch put.
func (s *programState) undo() {
	for i := len(s.undone) - 1; i >= 0; i-- {
		u := s.undone[i]
		put := s.fresh[u.key]
		s.block -= len(u.key) + len(put.value)
		if u.before != nil {
			s.fresh[u.key] = u.before
			continue
		}
		delete(s.fresh, u.key)
		delete(s.below, u.key)
		s.written, s.sorted = s.written[:len(s.written)-1], false
	}
	s.undone = s.undone[:0]
	s.err, s.violation = nil, nil
}

// stop leaves Decide: what the program does from here on has no effect.
type stopDecide struct{}

func (s *programState) fail(err error) {
	s.err = err
	panic(stopDecide{})
}

func (s *programState) violate(format string, args ...any) {
	if s.violation == nil {
		s.violation = errors.Newf(format, args...)
	}
	panic(stopDecide{})
}

// check is at the beginning of every method of View: a program that recovers from stopDecide does
// not go on.
func (s *programState) check() {
	if s.err != nil || s.violation != nil {
		panic(stopDecide{})
	}
	if !s.deciding {
		panic("ledger: a View is used outside of Decide")
	}
}

// Get implements View.
func (s *programState) Get(key []byte) ([]byte, bool) {
	s.check()
	r := s.get(key)
	return r.value, !r.absent
}

func (s *programState) get(key []byte) *row {
	if r, ok := s.fresh[string(key)]; ok {
		return r
	}
	return s.committed(key)
}

// committed returns the row as of the last commit.
func (s *programState) committed(key []byte) *row {
	if r, ok := s.cache.row(key); ok {
		return r
	}
	r, err := readRow(s.store, s.keys, key, s.size)
	if err != nil {
		s.fail(err)
	}
	s.cache.putRow(string(key), r)
	return r
}

// Put implements View.
func (s *programState) Put(key, value []byte) {
	s.check()
	switch {
	case s.ranging > 0:
		s.violate("a row was put while a range was read")
	case len(key) == 0 || len(key) > MaxStateKey:
		s.violate("a row has a key of %d bytes, want 1 to %d", len(key), MaxStateKey)
	case len(value) > MaxStateValue:
		s.violate("a row has a value of %d bytes, at most %d", len(value), MaxStateValue)
	case s.block+len(key)+len(value) > MaxBlockWrites:
		s.violate("the rows of the block have more than %d bytes", MaxBlockWrites)
	}
	k := string(key)
	before := s.fresh[k]
	if before == nil {
		s.below[k] = s.committed(key)
		s.written, s.sorted = append(s.written, k), false
	}
	s.undone = append(s.undone, undoneRow{k, before})
	s.fresh[k] = &row{index: s.index, value: append(make([]byte, 0, len(value)), value...)}
	s.block += len(key) + len(value)
	s.bytes += len(key) + len(value) + pairOverhead
}

// Range implements View.
func (s *programState) Range(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		s.check()
		s.ranging++
		defer func() { s.ranging = max(0, s.ranging-1) }()
		if !s.sorted {
			s.order = append(s.order[:0], s.written...)
			slices.Sort(s.order)
			s.sorted = true
		}
		next, _ := slices.BinarySearch(s.order, string(from))
		fresh := func() (string, bool) {
			if next < len(s.order) && (len(to) == 0 || s.order[next] < string(to)) {
				return s.order[next], true
			}
			return "", false
		}
		emit := func(key string) bool {
			next++
			return yield([]byte(key), s.fresh[key].value)
		}
		for key, value := range s.stored(from, to) {
			for k, ok := fresh(); ok && k < string(key); k, ok = fresh() {
				if !emit(k) {
					return
				}
			}
			if k, ok := fresh(); ok && k == string(key) {
				if !emit(k) {
					return
				}
				continue
			}
			if !yield(key, value) {
				return
			}
		}
		for k, ok := fresh(); ok; k, ok = fresh() {
			if !emit(k) {
				return
			}
		}
	}
}

func (s *programState) stored(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		if err := rangeRows(s.store, s.keys, from, to, s.size, yield); err != nil {
			s.fail(err)
		}
	}
}

// rows returns what the store has to hold for the puts since the last commit.
func (s *programState) rows() []Pair {
	pairs := make([]Pair, 0, len(s.written))
	for _, key := range s.written {
		r := s.fresh[key]
		pairs = append(pairs, Pair{s.keys.row([]byte(key), r.index), r.value})
	}
	return pairs
}

// commit takes the puts for committed, at a ledger of the given size.
func (s *programState) commit(size uint64) {
	for _, key := range s.written {
		r := s.fresh[key]
		if b := s.below[key]; !b.absent {
			s.old = append(s.old, superseded{key, b.index, r.index, b.index < s.opened})
		}
		s.cache.putRow(key, r)
	}
	s.size = size
	clear(s.fresh)
	clear(s.below)
	clear(s.written)
	clear(s.order)
	s.written, s.order, s.sorted, s.bytes = s.written[:0], s.order[:0], false, 0
}

// expired returns deletions of rows that nothing reads any more, at most limit of them.
func (s *programState) expired(limit int) (pairs []Pair, err error) {
	floor := s.floor.Load()
	for len(s.old) > 0 && len(pairs) < limit && s.old[0].at < floor {
		o := s.old[0]
		pairs = append(pairs, Pair{Key: s.keys.row([]byte(o.key), o.index)})
		s.old = s.old[1:]
		if !o.older || o.index == 0 {
			continue
		}
		index, found, err := newestRow(s.store, s.keys, []byte(o.key), o.index)
		if err != nil {
			return nil, err
		}
		if found {
			s.old = slices.Insert(s.old, 0, superseded{o.key, index, o.at, true})
		}
	}
	return pairs, nil
}

// Marked says that the Raft log's mark at s is durable, so that no replay begins before it: rows of
// the program's state that only such a replay would read are deleted with later commits. Without it
// they are kept.
func (l *Ledger) Marked(s Summary) {
	for f := &l.applier.state.floor; ; {
		if old := f.Load(); old >= s.Size || f.CompareAndSwap(old, s.Size) {
			return
		}
	}
}

// readRow returns the newest row of a key below an index.
func readRow(store Store, keys keyspace, key []byte, below uint64) (*row, error) {
	if below == 0 {
		return &row{absent: true}, nil
	}
	prefix := keys.rows(key)
	p, err := store.Seek(keys.row(key, below-1), prefix)
	switch {
	case errors.Is(err, ErrKeyNotFound):
		return &row{absent: true}, nil
	case err != nil:
		return nil, errors.Wrap(err, "read a row of the program's state")
	case len(p.Key) != len(prefix)+8:
		return nil, &CorruptError{What: "row of the program's state", Index: below, Err: errors.Newf("its key has %d bytes", len(p.Key))}
	}
	return &row{index: rowIndex(p.Key), value: p.Value}, nil
}

// newestRow returns the index of the newest row of a key below an index.
func newestRow(store Store, keys keyspace, key []byte, below uint64) (index uint64, found bool, err error) {
	r, err := readRow(store, keys, key, below)
	if err != nil || r.absent {
		return 0, false, err
	}
	return r.index, true, nil
}

// rangeRows yields the newest rows below an index whose keys lie in [from, to).
func rangeRows(store Store, keys keyspace, from, to []byte, below uint64, yield func(key, value []byte) bool) error {
	if below == 0 {
		return nil
	}
	for at, all := keys.rows(from), keys.prefix(kindState, 0); ; {
		p, err := store.Seek(at, all)
		if errors.Is(err, ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return errors.Wrap(err, "read rows of the program's state")
		}
		key, index, ok := parseRow(p.Key)
		if !ok {
			return &CorruptError{What: "row of the program's state", Index: below, Err: errors.Newf("its key is %x", p.Key)}
		}
		if len(to) > 0 && bytes.Compare(key, to) >= 0 {
			return nil
		}
		r := &row{value: p.Value}
		if index >= below {
			if r, err = readRow(store, keys, key, below); err != nil {
				return err
			}
		}
		if !r.absent && !yield(key, r.value) {
			return nil
		}
		at = append(keys.row(key, 0), 0) // behind the oldest row of the key
	}
}

// The key of a row is prefix ‖ escaped program key ‖ 0x00 0x01 ‖ inverted index, where escaping
// turns 0x00 into 0x00 0xff. Escaped keys are ordered as the keys are, and none is the beginning of
// another one with its end mark, so the rows of one key are neighbours, the newest first.
const stateEscape = "\x00\xff"

// rows returns what the keys of all rows of a program's key begin with.
func (s keyspace) rows(key []byte) []byte {
	b := s.prefix(kindState, len(key)+2+8+1)
	if bytes.IndexByte(key, 0) < 0 {
		b = append(b, key...)
	} else {
		b = append(b, strings.ReplaceAll(string(key), "\x00", stateEscape)...)
	}
	return append(b, 0, 1)
}

func (s keyspace) row(key []byte, index uint64) []byte {
	return binary.BigEndian.AppendUint64(s.rows(key), ^index)
}

func rowIndex(rowKey []byte) uint64 { return ^binary.BigEndian.Uint64(rowKey[len(rowKey)-8:]) }

// parseRow returns the program's key and the index of a row.
func parseRow(b []byte) (key []byte, index uint64, ok bool) {
	const prefix = 9
	if len(b) < prefix+2+8 {
		return nil, 0, false
	}
	framed := b[prefix : len(b)-8]
	end := len(framed) - 2
	if framed[end] != 0 || framed[end+1] != 1 {
		return nil, 0, false
	}
	return []byte(strings.ReplaceAll(string(framed[:end]), stateEscape, "\x00")), rowIndex(b), true
}

// State is a program's state as the entries below Size left it, for readers. It is for reading at
// once: rows that a newer state has replaced are deleted after a while.
type State struct {
	l    *Ledger
	size uint64
}

// ErrStateGone says that the state of a State's size is not kept any more. A new State has the
// newest.
var ErrStateGone = errors.New("the program's state of this size is not kept any more")

// State returns the program's newest state. It never waits.
func (l *Ledger) State() State { return State{l, l.Head().Size} }

// Size is the ledger's size that the state is of.
func (s State) Size() uint64 { return s.size }

// Get returns the value of a row and whether there is such a row. Its errors: ErrStateGone,
// *CorruptError, the store's.
func (s State) Get(key []byte) (value []byte, found bool, err error) {
	r, err := readRow(s.l.store, s.l.keys, key, s.size)
	if err == nil {
		err = s.kept()
	}
	if err != nil || r.absent {
		return nil, false, err
	}
	return r.value, true, nil
}

// Range calls each with the rows with from <= key < to in ascending order of keys, as long as it
// returns true; an empty to means to the end. Its errors are those of Get.
func (s State) Range(from, to []byte, each func(key, value []byte) bool) error {
	var gone error
	err := rangeRows(s.l.store, s.l.keys, from, to, s.size, func(key, value []byte) bool {
		gone = s.kept()
		return gone == nil && each(key, value)
	})
	if err == nil && gone == nil {
		err = s.kept()
	}
	return errors.CombineErrors(gone, err)
}

// kept reports whether every row of this size is still there: rows are deleted for the sake of
// newer ones below the floor alone.
func (s State) kept() error {
	if s.l.applier.state.floor.Load() > s.size {
		return ErrStateGone
	}
	return nil
}
