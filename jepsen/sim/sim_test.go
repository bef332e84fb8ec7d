package sim

import (
	"flag"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/ledger"
)

var (
	flagSeeds = flag.Int("seeds", 24, "how many seeds to run")
	flagSeed  = flag.Uint64("seed", 1, "the first of them")
)

var flagFaults FaultSet

func TestMain(m *testing.M) {
	flag.Var(&flagFaults, "faults", "kinds of faults, separated by commas, or auto, none, all")
	flag.Parse()
	debug.SetGCPercent(400) // runs make much garbage and hold little
	os.Exit(m.Run())
}

// explain is what somebody needs who has to find out why a run failed.
func explain(t *testing.T, res *Result) {
	t.Helper()
	t.Errorf("%v", res)
	for _, e := range res.Timeline {
		t.Log(e)
	}
	t.Logf("again: go test ./jepsen/sim -run TestSeeds -seeds 1 -seed %d -faults %s", res.Seed, res.Options.Faults)
}

// TestSeeds runs clusters in different environments under different faults.
func TestSeeds(t *testing.T) {
	var sum Stats
	several := 0
	kinds := map[history.Kind]int{}
	for i := range *flagSeeds {
		res := Run(Options{Seed: *flagSeed + uint64(i), Faults: flagFaults})
		if res.Failed() {
			explain(t, res)
			return
		}
		if testing.Verbose() {
			t.Log(res)
		}
		s := &res.Stats
		sum.OK, sum.Unknown, sum.Failed = sum.OK+s.OK, sum.Unknown+s.Unknown, sum.Failed+s.Failed
		sum.Elections, sum.Crashes, sum.Restarts = sum.Elections+s.Elections, sum.Crashes+s.Crashes, sum.Restarts+s.Restarts
		sum.TornBlocks, sum.UndoneOps, sum.Lost = sum.TornBlocks+s.TornBlocks, sum.UndoneOps+s.UndoneOps, sum.Lost+s.Lost
		sum.SharedWrites += s.SharedWrites
		sum.Ticks, sum.QuietTicks, sum.Beats, sum.QuietBeats = sum.Ticks+s.Ticks, sum.QuietTicks+s.QuietTicks, sum.Beats+s.Beats, sum.QuietBeats+s.QuietBeats
		sum.Rotations, sum.Removed = sum.Rotations+s.Rotations, sum.Removed+s.Removed
		sum.Seals, sum.Cosignatures, sum.Handovers = sum.Seals+s.Seals, sum.Cosignatures+s.Cosignatures, sum.Handovers+s.Handovers
		sum.Dropped, sum.Messages, sum.Virtual = sum.Dropped+s.Dropped, sum.Messages+s.Messages, sum.Virtual+s.Virtual
		sum.Works, sum.Posted, sum.Expired, sum.Rejected = sum.Works+s.Works, sum.Posted+s.Posted, sum.Expired+s.Expired, sum.Rejected+s.Rejected
		sum.Proofs += s.Proofs
		sum.Committed, sum.Filled, sum.Restored = sum.Committed+s.Committed, sum.Filled+s.Filled, sum.Restored+s.Restored
		sum.Sessions, sum.Behind, sum.Deliveries = sum.Sessions+s.Sessions, sum.Behind+s.Behind, sum.Deliveries+s.Deliveries
		several += min(1, len(res.Ledgers)-1)
		for _, l := range res.Ledgers {
			for _, op := range l.Ops {
				if op.Outcome == history.OK {
					kinds[op.Kind]++
				}
			}
		}
	}
	t.Logf("together: %+v", sum)
	if *flagSeeds < 24 || flagFaults != 0 {
		return
	}
	// A simulation in which nothing happens finds nothing.
	for name, n := range map[string]int{
		"operations answered": sum.OK, "operations of unknown outcome": sum.Unknown, "elections": sum.Elections, "crashes": sum.Crashes,
		"torn blocks": sum.TornBlocks, "operations undone by a crash": sum.UndoneOps, "nodes lost to damage": sum.Lost,
		"log rotations": sum.Rotations, "segments removed": sum.Removed, "seals": sum.Seals, "cosignatures": sum.Cosignatures, "policy changes": sum.Handovers,
		"local reads within sessions": sum.Sessions, "nodes that had to catch up for one": sum.Behind, "deliveries of watches": sum.Deliveries,
		"ticks of quiet members": sum.QuietTicks - sum.Ticks/3, "beats that quiet members note": sum.QuietBeats - sum.Beats/3,
		"runs of several ledgers": several, "writes that ledgers share": sum.SharedWrites, "messages dropped": sum.Dropped, "raft entries": sum.Committed, "entries of leaders": sum.Works,
		"results posted": sum.Posted, "results rejected": sum.Rejected, "proofs of accounts": sum.Proofs,
		"appends": kinds[history.Append], "gets": kinds[history.Get], "heads": kinds[history.Head], "ranges": kinds[history.Range],
		"deliveries": kinds[history.Watch], "checkpoints": kinds[history.Checkpoint], "local heads": kinds[history.LocalHead],
	} {
		if n <= 0 {
			t.Errorf("no %s in %d runs, or too few", name, *flagSeeds)
		}
	}
}

// TestOnceAccused runs the seeds whose runs were legal and accused all the same.
func TestOnceAccused(t *testing.T) {
	for _, seed := range []uint64{60401, 108673} {
		if res := Run(Options{Seed: seed}); res.Failed() {
			explain(t, res)
		}
	}
}

// TestDeterminism: equal seeds give equal traces, whatever ran before.
func TestDeterminism(t *testing.T) {
	seen := map[[32]byte]uint64{}
	for seed := uint64(101); seed <= 106; seed++ {
		o := Options{Seed: seed, Faults: AllFaults, Ops: 150, Duration: 10 * time.Second}
		a, b := Run(o), Run(o)
		if a.TraceHash != b.TraceHash || !slices.Equal(a.Timeline, b.Timeline) || operations(a) != operations(b) {
			t.Errorf("seed %d: traces %x and %x, %d and %d operations", seed, a.TraceHash, b.TraceHash, operations(a), operations(b))
			for i := range min(len(a.Timeline), len(b.Timeline)) {
				if a.Timeline[i] != b.Timeline[i] {
					t.Logf("first difference in the timeline:\n%v\n%v", a.Timeline[i], b.Timeline[i])
					break
				}
			}
		}
		if other, ok := seen[a.TraceHash]; ok {
			t.Errorf("seeds %d and %d have one trace", seed, other)
		}
		seen[a.TraceHash] = seed
		if a.Failed() {
			explain(t, a)
		}
	}
}

func operations(r *Result) int {
	n, _ := r.Size()
	return n
}

// TestLedgers: every ledger of a run has operations and entries of its own, and a violation says
// which of them it is about.
func TestLedgers(t *testing.T) {
	o := Options{Seed: 3, Ledgers: 3, Ops: 120, Duration: 6 * time.Second, Faults: NoFaults}
	res := runWith(o, func(w *world) {
		w.after(3*time.Second, func() { w.groups[1].fail("planted", 0, "something is wrong") })
		w.after(3*time.Second, func() {
			w.groups[2].load.record(history.Op{Process: 1 << 20, Kind: history.Head, Outcome: history.OK, Return: w.now})
		})
	})
	bodies := map[history.Digest]string{}
	for _, l := range res.Ledgers {
		if len(l.Ops) < idleOps || len(l.Final) < 2 {
			t.Errorf("%s has %d operations and %d entries", l.Origin, len(l.Ops), len(l.Final))
		}
		for i, e := range l.Final {
			if other := bodies[e.Body]; other != "" && !e.Own {
				t.Errorf("entry %d of %s is in %s, too", i, l.Origin, other)
			}
			bodies[e.Body] = l.Origin
		}
	}
	var found []string
	for _, v := range res.Violations {
		found = append(found, v.Kind+" "+v.Text[:len("ledger 0")])
	}
	if want := []string{"planted ledger 2", "stale ledger 3"}; len(res.Ledgers) != 3 || !slices.Equal(found, want) {
		t.Errorf("%d ledgers, violations %q, want %q", len(res.Ledgers), found, want)
	}
}

// TestScenario is one story told in full: the leader is cut off, another one is
// elected; power fails everywhere; everything comes back.
func TestScenario(t *testing.T) {
	o := Options{Seed: 6, Nodes: 3, Ledgers: 1, Ops: 120, Clients: 4, Duration: 12 * time.Second, Faults: NoFaults}
	var first uint64
	res := runWith(o, func(w *world) {
		w.after(4*time.Second, func() {
			m := w.groups[0].leader()
			if m == nil {
				t.Error("no leader after 4 s")
				return
			}
			first = m.n.id
			w.note(first, "fault", "cut off")
			undo := w.isolate([]*node{m.n})
			w.after(3*time.Second, func() {
				w.note(first, "heal", "cut off")
				undo()
			})
		})
		w.after(9*time.Second, func() {
			for _, n := range w.nodes[1:] {
				n.powerOff("power failed")
				n.startAfter(time.Second)
			}
		})
	})
	if res.Failed() {
		explain(t, res)
	}
	var story []string
	for _, e := range res.Timeline {
		what := e.Kind
		if e.Kind == "leader" && len(story) > 0 {
			what = "a leader"
			if e.Node == first {
				what = "the first leader"
			}
		}
		story = append(story, what)
	}
	got := strings.Join(slices.Compact(story), ", ")
	want := "up, the first leader, fault, a leader, heal, down, up, "
	if !strings.HasPrefix(got, want) || !strings.Contains(got[len(want):], "leader") || res.Stats.Restarts != 6 {
		t.Errorf("the story is\n%s\nwant it to begin with\n%s\nand an election", got, want)
	}
	l := res.Ledgers[0]
	if last := l.Ops[len(l.Ops)-1]; last.Outcome != history.OK || res.Stats.OK < 80 || len(l.Final) < 40 {
		t.Errorf("%d operations were answered and %d entries are in the ledger; the last operation ended %s", res.Stats.OK, len(l.Final), last.Outcome)
	}
}

// TestClientsAreChecked: an answer that breaks a session, and a watch with a gap, are
// violations although every size and entry in them is right.
func TestClientsAreChecked(t *testing.T) {
	for want, plant := range map[string]func(w *world, l *workload, process uint32){
		"session": func(w *world, l *workload, process uint32) {
			l.record(history.Op{Process: process, Kind: history.LocalHead, Outcome: history.OK, Call: w.now, Return: w.now, First: 5})
		},
		"watch": func(w *world, l *workload, process uint32) {
			for _, first := range []uint64{0, 2} {
				l.record(history.Op{Process: process, Kind: history.Watch, Outcome: history.OK, Call: w.now, Return: w.now, First: first})
			}
		},
	} {
		o := Options{Seed: 1, Ledgers: 1, Ops: 40, Duration: 4 * time.Second, Faults: NoFaults}
		res := runWith(o, func(w *world) {
			w.after(3*time.Second, func() { plant(w, w.groups[0].load, w.groups[0].load.newProcess()) })
		})
		if len(res.Violations) != 1 || res.Violations[0].Kind != want {
			t.Errorf("violations %v, want one of kind %q", res.Violations, want)
		}
	}
}

// TestSessionsHold: a client that has seen more than a node has applied is not answered
// before the node has caught up, and not at all if it does not.
func TestSessionsHold(t *testing.T) {
	o := Options{Seed: 1, Nodes: 3, Ledgers: 1, Ops: 1, Clients: 1, Duration: 10 * time.Second, Faults: NoFaults}
	answers := map[string]response{}
	res := runWith(o, func(w *world) {
		w.after(5*time.Second, func() {
			l, m := w.groups[0].load, w.groups[0].on(1)
			size := m.ledger.Head().Size
			ask := func(name string, least uint64) {
				c := &call{m: m, reply: func(r response) { answers[name] = r }}
				m.p.run(func() { m.serveLocalHead(c, least) })
			}
			ask("what it has", size)
			ask("more than it will ever have", size+1000)
			ask("more than it has", size+1)
			final := &client{l: l, rng: stream(1, "test", 0), process: l.newProcess(), node: 1}
			a := final.append(ledger.Batch{Principal: principals[0], Entries: []ledger.NewEntry{l.entry(final.rng)}})
			a.then = func() {}
			a.start()
		})
	})
	if res.Failed() {
		explain(t, res)
	}
	has, more, never := answers["what it has"], answers["more than it has"], answers["more than it will ever have"]
	if has.verdict != answered || more.verdict != answered || more.size < has.size+1 || never.verdict != refused {
		t.Errorf("answers %+v, %+v, %+v; want the size, a larger one after the append, a refusal", has, more, never)
	}
}

// TestShrink: a failure that one crash and five entries cause shrinks to that.
func TestShrink(t *testing.T) {
	o := Options{Seed: 3, Ledgers: 2, Faults: FaultPower | FaultKill | FaultFlaky | FaultTransfer, Ops: 120, Duration: 15 * time.Second}
	o.Check = func(r *Result) error {
		if _, entries := r.Size(); r.Stats.Crashes > 0 && entries > 5 {
			return errors.New("injected")
		}
		return nil
	}
	res := Run(o)
	if !res.Failed() || res.Violations[0].Kind != "check" {
		t.Fatalf("the injected check does not fail: %v", res)
	}
	small, got := Shrink(o, res)
	if !got.Failed() || len(small.Keep) != 1 || small.Ledgers > 1 || small.Ops > 20 || small.Nodes > 1 || small.Clients > 1 || small.Duration > 15*time.Second {
		t.Errorf("shrunk to %s, failed %t; want one fault, one ledger, one node, one client, few operations", small, got.Failed())
	}
	// What is printed repeats the failure.
	again, err := ParseOptions(strings.TrimPrefix(Command(small), "go run ./cmd/cairn-jepsen sim "))
	if err != nil {
		t.Fatal(err)
	}
	again.Check = o.Check
	if r := Run(again); r.TraceHash != got.TraceHash {
		t.Errorf("%s gives trace %x, want %x", again, r.TraceHash, got.TraceHash)
	}
	if _, same := Shrink(o, &Result{}); same.Failed() {
		t.Error("a run that did not fail was shrunk")
	}
}

// TestRunReportsPanics: a panic of the product is a violation, and the next run is not disturbed.
func TestRunReportsPanics(t *testing.T) {
	o := Options{Seed: 1, Ops: 20, Duration: 2 * time.Second, Faults: NoFaults}
	res := runWith(o, func(w *world) { w.after(time.Second, func() { panic("broken invariant") }) })
	if len(res.Violations) == 0 || res.Violations[0].Kind != "panic" || !strings.Contains(res.Violations[0].Text, "broken invariant") {
		t.Errorf("violations %v, want the panic", res.Violations)
	}
	if res := Run(o); res.Failed() {
		explain(t, res)
	}
}
