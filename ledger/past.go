package ledger

import (
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle/accountmap"
)

// keptMaps is how many maps of the past stay in memory.
const keptMaps = 2

// pastMaps has the maps of the past that were asked for last.
type pastMaps struct {
	mu struct {
		sync.Mutex
		maps []*pastMap // at most keptMaps, the one used last is first
		// A map is built since begun, zero when none is: one at a time, because it takes the
		// processor for a second or more, and the memory of a map. took is how long the last one
		// took.
		begun time.Time
		took  time.Duration
	}
}

// firstBuild is how long a map takes to be built while none was, and leastWait the shortest time
// after which to ask again.
const (
	firstBuild = time.Second
	leastWait  = 50 * time.Millisecond
)

// begin returns the map as of a size if it is there. Otherwise it is to be built, and end follows;
// or another one is being built, which the error says.
func (p *pastMaps) begin(size uint64) (*pastMap, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.IndexFunc(p.mu.maps, func(m *pastMap) bool { return m.size == size })
	switch now := time.Now(); {
	case at >= 0:
		m := p.mu.maps[at]
		p.mu.maps = slices.Insert(slices.Delete(p.mu.maps, at, at+1), 0, m)
		return m, nil
	case !p.mu.begun.IsZero():
		expected := p.mu.took
		if expected == 0 {
			expected = firstBuild
		}
		return nil, &BusyError{RetryAfter: max(leastWait, expected-now.Sub(p.mu.begun))}
	default:
		p.mu.begun = now
		return nil, nil
	}
}

func (p *pastMaps) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.took, p.mu.begun = time.Since(p.mu.begun), time.Time{}
}

// pastMap is the map as of a size. It is immutable.
type pastMap struct {
	size uint64
	tree *accountmap.Tree
	rows *mapRows
}

// row returns the row of a key.
func (p *pastMap) row(key []byte) *row { return p.rows.newest(key) }

func (p *pastMaps) put(m *pastMap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.maps = slices.Insert(p.mu.maps, 0, m)
	p.mu.maps = p.mu.maps[:min(len(p.mu.maps), keptMaps)]
}

// pastMap returns the map as of a size, the end of a block. Where the rows are not in memory, it
// reads those of the newest base up to the size, and decides the entries behind it again. Errors:
// ErrStateGone, *BusyError, *CorruptError, the store's.
func (l *Ledger) pastMap(size uint64) (*pastMap, error) {
	p := &l.pastMaps
	if m, err := p.begin(size); m != nil || err != nil {
		return m, err
	}
	defer p.end()
	h := &l.applier.history
	if !h.keeps(size) {
		return nil, ErrStateGone
	}
	m := l.recentMap(size)
	var err error
	if m == nil {
		m, err = l.decideAgain(h.baseOf(size), size)
	}
	// Rows may have gone while they were read. That shows in the map, and is no damage.
	if !h.keeps(size) {
		return nil, ErrStateGone
	}
	if err != nil {
		return nil, err
	}
	root, found, err := l.newestMapRoot(size)
	if err != nil {
		return nil, err
	}
	if !found {
		root.Root = accountmap.EmptyRoot()
	}
	if m.tree.Root() != root.Root || uint64(m.tree.Len()) != root.Accounts {
		return nil, &CorruptError{What: "rows of the map", Index: size, Err: errors.Newf("%d accounts with root %s, want %d with %s",
			m.tree.Len(), m.tree.Root(), root.Accounts, root.Root)}
	}
	p.put(m)
	return m, nil
}

// recentMap returns the map as of a size whose rows are in memory; nil when they are not.
func (l *Ledger) recentMap(size uint64) *pastMap {
	live := &l.applier.accounts
	if !live.rows.loaded {
		return nil
	}
	var rows []keyedRow
	var leaves []accountmap.Leaf
	for _, key := range live.rows.keys() {
		r, ok := live.rows.at([]byte(key), size)
		if !ok {
			return nil
		}
		if !r.absent {
			rows = append(rows, keyedRow{key, r})
			leaves = append(leaves, live.leaf([]byte(key[len(live.prefix):]), r.value))
		}
	}
	p := &pastMap{size, accountmap.Build(leaves), &mapRows{prefix: live.prefix}}
	p.rows.load(rows, Summary{Size: size})
	return p
}

// decideAgain returns the map as of the size to, given that the store has all of its rows as of the
// base from. The program decides the entries between the two once more. It reads rows of the map in
// memory and all others in the store, which has them as every entry left them.
func (l *Ledger) decideAgain(from, to uint64) (*pastMap, error) {
	rows, tree, err := l.storedMap(from)
	if err != nil {
		return nil, err
	}
	live := &l.applier.accounts
	m := &mapState{program: live.program, origin: live.origin, prefix: live.prefix}
	m.rows.prefix = live.prefix
	m.rows.load(rows, Summary{Size: from})
	if from < to {
		s := &programState{again: true, detailed: l.applier.state.detailed}
		s.init(l.store, l.keys, NewCaches(DefaultCacheBytes/4).of(), m, &history{on: true}, from, from)
		s.filter = l.applier.state.filter
		if err := l.decideBlocks(s, from, to); err != nil {
			return nil, err
		}
		leaves := make([]accountmap.Leaf, 0, len(m.rows.changed))
		for _, key := range m.rows.changed {
			leaves = append(leaves, m.leaf([]byte(key[len(m.prefix):]), m.rows.newest([]byte(key)).value))
		}
		tree.Update(leaves)
	}
	return &pastMap{to, tree, &m.rows}, nil
}

// decideBlocks decides the entries of the blocks from one size to another again.
func (l *Ledger) decideBlocks(s *programState, from, to uint64) error {
	level, err := l.levelAt(from)
	if err != nil {
		return err
	}
	for from < to {
		rec, err := readRecord(l.store, l.keys, from)
		if err != nil {
			return err
		}
		s.beginBlock(from)
		s.accounts.begin()
		for index := from; index < rec.end(); index++ {
			leaf, err := rec.leaf(index)
			if err != nil {
				return damagedEntry("block", index, err)
			}
			var e BlockEntry
			time, err := e.parse(leaf)
			if err != nil {
				return damagedEntry("block", index, err)
			}
			switch {
			case e.Kind == KindRecord && isMapRoot(e.Body):
				continue
			case e.Kind == KindRecord:
				if level, err = l.levelAt(index + 1); err != nil {
					return err
				}
				continue
			}
			in := l.input(&e, time, index)
			in.Level = level
			if err := s.decide(l.program, &in); err != nil {
				return err
			}
		}
		from = rec.end()
		s.commit(from)
	}
	return nil
}

// decide decides an entry that was decided before.
func (s *programState) decide(p Program, in *Input) (err error) {
	defer func() {
		r := recover()
		s.end()
		switch {
		case s.err != nil:
			err = s.err
			return
		case s.violation != nil:
			err = s.violation
		case r != nil:
			err = errors.Newf("the program panicked: %v", r)
		}
		if err != nil {
			err = &CorruptError{What: "entry that is decided again", Index: in.Index, Err: err}
		}
	}()
	if in.Parsed, _, err = parse(p, in.Kind, in.Body); err != nil {
		return err
	}
	s.begin(in.Index, in.Kind)
	p.Decide(s, in)
	s.keep()
	return nil
}
