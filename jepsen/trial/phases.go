package trial

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/nemesis"
	"github.com/cairnledger/cairn/jepsen/report"
	"github.com/cairnledger/cairn/jepsen/workload"
)

// phased lets the clients work: without faults, with them, and without again.
func (t *trial) phased(ctx context.Context, kinds []string) (events []nemesis.Event, err error) {
	out, err := os.Create(filepath.Join(t.opt.Dir, nemesisFile))
	if err != nil {
		return nil, errors.Wrap(err, "record faults")
	}
	defer func() { err = errors.CombineErrors(err, out.Close()) }()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go t.progress(watching)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t.watchProcesses(watching)
	}()
	t.phases.Before = t.calm(ctx)
	t.arena = nemesis.NewArena(t.bed, t.opt.Seed)
	striking, cancel := context.WithTimeout(ctx, t.opt.Time-2*t.opt.Calm)
	defer cancel()
	events = nemesis.Swarm(striking, t.arena, nemesis.Plan{
		Kinds: kinds, Start: t.start, Hold: t.opt.Hold, Quiet: t.opt.Quiet,
		Note: func(e nemesis.Event) {
			if !e.Skipped {
				t.mu.Lock()
				t.faults++
				t.mu.Unlock()
			}
			if err := writeLine(out, e); err != nil {
				t.opt.Logf("record fault: %v", err)
			}
		},
	})
	<-striking.Done() // also without any fault
	t.phases.During = t.load.Counts().OK.Load() - t.phases.Before
	// From here on nodes are started again that ended by themselves: look first.
	stop()
	<-ended
	if ctx.Err() != nil {
		return events, nil
	}
	healing, cancelHealing := context.WithTimeout(ctx, healTimeout)
	defer cancelHealing()
	if err := t.bed.Heal(healing); err != nil && ctx.Err() == nil {
		t.breaks("the cluster did not recover after everything had healed: %v", err)
	}
	t.phases.After = t.calm(ctx)
	return events, nil
}

// calm is a time without faults: as long as it was asked for, and on a slow machine
// until enough has succeeded. It returns how many operations did.
func (t *trial) calm(ctx context.Context) int64 {
	ok := t.load.Counts().OK.Load
	begun, from := time.Now(), ok()
	pause(ctx, t.opt.Calm)
	for ok()-from < t.opt.Least && time.Since(begun) < healTimeout && ctx.Err() == nil {
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

// finish ends the clients and reads the final ledger; nil if that is not possible.
func (t *trial) finish(ctx context.Context) *workload.Final {
	if err := t.load.Stop(); err != nil {
		t.invalid = append(t.invalid, "the history could not be written: "+err.Error())
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, finalTimeout)
	defer cancel()
	appending, cancelAppend := context.WithTimeout(ctx, healTimeout)
	defer cancelAppend()
	if err := t.load.LastAppend(appending); err != nil {
		t.breaks("%v", err)
	}
	t.opt.Progress("reading the final ledger from every node")
	final, err := t.load.ReadFinal(ctx)
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

// watchProcesses notes a node that ended although nobody ended it.
func (t *trial) watchProcesses(ctx context.Context) {
	known := make([]bool, t.bed.Size())
	gone := func() (nodes []int) {
		for _, i := range t.bed.Unclaimed() {
			if !t.bed.Running(i) {
				nodes = append(nodes, i)
			}
		}
		return nodes
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
		for _, i := range gone() {
			// Whoever claimed it meanwhile may have ended it.
			if slices.Contains(gone(), i) && !known[i] {
				known[i] = true
				t.breaks("%s ended by itself at %s; the end of its log: %s", t.bed.Name(i),
					time.Since(t.start).Round(time.Millisecond), strings.TrimSpace(t.bed.LogTail(i, 400)))
			}
		}
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
		faults, broken := t.faults, len(t.broken)
		t.mu.Unlock()
		s := fmt.Sprintf("%s of %s: %d ops (%d/s), %d ok, %d refused, %d unknown, %d entries, %d faults, %s",
			time.Since(t.start).Round(time.Second), t.opt.Time, ops, (ops-last)/int64(progressEvery/time.Second),
			c.OK.Load(), c.Fail.Load(), c.Info.Load(), t.load.Size(), faults, leader)
		if n := len(t.load.Violations()) + broken; n > 0 {
			s += fmt.Sprintf(", %d CONTRADICTIONS", n)
		}
		last = ops
		t.opt.Progress(s)
	}
}

// enough says why the run proves too little.
func (t *trial) enough(events []nemesis.Event) (why []string) {
	for _, p := range []struct {
		name string
		ok   int64
	}{{"before", t.phases.Before}, {"during", t.phases.During}, {"after", t.phases.After}} {
		if p.ok < t.opt.Least {
			why = append(why, fmt.Sprintf("only %d operations succeeded %s the faults, want %d", p.ok, p.name, t.opt.Least))
		}
	}
	happened := 0
	for _, e := range events {
		if e.Skipped {
			continue
		}
		happened++
		if e.Observed == "" {
			why = append(why, fmt.Sprintf("%s on %s was not seen to take effect: %s", e.Name, e.Target, e.Problem))
		}
	}
	if happened == 0 && t.opt.Nemesis != "none" {
		why = append(why, "there were no faults")
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
