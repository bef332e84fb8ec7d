package ledger

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"
)

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
	return rangeIndexedRows(store, keys, from, to, below, func(key []byte, _ uint64, value []byte) bool { return yield(key, value) })
}

// rangeIndexedRows is rangeRows with the index of the entry that put the row.
func rangeIndexedRows(store Store, keys keyspace, from, to []byte, below uint64, yield func(key []byte, index uint64, value []byte) bool) error {
	if below == 0 {
		return nil
	}
	var end []byte
	if len(to) > 0 {
		end = keys.rows(to)
	}
	visit := newestBelow(keys, below, end)
	all := keys.prefix(kindState, 0)
	at, limit := keys.rows(from), 8
	for {
		pairs, err := store.Scan(at, all, limit, visit)
		if err != nil {
			return errors.Wrap(err, "read rows of the program's state")
		}
		for _, p := range pairs {
			key, index, ok := parseRow(p.Key)
			if !ok {
				return &CorruptError{What: "row of the program's state", Index: below, Err: errors.Newf("its key is %x", p.Key)}
			}
			if !yield(key, index, p.Value) {
				return nil
			}
		}
		if len(pairs) < limit {
			return nil
		}
		last := pairs[limit-1].Key
		at = appendBehind(nil, last[:len(last)-8])
		limit = min(8*limit, scanRows)
	}
}

// rangeWithMap is rangeRows where the store lacks the newest rows of the map: their keys are those
// of m, and each has the row that ofMap returns. Without a map in memory it is rangeRows.
func rangeWithMap(store Store, keys keyspace, m *mapRows, from, to []byte, below uint64, ofMap func(key []byte) *row, yield func(key, value []byte) bool) error {
	if !m.loaded {
		return rangeRows(store, keys, from, to, below, yield)
	}
	first, behind := m.prefix, behindPrefix(m.prefix)
	ends := func(key, end []byte) bool { return len(end) > 0 && bytes.Compare(key, end) >= 0 }
	more := true
	all := func(key, value []byte) bool {
		more = yield(key, value)
		return more
	}
	if bytes.Compare(from, first) < 0 {
		end := first
		if ends(first, to) {
			end = to
		}
		if err := rangeRows(store, keys, from, end, below, all); err != nil || !more {
			return err
		}
		from = first
	}
	if !ends(from, behind) && !ends(from, to) {
		sorted := m.keys()
		at, _ := slices.BinarySearch(sorted, string(from))
		for ; at < len(sorted) && !ends([]byte(sorted[at]), to); at++ {
			key := []byte(sorted[at])
			if r := ofMap(key); !r.absent && !all(key, r.value) {
				return nil
			}
		}
		from = behind
	}
	if behind == nil || ends(from, to) {
		return nil
	}
	return rangeRows(store, keys, from, to, below, all)
}

// scanRows is how many rows are read from the store at once, a few when a range begins.
const scanRows = 256

// newestBelow tells Store.Scan to take the newest row below an index of each key, up to the key at
// end; nil is the last one.
func newestBelow(keys keyspace, below uint64, end []byte) func(key []byte) (take bool, next []byte) {
	behind := keys.prefix(kindState+1, 0)
	var room []byte
	return func(key []byte) (take bool, next []byte) {
		if end != nil && bytes.Compare(key, end) >= 0 {
			return false, behind
		}
		if len(key) < minRowKey {
			return true, nil // rangeRows complains of it
		}
		rows := key[:len(key)-8]
		if rowIndex(key) >= below {
			room = binary.BigEndian.AppendUint64(append(room[:0], rows...), ^(below - 1))
			return false, room
		}
		room = appendBehind(room[:0], rows)
		return true, room
	}
}

// appendBehind appends the first key behind all rows whose keys begin like this.
func appendBehind(b, rows []byte) []byte {
	return append(append(b, rows...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0)
}

// The key of a row is prefix ‖ escaped program key ‖ 0x00 0x01 ‖ inverted index, where escaping
// turns 0x00 into 0x00 0xff. Escaped keys are ordered as the keys are, and none is the beginning of
// another one with its end mark, so the rows of one key are neighbours, the newest first.
const stateEscape = "\x00\xff"

// minRowKey is the size of a row's key without the program's key: group and kind, end mark, index.
const minRowKey = 9 + 2 + 8

// rows returns what the keys of all rows of a program's key begin with.
func (s keyspace) rows(key []byte) []byte {
	return appendRows(s.prefix(kindState, len(key)+2+8+1), key)
}

func appendRows[K string | []byte](b []byte, key K) []byte {
	from := 0
	for i := range len(key) {
		if key[i] == 0 {
			b = append(append(b, key[from:i]...), stateEscape...)
			from = i + 1
		}
	}
	return append(append(b, key[from:]...), 0, 1)
}

// appendRow appends the key of a row.
func (s keyspace) appendRow(b []byte, key string, index uint64) []byte {
	b = append(binary.BigEndian.AppendUint64(b, s.group), kindState)
	return binary.BigEndian.AppendUint64(appendRows(b, key), ^index)
}

func (s keyspace) row(key []byte, index uint64) []byte {
	return binary.BigEndian.AppendUint64(s.rows(key), ^index)
}

func rowIndex(rowKey []byte) uint64 { return ^binary.BigEndian.Uint64(rowKey[len(rowKey)-8:]) }

// parseRow returns the program's key and the index of a row.
func parseRow(b []byte) (key []byte, index uint64, ok bool) {
	const prefix = 9
	if len(b) < minRowKey {
		return nil, 0, false
	}
	framed := b[prefix : len(b)-8]
	end := len(framed) - 2
	if framed[end] != 0 || framed[end+1] != 1 {
		return nil, 0, false
	}
	return []byte(strings.ReplaceAll(string(framed[:end]), stateEscape, "\x00")), rowIndex(b), true
}
