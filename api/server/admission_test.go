package server

import (
	"testing"
	"time"

	"github.com/cockroachdb/errors"
)

// TestGate: a place is taken by who enters, and by nobody who is refused, for whichever of the two
// reasons.
func TestGate(t *testing.T) {
	t.Parallel()
	var g gate
	g.init("calls", 3, 2)
	refused := func(who string) {
		t.Helper()
		for range 10 {
			var r *refusal
			if err := g.enter(who); !errors.As(err, &r) || r.reason != ReasonTooMany || r.indefinite || r.retry == 0 {
				t.Fatalf("%s: got %v, want a definite refusal with a delay", who, err)
			}
		}
	}
	enters := func(who string) {
		t.Helper()
		if err := g.enter(who); err != nil {
			t.Fatalf("%s: %v", who, err)
		}
	}
	enters("a")
	enters("a")
	refused("a") // has its share
	enters("b")
	refused("b") // all places are taken
	refused("c")
	g.leave("a")
	enters("c")
	refused("b")
	g.leave("b")
	g.leave("c")
	enters("b")
	enters("b")
	for _, who := range []string{"a", "b", "b"} {
		g.leave(who)
	}
	if g.all != 0 || len(g.each) != 0 {
		t.Errorf("everybody left, and %d places are taken, of %v", g.all, g.each)
	}
}

// TestDefaultLimits: the limits of a node that sets none are those of docs/operations.md, "Sizes
// and limits", and of Limits.
func TestDefaultLimits(t *testing.T) {
	want := Limits{
		BatchEntries: 8192, BatchBytes: 1 << 20, RequestBytes: 2 << 20,
		Connections: 1024, StreamsPerConn: 128, Streams: 1024, StreamsPerPrincipal: 512, Watches: 256, WatchesPerPrincipal: 128,
		StreamBatches: 64, StreamBytes: 8 << 20, RangeEntries: 1024, RangeBytes: 256 << 10, BlocksBytes: 32 << 20,
		SealWait: 2 * time.Second, BehindWait: time.Second, SendStall: 10 * time.Second,
		WatchAlive: time.Second, WatchAlone: 3 * time.Second,
	}
	var got Limits
	if err := got.fill(); err != nil || got != want {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}
