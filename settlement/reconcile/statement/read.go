package statement

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
)

// MaxFile is the largest file in bytes that is read.
const MaxFile = 64 << 20

// Read returns the statements of a file. A file that begins with "<" is XML and must be camt.053,
// camt.052 or camt.054; the mapping is then not used. Any other file is CSV and needs a mapping.
func Read(raw []byte, mapping *Mapping) ([]Statement, error) {
	if len(raw) > MaxFile {
		return nil, errors.Newf("the file has %d bytes: at most %d are read; split it by days or pages", len(raw), MaxFile)
	}
	if looksLikeXML(raw) {
		return ReadCAMT(raw)
	}
	if mapping == nil {
		return nil, errors.New("the file is not XML: a CSV file needs a mapping that names its columns")
	}
	return ReadCSV(raw, mapping)
}

func looksLikeXML(raw []byte) bool {
	// UTF-16 is XML as well: the parser then says what to do.
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	raw = bytes.TrimPrefix(raw, []byte("\xff\xfe"))
	raw = bytes.TrimPrefix(raw, []byte("\xfe\xff"))
	raw = bytes.TrimLeft(raw, " \t\r\n\x00")
	return len(raw) > 0 && raw[0] == '<'
}

// Clean returns s without white space at its ends. Control characters, and characters that change
// the direction of writing, become spaces, so that no text of a file can drive a terminal or show
// itself as another.
func Clean(s string) string {
	bad := func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError }
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if bad(r) {
			return ' '
		}
		return r
	}, s))
}
