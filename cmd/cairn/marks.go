package main

import (
	"crypto/rand"
	"regexp"
	"strings"

	"github.com/rivo/uniseg"
)

// Marks are invisible words within a text that say how a page shows it. They hold a random number,
// so that no string from elsewhere can hold a mark.
var (
	markPrefix = "\x00" + rand.Text()
	anyMark    = regexp.MustCompile(markPrefix + ".")

	// loose stands before a value that may be broken between any two characters: a payload or a
	// key, which may have no blank and any length.
	loose = markPrefix + "l"

	goodMark     = markPrefix + "g"
	badMark      = markPrefix + "b"
	doubtfulMark = markPrefix + "d"
	plainMark    = markPrefix + "p" // ends the three before it
)

// good, bad and doubtful mark a verdict with a colour. The words alone must say it, too: not every
// screen has colours.
func good(text string) string     { return goodMark + text + plainMark }
func bad(text string) string      { return badMark + text + plainMark }
func doubtful(text string) string { return doubtfulMark + text + plainMark }

var colours = strings.NewReplacer(loose, "", goodMark, "\x1b[32m", badMark, "\x1b[1;31m", doubtfulMark, "\x1b[33m", plainMark, "\x1b[0m")

// drawn replaces the marks by what this screen understands.
func (s screen) drawn(text string) string {
	if s.colours {
		return colours.Replace(text)
	}
	return anyMark.ReplaceAllString(text, "")
}

// aroundMarks applies f to everything in s except the marks.
func aroundMarks(s string, f func(string) string) string {
	if !strings.Contains(s, markPrefix) {
		return f(s)
	}
	var b strings.Builder
	from := 0
	for _, at := range anyMark.FindAllStringIndex(s, -1) {
		b.WriteString(f(s[from:at[0]]) + s[at[0]:at[1]])
		from = at[1]
	}
	return b.String() + f(s[from:])
}

// shown escapes what is hidden in the text of one line.
func shown(s string) string { return aroundMarks(s, oneLine) }

// columns returns how many columns of a terminal s takes.
func columns(s string) int {
	if strings.Contains(s, markPrefix) {
		s = anyMark.ReplaceAllString(s, "")
	}
	return uniseg.StringWidth(s)
}
