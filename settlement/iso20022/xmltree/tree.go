package xmltree

import (
	"strconv"
	"strings"
)

// Element is an element of a document. A nil *Element stands for one that is not there: its
// methods answer with nothing, so that a chain of Child needs no checks.
type Element struct {
	Space  string // namespace name, "" for none
	Name   string // local name
	Attrs  []Attr // in the order of the document, without namespace declarations
	Parent *Element
	// Children are the elements directly inside, in the order of the document.
	Children []*Element
	// Text is the character data directly inside, without that of the children, references
	// resolved. It is "" where there are children and nothing but white space around them.
	Text   string
	Offset int // of the "<", in bytes from the start of the document
	Line   int // of the "<", from 1
	Column int // of the "<", in bytes from the start of the line, from 1

	// ordinal is the place among the siblings with the same name, from 1, and same their number. Both
	// are 0 in a tree that Parse did not make.
	ordinal, same int32
}

// Attr is an attribute with its value, references resolved.
type Attr struct {
	Space string // namespace name, "" for none: a default namespace does not apply
	Name  string // local name
	Value string
}

// Child returns the first child with this local name in the namespace of e, or nil.
func (e *Element) Child(name string) *Element {
	if e == nil {
		return nil
	}
	for _, c := range e.Children {
		if c.Name == name && c.Space == e.Space {
			return c
		}
	}
	return nil
}

// All returns the children with this local name in the namespace of e.
func (e *Element) All(name string) []*Element {
	if e == nil {
		return nil
	}
	var all []*Element
	for _, c := range e.Children {
		if c.Name == name && c.Space == e.Space {
			all = append(all, c)
		}
	}
	return all
}

// At follows the first child of each name: At("A", "B") is Child("A").Child("B").
func (e *Element) At(names ...string) *Element {
	for _, name := range names {
		e = e.Child(name)
	}
	return e
}

// String returns the text without white space at its ends. It is "" for nil.
func (e *Element) String() string {
	if e == nil {
		return ""
	}
	return strings.Trim(e.Text, whitespace)
}

// whitespace are the characters that XML calls white space.
const whitespace = " \t\r\n"

// Attr returns the value of the attribute with this local name and without a namespace, and
// whether it is there.
func (e *Element) Attr(name string) (value string, found bool) {
	if e == nil {
		return "", false
	}
	for _, a := range e.Attrs {
		if a.Name == name && a.Space == "" {
			return a.Value, true
		}
	}
	return "", false
}

// Path returns the place of e in the document as local names from the root, as in
// "/Document/FIToFICstmrCdtTrf/CdtTrfTxInf[2]/PmtId". A name that its parent has several times is
// followed by the ordinal among them, from 1.
func (e *Element) Path() string {
	if e == nil {
		return ""
	}
	var steps []string
	for ; e != nil; e = e.Parent {
		steps = append(steps, e.step())
	}
	var b strings.Builder
	for i := len(steps) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(steps[i])
	}
	return b.String()
}

// step is the name of e with its ordinal when siblings share it.
func (e *Element) step() string {
	ordinal, same := int(e.ordinal), int(e.same)
	if same == 0 && e.Parent != nil {
		for _, s := range e.Parent.Children {
			if s.Name == e.Name && s.Space == e.Space {
				same++
			}
			if s == e {
				ordinal = same
			}
		}
	}
	if same <= 1 {
		return e.Name
	}
	return e.Name + "[" + strconv.Itoa(ordinal) + "]"
}

// number gives the children of an element that is complete their ordinals, in time proportional to
// their number.
func (e *Element) number() {
	if len(e.Children) <= 8 {
		for i, c := range e.Children {
			if c.same > 0 {
				continue
			}
			for _, s := range e.Children[i:] {
				if s.Name == c.Name && s.Space == c.Space {
					c.same++
					s.ordinal = c.same
				}
			}
			for _, s := range e.Children[i:] {
				if s.Name == c.Name && s.Space == c.Space {
					s.same = c.same
				}
			}
		}
		return
	}
	type name struct{ space, name string }
	counts := make(map[name]int32)
	for _, c := range e.Children {
		n := name{c.Space, c.Name}
		counts[n]++
		c.ordinal = counts[n]
	}
	for _, c := range e.Children {
		c.same = counts[name{c.Space, c.Name}]
	}
}
