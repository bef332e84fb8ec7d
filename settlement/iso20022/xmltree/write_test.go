package xmltree

import (
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	root := New("u", "Document")
	tx := root.Add("Tx")
	tx.AddText("Id", "1 < 2 & 3 > 2\r\n")
	tx.AddText("None", "")
	amt := tx.AddText("Amt", "1.00")
	amt.Attrs = []Attr{{Name: "Ccy", Value: "a\"b\n\t<"}}
	tx.Children = append(tx.Children, New("v", "Other"))
	tx.Add("Empty")
	const want = `<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="u">
  <Tx>
    <Id>1 &lt; 2 &amp; 3 &gt; 2&#13;
</Id>
    <Amt Ccy="a&quot;b&#10;&#9;&lt;">1.00</Amt>
    <Other xmlns="v"/>
    <Empty/>
  </Tx>
</Document>
`
	raw, err := Write(root)
	if err != nil {
		t.Fatal(err)
	}
	if string(raw) != want {
		t.Fatalf("got\n%swant\n%s", raw, want)
	}
	again, err := Parse(raw, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := dump(again), dump(root); got != want {
		t.Fatalf("read again\ngot  %s\nwant %s", got, want)
	}
}

func TestWriteRefuses(t *testing.T) {
	text := func(s string) *Element { e := New("", "a"); e.Text = s; return e }
	attr := func(a Attr) *Element { e := New("", "a"); e.Attrs = []Attr{a}; return e }
	inside := func(c *Element) *Element { e := New("", "a"); e.Children = []*Element{c}; return e }
	for name, e := range map[string]*Element{
		"control character":   text("a\x01"),
		"not UTF-8":           text("a\xff"),
		"U+FFFE":              text("\ufffe"),
		"no name":             New("", ""),
		"bad name":            New("", "a b"),
		"name with prefix":    New("", "p:a"),
		"bad attribute":       attr(Attr{Name: "1"}),
		"attribute in space":  attr(Attr{Name: "a", Space: "u"}),
		"namespace attribute": attr(Attr{Name: "xmlns", Value: "u"}),
		"bad attribute value": attr(Attr{Name: "b", Value: "\x00"}),
		"bad child":           inside(New("", "<")),
	} {
		if raw, err := Write(e); err == nil {
			t.Errorf("%s: written as %q", name, raw)
		} else if strings.Contains(err.Error(), "\x01") {
			t.Errorf("%s: %q repeats what it refuses", name, err)
		}
	}
	if _, err := Write(text("\ufffd")); err != nil {
		t.Errorf("U+FFFD is a character like others: %v", err)
	}
}
