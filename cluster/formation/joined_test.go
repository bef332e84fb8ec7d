package formation

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/raftnode/transport"
)

// TestJoined: a node that is no founder takes part at once, remembers founders by their own word alone,
// and teaches the founders nothing.
func TestJoined(t *testing.T) {
	c := newCluster(3)
	for _, pair := range [][2]int{{0, 1}, {1, 2}, {0, 2}, {0, 1}, {1, 2}, {0, 2}} {
		c.mustDial(t, pair[0], pair[1])
	}
	members := []Member{{1, "n1"}, {2, "n2"}, {3, "n3"}}
	own := directory(4)
	s := New(c.nodes[0].cluster, 4, own, members)
	if !s.Formed() || s.Waiting() != "" || s.Knows(4) != own {
		t.Errorf("a node that joined: formed %t, %q, knows itself with %s", s.Formed(), s.Waiting(), s.Knows(4))
	}
	before := c.nodes[0].Marshal()
	taught, err := c.nodes[0].learn(4, s.introduction())
	if err != nil || !bytes.Equal(taught.Marshal(), before) {
		t.Errorf("a founder meets it: %v, and remembers\n%s", err, taught.Marshal())
	}
	if s, err = s.learn(1, c.nodes[0].introduction()); err != nil {
		t.Fatal(err)
	}
	if s.Knows(1) != c.nodes[0].own || s.Knows(2) != (transport.Incarnation{}) {
		t.Errorf("after meeting n1 it remembers n1 with %s and n2 with %s", s.Knows(1), s.Knows(2))
	}
	again, err := Parse(s.Marshal())
	if err != nil || !bytes.Equal(again.Marshal(), s.Marshal()) || again.Check(s.cluster, 4, own, members) != nil {
		t.Errorf("its file\n%s\ncomes back as\n%s, %v", s.Marshal(), again.Marshal(), err)
	}
	if again.Check(s.cluster, 4, directory(5), members) == nil {
		t.Error("the file of another data directory is its own")
	}
	c.wipe(0)
	if _, err := s.learn(1, c.nodes[0].introduction()); !errors.Is(err, ErrIncarnation) {
		t.Errorf("a founder with another data directory: %v", err)
	}
	nameless := s.introduction()
	nameless.Incarnation = transport.Incarnation{}
	if _, err := c.nodes[1].learn(4, nameless); err == nil {
		t.Error("a node without a data directory is met")
	}
}
