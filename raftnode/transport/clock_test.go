package transport

import (
	"testing"
	"time"
)

// TestClocks: each node learns how far the other's wall clock is ahead of its own, and the other's
// mark.
func TestClocks(t *testing.T) {
	t.Parallel()
	const ahead = 365 * 24 * time.Hour
	p := newPair(t, func(c *Config) {
		c.ClockInterval = 5 * time.Millisecond
		mark := int64(c.Self) * 100
		c.Mark = func() int64 { return mark }
		if c.Self == 2 {
			c.Now = func() time.Time { return time.Now().Add(ahead) }
		}
	})
	for self, want := range map[NodeID]struct {
		peer   NodeID
		offset time.Duration
		mark   int64
	}{1: {2, ahead, 200}, 2: {1, -ahead, 100}} {
		var s ClockSample
		eventually(t, "a sample of the peer's clock", func() (ok bool) {
			s, ok = p.nodes[self].Clocks()[want.peer]
			return ok
		})
		if wrong := (s.Offset - want.offset).Abs(); wrong > s.RoundTrip/2+time.Second || s.Mark != want.mark || s.Age < 0 {
			t.Errorf("node %d: sample %+v, want offset %s and mark %d", self, s, want.offset, want.mark)
		}
	}
}

// TestClockAnswers: only the answer to the open question counts, and no answer can overflow the
// offset.
func TestClockAnswers(t *testing.T) {
	t.Parallel()
	tr := New(Config{Self: 1, Peers: map[NodeID]string{2: "unused"}})
	p := tr.peer(2)
	p.clock.token, p.clock.open, p.clock.asked = 7, true, time.Since(tr.started)
	for _, x := range []struct {
		payload []byte
		valid   bool
		sample  bool
	}{
		{appendClock(nil, clockAnswer, 6, 1, 1), true, false},
		{appendClock(nil, clockAnswer, 7, 1, 1)[:20], false, false},
		{appendClock(nil, 3, 7, 1, 1), false, false},
		{append([]byte{clockAnswer, 1}, make([]byte, clockSize-2)...), false, false},
		{appendClock(nil, clockAnswer, 7, 1<<63-1, -1), true, true},
		{appendClock(nil, clockAnswer, 7, 0, 5), true, true}, // a second answer: the first one stays
	} {
		if err := tr.handleClock(p, x.payload); (err == nil) != x.valid {
			t.Errorf("%x: %v, want valid %t", x.payload, err, x.valid)
		}
		s, ok := tr.Clocks()[2]
		if ok != x.sample || ok && (s.Mark != -1 || s.Offset < 250*365*24*time.Hour) {
			t.Errorf("%x: sample %+v, want one %t, from the first answer to the open question", x.payload, s, x.sample)
		}
	}
}

// TestClockOffsetFollowsAJump: when this node's clock jumps between two answers, the offset says so
// at once. A leader that stamped with an offset from before the jump would put a time into its log
// that nobody else stores.
func TestClockOffsetFollowsAJump(t *testing.T) {
	t.Parallel()
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	wall := noon
	tr := New(Config{Self: 1, Peers: map[NodeID]string{2: "unused"}, Now: func() time.Time { return wall }})
	p := tr.peer(2)
	p.clock.token, p.clock.open, p.clock.asked = 1, true, time.Since(tr.started)
	if err := tr.handleClock(p, appendClock(nil, clockAnswer, 1, noon.UnixMicro(), 0)); err != nil {
		t.Fatal(err)
	}
	for _, jump := range []time.Duration{0, time.Hour, -time.Hour} {
		wall = noon.Add(jump)
		if s := tr.Clocks()[2]; (s.Offset + jump).Abs() > time.Minute {
			t.Errorf("this clock jumped by %s, the sample says that the peer's is %s ahead", jump, s.Offset)
		}
	}
}

// TestClockRoundTrips: the peer read its clock somewhere between question and answer, so half of
// the round trip is added, and an answer that took too long says nothing.
func TestClockRoundTrips(t *testing.T) {
	t.Parallel()
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	tr := New(Config{Self: 1, Peers: map[NodeID]string{2: "unused"}, Now: func() time.Time { return noon }})
	p := tr.peer(2)
	answer := func(token uint64, after time.Duration) {
		t.Helper()
		p.clock.token, p.clock.open, p.clock.asked = token, true, time.Since(tr.started)-after
		if err := tr.handleClock(p, appendClock(nil, clockAnswer, token, noon.UnixMicro(), int64(token))); err != nil {
			t.Fatal(err)
		}
	}
	answer(1, maxRoundTrip)
	if s, ok := tr.Clocks()[2]; ok {
		t.Errorf("sample %+v from an answer that took longer than %s", s, maxRoundTrip)
	}
	answer(2, maxRoundTrip/2)
	s := tr.Clocks()[2]
	if s.Mark != 2 || s.RoundTrip < maxRoundTrip/2 || s.Offset != s.RoundTrip/2+s.Age {
		t.Errorf("sample %+v, want an offset of half the round trip and the age", s)
	}
	answer(3, maxRoundTrip)
	if s := tr.Clocks()[2]; s.Mark != 2 {
		t.Errorf("sample %+v: a late answer replaced the former one", s)
	}
}

// TestNoQuestionWaits: a question that would have to wait for a connection is not asked.
func TestNoQuestionWaits(t *testing.T) {
	t.Parallel()
	tr := New(Config{Self: 1, Peers: map[NodeID]string{2: "unused"}, Membership: &acquainted{}})
	p := tr.peer(2)
	o := p.out[classControl.index()]
	tr.askClock(p)
	if items := o.take().items; len(items) != 0 || p.clock.open {
		t.Errorf("%d frames wait and a question is open: %t; want neither without a connection", len(items), p.clock.open)
	}
	o.setConnected(true)
	tr.askClock(p)
	if items := o.take().items; len(items) != 1 || !p.clock.open {
		t.Errorf("%d frames wait and a question is open: %t; want a question", len(items), p.clock.open)
	}
}
