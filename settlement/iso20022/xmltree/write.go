package xmltree

import (
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
)

// New returns an element without a parent, to build a document from.
func New(space, name string) *Element { return &Element{Space: space, Name: name} }

// Add appends an empty child in the namespace of e and returns it.
func (e *Element) Add(name string) *Element {
	c := &Element{Space: e.Space, Name: name, Parent: e}
	e.Children = append(e.Children, c)
	return c
}

// AddText appends a child with a text and returns it, unless the text is empty: then it appends
// nothing and returns nil.
func (e *Element) AddText(name, text string) *Element {
	if text == "" {
		return nil
	}
	c := e.Add(name)
	c.Text = text
	return c
}

// Write returns a document in UTF-8 with this root: one element a line, two spaces for each level,
// the namespace declared where it changes. Equal trees give equal bytes, and Parse of the bytes
// gives an equal tree: text of an element with children stands before them. A name or character
// that XML does not allow is an error. Attributes have no namespace.
func Write(root *Element) ([]byte, error) {
	b := []byte("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")
	return root.write(b, "", 0)
}

func (e *Element) write(b []byte, space string, depth int) ([]byte, error) {
	if e.Name == "" || nameLength(e.Name) != len(e.Name) {
		return nil, errors.Newf("%q is no name of an XML element", e.Name)
	}
	b = append(b, strings.Repeat("  ", depth)...)
	b = append(append(b, '<'), e.Name...)
	var err error
	attr := func(name, value string) {
		if err == nil {
			b = append(append(append(b, ' '), name...), `="`...)
			b, err = escape(b, value, true)
			b = append(b, '"')
		}
	}
	if e.Space != space {
		attr("xmlns", e.Space)
	}
	for _, a := range e.Attrs {
		if a.Space != "" || a.Name == "" || a.Name == "xmlns" || nameLength(a.Name) != len(a.Name) {
			return nil, errors.Newf("%q is no name of an attribute that can be written", a.Name)
		}
		attr(a.Name, a.Value)
	}
	if err != nil {
		return nil, errors.Wrapf(err, "write an attribute of %s", e.Name)
	}
	if e.Text == "" && len(e.Children) == 0 {
		return append(b, "/>\n"...), nil
	}
	b = append(b, '>')
	if b, err = escape(b, e.Text, false); err != nil {
		return nil, errors.Wrapf(err, "write the text of %s", e.Name)
	}
	if len(e.Children) > 0 {
		// A line end would become a part of text that is not empty.
		if e.Text == "" {
			b = append(b, '\n')
		}
		for _, c := range e.Children {
			indent := depth + 1
			if e.Text != "" {
				indent = 0
			}
			if b, err = c.write(b, e.Space, indent); err != nil {
				return nil, err
			}
			if e.Text != "" {
				b = b[:len(b)-1]
			}
		}
		if e.Text == "" {
			b = append(b, strings.Repeat("  ", depth)...)
		}
	}
	return append(append(append(b, "</"...), e.Name...), ">\n"...), nil
}

// escape appends text so that Parse gives it back.
func escape(b []byte, s string, attribute bool) ([]byte, error) {
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)), !isChar(r):
			return nil, errors.Newf("the character %q is not allowed in XML: remove it", s[i:i+1])
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '\r':
			b = append(b, "&#13;"...)
		case attribute && r == '"':
			b = append(b, "&quot;"...)
		case attribute && r == '\n':
			b = append(b, "&#10;"...)
		case attribute && r == '\t':
			b = append(b, "&#9;"...)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b, nil
}
