package ledger

import "github.com/cockroachdb/errors"

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

// StateAt returns the program's state as the entries below a size left it. The program must be
// Mapped, or the size that of the head. A size within a block is rounded down to the end of the
// block before, so Size of the state may be smaller. Kept are the states of the last KeptTime, and
// the last one of every UTC day. Errors: ErrStateGone, *NotFoundError beyond the head,
// *CorruptError.
func (l *Ledger) StateAt(size uint64) (State, error) {
	head := l.Head()
	switch {
	case size > head.Size:
		return State{}, &NotFoundError{Index: size, Size: head.Size}
	case size == head.Size:
		return State{l, size}, nil
	case !l.applier.history.on:
		return State{}, ErrStateGone
	}
	first, _, _, err := readBlockHead(l.store, l.keys, size)
	if err != nil {
		return State{}, err
	}
	s := State{l, first}
	return s, s.kept()
}

// KeptSizes returns the sizes nearest to one whose state is gone that StateAt serves: the largest
// one below it, 0 when there is none, and the smallest one above it.
func (l *Ledger) KeptSizes(size uint64) (below, above uint64) { return l.applier.history.nearest(size) }

// Size is the ledger's size that the state is of.
func (s State) Size() uint64 { return s.size }

// Get returns the value of a row and whether there is such a row. Its errors: ErrStateGone,
// *BusyError when the map of a past state is not in memory and another one is being computed,
// *CorruptError, the store's.
func (s State) Get(key []byte) (value []byte, found bool, err error) {
	r := noRow
	if s.l.applier.accounts.rows.holds(key) {
		if r, err = s.ofMap(key); err != nil || r.absent {
			return nil, false, err
		}
		return r.value, true, nil
	}
	if !s.l.applier.state.filter.absent(key) {
		r, err = readRow(s.l.store, s.l.keys, key, s.size)
	}
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
	ofMap := func(key []byte) *row {
		r := noRow
		if gone == nil {
			var err error
			if r, err = s.ofMap(key); err != nil {
				gone, r = err, noRow
			}
		}
		return r
	}
	err := rangeWithMap(s.l.store, s.l.keys, &s.l.applier.accounts.rows, from, to, s.size, ofMap, func(key, value []byte) bool {
		if gone == nil {
			gone = s.kept()
		}
		return gone == nil && each(key, value)
	})
	if err == nil && gone == nil {
		err = s.kept()
	}
	return errors.CombineErrors(gone, err)
}

// ofMap returns a row of the map, which are in memory: as of the last commits, or of the past.
func (s State) ofMap(key []byte) (*row, error) {
	if r, ok := s.l.applier.accounts.rows.at(key, s.size); ok {
		return r, nil
	}
	past, err := s.l.pastMap(s.size)
	if err != nil {
		return nil, err
	}
	return past.row(key), nil
}

// kept reports whether every row of this size is still there: rows are deleted for the sake of
// newer ones below the floor alone.
func (s State) kept() error {
	if h := &s.l.applier.history; h.on {
		if !h.keeps(s.size) {
			return ErrStateGone
		}
		return nil
	}
	if s.l.applier.state.floor.Load() > s.size {
		return ErrStateGone
	}
	return nil
}
