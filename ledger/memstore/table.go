package memstore

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/cairnledger/cairn/ledger"
)

// table is a map of keys to their newest values that can be searched in order.
type table struct {
	values map[string]version
	// order has the keys of each prefix of 9 bytes (group and kind), sorted unless dirty. Kinds
	// whose keys come in order cost an append for each key, the others one sort at the first
	// search.
	order map[string]*keyList
}

// version is a value with the commit's version; a nil value is a deletion.
type version struct {
	version uint64
	value   []byte
}

type keyList struct {
	keys  []string
	dirty bool
}

const bucketSize = 9

func newTable() *table {
	return &table{values: make(map[string]version), order: make(map[string]*keyList)}
}

func (t *table) clone() *table {
	c := &table{values: maps.Clone(t.values), order: make(map[string]*keyList, len(t.order))}
	for bucket, l := range t.order {
		c.order[bucket] = &keyList{slices.Clone(l.keys), l.dirty}
	}
	return c
}

func bucket(key string) string { return key[:min(bucketSize, len(key))] }

func (t *table) apply(c commit) {
	for _, p := range c.pairs {
		old, ok := t.values[string(p.Key)]
		if ok && old.version > c.version {
			continue
		}
		key := string(p.Key)
		t.values[key] = version{c.version, p.Value}
		if ok {
			continue
		}
		l := t.order[bucket(key)]
		if l == nil {
			l = &keyList{}
			t.order[bucket(key)] = l
		}
		l.dirty = l.dirty || len(l.keys) > 0 && l.keys[len(l.keys)-1] > key
		l.keys = append(l.keys, key)
	}
}

// sorted returns the keys of the bucket that every key with the prefix is in.
func (t *table) sorted(prefix []byte) []string {
	if len(prefix) < bucketSize {
		panic("memstore: search with a prefix shorter than group and kind")
	}
	l := t.order[string(prefix[:bucketSize])]
	if l == nil {
		return nil
	}
	if l.dirty {
		slices.Sort(l.keys)
		l.dirty = false
	}
	return l.keys
}

func (t *table) seek(key, prefix []byte) (ledger.Pair, error) {
	keys := t.sorted(prefix)
	i, _ := slices.BinarySearch(keys, string(key))
	for ; i < len(keys) && strings.HasPrefix(keys[i], string(prefix)); i++ {
		if v := t.values[keys[i]]; v.value != nil {
			return ledger.Pair{Key: []byte(keys[i]), Value: bytes.Clone(v.value)}, nil
		}
	}
	return ledger.Pair{}, ledger.ErrKeyNotFound
}

func (t *table) seekLast(key, prefix []byte) (ledger.Pair, error) {
	keys := t.sorted(prefix)
	i, found := slices.BinarySearch(keys, string(key))
	if !found {
		i--
	}
	for ; i >= 0 && strings.HasPrefix(keys[i], string(prefix)); i-- {
		if v := t.values[keys[i]]; v.value != nil {
			return ledger.Pair{Key: []byte(keys[i]), Value: bytes.Clone(v.value)}, nil
		}
	}
	return ledger.Pair{}, ledger.ErrKeyNotFound
}

func (t *table) scan(key, prefix []byte, limit int, visit func(key []byte) (take bool, next []byte)) (pairs []ledger.Pair) {
	keys := t.sorted(prefix)
	for i, _ := slices.BinarySearch(keys, string(key)); i < len(keys) && len(pairs) < limit && strings.HasPrefix(keys[i], string(prefix)); {
		k := keys[i]
		i++
		v := t.values[k]
		if v.value == nil {
			continue
		}
		take, next := true, []byte(nil)
		if visit != nil {
			take, next = visit([]byte(k))
		}
		if take {
			pairs = append(pairs, ledger.Pair{Key: []byte(k), Value: bytes.Clone(v.value)})
		}
		if next == nil {
			continue
		}
		if !bytes.HasPrefix(next, prefix) {
			break
		}
		at, _ := slices.BinarySearch(keys[i:], string(next))
		i += at
	}
	return pairs
}
