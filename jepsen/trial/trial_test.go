package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/jepsen/report"
	"github.com/cairnledger/cairn/jepsen/workload"
)

// TestMain lets the test binary stand in for the program: called as "node
// --config FILE" it runs a node.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "node" {
		os.Exit(runNode(os.Args[3], slices.Contains(os.Args, "--lifeline")))
	}
	os.Exit(m.Run())
}

func runNode(file string, lifeline bool) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if lifeline {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	c, err := node.LoadConfig(file)
	if err == nil {
		err = node.Run(ctx, c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	return 0
}

func short(t *testing.T) Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Dir: filepath.Join(t.TempDir(), "run"), Nodes: 3, Seed: 1, Time: 5 * time.Second, Nemesis: "kill-one,partition-one", Least: 3,
		Calm: time.Second, Hold: [2]time.Duration{700 * time.Millisecond, time.Second}, Quiet: [2]time.Duration{50 * time.Millisecond, 100 * time.Millisecond},
		Executable: exe, Workload: workload.Options{Clients: 6, Rate: 300}, Logf: t.Logf,
		Progress: func(s string) { t.Log(s) },
	}
}

// TestTrial breaks a real cluster for a few seconds. What it leaves is enough to
// give the verdict again; and once somebody changes what a client was told, that
// verdict is another one.
func TestTrial(t *testing.T) {
	o := short(t)
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Run.Verdict != report.Pass {
		t.Fatalf("verdict %s, want PASS: %s", r.Run.Verdict, strings.Join(r.Run.Reasons, "\n"))
	}
	var names []string
	for _, f := range r.Run.Faults {
		names = append(names, f.Name)
		if f.Observed == "" {
			t.Errorf("%s was not observed", f.Name)
		}
	}
	if !slices.Contains(names, "kill-one") || !slices.Contains(names, "partition-one") {
		t.Errorf("faults %v, want both kinds", names)
	}
	if len(r.Run.Final) == 0 || r.Evidence.Notes == 0 {
		t.Errorf("%d entries and %d checkpoints, want some", len(r.Run.Final), r.Evidence.Notes)
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "cluster")); err == nil {
		t.Error("the keys of a run that passed were left behind")
	}
	again, err := Recheck(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Run.Verdict != report.Pass || len(again.Run.Ops) != len(r.Run.Ops) || again.Evidence != r.Evidence {
		t.Errorf("checked again: %s, %d operations, %+v; at first PASS, %d, %+v: %v",
			again.Run.Verdict, len(again.Run.Ops), again.Evidence, len(r.Run.Ops), r.Evidence, again.Run.Reasons)
	}
	t.Run("doctored", func(t *testing.T) { doctored(t, o.Dir) })
}

// doctored plants contradictions, one at a time.
func doctored(t *testing.T, dir string) {
	for _, c := range []struct {
		name, file, want string
		change           func(t *testing.T, b []byte) []byte
	}{
		{"an acknowledged entry is missing", finalFile, "lost", func(t *testing.T, b []byte) []byte {
			return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1]
		}},
		{"two entries have changed places", finalFile, "moved", func(t *testing.T, b []byte) []byte {
			lines := bytes.SplitAfter(b, []byte("\n"))
			lines[3], lines[4] = lines[4], lines[3]
			return bytes.Join(lines, nil)
		}},
		{"a head was told that is too old", historyFile, "stale", func(t *testing.T, b []byte) []byte {
			lines := bytes.SplitAfter(b, []byte("\n"))
			for i := len(lines) - 1; i >= 0; i-- {
				var l map[string]any
				if json.Unmarshal(lines[i], &l) == nil && l["type"] == "ok" && l["f"] == float64(3) && l["size"] != nil {
					l["size"] = 1
					delete(l, "root")
					raw, err := json.Marshal(l)
					if err != nil {
						t.Fatal(err)
					}
					lines[i] = append(raw, '\n')
					return bytes.Join(lines, nil)
				}
			}
			t.Fatal("no head in the history")
			return nil
		}},
		{"a checkpoint has another signature", evidenceFile, "checkpoint", func(t *testing.T, b []byte) []byte {
			first, rest, _ := bytes.Cut(b, []byte("\n"))
			var l evidenceLine
			if err := json.Unmarshal(first, &l); err != nil {
				t.Fatal(err)
			}
			at := bytes.LastIndex(l.Note, []byte("\u2014 ")) + 200
			l.Note[at] ^= 1
			raw, err := json.Marshal(l)
			if err != nil {
				t.Fatal(err)
			}
			return append(append(raw, '\n'), rest...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, c.file)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := os.WriteFile(path, whole, 0o644); err != nil {
					t.Fatal(err)
				}
			}()
			if err := os.WriteFile(path, c.change(t, bytes.Clone(whole)), 0o644); err != nil {
				t.Fatal(err)
			}
			r, err := Recheck(dir)
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, v := range r.Run.Violations {
				kinds = append(kinds, v.Kind)
			}
			if r.Run.Verdict != report.Fail || !slices.Contains(kinds, c.want) {
				t.Errorf("verdict %s with %v, want FAIL with %q", r.Run.Verdict, kinds, c.want)
			}
		})
	}
}

// TestUnobservedFaultIsInvalid: a run whose faults nobody saw proves nothing, nor
// does one in which nothing succeeded.
func TestUnobservedFaultIsInvalid(t *testing.T) {
	tr := &trial{opt: Options{Least: 50, Nemesis: "swarm"}}
	if why := tr.enough(nil); len(why) != 4 {
		t.Errorf("a run without faults and successes: %q, want four reasons", why)
	}
}

// TestInterrupted: a trial that is cancelled leaves no process behind.
func TestInterrupted(t *testing.T) {
	o := short(t)
	o.Time = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(1500*time.Millisecond, cancel)
	if _, err := Run(ctx, o); err == nil {
		t.Fatal("a trial that was interrupted has a verdict")
	}
	for _, name := range []string{"n1", "n2", "n3"} {
		raw, err := os.ReadFile(filepath.Join(o.Dir, "cluster", name, "pid"))
		if err == nil {
			t.Errorf("%s still has a process: %s", name, raw)
		}
	}
}
