package main

import (
	"fmt"
	"strings"

	"github.com/cairnledger/cairn/settlement"
)

// instructWord is an instruction as its command says it.
type instructWord struct {
	ID             string            `json:"id"`
	Party          string            `json:"party"`
	Counterparty   string            `json:"counterparty"`
	Delivers       *legWord          `json:"delivers,omitempty"`
	Receives       *legWord          `json:"receives,omitempty"`
	TradeDate      string            `json:"trade_date,omitempty"`
	SettlementDate string            `json:"settlement_date"`
	Common         string            `json:"common_reference,omitempty"`
	OnHold         bool              `json:"on_hold,omitempty"`
	Partial        bool              `json:"partial,omitempty"`
	Priority       uint8             `json:"priority,omitempty"`
	Expires        string            `json:"expires,omitempty"`
	References     map[string]string `json:"references,omitempty"`
	Source         *sourceWord       `json:"source,omitempty"`
}

type legWord struct {
	Account string `json:"account"`
	Asset   string `json:"asset"`
	Amount  string `json:"amount"`
}

type manageWord struct {
	Request string `json:"request,omitempty"`
	ID      string `json:"id"`
	Change  string `json:"change"`
}

func instructTold(a *settlement.Instruct) (*instructWord, told) {
	w := &instructWord{
		ID: a.ID, Party: a.Party, Counterparty: a.Counterparty, TradeDate: a.TradeDate.String(), SettlementDate: a.SettlementDate.String(),
		Common: a.Common, OnHold: a.Held, Partial: a.Partial, Priority: a.Priority,
	}
	var exchange []string
	var more []string
	for _, l := range []struct {
		verb, where string
		leg         *settlement.Leg
		word        **legWord
	}{{"deliver", "from", a.Delivers, &w.Delivers}, {"receive", "on", a.Receives, &w.Receives}} {
		if l.leg == nil {
			continue
		}
		*l.word = &legWord{l.leg.Account, l.leg.Asset, l.leg.Amount.String()}
		exchange = append(exchange, fmt.Sprintf("%s %s %s %s %s", l.verb, l.leg.Amount, l.leg.Asset, l.where, l.leg.Account))
	}
	more = append(more, "  party", loose+printable(a.Party), "  counterparty", loose+printable(a.Counterparty), "  settles on", w.SettlementDate)
	if w.TradeDate != "" {
		more = append(more, "  traded on", w.TradeDate)
	}
	if a.Common != "" {
		more = append(more, "  reference", loose+printable(a.Common))
	}
	if a.Expires > 0 {
		w.Expires = timeString(a.Expires)
		more = append(more, "  expires", w.Expires)
	}
	var marks []string
	if a.Held {
		marks = append(marks, "on hold")
	}
	if a.Partial {
		marks = append(marks, "in parts, too")
	}
	if a.Priority > 0 {
		marks = append(marks, fmt.Sprintf("priority %d", a.Priority))
	}
	if len(marks) > 0 {
		more = append(more, "  is", strings.Join(marks, ", "))
	}
	for _, r := range a.References {
		if w.References == nil {
			w.References = map[string]string{}
		}
		w.References[r.Kind.String()] = r.Value
		more = append(more, "    "+r.Kind.String(), loose+printable(r.Value))
	}
	if w.Source = newSourceWord(&a.Source); w.Source != nil {
		more = append(more, "  source", w.Source.words())
	}
	return w, told{line: fmt.Sprintf("instruct %s: %s", a.ID, strings.Join(exchange, ", ")), more: more}
}

func manageTold(a *settlement.Manage) (*manageWord, told) {
	w := &manageWord{a.Request, a.ID, a.Change.String()}
	t := told{line: fmt.Sprintf("%s the instruction %s", w.Change, a.ID)}
	if a.Request != "" {
		t.more = append(t.more, "  request", a.Request)
	}
	return w, t
}
