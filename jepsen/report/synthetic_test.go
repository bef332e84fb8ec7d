package report_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/jepsen/report"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func digest(kind byte, n int) (d history.Digest) {
	d[0] = kind
	binary.BigEndian.PutUint64(d[8:], uint64(n))
	return d
}

var faultKinds = []struct {
	name, target, observed string
	length, outage         time.Duration
}{
	{"kill", "n1 (leader)", "process gone; new leader n2, term +1", 3 * time.Second, 380 * time.Millisecond},
	{"partition majority/minority", "n2, n4 | n1, n3, n5", "2 connections refused in each direction", 9 * time.Second, 520 * time.Millisecond},
	{"pause", "n3", "state T in /proc", 4 * time.Second, 0},
	{"slow disk", "n2", "fdatasync 212 ms", 8 * time.Second, 0},
	{"power failure", "all nodes", "file systems shut down, remounted", 2 * time.Second, 2600 * time.Millisecond},
	{"leader transfer", "n2 → n5", "leader is n5", 0, 12 * time.Millisecond},
}

// synthetic makes a run that looks like a real one: clients in closed loops, a
// fault now and then, and outages with everything that clients see in them.
func synthetic(ops int, length time.Duration, clients int) report.Run {
	rng := rand.New(rand.NewPCG(uint64(ops), 7))
	run := report.Run{
		Title: "swarm, five nodes", Ring: report.RealProcesses, Verdict: report.Pass, Start: start, End: start.Add(length),
		Params: report.Params{
			Seed: 4711, Nodes: 5, GitCommit: "794753b", GoVersion: "go1.26.8 linux/amd64", Kernel: "6.18.5",
			Level:   "root: loop disks, network namespaces",
			Command: "go run ./cmd/cairn-jepsen run --nodes 5 --faults swarm --seed 4711 --duration 2m", Recheck: "go run ./cmd/cairn-jepsen recheck jepsen/store/swarm/20260301T120000-4711",
		},
		Ops: make([]history.Op, 0, ops),
	}
	type outage struct{ from, to time.Duration }
	var outages []outage
	for at, i := length/12, 0; at < length*9/10; i++ {
		k := faultKinds[i%len(faultKinds)]
		scale := 1.0
		if length < time.Minute {
			scale = float64(length) / float64(2*time.Minute)
		}
		f := report.Fault{Name: k.name, Target: k.target, Observed: k.observed, Start: at, End: at + time.Duration(scale*float64(k.length))}
		run.Faults = append(run.Faults, f)
		if k.outage > 0 {
			outages = append(outages, outage{at, at + time.Duration(scale*float64(k.outage))})
		}
		if i%4 == 3 {
			at += time.Duration(scale * float64(3*time.Second))
			continue // the next one overlaps
		}
		at = f.End + time.Duration(scale*float64(4+rng.IntN(9))*float64(time.Second))
	}
	down := func(at time.Duration) time.Duration {
		for _, o := range outages {
			if o.from <= at && at < o.to {
				return o.to
			}
		}
		return 0
	}

	// The clients' times grow together, so the history is almost in order.
	free := make([]time.Duration, clients)
	perOp := time.Duration(float64(length) / float64(ops) * float64(clients))
	process := uint32(clients)
	ids := make([]uint32, clients)
	for i := range ids {
		ids[i] = uint32(i)
		free[i] = time.Duration(rng.Int64N(int64(perOp) + 1))
	}
	for n := range ops {
		c := n % clients
		call := free[c]
		took := time.Duration(float64(perOp) * 0.74 * math.Exp(rng.NormFloat64()*0.35))
		if rng.IntN(900) == 0 {
			took *= time.Duration(5 + rng.IntN(30))
		}
		op := history.Op{Process: ids[c], Call: int64(call), Outcome: history.OK}
		append1 := rng.IntN(10) < 6
		if append1 {
			op.Kind = history.Append
			op.Entries = []history.Entry{{Key: digest('k', n), Body: digest('b', n), Index: uint64(len(run.Final))}}
		} else if len(run.Final) > 0 && rng.IntN(2) == 0 {
			op.Kind, op.First = history.Get, uint64(rng.IntN(len(run.Final)))
			f := run.Final[op.First]
			op.Entries = []history.Entry{{Key: f.Key, Body: f.Body}}
		} else {
			op.Kind, op.Size = history.Head, uint64(len(run.Final))
		}
		end := down(call)
		switch {
		case end > 0 && rng.IntN(3) == 0:
			op.Outcome, op.Reason = history.Fail, history.Refused
			took = min(end-call, 120*time.Millisecond+took)
		case end > 0 && append1:
			op.Outcome = history.Info
			took = min(end-call, 200*time.Millisecond)
			op.Entries[0].Index = 0
		case end > 0:
			took += end - call
		case rng.IntN(400) == 0 && append1:
			op.Outcome, op.Reason, op.Seen = history.Fail, history.Conflict, 0
		}
		op.Return = int64(call + took)
		free[c] = call + took + time.Duration(float64(perOp)*0.2*rng.Float64())
		if append1 && (op.Outcome == history.OK || op.Outcome == history.Info && rng.IntN(3) > 0) {
			run.Final = append(run.Final, check.FinalEntry{Key: op.Entries[0].Key, Body: op.Entries[0].Body})
		}
		if op.Outcome == history.Info {
			op.Return = history.Never
			ids[c], process = process, process+1
		}
		run.Ops = append(run.Ops, op)
	}
	run.Receipts.Checked = len(run.Final) / 50
	run.Nodes = nodes(rng, 5, length, run.Faults)
	run.Extra = []report.Named{{Name: "leader changes", Value: fmt.Sprint(len(outages))}}
	return run
}

func nodes(rng *rand.Rand, n int, length time.Duration, faults []report.Fault) []report.NodeStrip {
	strips := make([]report.NodeStrip, n)
	term, leader, commit := uint64(1), 0, 0.0
	next := 0
	var paused [16]time.Duration
	var stuck [16]float64
	step := max(length/1200, time.Millisecond)
	for at := time.Duration(0); at < length; at += step {
		for next < len(faults) && faults[next].Start <= at {
			f := faults[next]
			victim := leader
			if f.Name == "pause" || f.Name == "slow disk" {
				victim = (leader + 1 + rng.IntN(n-1)) % n
			} else {
				leader = (leader + 1) % n
				term++
			}
			if f.Name != "leader transfer" && f.Name != "slow disk" {
				paused[victim], stuck[victim] = f.End, commit
			}
			next++
		}
		commit += step.Seconds() * 800
		for i := range strips {
			strips[i].Node = fmt.Sprintf("n%d", i+1)
			s := report.Sample{At: at, Term: term, Commit: uint64(commit), Role: "follower"}
			if i == leader {
				s.Role = "leader"
			}
			if at < paused[i] {
				s.Role, s.Commit = "down", uint64(stuck[i])
				if paused[i]-at > 3*time.Second {
					s.Role = "pre-candidate"
				}
			}
			strips[i].Samples = append(strips[i].Samples, s)
		}
	}
	return strips
}

// broken is synthetic with a stale read, a lost append and a fault that nobody saw.
func broken() report.Run {
	run := synthetic(60_000, 2*time.Minute, 24)
	run.Verdict, run.Title = report.Fail, "lease reads without quorum"
	run.Reasons = []string{"the linearizability checker found 2 contradictions", "fault 3 (pause of n3) was not observed to take effect"}
	run.Faults[2].Observed = ""

	// A head that is called a while after an append was acknowledged, and does not see it.
	stale, seen := -1, -1
	for i := len(run.Ops) / 2; stale < 0; i++ {
		if run.Ops[i].Kind == history.Head && run.Ops[i].Outcome == history.OK {
			stale = i
		}
	}
	a := &run.Ops[stale]
	for i := stale; seen < 0; i-- {
		if b := &run.Ops[i]; b.Kind == history.Append && b.Outcome == history.OK && b.Return < a.Call-2_000_000 {
			seen = i
		}
	}
	b := &run.Ops[seen]
	a.Size = b.Entries[0].Index - 3
	run.Violations = append(run.Violations, check.Violation{
		Kind: "stale", Index: a.Size, A: stale, B: seen,
		Text: fmt.Sprintf("entries from %d on cannot exist before %d ns (head of process %d), but append of process %d had seen them by %d ns", a.Size, a.Call, a.Process, b.Process, b.Return),
	})
	// The last entries were acknowledged, and are gone.
	lost := 5
	run.Final = run.Final[:len(run.Final)-lost]
	for i := range run.Ops {
		if op := &run.Ops[i]; op.Kind == history.Append && op.Outcome == history.OK && op.Entries[0].Index >= uint64(len(run.Final)) && len(run.Violations) < 2 {
			run.Violations = append(run.Violations, check.Violation{
				Kind: "lost", Index: op.Entries[0].Index, A: i, B: -1, Text: "an acknowledged entry is not in the final ledger",
			})
		}
	}
	return run
}
