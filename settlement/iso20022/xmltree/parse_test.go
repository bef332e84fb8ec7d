package xmltree

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// dump writes a tree on one line: {namespace}name@attr=value"text"[children].
func dump(e *Element) string {
	var b strings.Builder
	if e.Space != "" {
		fmt.Fprintf(&b, "{%s}", e.Space)
	}
	b.WriteString(e.Name)
	for _, a := range e.Attrs {
		b.WriteByte('@')
		if a.Space != "" {
			fmt.Fprintf(&b, "{%s}", a.Space)
		}
		fmt.Fprintf(&b, "%s=%q", a.Name, a.Value)
	}
	if e.Text != "" {
		fmt.Fprintf(&b, " %q", e.Text)
	}
	if len(e.Children) > 0 {
		b.WriteByte('[')
		for i, c := range e.Children {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(dump(c))
		}
		b.WriteByte(']')
	}
	return b.String()
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, doc, want string }{
		{"empty element", `<a/>`, `a`},
		{"start and end", `<a></a>`, `a`},
		{"white space in tags", "<a\n b = '1'\t></a \r\n>", `a@b="1"`},
		{"text", `<a> x </a>`, `a " x "`},
		{"white space alone is text of a leaf", `<a> </a>`, `a " "`},
		{"white space between children is none", "<a>\n <b/>\n <c/>\n</a>", `a[b c]`},
		{"white space of comments and references between children is none", "<a> <!-- x --> &#32;<b/> <!-- y --> </a>", `a[b]`},
		{"text beside children", `<a>x<b/>y</a>`, `a "xy"[b]`},
		{"declaration", `<?xml version="1.0"?><a/>`, `a`},
		{"declaration with encoding", `<?xml version='1.0' encoding='utf-8' standalone = "no" ?><a/>`, `a`},
		{"byte order mark", "\ufeff<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a/>", `a`},
		{"white space around", "\n\t<a/>\r\n", `a`},
		{"comments", "<!-- 1 --><a><!-- 2 - 3 --><b/><!----></a><!-- 4 -->", `a[b]`},
		{"comment in text", `<a>x<!-- y -->z</a>`, `a "xz"`},
		{"predefined entities", `<a b="&lt;&gt;&amp;&apos;&quot;">&lt;&gt;&amp;&apos;&quot;</a>`, `a@b="<>&'\"" "<>&'\""`},
		{"character references", `<a>&#65;&#x42;&#x1F600;&#0000067;</a>`, `a "AB😀C"`},
		{"CDATA", `<a><![CDATA[<b>&amp;]]]]><![CDATA[>]]></a>`, `a "<b>&amp;]]>"`},
		{"line ends", "<a>1\r\n2\r3\n4&#13;</a>", `a "1\n2\n3\n4\r"`},
		{"line ends in CDATA", "<a><![CDATA[1\r\n2]]></a>", `a "1\n2"`},
		{"white space in attributes", "<a b='1\t2\r\n3\n4&#10;'/>", `a@b="1 2 3 4\n"`},
		{"default namespace", `<a xmlns="u"><b c="1"/></a>`, `{u}a[{u}b@c="1"]`},
		{"default namespace taken back", `<a xmlns="u"><b xmlns=""/></a>`, `{u}a[b]`},
		{"prefixes", `<p:a xmlns:p="u" xmlns="v" p:x="1" x="2"><b/><p:c/></p:a>`, `{u}a@{u}x="1"@x="2"[{v}b {u}c]`},
		{"prefix declared anew inside", `<p:a xmlns:p="u"><p:b xmlns:p="v"/><p:c/></p:a>`, `{u}a[{v}b {u}c]`},
		{"prefix declared behind its use", `<a p:x="1" xmlns:p="u"/>`, `a@{u}x="1"`},
		{"two prefixes of one namespace", `<p:a xmlns:p="u" xmlns:q="u"><q:b/></p:a>`, `{u}a[{u}b]`},
		{"the prefix xml", `<a xml:lang="en" xmlns:xml="http://www.w3.org/XML/1998/namespace"/>`,
			`a@{http://www.w3.org/XML/1998/namespace}lang="en"`},
		{"names beyond ASCII", `<é·><日本.1-2_/></é·>`, `é·[日本.1-2_]`},
		{"a name that begins with xml", `<xmlish/>`, `xmlish`},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, err := Parse([]byte(c.doc), Limits{})
			if err != nil {
				t.Fatalf("%s: %v", c.doc, err)
			}
			if got := dump(root); got != c.want {
				t.Fatalf("%s\ngot  %s\nwant %s", c.doc, got, c.want)
			}
		})
	}
}

func TestRefuse(t *testing.T) {
	for _, c := range []struct {
		name, doc    string
		code         Code
		line, column int
		text         string // a part of what is said
	}{
		{"nothing", "", Syntax, 1, 1, "no XML element"},
		{"white space", "\n \n", Syntax, 3, 1, "no XML element"},
		{"only a comment", "<!-- -->", Syntax, 1, 9, "no XML element"},
		{"no XML", "{4:\n:20:X", Syntax, 1, 1, "does not begin with an XML element"},
		{"text before", "x<a/>", Syntax, 1, 1, "does not begin with an XML element"},
		{"document type", "<!DOCTYPE a><a/>", Doctype, 1, 1, "remove <!DOCTYPE"},
		{"document type inside", "<a><!DOCTYPE a></a>", Doctype, 1, 4, "remove <!DOCTYPE"},
		{"entity declaration", "<!ENTITY x \"y\"><a/>", Doctype, 1, 1, "refused"},
		{"entity", "<a>\n&nbsp;</a>", Entity, 2, 1, `"&nbsp;"`},
		{"entity in an attribute", `<a b="&x;"/>`, Entity, 1, 7, `"&x;"`},
		{"bare ampersand", `<a>AT&T</a>`, Entity, 1, 6, "&amp;"},
		{"ampersand at the end", `<a>&`, Entity, 1, 4, "&amp;"},
		{"reference to NUL", `<a>&#0;</a>`, Character, 1, 4, "no character"},
		{"reference to a surrogate", `<a>&#xD800;</a>`, Character, 1, 4, "no character"},
		{"reference to U+FFFE", `<a>&#xFFFE;</a>`, Character, 1, 4, "no character"},
		{"reference beyond Unicode", `<a>&#x110000;</a>`, Character, 1, 4, "no character"},
		{"reference beyond 32 bits", `<a>&#x100000041;</a>`, Character, 1, 4, "no character"},
		{"reference with a sign", `<a>&#+65;</a>`, Character, 1, 4, "no character"},
		{"reference without digits", `<a>&#;</a>`, Character, 1, 4, "no character"},
		{"processing instruction", `<?php x?><a/>`, Instruction, 1, 1, "remove <?"},
		{"processing instruction inside", `<a><?x?></a>`, Instruction, 1, 4, "remove <?"},
		{"processing instruction behind", `<a/><?x?>`, Instruction, 1, 5, "remove <?"},
		{"XML 1.1", `<?xml version="1.1"?><a/>`, Syntax, 1, 1, "send XML 1.0"},
		{"declaration behind white space", ` <?xml version="1.0"?><a/>`, Syntax, 1, 2, "first thing"},
		{"declaration without version", `<?xml encoding="UTF-8"?><a/>`, Syntax, 1, 1, "not well formed"},
		{"declaration in another order", `<?xml version="1.0" standalone="no" encoding="UTF-8"?><a/>`, Syntax, 1, 1, "not well formed"},
		{"declaration with more", `<?xml version="1.0" x="y"?><a/>`, Syntax, 1, 1, "not well formed"},
		{"declaration without space", `<?xml version="1.0"encoding="UTF-8"?><a/>`, Syntax, 1, 1, "not well formed"},
		{"declaration without end", `<?xml version="1.0"><a/>`, Syntax, 1, 1, "does not end"},
		{"standalone", `<?xml version="1.0" standalone="x"?><a/>`, Syntax, 1, 1, "not well formed"},
		{"Latin-1 declared", `<?xml version="1.0" encoding="ISO-8859-1"?><a/>`, Encoding, 1, 1, `"ISO-8859-1": convert it to UTF-8`},
		{"UTF-16 declared", `<?xml version="1.0" encoding="UTF-16"?><a/>`, Encoding, 1, 1, "convert it to UTF-8"},
		{"Latin-1", "<a>\nZ\xfcrich</a>", Encoding, 2, 2, "0xFC is not UTF-8"},
		{"overlong UTF-8", "<a>\xc0\xbc</a>", Encoding, 1, 4, "not UTF-8"},
		{"surrogate in UTF-8", "<a>\xed\xa0\x80</a>", Encoding, 1, 4, "not UTF-8"},
		{"UTF-16 with mark", "\xff\xfe<\x00a\x00", Encoding, 1, 1, "UTF-16: convert it to UTF-8"},
		{"UTF-16 big-endian with mark", "\xfe\xff\x00<\x00a", Encoding, 1, 1, "UTF-16"},
		{"UTF-16 without mark", "<\x00a\x00/\x00>\x00", Encoding, 1, 1, "UTF-16"},
		{"UTF-16 big-endian without mark", "\x00<\x00a", Encoding, 1, 1, "UTF-16"},
		{"UTF-32", "\x00\x00\xfe\xff\x00\x00\x00<", Encoding, 1, 1, "UTF-32"},
		{"EBCDIC", "\x4c\x6f\xa7\x94\x93", Encoding, 1, 1, "EBCDIC"},
		{"gzip", "\x1f\x8b\x08\x00", Encoding, 1, 1, "gzip"},
		{"control character", "<a>\n\n\x01</a>", Character, 3, 1, "U+0001"},
		{"NUL", "<a>\x00</a>", Character, 1, 4, "U+0000"},
		{"U+FFFE", "<a>\ufffe</a>", Character, 1, 4, "U+FFFE"},
		{"second byte order mark", "\ufeff\ufeff<a/>", Syntax, 1, 4, "does not begin"},
		{"second root", "<a/><b/>", Trailing, 1, 5, "one message at a time"},
		{"second message", "<a/>\n<?xml version=\"1.0\"?><b/>", Syntax, 2, 1, "one message at a time"},
		{"text behind", "<a/>x", Trailing, 1, 5, "one message at a time"},
		{"cut off", "<a>\n<b>", Syntax, 2, 4, "ends inside the element b, which begins in line 2"},
		{"cut off in a tag", "<a b='1'", Syntax, 1, 1, "does not end"},
		{"cut off in a value", "<a b='1", Syntax, 1, 6, "does not end"},
		{"cut off in a comment", "<a><!-- ", Syntax, 1, 4, "does not end"},
		{"cut off in CDATA", "<a><![CDATA[x]]", Syntax, 1, 4, "does not end"},
		{"wrong end", "<a>\n<b></a>", Syntax, 2, 4, "b, which begins in line 2, is to end with </b>"},
		{"longer end", "<a></ab>", Syntax, 1, 4, "does not fit"},
		{"end of another prefix", `<p:a xmlns:p="u" xmlns:q="u"></q:a>`, Syntax, 1, 30, "does not fit"},
		{"end alone", "</a>", Syntax, 1, 2, "name is expected"},
		{"attributes together", `<a b="1"c="2"/>`, Syntax, 1, 9, "white space is missing"},
		{"attribute without value", `<a b/>`, Syntax, 1, 4, "no value"},
		{"attribute without quotation marks", `<a b=1/>`, Syntax, 1, 6, "quotation marks"},
		{"less-than in an attribute", `<a b="<"/>`, Syntax, 1, 7, "&lt;"},
		{"less-than in text", `<a>1 < 2</a>`, Syntax, 1, 7, "name is expected"},
		{"end of CDATA in text", `<a>]]></a>`, Syntax, 1, 4, "]]&gt;"},
		{"dashes in a comment", `<a><!-- -- --></a>`, Syntax, 1, 9, `"--"`},
		{"unknown markup", `<a><!x></a>`, Syntax, 1, 4, "&lt;"},
		{"CDATA outside", `<![CDATA[x]]><a/>`, Syntax, 1, 1, "<!"},
		{"name that begins with a digit", `<1a/>`, Syntax, 1, 2, "name is expected"},
		{"two colons", `<a:b:c xmlns:a="u"/>`, Syntax, 1, 5, "white space is missing"},
		{"colon at the end", `<a: xmlns:a="u"/>`, Namespace, 1, 2, "missing behind the prefix"},
		{"colon at the start", `<:a/>`, Syntax, 1, 2, "name is expected"},
		{"prefix not declared", `<p:a/>`, Namespace, 1, 1, `"p" is not declared`},
		{"prefix of an attribute not declared", `<a p:b="1"/>`, Namespace, 1, 4, `"p" is not declared`},
		{"prefix declared in a sibling", `<a><b xmlns:p="u"/><p:c/></a>`, Namespace, 1, 20, "not declared"},
		{"prefix declared in an ended sibling", `<a><b xmlns:p="u"></b><p:c/></a>`, Namespace, 1, 23, "not declared"},
		{"prefix without namespace", `<a xmlns:p=""/>`, Namespace, 1, 4, "empty"},
		{"the prefix xmlns", `<a xmlns:xmlns="u"/>`, Namespace, 1, 4, "cannot be declared"},
		{"the prefix xml for another namespace", `<a xmlns:xml="u"/>`, Namespace, 1, 4, "cannot be declared"},
		{"the namespace of xmlns", `<a xmlns="http://www.w3.org/2000/xmlns/"/>`, Namespace, 1, 4, "cannot be declared"},
		{"attribute twice", `<a b="1" b="2"/>`, DuplicateAttribute, 1, 10, "b stands twice"},
		{"attribute twice by two prefixes", `<a xmlns:p="u" xmlns:q="u" p:b="1" q:b="2"/>`, DuplicateAttribute, 1, 36, "twice"},
		{"namespace twice", `<a xmlns="u" xmlns="u"/>`, DuplicateAttribute, 1, 14, "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, err := Parse([]byte(c.doc), Limits{})
			if err == nil {
				t.Fatalf("%q is taken as %s, want %s", c.doc, dump(root), c.code)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%q: %v is no *Error", c.doc, err)
			}
			if e.Code != c.code || e.Line != c.line || e.Column != c.column || !strings.Contains(e.Text, c.text) {
				t.Fatalf("%q\ngot  %s %v\nwant %s line %d, column %d: …%s…", c.doc, e.Code, e, c.code, c.line, c.column, c.text)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	limits := Limits{Bytes: 100, Depth: 3, Elements: 5, Attributes: 4}
	for _, c := range []struct {
		name, within, beyond string
		code                 Code
	}{
		{"bytes", "<a>" + strings.Repeat("x", 93) + "</a>", "<a>" + strings.Repeat("x", 94) + "</a>", TooLarge},
		{"depth", "<a><b><c/></b></a>", "<a><b><c><d/></c></b></a>", TooDeep},
		{"elements", "<a><b/><b/><b/><b/></a>", "<a><b/><b/><b/><b/><b/></a>", TooManyElements},
		{"attributes", "<a b='' c=''><d b='' c=''/></a>", "<a b='' c=''><d b='' c='' d=''/></a>", TooManyAttributes},
		{"namespaces", "<a xmlns='u' b=''><d xmlns='v' c=''/></a>", "<a xmlns='u' b=''><d xmlns='v' c='' d=''/></a>", TooManyAttributes},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Parse([]byte(c.within), limits); err != nil {
				t.Fatalf("%s: %v", c.within, err)
			}
			var e *Error
			if _, err := Parse([]byte(c.beyond), limits); !errors.As(err, &e) || e.Code != c.code {
				t.Fatalf("%s: got %v, want %s", c.beyond, err, c.code)
			}
		})
	}
}

// TestLimitsOfOneElement: what is compared each with each is bounded whatever Limits say.
func TestLimitsOfOneElement(t *testing.T) {
	many := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return "<a" + b.String() + "/>"
	}
	for _, format := range []string{" a%d=''", " xmlns:a%d='u'"} {
		if _, err := Parse([]byte(many(format, 64)), Limits{}); err != nil {
			t.Fatalf("64 of %q: %v", format, err)
		}
		var e *Error
		if _, err := Parse([]byte(many(format, 65)), Limits{}); !errors.As(err, &e) || e.Code != TooManyAttributes {
			t.Fatalf("65 of %q: got %v, want %s", format, err, TooManyAttributes)
		}
	}
}
