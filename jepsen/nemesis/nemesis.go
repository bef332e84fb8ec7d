// Package nemesis breaks what a testbed offers to break: processes, links, disks,
// clocks, leaderships. Each fault says whom it struck and how it is known that it
// took effect; one whose effect nobody saw makes a run invalid, since a run that
// survived nothing proves nothing.
//
// A fault that only one may do at a time reserves what it needs: nodes with
// testbed.Claim, the network with Arena. So faults of different kinds overlap, and
// none undoes another.
//
// Its caller is jepsen/trial:
//
//	a := nemesis.NewArena(bed, seed)
//	faults := nemesis.Swarm(ctx, a, nemesis.Plan{Kinds: nemesis.Kinds(bed), ...})
package nemesis

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/testbed"
)

// ErrBusy says that somebody else breaks what this fault needs, or that there is
// nothing to break just now: nothing came of it.
var ErrBusy = errors.New("not possible now")

// ErrBroken says that a node, under a fault, did not do what it promises to do then.
var ErrBroken = errors.New("a promise was broken")

func broken(format string, args ...any) error {
	return errors.Mark(errors.Newf(format, args...), ErrBroken)
}

// Nemesis is one fault. Its methods are called once each, in this order.
type Nemesis interface {
	// Inject breaks something, or returns ErrBusy: nothing came of it, and Heal undoes
	// what was begun.
	Inject(ctx context.Context) error
	// Target says what was struck.
	Target() string
	// Heal ends the fault, also after Inject failed half way. It does not wait
	// until the cluster has recovered.
	Heal(ctx context.Context) error
	// Observed says how it is known that the fault took effect. ErrBroken: it did, and
	// the node broke a promise.
	Observed(ctx context.Context) (string, error)
}

// Arena is a testbed with what the faults share. Safe for concurrent use.
type Arena struct {
	*testbed.Testbed
	network sync.Mutex // held by whoever shapes the network

	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

// NewArena prepares faults on a testbed; seed decides the choices.
func NewArena(t *testbed.Testbed, seed uint64) *Arena {
	return &Arena{Testbed: t, rng: rand.New(rand.NewPCG(seed, 0x6e656d65736973))}
}

func (a *Arena) intN(n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rng.IntN(n)
}

// between draws a duration.
func (a *Arena) between(least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return least + time.Duration(a.rng.Int64N(int64(most-least)))
}

// shuffled returns all nodes in random order.
func (a *Arena) shuffled() []int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rng.Perm(a.Size())
}

// ends says whether a node ends by itself. Each wait has a time of its own: that
// another one took long is no reason to cut it short.
func (a *Arena) ends(ctx context.Context, i int, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return a.AwaitEnd(ctx, i) == nil
}

// Who says which nodes a fault strikes.
type Who string

// Whom a fault may strike.
const (
	One      Who = "one"
	Leader   Who = "leader"
	Minority Who = "minority"
	Majority Who = "majority"
	All      Who = "all"
)

// choose picks and claims nodes.
func (a *Arena) choose(by string, who Who) ([]int, error) {
	order := a.shuffled()
	leader, _, err := a.Monitor.Leader()
	if err != nil && who == Leader {
		return nil, errors.Wrap(ErrBusy, "no leader")
	}
	var nodes []int
	switch who {
	case One:
		nodes = order[:1]
	case Leader:
		nodes = []int{leader}
	case Minority:
		nodes = order[:max(1, a.Minority())]
	case Majority:
		nodes = order[:a.Size()/2+1]
	default:
		nodes = order
	}
	slices.Sort(nodes)
	if !a.Claim(by, nodes...) {
		return nil, errors.Wrap(ErrBusy, "nodes are taken")
	}
	for _, i := range nodes {
		if !a.Running(i) {
			a.Release(nodes...)
			return nil, errors.Wrapf(ErrBusy, "%s does not run", a.Name(i))
		}
	}
	return nodes, nil
}
