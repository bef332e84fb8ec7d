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
	// Ledgers are what the clients of each ledger saw, and what became of it.
	Ledgers []Ledger
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

// Ledger is one of a run.
type Ledger struct {
	Origin string
	// Ops is what clients asked for and were told.
	Ops []history.Op
	// Final is the ledger at the end, nil when it could not be read.
	Final []check.FinalEntry
}

// Size is how many operations and entries all ledgers have together.
func (r *Result) Size() (ops, entries int) {
	for _, l := range r.Ledgers {
		ops, entries = ops+len(l.Ops), entries+len(l.Final)
	}
	return ops, entries
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
	w, err := newWorld(o)
	if err != nil {
		res.Err = errors.Wrap(err, "prepare")
		return res
	}
	before := rand.Reader
	rand.Reader = w.entropy
	defer func() { rand.Reader = before }()
	res.Options = w.opt
	for _, g := range w.groups {
		res.Ledgers = append(res.Ledgers, Ledger{Origin: originOf(g.id)})
	}
	w.live(res, plan)
	w.finish(res)
	if o.Check != nil {
		if err := o.Check(res); err != nil {
			res.Violations = append(res.Violations, check.Violation{Kind: "check", A: -1, B: -1, Text: err.Error()})
		}
	}
	return res
}

func newWorld(o Options) (*world, error) {
	w := &world{}
	w.opt, w.cfg = resolve(o)
	o = w.opt
	w.trace = newTrace(func() int64 { return w.now })
	w.entropy = &entropy{}
	w.net = &network{w: w, rng: stream(o.Seed, "network", 0)}
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
	if r := stream(o.Seed, "liar", 0); r.IntN(3) == 0 || o.fills {
		w.nodes[1+r.IntN(o.Nodes)].lies = true
	}
	for id := range uint64(o.Ledgers) {
		g, err := newGroup(w, id+1)
		if err != nil {
			return nil, err
		}
		w.groups = append(w.groups, g)
	}
	w.faults = drawFaults(o)
	return w, nil
}

// live lets the cluster live through everything. A panic of the product ends it.
func (w *world) live(res *Result, plan func(*world)) {
	defer func() {
		if r := recover(); r != nil {
			w.fail("panic", 0, "%v\n%s", r, productFrames(string(debug.Stack())))
		}
	}()
	for _, n := range w.nodes[1:] {
		n.start()
	}
	for _, g := range w.groups {
		g.load = newWorkload(g)
	}
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
	s.Virtual = time.Duration(w.now)
	res.Violations = append(res.Violations, w.violations...)
	for _, g := range w.groups {
		res.Violations = append(res.Violations, g.judge(&res.Ledgers[g.id-1])...)
	}
	res.TraceHash = w.trace.hash()
	res.Faults, res.FaultNumbers = len(w.faults), 0
	for _, f := range w.faults {
		res.FaultNumbers = max(res.FaultNumbers, f.number+1)
	}
	res.Stats, res.Timeline = w.stats, w.timeline
}

// judge runs the checkers of the ledger. What the final ledger holds is in l.
func (g *group) judge(l *Ledger) (found []check.Violation) {
	if g.load != nil {
		l.Ops = append(g.load.ops, g.load.pending()...)
	}
	found = g.raft.Violations()
	if l.Final != nil {
		found = append(found, check.Linear(l.Ops, l.Final)...)
	}
	sessions, bad := check.Sessions(l.Ops)
	found = append(found, bad...)
	deliveries, bad := check.Watches(l.Ops)
	found = append(found, bad...)
	for i := range found {
		found[i] = g.violation(found[i])
	}
	s := &g.w.stats
	s.Committed += g.raft.Counts().Committed
	s.Sessions, s.Deliveries = s.Sessions+sessions, s.Deliveries+deliveries
	return found
}

// String summarises a result in a few lines.
func (r *Result) String() string {
	var b strings.Builder
	s := &r.Stats
	_, entries := r.Size()
	fmt.Fprintf(&b, "seed %d: %d nodes, %d ledgers, %d faults (%s), %.0f s virtual, %d ok %d failed %d unknown, %d entries, %d elections, %d crashes, trace %x",
		r.Seed, r.Options.Nodes, r.Options.Ledgers, r.Faults, r.Options.Faults, s.Virtual.Seconds(), s.OK, s.Failed, s.Unknown, entries, s.Elections, s.Crashes, r.TraceHash[:8])
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
