package iso20022

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cairnledger/cairn/settlement/iso20022/schema"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// namespace is what the namespaces of ISO 20022 messages begin with; the definition follows.
const namespace = "urn:iso:std:iso:20022:tech:xsd:"

// definition is an identifier of a message definition: area, message, variant, version.
var definition = regexp.MustCompile(`^[a-z]{4}\.[0-9]{3}\.[0-9]{3}\.[0-9]{2}$`)

// family is a kind of message with the versions that are read.
type family struct {
	kind        string // as in "pacs.008"
	first, last string // versions
	bodies      []string
	read        func(d *reader, m *Message, body *xmltree.Element)
}

// families are the messages that Decode reads, in the order of their names. The first versions of
// some are left out because their elements have other names.
var families = []family{
	{"camt.056", "01", "11", []string{"FIToFIPmtCxlReq"}, (*reader).cancellation},
	{"pacs.002", "03", "15", []string{"FIToFIPmtStsRpt"}, (*reader).statusReport},
	{"pacs.004", "02", "14", []string{"PmtRtr"}, (*reader).paymentReturn},
	{"pacs.008", "02", "13", []string{"FIToFICstmrCdtTrf"}, (*reader).transfers},
	{"pacs.009", "02", "12", []string{"FICdtTrf", "FinInstnCdtTrf"}, (*reader).transfers},
	{"pacs.028", "01", "06", []string{"FIToFIPmtStsReq"}, (*reader).statusRequest},
	{"sese.023", "02", "12", []string{"SctiesSttlmTxInstr"}, (*reader).securities},
}

// Supported is a kind of message and the versions that Decode reads.
type Supported struct {
	Type        string // as in "pacs.008"
	First, Last string // versions, as in "02" and "13"
	Exact       string // the version whose schema Lint checks completely, "" for none
}

// SupportedMessages returns what Decode reads, ordered by type.
func SupportedMessages() []Supported {
	var all []Supported
	for _, f := range families {
		s := Supported{Type: f.kind, First: f.first, Last: f.last}
		if m, _, found := schema.Lookup(f.kind); found && m.Exact {
			s.Exact = m.Definition[len(m.Definition)-2:]
		}
		all = append(all, s)
	}
	return all
}

// envelope is a message taken apart.
type envelope struct {
	root       *xmltree.Element
	header     *xmltree.Element // nil for none
	document   *xmltree.Element
	body       *xmltree.Element
	definition string
	family     family
}

// refuse makes the error about an element.
func refuse(rule, code string, e *xmltree.Element, format string, args ...any) *Refused {
	f := Finding{Rule: rule, Code: code, Line: 1, Column: 1, Transaction: -1, Text: fmt.Sprintf(format, args...)}
	if e != nil {
		f.Path, f.Line, f.Column = e.Path(), e.Line, e.Column
	}
	return &Refused{f}
}

// open parses a message and finds header and document.
func open(raw []byte, limits xmltree.Limits) (*envelope, *Refused) {
	root, err := xmltree.Parse(raw, limits)
	if err != nil {
		var x *xmltree.Error
		if !errors.As(err, &x) {
			return nil, refuse(string(xmltree.Syntax), codeFile, nil, "%s", err.Error())
		}
		return nil, &Refused{Finding{Rule: string(x.Code), Code: codeFile, Line: x.Line, Column: x.Column, Transaction: -1, Text: x.Text}}
	}
	env := &envelope{root: root}
	if r := env.search(root, 0); r != nil {
		return nil, r
	}
	if env.document == nil {
		return nil, refuse("no_document", codeFile, root, "there is no element Document: send an ISO 20022 message, "+
			"alone or with its header in an envelope")
	}
	if r := env.identify(); r != nil {
		return nil, r
	}
	return env, nil
}

// maxEnvelope is how many elements an envelope may put around a message.
const maxEnvelope = 8

// search looks for one Document and one AppHdr. It does not look into them.
func (env *envelope) search(e *xmltree.Element, depth int) *Refused {
	switch {
	case e.Name == "Document":
		if env.document != nil {
			return refuse("several_documents", codeFile, e, "the envelope holds several messages, the first in line %d: send one at a time",
				env.document.Line)
		}
		env.document = e
		return nil
	case e.Name == "AppHdr":
		if env.header != nil {
			return refuse("several_headers", codeFile, e, "the envelope holds several headers, the first in line %d: send one message at a time",
				env.header.Line)
		}
		env.header = e
		return nil
	case depth == maxEnvelope:
		return nil
	}
	for _, c := range e.Children {
		if r := env.search(c, depth+1); r != nil {
			return r
		}
	}
	return nil
}

// identify finds out which message it is.
func (env *envelope) identify() *Refused {
	space := env.document.Space
	name, ours := strings.CutPrefix(space, namespace)
	switch {
	case space == "":
		return refuse("no_namespace", codeFile, env.document, "Document has no namespace: declare the message's, as in "+
			"xmlns=%q", namespace+"pacs.008.001.08")
	case !ours || !definition.MatchString(name):
		return refuse("unknown_namespace", codeFile, env.document, "the namespace %.100q of Document names no ISO 20022 message: "+
			"use one such as %q", space, namespace+"pacs.008.001.08")
	case env.header != nil && !strings.HasPrefix(env.header.Space, namespace+"head.001.001."):
		return refuse("unknown_namespace", codeFile, env.header, "the namespace %.100q of AppHdr is none of a business application header: "+
			"use %q", env.header.Space, namespace+"head.001.001.02")
	}
	env.definition = name
	kind, variant, version := name[:8], name[9:12], name[13:]
	i := slices.IndexFunc(families, func(f family) bool { return f.kind == kind })
	if i < 0 {
		return refuse("unsupported_message", codeFile, env.document, "%s is not a message that instructs settlement here: send one of %s",
			name, kinds())
	}
	env.family = families[i]
	if variant != "001" || version < env.family.first || version > env.family.last {
		return refuse("unsupported_version", codeFile, env.document, "the version %s of %s is not read: send %s.001.%s to %s.001.%s",
			name, kind, kind, env.family.first, kind, env.family.last)
	}
	for _, c := range env.document.Children {
		if !slices.Contains(env.family.bodies, c.Name) || c.Space != space {
			return refuse("wrong_body", codeFile, c, "%s is not what Document of %s holds: put %s into it", c.Name, name, env.family.bodies[0])
		}
		if env.body != nil {
			return refuse("several_documents", codeFile, c, "Document holds several messages: send one at a time")
		}
		env.body = c
	}
	if env.body == nil {
		return refuse("wrong_body", codeFile, env.document, "Document is empty: put %s into it", env.family.bodies[0])
	}
	return nil
}

func kinds() string {
	var all []string
	for _, f := range families {
		all = append(all, f.kind)
	}
	return strings.Join(all, ", ")
}
