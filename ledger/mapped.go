package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle/accountmap"
)

// Mapped is a Program that commits to its state: the ledger keeps an authenticated map of the
// program's accounts, and publishes its root in records of its own (WithMapRoot).
// docs/format-map.md specifies the map.
//
// The rows whose keys begin with MapPrefix have the records of the map; the rest of such a key is
// the id of the account. An account is in the map from its first row on. Rows of the map are put by
// commands alone (RefusedWrites).
type Mapped interface {
	Program
	// MapPrefix returns what the keys of the map's rows begin with, 1 to MaxStateKey bytes. It
	// always returns the same.
	MapPrefix() []byte
	// MapRecord returns the record in the value of a row of the map, a part of it or all: the map
	// commits to it and proofs show it. What else stands in the value is the program's own.
	MapRecord(value []byte) []byte
}

// mapState is the map of a Mapped program's accounts, as of the last block that was decided. The
// applier owns it.
type mapState struct {
	program Mapped // nil: the ledger keeps no map
	origin  string
	prefix  []byte
	tree    *accountmap.Tree // nil in a ledger that is open for inspection
	newest  mapRoot          // of tree, unless rows are in changed
	rows    mapRows

	// changed has the keys of the map's rows that the batches of this block have put, each once. A
	// batch that is refused is not in it.
	changed []string
	leaves  []accountmap.Leaf // room for them
}

// begin forgets the block before.
func (m *mapState) begin() {
	clear(m.changed)
	m.changed = m.changed[:0]
}

// holds reports whether the row with this key is a record of the map.
func (m *mapState) holds(key string) bool {
	return m.program != nil && len(key) >= len(m.prefix) && key[:len(m.prefix)] == string(m.prefix)
}

// put notes that a batch which is kept has put a row, and whether it is the first one of the key in
// its block.
func (m *mapState) put(key string, first bool) {
	if !m.holds(key) {
		return
	}
	m.rows.moved++
	if first {
		m.changed = append(m.changed, key)
	}
}

// row returns the key of an account's row.
func (m *mapState) row(account []byte) []byte { return append(slices.Clip(m.prefix), account...) }

func (m *mapState) leaf(account, value []byte) accountmap.Leaf {
	return accountmap.Leaf{Key: accountmap.KeyOf(m.origin, account), Record: sha256.Sum256(m.program.MapRecord(value))}
}

// update brings the tree up to date. fresh has the rows that were put since the last commit.
func (m *mapState) update(fresh map[string]*row) {
	m.leaves = m.leaves[:0]
	for _, key := range m.changed {
		m.leaves = append(m.leaves, m.leaf([]byte(key[len(m.prefix):]), fresh[key].value))
	}
	m.tree.Update(m.leaves)
}

// updateMap brings the map up to date when the block has changed it and has no record of the map
// root that did so.
func (d *decision) updateMap(first uint64) {
	m := &d.l.applier.accounts
	if len(m.changed) == 0 || d.root != nil {
		return
	}
	d.setRoot(first+uint64(len(d.accepted))-1, false)
}

// setRoot brings the map up to date at the end of a block, whose last entry has this index.
func (d *decision) setRoot(index uint64, published bool) {
	m := &d.l.applier.accounts
	m.update(d.l.applier.state.fresh)
	m.newest = mapRoot{MapRoot{index, m.tree.Root(), uint64(m.tree.Len()), m.newest.record()}, published}
	root := m.newest
	d.root = &root
}

// mapRoot is the map as of the end of a block that changed it, or published its root. Index is that
// of the block's last entry.
type mapRoot struct {
	MapRoot
	published bool // the entry is a record of the map root
}

// record returns the index of the newest record of the map root, 0 when there is none.
func (r *mapRoot) record() uint64 {
	if r.published {
		return r.Index
	}
	return r.Previous
}

// The first byte of a stored map root.
const (
	rootPublished   = 1
	rootUnpublished = 2
)

func (r *mapRoot) pair(keys keyspace) Pair {
	form := byte(rootUnpublished)
	if r.published {
		form = rootPublished
	}
	return Pair{keys.mapRoot(r.Index), append([]byte{form}, r.outcome()...)}
}

func parseMapRoot(p Pair) (r mapRoot, err error) {
	if len(p.Key) != 9+8 || len(p.Value) != 1+mapRootOutcome || p.Value[0] != rootPublished && p.Value[0] != rootUnpublished {
		return r, errors.Newf("a key of %d bytes with a value of %d", len(p.Key), len(p.Value))
	}
	r.published = p.Value[0] == rootPublished
	r.MapRoot = mapRootOf(binary.BigEndian.Uint64(p.Key[9:]), p.Value[1:])
	return r, nil
}

// newestMapRoot returns the newest map root of an entry below an index.
func (l *Ledger) newestMapRoot(below uint64) (r mapRoot, found bool, err error) {
	if below == 0 {
		return r, false, nil
	}
	p, err := l.store.SeekLast(l.keys.mapRoot(below-1), l.keys.prefix(kindMapRoot, 0))
	if errors.Is(err, ErrKeyNotFound) {
		return r, false, nil
	}
	if err != nil {
		return r, false, errors.Wrap(err, "read the newest map root")
	}
	if r, err = parseMapRoot(p); err != nil {
		return r, false, &CorruptError{What: "map root", Index: below, Err: err}
	}
	return r, true, nil
}

// loadMap builds the map as of Start from the rows and compares it with the root that was stored.
func (l *Ledger) loadMap() error {
	p, ok := l.program.(Mapped)
	if !ok {
		return nil
	}
	m := &l.applier.accounts
	m.program, m.origin, m.prefix = p, l.cfg.Origin, bytes.Clone(p.MapPrefix())
	m.rows.prefix = m.prefix
	if len(m.prefix) == 0 || len(m.prefix) > MaxStateKey {
		return errors.Newf("a program whose map prefix has %d bytes, want 1 to %d", len(m.prefix), MaxStateKey)
	}
	if l.cfg.ReadOnly {
		return nil
	}
	size := l.Head().Size
	rows, tree, err := l.storedMap(size)
	if err != nil {
		return err
	}
	m.rows.load(rows, l.cfg.Start)
	root, found, err := l.newestMapRoot(size)
	if err != nil {
		return err
	}
	if !found {
		root.Root = accountmap.EmptyRoot()
	}
	if tree.Root() != root.Root || uint64(tree.Len()) != root.Accounts {
		return &CorruptError{What: "rows of the map", Index: size, Err: errors.Newf("%d accounts with root %s, want %d with %s: rows of the program's state are lost or damaged",
			tree.Len(), tree.Root(), root.Accounts, root.Root)}
	}
	m.tree, m.newest = tree, root
	return nil
}

// storedMap returns the rows of the map that the store has as of a size, which must be a base, and
// their tree.
func (l *Ledger) storedMap(size uint64) (rows []keyedRow, tree *accountmap.Tree, err error) {
	m := &l.applier.accounts
	var leaves []accountmap.Leaf
	err = rangeIndexedRows(l.store, l.keys, m.prefix, behindPrefix(m.prefix), size, func(key []byte, index uint64, value []byte) bool {
		leaves = append(leaves, m.leaf(key[len(m.prefix):], value))
		rows = append(rows, keyedRow{string(key), &row{index: index, value: value}})
		return true
	})
	return rows, accountmap.Build(leaves), err
}

// behindPrefix returns the first key behind all that begin with the prefix; nil when there is none.
func behindPrefix(prefix []byte) []byte {
	b := bytes.Clone(prefix)
	for len(b) > 0 {
		if b[len(b)-1]++; b[len(b)-1] != 0 {
			return b
		}
		b = b[:len(b)-1]
	}
	return nil
}
