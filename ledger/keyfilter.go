package ledger

import (
	"hash/maphash"
	"sync/atomic"
)

// keyFilter knows, in about 16 bits a key, which keys of a program's rows are certainly not in the
// store: a program that looks whether an id is new asks for keys that mostly do not exist, and the
// store would look for each in all of its tables. It forgets nothing and is wrong on one side only:
// of one key in some hundreds that does not exist it says that it may.
//
// It is filled from the store, some keys with every commit, so that a start does not wait for it;
// until then it says of every key that it may exist. The applier fills it and adds to it; any
// goroutine asks.
type keyFilter struct {
	seed   maphash.Seed
	layers atomic.Pointer[[]*filterLayer] // the last one takes new keys
	filled atomic.Bool                    // invariant: every key with a row in the store is in a layer
	next   []byte                         // store key from which on keys are missing; the applier's
}

// filterLayer is a Bloom filter whose bits for one key lie in one cache line.
type filterLayer struct {
	words []atomic.Uint64
	room  int // keys that it still takes; the applier's
}

const (
	lineWords     = 8  // 64 bytes
	keysPerLine   = 32 // 16 bits a key
	bitsPerKey    = 7  // that are set
	firstLines    = 1 << 4
	growth        = 8       // of a layer over the one before
	mostNewLines  = 1 << 18 // 16 MiB
	fillAtOpen    = 100_000 // keys
	fillPerCommit = 20_000
)

func (f *keyFilter) init(keys keyspace) {
	f.seed = maphash.MakeSeed()
	f.layers.Store(&[]*filterLayer{})
	f.next = keys.prefix(kindState, 0)
}

func newFilterLayer(lines int) *filterLayer {
	return &filterLayer{words: make([]atomic.Uint64, lines*lineWords), room: lines * keysPerLine}
}

// line returns the words of a key and what chooses its bits in them.
func (l *filterLayer) line(hash uint64) (words []atomic.Uint64, bits uint64) {
	lines := uint64(len(l.words) / lineWords)
	at := int(hash>>32*lines>>32) * lineWords
	return l.words[at : at+lineWords], hash * 0x9e3779b97f4a7c15
}

// add adds a key. One that seems to be there already needs no room.
func (f *keyFilter) add(key []byte) {
	hash := maphash.Bytes(f.seed, key)
	layers := *f.layers.Load()
	for _, l := range layers {
		if l.has(hash) {
			return
		}
	}
	if n := len(layers); n == 0 || layers[n-1].room == 0 {
		lines := firstLines
		if n > 0 {
			lines = min(growth*len(layers[n-1].words)/lineWords, mostNewLines)
		}
		layers = append(layers[:n:n], newFilterLayer(lines))
		f.layers.Store(&layers)
	}
	last := layers[len(layers)-1]
	last.room--
	words, bits := last.line(hash)
	for range bitsPerKey {
		words[bits>>61].Or(1 << (bits >> 55 & 63))
		bits = bits<<9 | bits>>55
	}
}

// absent reports whether the store certainly has no row with this key.
func (f *keyFilter) absent(key []byte) bool {
	if !f.filled.Load() {
		return false
	}
	hash := maphash.Bytes(f.seed, key)
	for _, l := range *f.layers.Load() {
		if l.has(hash) {
			return false
		}
	}
	return true
}

func (l *filterLayer) has(hash uint64) bool {
	words, bits := l.line(hash)
	for range bitsPerKey {
		if words[bits>>61].Load()&(1<<(bits>>55&63)) == 0 {
			return false
		}
		bits = bits<<9 | bits>>55
	}
	return true
}

// fill adds so many keys from the store that were there before the filter.
func (f *keyFilter) fill(store Store, keys keyspace, n int) error {
	if f.filled.Load() {
		return nil
	}
	behind := keys.prefix(kindState+1, 0)
	var room []byte
	seen := 0
	_, err := store.Scan(f.next, keys.prefix(kindState, 0), 1, func(row []byte) (take bool, next []byte) {
		key, _, ok := parseRow(row)
		if !ok {
			return false, nil // whoever reads the row complains of it
		}
		if seen++; seen > n {
			f.next = append(f.next[:0:0], row...)
			return false, behind
		}
		f.add(key)
		room = appendBehind(room[:0], row[:len(row)-8])
		return false, room
	})
	if err != nil {
		return err
	}
	f.filled.Store(seen <= n)
	return nil
}
