package trial

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/bank"
	"github.com/cairnledger/cairn/jepsen/nemesis"
	"github.com/cairnledger/cairn/jepsen/report"
	"github.com/cairnledger/cairn/jepsen/workload"
	"github.com/cairnledger/cairn/settlement"
)

// phased lets the clients work: without faults, with them, and without again.
func (t *trial) phased(ctx context.Context, kinds []string) (events []nemesis.Event, err error) {
	out, err := os.Create(filepath.Join(t.opt.Dir, nemesisFile))
	if err != nil {
		return nil, errors.Wrap(err, "record faults")
	}
	defer func() { err = errors.CombineErrors(err, out.Close()) }()
	defer t.watch(ctx)()
	t.phases.Before = t.calm(ctx)
	t.arena = nemesis.NewArena(t.bed, t.opt.Seed)
	striking, cancel := context.WithTimeout(ctx, t.opt.striking())
	defer cancel()
	plan := t.plan(kinds)
	plan.Note = func(e nemesis.Event) {
		t.struck(e)
		if err := writeLine(out, e); err != nil {
			t.opt.Logf("record fault: %v", err)
		}
	}
	events = nemesis.Swarm(striking, t.arena, plan)
	<-striking.Done() // also without any fault
	t.phases.During = t.load.Counts().OK.Load() - t.phases.Before
	if ctx.Err() != nil {
		return events, nil
	}
	healing, cancelHealing := context.WithTimeout(ctx, healTimeout)
	defer cancelHealing()
	if err := t.bed.Heal(healing); err != nil && ctx.Err() == nil {
		t.breaks("the cluster did not recover after everything had healed: %v", err)
	}
	t.phases.After = t.calm(ctx)
	t.phases.Waited, t.phases.Sealed = t.load.Seals()
	return events, nil
}

func (t *trial) plan(kinds []string) nemesis.Plan {
	return nemesis.Plan{Kinds: kinds, Start: t.start, Hold: t.opt.Hold, Quiet: t.opt.Quiet}
}

// struck notes a fault that is over.
func (t *trial) struck(e nemesis.Event) {
	if e.Skipped {
		return
	}
	t.mu.Lock()
	t.faults++
	t.mu.Unlock()
	if e.Broken != "" {
		t.breaks("%s: %s", e.Name, e.Broken)
	}
}

// watch tells how it goes and notes ends that nobody asked for, until the returned
// function is called.
func (t *trial) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, f := range []func(context.Context){t.progress, t.watchEnds} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f(ctx)
		}()
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// calm is a time without faults: as long as it was asked for, and on a slow machine
// until enough has succeeded and a receipt was given. It returns how many operations
// succeeded.
func (t *trial) calm(ctx context.Context) int64 {
	ok := t.load.Counts().OK.Load
	begun, from := time.Now(), ok()
	t.load.CountSeals()
	enough := func() bool {
		_, sealed := t.load.Seals()
		return sealed > 0 && ok()-from >= t.opt.Least
	}
	pause(ctx, t.opt.Calm)
	for !enough() && time.Since(begun) < healTimeout && ctx.Err() == nil {
		pause(ctx, 10*time.Millisecond)
	}
	return ok() - from
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// closeBank ends the tellers and judges their ledger; nil when there is none, or nothing to judge.
func (t *trial) closeBank(ctx context.Context) *bank.Verdict {
	if t.bank == nil {
		return nil
	}
	t.bank.Stop()
	t.opt.Progress("reading the bank's ledger from every node")
	ctx, cancel := context.WithTimeout(ctx, finalTimeout)
	defer cancel()
	patience := settleTimeout
	if t.broke() > 0 {
		patience = brokenTimeout
	}
	v, err := t.bank.Judge(ctx, patience)
	if err != nil {
		t.breaks("the bank's ledger cannot be judged: %v", err)
		return nil
	}
	for _, why := range v.Broken {
		t.breaks("%s", why)
	}
	if v.Nodes < t.bed.Size() {
		t.breaks("only %d of %d nodes gave the bank's ledger", v.Nodes, t.bed.Size())
	}
	if v.Answers == 0 || v.Counts.Statuses[settlement.Posted] == 0 {
		t.invalid = append(t.invalid, fmt.Sprintf("the bank's tellers got %d answers, and %d transfers were posted: that shows nothing", v.Answers, v.Counts.Statuses[settlement.Posted]))
	}
	return v
}

// finish ends the clients and reads the final ledger; nil if that is not possible.
func (t *trial) finish(ctx context.Context) *workload.Final {
	if err := t.load.Stop(); err != nil {
		t.invalid = append(t.invalid, "the history could not be written: "+err.Error())
		return nil
	}
	t.loadEnd = time.Since(t.start)
	ctx, cancel := context.WithTimeout(ctx, finalTimeout)
	defer cancel()
	appending, cancelAppend := context.WithTimeout(ctx, healTimeout)
	defer cancelAppend()
	if err := t.load.LastAppend(appending); err != nil {
		t.breaks("%v", err)
	}
	t.opt.Progress("reading the final ledger from every node")
	settle := settleTimeout
	if t.broke() > 0 {
		settle = brokenTimeout
	}
	final, err := t.load.ReadFinal(ctx, settle)
	if err != nil {
		t.breaks("the final ledger cannot be read: %v", err)
		return nil
	}
	if final.Unsettled != "" {
		t.breaks("the cluster did not come to rest: %s", final.Unsettled)
	}
	if final.Nodes < t.bed.Size() {
		t.breaks("only %d of %d nodes gave the final ledger", final.Nodes, t.bed.Size())
	}
	telling, cancelTelling := context.WithTimeout(ctx, time.Minute)
	defer cancelTelling()
	if !t.load.AwaitWatchers(telling, uint64(len(final.Entries))) {
		t.breaks("a watcher was not told everything within a minute")
	}
	return final
}

// watchEnds notes ends while there is somebody to tell; none that comes between is lost.
func (t *trial) watchEnds(ctx context.Context) {
	for ctx.Err() == nil {
		t.noteEnds()
		pause(ctx, 200*time.Millisecond)
	}
}

// noteEnds notes the nodes that ended although nobody had ended them.
func (t *trial) noteEnds() {
	for _, e := range t.bed.Unasked() {
		t.breaks("%s ended by itself at %s; the end of its log: %s", t.bed.Name(e.Node),
			e.At.Sub(t.start).Round(time.Millisecond), strings.TrimSpace(e.Log))
	}
}

const progressEvery = 5 * time.Second

func (t *trial) progress(ctx context.Context) {
	last := int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(progressEvery):
		}
		c := t.load.Counts()
		ops := c.Ops()
		leader := "no leader"
		if i, term, err := t.bed.Monitor.Leader(); err == nil {
			leader = fmt.Sprintf("%s leads term %d", t.bed.Name(i), term)
		}
		t.mu.Lock()
		faults := t.faults
		t.mu.Unlock()
		s := fmt.Sprintf("%s of %s: %d ops (%d/s), %d ok, %d refused, %d unknown, %d entries, %d faults, %s",
			time.Since(t.start).Round(time.Second), t.opt.Time, ops, (ops-last)/int64(progressEvery/time.Second),
			c.OK.Load(), c.Fail.Load(), c.Info.Load(), t.load.Size(), faults, leader)
		if n := t.broke(); n > 0 {
			s += fmt.Sprintf(", %d CONTRADICTIONS", n)
		}
		last = ops
		t.opt.Progress(s)
	}
}

// enough says why the run proves too little. due are the faults of which each had the
// time to happen.
func (t *trial) enough(events []nemesis.Event, due []string) (why []string) {
	for _, p := range []struct {
		name string
		ok   int64
	}{{"before", t.phases.Before}, {"during", t.phases.During}, {"after", t.phases.After}} {
		if p.ok < t.opt.Least {
			why = append(why, fmt.Sprintf("only %d operations succeeded %s the faults, want %d", p.ok, p.name, t.opt.Least))
		}
	}
	if t.phases.Waited == 0 {
		why = append(why, "no append waited for its receipt after the faults")
	}
	happened, seen := 0, map[string]bool{}
	for _, e := range events {
		if e.Skipped {
			continue
		}
		happened++
		if seen[e.Name] = seen[e.Name] || e.Observed != ""; e.Observed == "" {
			why = append(why, fmt.Sprintf("%s on %s was not seen to take effect: %s", e.Name, e.Target, e.Problem))
		}
	}
	if happened == 0 && t.opt.Nemesis != "none" {
		why = append(why, "there were no faults")
	}
	for _, name := range due {
		if !seen[name] {
			why = append(why, name+" was never seen to take effect")
		}
	}
	return why
}

// strips are what the nodes said about themselves.
func (t *trial) strips() (all []report.NodeStrip) {
	for i, samples := range t.bed.Monitor.Samples() {
		s := report.NodeStrip{Node: t.bed.Name(i)}
		for _, x := range samples {
			if at := x.At.Sub(t.start); at >= 0 {
				s.Samples = append(s.Samples, report.Sample{At: at, Term: x.Term, Commit: x.Commit, Role: x.Role})
			}
		}
		all = append(all, s)
	}
	return all
}

func gitCommit() string {
	out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func kernel() string {
	b, err := os.ReadFile("/proc/version")
	if err != nil {
		return "unknown"
	}
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], " ")
}
