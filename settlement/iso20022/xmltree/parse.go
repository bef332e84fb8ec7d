package xmltree

import (
	"fmt"
	"strings"
)

// Parse reads a document and returns its root element. The tree does not alias raw. An error is an
// *Error.
func Parse(raw []byte, limits Limits) (*Element, error) {
	p := &parser{limits: limits.withDefaults()}
	if len(raw) > p.limits.Bytes {
		return nil, &Error{TooLarge, 1, 1, fmt.Sprintf("the message has %d bytes, more than the limit of %d: "+
			"split it into several messages", len(raw), p.limits.Bytes)}
	}
	if name := foreign(raw); name != "" {
		return nil, &Error{Encoding, 1, 1, fmt.Sprintf("the message is in %s: convert it to UTF-8 without compression", name)}
	}
	if offset, code, text := checkCharacters(raw); offset >= 0 {
		p.src = string(raw[:offset])
		return nil, p.errorf(offset, code, "%s", text)
	}
	p.src = string(raw)
	if err := p.document(); err != nil {
		return nil, err
	}
	return p.root, nil
}

// parser holds the state of one Parse. Its methods leave pos behind what they read.
type parser struct {
	limits Limits
	src    string
	pos    int

	root *Element
	open []opened // elements whose end has not come, outermost first
	// bindings are the namespace declarations in force, innermost last. Invariant: at most
	// maxBindings.
	bindings []binding

	slab       []Element // elements that are allocated and not yet used
	elements   int       // so far
	attributes int       // so far, with namespace declarations

	// mark, line and column are the last place that place computed. Invariant: mark only grows
	// within one Parse, so that counting lines costs one pass.
	mark, line, column int
}

// opened is an element whose end has not come.
type opened struct {
	element *Element
	tag     string   // the name as written, which its end has to repeat
	bound   int      // bindings of the elements around it
	pieces  []string // its text so far
	solid   bool     // some piece is more than white space
}

type binding struct{ prefix, space string }

// errorf makes an Error at an offset.
func (p *parser) errorf(offset int, code Code, format string, args ...any) *Error {
	before := p.src[:offset]
	return &Error{
		Code:   code,
		Line:   1 + strings.Count(before, "\n"),
		Column: offset - strings.LastIndexByte(before, '\n'),
		Text:   fmt.Sprintf(format, args...),
	}
}

// place returns line and column of an offset that is not before those asked for earlier.
func (p *parser) place(offset int) (line, column int) {
	gap := p.src[p.mark:offset]
	if n := strings.Count(gap, "\n"); n > 0 {
		p.line += n
		p.column = len(gap) - strings.LastIndexByte(gap, '\n') - 1
	} else {
		p.column += len(gap)
	}
	p.mark = offset
	return p.line + 1, p.column + 1
}

func (p *parser) rest() string { return p.src[p.pos:] }

func (p *parser) skipSpace() bool {
	start := p.pos
	for p.pos < len(p.src) && isSpace(p.src[p.pos]) {
		p.pos++
	}
	return p.pos > start
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// document reads production 1: a declaration, the root element, and comments around it.
func (p *parser) document() error {
	if strings.HasPrefix(p.src, byteOrderMark) {
		p.pos = len(byteOrderMark)
	}
	if strings.HasPrefix(p.rest(), "<?xml") && len(p.rest()) > 5 && isSpace(p.rest()[5]) {
		if err := p.declaration(); err != nil {
			return err
		}
	}
	for p.pos < len(p.src) {
		if len(p.open) > 0 {
			if err := p.content(); err != nil {
				return err
			}
			continue
		}
		if p.skipSpace() {
			continue
		}
		if err := p.outside(); err != nil {
			return err
		}
	}
	if n := len(p.open); n > 0 {
		o := p.open[n-1]
		return p.errorf(len(p.src), Syntax, "the message ends inside the element %s, which begins in line %d: "+
			"send the whole message", o.tag, o.element.Line)
	}
	if p.root == nil {
		return p.errorf(len(p.src), Syntax, "there is no XML element: send an ISO 20022 message")
	}
	return nil
}

// outside reads what stands before or behind the root element.
func (p *parser) outside() error {
	switch {
	case strings.HasPrefix(p.rest(), "<!--"):
		return p.comment()
	case strings.HasPrefix(p.rest(), "<!"), strings.HasPrefix(p.rest(), "<?"):
		return p.refuse()
	case p.root != nil:
		return p.errorf(p.pos, Trailing, "something follows the end of the root element %s: "+
			"send one message at a time", p.root.Name)
	case p.src[p.pos] == '<':
		return p.startTag()
	}
	return p.errorf(p.pos, Syntax, "the message does not begin with an XML element: send XML, without anything before it")
}

// content reads one piece of what is inside an element.
func (p *parser) content() error {
	switch rest := p.rest(); {
	case rest[0] != '<':
		return p.characters()
	case strings.HasPrefix(rest, "</"):
		return p.endTag()
	case strings.HasPrefix(rest, "<!--"):
		return p.comment()
	case strings.HasPrefix(rest, "<![CDATA["):
		return p.cdata()
	case strings.HasPrefix(rest, "<!"), strings.HasPrefix(rest, "<?"):
		return p.refuse()
	}
	return p.startTag()
}

// refuse explains why markup with "<!" or "<?" is not taken.
func (p *parser) refuse() error {
	switch rest := p.rest(); {
	case strings.HasPrefix(rest, "<!DOCTYPE"):
		return p.errorf(p.pos, Doctype, "a document type declaration is refused, because it can define entities: "+
			"remove <!DOCTYPE …>")
	case strings.HasPrefix(rest, "<!ENTITY"), strings.HasPrefix(rest, "<!ELEMENT"),
		strings.HasPrefix(rest, "<!ATTLIST"), strings.HasPrefix(rest, "<!NOTATION"):
		return p.errorf(p.pos, Doctype, "a declaration of entities or elements is refused: remove it")
	case strings.HasPrefix(rest, "<?xml") && len(rest) > 5 && isSpace(rest[5]):
		return p.errorf(p.pos, Syntax, "the XML declaration has to be the first thing in the message: "+
			"remove what is before it, or send one message at a time")
	case strings.HasPrefix(rest, "<?"):
		return p.errorf(p.pos, Instruction, "a processing instruction is refused: remove <?…?>")
	}
	return p.errorf(p.pos, Syntax, "\"<!\" begins nothing that XML allows here: write &lt; for a \"<\" in text")
}

func (p *parser) comment() error {
	start := p.pos
	end := strings.Index(p.src[start+4:], "--")
	if end < 0 {
		return p.errorf(start, Syntax, "a comment does not end: close it with -->")
	}
	end += start + 4
	if !strings.HasPrefix(p.src[end:], "-->") {
		return p.errorf(end, Syntax, "\"--\" is not allowed inside a comment: remove it")
	}
	p.pos = end + 3
	return nil
}

// declaration reads production 23, the XML declaration.
func (p *parser) declaration() error {
	start := p.pos
	end := strings.Index(p.rest(), "?>")
	if end < 0 {
		return p.errorf(start, Syntax, "the XML declaration does not end: close it with ?>")
	}
	body := p.src[start+len("<?xml") : start+end]
	p.pos = start + end + 2
	version, body, found := pseudoAttribute(body, "version")
	if !found {
		return p.badDeclaration(start)
	}
	if version != "1.0" {
		return p.errorf(start, Syntax, "the XML version is %.20q: send XML 1.0", version)
	}
	encoding, body, found := pseudoAttribute(body, "encoding")
	if found && !strings.EqualFold(encoding, "UTF-8") {
		return p.errorf(start, Encoding, "the message says that its encoding is %.40q: "+
			"convert it to UTF-8 and declare encoding=\"UTF-8\"", encoding)
	}
	standalone, body, found := pseudoAttribute(body, "standalone")
	if found && standalone != "yes" && standalone != "no" || strings.Trim(body, whitespace) != "" {
		return p.badDeclaration(start)
	}
	return nil
}

func (p *parser) badDeclaration(start int) error {
	return p.errorf(start, Syntax, "the XML declaration is not well formed: "+
		"write <?xml version=\"1.0\" encoding=\"UTF-8\"?>")
}

// pseudoAttribute reads name="value" with white space before it from the start of s.
func pseudoAttribute(s, name string) (value, rest string, found bool) {
	t := strings.TrimLeft(s, whitespace)
	if len(t) == len(s) || !strings.HasPrefix(t, name) {
		return "", s, false
	}
	t = strings.TrimLeft(t[len(name):], whitespace)
	if !strings.HasPrefix(t, "=") {
		return "", s, false
	}
	t = strings.TrimLeft(t[1:], whitespace)
	if t == "" || t[0] != '"' && t[0] != '\'' {
		return "", s, false
	}
	end := strings.IndexByte(t[1:], t[0])
	if end < 0 {
		return "", s, false
	}
	return t[1 : 1+end], t[2+end:], true
}
