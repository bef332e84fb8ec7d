package gateway

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
)

// wholeGroups returns the groups of a message that stand for all transactions of an original message:
// of camt.056 those that say so, or that say nothing and list no transaction; of pacs.002 and pacs.028
// those of a message that lists none.
func wholeGroups(m *iso20022.Message) []*iso20022.Group {
	var all []*iso20022.Group
	for i := range m.Groups {
		g := &m.Groups[i]
		listed := len(m.Transactions) > 0
		if m.Type() == "camt.056" {
			listed = slices.ContainsFunc(m.Transactions, func(t iso20022.Transaction) bool { return t.Original.MessageID == g.Original.MessageID })
		}
		if g.Original.MessageID != "" && (isTrue(g.Whole) || g.Whole == "" && !listed) {
			all = append(all, g)
		}
	}
	return all
}

func isTrue(s string) bool { return s == "true" || s == "1" }

// expand adds an item for each transaction of the messages that are named as a whole, and goes on.
func (e *exchange) expand(then func() step) step {
	groups := wholeGroups(e.m)
	var prefixes []string
	for _, g := range groups {
		for _, alike := range e.g.options.prefixes(e.m, &g.Original) {
			prefixes = append(prefixes, alike...)
		}
	}
	if len(groups) == 0 {
		return then()
	}
	return step{prefixes: prefixes, then: func(f *facts) step {
		for _, g := range groups {
			for _, alike := range e.g.options.prefixes(e.m, &g.Original) {
				if found := f.begin(alike); len(found) > 0 {
					e.addAll(g, found)
					break
				}
			}
			e.addMissing(g)
		}
		return then()
	}}
}

// begin returns the transfers whose ids begin with one of the prefixes.
func (f *facts) begin(prefixes []string) (all []*Transfer) {
	for _, p := range prefixes {
		all = append(all, f.listed[p]...)
	}
	return all
}

// addAll adds the items of a group of which these transfers are known.
func (e *exchange) addAll(g *iso20022.Group, found []*Transfer) {
	against := groupContradicts(g, found)
	for _, t := range found {
		if slices.ContainsFunc(e.items, func(it *item) bool { return it.original != nil && it.original.ID == t.ID }) {
			continue // the message lists it, too
		}
		o := iso20022.Original{
			MessageID: g.Original.MessageID, MessageName: g.Original.MessageName, Created: g.Original.Created,
			InstructionID: t.reference(settlement.InstructionID), EndToEndID: t.reference(settlement.EndToEndID),
			TransactionID: t.reference(settlement.TransactionID), UETR: t.reference(settlement.UETR),
		}
		e.items = append(e.items, &item{
			tx:   &iso20022.Transaction{Original: o, Status: g.Status, Reasons: g.Reasons},
			name: nameOf(&o, t.ID), original: t, problem: against,
		})
	}
}

// addMissing adds an item for what a group has beyond the transactions that are known: all of it,
// where none is.
func (e *exchange) addMissing(g *iso20022.Group) {
	known := 0
	for _, it := range e.items {
		if it.original != nil && it.tx.Original.MessageID == g.Original.MessageID {
			known++
		}
	}
	if said, err := strconv.Atoi(g.Count); known > 0 && (err != nil || said <= known) {
		return
	}
	e.items = append(e.items, &item{rest: true, tx: &iso20022.Transaction{Original: g.Original}, name: "OrgnlMsgId=" + g.Original.MessageID})
}

func nameOf(o *iso20022.Original, id string) string {
	for _, n := range []struct{ kind, value string }{{"OrgnlTxId=", o.TransactionID}, {"OrgnlInstrId=", o.InstructionID}, {"OrgnlEndToEndId=", o.EndToEndID}} {
		if n.value != "" {
			return n.kind + n.value
		}
	}
	return id
}

// groupContradicts says what a message says otherwise about a whole message than the ledger, so that
// nothing is posted or voided on a guess.
func groupContradicts(g *iso20022.Group, found []*Transfer) *problem {
	said, err := strconv.Atoi(g.Count)
	if err == nil && said < len(found) {
		return differs("the number of transactions", g.Count, strconv.Itoa(len(found)))
	}
	if g.ControlSum == "" || err == nil && said > len(found) {
		return nil
	}
	sum := ""
	for _, t := range found {
		if t.Amount == "" {
			return nil // it was rejected, and the ledger does not know its amount
		}
		if sum, err = add(sum, t.Amount); err != nil {
			return nil
		}
	}
	if want, err := add(g.ControlSum, ""); err != nil || want != sum {
		return differs("the control sum", g.ControlSum, sum)
	}
	return nil
}

// prefixes returns how the ids of the transfers of an original message may begin: for each kind of
// message and each participant, the most likely one first.
func (o *Options) prefixes(m *iso20022.Message, original *iso20022.Original) [][]string {
	var all [][]string
	for _, kind := range kindsOf(original) {
		for _, participant := range o.participants(m) {
			all = append(all, iso20022.Identity{Participant: participant, Rail: o.Rail, Type: kind, Message: original.MessageID}.Prefixes())
		}
	}
	return all
}

// kindsOf returns which kinds of message an original message may be.
func kindsOf(original *iso20022.Original) []string {
	types := []string{"pacs.008", "pacs.009"}
	if len(original.MessageName) < len("pacs.008") {
		return types
	}
	name := original.MessageName[:len("pacs.008")]
	if !slices.Contains(types, name) && name != "pacs.004" {
		return nil
	}
	return []string{name}
}

// participants returns who may have sent an original message, the most likely one first.
func (o *Options) participants(m *iso20022.Message) []string {
	var all []string
	for _, p := range append(append([]string{o.Participant}, o.Others...), m.Instructed.ID(), m.Instructing.ID()) {
		if p != "" && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// FindMessage returns what became of each transaction of an earlier message that the ledger knows and
// the caller may read, without asking for anything. The message is named by its identification; a
// sese.023 by its TxId.
func (g *Gateway) FindMessage(ctx context.Context, message string) ([]*Item, error) {
	var items []*Item
	for _, name := range []string{"", "pacs.004"} {
		for _, alike := range g.options.prefixes(&iso20022.Message{}, &iso20022.Original{MessageID: message, MessageName: name}) {
			for _, prefix := range alike {
				found, err := g.ledger.Transfers(ctx, prefix)
				if err != nil {
					return nil, err
				}
				for _, t := range found {
					it := &item{name: nameOf(&iso20022.Original{
						TransactionID: t.reference(settlement.TransactionID), InstructionID: t.reference(settlement.InstructionID), EndToEndID: t.reference(settlement.EndToEndID),
					}, t.ID)}
					it.name = strings.TrimPrefix(it.name, "Orgnl")
					it.show(t)
					shown := it.shown()
					items = append(items, &shown)
				}
			}
		}
	}
	found, err := g.Find(ctx, message, message) // of sese.023 the TxId is both
	if found != nil && !slices.ContainsFunc(items, func(i *Item) bool { return i.ID == found.ID }) {
		items = append(items, found)
	}
	return items, err
}

// standsFor reports whether a whole message that is named has the transfer, whoever sent it, on
// whatever rail. Of a long id nothing can be told.
func standsFor(g *iso20022.Group, id string) bool {
	if strings.HasPrefix(id, iso20022.LongKey) {
		return true
	}
	got := strings.Split(id, "/")
	for _, kind := range kindsOf(&g.Original) {
		want := strings.Split(iso20022.Identity{Type: kind, Message: g.Original.MessageID}.Key(), "/")
		if len(got) == 5 && len(want) == 5 && slices.Equal(got[2:4], want[2:4]) {
			return true
		}
	}
	return false
}
