package sim

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
)

// Options say what to run. Zero values leave the choice to the seed.
type Options struct {
	Seed uint64
	// Nodes is the size of the cluster, 1 to 7.
	Nodes int
	// Ledgers is how many ledgers each node hosts, 1 to 3.
	Ledgers int
	// Ops is how many operations the clients issue at most, those of all ledgers together.
	Ops int
	// Clients is how many of them issue operations at a time. Each ledger has one at least.
	Clients int
	// Pace is how long a client waits on average between two operations. The
	// default lets Ops operations take about Duration.
	Pace time.Duration
	// Duration is the virtual time during which there are operations and faults.
	Duration time.Duration
	// Faults are the kinds of faults to draw from.
	Faults FaultSet
	// Keep restricts the faults drawn to those with these numbers; nil keeps all.
	// Numbers are stable while Seed, Faults and Duration are.
	Keep []int

	// Check, when not nil, is asked in addition to the built-in checks. It is no
	// part of String: only tests set it.
	Check func(*Result) error `json:"-"`

	// fills: the nodes keep hardly any Raft log, and one of them lies to those that lack blocks.
	fills bool
	// members: the members of every ledger come and go.
	members bool
	// losses: a node that is killed or loses power loses its store now and then, too.
	losses bool
}

// FaultSet is a set of kinds of faults. The zero value means: the seed chooses.
type FaultSet uint32

// The kinds of faults.
const (
	FaultKill      FaultSet = 1 << iota // a process ends; the kernel lives on
	FaultPower                          // power fails for one node, a majority or all
	FaultStop                           // a node is stopped cleanly
	FaultPartition                      // links fail, in several shapes
	FaultFlaky                          // much loss, delay, repetition and overtaking
	FaultPause                          // processes stand still
	FaultSlowDisk                       // syncs take long
	FaultSyncError                      // a sync fails, and the node with it
	FaultBitFlip                        // of a minority, in the log or the store
	FaultClock                          // wall clocks jump, ticks come too fast or too slow
	FaultTransfer                       // leaders hand over
	FaultHint                           // a node is told that a peer is dead
	FaultClients                        // clients do not reach a node
	FaultSwap                           // a minority stalls, power fails elsewhere, then the others stall

	faultKinds = iota
	// NoFaults is the set without any.
	NoFaults FaultSet = 1 << 31
	// AllFaults is the set of all.
	AllFaults FaultSet = 1<<faultKinds - 1
)

var faultNames = [faultKinds]string{
	"kill", "power", "stop", "partition", "flaky", "pause", "slow-disk", "sync-error", "bit-flip", "clock", "transfer", "hint", "clients", "swap",
}

// String returns the names, separated by commas; "auto" for the zero value, "none", "all".
func (f FaultSet) String() string {
	switch f {
	case 0:
		return "auto"
	case NoFaults:
		return "none"
	case AllFaults:
		return "all"
	}
	var names []string
	for i, name := range faultNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Set parses what String returns; it makes FaultSet a flag.Value.
func (f *FaultSet) Set(s string) error {
	switch s {
	case "auto", "":
		*f = 0
		return nil
	case "none":
		*f = NoFaults
		return nil
	case "all":
		*f = AllFaults
		return nil
	}
	*f = 0
	for _, name := range strings.Split(s, ",") {
		i := slices.Index(faultNames[:], name)
		if i < 0 {
			return errors.Newf("no fault %q; there are auto, none, all, %s", name, strings.Join(faultNames[:], ", "))
		}
		*f |= 1 << i
	}
	return nil
}

// keepValue is Options.Keep as a flag: numbers separated by commas.
type keepValue struct{ to *[]int }

func (k keepValue) String() string {
	if k.to == nil || *k.to == nil {
		return ""
	}
	names := make([]string, len(*k.to))
	for i, n := range *k.to {
		names[i] = strconv.Itoa(n)
	}
	return strings.Join(names, ",")
}

func (k keepValue) Set(s string) error {
	*k.to = nil
	if s == "" {
		return nil
	}
	for _, part := range strings.Split(s, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return errors.Newf("%q is no number of a fault", part)
		}
		*k.to = append(*k.to, n)
	}
	return nil
}

// Flags registers the options as flags that set o.
func (o *Options) Flags(fs *flag.FlagSet) {
	fs.Uint64Var(&o.Seed, "seed", o.Seed, "seed that decides everything")
	fs.IntVar(&o.Nodes, "nodes", o.Nodes, "nodes, 1 to 7; 0: the seed chooses")
	fs.IntVar(&o.Ledgers, "ledgers", o.Ledgers, "ledgers, 1 to 3; 0: the seed chooses")
	fs.IntVar(&o.Ops, "ops", o.Ops, "operations; 0: the seed chooses")
	fs.IntVar(&o.Clients, "clients", o.Clients, "concurrent clients; 0: the seed chooses")
	fs.DurationVar(&o.Pace, "pace", o.Pace, "mean virtual time between two operations of a client; 0: so that all take as long as the run")
	fs.DurationVar(&o.Duration, "duration", o.Duration, "virtual time with operations and faults; 0: the seed chooses")
	fs.Var(&o.Faults, "faults", "kinds of faults, separated by commas, or auto, none, all")
	fs.Var(keepValue{&o.Keep}, "keep", "numbers of the faults to keep, separated by commas; empty: all")
}

// String returns the flags that repeat the run, for ParseOptions.
func (o Options) String() string {
	s := fmt.Sprintf("--seed %d", o.Seed)
	number := func(name string, n int) {
		if n != 0 {
			s += fmt.Sprintf(" --%s %d", name, n)
		}
	}
	number("nodes", o.Nodes)
	number("ledgers", o.Ledgers)
	number("ops", o.Ops)
	number("clients", o.Clients)
	if o.Pace != 0 {
		s += fmt.Sprintf(" --pace %s", o.Pace)
	}
	if o.Duration != 0 {
		s += fmt.Sprintf(" --duration %s", o.Duration)
	}
	if o.Faults != 0 {
		s += fmt.Sprintf(" --faults %s", o.Faults)
	}
	if len(o.Keep) > 0 {
		s += fmt.Sprintf(" --keep %s", keepValue{&o.Keep})
	}
	return s
}

// ParseOptions parses flags, separated by blanks.
func ParseOptions(s string) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("sim", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o.Flags(fs)
	if err := fs.Parse(strings.Fields(s)); err != nil {
		return o, errors.Wrap(err, "parse simulation options")
	}
	if fs.NArg() > 0 {
		return o, errors.Newf("parse simulation options: unexpected %q", fs.Arg(0))
	}
	return o, o.validate()
}

func (o Options) validate() error {
	switch {
	case o.Nodes < 0 || o.Nodes > maxNodes:
		return errors.Newf("%d nodes, want 1 to %d", o.Nodes, maxNodes)
	case o.Ledgers < 0 || o.Ledgers > maxLedgers:
		return errors.Newf("%d ledgers, want 1 to %d", o.Ledgers, maxLedgers)
	case o.Ops < 0 || o.Ops > maxOps:
		return errors.Newf("%d operations, want at most %d", o.Ops, maxOps)
	case o.Clients < 0 || o.Clients > maxClients:
		return errors.Newf("%d clients, want at most %d", o.Clients, maxClients)
	case o.Pace < 0 || o.Pace > maxDuration:
		return errors.Newf("pace %s, want at most %s", o.Pace, maxDuration)
	case o.Duration < 0 || o.Duration > maxDuration:
		return errors.Newf("duration %s, want at most %s", o.Duration, maxDuration)
	}
	return nil
}

const (
	maxNodes    = 7
	maxLedgers  = 3
	maxOps      = 1 << 20
	maxClients  = 1 << 10
	maxDuration = 24 * time.Hour
)

// Command is the command that repeats a run.
func Command(o Options) string { return "go run ./cmd/cairn-jepsen sim " + o.String() }
