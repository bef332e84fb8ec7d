package seal

import (
	"errors"
	"maps"
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
	// Objections that do not count: to another size or by nobody with a vote, the same one again, and one that agrees.
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

// TestContradicted: a replica that gives no effect to blocks because of their anchor stops when a majority has signed
// that anchor, in whatever order it learns both. An anchor that nobody has signed stops nobody.
func TestContradicted(t *testing.T) {
	t.Parallel()
	sealedAt := func(size uint64) []byte {
		c := newCluster(t, 3)
		c.step(1, Leader{true})
		c.growAll(size)
		c.settle()
		c.wantSealed(size)
		return message{kind: kindSealed, data: c.nodes[1].Newest().Note}.marshal()
	}
	older, note := sealedAt(8), sealedAt(9)
	said := Contradicted{Size: 9, Root: trueRoot(9)}
	for name, x := range map[string]struct {
		events []Event
		want   bool
	}{
		"block, then checkpoint":       {[]Event{said, Received{From: 1, Payload: note}}, true},
		"checkpoint, then block":       {[]Event{Received{From: 1, Payload: note}, said}, true},
		"newer checkpoint, then block": {[]Event{Received{From: 1, Payload: older}, Received{From: 1, Payload: note}, Contradicted{Size: 8, Root: trueRoot(8)}}, true},
		"a lie about the root":         {[]Event{Received{From: 1, Payload: note}, Contradicted{Size: 9, Root: trueRoot(1)}}, false},
		"a lie about the size":         {[]Event{Received{From: 1, Payload: note}, Contradicted{Size: 1 << 60, Root: trueRoot(9)}}, false},
		"only the block":               {[]Event{said}, false},
		"only the checkpoint":          {[]Event{Received{From: 1, Payload: note}}, false},
	} {
		c := newCluster(t, 3)
		c.step(3, Applied{5}) // and no further: the blocks that follow have no effect on it
		for _, e := range x.events {
			c.step(3, e)
		}
		o := c.nodes[3].outvoted
		if got := len(o) == 1; got != x.want {
			t.Errorf("%s: outvoted %+v, want %t", name, o, x.want)
		}
	}
}
