package main

import (
	"fmt"
	"strings"
	"testing"
)

// rendered is what text writes on a screen of a width.
func rendered(width int, text func(p *page)) string {
	p := newPage(screen{width: width})
	text(p)
	return p.String()
}

// TestPage: whatever is written, no line is wider than the screen, and nothing is lost or
// shortened.
func TestPage(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("ab", 32)
	for _, c := range []struct {
		name  string
		width int
		text  func(p *page)
		want  string
	}{
		{"a pipe breaks nothing", 0, func(p *page) { p.lines([]string{strings.Repeat("word ", 40) + "end"}) }, strings.Repeat("word ", 40) + "end\n"},
		{"a long line", 20, func(p *page) { p.lines([]string{"one two three four five six"}) }, "one two three four\n  five six\n"},
		{"below its indentation", 20, func(p *page) { p.lines([]string{"  one two three four five"}) }, "  one two three four\n    five\n"},
		{"below the first word", 20, func(p *page) { p.hang("next: ", "one two three four") }, "next: one two three\n      four\n"},
		{"a word that stays whole", 20, func(p *page) { p.hang("at ", "the path /a/path/that/is/too/long is full") }, "at the path\n   /a/path/that/is/too/long\n   is full\n"},
		{"a payload", 20, func(p *page) { p.hang("payload ", loose+"abcdefghijklmnopqrstuvwxyz") }, "payload abcdefghijkl\n        mnopqrstuvwx\n        yz\n"},
		{"a payload in a pipe", 0, func(p *page) { fields(p, "payload", loose+"a b") }, "payload  a b\n"},
		{"wide characters", 20, func(p *page) { p.hang("", loose+strings.Repeat("界", 11)) }, strings.Repeat("界", 10) + "\n界\n"},
		{"fields", 80, func(p *page) { fields(p, "a", "b", "name", "c") }, "a     b\nname  c\n"},
		{"a field too long for its place", 68, func(p *page) { fields(p, "  root", hash, "  size", "1") }, "  root\n    " + hash + "\n  size  1\n"},
		{"what is hidden", 30, func(p *page) { p.hang("at ", "a\x1b[2Jb\n"+"\x00\u202e") }, "at a\\x1b[2Jb\\n\\x00\\u202e\n"},
		{"what is hidden, written", 40, func(p *page) { fmt.Fprintf(p, "%s: %s\n", good("fine"), "a\x1b[2Jb") }, "fine: a\\x1b[2Jb\n"},
		{"prose in a pipe", 0, func(p *page) { p.prose("1  ", strings.Repeat("word ", 18)+"end") }, "1  " + strings.TrimSpace(strings.Repeat("word ", 15)) + "\n   word word word end\n"},
	} {
		if got := rendered(c.width, c.text); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// TestPageColours: colours take no room, and there are none where nobody sees them.
func TestPageColours(t *testing.T) {
	t.Parallel()
	p := newPage(screen{width: 20, colours: true})
	p.hang("", bad("REFUSED")+" one two three")
	if got, want := p.String(), "\x1b[1;31mREFUSED\x1b[0m one two\nthree\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p = newPage(screen{})
	p.hang("", bad("REFUSED"))
	if got, want := p.String(), "REFUSED\n"; got != want {
		t.Errorf("without colours: got %q, want %q", got, want)
	}
}

// TestWideTable: a table that does not fit is written in parts, with all of its cells.
func TestWideTable(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 30)
	tab := newTable("node", "role", "size", "address", "note").alignRight(2)
	tab.row("n1", "leader", "1,234", "127.0.0.1:20001", "")
	tab.row("n2", "follower", "7", "127.0.0.1:20002", long)
	for width, want := range map[int]string{
		0: "node  role       size  address          note\n" +
			"n1    leader    1,234  127.0.0.1:20001\n" +
			"n2    follower      7  127.0.0.1:20002  " + long + "\n",
		28: "node  role       size\nn1    leader    1,234\nn2    follower      7\n\n" +
			"node  address\nn1    127.0.0.1:20001\nn2    127.0.0.1:20002\n\n" +
			"node  note\nn1\nn2\n  " + long + "\n",
	} {
		if got := rendered(width, tab.write); got != want {
			t.Errorf("width %d: got\n%swant\n%s", width, got, want)
		}
	}
}

func TestScreenOf(t *testing.T) {
	t.Parallel()
	for columns, want := range map[string]int{"": 0, "100": 100, "0": 0, "-1": 0, "many": 0, "5": 0} {
		got := screenOf(&strings.Builder{}, func(name string) string {
			if name == "COLUMNS" {
				return columns
			}
			return ""
		})
		if got.width != want || got.colours {
			t.Errorf("COLUMNS=%q: got %+v, want width %d and no colours", columns, got, want)
		}
	}
}
