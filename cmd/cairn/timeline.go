package main

import (
	"fmt"
	"strings"
	"time"
)

// slotLength is how long a slot of a timeline is.
const slotLength = 100 * time.Millisecond

// maxSlots bounds a timeline: what comes after an hour counts in its last slot.
const maxSlots = int(time.Hour / slotLength)

// timeline is a measurement, slot by slot, from its begin. It has one owner.
type timeline []slot

// slot is what was acknowledged within a slot.
type slot struct {
	Entries int64 `json:"entries"`
	Longest int64 `json:"longest_us"` // latency of a request that ended in the slot
}

// record counts a request that ended at a time after the begin.
func (t *timeline) record(at time.Duration, entries int, took time.Duration) {
	i := min(max(0, int(at/slotLength)), maxSlots-1)
	for len(*t) <= i {
		*t = append(*t, slot{})
	}
	s := &(*t)[i]
	s.Entries += int64(entries)
	s.Longest = max(s.Longest, took.Microseconds())
}

func (t *timeline) merge(o timeline) {
	for i, s := range o {
		for len(*t) <= i {
			*t = append(*t, slot{})
		}
		(*t)[i].Entries += s.Entries
		(*t)[i].Longest = max((*t)[i].Longest, s.Longest)
	}
}

// trimmed has one slot for each whole slotLength of a measurement, so that the last one, too, stands
// for as much time as the others. A shorter measurement has one slot.
func (t timeline) trimmed(took time.Duration) timeline {
	n := min(max(1, int(took/slotLength)), maxSlots)
	for len(t) < n {
		t = append(t, slot{})
	}
	return t[:n]
}

// longestGap returns how long nothing was acknowledged, in whole slots, and when that began.
func (t timeline) longestGap() (took, at time.Duration) {
	run := 0
	for i, s := range t {
		if run++; s.Entries > 0 {
			run = 0
		}
		if d := time.Duration(run) * slotLength; d > took {
			took, at = d, time.Duration(i+1-run)*slotLength
		}
	}
	return took, at
}

// stalls says in words how steady the measurement was.
func (t timeline) stalls() string {
	if gap, at := t.longestGap(); gap > 0 {
		return fmt.Sprintf("nothing was acknowledged for %.1f s, from %.1f s on", gap.Seconds(), at.Seconds())
	}
	return fmt.Sprintf("none: every %d ms had answers", slotLength.Milliseconds())
}

// latencyBar is a class of latencies, in microseconds: From is in it, To is not.
type latencyBar struct {
	From  int64 `json:"from_us"`
	To    int64 `json:"to_us"`
	Count int64 `json:"count"`
}

// classes are the bounds of latencyBars within a decade, in tenths of its begin.
var classes = []int64{10, 15, 20, 30, 50, 70}

// bars returns the latencies in classes, from the first that is not empty to the last one.
func (l *latencies) bars() (all []latencyBar) {
	var bounds []int64
	for decade := int64(1); decade <= 1_000_000_000; decade *= 10 {
		for _, c := range classes {
			if b := decade * c / 10; len(bounds) == 0 || b > bounds[len(bounds)-1] {
				bounds = append(bounds, b)
			}
		}
	}
	at := 0
	for _, b := range l.h.Distribution() {
		if b.Count == 0 {
			continue
		}
		for b.From >= bounds[at+1] {
			at++
			if len(all) > 0 {
				all = append(all, latencyBar{From: bounds[at], To: bounds[at+1]})
			}
		}
		if len(all) == 0 {
			all = append(all, latencyBar{From: bounds[at], To: bounds[at+1]})
		}
		all[len(all)-1].Count += b.Count
	}
	return all
}

// quantile is the latency, in microseconds, that a share of the requests does not exceed.
type quantile struct {
	share float64
	us    int64
}

// quantiles returns the latencies from 0 to as many nines as there are requests for.
func (l *latencies) quantiles() (all []quantile) {
	n := l.h.TotalCount()
	for left := 1.0; left*float64(n) >= 1; left *= 0.9 {
		all = append(all, quantile{1 - left, l.h.ValueAtPercentile(100 * (1 - left))})
	}
	return all
}

// drawHistogram draws the latencies as bars, the longest of them as wide as the screen allows.
func drawHistogram(w *page, bars []latencyBar) {
	total, most := int64(0), int64(0)
	for _, b := range bars {
		total, most = total+b.Count, max(most, b.Count)
	}
	wide := 40
	if w.width > 0 {
		wide = max(min(w.width-36, 60), 8)
	}
	us := func(v int64) string { return shortLatency(time.Duration(v) * time.Microsecond) }
	for _, b := range bars {
		share := 100 * float64(b.Count) / float64(total)
		bar := eighths(float64(wide) * float64(b.Count) / float64(most))
		if b.Count > 0 && bar == "" {
			bar = "▏"
		}
		line := fmt.Sprintf("%7s – %-7s %8s  %s", us(b.From), us(b.To), percent(share, b.Count), bar)
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// percent writes a share with two digits that count.
func percent(share float64, n int64) string {
	switch {
	case n == 0:
		return "-"
	case share >= 9.95:
		return fmt.Sprintf("%.0f %%", share)
	case share >= 0.095:
		return fmt.Sprintf("%.1f %%", share)
	case share >= 0.001:
		return fmt.Sprintf("%.3f %%", share)
	}
	return "<0.001 %"
}

// shortLatency writes a bound of a class without digits that are 0.
func shortLatency(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%g ms", float64(d.Microseconds())/1e3)
	}
	return fmt.Sprintf("%g s", float64(d.Milliseconds())/1e3)
}

// eighths draws a bar of so many columns.
func eighths(width float64) string {
	n := int(width * 8)
	bar := strings.Repeat("█", n/8)
	if rest := n % 8; rest > 0 {
		bar += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return bar
}
