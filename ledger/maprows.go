package ledger

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
)

const (
	// keptCommits and keptRows bound how many commits back the rows of a map can be read in memory:
	// keptCommits, or fewer when those have put more than keptRows.
	keptCommits = 64
	keptRows    = 1 << 15
)

// mapRows has the rows of the map of a Mapped program in memory: the newest of every key, as of the
// last commit, and behind each the rows that it has replaced lately. So a program reads none of
// them from the store, and a reader whose State is a few commits old reads them, too.
//
// The applier commits, and it alone may call newest and dirty. Any goroutine calls the other
// methods.
type mapRows struct {
	prefix []byte // what the keys begin with
	loaded bool   // false in a ledger that is open for inspection: rows are in the store alone

	mu struct {
		sync.RWMutex
		rows map[string]*row
		// recent has the rows of the last commits, oldest first. Invariant: a row has its before
		// exactly as long as it is in recent.
		recent []commitOfRows
		kept   int    // rows in recent
		from   uint64 // sizes from here on can be read
		sorted []string
		added  []string // keys that are not in sorted yet
	}

	// Of the applier. base is the newest base: the size as of which the store has every row, once
	// what is in writing is written. changed has the keys of the rows with an index of at least
	// base.Size, each once. moved counts the puts since then.
	base    Summary
	changed []string
	moved   int
	writing *newBase // nil: the store has every row as of base
}

// commitOfRows is the rows that one commit has put, at a ledger that had the size first before it
// and the size end afterwards.
type commitOfRows struct {
	first, end uint64
	rows       []*row
}

// newBase is a base whose rows are being written.
type newBase struct {
	at   Summary
	rows []keyedRow // still to be written, ascending by key
}

// load takes the rows as of a size, which is a base. They ascend by key.
func (m *mapRows) load(rows []keyedRow, at Summary) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.rows, m.mu.sorted = make(map[string]*row, len(rows)), make([]string, len(rows))
	for i, r := range rows {
		m.mu.rows[r.key], m.mu.sorted[i] = r.row, r.key
	}
	m.mu.from, m.base, m.loaded = at.Size, at, true
}

// holds reports whether a key is that of a row of the map.
func (m *mapRows) holds(key []byte) bool { return m.loaded && bytes.HasPrefix(key, m.prefix) }

// newest returns the row of a key as of the last commit.
func (m *mapRows) newest(key []byte) *row {
	if r, ok := m.mu.rows[string(key)]; ok {
		return r
	}
	return noRow
}

// at returns the row of a key as of a size; ok is false when that size cannot be read in memory: it
// is too old, or lies within a commit, which has put each row once.
func (m *mapRows) at(key []byte, size uint64) (r *row, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	within, _ := slices.BinarySearchFunc(m.mu.recent, size, func(c commitOfRows, size uint64) int { return cmp.Compare(c.end, size) })
	if size < m.mu.from || within < len(m.mu.recent) && m.mu.recent[within].first < size && size < m.mu.recent[within].end {
		return nil, false
	}
	for r = m.mu.rows[string(key)]; r != nil && r.index >= size; {
		r = r.before
	}
	if r == nil {
		r = noRow
	}
	return r, true
}

// keys returns the keys of all rows, ascending. Some of them may have been put after the size that
// the caller reads.
func (m *mapRows) keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.mu.added) > 0 {
		sorted := append(slices.Clip(m.mu.sorted), m.mu.added...)
		slices.Sort(sorted)
		m.mu.sorted, m.mu.added = sorted, nil
	}
	return m.mu.sorted
}

// commit takes rows for committed by a commit that took the ledger from one size to another. Each
// key is there once.
func (m *mapRows) commit(rows []keyedRow, first, end uint64) {
	if len(rows) == 0 {
		return
	}
	c := commitOfRows{first, end, make([]*row, len(rows))}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range rows {
		old := m.mu.rows[r.key]
		switch {
		case old == nil:
			m.mu.added = append(m.mu.added, r.key)
			m.changed = append(m.changed, r.key)
		case old.index < m.base.Size:
			m.changed = append(m.changed, r.key)
		}
		r.before = old
		m.mu.rows[r.key] = r.row
		c.rows[i] = r.row
	}
	m.mu.recent = append(m.mu.recent, c)
	m.mu.kept += len(c.rows)
	for len(m.mu.recent) > 1 && (len(m.mu.recent) > keptCommits || m.mu.kept > keptRows) {
		oldest := m.mu.recent[0]
		for _, r := range oldest.rows {
			r.before = nil
		}
		m.mu.recent[0] = commitOfRows{}
		m.mu.recent = m.mu.recent[1:]
		m.mu.kept -= len(oldest.rows)
		m.mu.from = oldest.end
	}
}

// begin begins a new base at the position of the last commit. The one before must be written.
func (m *mapRows) begin(at Summary) {
	b := &newBase{at: at, rows: make([]keyedRow, len(m.changed))}
	slices.Sort(m.changed)
	for i, key := range m.changed {
		b.rows[i] = keyedRow{key, m.mu.rows[key]}
	}
	clear(m.changed)
	m.base, m.changed, m.moved, m.writing = at, m.changed[:0], 0, b
}

// stored reports whether the store has every row as of the last commit, and of what was decided
// since then.
func (m *mapRows) stored() bool { return m.moved == 0 && m.writing == nil }
