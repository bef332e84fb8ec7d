package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on a terminal and nothing anywhere else.
type progress struct {
	bar *progressbar.ProgressBar
	max int64 // -1 if unknown
}

// progress starts a bar over total steps (-1: unknown) on standard error. It shows per cent and the
// time left if total is known, and the rate if unit names the steps.
func (a *app) progress(total int64, what, unit string) *progress {
	if a.json || a.quiet || !isTerminal(a.err) {
		return &progress{}
	}
	return newProgress(a.err, a.errScreen.width, total, what, unit)
}

func newProgress(w io.Writer, width int, total int64, what, unit string) *progress {
	options := []progressbar.Option{
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(min(max(width-64, 5), 30)), // 64 columns for words and numbers
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true),
	}
	if unit != "" {
		options = append(options, progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit))
	}
	return &progress{bar: progressbar.NewOptions64(total, options...), max: total}
}

func (p *progress) add(n int) {
	if p.bar != nil {
		_ = p.bar.Add(n)
	}
}

// at sets the bar to a number of steps, and what it says.
func (p *progress) at(n int64, what string) {
	if p.bar == nil {
		return
	}
	p.bar.Describe(what)
	if p.max >= 0 {
		n = min(n, p.max) // a file may grow
	}
	_ = p.bar.Set64(n)
}

func (p *progress) done() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// meter measures entries that are appended from an input. The bar runs over the input's bytes,
// whose number is known for a file, and shows per cent and the time left. The rate is that of the
// entries.
type meter struct {
	bar            *progress
	begin          time.Time
	entries, bytes int64
}

// inputSize returns how many bytes an input has; -1 for a pipe or a device.
func inputSize(in io.Reader) int64 {
	f, ok := in.(*os.File)
	if !ok {
		return -1
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return -1
	}
	if at, err := f.Seek(0, io.SeekCurrent); err == nil {
		return st.Size() - at
	}
	return st.Size()
}

// add counts appended lines.
func (m *meter) add(lines []line, now time.Time) {
	for _, l := range lines {
		m.bytes += int64(len(l.text)) + 1 // the newline
	}
	m.entries += int64(len(lines))
	m.bar.at(m.bytes, m.text(now))
}

func (m *meter) text(now time.Time) string {
	return fmt.Sprintf("append %s, %s", plural(m.entries, "entry", "entries"), rate(float64(m.entries), now.Sub(m.begin)))
}

// rate writes so many entries in so much time as a rate.
func rate(entries float64, took time.Duration) string {
	return count(entries/max(took.Seconds(), 1e-3)) + " entries/s"
}
