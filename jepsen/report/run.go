// Package report turns one run of the fault tests, simulated or real, into a page
// that a person can read: index.html, self-contained, without a script, font or
// image from anywhere else.
//
// The page shows the verdict first, then what contradicts what, then the run: latency,
// throughput and availability over time with the faults as bands, what every
// node believed, and the fate of every append. It is a picture of what the caller
// found, and it never looks better than that: a pass with violations in it is
// shown as a failure, one with a fault that nobody saw take effect as invalid.
//
// Everything is aggregated before it is drawn, so the page stays below 3 MB
// whatever the number of operations; nothing rare is lost by it: dots that
// coincide at the resolution of the plot are one dot, the others are all there.
//
//	err := report.Write(dir, report.Run{Title: "swarm", Ring: report.RealProcesses, Verdict: report.Pass, ...})
//
// The caller is cmd/cairn-jepsen. The same input gives the same bytes.
package report

import (
	"time"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
)

// Ring says what kind of run it was.
type Ring uint8

// The rings that have reports.
const (
	// Simulation: the state machines under a seeded event heap, in virtual time.
	Simulation Ring = 1
	// RealProcesses: the real binary, real sockets, real disks.
	RealProcesses Ring = 2
)

func (r Ring) String() string {
	switch r {
	case Simulation:
		return "simulation, virtual time"
	case RealProcesses:
		return "real processes"
	}
	return "unknown ring"
}

// Verdict is what a run says about the ledger.
type Verdict string

// The verdicts. Any other word is shown as Invalid.
const (
	// Pass: every fault took effect and no checker found a contradiction.
	Pass Verdict = "PASS"
	// Fail: a promise was broken.
	Fail Verdict = "FAIL"
	// Invalid: the run says nothing, for a reason that Reasons names.
	Invalid Verdict = "INVALID"
)

// Run is everything a report shows. Moments are durations since Start, on the
// clock of the operations (Op.Call and Op.Return, in nanoseconds).
type Run struct {
	Title   string
	Ring    Ring
	Verdict Verdict
	// Reasons say why the verdict is not Pass, most important first.
	Reasons []string
	Params  Params
	// Start and End are on the wall clock. A zero End: the last moment that
	// anything below names.
	Start, End time.Time
	// LoadEnd is when the clients were done. Operations that are called later read the
	// ledger for the verdict; they tell nothing about latency and availability. Zero:
	// there are none.
	LoadEnd time.Duration

	Ops []history.Op
	// Final is the ledger after everything has healed. It decides the fate of
	// the appends whose outcome the client never learned.
	Final      []check.FinalEntry
	Violations []check.Violation // A and B are positions in Ops
	Faults     []Fault
	Nodes      []NodeStrip
	Receipts   Receipts
	// Extra figures, shown as they are.
	Extra []Named
}

// Params are what is needed to do the run again.
type Params struct {
	Seed      uint64
	Nodes     int
	GitCommit string
	GoVersion string
	Kernel    string
	// Level is what the machine allowed, for example "root: loop disks and network namespaces".
	Level   string
	Command string // does this run again
	Recheck string // checks the saved history again
	More    []Named
}

// Named is one more parameter or figure.
type Named struct{ Name, Value string }

// Fault is one fault that was injected.
type Fault struct {
	Name   string
	Target string
	// Start <= End; End is when it was healed, equal to Start for an instant.
	Start, End time.Duration
	// Observed tells how it is known that the fault took effect. Empty: nobody
	// saw it, and the run is invalid.
	Observed string
}

// NodeStrip is what one node said about itself, in order of time.
type NodeStrip struct {
	Node    string
	Samples []Sample
}

// Sample is the state of a node from At until the next sample.
type Sample struct {
	At     time.Duration
	Term   uint64
	Commit uint64 // Raft index
	// Role is leader, follower, candidate, pre-candidate, learner or down; any
	// other word is drawn as unknown.
	Role string
}

// Receipts counts the receipts collected during the run and verified offline at its end.
type Receipts struct{ Checked, Bad int }
