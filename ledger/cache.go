package ledger

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cairnledger/cairn/merkle"
)

const (
	// DefaultCacheBytes is the budget of a ledger that shares no cache with others.
	DefaultCacheBytes = 56 << 20

	// cacheOverhead is what an item costs beside its bytes. minBlockWeight bounds the number of
	// blocks, which are found by a search among all those of a ledger.
	cacheOverhead  = 200
	minBlockWeight = 4 << 10
	tileWeight     = merkle.TileWidth*merkle.HashSize + cacheOverhead

	cacheShards = 16
)

// Caches is what the ledgers of a node keep in memory of what their stores hold: blocks, full tiles
// that were proved, and rows of programs. All share one budget: what was used longest ago goes
// first, whosever it is, so a ledger that is idle holds nothing in the end. Safe for concurrent use.
//
// Items lie in shards, each with a lock and a list in order of use. An item is stamped with the
// number of puts so far when it is used, so the ends of the lists say which item of all is the
// oldest. No two locks are held at once.
//
// A ledger has a number in its Caches, which begins all of its keys. The group id would not do: the
// rows of a ledger that is opened once more, at an earlier state, are not those from before.
type Caches struct {
	limit   int64
	weight  atomic.Int64  // of all items
	puts    atomic.Uint64 // so far
	ledgers atomic.Uint64 // numbers given to ledgers
	// oldest has the stamp of the item of each shard that was used longest ago; math.MaxUint64 when
	// it has none. The shards' locks guard writes.
	oldest [cacheShards]atomic.Uint64
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu    sync.Mutex
	items map[cacheKey]*cached // tiles and rows
	// blocks has those of each ledger, in ascending order of their ends. All blocks of a ledger
	// lie in one shard.
	blocks map[uint64][]*cached
	ring   cached // next is the item used last, prev the one used longest ago
	oldest *atomic.Uint64
	_      [64]byte // shards share no cache line
}

// cacheKey is the key of a tile (level, index) or of a row, with level rowLevel. For a block, index
// is its end.
type cacheKey struct {
	ledger uint64
	index  uint64
	row    string
	level  uint8
}

const (
	rowLevel   = 0xfe
	blockLevel = 0xff
)

// cached is an item in the ring of its shard. The value is immutable.
type cached struct {
	key        cacheKey
	value      any
	weight     int64
	used       uint64
	prev, next *cached
}

// NewCaches returns caches that hold at most so many bytes, about; a single item may be larger.
func NewCaches(bytes int64) *Caches {
	c := &Caches{limit: bytes}
	for i := range c.shards {
		s := &c.shards[i]
		s.ring.prev, s.ring.next, s.ring.used = &s.ring, &s.ring, math.MaxUint64
		s.oldest = &c.oldest[i]
		s.oldest.Store(math.MaxUint64)
	}
	return c
}

// Bytes returns how many bytes the items take, about.
func (c *Caches) Bytes() int64 { return c.weight.Load() }

// of returns the part of a ledger that begins with nothing.
func (c *Caches) of() ledgerCache { return ledgerCache{c, c.ledgers.Add(1)} }

// ledgerCache is a ledger's part of Caches.
type ledgerCache struct {
	c      *Caches
	ledger uint64
}

func (l ledgerCache) blockShard() *cacheShard { return &l.c.shards[l.ledger%cacheShards] }

func (l ledgerCache) tileShard(id tileID) *cacheShard {
	return &l.c.shards[(l.ledger+id.index+uint64(id.level))%cacheShards]
}

// rowShard goes by the FNV-1a hash of the key.
func rowShard[K string | []byte](l ledgerCache, key K) *cacheShard {
	hash := uint64(0xcbf29ce484222325)
	for i := range len(key) {
		hash = (hash ^ uint64(key[i])) * 0x100000001b3
	}
	return &l.c.shards[(l.ledger+hash)%cacheShards]
}

// block returns the block that holds an entry.
func (l ledgerCache) block(index uint64) (*record, bool) {
	s := l.blockShard()
	s.mu.Lock()
	defer s.mu.Unlock()
	blocks := s.blocks[l.ledger]
	i, _ := findBlock(blocks, index+1)
	if i == len(blocks) {
		return nil, false
	}
	r := blocks[i].value.(*record)
	if !r.holds(index) {
		return nil, false
	}
	l.c.use(s, blocks[i])
	return r, true
}

// findBlock returns where the first block with at least this end is or would be.
func findBlock(blocks []*cached, end uint64) (int, bool) {
	return slices.BinarySearchFunc(blocks, end, func(b *cached, end uint64) int { return cmp.Compare(b.key.index, end) })
}

func (l ledgerCache) putBlock(r *record) {
	s := l.blockShard()
	s.mu.Lock()
	blocks := s.blocks[l.ledger]
	i, found := findBlock(blocks, r.end())
	if !found {
		if s.blocks == nil {
			s.blocks = make(map[uint64][]*cached)
		}
		blocks = slices.Insert(blocks, i, &cached{key: cacheKey{ledger: l.ledger, index: r.end(), level: blockLevel}})
		s.blocks[l.ledger] = blocks
	}
	item := blocks[i]
	l.c.set(s, item, r, int64(max(len(r.encoded), minBlockWeight)))
	s.mu.Unlock()
	l.c.trim(item)
}

// dropBlock forgets the block that holds an entry.
func (l ledgerCache) dropBlock(index uint64) {
	s := l.blockShard()
	s.mu.Lock()
	defer s.mu.Unlock()
	blocks := s.blocks[l.ledger]
	if i, _ := findBlock(blocks, index+1); i < len(blocks) && blocks[i].value.(*record).holds(index) {
		l.c.remove(s, blocks[i])
	}
}

func (l ledgerCache) tile(id tileID) ([]merkle.Hash, bool) {
	s := l.tileShard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := s.items[cacheKey{ledger: l.ledger, index: id.index, level: id.level}]
	if !ok {
		return nil, false
	}
	l.c.use(s, item)
	return item.value.([]merkle.Hash), true
}

func (l ledgerCache) putTile(id tileID, hashes []merkle.Hash) {
	s := l.tileShard(id)
	l.c.put(s, cacheKey{ledger: l.ledger, index: id.index, level: id.level}, hashes, tileWeight)
}

func (l ledgerCache) row(key []byte) (*row, bool) {
	s := rowShard(l, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := s.items[cacheKey{ledger: l.ledger, level: rowLevel, row: string(key)}]
	if !ok {
		return nil, false
	}
	l.c.use(s, item)
	return item.value.(*row), true
}

func (l ledgerCache) putRow(key string, r *row) {
	weight := int64(len(key) + len(r.value) + cacheOverhead)
	l.c.put(rowShard(l, key), cacheKey{ledger: l.ledger, level: rowLevel, row: key}, r, weight)
}

// replaceRow gives a row its value when there is one of its key. A row that a program puts is not
// cached before the program reads it: most are never read again.
func (l ledgerCache) replaceRow(key string, r *row) {
	s := rowShard(l, key)
	s.mu.Lock()
	item := s.items[cacheKey{ledger: l.ledger, level: rowLevel, row: key}]
	if item == nil {
		s.mu.Unlock()
		return
	}
	alone := &row{absent: r.absent, index: r.index, value: bytes.Clone(r.value)} // r shares its memory
	l.c.set(s, item, alone, int64(len(key)+len(r.value)+cacheOverhead))
	s.mu.Unlock()
	l.c.trim(item)
}

// put gives a tile or row its value.
func (c *Caches) put(s *cacheShard, key cacheKey, value any, weight int64) {
	s.mu.Lock()
	item := s.items[key]
	if item == nil {
		if s.items == nil {
			s.items = make(map[cacheKey]*cached)
		}
		item = &cached{key: key}
		s.items[key] = item
	}
	c.set(s, item, value, weight)
	s.mu.Unlock()
	c.trim(item)
}

// use makes an item the one used last. The shard is locked.
func (c *Caches) use(s *cacheShard, item *cached) {
	item.used = c.puts.Load()
	if s.ring.next != item {
		s.unlink(item)
		s.link(item)
	}
	s.tell()
}

// set gives an item its value and makes it the one used last. The shard is locked.
func (c *Caches) set(s *cacheShard, item *cached, value any, weight int64) {
	c.weight.Add(weight - item.weight)
	item.value, item.weight, item.used = value, weight, c.puts.Add(1)
	if item.next != nil {
		s.unlink(item)
	}
	s.link(item)
	s.tell()
}

// trim drops the oldest items above the budget, but not this one. No shard is locked.
func (c *Caches) trim(keep *cached) {
	for c.weight.Load() > c.limit {
		first, shard := uint64(math.MaxUint64), 0
		for i := range c.oldest {
			if stamp := c.oldest[i].Load(); stamp < first {
				first, shard = stamp, i
			}
		}
		s := &c.shards[shard]
		s.mu.Lock()
		oldest := s.ring.prev
		if oldest == keep || oldest == &s.ring {
			s.mu.Unlock()
			return
		}
		c.remove(s, oldest)
		s.mu.Unlock()
	}
}

// remove drops an item. The shard is locked.
func (c *Caches) remove(s *cacheShard, item *cached) {
	c.weight.Add(-item.weight)
	s.unlink(item)
	s.tell()
	if item.key.level != blockLevel {
		delete(s.items, item.key)
		return
	}
	blocks := s.blocks[item.key.ledger]
	switch i, _ := findBlock(blocks, item.key.index); {
	case len(blocks) == 1:
		delete(s.blocks, item.key.ledger)
	case i == 0: // the usual case
		blocks[0] = nil
		s.blocks[item.key.ledger] = blocks[1:]
	default:
		s.blocks[item.key.ledger] = slices.Delete(blocks, i, i+1)
	}
}

func (s *cacheShard) unlink(item *cached) {
	item.prev.next, item.next.prev = item.next, item.prev
}

func (s *cacheShard) link(item *cached) {
	item.prev, item.next = &s.ring, s.ring.next
	item.prev.next, item.next.prev = item, item
}

// tell publishes the stamp of the oldest item.
func (s *cacheShard) tell() {
	if used := s.ring.prev.used; used != s.oldest.Load() {
		s.oldest.Store(used)
	}
}
