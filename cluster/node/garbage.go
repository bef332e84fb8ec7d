package node

import (
	"os"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

// garbage paces the garbage collector. A busy node allocates several times what it holds in a
// second, and would spend a sixth of its processor time on collections. So it lets about a second's
// worth of garbage gather, within bounds: an idle node stays small, and so does one that holds much.
// Whoever sets GOGC decides instead. Its methods are called by one goroutine.
type garbage struct {
	fixed     bool // GOGC is set
	percent   int
	at        time.Time
	allocated uint64 // at that time, since the start of the process, in bytes
}

const (
	leastGCPercent = 100 // Go's default
	mostGCPercent  = 400
	// garbageRoom bounds the garbage in bytes from which on a percentage above the least is not
	// worth its memory.
	garbageRoom = 256 << 20
)

func newGarbage() *garbage {
	_, fixed := os.LookupEnv("GOGC")
	return &garbage{fixed: fixed, percent: leastGCPercent}
}

// pace sets the percentage for the load since the last call, once a second.
func (g *garbage) pace(now time.Time) {
	took := now.Sub(g.at)
	if g.fixed || took < time.Second {
		return
	}
	samples := []runtimemetrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(samples)
	allocated, live := samples[0].Value.Uint64(), samples[1].Value.Uint64()
	first := g.at.IsZero()
	rate := float64(allocated-g.allocated) / took.Seconds()
	g.at, g.allocated = now, allocated
	if first {
		return
	}
	percent := gcPercent(float64(live), rate)
	if 4*percent > 5*g.percent || 5*percent < 4*g.percent || percent == leastGCPercent && g.percent != percent {
		g.percent = percent
		debug.SetGCPercent(percent)
	}
}

// gcPercent returns the percentage for a process that holds live bytes and allocates at a rate in
// bytes a second.
func gcPercent(live, rate float64) int {
	live = max(live, 4<<20) // what Go's collector takes for the least heap
	return int(100 * max(leastGCPercent/100, min(mostGCPercent/100, rate/live, garbageRoom/live)))
}
