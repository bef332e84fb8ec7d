package xmltree

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// FuzzParse: a document that Parse takes is the same for encoding/xml, element by element. What is
// refused is refused with an *Error inside the document.
func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("\ufeff<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<p:a xmlns:p='u' p:b='&lt;\r\n'><![CDATA[x]]>&#65;<!-- y --></p:a >"))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`))
	f.Add([]byte(`<a xmlns="u"><b xmlns="">x<c xml:lang="en"/>y</b></a>`))
	f.Add([]byte("<Document xmlns:v='\n'><v:Id></v:Id></Document>"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		root, err := Parse(raw, Limits{Bytes: 1 << 16, Elements: 1000, Attributes: 1000})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Code == "" || e.Text == "" || e.Line < 1 || e.Column < 1 || e.Line > len(raw)+1 {
				t.Fatalf("%q: not a proper error: %#v", raw, err)
			}
			return
		}
		// What is written is read as it was, unless attributes have namespaces.
		if written, err := Write(root); err == nil {
			again, err := Parse(written, Limits{})
			if err != nil {
				t.Fatalf("%q is written as %q: %v", raw, written, err)
			}
			if got, want := dump(again), dump(root); got != want {
				t.Fatalf("%q is written as %q\ngot  %s\nwant %s", raw, written, got, want)
			}
		}
		if !ascii(raw) {
			return // encoding/xml knows the names of an older edition of XML 1.0
		}
		other, err := standard(raw)
		if err != nil {
			t.Fatalf("%q is taken, but encoding/xml says %v", raw, err)
		}
		if got, want := dump(spaced(root)), dump(spaced(other)); got != want {
			t.Fatalf("%q\nis             %s\nfor encoding/xml %s", raw, got, want)
		}
	})
}

func ascii(raw []byte) bool {
	return !bytes.ContainsFunc(raw, func(r rune) bool { return r >= 0x80 })
}

// spaced makes white space in attributes and namespace names equal, which encoding/xml does not
// normalise.
func spaced(e *Element) *Element {
	blank := func(s string) string {
		return strings.Map(func(r rune) rune {
			if strings.ContainsRune(whitespace, r) {
				return ' '
			}
			return r
		}, s)
	}
	e.Space = blank(e.Space)
	for i, a := range e.Attrs {
		e.Attrs[i] = Attr{Space: blank(a.Space), Name: a.Name, Value: blank(a.Value)}
	}
	for _, c := range e.Children {
		spaced(c)
	}
	return e
}

// standard reads a document with encoding/xml.
func standard(raw []byte) (*Element, error) {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(raw, []byte(byteOrderMark))))
	top := &Element{}
	at := top
	texts := map[*Element]string{}
	for {
		token, err := d.Token()
		if err == io.EOF {
			return top.Children[0], nil
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := &Element{Space: token.Name.Space, Name: token.Name.Local, Parent: at}
			for _, a := range token.Attr {
				if a.Name.Space != "xmlns" && (a.Name.Space != "" || a.Name.Local != "xmlns") {
					e.Attrs = append(e.Attrs, Attr{a.Name.Space, a.Name.Local, a.Value})
				}
			}
			at.Children = append(at.Children, e)
			at = e
		case xml.EndElement:
			if s := texts[at]; len(at.Children) == 0 || strings.Trim(s, whitespace) != "" {
				at.Text = s
			}
			at = at.Parent
		case xml.CharData:
			texts[at] += string(token)
		}
	}
}
