package ledger

import (
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/errors"
)

// A base is a size as of which the store has every row of the map of a Mapped program. Between two
// bases the newest rows of the map are in memory alone (mapRows): one account may change many times
// a second, and to write each of its rows would cost more than to decide the entry.
//
// What makes that safe:
//
//   - Every position that Durable returns for such a ledger is a base, so a replay begins with all
//     rows. Their commits came before the commit that ended the writing of the base, and Durable
//     waits for that one.
//   - The rows of a base are those of one moment, although they are written along with later
//     commits. A row is stored under its index, and the rows of a base that is not complete are
//     either rows of the base before, or have an index at which nothing reads.
//   - The record of a base (keyspace.base) is in the commit that ends its writing. After a stop
//     only the bases up to the position of the start are known to be whole. Those that the store
//     has beyond it may have lost rows: when the replay passes such a size, it compares the rows
//     and writes what is missing.
//   - Other states are read in memory, or decided again from the base before (past.go). So the rows
//     that the newest base before a kept state needs are kept, too (history).
const (
	// movesPerBase is how many puts of rows of the map lie between two bases, at least. It bounds
	// what a replay decides again.
	movesPerBase = 1 << 17
	// rowsPerMove is how many rows of a base are written with a commit for each put in it,
	// leastRows is how many at least.
	rowsPerMove = 2
	leastRows   = 256
	// fewRows is how many rows Durable writes for a ledger that is not quiet, once in so many calls.
	fewRows      = 4096
	callsPerBase = 16
)

// baseRows returns rows of the base that is being written, for a commit with so many puts, and
// whether they are the last ones.
func (a *applierState) baseRows(keys keyspace, puts int) (pairs []Pair, last bool) {
	w := a.accounts.rows.writing
	if w == nil {
		return nil, false
	}
	n := min(len(w.rows), leastRows+rowsPerMove*puts)
	pairs = make([]Pair, n)
	for i, r := range w.rows[:n] {
		pairs[i] = Pair{keys.row([]byte(r.key), r.index), r.value}
	}
	clear(w.rows[:n])
	w.rows = w.rows[n:]
	return pairs, len(w.rows) == 0
}

// bareBase reports whether the position of the next commit is to be a base: no row of the map has
// changed since the base before, and that is a while ago.
func (a *applierState) bareBase() bool {
	m := &a.accounts.rows
	return m.loaded && m.stored() && a.pos.Size > m.base.Size && a.pos.Time-m.base.Time >= momentSpacing
}

// endBase says that the rows of the base were committed, and its record, too.
func (l *Ledger) endBase() {
	m := &l.applier.accounts.rows
	at := m.writing.at
	m.writing = nil
	l.applier.history.addBase(at.Size)
	l.durable.base(l.store, at)
}

// writeBase makes the position of the last commit a base, at once. In an overlap it compares what
// the store has. The applier is locked, and nothing is staged.
func (l *Ledger) writeBase() error {
	a := &l.applier.applierState
	m := &a.accounts.rows
	for !m.stored() {
		if m.writing == nil {
			m.begin(l.summary())
		}
		at := m.writing.at
		for last := false; !last; {
			var pairs []Pair
			pairs, last = a.baseRows(l.keys, rowsPerCommit/2/rowsPerMove)
			if last {
				pairs = append(pairs, Pair{l.keys.base(at.Size), []byte{}})
			}
			if a.overlapping {
				var err error
				if pairs, err = l.missing(pairs); err != nil {
					return err
				}
			}
			if err := l.commitAll(pairs); err != nil {
				return errors.Wrapf(err, "write the rows of the map as of size %d", at.Size)
			}
		}
		l.endBase()
	}
	return nil
}

// commitAll commits pairs at the position of the last commit, in as many commits as they need.
func (l *Ledger) commitAll(pairs []Pair) error {
	position := l.summary()
	rest, err := l.commitRows(position.RaftIndex, pairs)
	if err != nil || len(rest) == 0 {
		return err
	}
	return l.store.Commit(position.RaftIndex, rest)
}

// settle makes the newest position a base when that is cheap or nothing else is going on, so that
// Durable advances: the ledger is quiet, or has few rows to write.
func (l *Ledger) settle() {
	if !l.applier.TryLock() {
		return
	}
	defer l.applier.Unlock()
	m := &l.applier.accounts.rows
	head := l.Head().RaftIndex
	quiet := head == l.settled.head
	l.settled.head = head
	if l.settled.calls++; l.Err() != nil || m.stored() {
		return
	}
	if quiet || l.settled.calls%callsPerBase == 0 && m.writing == nil && len(m.changed) <= fewRows {
		if err := l.writeBase(); err != nil {
			_ = l.fail(err)
		}
	}
}

// loadBases reads which bases the store has. Those beyond start are in stale.
func (l *Ledger) loadBases(start Summary) error {
	h, all := &l.applier.history, l.keys.prefix(kindBase, 0)
	for at := all; ; {
		pairs, err := l.store.Scan(at, all, scanRows, nil)
		if err != nil {
			return errors.Wrap(err, "read the bases of the map")
		}
		for _, p := range pairs {
			if len(p.Key) != 9+8 {
				return &CorruptError{What: "base of the map", Index: start.Size, Err: errors.Newf("its key has %d bytes", len(p.Key))}
			}
			if size := binary.BigEndian.Uint64(p.Key[9:]); size < start.Size {
				h.bases.sizes = append(h.bases.sizes, size)
			} else if size > start.Size {
				l.applier.stale = append(l.applier.stale, size)
			}
			at = append(p.Key, 0)
		}
		if len(pairs) < scanRows {
			break
		}
	}
	if start.Size > 0 {
		h.bases.sizes = append(h.bases.sizes, start.Size)
	}
	return nil
}

// passStale makes a size of which the store has the record a base again, once the replay has
// reached it.
func (l *Ledger) passStale() error {
	a := &l.applier.applierState
	for len(a.stale) > 0 && a.stale[0] < a.pos.Size {
		a.stale = a.stale[1:] // the replay differs from the first run: the root at its end tells
	}
	if len(a.stale) == 0 || a.stale[0] > a.pos.Size {
		return nil
	}
	a.stale = a.stale[1:]
	if err := l.flush(); err != nil {
		return err
	}
	return l.writeBase()
}

// addBase takes a size for a base. The applier calls it.
func (h *history) addBase(size uint64) {
	h.bases.Lock()
	defer h.bases.Unlock()
	if n := len(h.bases.sizes); size > 0 && (n == 0 || h.bases.sizes[n-1] < size) {
		h.bases.sizes = append(h.bases.sizes, size)
	}
}

// baseOf returns the newest base up to a size; 0, which is one of every ledger, when there is no
// other.
func (h *history) baseOf(size uint64) uint64 {
	h.bases.Lock()
	defer h.bases.Unlock()
	at, found := slices.BinarySearch(h.bases.sizes, size)
	switch {
	case found:
		return size
	case at == 0:
		return 0
	}
	return h.bases.sizes[at-1]
}

// dropBases forgets the bases below a base that no end of a day needs, and returns deletions of
// their records.
func (h *history) dropBases(below uint64) (old []Pair) {
	if below == h.dropped {
		return nil
	}
	h.days.Lock()
	ends := slices.Clone(h.days.ends)
	h.days.Unlock()
	needed := make(map[uint64]bool, len(ends))
	for _, end := range ends {
		needed[h.baseOf(end)] = true
	}
	h.bases.Lock()
	defer h.bases.Unlock()
	h.bases.sizes = slices.DeleteFunc(h.bases.sizes, func(size uint64) bool {
		drop := size < below && !needed[size] && len(old) < walkStep
		if drop {
			old = append(old, Pair{Key: h.keys.base(size)})
		}
		return drop
	})
	if len(old) < walkStep {
		h.dropped = below
	}
	return old
}
