package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
)

// Difference is something that a command says otherwise than its message.
type Difference struct {
	Index    uint64 // of the entry
	Transfer string // its id, "" when it is about the whole command
	Field    string // what differs, in snake_case
	Command  string // what the command says
	Message  string // what the message says
}

// String returns the difference on one line.
func (d Difference) String() string {
	s := fmt.Sprintf("entry %d", d.Index)
	if d.Transfer != "" {
		s += ", transfer " + d.Transfer
	}
	return s + fmt.Sprintf(": %s is %q, but its message says %q", d.Field, d.Command, d.Message)
}

// Audit compares the commands of a ledger with the messages that they were decoded from: it reads
// each message again. It looks at the commands one by one, in the order of the ledger, and at what
// Submit, Resolve and Instruct ask for; the accounts of a return follow from its original, which the
// ledger sees to. An Audit has one owner.
type Audit struct {
	// Commands counts those that name a message; Compared counts those whose message was at hand, in
	// the command itself, in an earlier one or among the files. Of the others only the definition and
	// the size were looked at.
	Commands, Compared int

	options  Options // Accounts and BetweenAgents count
	files    map[settlement.Digest][]byte
	opened   map[settlement.Digest][]byte // messages of earlier commands, of which more may follow
	order    []settlement.Digest          // of opened, oldest first
	last     settlement.Digest            // of the message that was decoded last
	message  *iso20022.Message
	problems error
	identity map[names]map[string][]int // transactions of message, by the id of their transfer
}

// names are what an identity has beside the message.
type names struct{ participant, rail string }

// maxOpened is how many messages are remembered whose other commands are still to come.
const maxOpened = 256

// NewAudit returns an audit. Of the options only Accounts and BetweenAgents count, which have to be
// those of the gateway. Files are messages that commands hold as a digest.
func NewAudit(o Options, files [][]byte) *Audit {
	a := &Audit{options: o, files: make(map[settlement.Digest][]byte), opened: make(map[settlement.Digest][]byte)}
	for _, raw := range files {
		a.files[sha256.Sum256(raw)] = raw
	}
	return a
}

// Check compares a command with its message. A command without a message has no difference.
func (a *Audit) Check(index uint64, c *settlement.Command) []Difference {
	source := settlement.SourceOf(c.Action)
	if source == nil || source.Form == settlement.NoSource {
		return nil
	}
	a.Commands++
	raw, digest := source.Raw, source.Digest
	whole := func(field, command, message string) []Difference {
		return []Difference{{Index: index, Field: field, Command: command, Message: message}}
	}
	if source.Form == settlement.RawSource {
		digest = sha256.Sum256(raw)
	} else {
		if raw = a.files[digest]; raw == nil {
			raw = a.opened[digest]
		}
		if raw == nil {
			return nil
		}
		if uint64(len(raw)) != source.Size {
			return whole("size", fmt.Sprint(source.Size), fmt.Sprint(len(raw)))
		}
	}
	a.Compared++
	if err := a.decode(digest, raw); err != nil {
		return whole("message", source.Type, err.Error())
	}
	if a.message.Definition != source.Type {
		return whole("definition", source.Type, a.message.Definition)
	}
	switch action := c.Action.(type) {
	case *settlement.Instruct:
		return a.instruction(index, action)
	case *settlement.Resolve:
		if source.Form == settlement.RawSource {
			a.open(digest, raw)
		}
		return a.resolution(index, action)
	}
	submit := c.Action.(*settlement.Submit)
	if source.Form == settlement.RawSource && len(a.message.Transactions) > len(submit.Transfers) {
		a.open(digest, raw)
	}
	var all []Difference
	for i := range submit.Transfers {
		all = append(all, a.transfer(index, &submit.Transfers[i])...)
	}
	return all
}

// resolution compares a post or void with what its message says about the transfer. A message names
// neither participant nor rail of the transfer, so that these are not compared.
func (a *Audit) resolution(index uint64, r *settlement.Resolve) []Difference {
	verbs := map[bool]string{false: "post", true: "void"}
	said := "nothing about it"
	for i := range a.message.Transactions {
		t := &a.message.Transactions[i]
		void, acts := true, a.message.Type() == "camt.056"
		if a.message.Type() == "pacs.002" {
			void, acts = verb(t.Status)
		}
		if !acts || !mayBe(r.ID, &t.Original) {
			continue
		}
		if said = verbs[void]; void == r.Void {
			break
		}
	}
	for _, g := range wholeGroups(a.message) {
		void, acts := verb(g.Status)
		if a.message.Type() == "camt.056" {
			void, acts = true, true
		}
		if acts && said != verbs[r.Void] && standsFor(g, r.ID) {
			said = verbs[void]
		}
	}
	var all []Difference
	if said != verbs[r.Void] {
		all = append(all, Difference{index, r.ID, "resolution", verbs[r.Void], said})
	}
	if len(r.Amounts) > 0 {
		all = append(all, Difference{index, r.ID, "amounts", "a part", "all of it"})
	}
	return all
}

// mayBe reports whether a transfer may be the original that a message names, whoever sent it, on
// whatever rail.
func mayBe(id string, o *iso20022.Original) bool {
	kinds := []string{"pacs.008", "pacs.009"}
	if name := o.MessageName; len(name) >= len("pacs.008") {
		kinds = []string{name[:len("pacs.008")]}
	}
	for _, kind := range kinds {
		for _, transaction := range transactionsOf(kind, o) {
			without := iso20022.Identity{Type: kind, Message: o.MessageID, Transaction: transaction}.Key()
			if sameBehindParticipant(id, strings.TrimPrefix(without, "/")) {
				return true
			}
		}
	}
	return false
}

// instruction compares an instruction with the one that its message asks for.
func (a *Audit) instruction(index uint64, in *settlement.Instruct) []Difference {
	none := func(field, command, message string) []Difference {
		return []Difference{{index, in.ID, field, command, message}}
	}
	if a.message.Securities == nil {
		return none("message", "an instruction", "it is a "+a.message.Type())
	}
	o := a.options
	o.Participant, o.Rail = in.Reference(settlement.Participant), in.Reference(settlement.Rail)
	want, p := o.instruct(a.message, a.message.Identify(o.Participant, o.Rail)[0].Key())
	if p != nil {
		return none(p.name, "an instruction", p.text)
	}
	var all []Difference
	differ := func(field, command, message string) {
		if command != message {
			all = append(all, Difference{index, in.ID, field, command, message})
		}
	}
	differ("id", in.ID, want.ID)
	differ("party", in.Party, want.Party)
	differ("counterparty", in.Counterparty, want.Counterparty)
	differ("delivers", legText(in.Delivers), legText(want.Delivers))
	differ("receives", legText(in.Receives), legText(want.Receives))
	differ("trade_date", in.TradeDate.String(), want.TradeDate.String())
	differ("settlement_date", in.SettlementDate.String(), want.SettlementDate.String())
	differ("common_reference", in.Common, want.Common)
	differ("held", fmt.Sprint(in.Held), fmt.Sprint(want.Held))
	differ("partial", fmt.Sprint(in.Partial), fmt.Sprint(want.Partial))
	differ("priority", fmt.Sprint(in.Priority), fmt.Sprint(want.Priority))
	differ("expires", fmt.Sprint(in.Expires), fmt.Sprint(want.Expires))
	for k := settlement.EndToEndID; k.String() != "unknown"; k++ {
		differ(k.String(), in.Reference(k), want.Reference(k))
	}
	return all
}

// legText writes a leg of an instruction.
func legText(l *settlement.Leg) string {
	if l == nil {
		return "nothing"
	}
	return l.Amount.String() + " " + l.Asset + " of " + l.Account
}

// open remembers a message of which the command holds a part of the transactions.
func (a *Audit) open(digest settlement.Digest, raw []byte) {
	if _, found := a.opened[digest]; found {
		return
	}
	if len(a.order) == maxOpened {
		delete(a.opened, a.order[0])
		a.order = a.order[1:]
	}
	a.opened[digest], a.order = raw, append(a.order, digest)
}

func (a *Audit) decode(digest settlement.Digest, raw []byte) error {
	if digest != a.last || a.identity == nil {
		a.last, a.identity = digest, make(map[names]map[string][]int)
		a.message, a.problems = iso20022.Decode(raw)
	}
	return a.problems
}

// transactionOf returns the index of the transaction that a transfer was made of. Of several with
// one identity, all but one of which were rejected, it is the one with the transfer's fingerprint.
func (a *Audit) transactionOf(t *settlement.Transfer) (index int, found bool) {
	n := names{t.Reference(settlement.Participant), t.Reference(settlement.Rail)}
	byID := a.identity[n]
	if byID == nil {
		byID = make(map[string][]int)
		for i, id := range a.message.Identify(n.participant, n.rail)[:len(a.message.Transactions)] {
			byID[id.Key()] = append(byID[id.Key()], i)
		}
		a.identity[n] = byID
	}
	same := byID[t.ID]
	for _, i := range same {
		if f := a.message.Transactions[i].Fingerprint; hex.EncodeToString(f[:]) == t.Reference(settlement.Fingerprint) {
			return i, true
		}
	}
	if len(same) == 0 {
		return 0, false
	}
	return same[0], true
}

// transfer compares a transfer with the one that its message asks for.
func (a *Audit) transfer(index uint64, t *settlement.Transfer) []Difference {
	i, found := a.transactionOf(t)
	if !found {
		return []Difference{{index, t.ID, "transaction", t.ID, "no transaction of this participant, rail and identification"}}
	}
	o := a.options
	o.Participant, o.Rail = t.Reference(settlement.Participant), t.Reference(settlement.Rail)
	e := &exchange{g: &Gateway{options: o}, m: a.message}
	it := &item{tx: &a.message.Transactions[i], id: t.ID}
	var want settlement.Transfer
	var p *problem
	if a.message.Type() == "pacs.004" {
		want = settlement.Transfer{ID: t.ID, Debit: t.Debit, Credit: t.Credit, Original: t.Original, References: e.references(it)}
		p = e.amount(it, &want)
	} else {
		want, p = e.payment(it)
	}
	if p != nil {
		return []Difference{{index, t.ID, p.name, t.Amount.String() + " from " + t.Debit + " to " + t.Credit, p.text}}
	}
	var all []Difference
	differ := func(field, command, message string) {
		if command != message {
			all = append(all, Difference{index, t.ID, field, command, message})
		}
	}
	differ("amount", t.Amount.String(), want.Amount.String())
	differ("asset", t.Asset, want.Asset)
	differ("debit", t.Debit, want.Debit)
	differ("credit", t.Credit, want.Credit)
	if a.message.Type() == "pacs.004" {
		a.original(it.tx, t, differ)
	} else {
		differ("original", t.Original, "")
	}
	for k := settlement.EndToEndID; k.String() != "unknown"; k++ {
		w := settlement.Transfer{References: want.References}
		differ(k.String(), t.Reference(k), w.Reference(k))
	}
	return all
}

// original compares what a return names as its original with what the message names. The participant
// of the original is whatever the return says, because the message does not name it.
func (a *Audit) original(tx *iso20022.Transaction, t *settlement.Transfer, differ func(field, command, message string)) {
	kinds := []string{"pacs.008", "pacs.009"}
	if name := tx.Original.MessageName; len(name) >= len("pacs.008") {
		kinds = []string{name[:len("pacs.008")]}
	}
	rail := t.Reference(settlement.Rail)
	for _, kind := range kinds {
		for _, transaction := range transactionsOf(kind, &tx.Original) {
			id := iso20022.Identity{Rail: rail, Type: kind, Message: tx.Original.MessageID, Transaction: transaction}
			if sameBehindParticipant(t.Original, id.Key()) {
				return
			}
		}
	}
	differ("original", t.Original, tx.Original.MessageID+" "+tx.Original.TransactionID)
}

// sameBehindParticipant compares two ids, of which the second one has no participant. A long id is a
// hash, of which nothing can be told.
func sameBehindParticipant(id, without string) bool {
	if strings.HasPrefix(id, iso20022.LongKey) {
		return true
	}
	return len(id) >= len(without) && id[len(id)-len(without):] == without
}
