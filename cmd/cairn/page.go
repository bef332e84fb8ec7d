package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/rivo/uniseg"
)

// page is the text of one result, laid out for the screen that shows it. Every text that a
// command prints passes through a page, and String breaks every line that is wider than the
// screen. So a command cannot print a line that is too wide, except for a word that must stay
// whole (a path, a hash), which then has a line of its own.
//
// Nothing that is hidden (see printable.go) enters a page: Write, hang, fields and tables escape
// it.
//
// A screen of unknown width, as behind a pipe, gets one line for each line that was written.
type page struct {
	screen
	text strings.Builder
}

// proseWidth is the width of prose where the width of the screen is unknown.
const proseWidth = 80

func newPage(s screen) *page { return &page{screen: s} }

// Write adds text; it never fails.
func (p *page) Write(b []byte) (int, error) {
	p.text.WriteString(aroundMarks(string(b), onScreen))
	return len(b), nil
}

// String returns the text with every line broken to the width of the screen.
func (p *page) String() string {
	text := p.text.String()
	if p.width == 0 {
		return p.drawn(text)
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, newline := strings.CutSuffix(line, "\n")
		hang := min(len(line)-len(strings.TrimLeft(line, " "))+2, p.width/2)
		b.WriteString(strings.Join(broken("", line, hang, p.width), "\n"))
		if newline {
			b.WriteByte('\n')
		}
	}
	return p.drawn(b.String())
}

// hang writes text behind a prefix; its further lines begin below its first word.
func (p *page) hang(prefix, text string) {
	p.lines(broken(shown(prefix), shown(text), columns(shown(prefix)), p.width))
}

// prose is hang for sentences, which are broken on a screen of unknown width, too.
func (p *page) prose(prefix, text string) {
	width := p.width
	if width == 0 {
		width = proseWidth
	}
	p.lines(broken(shown(prefix), shown(text), columns(shown(prefix)), width))
}

// lines adds lines that shown has made.
func (p *page) lines(lines []string) {
	for _, l := range lines {
		p.text.WriteString(l + "\n")
	}
}

// fields writes "name  value" lines with the values aligned. Where a word of a value does not fit
// behind the names, the value gets lines of its own.
func fields(p *page, pairs ...string) {
	wide := 0
	for i := 0; i < len(pairs); i += 2 {
		wide = max(wide, columns(pairs[i]))
	}
	for i := 0; i < len(pairs); i += 2 {
		name, value := pairs[i], shown(pairs[i+1])
		prefix := name + strings.Repeat(" ", wide-columns(name)+2)
		if p.width > 0 && longestWord(value) > p.width-columns(prefix) {
			p.lines([]string{name})
			prefix = "    "
		}
		p.hang(prefix, value)
	}
}

// longestWord returns the width of what cannot be broken in s.
func longestWord(s string) int {
	if strings.HasPrefix(s, loose) {
		return 1
	}
	longest := 0
	for _, w := range strings.Fields(s) {
		longest = max(longest, columns(w))
	}
	return longest
}

// broken returns prefix and text as lines of at most width columns, all but the first indented by
// hang columns. A width of 0 is unlimited. Runs of blanks within a line are kept.
func broken(prefix, text string, hang, width int) []string {
	text, isLoose := strings.CutPrefix(text, loose)
	line := prefix + text
	if width == 0 || columns(line) <= width {
		return []string{strings.TrimRight(line, " ")}
	}
	if isLoose {
		return chopped(prefix, text, hang, width)
	}
	var lines []string
	line, filled := prefix, strings.TrimLeft(prefix, " ") != ""
	indent := strings.Repeat(" ", hang)
	for _, token := range tokens(text) {
		if filled && columns(line)+columns(token) > width {
			lines = append(lines, strings.TrimRight(line, " "))
			line, token = indent, strings.TrimLeft(token, " ")
		}
		line += token
		filled = filled || strings.TrimLeft(token, " ") != ""
	}
	return append(lines, strings.TrimRight(line, " "))
}

// tokens cuts s before every run of blanks: each token is a word and the blanks before it.
func tokens(s string) []string {
	var all []string
	start := 0
	for i := 1; i < len(s); i++ {
		if s[i] == ' ' && s[i-1] != ' ' {
			all, start = append(all, s[start:i]), i
		}
	}
	return append(all, s[start:])
}

// chopped breaks text between any two characters.
func chopped(prefix, text string, hang, width int) []string {
	var lines []string
	line, used, room := prefix, columns(prefix), width
	for g := uniseg.NewGraphemes(text); g.Next(); {
		if used+g.Width() > room {
			lines = append(lines, line)
			line, used = strings.Repeat(" ", hang), hang
		}
		line, used = line+g.Str(), used+g.Width()
	}
	return append(lines, line)
}

// printPage writes a page made by text, laid out for the screen behind w.
func printPage(w io.Writer, s screen, text func(p *page)) error {
	p := newPage(s)
	text(p)
	_, err := fmt.Fprint(w, p.String())
	return err
}
