package node

import (
	"runtime/debug"
	"testing"
	"time"
)

// TestGCPercent: an idle node and one that holds much keep Go's default; a busy one collects about
// once a second, and not too seldom.
func TestGCPercent(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for name, c := range map[string]struct {
		live, rate float64
		want       int
	}{
		"idle":               {20 * mib, mib, 100},
		"nothing yet":        {0, 0, 100},
		"busy":               {100 * mib, 200 * mib, 200},
		"very busy":          {20 * mib, 1000 * mib, 400},
		"holds much":         {2000 * mib, 5000 * mib, 100},
		"holds rather much":  {128 * mib, 5000 * mib, 200},
		"a start, very busy": {mib, 500 * mib, 400},
	} {
		if got := gcPercent(c.live, c.rate); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

var sink []byte

// TestGarbageIsPaced: the percentage rises with the load and falls back when it ends; GOGC decides
// instead where it is set.
func TestGarbageIsPaced(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	now := time.Now()
	busy := func() {
		for range 1000 {
			sink = make([]byte, 1<<20)
		}
		now = now.Add(time.Second)
	}
	fixed := &garbage{fixed: true, percent: 100}
	fixed.pace(now)
	busy()
	if fixed.pace(now); percent() != 100 {
		t.Errorf("%d although GOGC is set", percent())
	}
	g := &garbage{percent: 100}
	g.pace(now)
	busy()
	if g.pace(now); percent() <= 100 {
		t.Errorf("%d under load, want more", percent())
	}
	now = now.Add(time.Hour)
	if g.pace(now); percent() != 100 {
		t.Errorf("%d when the load is over, want 100", percent())
	}
}
