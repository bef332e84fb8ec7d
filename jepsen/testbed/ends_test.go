package testbed

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary stand in for a node: it does nothing until its
// standard input ends, or ends at once when its directory has a file "end".
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "node" {
		if _, err := os.Stat("end"); err != nil {
			_, _ = io.Copy(io.Discard, os.Stdin)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func standIns(t *testing.T, nodes int) *Testbed {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bed, err := New(Options{Dir: filepath.Join(t.TempDir(), "bed"), Nodes: nodes, Executable: exe, Lifeline: true, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	return bed
}

// TestUnaskedEnds: a process that ends by itself is noticed, although another one takes its place
// before anybody looks; one that was told to end, or whose disk is harmed, is no surprise.
func TestUnaskedEnds(t *testing.T) {
	bed := standIns(t, 4)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	end := func(i int) {
		t.Helper()
		must(syscall.Kill(bed.PID(i), syscall.SIGKILL))
		waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		must(bed.AwaitEnd(waiting, i))
	}
	wants := func(when string, want ...int) {
		t.Helper()
		var got []int
		for _, e := range bed.Unasked() {
			got = append(got, e.Node)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: nodes %v ended by themselves, want %v", when, got, want)
		}
	}
	wants("before the start")
	must(bed.Spawn(ctx, 0, 1, 2, 3))
	wants("after the start")

	end(0)
	must(bed.Spawn(ctx, 0))
	must(bed.Kill(1))
	if bed.Running(1) {
		t.Error("a node that was killed runs")
	}
	must(bed.Spawn(ctx, 1))
	bed.Harm(2, NoPower)
	end(2)
	bed.Mend(2, NoPower)
	must(bed.Spawn(ctx, 2))
	end(3)
	if err := bed.Stop(3); err == nil {
		t.Error("a node that is gone was stopped")
	}
	wants("after one each was ended by itself, killed, without power, and gone before it was stopped", 0, 3)
	wants("looked again")

	must(os.WriteFile(filepath.Join(bed.Cluster.NodeDir("n2"), "end"), nil, 0o600))
	must(bed.Kill(1))
	_ = bed.Spawn(ctx, 1) // may have noticed already
	waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	must(bed.AwaitEnd(waiting, 1))
	wants("ended while it started", 1)
}

// TestReadable: a node is to blame for what it cannot read, unless its disk was
// without power or damaged at any time since it was asked.
func TestReadable(t *testing.T) {
	bed := standIns(t, 1)
	for _, c := range []struct {
		harm             Harm
		excused, scarred bool
	}{{NoSpace, false, false}, {NoPower, true, false}, {Damaged, true, true}} {
		asked := time.Now()
		if !bed.Readable(0, asked) {
			t.Errorf("before harm %d: the node is excused", c.harm)
		}
		bed.Harm(0, c.harm)
		if bed.Readable(0, time.Now()) == c.excused {
			t.Errorf("under harm %d: excused %t, want %t", c.harm, !c.excused, c.excused)
		}
		bed.Mend(0, c.harm)
		if bed.Readable(0, asked) == c.excused {
			t.Errorf("asked before harm %d, answered after it: excused %t, want %t", c.harm, !c.excused, c.excused)
		}
		if !bed.Readable(0, time.Now()) {
			t.Errorf("after harm %d: the node is excused", c.harm)
		}
		if bed.Scarred(0) != c.scarred {
			t.Errorf("after harm %d: scarred %t, want %t", c.harm, !c.scarred, c.scarred)
		}
	}
}
