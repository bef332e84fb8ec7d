package xmltree

import (
	"strings"
)

// Names of the two namespaces that every document has (Namespaces in XML 1.0, section 3).
const (
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
)

// qualified reads a name with or without a prefix (Namespaces in XML 1.0, production 7).
func (p *parser) qualified() (prefix, local string, err error) {
	start := p.pos
	n := nameLength(p.rest())
	if n == 0 {
		return "", "", p.errorf(start, Syntax, "a name is expected here: write &lt; for a \"<\" in text")
	}
	local = p.src[start : start+n]
	p.pos += n
	if strings.HasPrefix(p.rest(), ":") {
		prefix = local
		p.pos++
		n = nameLength(p.rest())
		if n == 0 {
			return "", "", p.errorf(start, Namespace, "a name is missing behind the prefix %.40q", prefix)
		}
		local = p.src[p.pos : p.pos+n]
		p.pos += n
	}
	return prefix, local, nil
}

// rawAttr is an attribute whose prefix is not resolved yet.
type rawAttr struct {
	prefix, name, value string
	at                  int
}

// startTag reads productions 40 and 44.
func (p *parser) startTag() error {
	start := p.pos
	if len(p.open) >= p.limits.Depth {
		return p.errorf(start, TooDeep, "more than %d elements are inside each other: no ISO 20022 message needs so many",
			p.limits.Depth)
	}
	if p.elements++; p.elements > p.limits.Elements {
		return p.errorf(start, TooManyElements, "the message has more than %d elements: split it into several messages",
			p.limits.Elements)
	}
	p.pos++
	prefix, local, err := p.qualified()
	if err != nil {
		return err
	}
	tag := p.src[start+1 : p.pos]
	bound := len(p.bindings)
	var buf [4]rawAttr
	attrs := buf[:0]
	for {
		spaced := p.skipSpace()
		rest := p.rest()
		if rest == "" {
			return p.errorf(start, Syntax, "the tag of %.40s does not end: close it with >", tag)
		}
		if rest[0] == '>' || strings.HasPrefix(rest, "/>") {
			break
		}
		if !spaced {
			return p.errorf(p.pos, Syntax, "white space is missing before an attribute of %.40s", tag)
		}
		if attrs, err = p.attribute(attrs, tag, bound); err != nil {
			return err
		}
	}

	e := p.newElement()
	e.Name, e.Offset = local, start
	e.Line, e.Column = p.place(start)
	var ok bool
	if e.Space, ok = p.resolve(prefix); !ok {
		return p.errorf(start, Namespace, "the prefix %.40q is not declared: declare it with xmlns:%.40s=\"…\"", prefix, prefix)
	}
	if err := p.setAttrs(e, attrs, tag); err != nil {
		return err
	}
	if n := len(p.open); n > 0 {
		e.Parent = p.open[n-1].element
		e.Parent.Children = append(e.Parent.Children, e)
	} else {
		p.root = e
	}
	if p.src[p.pos] == '/' {
		p.pos += 2
		p.bindings = p.bindings[:bound]
		return nil
	}
	p.pos++
	p.push(opened{element: e, tag: tag, bound: bound})
	return nil
}

// push opens an element. The pieces of an element that stood at the same depth lend their memory.
func (p *parser) push(o opened) {
	n := len(p.open)
	if n < cap(p.open) {
		o.pieces = p.open[:n+1][n].pieces[:0]
	}
	p.open = append(p.open, o)
}

// attribute reads production 41 and keeps it in attrs, or in p.bindings when it declares a
// namespace. bound is the number of bindings around the element.
func (p *parser) attribute(attrs []rawAttr, tag string, bound int) ([]rawAttr, error) {
	start := p.pos
	p.attributes++
	if p.attributes > p.limits.Attributes {
		return nil, p.errorf(start, TooManyAttributes, "the message has more than %d attributes: "+
			"split it into several messages", p.limits.Attributes)
	}
	if len(attrs) >= maxAttributes || len(p.bindings) >= maxBindings {
		return nil, p.errorf(start, TooManyAttributes, "the element %.40s has more than %d attributes or namespace "+
			"prefixes: no ISO 20022 message needs so many", tag, maxAttributes)
	}
	prefix, local, err := p.qualified()
	if err != nil {
		return nil, err
	}
	p.skipSpace()
	if !strings.HasPrefix(p.rest(), "=") {
		return nil, p.errorf(start, Syntax, "the attribute %.40s has no value: write %.40s=\"…\"", local, local)
	}
	p.pos++
	p.skipSpace()
	value, err := p.attributeValue(local)
	if err != nil {
		return nil, err
	}
	switch {
	case prefix == "xmlns":
		return attrs, p.bind(start, bound, local, value)
	case prefix == "" && local == "xmlns":
		return attrs, p.bind(start, bound, "", value)
	}
	return append(attrs, rawAttr{prefix, local, value, start}), nil
}

// attributeValue reads production 10 and normalises it as XML 1.0, section 3.3.3, does for
// attributes that no declaration describes: white space becomes a space.
func (p *parser) attributeValue(name string) (string, error) {
	start := p.pos
	if rest := p.rest(); rest == "" || rest[0] != '"' && rest[0] != '\'' {
		return "", p.errorf(start, Syntax, "the value of the attribute %.40s is not in quotation marks", name)
	}
	quote := p.src[start]
	length := strings.IndexByte(p.src[start+1:], quote)
	if length < 0 {
		return "", p.errorf(start, Syntax, "the value of the attribute %.40s does not end: close it with %c", name, quote)
	}
	value := p.src[start+1 : start+1+length]
	p.pos = start + length + 2
	if i := strings.IndexByte(value, '<'); i >= 0 {
		return "", p.errorf(start+1+i, Syntax, "\"<\" is not allowed in the value of the attribute %.40s: write &lt;", name)
	}
	if !strings.ContainsAny(value, "&\t\r\n") {
		return value, nil
	}
	var b strings.Builder
	for i := 0; i < len(value); {
		switch c := value[i]; c {
		case '&':
			r, n, err := p.reference(start + 1 + i)
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
			i += n
		case '\r', '\n', '\t':
			b.WriteByte(' ')
			if c == '\r' && strings.HasPrefix(value[i+1:], "\n") {
				i++
			}
			i++
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String(), nil
}

// bind declares a prefix, "" for the default namespace, for the element that begins.
func (p *parser) bind(at, bound int, prefix, space string) error {
	switch {
	case prefix == "xmlns", prefix == "xml" && space != xmlSpace, prefix != "xml" && space == xmlSpace, space == xmlnsSpace:
		return p.errorf(at, Namespace, "the prefixes xml and xmlns and their namespaces cannot be declared anew: "+
			"choose another prefix")
	case prefix != "" && space == "":
		return p.errorf(at, Namespace, "the prefix %.40q is declared with an empty namespace: name one", prefix)
	}
	for _, b := range p.bindings[bound:] {
		if b.prefix == prefix {
			return p.errorf(at, DuplicateAttribute, "one namespace declaration stands twice on an element: remove one")
		}
	}
	p.bindings = append(p.bindings, binding{prefix, space})
	return nil
}

// resolve returns the namespace name of a prefix, "" for the default namespace, and whether the
// prefix is declared.
func (p *parser) resolve(prefix string) (space string, ok bool) {
	for i := len(p.bindings) - 1; i >= 0; i-- {
		if p.bindings[i].prefix == prefix {
			return p.bindings[i].space, true
		}
	}
	if prefix == "xml" {
		return xmlSpace, true
	}
	return "", prefix == ""
}

// setAttrs resolves the prefixes of the attributes and refuses two of one expanded name.
func (p *parser) setAttrs(e *Element, attrs []rawAttr, tag string) error {
	if len(attrs) == 0 {
		return nil
	}
	e.Attrs = make([]Attr, 0, len(attrs))
	for _, a := range attrs {
		space := ""
		if a.prefix != "" {
			var ok bool
			if space, ok = p.resolve(a.prefix); !ok {
				return p.errorf(a.at, Namespace, "the prefix %.40q is not declared: declare it with xmlns:%.40s=\"…\"",
					a.prefix, a.prefix)
			}
		}
		for _, other := range e.Attrs {
			if other.Name == a.name && other.Space == space {
				return p.errorf(a.at, DuplicateAttribute, "the attribute %.40s stands twice on the element %.40s: remove one",
					a.name, tag)
			}
		}
		e.Attrs = append(e.Attrs, Attr{Space: space, Name: a.name, Value: a.value})
	}
	return nil
}

// newElement returns an element of the slab: one allocation serves many.
func (p *parser) newElement() *Element {
	if len(p.slab) == 0 {
		p.slab = make([]Element, min(max(16, p.elements), 1024))
	}
	e := &p.slab[0]
	p.slab = p.slab[1:]
	return e
}

// endTag reads production 42.
func (p *parser) endTag() error {
	start := p.pos
	o := &p.open[len(p.open)-1]
	rest := p.src[start+2:]
	// The tag could be the beginning of a longer name: what follows it must be white space or ">".
	after := strings.TrimLeft(strings.TrimPrefix(rest, o.tag), whitespace)
	if !strings.HasPrefix(rest, o.tag) || !strings.HasPrefix(after, ">") {
		return p.errorf(start, Syntax, "the end tag does not fit: %.40s, which begins in line %d, is to end with </%.40s>",
			o.tag, o.element.Line, o.tag)
	}
	p.pos = len(p.src) - len(after) + 1
	o.setText()
	o.element.number()
	p.bindings = p.bindings[:o.bound]
	p.open = p.open[:len(p.open)-1]
	return nil
}
