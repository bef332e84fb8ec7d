package seal

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/merkle"
)

func TestDivergedLeaderIsNotSigned(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.nodes[1].cfg.RootAt = func(size uint64) (merkle.Hash, error) { return trueRoot(size + 1000), nil }
	c.start(1)
	c.step(1, Leader{true})
	c.growAll(5)
	c.settle()
	c.wantSealed(0)
	if len(c.problems) == 0 || !errors.Is(c.problems[0], ErrRootMismatch) {
		t.Fatalf("problems: %v", c.problems)
	}
}

// TestOutvoted: whoever is alone with its root learns it, and nobody else does.
func TestOutvoted(t *testing.T) {
	t.Parallel()
	wrong := func(size uint64) (merkle.Hash, error) { return trueRoot(size + 1000), nil }
	for name, s := range map[string]struct {
		nodes    int
		diverged []uint64
		want     []uint64
	}{
		"the leader, of three":       {3, []uint64{1}, []uint64{1}},
		"the leader, of five":        {5, []uint64{1}, []uint64{1}},
		"a follower":                 {3, []uint64{3}, []uint64{3}},
		"leader and follower":        {5, []uint64{1, 2}, []uint64{1}}, // the follower learns it from the next leader
		"two followers, of five":     {5, []uint64{4, 5}, []uint64{4, 5}},
		"one of two, and no verdict": {2, []uint64{1}, nil},
		"nobody":                     {3, nil, nil},
	} {
		c := newCluster(t, s.nodes)
		for _, id := range s.diverged {
			c.nodes[id].cfg.RootAt = wrong
			c.start(id)
		}
		c.step(1, Leader{true})
		c.growAll(5)
		c.settle()
		var got []uint64
		for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
			if o := c.nodes[id].outvoted; len(o) > 0 {
				got = append(got, id)
				if o[0] != (Outvoted{Size: 5, Ours: trueRoot(1005), Theirs: trueRoot(5)}) {
					t.Errorf("%s: node %d: %+v", name, id, o[0])
				}
			}
		}
		if !slices.Equal(got, s.want) {
			t.Errorf("%s: nodes %v were outvoted, want %v", name, got, s.want)
		}
	}
	// Objections that do not count: to another size or by nobody with a vote, the same one again,
	// and one that agrees.
	c := newCluster(t, 5)
	c.step(1, Leader{true})
	c.growAll(5)
	for _, m := range []delivery{
		{from: 2, payload: message{kind: kindObjection, size: 4, root: trueRoot(9)}.marshal()},
		{from: 3, payload: message{kind: kindObjection, size: 5, root: trueRoot(5)}.marshal()},
		{from: 9, payload: message{kind: kindObjection, size: 5, root: trueRoot(9)}.marshal()},
		{from: 4, payload: message{kind: kindObjection, size: 5, root: trueRoot(9)}.marshal()},
		{from: 4, payload: message{kind: kindObjection, size: 5, root: trueRoot(9)}.marshal()},
		{from: 5, payload: message{kind: kindObjection, size: 5, root: trueRoot(9)}.marshal()},
	} {
		m.to = 1
		c.deliver(m)
		if o := c.nodes[1].outvoted; len(o) > 0 {
			t.Fatalf("two of five outvoted the leader: %+v", o)
		}
	}
	c.deliver(delivery{from: 2, to: 1, payload: message{kind: kindObjection, size: 5, root: trueRoot(9)}.marshal()})
	if o := c.nodes[1].outvoted; len(o) != 1 || o[0].Theirs != trueRoot(9) {
		t.Errorf("three of five did not outvote the leader: %+v", o)
	}
}

// TestDoubt: a replica that gives no effect to blocks because of their anchor asks the others, and
// stops when a majority had another ledger at a raft index that it has applied. What a lying
// proposer or one lying voter says stops nobody.
func TestDoubt(t *testing.T) {
	t.Parallel()
	at := func(from, index, size uint64, root merkle.Hash) Event {
		return Received{From: from, Payload: message{kind: kindPosition, last: index, size: size, root: root}.marshal()}
	}
	type events = []Event
	for name, x := range map[string]struct {
		events   []Event
		want     *Outvoted
		resolved bool
	}{
		"only the block":                       {events: events{Contradicted{}}},
		"only the others":                      {events: events{at(1, 7, 9, trueRoot(9)), at(2, 7, 9, trueRoot(9))}, resolved: true},
		"a ledger that stopped":                {events: events{Contradicted{}, at(1, 7, 9, trueRoot(9)), at(2, 7, 9, trueRoot(9))}, want: &Outvoted{Size: 9, Theirs: trueRoot(9)}},
		"another ledger":                       {events: events{Contradicted{}, at(1, 7, 4, trueRoot(1)), at(2, 7, 4, trueRoot(1))}, want: &Outvoted{Size: 4, Ours: trueRoot(4), Theirs: trueRoot(1)}},
		"one voter, twice":                     {events: events{Contradicted{}, at(1, 7, 9, trueRoot(9)), at(1, 7, 9, trueRoot(9))}},
		"one voter and a learner":              {events: events{Contradicted{}, at(1, 7, 9, trueRoot(9)), at(4, 7, 9, trueRoot(9))}},
		"the same ledger":                      {events: events{Contradicted{}, at(1, 7, 5, trueRoot(5))}, resolved: true},
		"a liar, and one who agrees":           {events: events{Contradicted{}, at(1, 7, 9, trueRoot(9)), at(2, 7, 5, trueRoot(5))}, resolved: true},
		"as it was before the block":           {events: events{Contradicted{}, at(1, 6, 5, trueRoot(5)), at(2, 6, 5, trueRoot(5))}},
		"further than this replica":            {events: events{Contradicted{}, at(1, 8, 9, trueRoot(9)), at(2, 8, 9, trueRoot(9))}},
		"further, and then this one is there":  {events: events{Contradicted{}, at(1, 8, 9, trueRoot(9)), at(2, 8, 9, trueRoot(9)), Applied{9, 8}}, resolved: true},
		"further, and this one remains behind": {events: events{Contradicted{}, at(1, 8, 9, trueRoot(9)), at(2, 8, 9, trueRoot(9)), Applied{5, 8}}, want: &Outvoted{Size: 9, Theirs: trueRoot(9)}},
		"a size that nobody has":               {events: events{Contradicted{}, at(1, 7, 1<<60, merkle.Hash{})}},
	} {
		c := newCluster(t, 3, 4)
		nd := c.nodes[3]
		nd.cfg.RootAt = func(size uint64) (merkle.Hash, error) { return trueRoot(size), nil }
		c.start(3)
		c.step(3, Applied{5, 7})
		for _, e := range x.events {
			c.step(3, e)
		}
		var got *Outvoted
		if len(nd.outvoted) > 0 {
			got = &nd.outvoted[0]
		}
		if !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: outvoted %+v, want %+v", name, got, x.want)
		}
		_, waits := nd.Deadline()
		if asks := len(c.sent(1, kindAsk)) > 0; got == nil && (waits == x.resolved || asks == (name == "only the others")) {
			t.Errorf("%s: doubts %t, has asked %t", name, waits, asks)
		}
	}
}

// TestDoubtGoesOn: a replica asks again until it knows, and its question finds the answer.
func TestDoubtGoesOn(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.step(1, Leader{true})
	c.growAll(5)
	c.settle()
	c.step(3, Contradicted{})
	c.wire = nil // lost
	c.tick(DefaultShow - 1)
	if asked := c.sent(1, kindAsk); len(asked) != 0 {
		t.Errorf("it asked again too early: %v", asked)
	}
	c.settle()
	c.grow(1, 6)
	c.grow(2, 6)
	c.step(3, Applied{5, 6}) // the block has no effect here
	c.tick(1)
	c.settle()
	if o := c.nodes[3].outvoted; len(o) != 1 || o[0].Size != 6 || o[0].Theirs != trueRoot(6) {
		t.Errorf("outvoted %+v", o)
	}
	for _, id := range []uint64{1, 2} {
		if o := c.nodes[id].outvoted; len(o) > 0 {
			t.Errorf("node %d was outvoted: %+v", id, o)
		}
	}
}
