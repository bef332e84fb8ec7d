package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
	"golang.org/x/term"
)

// streams are a command's standard streams.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// emit prints one result: v as one JSON object on one line, or what text writes.
func (a *app) emit(v any, text func(w io.Writer)) error {
	if !a.json {
		var b strings.Builder
		text(&b)
		_, err := io.WriteString(a.out, onScreen(b.String()))
		return errors.Wrap(err, "write result")
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
	fmt.Fprint(a.err, onScreen(fmt.Sprintf(format, args...)), "\n")
}

// table aligns rows under a header by the width of their runes. The last column
// is not padded.
type table struct {
	header []string
	rows   [][]string
	right  map[int]bool // columns aligned to the right: numbers
}

func newTable(header ...string) *table { return &table{header: header, right: map[int]bool{}} }

func (t *table) alignRight(columns ...int) *table {
	for _, c := range columns {
		t.right[c] = true
	}
	return t
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) {
	widths := make([]int, len(t.header))
	all := append([][]string{t.header}, t.rows...)
	for _, row := range all {
		for i := range row {
			row[i] = oneLine(row[i])
		}
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range all {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				b.WriteString("  ")
			}
			if t.right[i] {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// fields writes "name  value" lines with the values aligned.
func fields(w io.Writer, pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		width = max(width, len(pairs[i]))
	}
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(w, "%-*s  %s\n", width, pairs[i], oneLine(pairs[i+1]))
	}
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
