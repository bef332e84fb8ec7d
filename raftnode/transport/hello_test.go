package transport

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
)

const testCluster = 0xc1

// acquainted is a Membership that takes everybody, unless it is told otherwise.
type acquainted struct {
	mu      sync.Mutex
	version byte // what Introduce says of this node
	refuse  error
	unmet   bool
	heard   []string
}

func (a *acquainted) Introduce() Introduction {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Introduction{Cluster: testCluster, Incarnation: Incarnation{a.version}}
}

func (a *acquainted) Meet(peer NodeID, in Introduction) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	heard := fmt.Sprintf("%d says %d", peer, in.Incarnation[0])
	if a.refuse != nil || slices.Contains(a.heard, heard) {
		return false, a.refuse
	}
	a.heard = append(a.heard, heard)
	return true, nil
}

func (a *acquainted) Formed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.unmet
}

func (a *acquainted) set(f func(*acquainted)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(a)
}

func (a *acquainted) has(heard string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.heard, heard)
}

// acquaintedPair is two nodes whose memberships the test controls. They are started by the caller.
func acquaintedPair(t *testing.T) (*pair, map[NodeID]*acquainted) {
	members := map[NodeID]*acquainted{1: {version: 11}, 2: {version: 12}}
	p := &pair{t: t, addrs: map[NodeID]string{}, recorders: map[NodeID]*recorder{}, nodes: map[NodeID]*Transport{}}
	p.change = func(c *Config) { c.Membership = members[c.Self] }
	return p, members
}

func (p *pair) startBoth() {
	listeners := map[NodeID]net.Listener{}
	for id := NodeID(1); id <= 2; id++ {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			p.t.Fatal(err)
		}
		listeners[id], p.addrs[id] = ln, ln.Addr().String()
	}
	for id := NodeID(1); id <= 2; id++ {
		p.start(id, listeners[id])
	}
}

// TestIntroductions: both ends introduce themselves before anything else, and again when they know
// more.
func TestIntroductions(t *testing.T) {
	t.Parallel()
	p, members := acquaintedPair(t)
	p.startBoth()
	p.connected()
	if !members[1].has("2 says 12") || !members[2].has("1 says 11") {
		t.Fatalf("connected without an introduction: %q, %q", members[1].heard, members[2].heard)
	}
	// Node 1 learns something. Node 2 is told on the connection that stands.
	members[1].set(func(a *acquainted) { a.version = 21 })
	if err := p.nodes[1].meet(2, Introduction{Incarnation: Incarnation{99}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "node 2 is told the news", func() bool { return members[2].has("1 says 21") })
	for _, s := range p.nodes[1].Stats() {
		if s.Connects > 1 {
			t.Errorf("a new connection was made: %+v", s)
		}
	}
}

// TestNotFormed: a node that is not formed neither sends nor takes messages.
func TestNotFormed(t *testing.T) {
	t.Parallel()
	p, members := acquaintedPair(t)
	members[2].unmet = true
	p.startBoth()
	p.connected()
	vote := testMessages()[3]
	back := testMessages()[3]
	back.From, back.To = vote.To, vote.From
	dropped := func(id NodeID) (n uint64) {
		for _, s := range p.nodes[id].Stats() {
			if s.Class == "control" {
				n += s.Dropped
			}
		}
		return n
	}
	p.nodes[1].SendRaft(1, vote)
	p.nodes[1].SendRaft(1, heartbeat(7, 1))
	p.nodes[1].Flush(true)
	p.nodes[1].SendApp(1, 2, []byte("too early"))
	p.nodes[2].SendRaft(1, back)
	p.nodes[2].SendApp(1, 1, []byte("too early"))
	eventually(t, "five messages are dropped", func() bool { return dropped(2) == 5 })
	members[2].set(func(a *acquainted) { a.unmet = false })
	p.nodes[1].SendApp(1, 2, []byte("formed"))
	p.nodes[2].SendApp(1, 1, []byte("formed"))
	eventually(t, "messages flow", func() bool { return p.recorders[2].has("app 1 formed") && p.recorders[1].has("app 2 formed") })
	for id, r := range p.recorders {
		if len(r.messages()) != 0 || r.has("app 1 too early") || r.has("app 2 too early") {
			t.Errorf("node %d was given what came before it was formed: %v %q", id, r.messages(), r.events)
		}
	}
}

// TestRefusedIntroduction: no message passes between nodes of which one refuses the other, whoever
// dialled. The refused node still learns from the answer with whom it speaks.
func TestRefusedIntroduction(t *testing.T) {
	t.Parallel()
	p, members := acquaintedPair(t)
	members[2].refuse = errors.New("another data directory")
	p.startBoth()
	eventually(t, "the refusal is logged, and node 1 has heard node 2", func() bool {
		p.logs.mu.Lock()
		defer p.logs.mu.Unlock()
		return members[1].has("2 says 12") && slices.ContainsFunc(p.logs.events, func(e string) bool { return strings.Contains(e, "another data directory") })
	})
	for range 20 {
		p.nodes[1].SendApp(1, 2, []byte("x"))
		p.nodes[2].SendApp(1, 1, []byte("x"))
		time.Sleep(5 * time.Millisecond)
	}
	for id, r := range p.recorders {
		if r.has("app 1 x") || r.has("app 2 x") {
			t.Errorf("node %d got a message", id)
		}
	}
}

// TestInquire: a member answers an inquiry with what it knows, and remembers nothing of who asked.
func TestInquire(t *testing.T) {
	t.Parallel()
	p, members := acquaintedPair(t)
	p.startBoth()
	p.connected()
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	conn, err := plainDial(1)(ctx, 2, p.addrs[2])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := Inquire(ctx, conn, testCluster, 1, 2)
	if want := (Introduction{Cluster: testCluster, Incarnation: Incarnation{12}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the answer is %+v, %v; want %+v", got, err, want)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on after the answer")
	}
	if members[2].has("1 says 0") { // an inquiry names no incarnation; node 1 itself says 11
		t.Error("an inquiry was taken for an introduction")
	}
	p.nodes[1].SendApp(1, 2, []byte("still here"))
	eventually(t, "the member's own connections stand", func() bool { return p.recorders[2].has("app 1 still here") })
	for _, s := range p.nodes[2].Stats() {
		if s.Connects > 1 {
			t.Errorf("the inquiry displaced a connection: %+v", s)
		}
	}
}

func TestHelloRefusals(t *testing.T) {
	t.Parallel()
	good := hello{classControl, 1, 2, Introduction{Cluster: testCluster, Incarnation: Incarnation{7}, Members: []Acquaintance{
		{ID: 1, Incarnation: Incarnation{7}, Complete: true}, {ID: 2}, {ID: 9, Incarnation: Incarnation{15: 1}},
	}}}
	frame := good.appendFrame(nil)
	payload := frame[headerSize:]
	h := header{kind: kindHello, length: len(payload)}
	if back, err := parseHello(h, payload); err != nil || !reflect.DeepEqual(back, good) {
		t.Fatalf("%+v, %v; want %+v", back, err, good)
	}
	for name, change := range map[string]func([]byte) []byte{
		"class 0":             func(b []byte) []byte { b[0] = 0; return b },
		"class 4":             func(b []byte) []byte { b[0] = 4; return b },
		"reserved byte":       func(b []byte) []byte { b[3] = 1; return b },
		"a member too many":   func(b []byte) []byte { b[48]++; return b },
		"a member too few":    func(b []byte) []byte { b[48]--; return b },
		"2^56 members":        func(b []byte) []byte { b[55] = 1; return b },
		"65 members":          func(b []byte) []byte { b[48] = 65; return append(b, make([]byte, 62*memberSize)...) },
		"a byte more":         func(b []byte) []byte { return append(b, 0) },
		"short":               func(b []byte) []byte { return b[:helloSize-1] },
		"the same id twice":   func(b []byte) []byte { b[helloSize+memberSize] = 1; return b },
		"id 0":                func(b []byte) []byte { b[helloSize] = 0; return b },
		"unknown member flag": func(b []byte) []byte { b[helloSize+24] = 2; return b },
		"high member flag":    func(b []byte) []byte { b[helloSize+31] = 1; return b },
	} {
		if hi, err := parseHello(h, change(slices.Clone(payload))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v; want a refusal", name, hi, err)
		}
	}
	if _, err := readHello(strings.NewReader(string(frame)), 1, 3); err == nil {
		t.Error("a hello to somebody else was taken")
	}
	if _, err := readHello(strings.NewReader(string(frame)), 3, 2); err == nil {
		t.Error("a hello of somebody else was taken")
	}
}
