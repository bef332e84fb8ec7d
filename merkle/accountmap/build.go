package accountmap

import (
	"sync"

	"github.com/cairnledger/cairn/merkle"
)

// parallelDepth is how many levels below the top Build starts a second goroutine at: more parts
// than processors, so that none waits long for another.
const parallelDepth = 3

// Build returns the map with these accounts, in any order. It is several times as fast as Update on
// an empty map. Of several leaves with one key the last one counts.
func Build(leaves []Leaf) *Tree {
	t := New()
	items := sortItems(make([]item, 0, len(leaves)), leaves)
	distinct := 0
	for i := range items {
		if i+1 < len(items) && leaves[items[i].at].Key == leaves[items[i+1].at].Key {
			continue
		}
		items[distinct] = items[i]
		distinct++
	}
	if distinct == 0 {
		return t
	}
	t.leaves.grow(distinct)
	for i := range items[:distinct] {
		*t.leaves.at(uint32(i)) = leaves[items[i].at]
	}
	t.nodes.grow(distinct - 1)
	t.sums.grow(distinct - 1)
	depth := 0
	if distinct >= parallelLeaves {
		depth = parallelDepth
	}
	t.top, t.root = t.build(0, uint32(distinct), depth)
	return t
}

// build makes the nodes above the leaves from lo to hi, at least one. The leaves are sorted. A node
// that parts the leaves before m from those behind gets number m-1, so goroutines need not agree
// about numbers.
func (t *Tree) build(lo, hi uint32, parallel int) (ref, merkle.Hash) {
	first := t.leaves.at(lo)
	if hi-lo == 1 {
		return leafRef | ref(lo), LeafHash(first.Key, first.Record)
	}
	bit, _ := firstDifference(&first.Key, &t.leaves.at(hi-1).Key)
	m, end := lo+1, hi-1 // m ends as the first leaf that has the bit
	for m < end {
		mid := m + (end-m)/2
		if t.leaves.at(mid).Key.bit(bit) == 0 {
			m = mid + 1
		} else {
			end = mid
		}
	}
	n, sums := t.nodes.at(m-1), t.sums.at(m-1)
	n.bit = bit
	if parallel > 0 {
		var wg sync.WaitGroup
		wg.Go(func() { n.child[0], sums[0] = t.build(lo, m, parallel-1) })
		n.child[1], sums[1] = t.build(m, hi, parallel-1)
		wg.Wait()
	} else {
		n.child[0], sums[0] = t.build(lo, m, 0)
		n.child[1], sums[1] = t.build(m, hi, 0)
	}
	return ref(m - 1), InnerHash(bit, sums[0], sums[1])
}
