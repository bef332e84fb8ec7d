// Package trial runs one test of a real cluster: clients record what they were
// told, faults happen, everything heals, the final ledger is read from every node,
// and the checkers say whether any two observations contradict each other.
//
// Everything that a verdict rests on is left in a directory:
//
//	history.jsonl   every operation, written while it happened
//	final.jsonl     the ledger at the end: key, payload and leaf hash by index
//	evidence.jsonl  checkpoints and receipts that clients were given
//	policy          what they are verified with
//	nemesis.jsonl   every fault: when, whom, how it was observed
//	results.json    the verdict with its reasons and figures
//	index.html      the same for people
//	logs/           what the nodes wrote
//
// Recheck gives the verdict again from these files alone. A run is Invalid, and
// neither good nor bad, when a fault was not seen to take effect, when one never
// happened although there was time for it, when the clients had too few successes
// before, during or after the faults, or never succeeded in something that they do.
//
// Its caller is cmd/cairn-jepsen.
package trial

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/bank"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/jepsen/nemesis"
	"github.com/cairnledger/cairn/jepsen/report"
	"github.com/cairnledger/cairn/jepsen/testbed"
	"github.com/cairnledger/cairn/jepsen/workload"
	"github.com/cairnledger/cairn/jepsen/zoo"
	"github.com/cairnledger/cairn/ledger/seal"
)

// Options describe a trial.
type Options struct {
	Dir   string // absent or empty
	Nodes int
	Seed  uint64
	// Time is how long clients work, faults or not.
	Time time.Duration
	// Nemesis names the faults, as nemesis.Select reads them.
	Nemesis string
	// Hold and Quiet are how long a fault lasts and what passes between two;
	// zero: 1 to 6 s and 0.5 to 5 s.
	Hold, Quiet [2]time.Duration
	// Calm is how long there are no faults at the beginning and at the end; zero: a
	// tenth of Time, 1 s to 10 s.
	Calm time.Duration
	// Least is how many operations must succeed before, during and after the faults;
	// zero: 50.
	Least int64
	// Executable is the program that the nodes run, with a sub-command "node".
	// Empty: cmd/cairn is built, which needs the source and Go.
	Executable string
	// Bug, when not nil, is planted into the program that is built: a trial of it has
	// to fail. Executable must be empty then.
	Bug *zoo.Bug
	// Disks gives each node a disk of its own, if the machine allows it.
	Disks bool
	// Clocks lets each node's wall clock be moved: Executable was built with such
	// clocks, or is to be.
	Clocks   bool
	Workload workload.Options // Seed is taken from above
	// Bank is the clients of a settlement ledger beside the first one; negative Tellers: there is
	// none. Seed is taken from above.
	Bank bank.Options
	// Keep leaves the nodes' directories behind, keys included. After a failure
	// they are always kept.
	Keep    bool
	Command string // that does this run again, for the report
	// Progress, when not nil, is told every few seconds how it goes.
	Progress func(string)
	Logf     func(string, ...any)
}

func (o *Options) fill() error {
	if o.Time <= 0 {
		return errors.New("a trial needs a duration")
	}
	if o.Hold == [2]time.Duration{} {
		o.Hold = [2]time.Duration{time.Second, 6 * time.Second}
	}
	if o.Quiet == [2]time.Duration{} {
		o.Quiet = [2]time.Duration{500 * time.Millisecond, 5 * time.Second}
	}
	if o.Calm <= 0 {
		o.Calm = min(max(o.Time/10, time.Second), 10*time.Second)
	}
	if o.Bug != nil && o.Executable != "" {
		return errors.New("a bug is planted into a program that is built here, not into one that exists: leave one of the two out")
	}
	if 2*o.Calm >= o.Time {
		return errors.Newf("%s is too short: the first and the last %s have no faults", o.Time, o.Calm)
	}
	if o.Least <= 0 {
		o.Least = 50
	}
	if o.Nemesis == "" {
		o.Nemesis = "swarm"
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	o.Workload.Seed, o.Bank.Seed = o.Seed, o.Seed
	if o.Bank.Rate <= 0 {
		o.Bank.Rate = 100
	}
	return nil
}

func (o *Options) title() string {
	s := fmt.Sprintf("%s on %d nodes, %s", o.Nemesis, o.Nodes, o.Time)
	if o.Bug != nil {
		s += ", with the deliberate bug " + o.Bug.Name
	}
	return s
}

// striking is how long there are faults.
func (o *Options) striking() time.Duration { return o.Time - 2*o.Calm }

// diskBytes is the size of each node's disk. The file is sparse.
const diskBytes = 16 << 30

const (
	// startTimeout bounds the start of a healthy cluster, healTimeout its recovery,
	// settleTimeout its coming to rest once nobody appends, finalTimeout the reading of
	// the final ledger, however large.
	startTimeout  = time.Minute
	healTimeout   = 2 * time.Minute
	settleTimeout = 5 * time.Minute
	finalTimeout  = time.Hour
	// brokenTimeout is in settleTimeout's place when a promise has been broken already:
	// such a cluster may never come to rest.
	brokenTimeout = time.Minute
)

// trial is a run in progress.
type trial struct {
	opt   Options
	start time.Time
	bed   *testbed.Testbed
	arena *nemesis.Arena
	load  *workload.Workload
	bank  *bank.Bank // nil: none
	rec   *history.Recorder

	mu     sync.Mutex
	faults int
	// broken are promises that were broken outside of any history, invalid why the
	// run says nothing.
	broken, invalid []string
	phases          phases
	loadEnd         time.Duration // since start; when the clients were done
}

// phases are successful operations before, during and after the faults; then, how many
// appends waited for their receipts after the faults, and how many got them.
type phases struct{ Before, During, After, Waited, Sealed int64 }

func (t *trial) breaks(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = append(t.broken, fmt.Sprintf(format, args...))
}

// broke returns how many broken promises are known so far.
func (t *trial) broke() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.broken) + len(t.load.Violations())
}

// Run runs a trial. An error says that there was none; otherwise look at the
// verdict. Cancelling ctx ends it early, with the same cleaning up.
func Run(ctx context.Context, o Options) (_ *Result, err error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if err := claimDir(o.Dir); err != nil {
		return nil, err
	}
	if o.Executable == "" {
		tmp, err := os.MkdirTemp("", "cairn-jepsen-")
		if err != nil {
			return nil, errors.Wrap(err, "make directory for the program")
		}
		defer os.RemoveAll(tmp)
		o.Progress("building cmd/cairn")
		var overlay map[string]string
		if o.Bug != nil {
			if overlay, err = o.Bug.Overlay("", tmp); err != nil {
				return nil, err
			}
		}
		if o.Executable, err = testbed.BuildNode(ctx, tmp, overlay, o.Clocks); err != nil {
			return nil, err
		}
	}
	t := &trial{opt: o}
	t.bed, err = testbed.New(testbed.Options{
		Dir: o.Dir, Nodes: o.Nodes, Seed: o.Seed, Executable: o.Executable, Lifeline: true,
		Disks: o.Disks, DiskBytes: diskBytes, Clocks: o.Clocks, Logf: o.Logf,
	})
	if err != nil {
		return nil, err
	}
	closed := false
	closeBed := func() error {
		if closed {
			return nil
		}
		closed = true
		return t.bed.Close()
	}
	defer func() { err = errors.CombineErrors(err, closeBed()) }()
	kinds, err := nemesis.Select(t.bed, o.Nemesis)
	if err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := t.bed.Start(starting); err != nil {
		return nil, errors.Wrap(err, "start the cluster")
	}
	if t.rec, err = history.Create(filepath.Join(o.Dir, historyFile)); err != nil {
		return nil, err
	}
	r := &Result{Dir: o.Dir}
	wall := time.Now()
	t.start = wall
	o.Workload.Readable = t.bed.Readable
	if t.load, err = workload.Start(t.bed.Cluster, t.rec, t.start, o.Workload); err != nil {
		return nil, errors.CombineErrors(err, t.rec.Close())
	}
	defer t.load.Close()
	if o.Bank.Tellers >= 0 {
		opening, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		if t.bank, err = bank.Open(opening, t.bed.Cluster, o.Bank); err != nil {
			return nil, errors.CombineErrors(err, t.rec.Close())
		}
		defer t.bank.Close()
	}
	events, err := t.phased(ctx, kinds)
	if err != nil {
		return nil, errors.CombineErrors(err, t.rec.Close())
	}
	final := t.finish(ctx)
	r.Bank = t.closeBank(ctx)
	t.noteEnds()
	t.load.Close()
	if err := t.rec.Close(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.Wrap(err, "the trial was interrupted")
	}
	r.Run = report.Run{
		Title: o.title(), Ring: report.RealProcesses,
		Start: wall, End: time.Now(), LoadEnd: t.loadEnd, Ops: t.load.Ops(), Nodes: t.strips(),
		Params: report.Params{
			Seed: o.Seed, Nodes: o.Nodes, GitCommit: gitCommit(), GoVersion: runtime.Version(), Kernel: kernel(),
			Level: t.bed.Level.String(), Command: o.Command, Recheck: "go run ./cmd/cairn-jepsen recheck " + o.Dir,
		},
	}
	r.Phases = t.phases
	for _, k := range o.Workload.Kinds() {
		r.Kinds = append(r.Kinds, k.String())
	}
	r.take(events)
	if final != nil {
		r.Run.Final = final.Entries
	}
	r.evidence = t.load.Proof.All()
	policy, err := os.ReadFile(t.bed.Cluster.PolicyPath())
	if err != nil {
		return nil, errors.Wrap(err, "read policy")
	}
	r.policy = policy
	counts := t.load.Counts()
	r.Asked, r.Proofs = counts.Asked.Load(), proofs{counts.Inclusions.Load(), counts.Consistencies.Load()}
	if err := closeBed(); err != nil {
		t.invalid = append(t.invalid, "cleaning up failed: "+err.Error())
	}
	t.keepLogs()
	r.Broken, r.Invalid = t.broken, t.invalid
	r.Invalid = append(r.Invalid, t.enough(events, t.plan(kinds).Due(o.striking()))...)
	r.own = t.load.Violations()
	o.Progress(fmt.Sprintf("checking %d operations against %d entries", len(r.Run.Ops), len(r.Run.Final)))
	if err := r.judge(); err != nil {
		return nil, err
	}
	if err := r.save(); err != nil {
		return nil, err
	}
	if r.Run.Verdict != report.Fail && !o.Keep {
		_ = os.RemoveAll(filepath.Join(o.Dir, "cluster"))
	}
	_ = os.Remove(filepath.Join(o.Dir, "disks")) // if it is empty
	return r, r.page()
}

// claimDir makes sure that a directory is empty.
func claimDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errors.Wrap(err, "make directory for the results")
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = errors.Newf("it is not empty: choose another")
	}
	return errors.Wrapf(err, "use directory %s", dir)
}

// keepLogs copies the nodes' logs, and looks for what must never be in them.
func (t *trial) keepLogs() {
	dir := filepath.Join(t.opt.Dir, logsDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.invalid = append(t.invalid, "the nodes' logs could not be kept: "+err.Error())
		return
	}
	for i := range t.bed.Size() {
		b, err := os.ReadFile(t.bed.Cluster.LogPath(t.bed.Name(i)))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, t.bed.Name(i)+".log"), b, 0o644)
		}
		if err != nil {
			t.invalid = append(t.invalid, fmt.Sprintf("the log of %s could not be kept: %v", t.bed.Name(i), err))
		}
		for line := range strings.Lines(string(b)) {
			if confesses(line, t.bed.Scarred(i)) {
				t.breaks("%s wrote: %s", t.bed.Name(i), strings.TrimSpace(line))
			}
		}
	}
}

// confesses says whether a line of a node's log tells what must never happen. A node
// whose files were damaged may fail requests, and compute other roots than the others.
func confesses(line string, scarred bool) bool {
	if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") || strings.Contains(line, "WARNING: DATA RACE") {
		return true
	}
	if scarred {
		return false
	}
	return strings.Contains(line, ": panic: ") || // of a request, and recovered
		strings.Contains(line, "msg=sealing") && (strings.Contains(line, seal.ErrForged.Error()) || strings.Contains(line, seal.ErrRootMismatch.Error()))
}
