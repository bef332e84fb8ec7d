package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"
)

// madeResult is the result of a measurement that a test makes up: 1,000 requests of 1 to 100 ms in a
// second, of which the third and fourth slot had no answer.
func madeResult() *benchResult {
	lat, other := newLatencies(), timeline{}
	var line timeline
	for i := range 1000 {
		at, took := time.Duration(i)*time.Millisecond, time.Duration(1+i%100)*time.Millisecond
		if slot := i / 100; slot == 2 || slot == 3 {
			at += 200 * time.Millisecond
		}
		lat.record(took)
		if i%2 == 0 {
			line.record(at, 3, took)
		} else {
			other.record(at, 3, took)
		}
	}
	line.merge(other)
	return &benchResult{
		Options: benchOptions{Op: opAppend, Mode: "unary", Batch: 3, Size: 256, Clients: 4, Connections: 2}, LocalNodes: 3, CPUs: 2, Version: "v1", Seconds: 1,
		Entries: 3000, Requests: 1000, EntryRate: 3000, Latency: lat.summary(), Histogram: lat.bars(), Timeline: line.trimmed(time.Second), quantiles: lat.quantiles(),
	}
}

// TestHistogramInTheTerminal: every request is in one class, and the bars have the right lengths. The
// latencies are known to three digits, so 50 ms may count below 50 ms.
func TestHistogramInTheTerminal(t *testing.T) {
	t.Parallel()
	r := madeResult()
	total := int64(0)
	for i, b := range r.Histogram {
		total += b.Count
		if b.From >= b.To || i > 0 && b.From != r.Histogram[i-1].To {
			t.Errorf("class %d is from %d to %d µs", i, b.From, b.To)
		}
	}
	if total != 1000 {
		t.Errorf("the classes have %d requests, want 1000", total)
	}
	want := `
   1 ms – 1.5 ms     1.0 %  █▋
 1.5 ms – 2 ms           -
   2 ms – 3 ms       1.0 %  █▋
   3 ms – 5 ms       2.0 %  ███▍
   5 ms – 7 ms       2.0 %  ███▍
   7 ms – 10 ms      3.0 %  █████▏
  10 ms – 15 ms      5.0 %  ████████▋
  15 ms – 20 ms      5.0 %  ████████▋
  20 ms – 30 ms       10 %  █████████████████▎
  30 ms – 50 ms       21 %  ████████████████████████████████████▍
  50 ms – 70 ms       20 %  ██████████████████████████████████▋
  70 ms – 100 ms      30 %  ████████████████████████████████████████████████████
`
	if got := rendered(88, func(p *page) { drawHistogram(p, r.Histogram) }); "\n"+got != want {
		t.Errorf("got\n%swant%s", got, want)
	}
	for line := range strings.Lines(rendered(80, r.text)) {
		if n := columns(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("a line has %d columns: %s", n, line)
		}
	}
}

// TestStallsAreTold: what was not answered is a gap in the timeline.
func TestStallsAreTold(t *testing.T) {
	t.Parallel()
	r := madeResult()
	if len(r.Timeline) != 10 || r.Timeline[2].Entries != 0 || r.Timeline[4].Entries != 600 || r.Timeline[0].Longest != 100_000 {
		t.Errorf("the timeline is %v", r.Timeline)
	}
	if got := r.Timeline.stalls(); got != "nothing was acknowledged for 0.2 s, from 0.2 s on" {
		t.Errorf("stalls: %s", got)
	}
	if got := r.Timeline[4:].stalls(); !strings.HasPrefix(got, "none") {
		t.Errorf("stalls: %s", got)
	}
	var late timeline
	late.record(-time.Second, 1, time.Second)
	late.record(100*time.Hour, 1, time.Second)
	if len(late) != maxSlots || late[0].Entries != 1 {
		t.Errorf("%d slots, want %d", len(late), maxSlots)
	}
}

// TestBenchPage: the page is well-formed, has all plots, and loads nothing. Plots of results without
// requests are empty, not broken.
func TestBenchPage(t *testing.T) {
	t.Parallel()
	corrected := madeResult()
	corrected.Options.Rate = 1000
	for name, r := range map[string]*benchResult{"closed": madeResult(), "open": corrected, "empty": {Seconds: 1, Timeline: timeline{}.trimmed(0)}} {
		raw, err := benchPage(r)
		if err != nil {
			t.Fatal(err)
		}
		page := string(raw)
		if n := strings.Count(page, "<svg "); n != 4 {
			t.Errorf("%s: %d plots, want 4", name, n)
		}
		if open := strings.Contains(page, "Open loop: a latency begins when the request was due"); open != (name == "open") {
			t.Errorf("%s: the page says that the latencies are corrected: %t", name, open)
		}
		for _, bad := range []string{"http://", "https://", "src=", "<script", "NaN", "Inf", "ZgotmplZ"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page has %q", name, bad)
			}
		}
		for svg := range strings.SplitSeq(page, "<svg ") {
			svg, _, _ = strings.Cut(svg, "</svg>")
			d := xml.NewDecoder(strings.NewReader("<svg " + svg + "</svg>"))
			if strings.HasPrefix(svg, "<!DOCTYPE") {
				continue
			}
			for err = nil; err == nil; _, err = d.Token() {
			}
			if err != io.EOF {
				t.Errorf("%s: a plot is not well-formed: %v", name, err)
			}
		}
		if name == "closed" && (strings.Count(page, "<rect ") != len(r.Histogram)+8 || strings.Count(page, "<polyline ") != 2) {
			t.Errorf("%d bars and %d lines, want %d and 2", strings.Count(page, "<rect "), strings.Count(page, "<polyline "), len(r.Histogram)+8)
		}
	}
}
