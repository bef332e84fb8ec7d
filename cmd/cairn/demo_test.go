package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
)

func TestLongestGap(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	at := func(ms ...int) (acks []time.Time) {
		for _, m := range ms {
			acks = append(acks, start.Add(time.Duration(m)*time.Millisecond))
		}
		return acks
	}
	kill := start.Add(500 * time.Millisecond)
	for _, c := range []struct {
		name string
		acks []time.Time
		want time.Duration
	}{
		{"around the kill", at(0, 490, 900, 910), 410 * time.Millisecond},
		{"a pause before it does not count", at(0, 490, 501, 502), 11 * time.Millisecond},
		{"a second pause after it does", at(490, 510, 800), 290 * time.Millisecond},
		{"nothing after it", at(0, 490), 0},
	} {
		if got := longestGap(c.acks, kill); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestChecker: what was acknowledged must be at its index, once.
func TestChecker(t *testing.T) {
	t.Parallel()
	leaf := func(key, payload string) []byte {
		e := ledger.Entry{Kind: ledger.KindPayload, Time: 1, Principal: "p", Key: []byte(key), Body: []byte(payload)}
		return e.AppendLeaf(nil)
	}
	a := newAcked()
	for i, key := range []string{"a", "b"} {
		if err := a.add(uint64(i), client.Entry{Key: []byte(key), Payload: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.add(1, client.Entry{Key: []byte("b"), Payload: []byte("x")}); err != nil {
		t.Errorf("the same acknowledgement again: %v", err)
	}
	if err := a.add(1, client.Entry{Key: []byte("c"), Payload: []byte("x")}); err == nil {
		t.Error("two entries were acknowledged at one index")
	}
	for _, c := range []struct {
		name   string
		leaves [][]byte
		found  int
		bad    string
	}{
		{"all there", [][]byte{leaf("a", "x"), leaf("b", "x"), leaf("never acknowledged", "y")}, 2, ""},
		{"one lost", [][]byte{leaf("a", "x")}, 1, ""},
		{"another in its place", [][]byte{leaf("a", "x"), leaf("b", "y")}, 1, "another entry"},
		{"twice", [][]byte{leaf("a", "x"), leaf("b", "x"), leaf("a", "x")}, 2, "appended twice"},
		{"no entry at all", [][]byte{{1, 2, 3}}, 0, "bad leaf"},
	} {
		check, problem := a.checker(), ""
		for i, l := range c.leaves {
			if err := check.leaf(uint64(i), l); err != nil {
				problem = err.Error()
			}
		}
		if check.found != c.found || (problem == "") != (c.bad == "") || !strings.Contains(problem, c.bad) {
			t.Errorf("%s: found %d, problem %q; want %d, %q", c.name, check.found, problem, c.found, c.bad)
		}
	}
}

func TestReadLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", ledger.MaxLeafSize)
	for _, c := range []struct {
		name, in string
		want     []string
		bad      bool
	}{
		{"nothing", "", nil, false},
		{"newline at the end", "a\nb\n", []string{"a", "b"}, false},
		{"none at the end", "a\nb", []string{"a", "b"}, false},
		{"empty lines", "\n\n", []string{"", ""}, false},
		{"carriage returns stay", "a\r\n", []string{"a\r"}, false},
		{"as long as a leaf", long + "\nb\n", []string{long, "b"}, false},
		{"longer", "a\n" + long + "xx\nb\n", []string{"a"}, true},
	} {
		var got []string
		bad := false
		for l := range readLines(context.Background(), strings.NewReader(c.in), "in") {
			if l.err != nil {
				bad = true
				continue
			}
			got = append(got, string(l.text))
			if l.number != uint64(len(got)) {
				t.Errorf("%s: line %d has number %d", c.name, len(got), l.number)
			}
		}
		if strings.Join(got, "|") != strings.Join(c.want, "|") || len(got) != len(c.want) || bad != c.bad {
			t.Errorf("%s: got %d lines, error %t; want %d, %t", c.name, len(got), bad, len(c.want), c.bad)
		}
	}
}

// TestReadLinesEnds: nobody reads any more, and the reader does not stay behind.
func TestReadLinesEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	lines := readLines(ctx, strings.NewReader(strings.Repeat("x\n", 10*linesPerRequest)), "in")
	cancel()
	for range lines {
	}
}

func TestBenchOptions(t *testing.T) {
	t.Parallel()
	ok := benchOptions{Op: opAppend, Program: "log", Clients: 20, Batch: 1, Size: 256, Mode: "unary", InFlight: 16, Duration: time.Second}
	if err := ok.validate(); err != nil || ok.Connections != 8 || ok.InFlight != 0 {
		t.Errorf("got %+v, %v", ok, err)
	}
	for name, change := range map[string]func(*benchOptions){
		"large batch": func(o *benchOptions) { o.Batch, o.Size = 8192, 256 },
		"other mode":  func(o *benchOptions) { o.Mode = "x" },
		"no end":      func(o *benchOptions) { o.Duration = 0 },
		"other op":    func(o *benchOptions) { o.Op = "x" },
		"sealed read": func(o *benchOptions) { o.Op, o.Sealed = opGet, true },
		"messages":    func(o *benchOptions) { o.Messages = true },
		"sealed messages": func(o *benchOptions) {
			o.Messages, o.Sealed, o.Program = true, true, settlement.ProgramName
		},
		"due stream": func(o *benchOptions) { o.Rate, o.Mode = 100, "stream" },
	} {
		o := ok
		change(&o)
		if err := o.validate(); err == nil || classify(err).code != exitUsage {
			t.Errorf("%s: got %v, want a usage error", name, err)
		}
	}
}
