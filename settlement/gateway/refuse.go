package gateway

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/report"
)

// reject answers a message that is not carried out as a whole.
func (e *exchange) reject(against []problem) step {
	if e.m.Securities != nil {
		return e.rejectSecurities(against)
	}
	return e.rejected(e.m.ID, e.m.Definition, against)
}

// unreadable answers what is no message that can be read.
func (e *exchange) unreadable(p problem) step {
	id, definition := salvage(e.in.Raw)
	p.code = cmp.Or(p.code, codeFile)
	if id == "" || strings.HasPrefix(definition, "sese.") { // a pacs.002 is not about these
		return e.answer(nil, "", []problem{p})
	}
	return e.rejected(id, definition, []problem{p})
}

// maxReasons is how many reasons the answer to a rejected message gives.
const maxReasons = 20

func (e *exchange) rejected(id, definition string, against []problem) step {
	var reasons []iso20022.Reason
	for i := range against[:min(len(against), maxReasons)] {
		reasons = append(reasons, against[i].reason())
	}
	raw, err := report.StatusReport{
		ID: e.replyID(), Created: stamp(e.in.Received),
		Group: &report.GroupStatus{
			Original: iso20022.Original{MessageID: cut(cmp.Or(id, "NOTPROVIDED")), MessageName: cmp.Or(definition, "NOTPROVIDED")},
			Status:   report.Rejected, Reasons: reasons,
		},
	}.Encode()
	if err != nil || id == "" {
		return e.answer(nil, "", against)
	}
	s := e.answer(raw, definitionStatus, against)
	s.answer.ID, s.answer.Message = id, definition
	return s
}

// answer ends an exchange. Without a message the reply is a text.
func (e *exchange) answer(raw []byte, definition string, against []problem) step {
	a := &Answer{Reply: raw, Definition: definition, ReplyID: e.replyID(), Findings: e.warn, Rejected: true}
	if e.m != nil {
		a.Message, a.ID = e.m.Definition, e.m.ID
	}
	for _, it := range e.items {
		i := it.shown()
		a.Items = append(a.Items, i)
		if it.carriedOut(e) {
			a.Rejected = false
			if e.m.Securities != nil {
				a.Follow, a.State = it.id, it.state
			}
		}
	}
	if a.Reply == nil || a.Message != "" && isReply.MatchString(a.ID) && strings.HasPrefix(a.Message, "pacs.002") {
		a.Reply, a.Definition = e.text(a, against), ""
	}
	return step{answer: a}
}

// shown is what an answer says about the item.
func (it *item) shown() Item {
	i := Item{Transaction: it.name, ID: it.id, Code: it.code, Index: it.index, Decided: it.decided, Repeated: it.repeated}
	if p := it.problem; p != nil {
		i.Reason, i.Name, i.Text = p.code, p.name, p.text
	}
	return i
}

// carriedOut says whether what the message asks about the item was done, or, of a question, answered.
func (it *item) carriedOut(e *exchange) bool {
	switch e.m.Type() {
	case "pacs.028":
		return true
	case "pacs.002":
		return it.original != nil && it.problem == nil
	case "camt.056":
		return it.code == report.Cancelled
	case "sese.023":
		return it.asked && it.problem == nil
	}
	return it.code == statusSettled || it.code == statusReserved
}

// text writes an answer for a person.
func (e *exchange) text(a *Answer, against []problem) []byte {
	var b bytes.Buffer
	name := strings.TrimSpace(a.Message + " " + a.ID)
	switch {
	case len(against) > 0:
		fmt.Fprintf(&b, "rejected: %s\n", cmp.Or(clean(name), "a message without a readable identification"))
	default:
		fmt.Fprintf(&b, "read: %s, itself an answer of a gateway, which gets no message back\n", clean(name))
	}
	fmt.Fprintf(&b, "answer: %s\n", a.ReplyID)
	for i := range against {
		fmt.Fprintf(&b, "%s %s: %s\n", cmp.Or(against[i].code, "-"), against[i].name, clean(against[i].text))
	}
	for _, it := range a.Items {
		fmt.Fprintf(&b, "%s: %s", clean(it.Transaction), cmp.Or(it.Code, "unknown"))
		if it.Name != "" {
			fmt.Fprintf(&b, " (%s %s: %s)", cmp.Or(it.Reason, "-"), it.Name, clean(it.Text))
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// What names a message, in the order in which it is looked for, and its definition.
var (
	messageIDs = []*regexp.Regexp{
		naming(`<P:MsgId>`), naming(`<P:Assgnmt>\s*<P:Id>`), naming(`<P:BizMsgIdr>`),
	}
	definition = regexp.MustCompile(`urn:iso:std:iso:20022:tech:xsd:([a-z]{4}\.[0-9]{3}\.[0-9]{3}\.[0-9]{2})["']`)
)

// naming returns an expression for the text of an element, where P: is any prefix or none.
func naming(element string) *regexp.Regexp {
	return regexp.MustCompile(strings.ReplaceAll(element, "P:", `(?:[A-Za-z_][\w.-]*:)?`) + `\s*([^<>&"'\x00-\x1f]{1,35}?)\s*</`)
}

// salvageWithin is how far into a message that cannot be read salvage looks for what names it.
const salvageWithin = 64 << 10

// salvage looks for the identification and the definition of a message that cannot be read, so that
// its sender can be told. What it finds names the answer and decides nothing.
func salvage(raw []byte) (id, kind string) {
	raw = raw[:min(len(raw), salvageWithin)]
	for _, e := range messageIDs {
		if m := e.FindSubmatch(raw); m != nil && utf8.Valid(m[1]) {
			id = string(m[1])
			break
		}
	}
	if id == "" {
		return "", ""
	}
	for _, d := range definition.FindAllSubmatch(raw, 8) {
		if kind = string(d[1]); !strings.HasPrefix(kind, "head.") {
			break
		}
	}
	return id, kind
}
