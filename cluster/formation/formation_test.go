package formation

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/raftnode/transport"
)

const testCluster = 0xc1

func directory(n byte) transport.Incarnation { return transport.Incarnation{15: n} }

// cluster is members that meet in memory.
type cluster struct {
	members []Member
	nodes   []State
	drawn   byte
}

func newCluster(n int) *cluster {
	c := &cluster{}
	for i := range n {
		c.members = append(c.members, Member{uint64(i + 1), fmt.Sprintf("n%d", i+1)})
	}
	c.nodes = make([]State, n)
	for i := range n {
		c.wipe(i)
	}
	return c
}

// wipe gives a node a new, empty directory.
func (c *cluster) wipe(i int) {
	c.drawn++
	c.nodes[i] = New(testCluster, uint64(i+1), directory(c.drawn), c.members)
}

// dial is one exchange of hellos: the dialled node hears first, and answers with what it knows
// then.
func (c *cluster) dial(from, to int) (dialled, accepted error) {
	c.nodes[to], accepted = c.nodes[to].learn(uint64(from+1), c.nodes[from].introduction())
	c.nodes[from], dialled = c.nodes[from].learn(uint64(to+1), c.nodes[to].introduction())
	return dialled, accepted
}

func (c *cluster) mustDial(t *testing.T, from, to int) {
	t.Helper()
	if dialled, accepted := c.dial(from, to); dialled != nil || accepted != nil {
		t.Fatalf("n%d dials n%d: %v; %v", from+1, to+1, dialled, accepted)
	}
}

func (c *cluster) formed() (out []int) {
	for i := range c.nodes {
		if c.nodes[i].Formed() {
			out = append(out, i+1)
		}
	}
	return out
}

func TestFormation(t *testing.T) {
	if c := newCluster(1); !c.nodes[0].Formed() || c.nodes[0].Waiting() != "" {
		t.Error("a cluster of one waits for somebody")
	}
	c := newCluster(3)
	if w := c.nodes[0].Waiting(); !strings.HasPrefix(w, "waiting for n2, n3 to be met once") {
		t.Errorf("n1 says %q", w)
	}
	c.mustDial(t, 0, 1)
	c.mustDial(t, 1, 0)
	if got := c.formed(); got != nil {
		t.Fatalf("%v are formed before anybody has met n3", got)
	}
	if w := c.nodes[1].Waiting(); !strings.HasPrefix(w, "waiting for n3 to be met once") {
		t.Errorf("n2 says %q", w)
	}
	// n2 never meets n3 itself. n1 and n3 know everybody, and still wait for n2.
	c.mustDial(t, 2, 0)
	if got := c.formed(); got != nil {
		t.Fatalf("%v are formed although n2 has not heard of n3", got)
	}
	if w := c.nodes[0].Waiting(); w != "waiting for n2, n3 to confirm that all members have met" {
		t.Errorf("n1 says %q", w)
	}
	for range 2 {
		c.mustDial(t, 2, 0)
		c.mustDial(t, 1, 0)
	}
	c.mustDial(t, 2, 0)
	if got := c.formed(); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("%v are formed, want all: what n2 heard of n3 is enough", got)
	}
}

// TestLostDisk: the cases of a member that comes back with another directory, seen from both ends.
func TestLostDisk(t *testing.T) {
	form := func(c *cluster) {
		for range 3 {
			c.mustDial(t, 0, 1)
			c.mustDial(t, 1, 2)
			c.mustDial(t, 2, 0)
		}
	}
	want := func(err error, words ...string) {
		t.Helper()
		if !errors.Is(err, ErrIncarnation) {
			t.Fatalf("got %v, want a refusal because of the incarnation", err)
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q does not say %q", err, w)
			}
		}
	}
	c := newCluster(3)
	form(c)
	c.wipe(1)
	for range 2 { // whoever dials, and again
		dialled, accepted := c.dial(1, 0)
		want(accepted, "n2 comes with the data directory", "lost its disk", "leave n2 stopped", directory(2).String(), directory(4).String())
		want(dialled, "n1 remembers this node with the data directory", "leave it stopped")
		dialled, accepted = c.dial(2, 1)
		want(dialled, "n2 comes with the data directory")
		want(accepted, "n3 remembers this node")
	}
	if c.nodes[1].Formed() || c.nodes[1].Knows(1) != (transport.Incarnation{}) {
		t.Error("the empty node has learned from those who refuse it")
	}
	if got := c.nodes[0].Knows(2); got != directory(2) {
		t.Errorf("n1 remembers n2 with %s: the first one must stay", got)
	}

	// n1 has met the former n3, n2 the new one: nobody forms, and both say who it is about.
	c = newCluster(3)
	c.mustDial(t, 0, 2)
	c.wipe(2)
	c.mustDial(t, 1, 2)
	dialled, accepted := c.dial(0, 1)
	want(dialled, "n2 remembers n3", "made a second time before all members had met")
	want(accepted, "n1 remembers n3")
	if got := c.formed(); got != nil {
		t.Errorf("%v are formed", got)
	}
}

// TestOneMemory: whatever is lost in whatever order, as long as one member keeps its directory all
// that ever form remember the same directories. Then two majorities of formed members share a
// member that remembers what it acknowledged.
func TestOneMemory(t *testing.T) {
	formations := 0
	for seed := range uint64(1000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		n := 3 + 2*rng.IntN(2)
		c := newCluster(n)
		keeper := rng.IntN(n)
		formedWith := "" // what the first formed member remembers
		for step := range 60 {
			a, b := rng.IntN(n), rng.IntN(n)
			switch {
			case a == b:
			case rng.IntN(12) == 0 && a != keeper:
				c.wipe(a)
			case rng.IntN(3) == 0: // the answer is lost
				c.nodes[b], _ = c.nodes[b].learn(uint64(a+1), c.nodes[a].introduction())
			default:
				_, _ = c.dial(a, b)
			}
			for i, s := range c.nodes {
				if !s.Formed() {
					continue
				}
				var all []string
				for _, m := range c.members {
					all = append(all, s.Knows(m.ID).String())
				}
				if got := strings.Join(all, " "); formedWith == "" {
					formedWith = got
					formations++
				} else if got != formedWith {
					t.Fatalf("seed %d step %d: n%d forms with\n%s\nothers with\n%s", seed, step, i+1, got, formedWith)
				}
			}
		}
	}
	if formations < 100 {
		t.Errorf("%d of 1000 clusters formed: the test shows little", formations)
	}
}

// TestLiarBeforeFormation: a member that names an incarnation which another member never had keeps
// that member out, if the lie is heard first. Both sides say whom it is about. A node that has
// heard the member's own word refuses the lie.
func TestLiarBeforeFormation(t *testing.T) {
	lie := func(c *cluster) transport.Introduction {
		in := c.nodes[0].introduction()
		in.Members = slices.Clone(in.Members)
		in.Members[2].Incarnation = directory(99)
		return in
	}
	c := newCluster(3)
	var err error
	if c.nodes[1], err = c.nodes[1].learn(1, lie(c)); err != nil || c.nodes[1].Knows(3) != directory(99) {
		t.Fatalf("n2 hears of n3 from n1 only, and remembers %s, %v", c.nodes[1].Knows(3), err)
	}
	before := string(c.nodes[1].Marshal())
	dialled, accepted := c.dial(2, 1)
	if !errors.Is(accepted, ErrIncarnation) || !strings.Contains(accepted.Error(), "n3 comes with the data directory") {
		t.Errorf("n3 with its own directory: %v, want a refusal because of the incarnation", accepted)
	}
	if !errors.Is(dialled, ErrIncarnation) || !strings.Contains(dialled.Error(), "n2 remembers this node") {
		t.Errorf("n3 is told %v, want that n2 remembers another directory", dialled)
	}
	if string(c.nodes[1].Marshal()) != before || c.formed() != nil {
		t.Errorf("%v are formed, n2 remembers\n%s", c.formed(), c.nodes[1].Marshal())
	}

	// The own word came first.
	c = newCluster(3)
	c.mustDial(t, 2, 1)
	before = string(c.nodes[1].Marshal())
	if _, err := c.nodes[1].learn(1, lie(c)); !errors.Is(err, ErrIncarnation) || !strings.Contains(err.Error(), "n1 remembers n3") {
		t.Errorf("the lie after n3's own word: %v, want a refusal that names n1 and n3", err)
	}
	if string(c.nodes[1].Marshal()) != before {
		t.Errorf("n2 has learned from the lie:\n%s", c.nodes[1].Marshal())
	}
}

func TestStrangeIntroductions(t *testing.T) {
	c := newCluster(3)
	good := c.nodes[1].introduction()
	edit := func(f func(*transport.Introduction)) transport.Introduction {
		in := good
		in.Members = slices.Clone(good.Members)
		f(&in)
		return in
	}
	for name, x := range map[string]struct {
		in   transport.Introduction
		want string
	}{
		"another cluster": {edit(func(in *transport.Introduction) { in.Cluster++ }), "n2 says that it belongs to cluster 00000000000000c2"},
		"fewer members":   {edit(func(in *transport.Introduction) { in.Members = in.Members[:2] }), "lists the members 1, 2, this node lists 1, 2, 3"},
		"other members":   {edit(func(in *transport.Introduction) { in.Members[2].ID = 9 }), "lists the members 1, 2, 9"},
		"two directories": {edit(func(in *transport.Introduction) { in.Incarnation = directory(99) }), "contradicts itself"},
		"without its own": {edit(func(in *transport.Introduction) {
			in.Incarnation, in.Members[1].Incarnation = transport.Incarnation{}, transport.Incarnation{}
		}), "contradicts itself"},
		"nobody's members": {edit(func(in *transport.Introduction) { in.Members = nil }), "lists the members"},
	} {
		before := string(c.nodes[0].Marshal())
		next, err := c.nodes[0].learn(2, x.in)
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, x.want)
		}
		if string(next.Marshal()) != before {
			t.Errorf("%s: something was learned", name)
		}
	}
	// Who does not remember everybody cannot vouch for anybody.
	next, err := c.nodes[0].learn(2, edit(func(in *transport.Introduction) {
		for i := range in.Members {
			in.Members[i].Complete = true
		}
	}))
	if err != nil || strings.Contains(string(next.Marshal()), "complete") {
		t.Errorf("a claim without ground was believed: %v\n%s", err, next.Marshal())
	}
}

func TestFile(t *testing.T) {
	c := newCluster(3)
	c.mustDial(t, 0, 1)
	const want = `cairn members v1
cluster 00000000000000c1
self 1
member 1 n1 00000000000000000000000000000001 met
member 2 n2 00000000000000000000000000000002 met
member 3 n3 - unmet
crc32c `
	raw := c.nodes[0].Marshal()
	if !strings.HasPrefix(string(raw), want) {
		t.Errorf("the file is\n%swant\n%s…", raw, want)
	}
	back, err := Parse(raw)
	if err != nil || string(back.Marshal()) != string(raw) {
		t.Errorf("read back: %v\n%s", err, back.Marshal())
	}
	if err := back.Check(testCluster, 1, directory(1), c.members); err != nil {
		t.Errorf("its own file: %v", err)
	}
	renamed := slices.Clone(c.members)
	renamed[2].Name = "n9"
	for name, err := range map[string]error{
		"another cluster":   back.Check(testCluster+1, 1, directory(1), c.members),
		"another node":      back.Check(testCluster, 2, directory(2), c.members),
		"another directory": back.Check(testCluster, 1, directory(9), c.members),
		"fewer members":     back.Check(testCluster, 1, directory(1), c.members[:2]),
		"renamed":           back.Check(testCluster, 1, directory(1), renamed),
	} {
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for i := range raw {
		damaged := slices.Clone(raw)
		damaged[i] ^= 1
		if _, err := Parse(damaged); err == nil {
			t.Errorf("byte %d changed: taken", i)
		}
		if _, err := Parse(raw[:i]); err == nil {
			t.Errorf("cut at %d: taken", i)
		}
	}
}

// TestFileOfAnotherHand: a file with a right checksum that Marshal would not write is refused.
func TestFileOfAnotherHand(t *testing.T) {
	c := newCluster(3)
	c.mustDial(t, 0, 1)
	good := string(c.nodes[0].Marshal())
	good = good[:strings.LastIndex(good, "crc32c ")]
	sealed := func(body string) []byte {
		return fmt.Appendf(nil, "%scrc32c %08x\n", body, crc32.Checksum([]byte(body), castagnoli))
	}
	if _, err := Parse(sealed(good)); err != nil {
		t.Fatalf("the file itself: %v", err)
	}
	one, two := directory(1).String(), directory(2).String()
	for name, x := range map[string]struct{ old, new string }{
		"another version":         {magic, "cairn members v2"},
		"no members":              {good[strings.Index(good, "member 1"):], ""},
		"the same member twice":   {"member 3 n3 - unmet\n", "member 3 n3 - unmet\nmember 3 n4 - unmet\n"},
		"members out of order":    {"member 1", "member 4"},
		"without its own":         {"self 1", "self 9"},
		"its own unmet":           {"member 1 n1 " + one + " met", "member 1 n1 - unmet"},
		"an incarnation of zero":  {two, transport.Incarnation{}.String()},
		"a short incarnation":     {two, two[2:]},
		"no hexadecimal digits":   {two, strings.Repeat("xy", 16)},
		"capital letters":         {two, strings.Repeat("AB", 16)},
		"met without incarnation": {"member 3 n3 - unmet", "member 3 n3 - met"},
		"unmet with incarnation":  {two + " met", two + " unmet"},
		"an unknown word":         {two + " met", two + " seen"},
		"a word too many":         {two + " met", two + " met twice"},
		"a word behind the self":  {"self 1", "self 1 2"},
		"a short cluster":         {"cluster 00000000000000c1", "cluster c1"},
		"a leading zero":          {"member 2", "member 02"},
		"two spaces":              {"member 2", "member  2"},
		"an empty line":           {"member 2", "\nmember 2"},
	} {
		body := strings.Replace(good, x.old, x.new, 1)
		if body == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		if s, err := Parse(sealed(body)); err == nil {
			t.Errorf("%s: taken, and written as\n%s", name, s.Marshal())
		}
	}
	if _, err := Parse(append(sealed(good), '\n')); err == nil {
		t.Error("a line behind the checksum: taken")
	}
}

// TestParseIncarnation takes 32 hexadecimal digits that are not all zero, and nothing else.
func TestParseIncarnation(t *testing.T) {
	want := transport.Incarnation{0: 0xab, 15: 1}
	if got, err := ParseIncarnation(want.String()); err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	for _, bad := range []string{"", strings.Repeat("0", 32), want.String()[2:], want.String() + "00", "0x" + want.String()[2:], " " + want.String()[1:]} {
		if got, err := ParseIncarnation(bad); err == nil {
			t.Errorf("%q is taken for %s", bad, got)
		}
	}
}

// TestOrderOfTheConfiguration is of no account: an introduction lists the members by ascending ID,
// and the file fits a configuration that lists them otherwise.
func TestOrderOfTheConfiguration(t *testing.T) {
	ascending := newCluster(3)
	shuffled := []Member{ascending.members[2], ascending.members[0], ascending.members[1]}
	s := New(testCluster, 1, directory(1), shuffled)
	if got, want := s.introduction(), ascending.nodes[0].introduction(); !reflect.DeepEqual(got, want) {
		t.Errorf("introduction %+v, want %+v", got, want)
	}
	if err := s.Check(testCluster, 1, directory(1), ascending.members); err != nil {
		t.Error(err)
	}
	if _, err := s.learn(2, ascending.nodes[1].introduction()); err != nil {
		t.Error(err)
	}
}

// TestMemory: what is told has been written before. A disk that fails ends all learning.
func TestMemory(t *testing.T) {
	c := newCluster(2)
	var disk []byte
	var broken error
	var fatal []error
	m := NewMemory(Options{
		State:   c.nodes[0],
		Persist: func(b []byte) error { disk = b; return broken },
		Fatal:   func(err error) { fatal = append(fatal, err) },
		Met:     func(uint64, error) {},
	})
	broken = errors.New("input/output error")
	if changed, err := m.Meet(2, c.nodes[1].introduction()); changed || !errors.Is(err, broken) || len(fatal) != 1 {
		t.Errorf("changed %t, %v, fatal %v; want the disk's error", changed, err, fatal)
	}
	if m.Formed() || m.State().Knows(2) != (transport.Incarnation{}) {
		t.Error("something is known that may not be on the disk")
	}
	if _, err := m.Meet(2, c.nodes[1].introduction()); err == nil {
		t.Error("learned after a failed write")
	}
	broken = nil
	if changed, err := m.Meet(2, c.nodes[1].introduction()); changed || err == nil || m.Formed() || len(fatal) != 1 {
		t.Errorf("the disk that failed writes again: changed %t, %v, fatal %v; want no more learning", changed, err, fatal)
	}
	var met []error
	m = NewMemory(Options{State: c.nodes[0], Persist: func(b []byte) error {
		if m.Formed() {
			t.Error("formed before it was written")
		}
		disk = b
		return nil
	}, Met: func(_ uint64, err error) { met = append(met, err) }})
	c.nodes[1], _ = c.nodes[1].learn(1, m.Introduce())
	if changed, err := m.Meet(2, c.nodes[1].introduction()); !changed || err != nil || !m.Formed() {
		t.Errorf("changed %t, %v, formed %t", changed, err, m.Formed())
	}
	if string(disk) != string(m.State().Marshal()) {
		t.Errorf("the disk holds\n%s", disk)
	}
	disk = nil
	if changed, err := m.Meet(2, c.nodes[1].introduction()); changed || err != nil || disk != nil {
		t.Errorf("nothing new: changed %t, %v, written %t", changed, err, disk != nil)
	}
	stranger := c.nodes[1].introduction()
	stranger.Cluster++
	if _, err := m.Meet(2, stranger); !errors.Is(err, ErrOtherCluster) {
		t.Errorf("a node of another cluster: %v", err)
	}
	if len(met) != 3 || met[0] != nil || met[1] != nil || !errors.Is(met[2], ErrOtherCluster) {
		t.Errorf("Met was told %v of three introductions, want two successes and a refusal", met)
	}
	if again, err := Parse(m.State().Marshal()); err != nil || !NewMemory(Options{State: again}).Formed() {
		t.Errorf("after a restart it has to form again: %v", err)
	}
}

// TestFeatureLevelOfAll: it is that of the oldest program, and 0 while a member has not been met since
// the start. A member that comes back with an older program lowers it.
func TestFeatureLevelOfAll(t *testing.T) {
	members := []Member{{1, "n1"}, {2, "n2"}, {3, "n3"}}
	own := transport.Incarnation{1}
	m := NewMemory(Options{
		State: New(7, 1, own, members), FeatureLevel: 5,
		Persist: func([]byte) error { return nil }, Met: func(uint64, error) {},
	})
	if in := m.Introduce(); in.FeatureLevel != 5 {
		t.Errorf("the node says that it knows level %d, want 5", in.FeatureLevel)
	}
	for _, x := range []struct {
		peer        uint64
		level, want uint32
	}{{2, 4, 0}, {3, 9, 4}, {2, 6, 5}, {3, 2, 2}} {
		in := New(7, x.peer, transport.Incarnation{byte(x.peer)}, members).introduction()
		in.FeatureLevel = x.level
		if _, err := m.Meet(x.peer, in); err != nil {
			t.Fatal(err)
		}
		if got := m.FeatureLevel([]uint64{2, 3}); got != x.want {
			t.Errorf("after %d said %d: all know %d, want %d", x.peer, x.level, got, x.want)
		}
	}
}
