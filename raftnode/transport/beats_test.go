package transport

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// heartbeat is one of node 1 to node 2 that confirms no reads.
func heartbeat(term, commit uint64) *raftpb.Message {
	return Beat{Term: term, Commit: commit}.Message(1, 2)
}

// TestBeatRoundTrip: a frame of beats becomes the messages that it was made of, and only a message
// that it can carry whole is put into one.
func TestBeatRoundTrip(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	for _, kind := range []frameKind{kindBeats, kindBeatAnswers} {
		var want round
		for range 500 {
			b := beat{rng.Uint64() >> rng.IntN(64), Beat{Term: 1 + rng.Uint64()>>(1+rng.IntN(63)), Answer: kind == kindBeatAnswers}}
			if !b.Answer {
				b.Commit = rng.Uint64() >> rng.IntN(64)
			}
			want = want.put(b)
		}
		h, payload, err := readFrame(bytes.NewReader(appendBeatsFrame(nil, kind, want)), MaxControlPayload)
		if err != nil || h.kind != kind || h.group != 0 {
			t.Fatalf("header %+v, %v", h, err)
		}
		got, err := parseBeats(kind, payload)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("kind %d: %v, got other beats than were sent", kind, err)
		}
		for _, b := range got {
			if again, ok := BeatOf(b.Message(1, 2)); !ok || again != b.Beat {
				t.Fatalf("beat %+v became a message, and that %+v: %t", b.Beat, again, ok)
			}
		}
	}
	typ := raftpb.MsgHeartbeatResp
	answer := func(change func(m *raftpb.Message)) *raftpb.Message {
		return edit(Beat{Term: 7, Answer: true}.Message(1, 2), change)
	}
	for _, m := range append(testMessages()[:8],
		edit(heartbeat(7, 1), func(m *raftpb.Message) { m.Context = []byte{1} }),
		edit(heartbeat(7, 1), func(m *raftpb.Message) { m.Index = ptr(uint64(1)) }),
		answer(func(m *raftpb.Message) { m.Commit = ptr(uint64(1)) }),
		answer(func(m *raftpb.Message) { m.LogTerm = ptr(uint64(1)) }),
		answer(func(m *raftpb.Message) { m.RejectHint = ptr(uint64(1)) }),
		answer(func(m *raftpb.Message) { m.Reject = ptr(true) }),
		&raftpb.Message{Type: &typ, Term: ptr(uint64(1)), Entries: []*raftpb.Entry{testEntry(1, 1, "")}},
	) {
		if _, ok := BeatOf(m); ok {
			t.Errorf("a beat is to stand for %v", m)
		}
	}
}

// TestMalformedBeats: what no honest node writes is refused, and no number of beats makes the
// receiver allocate more than the frame has bytes for.
func TestMalformedBeats(t *testing.T) {
	t.Parallel()
	payload := func(count uint32, numbers ...uint64) []byte {
		b := binary.LittleEndian.AppendUint32(nil, count)
		for _, n := range numbers {
			b = binary.AppendUvarint(b, n)
		}
		return b
	}
	many := payload(maxBeats+1, 1, 1)
	for range maxBeats {
		many = append(many, 1, 1)
	}
	if _, err := parseBeats(kindBeatAnswers, append(payload(maxBeats), many[4:4+2*maxBeats]...)); err != nil {
		t.Errorf("%d beats: %v", maxBeats, err)
	}
	good := payload(2, 5, 1, 9, 3, 1, 9)
	if _, err := parseBeats(kindBeats, good); err != nil {
		t.Errorf("two beats: %v", err)
	}
	for name, b := range map[string][]byte{
		"nothing":               {},
		"half a count":          {1, 0, 0},
		"no beat":               payload(0),
		"more than its bytes":   payload(1<<32-1, 1, 1, 1),
		"one too many":          many,
		"a cut number":          good[:len(good)-1],
		"fewer than its bytes":  payload(1, 5, 1, 9, 3, 1, 9),
		"the same group twice":  payload(2, 5, 1, 9, 0, 1, 9),
		"a group beyond 2^64":   payload(2, 5, 1, 9, 1<<64-5, 1, 9),
		"no term":               payload(2, 5, 1, 9, 3, 0, 9),
		"a long form of 1":      append(payload(1, 5, 1), 0x81, 0x00),
		"a number beyond 2^64":  append(payload(1, 5, 1), 255, 255, 255, 255, 255, 255, 255, 255, 255, 2),
		"a number of 11 bytes":  append(payload(1, 5, 1), 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 1),
		"a number without end":  append(payload(1, 5, 1), 128),
		"an answer's two parts": payload(2, 5, 1, 3, 1),
	} {
		if _, err := parseBeats(kindBeats, b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
	}
}

// TestMalformedBeatsEndTheConnection: beats come on a control connection, under no group, and whole.
func TestMalformedBeatsEndTheConnection(t *testing.T) {
	t.Parallel()
	frame := appendBeatsFrame(nil, kindBeats, round{{1, Beat{Term: 7}}})
	reseal := func(b []byte) []byte { sealFrame(b); return b }
	for name, bad := range map[string]struct {
		class class
		frame []byte
	}{
		"on a bulk connection": {classBulk, frame},
		"of a group":           {classControl, reseal(set(frame, 8, 1))},
		"without a term":       {classControl, reseal(set(frame, headerSize+5, 0))},
	} {
		_, r, dial := listening(t, &acquainted{}, nil)
		conn := dial()
		if _, err := greet(conn, bad.class, 1, 2, Introduction{Cluster: testCluster}, time.Now().Add(testWait)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(bad.frame); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(testWait))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stands, %v", name, err)
		}
		if ms := r.messages(); len(ms) != 0 {
			t.Errorf("%s: %d messages were delivered", name, len(ms))
		}
	}
}

// answering is a handler that answers each heartbeat at once, as a member does.
type answering struct {
	recorder
	tr *Transport
}

func (a *answering) HandleBeat(group uint64, from NodeID, b Beat) {
	a.recorder.HandleBeat(group, from, b)
	answer := Beat{Term: b.Term, Answer: true}
	switch {
	case b.Answer:
	case group%20 == 0:
		a.tr.SendRaft(group, answer.Message(3-from, from))
	default:
		a.tr.SendBeat(group, from, answer)
	}
}

// TestBeatsLeaveInRounds: the heartbeats of many groups leave in one frame, with the Flush and not
// before, and reach each its own group. So do the answers. Of two heartbeats of a group the newer
// one leaves.
func TestBeatsLeaveInRounds(t *testing.T) {
	t.Parallel()
	const groups = 100
	p := newPair(t, func(cfg *Config) { cfg.ClockInterval = time.Hour })
	eventually(t, "the clocks are known", func() bool { return len(p.nodes[1].Clocks())+len(p.nodes[2].Clocks()) == 2 })
	handlers := map[NodeID][]*answering{}
	for id, tr := range p.nodes {
		for g := range uint64(groups) {
			a := &answering{tr: tr}
			handlers[id] = append(handlers[id], a)
			tr.Register(10*g, a)
		}
	}
	frames := func() (sent uint64) {
		for _, s := range append(p.nodes[1].Stats(), p.nodes[2].Stats()...) {
			if !s.Inbound && s.Class == "control" {
				sent += s.Frames
			}
		}
		return sent
	}
	send := func(term uint64) {
		for _, g := range rand.Perm(groups) {
			b := Beat{Term: term + uint64(g), Commit: uint64(g)}
			if g%3 == 0 {
				p.nodes[1].SendRaft(uint64(10*g), b.Message(1, 2))
			} else {
				p.nodes[1].SendBeat(uint64(10*g), 2, b)
			}
		}
	}
	send(1)
	p.nodes[1].SendApp(1, 2, []byte("no beat")) // wakes the sender: the round is not complete
	eventually(t, "what is no beat arrives", func() bool { return p.recorders[2].has("app 1 no beat") })
	send(1000)
	if n := len(handlers[2][0].messages()); n != 0 {
		t.Errorf("%d heartbeats of a group have left before the round was complete", n)
	}
	before := frames()
	p.nodes[1].Flush(true)
	eventually(t, "as many heartbeats as groups", func() bool {
		n := 0
		for _, a := range handlers[2] {
			n += len(a.messages())
		}
		return n == groups
	})
	p.nodes[2].Flush(true)
	eventually(t, "as many answers as groups", func() bool {
		n := 0
		for _, a := range handlers[1] {
			n += len(a.messages())
		}
		return n == groups
	})
	for g := range groups {
		want := heartbeat(1000+uint64(g), uint64(g))
		if got := handlers[2][g].messages(); len(got) != 1 || !proto.Equal(got[0], want) {
			t.Errorf("group %d heard %v, want %v", g, got, want)
		}
		want = Beat{Term: 1000 + uint64(g), Answer: true}.Message(2, 1)
		if got := handlers[1][g].messages(); len(got) != 1 || !proto.Equal(got[0], want) {
			t.Errorf("group %d was answered %v, want %v", g, got, want)
		}
	}
	if n := frames() - before; n != 2 {
		t.Errorf("%d frames were sent, want one with %d heartbeats and one with the answers", n, groups)
	}
}

// TestRoundIsWhole: more beats than a frame may have leave in several frames, and a round keeps
// each group once, in whatever order they come.
func TestRoundIsWhole(t *testing.T) {
	t.Parallel()
	tr := New(Config{Self: 1, Peers: map[NodeID]string{2: "unused"}, Membership: &acquainted{}})
	o := tr.peer(2).out[classControl.index()]
	put := func(groups ...int) {
		for _, g := range groups {
			tr.SendRaft(uint64(g), heartbeat(7, uint64(g)))
		}
	}
	put(1)
	tr.Flush(true)
	if n := o.take(); !n.empty() {
		t.Errorf("%d beats wait for a connection", len(n.beats))
	}
	if s := o.stats.read(2, classControl, false); s.Dropped != 1 {
		t.Errorf("%d frames were dropped, want the beat without a connection", s.Dropped)
	}
	o.setConnected(true)
	put(rand.Perm(maxBeats + 1)...)
	put(5, 3)
	if n := o.take(); !n.empty() {
		t.Errorf("%d beats leave before the round is complete", len(n.beats))
	}
	tr.Flush(true)
	n := o.take()
	for i, b := range n.beats {
		if b != (beat{uint64(i), Beat{Term: 7, Commit: uint64(i)}}) {
			t.Fatalf("beat %d is %+v", i, b)
		}
	}
	o.buf = nil
	o.addBeats(kindBeats, n.beats)
	var counts []string
	for r := bytes.NewReader(o.buf); r.Len() > 0; {
		_, payload, err := readFrame(r, MaxControlPayload)
		if err != nil {
			t.Fatal(err)
		}
		beats, err := parseBeats(kindBeats, payload)
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, fmt.Sprint(len(beats)))
	}
	if want := []string{fmt.Sprint(maxBeats), "1"}; !slices.Equal(counts, want) {
		t.Errorf("frames of %v beats, want %v", counts, want)
	}
	if o.take(); !o.taken.empty() {
		t.Error("a round leaves twice")
	}
	put(1)
	tr.Flush(true)
	o.setConnected(false)
	o.setConnected(true)
	if n := o.take(); !n.empty() {
		t.Error("beats outlive their connection")
	}
	tr.SendBeat(1, 2, Beat{Term: 7})
	if tr.Flush(false); !o.take().empty() {
		t.Error("a beat that waits for a round leaves without one")
	}
	put(2)
	tr.Flush(false)
	if n := o.take(); len(n.beats) != 2 {
		t.Errorf("%d beats leave, want the one that waits for a round, too", len(n.beats))
	}
	tr.SendBeat(1, 2, Beat{Term: 7, Answer: true})
	if tr.Flush(true); len(o.take().answers) != 1 {
		t.Error("a round leaves without the answer that waits for it")
	}
	if tr.Flush(true); !o.take().empty() {
		t.Error("a round leaves twice")
	}
}

// FuzzParseBeats: no input panics, and what is accepted is encoded again to the same bytes.
func FuzzParseBeats(f *testing.F) {
	r := round{{1, Beat{Term: 7}}, {2, Beat{Term: 300}}, {1 << 60, Beat{Term: 1 << 63}}}
	f.Add(true, appendBeatsFrame(nil, kindBeats, r)[headerSize:])
	f.Add(false, appendBeatsFrame(nil, kindBeatAnswers, r)[headerSize:])
	f.Fuzz(func(t *testing.T, heartbeats bool, b []byte) {
		kind := kindBeatAnswers
		if heartbeats {
			kind = kindBeats
		}
		beats, err := parseBeats(kind, b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v does not match ErrMalformed", err)
			}
			return
		}
		if again := appendBeatsFrame(nil, kind, beats)[headerSize:]; !bytes.Equal(again, b) {
			t.Fatalf("accepted % x\nencodes as % x", b, again)
		}
		for _, x := range beats {
			if err := Validate(x.Message(1, 2)); err != nil {
				t.Fatalf("accepted a beat that is no message: %v", err)
			}
		}
	})
}
