package ledger

import (
	"iter"
	"slices"
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
// same. Rows of a Mapped program are kept longer (history).
const (
	// rowsPerCommit and rowBytesPerCommit bound the rows that one commit to the store carries.
	rowsPerCommit     = 4096
	rowBytesPerCommit = 256 << 10

	// rowRoom is for how many rows, and valueRoom for how many bytes of values, memory is allocated
	// at once.
	rowRoom   = 128
	valueRoom = 32 << 10
)

// row is one row of a program's state. It is immutable, but for before.
type row struct {
	absent bool   // there is no such row
	index  uint64 // of the entry that put it
	value  []byte
	before *row // of a row of the map: the one that it has replaced lately. mapRows guards it.
}

// noRow says that there is no row.
var noRow = &row{absent: true}

// programState is a program's View, and what the applier knows of the program's rows.
type programState struct {
	store    Store
	keys     keyspace
	cache    ledgerCache // rows, and absences, as of size
	filter   *keyFilter  // keys of rows that are not in the store
	accounts *mapState   // is told of rows of the map
	history  *history    // says whether rows are kept for past states
	again    bool        // entries are decided again: their rows are in the store, and the filter is another's
	// size is the ledger's size as of the last commit. The store is read as of it: later rows are
	// in fresh, and those that the store may hold are of the future.
	size uint64
	// opened is the size that the store held at Open: of a row below it, older rows may be left.
	opened   uint64
	detailed bool // the program is Detailed

	// fresh has the newest row of every key that was put since the last commit, written the keys in
	// the order of their first put, and below the rows that the store holds for them. between has
	// rows that were in fresh until a later block put their keys; history alone wants them and does
	// not want below.
	fresh   map[string]*row
	written []string
	below   map[string]*row
	between []keyedRow
	undone  []undoneRow // since the last batch that was kept
	order   []string    // written, sorted; valid when sorted
	sorted  bool
	// rowRoom and valueRoom have room for the next rows (newRow).
	rowRoom   []row
	valueRoom []byte
	bytes     int    // of the puts since the last commit
	block     int    // of the puts in this block
	first     uint64 // index of the first entry of this block
	details   []byte // that were kept for the entries of this block, one after the other

	// of the entry that is being decided
	deciding  bool
	kind      Kind
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
	moved  bool // it is the last row in between
}

type keyedRow struct {
	key string
	*row
}

// superseded is a row that nothing reads once the durable size is above at.
type superseded struct {
	key   string
	index uint64
	at    uint64 // index of the entry that put the next row of the key
	older bool   // the store may hold older rows of the key, left from before the last stop
}

func (s *programState) init(store Store, keys keyspace, cache ledgerCache, accounts *mapState, history *history, size, stored uint64) {
	s.store, s.keys, s.cache, s.size, s.opened = store, keys, cache, size, stored
	s.accounts, s.history = accounts, history
	s.fresh, s.below = make(map[string]*row), make(map[string]*row)
	s.floor.Store(size)
	s.filter = new(keyFilter)
	s.filter.init(keys)
}

// beginBlock forgets the block before. The first entry of the next one has this index.
func (s *programState) beginBlock(first uint64) {
	s.block, s.first, s.details = 0, first, s.details[:0]
}

// begin lets the program decide an entry.
func (s *programState) begin(index uint64, kind Kind) {
	s.index, s.kind, s.deciding = index, kind, true
}

func (s *programState) end() { s.deciding, s.ranging = false, 0 }

// keep keeps what the batch put, and reports whether it put a row.
func (s *programState) keep() (wrote bool) {
	if s.accounts.program != nil {
		for i := range s.undone {
			u := &s.undone[i]
			s.accounts.put(u.key, u.before == nil || u.before.index < s.first)
		}
	}
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
		if u.moved {
			s.between = s.between[:len(s.between)-1]
		}
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
	if s.accounts.rows.holds(key) {
		return s.accounts.rows.newest(key)
	}
	if r, ok := s.cache.row(key); ok {
		return r
	}
	if s.filter.absent(key) {
		return noRow
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
	inMap := s.accounts.holds(k)
	if inMap && s.kind != KindCommand {
		s.violate("a row of the map was put for a %s", s.kind)
	}
	moved := s.history.on && !inMap && before != nil && before.index < s.first
	switch {
	case before == nil:
		if !s.history.on {
			s.below[k] = s.committed(key)
		}
		s.written, s.sorted = append(s.written, k), false
	case moved:
		s.between = append(s.between, keyedRow{k, before})
	}
	s.undone = append(s.undone, undoneRow{k, before, moved})
	s.fresh[k] = s.newRow(value, inMap)
	s.block += len(key) + len(value)
	s.bytes += len(key) + len(value) + pairOverhead
}

// Keep implements View.
func (s *programState) Keep(detail []byte) {
	s.check()
	if !s.detailed {
		s.violate("a program that is not Detailed kept a detail")
	}
	s.details = append(s.details, detail...)
	if len(s.details) > MaxBlockDetails+DetailFactor*MaxLeafSize {
		s.violate("the details of the block have more than %d bytes", MaxBlockDetails)
	}
}

// newRow returns a row of the entry that is being decided. One of the map may stay in memory for
// long. All others go after the commit, so they share what is allocated.
func (s *programState) newRow(value []byte, inMap bool) *row {
	if inMap || len(value) > valueRoom/8 {
		return &row{index: s.index, value: append(make([]byte, 0, len(value)), value...)}
	}
	if len(s.rowRoom) == 0 {
		s.rowRoom = make([]row, rowRoom)
	}
	if s.valueRoom == nil || cap(s.valueRoom)-len(s.valueRoom) < len(value) {
		s.valueRoom = make([]byte, 0, valueRoom)
	}
	at := len(s.valueRoom)
	s.valueRoom = append(s.valueRoom, value...)
	r := &s.rowRoom[0]
	s.rowRoom = s.rowRoom[1:]
	*r = row{index: s.index, value: s.valueRoom[at:len(s.valueRoom):len(s.valueRoom)]}
	return r
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
		for key, value := range s.allCommitted(from, to) {
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

// allCommitted yields the rows as of the last commit.
func (s *programState) allCommitted(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		if err := rangeWithMap(s.store, s.keys, &s.accounts.rows, from, to, s.size, s.accounts.rows.newest, yield); err != nil {
			s.fail(err)
		}
	}
}

// rows returns what the store has to hold for the puts since the last commit, and how many of these
// rows may replace another one. Rows of the map are not among them (mapRows).
func (s *programState) rows() (pairs []Pair, replacing int) {
	n, size := len(s.between), 0
	for _, r := range s.between {
		size += minRowKey + len(r.key)
	}
	for _, key := range s.written {
		if !s.accounts.holds(key) {
			n++
			size += minRowKey + len(key)
			if !s.filter.absent([]byte(key)) {
				replacing++
			}
		}
	}
	pairs = make([]Pair, 0, n)
	room := make([]byte, 0, size)
	add := func(key string, r *row) {
		at := len(room)
		room = s.keys.appendRow(room, key, r.index)
		pairs = append(pairs, Pair{room[at:len(room):len(room)], r.value})
	}
	for _, r := range s.between {
		add(r.key, r.row)
	}
	for _, key := range s.written {
		if !s.accounts.holds(key) {
			add(key, s.fresh[key])
		}
	}
	return pairs, replacing + len(s.between)
}

// commit takes the puts for committed, at a ledger of the given size.
func (s *programState) commit(size uint64) {
	var ofMap []keyedRow
	for _, key := range s.written {
		r := s.fresh[key]
		if s.accounts.holds(key) {
			ofMap = append(ofMap, keyedRow{key, r})
			continue
		}
		if b := s.below[key]; b != nil && !b.absent {
			s.old = append(s.old, superseded{key, b.index, r.index, b.index < s.opened})
		}
		if !s.again {
			s.filter.add([]byte(key))
		}
		s.cache.replaceRow(key, r)
	}
	s.accounts.rows.commit(ofMap, s.size, size)
	s.size = size
	clear(s.fresh)
	clear(s.below)
	clear(s.written)
	clear(s.order)
	clear(s.between)
	s.between = s.between[:0]
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
