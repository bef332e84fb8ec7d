package ledger

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/errors"
)

// KeptTime is how long past states of a Mapped program are kept, in µs of ledger time: 25 hours.
const KeptTime = 25 * hour

const (
	hour = 3600 * 1_000_000 // µs
	day  = 24 * hour

	// momentSpacing is how far apart, in µs, the times are whose sizes history remembers.
	momentSpacing = 60 * 1_000_000
	// walkRows is how many rows the walk looks at for each row that replaces another one, so that a
	// quarter of the rows can be such that wait for their deletion. A row under a new key replaces
	// none and costs no walk. walkStep is how many rows the walk looks at in one commit at least and
	// walkMost at most.
	walkRows = 4
	walkStep = 64
	walkMost = 4096
	// walkDeletes and walkBytes bound what the walk deletes in one commit.
	walkDeletes = 1024
	walkBytes   = 64 << 10
)

// history knows which past states of a Mapped program can be read, and deletes the rows that only
// others need.
//
// Every block that puts a row leaves a row of its own, so the state as of every end of a block can
// be read. Kept are the states of the last KeptTime, and the last state of every UTC day, for ever.
//
// The row of an entry i that the entry j has replaced is the state from size i+1 to size j. It may
// go when these sizes lie before the newest base up to from, and none of them between the end of a
// day and the newest base up to that. A walk over all rows, again and again, deletes what may go.
// It takes a few steps with every commit. Where it has come to is stored, so restarts do not keep it
// from the rows at the end.
//
// Invariants: from never falls, is the end of a block, and is at most the size at the durable
// position of the Raft log, where replays begin. It is stored in the commit of the rows that are
// deleted on its account, so no power failure keeps these deletions without it.
type history struct {
	on    bool // the program is Mapped
	store Store
	keys  keyspace

	// from is the smallest size from which on all states are kept. The applier writes it.
	from atomic.Uint64
	// days has the sizes at the ends of UTC days, ascending. The applier writes it.
	days struct {
		sync.Mutex
		ends []uint64
	}

	// bases has the sizes as of which the store has every row of the map, ascending. The applier
	// writes it.
	bases struct {
		sync.Mutex
		sizes []uint64
	}

	// of the applier
	past    []moment // of the last KeptTime, ascending, momentSpacing apart
	behind  uint64   // size KeptTime ago, or a smaller one
	credit  int      // rows that the walk may look at
	dropped uint64   // base below which all others that nothing needs are dropped
	cursor  []byte   // key of the row that the walk has come to, without group and kind; nil: the first
}

// moment is a size that the ledger had at a time or earlier.
type moment struct {
	time int64
	size uint64
}

// keeps reports whether the state of a size, the end of a block, can be read.
func (h *history) keeps(size uint64) bool {
	if size >= h.from.Load() {
		return true
	}
	h.days.Lock()
	defer h.days.Unlock()
	_, found := slices.BinarySearch(h.days.ends, size)
	return found
}

// nearest returns the largest size up to a size, and the smallest size from it on, whose states are
// kept. Zero: there is none below.
func (h *history) nearest(size uint64) (below, above uint64) {
	above = max(size, h.from.Load())
	h.days.Lock()
	defer h.days.Unlock()
	at, found := slices.BinarySearch(h.days.ends, size)
	if found {
		return size, size
	}
	if at > 0 {
		below = h.days.ends[at-1]
	}
	if at < len(h.days.ends) {
		above = min(above, h.days.ends[at])
	}
	return below, above
}

// endOfDay reports whether a size above i and at most j is between the end of a day and the base
// from which the state at that end is decided again.
func (h *history) endOfDay(i, j uint64) bool {
	h.days.Lock()
	at, _ := slices.BinarySearch(h.days.ends, i+1)
	found := at < len(h.days.ends)
	var end uint64
	if found {
		end = h.days.ends[at]
	}
	h.days.Unlock()
	return found && h.baseOf(end) <= j
}

// dayOf returns the number of the UTC day of a time in µs.
func dayOf(time int64) int64 {
	d := time / day
	if time%day < 0 {
		d--
	}
	return d
}

// block notes a block that appends entries to a ledger of this size. When it is the first of a day,
// the pair says so in the store.
func (h *history) block(time int64, size uint64, newest int64) (p Pair, ok bool) {
	if !h.on {
		return p, false
	}
	if n := len(h.past); size > 0 && (n == 0 || newest-h.past[n-1].time >= momentSpacing) {
		h.past = append(h.past, moment{newest, size})
	}
	ended := dayOf(newest)
	if size == 0 || ended == dayOf(time) {
		return p, false
	}
	h.days.Lock()
	if at, found := slices.BinarySearch(h.days.ends, size); !found { // replay finds those of the future
		h.days.ends = slices.Insert(h.days.ends, at, size)
	}
	h.days.Unlock()
	return Pair{h.keys.dayEnd(size), binary.BigEndian.AppendUint64(nil, uint64(ended))}, true
}

// advance raises from, on a ledger whose newest entry has this time.
func (h *history) advance(time int64, floor uint64) {
	for len(h.past) > 0 && h.past[0].time <= time-KeptTime {
		h.behind = h.past[0].size
		h.past = h.past[1:]
	}
	if from := min(h.behind, floor); from > h.from.Load() {
		h.from.Store(from)
	}
}

// walk goes on with the walk and returns deletions of rows, and behind them a pair that says how
// far it has come. They have to go into one commit, in which so many rows replace others.
func (h *history) walk(replacing int) ([]Pair, error) {
	kept := h.from.Load()
	from := h.baseOf(kept)
	if h.credit += walkRows * replacing; h.credit < walkStep || from == 0 {
		h.credit = min(h.credit, walkStep)
		return nil, nil
	}
	budget := min(h.credit, walkMost)
	h.credit = 0
	all, end := h.keys.prefix(kindState, len(h.cursor)), h.keys.prefix(kindState+1, 0)
	start := append(all, h.cursor...)
	var (
		last, rows []byte // the row before, and what the keys of its rows begin with
		newer      uint64 // its index
		deleted    int    // bytes of keys
	)
	old, err := h.store.Scan(start, all, walkDeletes, func(key []byte) (take bool, next []byte) {
		if budget == 0 || deleted >= walkBytes || len(key) < minRowKey {
			return false, end
		}
		budget--
		last = append(last[:0], key...)
		index := rowIndex(key)
		if of := key[:len(key)-8]; bytes.Equal(of, rows) {
			take = newer < from && !h.endOfDay(index, newer)
		} else {
			rows = append(rows[:0], of...)
		}
		newer = index
		if take {
			deleted += len(key) + pairOverhead
		}
		return take, nil
	})
	if err != nil {
		return nil, errors.Wrap(err, "look for rows to delete")
	}
	for i := range old {
		old[i].Value = nil
	}
	if h.cursor = nil; len(last) > 0 && (budget == 0 || deleted >= walkBytes || len(old) == walkDeletes) {
		h.cursor = bytes.Clone(last[len(all):])
	}
	old = append(old, h.dropBases(from)...)
	return append(old, Pair{h.keys.walk(), append(binary.BigEndian.AppendUint64(nil, kept), h.cursor...)}), nil
}

// load reads what is known of past states of a ledger that begins at start.
func (h *history) load(store Store, keys keyspace, start Summary) error {
	h.on, h.store, h.keys = true, store, keys
	b, err := store.Get(keys.walk())
	switch {
	case errors.Is(err, ErrKeyNotFound):
	case err != nil:
		return errors.Wrap(err, "read how far old rows are deleted")
	case len(b) < 8 || binary.BigEndian.Uint64(b) > start.Size:
		return &CorruptError{What: "record of deleted rows", Index: start.Size, Err: errors.Newf("%x", b)}
	default:
		h.from.Store(binary.BigEndian.Uint64(b))
		h.cursor = b[8:]
	}
	all := keys.prefix(kindDay, 0)
	for at := all; ; {
		pairs, err := store.Scan(at, all, scanRows, nil)
		if err != nil {
			return errors.Wrap(err, "read the ends of days")
		}
		for _, p := range pairs {
			if len(p.Key) != 9+8 {
				return &CorruptError{What: "end of a day", Index: start.Size, Err: errors.Newf("its key has %d bytes", len(p.Key))}
			}
			h.days.ends = append(h.days.ends, binary.BigEndian.Uint64(p.Key[9:]))
			at = append(p.Key, 0)
		}
		if len(pairs) < scanRows {
			break
		}
	}
	return h.remember(start)
}

// remember finds past sizes in the blocks: a ledger that was opened just now deletes rows, too.
func (h *history) remember(start Summary) error {
	const steps = 5
	lo := uint64(0)
	for i := int64(steps); i > 0; i-- {
		time := start.Time - i*KeptTime/steps
		var err error
		if lo, err = sizeAt(h.store, h.keys, time, lo, start.Size); err != nil {
			return err
		}
		if lo > 0 {
			h.past = append(h.past, moment{time, lo})
		}
	}
	return nil
}

// sizeAt returns the size that the ledger had at a time, which lies in [lo, hi]. hi is at most the
// ledger's size.
func sizeAt(store Store, keys keyspace, time int64, lo, hi uint64) (uint64, error) {
	for lo < hi { // the first entry that is younger
		mid := lo + (hi-lo)/2
		first, end, at, err := readBlockHead(store, keys, mid)
		switch {
		case err != nil:
			return 0, err
		case at <= time:
			lo = end
		default:
			hi = first
		}
	}
	return lo, nil
}

// readBlockHead returns the first entry of the block that holds an entry below the size, the size
// of the ledger after the block, and the time of all of its entries. It reads no more of the block
// than it must, and checks nothing against the tree. Its errors are *CorruptErrors.
func readBlockHead(store Store, keys keyspace, index uint64) (first, end uint64, time int64, err error) {
	p, err := store.Seek(keys.block(index+1), keys.prefix(kindBlock, 0))
	if err != nil {
		return 0, 0, 0, damagedEntry("block", index, err)
	}
	layout, err := layoutOf(p.Value)
	if err == nil && len(p.Value) < layout.raw+blockPrefixSize {
		err = errors.Newf("block record: %d bytes", len(p.Value))
	}
	if err == nil {
		first, end = binary.BigEndian.Uint64(p.Value[17:]), binary.BigEndian.Uint64(p.Key[9:])
		if first > index || end <= index {
			err = errors.Newf("found the block of entries %d to %d", first, end)
		}
	}
	if err != nil {
		return 0, 0, 0, damagedEntry("block", index, err)
	}
	return first, end, int64(binary.BigEndian.Uint64(p.Value[layout.raw+8:])), nil
}
