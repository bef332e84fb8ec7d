package accountmap

import (
	"cmp"
	"slices"
	"sync"

	"github.com/cairnledger/cairn/merkle"
)

// Tree is the whole map in memory: about 140 bytes for each account. One goroutine owns a tree;
// while nobody updates it, any number may call Root, Len, Get and Prove.
//
// The nodes lie in arrays without pointers, so the garbage collector does not look at them. A node
// holds the hashes of its children instead of its own hash: to hash a node again after one of its
// leaves changed, its own memory is enough, and the memory of the sibling is not touched.
//
// Invariants: with n > 0 leaves there are n-1 nodes. On every way down the bits of the nodes rise
// strictly. All leaves below a node agree in the bits before the node's, and those below child c
// have c in it. Between two calls every hash is that of what lies below it.
type Tree struct {
	top  ref         // without meaning while there are no leaves
	root merkle.Hash // of top, or EmptyRoot

	leaves pages[Leaf]
	nodes  pages[node]
	sums   pages[[2]merkle.Hash] // of the children of the node with the same number

	work []item // room for Update
}

// ref names a leaf or a node by its number.
type ref uint32

// leafRef marks a ref to a leaf. So a map has less than 2^31 accounts, 300 GB in memory.
const leafRef ref = 1 << 31

func (r ref) isLeaf() bool { return r&leafRef != 0 }

type node struct {
	child [2]ref
	bit   uint8 // the first bit in which the leaves below differ
}

// item is a leaf that Update works on.
type item struct {
	prefix uint64 // of the key
	at     uint32 // position in the batch
	leaf   ref
}

const (
	// lanes is how many keys Update follows down the tree side by side. Each step of a walk waits
	// for memory, and these waits overlap.
	lanes = 8
	// parallelLeaves is the size of a batch from which a second goroutine pays for its start.
	parallelLeaves = 256
)

// New returns the map without accounts.
func New() *Tree { return &Tree{root: EmptyRoot()} }

// Len returns the number of accounts.
func (t *Tree) Len() int { return t.leaves.len() }

// Root returns the map root.
func (t *Tree) Root() merkle.Hash { return t.root }

// Get returns the SHA-256 of an account's record, and whether there is such an account.
func (t *Tree) Get(key Key) (record merkle.Hash, present bool) {
	if t.Len() == 0 {
		return merkle.Hash{}, false
	}
	l := t.leaf(t.find(&key))
	if l.Key != key {
		return merkle.Hash{}, false
	}
	return l.Record, true
}

func (t *Tree) leaf(r ref) *Leaf { return t.leaves.at(uint32(r &^ leafRef)) }

// find returns the leaf at which the walk of a key ends: the key's own when it is in the map. The
// map is not empty.
func (t *Tree) find(key *Key) ref {
	r := t.top
	for !r.isLeaf() {
		n := t.nodes.at(uint32(r))
		r = n.child[key.bit(n.bit)]
	}
	return r
}

// Update inserts accounts, or gives them other records. Of several leaves with one key the last
// one counts. The leaves are the caller's again afterwards.
//
// First every leaf finds its place, and new ones get their nodes. Then all nodes above the batch
// are hashed once, from the leaves up. To find out which keys are new while hashing would mean to
// compare a key at every node, which costs more than walking down twice.
func (t *Tree) Update(leaves []Leaf) {
	if len(leaves) == 0 {
		return
	}
	t.work = sortItems(t.work[:0], leaves)
	for rest := t.work; len(rest) > 0; {
		n := min(lanes, len(rest))
		t.place(rest[:n], leaves)
		rest = rest[n:]
	}
	t.root = t.rehash(t.top, t.work, len(leaves) >= parallelLeaves)
	if cap(t.work) > 1<<16 {
		t.work = nil
	}
}

// sortItems appends an item for every leaf, in the order of keys and then of positions.
func sortItems(items []item, leaves []Leaf) []item {
	for i := range leaves {
		items = append(items, item{prefix: leaves[i].Key.prefix(), at: uint32(i)})
	}
	slices.SortFunc(items, func(a, b item) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		if c := leaves[a.at].Key.compare(&leaves[b.at].Key); c != 0 {
			return c
		}
		return cmp.Compare(a.at, b.at)
	})
	return items
}

// place stores the records of at most lanes leaves and says in each item which leaf it is.
func (t *Tree) place(items []item, leaves []Leaf) {
	if t.Len() > 0 {
		for i := range items {
			items[i].leaf = t.top
		}
		for walking := true; walking; {
			walking = false
			for i := range items {
				it := &items[i]
				if it.leaf.isLeaf() {
					continue
				}
				n := t.nodes.at(uint32(it.leaf))
				it.leaf = n.child[it.bit(n.bit, leaves)]
				walking = true
			}
		}
	}
	for i := range items {
		it := &items[i]
		l := &leaves[it.at]
		if t.Len() > 0 {
			if at := t.leaf(it.leaf); at.Key == l.Key {
				at.Record = l.Record
				continue
			}
		}
		it.leaf = t.insert(l)
	}
}

// bit returns a bit of the item's key.
func (it *item) bit(n uint8, leaves []Leaf) uint8 {
	if n < 64 {
		return uint8(it.prefix >> (63 - n) & 1)
	}
	return leaves[it.at].Key.bit(n)
}

// insert adds a leaf, unless a leaf before it in the batch has added its key. The hashes on its way
// are those from before.
func (t *Tree) insert(l *Leaf) ref {
	if t.Len() == 0 {
		t.top = leafRef | ref(t.leaves.add(*l))
		return t.top
	}
	near := t.find(&l.Key)
	bit, differ := firstDifference(&t.leaf(near).Key, &l.Key)
	if !differ {
		t.leaf(near).Record = l.Record
		return near
	}
	if t.Len() >= int(leafRef-1) {
		panic("accountmap: 2^31 accounts")
	}
	// The new node goes above the first one of the way whose bit comes behind the difference.
	link, sum := &t.top, &t.root
	for !link.isLeaf() {
		n := t.nodes.at(uint32(*link))
		if n.bit > bit {
			break
		}
		c := l.Key.bit(n.bit)
		link, sum = &n.child[c], &t.sums.at(uint32(*link))[c]
	}
	added := leafRef | ref(t.leaves.add(*l))
	n, sums := node{bit: bit}, [2]merkle.Hash{}
	c := l.Key.bit(bit)
	n.child[c], n.child[1-c] = added, *link
	sums[1-c] = *sum // right unless the batch changes a leaf below, and then it is hashed again
	*link = ref(t.nodes.add(n))
	t.sums.add(sums)
	return added
}

// rehash hashes what lies above the changed leaves, all of which lie below r, and returns the hash
// of r. The items are in the order of keys.
func (t *Tree) rehash(r ref, changed []item, parallel bool) merkle.Hash {
	if r.isLeaf() {
		l := t.leaf(r)
		return LeafHash(l.Key, l.Record)
	}
	n, sums := t.nodes.at(uint32(r)), t.sums.at(uint32(r))
	right := t.split(changed, n.bit)
	if parallel && right > 0 && right < len(changed) {
		var wg sync.WaitGroup
		wg.Go(func() { sums[0] = t.rehash(n.child[0], changed[:right], false) })
		sums[1] = t.rehash(n.child[1], changed[right:], false)
		wg.Wait()
	} else {
		if right > 0 {
			sums[0] = t.rehash(n.child[0], changed[:right], parallel)
		}
		if right < len(changed) {
			sums[1] = t.rehash(n.child[1], changed[right:], parallel)
		}
	}
	return InnerHash(n.bit, sums[0], sums[1])
}

// split returns how many of the items have 0 in a bit. All agree in the bits before it.
func (t *Tree) split(items []item, bit uint8) int {
	lo, hi := 0, len(items)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		set := uint8(items[mid].prefix >> (63 - bit&63) & 1)
		if bit >= 64 {
			set = t.leaf(items[mid].leaf).Key.bit(bit)
		}
		if set == 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}
