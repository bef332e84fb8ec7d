package sim

import (
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/cairnledger/cairn/ledger"
)

// stream returns a generator of its own for each purpose, so that a change in
// one part of a run leaves the others' choices alone.
func stream(seed uint64, purpose string, n uint64) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(seed, h.Sum64()+n*0x9e3779b97f4a7c15))
}

// config is what the seed chooses besides Options: a different environment for
// every run.
type config struct {
	tick                time.Duration
	heartbeat, election int
	inflight            int
	maxBlockBytes       int
	queueLimit          int

	net          netConfig
	syncMin      time.Duration
	syncMean     time.Duration
	slowSync     float64 // share of syncs that take slowFactor times as long
	applyMean    time.Duration
	loopMean     time.Duration
	startup      time.Duration
	segment      int64
	retain       int64
	cache        int64
	ledgerCache  int64 // of a process, shared by its ledgers
	memtable     int
	unflushed    int
	markInterval time.Duration
	fillStep     int // bytes of blocks between two notes of a filler
	cadence      time.Duration
	payload      int // largest payload
	timeout      time.Duration
	clockSkew    time.Duration
	tickSkew     float64
}

type netConfig struct {
	min, mean  time.Duration
	loss, dup  float64
	overtake   float64 // share of messages that do not keep the order of their connection
	clientMean time.Duration
}

func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

// resolve fills in what the options leave open and draws the environment.
func resolve(o Options) (Options, config) {
	if o.Nodes == 0 {
		o.Nodes = pick(stream(o.Seed, "nodes", 0), 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 6, 7)
	}
	if o.Ledgers == 0 {
		o.Ledgers = pick(stream(o.Seed, "ledgers", 0), 1, 1, 1, 2, 3)
	}
	if o.Clients == 0 {
		o.Clients = 3 + stream(o.Seed, "clients", 0).IntN(12)
	}
	if o.Ops == 0 {
		o.Ops = pick(stream(o.Seed, "ops", 0), 200, 400, 400, 800)
	}
	if o.Duration == 0 {
		o.Duration = time.Duration(pick(stream(o.Seed, "duration", 0), 6, 12, 12, 25)) * time.Second
	}
	if o.Pace == 0 {
		o.Pace = max(1, time.Duration(int64(o.Duration)/int64(o.Ops)*int64(o.Clients)))
	}
	if o.Faults == 0 {
		r := stream(o.Seed, "faults", 0)
		for i := range faultKinds {
			if r.IntN(5) < 2 {
				o.Faults |= 1 << i
			}
		}
		if o.Pace == 0 {
			o.Pace = max(1, time.Duration(int64(o.Duration)/int64(o.Ops)*int64(o.Clients)))
		}
		if o.Faults == 0 {
			o.Faults = NoFaults
		}
	}
	r := stream(o.Seed, "config", 0)
	var c config
	switch r.IntN(4) {
	case 0:
		c.tick, c.heartbeat, c.election = 10*time.Millisecond, 5, 30 // production
	case 1:
		c.tick, c.heartbeat, c.election = 50*time.Millisecond, 1, 10
	default:
		c.tick, c.heartbeat, c.election = 25*time.Millisecond, 2, 12
	}
	c.inflight = pick(r, 1, 2, 8, 8)
	c.maxBlockBytes = pick(r, 200, 4<<10, 1<<20)
	c.queueLimit = pick(r, 4, 1000, 1000)
	c.net = netConfig{
		min:  pick(r, 20*time.Microsecond, 200*time.Microsecond, 5*time.Millisecond),
		mean: pick(r, 50*time.Microsecond, time.Millisecond, 10*time.Millisecond),
		loss: pick(r, 0, 0, 0.001, 0.02), dup: pick(r, 0, 0, 0.01, 0.1), overtake: pick(r, 0, 0.01, 0.3),
		clientMean: pick(r, 100*time.Microsecond, 5*time.Millisecond),
	}
	c.syncMin = pick(r, 50*time.Microsecond, 300*time.Microsecond, 4*time.Millisecond)
	c.syncMean = pick(r, 20*time.Microsecond, time.Millisecond, 10*time.Millisecond)
	c.slowSync = pick(r, 0, 0.01, 0.05)
	c.applyMean = pick(r, 20*time.Microsecond, 500*time.Microsecond, 10*time.Millisecond)
	c.loopMean = pick(r, 5*time.Microsecond, 100*time.Microsecond, 2*time.Millisecond)
	c.startup = pick(r, time.Millisecond, 50*time.Millisecond, 300*time.Millisecond)
	switch r.IntN(5) {
	case 0:
		c.segment, c.retain = 4<<10, -1
	case 1:
		c.segment, c.retain = 4<<10, 16<<10
	case 2:
		c.segment, c.retain = 16<<10, 64<<10
	case 3:
		c.segment, c.retain = 32<<10, 1<<30
	case 4:
		c.segment, c.retain = 64<<20, 1<<30
	}
	short := stream(o.Seed, "short log", 0).IntN(4) == 0 || o.fills
	c.cache = pick(r, int64(-1), 4<<10, 32<<20)
	c.ledgerCache = pick(stream(o.Seed, "caches", 0), 1, 16<<10, int64(ledger.DefaultCacheBytes))
	c.memtable = pick(r, 1, 2<<10, 64<<10, 32<<20)
	c.fillStep = pick(stream(o.Seed, "fill", 0), 1, 1<<10, 64<<10, 64<<20)
	c.unflushed = 1 + r.IntN(3)
	c.markInterval = pick(r, 20*time.Millisecond, 250*time.Millisecond, 2*time.Second)
	c.cadence = pick(r, 2*time.Second, 5*time.Second, 5*time.Second, 10*time.Second)
	if short { // who was away for a moment needs blocks of the others
		c.segment, c.retain, c.memtable, c.unflushed, c.markInterval = 4<<10, -1, 1, 1, 20*time.Millisecond
	}
	c.payload = pick(r, 16, 16, 200, 200, 3000, 12000)
	// A rotation for every other block, not for every one: each writes 256 KiB of zeros.
	c.segment = max(c.segment, 4*int64(c.payload))
	c.timeout = pick(r, 150*time.Millisecond, 400*time.Millisecond, time.Second, 3*time.Second)
	c.clockSkew = pick(r, 0, time.Millisecond, time.Second, time.Hour)
	c.tickSkew = pick(r, 0, 0.01, 0.1)
	return o, c
}
