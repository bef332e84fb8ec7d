package proof

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"
)

// MaxSize bounds a proof, in bytes: a statement has many entries.
const MaxSize = 256 << 20

var encoding = base64.StdEncoding

// errNotCanonical refuses a file that says what a proof says in other bytes.
var errNotCanonical = errors.New("the file is not written as Marshal writes it")

// document is what the files have in common: a first line that says what it is, lines of a name and
// a value, an empty line, and parts whose lengths the line "parts" gives.
type document struct {
	kind   string
	fields []field
	parts  [][]byte
}

type field struct{ name, value string }

func (d *document) add(name, value string) { d.fields = append(d.fields, field{name, value}) }

func (d *document) addBytes(name string, value []byte) { d.add(name, encoding.EncodeToString(value)) }

func (d *document) marshal() []byte {
	var b bytes.Buffer
	b.WriteString(d.kind + "\n")
	for _, f := range d.fields {
		fmt.Fprintf(&b, "%s %s\n", f.name, f.value)
	}
	b.WriteString("parts")
	for _, p := range d.parts {
		fmt.Fprintf(&b, " %d", len(p))
	}
	b.WriteString("\n\n")
	for _, p := range d.parts {
		b.Write(p)
	}
	return b.Bytes()
}

// parseDocument parses the lines and parts of a file of a kind.
func parseDocument(b []byte, kind string) (*document, error) {
	if len(b) > MaxSize {
		return nil, errors.Newf("%d bytes, at most %d", len(b), MaxSize)
	}
	if !bytes.HasPrefix(b, []byte(kind+"\n")) {
		return nil, errors.Newf("the first line is not %q", kind)
	}
	d := &document{kind: kind}
	rest := b[len(kind)+1:]
	for {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return nil, errors.New("the file is cut off")
		}
		rest = after
		name, value, ok := strings.Cut(string(line), " ")
		if !ok && name != "parts" {
			return nil, errors.Newf("a line %.40q without a value", line)
		}
		if name == "parts" {
			return d, d.cut(value, rest)
		}
		d.add(name, value)
	}
}

// cut takes the parts from what stands behind their lengths.
func (d *document) cut(lengths string, rest []byte) error {
	if len(rest) == 0 || rest[0] != '\n' {
		return errors.New("no empty line before the parts")
	}
	rest = rest[1:]
	for _, length := range strings.Fields(lengths) {
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > len(rest) || strconv.Itoa(n) != length {
			return errors.Newf("a part of %q bytes: the file is cut off, or the line is damaged", length)
		}
		d.parts = append(d.parts, rest[:n:n])
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return errors.Newf("%d bytes behind the last part", len(rest))
	}
	return nil
}

// fields reads the fields of a document in their order.
type fields struct {
	rest []field
	err  error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = errors.Newf(format, args...)
	}
}

// next returns the value of the next field, which has this name.
func (f *fields) next(name string) string {
	if f.err != nil {
		return ""
	}
	if len(f.rest) == 0 || f.rest[0].name != name {
		f.fail("the line %q is missing", name)
		return ""
	}
	value := f.rest[0].value
	f.rest = f.rest[1:]
	return value
}

// is reports whether the next field has this name.
func (f *fields) is(name string) bool {
	return f.err == nil && len(f.rest) > 0 && f.rest[0].name == name
}

func (f *fields) bytes(name string) []byte {
	value := f.next(name)
	b, err := encoding.Strict().DecodeString(value)
	if f.err == nil && (err != nil || encoding.EncodeToString(b) != value) {
		f.fail("the line %q is no base64", name)
	}
	return b
}

// end returns what was wrong; a field that is left over is wrong, too.
func (f *fields) end() error {
	if f.err == nil && len(f.rest) > 0 {
		f.fail("a line %q that does not belong here", f.rest[0].name)
	}
	return f.err
}
