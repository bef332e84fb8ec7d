package xmltree

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// byteOrderMark is U+FEFF in UTF-8.
const byteOrderMark = "\xef\xbb\xbf"

// foreign names the encoding of a document that cannot be UTF-8, by its first bytes, or returns
// "". XML 1.0, appendix F: a document in UTF-16 begins with a byte order mark, and a "<" shows the
// order of the bytes where the mark is missing.
func foreign(raw []byte) string {
	for _, sign := range []struct{ prefix, name string }{
		{"\x00\x00\xfe\xff", "UTF-32"},
		{"\xff\xfe\x00\x00", "UTF-32"},
		{"\x00\x00\x00<", "UTF-32"},
		{"<\x00\x00\x00", "UTF-32"},
		{"\xfe\xff", "UTF-16"},
		{"\xff\xfe", "UTF-16"},
		{"\x00<", "UTF-16"},
		{"<\x00", "UTF-16"},
		{"\x4c\x6f\xa7\x94", "EBCDIC"},
		{"\x1f\x8b", "gzip"},
		{"PK\x03\x04", "zip"},
	} {
		if bytes.HasPrefix(raw, []byte(sign.prefix)) {
			return sign.name
		}
	}
	return ""
}

// checkCharacters returns the offset of the first byte that is no UTF-8 or no character of XML 1.0
// (production 2, Char), and what is wrong with it, or -1.
func checkCharacters(raw []byte) (offset int, code Code, text string) {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c < utf8.RuneSelf {
			if c < 0x20 && c != '\t' && c != '\n' && c != '\r' {
				return i, Character, fmt.Sprintf("the control character U+%04X is not allowed in XML: remove it", c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(raw[i:])
		if r == utf8.RuneError && n == 1 {
			return i, Encoding, fmt.Sprintf("the byte 0x%02X is not UTF-8: "+
				"convert the message to UTF-8 (a message in ISO-8859-1 or Windows-1252 has such bytes)", c)
		}
		if !isChar(r) {
			return i, Character, fmt.Sprintf("the character U+%04X is not allowed in XML: remove it", r)
		}
		i += n
	}
	return -1, "", ""
}

// isChar says whether XML 1.0 allows the character (production 2).
func isChar(r rune) bool {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return true
	case r >= 0x20 && r <= 0xd7ff, r >= 0xe000 && r <= 0xfffd, r >= 0x10000 && r <= 0x10ffff:
		return true
	}
	return false
}

// nameStart are the characters that may begin a name (XML 1.0, production 4) and nameMore those
// that may follow as well (4a), both without the colon, as pairs of first and last.
var (
	nameStart = []rune{'A', 'Z', '_', '_', 'a', 'z', 0xc0, 0xd6, 0xd8, 0xf6, 0xf8, 0x2ff, 0x370, 0x37d,
		0x37f, 0x1fff, 0x200c, 0x200d, 0x2070, 0x218f, 0x2c00, 0x2fef, 0x3001, 0xd7ff, 0xf900, 0xfdcf,
		0xfdf0, 0xfffd, 0x10000, 0xeffff}
	nameMore = []rune{'-', '-', '.', '.', '0', '9', 0xb7, 0xb7, 0x300, 0x36f, 0x203f, 0x2040}
)

func within(r rune, pairs []rune) bool {
	for i := 0; i < len(pairs); i += 2 {
		if r >= pairs[i] && r <= pairs[i+1] {
			return true
		}
	}
	return false
}

// nameLength returns how many bytes of s from the start are an NCName (Namespaces in XML 1.0,
// production 4), 0 when s does not begin with one.
func nameLength(s string) int {
	i := 0
	for i < len(s) {
		c := s[i]
		if c < utf8.RuneSelf {
			letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
			if !letter && (i == 0 || c != '-' && c != '.' && (c < '0' || c > '9')) {
				break
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if !within(r, nameStart) && (i == 0 || !within(r, nameMore)) {
			break
		}
		i += n
	}
	return i
}
