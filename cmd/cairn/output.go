package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
)

// streams are a command's standard streams.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// emit prints one result: v as one JSON object on one line, or what text writes.
func (a *app) emit(v any, text func(w *page)) error {
	if !a.json {
		return errors.Wrap(printPage(a.out, a.outScreen, text), "write result")
	}
	raw, err := marshalLine(v)
	if err != nil {
		return err
	}
	_, err = a.out.Write(raw)
	return errors.Wrap(err, "write result")
}

// emitBytes prints bytes as they are. A terminal gets them only if they are plain text: hidden
// characters would reach it unescaped.
func (a *app) emitBytes(raw []byte) error {
	if isTerminal(a.out) && onScreen(string(raw)) != string(raw) {
		return failf(exitUsage, "redirect standard output to a file, or leave --raw out",
			"these bytes are not plain text and could control the terminal")
	}
	_, err := a.out.Write(raw)
	return errors.Wrap(err, "write result")
}

// note prints a line for a person on standard error; scripts that ask for JSON
// or --quiet do not get it.
func (a *app) note(format string, args ...any) {
	if a.json || a.quiet {
		return
	}
	_ = printPage(a.err, a.errScreen, func(p *page) { fmt.Fprintf(p, format+"\n", args...) })
}

// timeString formats ledger time, microseconds since the Unix epoch, in UTC.
func timeString(micros int64) string {
	if micros == 0 {
		return "-"
	}
	return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.000000Z")
}

// count writes n with thousands separators.
func count[T int | int64 | uint64 | float64](n T) string {
	s := fmt.Sprintf("%.0f", float64(n))
	if v, ok := any(n).(uint64); ok {
		s = fmt.Sprintf("%d", v)
	}
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if neg {
		s = "-" + s
	}
	return s
}

// bytesString writes a number of bytes for a person.
func bytesString(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, exp := float64(n)/unit, 0
	for v >= unit && exp < 4 {
		v, exp = v/unit, exp+1
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTP"[exp])
}

// latencyString writes a duration with three significant digits.
func latencyString(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	default:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
}

// plural writes "1 entry", "2 entries".
func plural[T int | int64 | uint64](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}
