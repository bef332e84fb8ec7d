package replica

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/raftnode/transport"
)

func noSamples() map[uint64]transport.ClockSample { return nil }

const year = 365 * 24 * time.Hour

// TestClocks: three rules about clocks, for a node whose clock shows `noon`, with a bound of 10 s.
func TestClocks(t *testing.T) {
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) int64 { return noon.Add(d).UnixMicro() }
	for _, x := range []struct {
		name   string
		voters int
		others []time.Duration // offsets of the members that answered
		ledger time.Duration   // newest entry, relative to noon
		unfit  string          // "" when it may lead
		stamp  time.Duration   // relative to noon
	}{
		{"alone", 1, nil, -year, "", 0},
		{"all agree", 3, []time.Duration{0, time.Second}, -year, "", 0},
		{"nobody answered", 3, nil, -year, "", 0},
		{"one is far ahead", 3, []time.Duration{0, year}, -year, "", 0},
		{"one is far behind", 3, []time.Duration{0, -year}, -year, "", 0},
		{"both are a little behind", 3, []time.Duration{-4 * time.Second, -3 * time.Second}, -year, "", 0},
		{"both are at the bound", 3, []time.Duration{-10 * time.Second, -10 * time.Second}, -year, "", -5 * time.Second},
		{"both are behind", 3, []time.Duration{-year, -year + time.Second}, -2 * year, "ahead of", -year + 6*time.Second},
		{"both are ahead", 3, []time.Duration{year, year}, -year, "behind", 0},
		{"one of three answered and is behind", 3, []time.Duration{-time.Minute}, -year, "", -55 * time.Second},
		{"one of three answered and is ahead", 3, []time.Duration{time.Minute}, -year, "", 0},
		{"two of five are behind", 5, []time.Duration{0, 0, -year, -year}, -year, "", 0},
		{"three of five are behind", 5, []time.Duration{0, -year, -year, -year}, -2 * year, "ahead of", -year + 5*time.Second},
		{"the ledger is ahead of all", 3, []time.Duration{-time.Minute, 0}, year, "", year},
		{"all differ, this one is in the middle", 3, []time.Duration{-11 * time.Second, 11 * time.Second}, -year, "", 0},
		{"lies at both ends of time", 5, []time.Duration{0, 0, math.MaxInt64, math.MinInt64}, -year, "", 0},
		{"two lies at one end of time", 5, []time.Duration{0, 0, math.MinInt64, math.MinInt64}, -year, "", 0},
	} {
		c := &clocks{policy: noPolicy, Clocks: Clocks{Voters: x.voters, MaxOffset: 10 * time.Second, Now: func() time.Time { return noon }}}
		c.ledgerTime = func() int64 { return at(x.ledger) }
		c.Samples = func() map[uint64]transport.ClockSample {
			out := map[uint64]transport.ClockSample{}
			for i, o := range x.others {
				out[uint64(i)] = transport.ClockSample{Offset: o}
			}
			return out
		}
		err := c.unfit()
		if (err == nil) != (x.unfit == "") || err != nil && !strings.Contains(err.Error(), x.unfit) {
			t.Errorf("%s: unfit: %v, want %q", x.name, err, x.unfit)
		}
		if got := c.stamp(); got != at(x.stamp) {
			t.Errorf("%s: stamps %s from its clock, want %s", x.name, time.UnixMicro(got).Sub(noon), x.stamp)
		}
	}
	// An old answer says nothing.
	c := &clocks{policy: noPolicy, Clocks: Clocks{Voters: 3, MaxOffset: 10 * time.Second, Now: func() time.Time { return noon }}, ledgerTime: func() int64 { return 0 }}
	c.Samples = func() map[uint64]transport.ClockSample {
		old := transport.ClockSample{Offset: year, Age: freshClock + 1, Mark: math.MaxInt64}
		return map[uint64]transport.ClockSample{2: old, 3: old}
	}
	if err := c.unfit(); err != nil || c.agreed(1) {
		t.Errorf("old answers: unfit %v, agreed %t", err, c.agreed(1))
	}
}

// TestVetBlocks: a block from the future is not stored, unless its time is one that this ledger has
// reached, or that the ledgers of more members have reached than can lie.
func TestVetBlocks(t *testing.T) {
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) int64 { return noon.Add(d).UnixMicro() }
	block := func(us int64) []byte {
		b, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, us, []ledger.Batch{{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload}}}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	newer := block(at(0))
	newer[4] = 9
	for _, x := range []struct {
		name   string
		block  []byte
		voters int
		ledger time.Duration
		marks  []time.Duration // ledger times of others
		want   string          // "" when it may be stored
	}{
		{"now", block(at(0)), 3, -year, nil, ""},
		{"the past", block(at(-year)), 3, -year, nil, ""},
		{"at the bound", block(at(10 * time.Second)), 3, -year, nil, ""},
		{"beyond the bound", block(at(11 * time.Second)), 3, -year, nil, "11s ahead of this node's clock"},
		{"a year ahead", block(at(year)), 3, -year, nil, "synchronise"},
		{"the end of time", block(math.MaxInt64), 3, -year, nil, "ahead"},
		{"reached here", block(at(year)), 3, year, nil, ""},
		{"one other of three claims to have reached it", block(at(year)), 3, -year, []time.Duration{year, 0}, "ahead"},
		{"both others of three have reached it", block(at(year)), 3, -year, []time.Duration{year, 2 * year}, ""},
		{"two of five claim to", block(at(year)), 5, -year, []time.Duration{year, year, 0, 0}, "ahead"},
		{"three of five have", block(at(year)), 5, -year, []time.Duration{year, year, year, 0}, ""},
		{"malformed: no effect", []byte("garbage"), 3, -year, nil, ""},
		{"a newer version that is damaged", newer, 3, -year, nil, ""},
	} {
		c := &clocks{policy: noPolicy, Clocks: Clocks{Voters: x.voters, MaxOffset: 10 * time.Second, Now: func() time.Time { return noon }}, ledgerTime: func() int64 { return at(x.ledger) }}
		c.Samples = func() map[uint64]transport.ClockSample {
			out := map[uint64]transport.ClockSample{}
			for i, m := range x.marks {
				out[uint64(i)] = transport.ClockSample{Mark: at(m)}
			}
			return out
		}
		err := c.vet(x.block)
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
	}
	// What was stored once is stored again after the clock has been set back.
	clock := noon
	c := &clocks{policy: noPolicy, Clocks: Clocks{Voters: 3, MaxOffset: 10 * time.Second, Now: func() time.Time { return clock }, Samples: noSamples}, ledgerTime: func() int64 { return 0 }}
	if err := c.vet(block(at(0))); err != nil {
		t.Fatal(err)
	}
	clock = noon.Add(-year)
	if err := c.vet(block(at(0))); err != nil {
		t.Errorf("after the clock was set back: %v", err)
	}
	if err := c.vet(block(at(time.Second))); err == nil {
		t.Error("a time that was never stored is stored after the clock was set back")
	}
}

// noPolicy is that of a ledger without a genesis.
func noPolicy() *ledger.Policy { return nil }

// TestClocksOfVotersCount: how many clocks are a majority follows the ledger's policy, and neither a
// learner's clock nor that of a node which is no member counts.
func TestClocksOfVotersCount(t *testing.T) {
	t.Parallel()
	member := func(id uint64, learner bool) ledger.PolicyMember {
		return ledger.PolicyMember{Member: ledger.Member{ID: id}, Learner: learner}
	}
	policy := &ledger.Policy{Members: []ledger.PolicyMember{member(1, false), member(2, false), member(3, false), member(4, true), member(5, true)}}
	now := time.UnixMicro(1e15)
	c := &clocks{Clocks: Clocks{Voters: 1, MaxOffset: 10 * time.Second, Now: func() time.Time { return now }}, ledgerTime: func() int64 { return 0 },
		policy: func() *ledger.Policy { return policy }}
	wrong := transport.ClockSample{Offset: -time.Hour, Mark: math.MaxInt64}
	c.Samples = func() map[uint64]transport.ClockSample {
		return map[uint64]transport.ClockSample{2: {}, 3: {}, 4: wrong, 5: wrong, 6: wrong, 7: wrong}
	}
	if err := c.unfit(); err != nil || c.agreed(1) || c.quorum() != 2 {
		t.Errorf("clocks of learners and of strangers: unfit %v, agreed %t, a quorum of %d", err, c.agreed(1), c.quorum())
	}
	for i := range policy.Members {
		policy.Members[i].Learner = false
	}
	c.Samples = func() map[uint64]transport.ClockSample {
		return map[uint64]transport.ClockSample{2: {}, 3: wrong, 4: wrong, 5: wrong}
	}
	if err := c.unfit(); err == nil || !c.agreed(1) || c.quorum() != 3 {
		t.Errorf("the same nodes as voters: unfit %v, agreed %t, a quorum of %d", err, c.agreed(1), c.quorum())
	}
}
