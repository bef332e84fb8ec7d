package sim

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// Result is what a run showed.
type Result struct {
	Seed    uint64
	Options Options // with what the seed chose filled in
	// Ops is what clients asked for and were told.
	Ops []history.Op
	// Final is the ledger at the end.
	Final []check.FinalEntry
	// Violations are what must not be. None means that the run was fine.
	Violations []check.Violation
	TraceHash  [32]byte
	// Faults is how many were planned; their numbers are below FaultNumbers.
	Faults, FaultNumbers int
	Stats                Stats
	Timeline             []TimelineEvent
	// Err says that there was no run.
	Err error
}

// Failed reports whether something must not be as it is.
func (r *Result) Failed() bool { return r.Err != nil || len(r.Violations) > 0 }

// running excludes other runs, since crypto/rand.Reader is one for all.
var running sync.Mutex

// Run runs one cluster. It returns always, and with the same result for the same options.
func Run(o Options) *Result { return runWith(o, nil) }

// runWith is Run with something that happens besides.
func runWith(o Options, plan func(*world)) *Result {
	res := &Result{Seed: o.Seed, Options: o}
	if res.Err = o.validate(); res.Err != nil {
		return res
	}
	simKeys()
	running.Lock()
	defer running.Unlock()
	w := newWorld(o)
	before := rand.Reader
	rand.Reader = w.entropy
	defer func() { rand.Reader = before }()
	res.Options = w.opt
	w.live(res, plan)
	w.finish(res)
	if o.Check != nil {
		if err := o.Check(res); err != nil {
			res.Violations = append(res.Violations, check.Violation{Kind: "check", A: -1, B: -1, Text: err.Error()})
		}
	}
	return res
}

func newWorld(o Options) *world {
	w := &world{}
	w.opt, w.cfg = resolve(o)
	o = w.opt
	w.trace = newTrace(func() int64 { return w.now })
	w.entropy = &entropy{}
	w.net = &network{w: w, rng: stream(o.Seed, "network", 0)}
	w.genesis = simKeys().genesis(o.Nodes, w.program())
	w.raft = check.NewRaft(o.Nodes, check.RaftEntry{Index: 1, Term: 1, Hash: hashOf(w.genesis)})
	w.nodes = make([]*node, 1, o.Nodes+1)
	for id := uint64(1); id <= uint64(o.Nodes); id++ {
		r := stream(o.Seed, "node", id)
		var seed [32]byte
		binary.BigEndian.PutUint64(seed[:], o.Seed)
		seed[8] = byte(id)
		w.nodes = append(w.nodes, &node{
			w: w, id: id, rng: r, entropy: mathrand.NewChaCha8(seed), disk: newDisk(w.trace, id),
			store:    memstore.New(memstore.Options{MemtableSize: w.cfg.memtable, MaxUnflushed: w.cfg.unflushed}),
			offset:   time.Duration((r.Float64()*2 - 1) * float64(w.cfg.clockSkew)),
			tickRate: 1 + (r.Float64()*2-1)*w.cfg.tickSkew,
		})
	}
	w.faults = drawFaults(o)
	return w
}

// live lets the cluster live through everything. A panic of the product ends it.
func (w *world) live(res *Result, plan func(*world)) {
	defer func() {
		if r := recover(); r != nil {
			w.fail("panic", 0, "%v\n%s", r, productFrames(string(debug.Stack())))
		}
	}()
	seals, err := newSealCheck(w)
	if err != nil {
		res.Err = errors.Wrap(err, "prepare")
		return
	}
	w.seals = seals
	for _, n := range w.nodes[1:] {
		n.start()
	}
	w.load = newWorkload(w)
	w.plan()
	if plan != nil {
		plan(w)
	}
	w.runUntil(int64(w.opt.Duration), nil)
	w.end(res)
}

// productFrames cuts a stack to the lines that name the product's files.
func productFrames(stack string) string {
	var out []string
	for line := range strings.Lines(stack) {
		if i := strings.LastIndex(line, "/cairn/"); i >= 0 || strings.Contains(line, "etcd.io/raft") {
			out = append(out, strings.TrimSpace(line))
		}
		if len(out) == 24 {
			break
		}
	}
	return strings.Join(out, "\n")
}

// finish checks what the run left.
func (w *world) finish(res *Result) {
	s := &w.stats
	for _, n := range w.nodes[1:] {
		s.DiskWrites += n.disk.stats.writes
		s.DiskSyncs += n.disk.stats.syncs
		s.TornBlocks += n.disk.stats.torn
		s.UndoneOps += n.disk.stats.undone
		if n.proc != nil {
			n.countLog()
		}
	}
	s.Committed = w.raft.Counts().Committed
	s.Virtual = time.Duration(w.now)
	if w.load != nil {
		res.Ops = w.load.ops
		res.Ops = append(res.Ops, w.load.pending()...)
	}
	res.Violations = append(append(res.Violations, w.violations...), w.raft.Violations()...)
	if res.Final != nil {
		res.Violations = append(res.Violations, check.Linear(res.Ops, res.Final)...)
	}
	var bad []check.Violation
	s.Sessions, bad = check.Sessions(res.Ops)
	res.Violations = append(res.Violations, bad...)
	s.Deliveries, bad = check.Watches(res.Ops)
	res.Violations = append(res.Violations, bad...)
	res.TraceHash = w.trace.hash()
	res.Faults, res.FaultNumbers = len(w.faults), 0
	for _, f := range w.faults {
		res.FaultNumbers = max(res.FaultNumbers, f.number+1)
	}
	res.Stats, res.Timeline = w.stats, w.timeline
}

// String summarises a result in a few lines.
func (r *Result) String() string {
	var b strings.Builder
	s := &r.Stats
	fmt.Fprintf(&b, "seed %d: %d nodes, %d faults (%s), %.0f s virtual, %d ok %d failed %d unknown, %d entries, %d elections, %d crashes, trace %x",
		r.Seed, r.Options.Nodes, r.Faults, r.Options.Faults, s.Virtual.Seconds(), s.OK, s.Failed, s.Unknown, len(r.Final), s.Elections, s.Crashes, r.TraceHash[:8])
	if r.Err != nil {
		fmt.Fprintf(&b, "\nerror: %v", r.Err)
	}
	for i, v := range r.Violations {
		if i == 5 {
			fmt.Fprintf(&b, "\n... and %d more", len(r.Violations)-i)
			break
		}
		fmt.Fprintf(&b, "\nviolation: %s", v)
	}
	if r.Failed() {
		fmt.Fprintf(&b, "\nagain: %s", Command(r.Options))
	}
	return b.String()
}
