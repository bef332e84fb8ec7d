package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// topSamples are two samples of three nodes, two seconds apart. The third node does not answer.
func topSamples() (before, after topSample) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	latency := func(us int64) []*cairnv1.StageLatency {
		return []*cairnv1.StageLatency{
			{Stage: "queue", SinceStart: &cairnv1.Latency{}, Recent: &cairnv1.Latency{Count: 1, P50: us * 1000, P99: us * 9000, P999: us * 9000, Max: us * 9000}},
			{Stage: "proof", SinceStart: &cairnv1.Latency{}, Recent: &cairnv1.Latency{}},
		}
	}
	node := func(name, role string, size uint64) topAnswer {
		return topAnswer{name: name, StatusResponse: &cairnv1.StatusResponse{
			Node: name, Role: role, Term: 7, Size: size, SealedSize: size - 5, WalBytes: 30 << 20, StoreBytes: 34 << 20, DiskFreeBytes: 9 << 30, MemoryBytes: 55 << 20,
			Stages: latency(int64(len(role))),
			Ledgers: []*cairnv1.LedgerStatus{
				{Origin: "example.org/a", Program: "log", Leader: "n1", Size: size, SealedSize: size - 5, QueuedRequests: 3},
				{Origin: "example.org/directory", Program: "directory", Leader: "n2", Size: 9, SealedSize: 9},
			},
		}}
	}
	down := topAnswer{name: "n3", err: "n3 is down"}
	before = topSample{at, []topAnswer{node("n1", "leader", 1_000_000), node("n2", "follower", 999_990), down}}
	after = topSample{at.Add(2 * time.Second), []topAnswer{node("n1", "leader", 1_002_000), node("n2", "follower", 1_001_990), down}}
	after.nodes[1].Problems = []string{"a write for example.org/a takes longer than raft.stall"}
	return before, after
}

const topScreen = `
cairn top  03:04:07Z  2 of 3 nodes  1,000 entries/s  q quit, s sort, p pause

node  role      term  entry/s     sealed  lag  queue  mem  disk  free  health
n1    leader       7    1,000  1,001,995    5      3  55M   64M  9.0G  ok
n2    follower     7    1,000  1,001,985    5      3  55M   64M  9.0G  PROBLEM
n3    -            -        -          -    -      -    -     -     -  no answer
n2: a write for example.org/a takes longer than raft.stall

last min.  n1 p50    p99  n2 p50    p99
queue        6 µs  54 µs    8 µs  72 µs
proof           -      -       -      -

ledger, by rate        program    leader  entry/s       size  lag  queue
example.org/a          log        n1        1,000  1,002,000    5      6
example.org/directory  directory  n2            0          9    0      0
`

// TestTopScreen: the screen shows every figure of two samples under its own name, fits the terminal,
// and follows the keys.
func TestTopScreen(t *testing.T) {
	t.Parallel()
	before, after := topSamples()
	var m topModel
	m.sample(before)
	m.sample(after)
	if got := "\n" + strings.Join(m.view(100, 40), "\n") + "\n"; got != topScreen {
		t.Errorf("got%swant%s", got, topScreen)
	}
	for _, size := range [][2]int{{80, 24}, {40, 10}, {1, 1}} {
		lines := m.view(size[0], size[1])
		if len(lines) > size[1] {
			t.Errorf("%d lines on a terminal of %d by %d", len(lines), size[0], size[1])
		}
		for _, l := range lines {
			if columns(l) > size[0] {
				t.Errorf("a line of %d columns on a terminal of %d by %d: %s", columns(l), size[0], size[1], l)
			}
		}
	}
	first := func() string { // ledger
		lines := m.view(0, 0)
		return strings.Fields(lines[len(lines)-2])[0]
	}
	for range topSorts[1:] {
		m.key('s')
	}
	if lines := m.view(0, 0); !strings.HasPrefix(lines[len(lines)-3], "ledger, by name") || first() != "example.org/a" {
		t.Errorf("sorted by name:\n%s", strings.Join(lines, "\n"))
	}
	m.key('s')
	m.key('p')
	m.sample(before)
	if got := strings.Join(m.view(100, 40), "\n"); !strings.Contains(got, "1,000 entries/s  PAUSED: p goes on") {
		t.Errorf("paused:\n%s", got)
	}
	m.key(' ')
	m.sample(after)
	if got := strings.Join(m.view(100, 40), "\n"); "\n"+got+"\n" != topScreen {
		t.Errorf("after the pause:\n%s", got)
	}
	if m.key('x'); m.quit {
		t.Error("x ends it")
	}
	if m.key('q'); !m.quit {
		t.Error("q does not end it")
	}
}

// TestTopOnce: without a terminal one snapshot is printed, as text or as one object.
func TestTopOnce(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{false, true} {
		before, after := topSamples()
		samples := []topSample{before, after}
		ask := func() (s topSample) { s, samples = samples[0], samples[1:]; return s }
		var out bytes.Buffer
		a := &app{streams: streams{out: &out, err: &bytes.Buffer{}}, json: asJSON}
		if err := a.printTop(t.Context(), ask, time.Nanosecond); err != nil {
			t.Fatal(err)
		}
		if !asJSON {
			if got := "\n" + out.String(); got != topScreen+"n3 is down\n" {
				t.Errorf("got%swant%s", got, topScreen)
			}
			continue
		}
		var got struct {
			Rate           float64 `json:"entries_per_second"`
			Nodes, Ledgers []map[string]any
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Nodes) != 3 || len(got.Ledgers) != 2 || got.Rate != 1000 || got.Nodes[0]["role"] != "leader" || got.Nodes[2]["error"] != "n3 is down" ||
			got.Nodes[1]["stages"].([]any)[0].(map[string]any)["p99_ns"] != 72_000.0 || got.Ledgers[0]["queued_requests"] != 6.0 {
			t.Errorf("the object is %s", out.String())
		}
	}
	down := topSample{nodes: []topAnswer{{name: "n1", err: "down"}}}
	a := &app{streams: streams{out: &bytes.Buffer{}, err: &bytes.Buffer{}}}
	if err := a.printTop(t.Context(), func() topSample { return down }, 0); err == nil {
		t.Error("no node answers, and the command succeeds")
	}
}
