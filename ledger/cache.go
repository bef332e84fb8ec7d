package ledger

import (
	"container/list"
	"sync"
)

// lru is a cache bounded by the total weight of its values. Safe for concurrent use; values are
// shared and immutable.
type lru[K comparable, V any] struct {
	limit int
	mu    struct {
		sync.Mutex
		weight int
		order  *list.List // most recently used first, of *lruItem
		items  map[K]*list.Element
	}
}

type lruItem[K comparable, V any] struct {
	key    K
	value  V
	weight int
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	c := &lru[K, V]{limit: limit}
	c.mu.order = list.New()
	c.mu.items = make(map[K]*list.Element)
	return c
}

func (c *lru[K, V]) get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.mu.items[key]
	if !ok {
		var none V
		return none, false
	}
	c.mu.order.MoveToFront(e)
	return e.Value.(*lruItem[K, V]).value, true
}

// find returns the most recently used value that matches: for caches of few items.
func (c *lru[K, V]) find(match func(V) bool) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.mu.order.Front(); e != nil; e = e.Next() {
		if v := e.Value.(*lruItem[K, V]).value; match(v) {
			c.mu.order.MoveToFront(e)
			return v, true
		}
	}
	var none V
	return none, false
}

func (c *lru[K, V]) put(key K, value V, weight int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.mu.items[key]; ok {
		c.drop(e)
	}
	c.mu.items[key] = c.mu.order.PushFront(&lruItem[K, V]{key, value, weight})
	c.mu.weight += weight
	for c.mu.weight > c.limit && c.mu.order.Len() > 1 {
		c.drop(c.mu.order.Back())
	}
}

func (c *lru[K, V]) remove(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.mu.items[key]; ok {
		c.drop(e)
	}
}

func (c *lru[K, V]) drop(e *list.Element) {
	item := c.mu.order.Remove(e).(*lruItem[K, V])
	delete(c.mu.items, item.key)
	c.mu.weight -= item.weight
}
