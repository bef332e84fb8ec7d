package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// shellWord writes s as one word of a POSIX shell, in one line and with nothing hidden. Every
// command that a message advises is made with it: what is pasted is what was meant.
func shellWord(s string) string {
	plain, visible := s != "", utf8.ValidString(s)
	for _, r := range s {
		visible = visible && !hidden(r)
		plain = plain && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r))
	}
	switch {
	case plain:
		return s
	case visible:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	// A command substitution drops newlines at its end: they are taken from IFS.
	body := strings.TrimRight(s, "\n")
	var b strings.Builder
	b.WriteString(`"$(printf '`)
	for i := range len(body) {
		switch c := body[i]; {
		case c < ' ' || c > '~' || c == '\'' || c == '\\':
			fmt.Fprintf(&b, `\%03o`, c)
		case c == '%':
			b.WriteString("%%")
		default:
			b.WriteByte(c)
		}
	}
	b.WriteString(`')` + strings.Repeat("${IFS#??}", len(s)-len(body)) + `"`)
	return b.String()
}

// advice writes a command to be pasted: words that are given as they are, each quoted if it must
// be.
func advice(words ...string) string {
	for i, w := range words {
		words[i] = shellWord(w)
	}
	return "`" + strings.Join(words, " ") + "`"
}
