package client

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/merkle"
)

// rootTimeout bounds how long CompareRoots waits for one node.
const rootTimeout = 3 * time.Second

// RootComparison is what nodes answered about one size. Nothing of it is proved: each root is the
// word of an authenticated node.
type RootComparison struct {
	// Size is the largest size that all compared nodes have sealed; 0 when nothing was compared.
	Size uint64
	// Roots are the answers, by node.
	Roots map[string]merkle.Hash
	// Root is the one that most nodes named. Differing are the nodes with another root, in order;
	// when no root has more nodes than every other, all of them.
	Root      merkle.Hash
	Differing []string
}

// CompareRoots compares the roots of nodes that have answered Status, by node. It asks again where
// a node has sealed more than another one. A node that does not answer is not compared.
func (c *Client) CompareRoots(ctx context.Context, nodes map[string]*cairnv1.StatusResponse) RootComparison {
	cmp := RootComparison{Roots: map[string]merkle.Hash{}}
	for _, st := range nodes {
		if st.SealedSize > 0 && (cmp.Size == 0 || st.SealedSize < cmp.Size) {
			cmp.Size = st.SealedSize
		}
	}
	if cmp.Size == 0 {
		return cmp
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, st := range nodes {
		wg.Go(func() {
			root := st.SealedRoot
			if st.SealedSize != cmp.Size {
				ctx, cancel := context.WithTimeout(ctx, rootTimeout)
				defer cancel()
				again, err := c.StatusWith(ctx, name, &cairnv1.StatusRequest{RootSize: cmp.Size})
				if err != nil {
					return
				}
				root = again.RequestedRoot
			}
			if len(root) == merkle.HashSize {
				mu.Lock()
				defer mu.Unlock()
				cmp.Roots[name] = merkle.Hash(root)
			}
		})
	}
	wg.Wait()
	cmp.judge()
	return cmp
}

// judge finds the root of most nodes, and who has another one.
func (c *RootComparison) judge() {
	votes := map[merkle.Hash]int{}
	for _, root := range c.Roots {
		votes[root]++
	}
	most, tie := 0, false
	for root, n := range votes {
		switch {
		case n > most:
			c.Root, most, tie = root, n, false
		case n == most:
			tie = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Roots)) {
		if tie || c.Roots[name] != c.Root {
			c.Differing = append(c.Differing, name)
		}
	}
}
