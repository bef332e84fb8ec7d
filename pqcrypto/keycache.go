package pqcrypto

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// maxExpandedKeys bounds the cache of expanded public keys: at most 128 × 70 kB ≈ 9 MB, for a few
// clusters of nodes and their clients.
const maxExpandedKeys = 128

// expandedKeys is shared by the whole process: the same keys come back with every connection and
// every checkpoint.
var expandedKeys = newKeyCache(maxExpandedKeys)

type cacheID [sha256.Size]byte

func keyCacheID(p SigParams, raw []byte) cacheID {
	h := sha256.New()
	h.Write([]byte{byte(p)})
	h.Write(raw)
	var id cacheID
	h.Sum(id[:0])
	return id
}

// A keyCache maps public keys to their expanded form and forgets the least recently used ones.
type keyCache struct {
	limit int

	mu struct {
		sync.Mutex
		byID  map[cacheID]*list.Element // of cacheEntry; same elements as order
		order *list.List                // most recently used first; never longer than limit
	}
}

type cacheEntry struct {
	id  cacheID
	key *expandedKey
}

func newKeyCache(limit int) *keyCache {
	c := &keyCache{limit: limit}
	c.mu.byID = make(map[cacheID]*list.Element)
	c.mu.order = list.New()
	return c
}

// get returns nil for a key that the cache doesn't hold.
func (c *keyCache) get(id cacheID) *expandedKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.mu.byID[id]
	if e == nil {
		return nil
	}
	c.mu.order.MoveToFront(e)
	return e.Value.(cacheEntry).key
}

func (c *keyCache) put(id cacheID, key *expandedKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.mu.byID[id]; e != nil {
		c.mu.order.MoveToFront(e)
		return
	}
	c.mu.byID[id] = c.mu.order.PushFront(cacheEntry{id, key})
	for c.mu.order.Len() > c.limit {
		oldest := c.mu.order.Back()
		c.mu.order.Remove(oldest)
		delete(c.mu.byID, oldest.Value.(cacheEntry).id)
	}
}

func (c *keyCache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.order.Len()
}
