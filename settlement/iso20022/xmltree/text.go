package xmltree

import (
	"strconv"
	"strings"
)

// characters reads text up to the next "<", with its references.
func (p *parser) characters() error {
	start := p.pos
	end := strings.IndexByte(p.rest(), '<')
	if end < 0 {
		end = len(p.src) - start
	}
	piece := p.src[start : start+end]
	p.pos = start + end
	if i := strings.Index(piece, "]]>"); i >= 0 {
		return p.errorf(start+i, Syntax, "\"]]>\" is not allowed in text: write ]]&gt;")
	}
	if !strings.ContainsAny(piece, "&\r") {
		p.addText(piece)
		return nil
	}
	var b strings.Builder
	for i := 0; i < len(piece); {
		switch c := piece[i]; {
		case c == '&':
			r, n, err := p.reference(start + i)
			if err != nil {
				return err
			}
			b.WriteRune(r)
			i += n
		default:
			// The run up to the next reference.
			n := strings.IndexByte(piece[i:], '&')
			if n < 0 {
				n = len(piece) - i
			}
			b.WriteString(lineEnds(piece[i : i+n]))
			i += n
		}
	}
	p.addText(b.String())
	return nil
}

// lineEnds makes every line end a "\n" (XML 1.0, section 2.11).
func lineEnds(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

func (p *parser) cdata() error {
	start := p.pos
	body := p.src[start+len("<![CDATA["):]
	end := strings.Index(body, "]]>")
	if end < 0 {
		return p.errorf(start, Syntax, "a CDATA section does not end: close it with ]]>")
	}
	p.pos = len(p.src) - len(body) + end + 3
	p.addText(lineEnds(body[:end]))
	return nil
}

// reference reads production 67 at an offset: the character it stands for and its length in bytes.
func (p *parser) reference(offset int) (r rune, n int, err error) {
	// The longest reference that is taken is a character reference with a few leading zeros.
	const longest = 16
	s := p.src[offset:min(len(p.src), offset+longest)]
	end := strings.IndexByte(s, ';')
	if end < 0 {
		return 0, 0, p.errorf(offset, Entity, "\"&\" begins no reference: write &amp; for a \"&\" in text")
	}
	name := s[1:end]
	switch name {
	case "lt":
		return '<', end + 1, nil
	case "gt":
		return '>', end + 1, nil
	case "amp":
		return '&', end + 1, nil
	case "apos":
		return '\'', end + 1, nil
	case "quot":
		return '"', end + 1, nil
	}
	digits, found := strings.CutPrefix(name, "#")
	if !found {
		return 0, 0, p.errorf(offset, Entity, "the entity %q is refused: write the character itself", s[:end+1])
	}
	base := 10
	if hex, found := strings.CutPrefix(digits, "x"); found {
		digits, base = hex, 16
	}
	code, convErr := strconv.ParseUint(digits, base, 32)
	if convErr != nil || !isChar(rune(code)) {
		return 0, 0, p.errorf(offset, Character, "%q is no character that XML allows: remove it", s[:end+1])
	}
	return rune(code), end + 1, nil
}

// addText adds text to the innermost open element.
func (p *parser) addText(s string) {
	if s == "" {
		return
	}
	o := &p.open[len(p.open)-1]
	o.pieces = append(o.pieces, s)
	o.solid = o.solid || strings.Trim(s, whitespace) != ""
}

// setText gives an element that ends its text.
func (o *opened) setText() {
	switch {
	case len(o.element.Children) > 0 && !o.solid:
	case len(o.pieces) == 1:
		o.element.Text = o.pieces[0]
	default:
		o.element.Text = strings.Join(o.pieces, "")
	}
}
