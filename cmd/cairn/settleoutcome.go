package main

import (
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/proof"
)

// outcomeInfo is what came of a command of a settlement ledger.
type outcomeInfo struct {
	Results []resultWord `json:"results"`
	// Accounts are those that the entry touched. The entry does not say what they had.
	Accounts []touchedWord `json:"accounts,omitempty"`
}

type resultWord struct {
	ID     string `json:"id,omitempty"` // of the transfer, where the command has several
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	ISO    string `json:"iso_code,omitempty"`
	Text   string `json:"text,omitempty"`
	Index  uint64 `json:"index,omitempty"` // the other entry that the status speaks of
	Member uint16 `json:"member,omitempty"`
	Cause  string `json:"cause,omitempty"`
	// Delivered and Received are what was settled of an instruction, in minor units: the entry does
	// not say how many digits the assets have.
	Delivered string `json:"delivered_minor_units,omitempty"`
	Received  string `json:"received_minor_units,omitempty"`
}

// touchedWord is an account that the entry touched.
type touchedWord struct {
	Account string `json:"account"`
	Head    string `json:"head"` // commits to what the account has after the entry
}

// lineWord is what an account has after an entry, in units of its asset.
type lineWord struct {
	Account        string `json:"account"`
	Index          uint64 `json:"index"` // of the entry
	DebitsPending  string `json:"debits_pending"`
	DebitsPosted   string `json:"debits_posted"`
	CreditsPending string `json:"credits_pending"`
	CreditsPosted  string `json:"credits_posted"`
	Sequence       uint64 `json:"sequence"`
	Previous       uint64 `json:"previous"`
}

// settledTold is what came of a command of a settlement ledger.
func settledTold(body, outcome []byte) (told, error) {
	c, err := settlement.ParseCommand(body)
	if err != nil {
		return told{}, err
	}
	o, err := settlement.ParseOutcome(outcome)
	if err != nil {
		return told{}, err
	}
	var ids []string // of the results, where the command names them
	if s, ok := c.Action.(*settlement.Submit); ok && len(o.Results) == len(s.Transfers) && len(s.Transfers) > 1 {
		for i := range s.Transfers {
			ids = append(ids, s.Transfers[i].ID)
		}
	}
	info := outcomeInfo{Results: []resultWord{}}
	times := map[string]int{}
	var kinds, more []string
	for i := range o.Results {
		r := newResultWord(&o.Results[i])
		if r.ID == "" && ids != nil {
			r.ID = ids[i]
		}
		info.Results = append(info.Results, r)
		words := r.words()
		if times[words]++; times[words] == 1 {
			kinds = append(kinds, words)
		}
		if len(o.Results) > 1 {
			named := words
			if r.ID != "" {
				named = r.ID + ": " + words
			}
			more = append(more, "  result", named)
		}
		if r.Delivered != "" && (r.Delivered != "0" || r.Received != "0") {
			more = append(more, "  moved", fmt.Sprintf("delivers %s and receives %s minor units", r.Delivered, r.Received))
		}
		if r.Text != "" {
			more = append(more, "  reason", r.Text)
		}
	}
	var line []string
	for _, k := range kinds {
		if len(o.Results) > 1 {
			k = fmt.Sprintf("%d %s", times[k], k)
		}
		line = append(line, k)
	}
	if len(line) == 0 {
		line = []string{"nothing to do"}
	}
	for _, t := range o.Touched {
		info.Accounts = append(info.Accounts, touchedWord{t.Account, hex.EncodeToString(t.Head[:])})
		more = append(more, "  touched", t.Account)
	}
	return told{line: strings.Join(line, "; "), more: more, object: info}, nil
}

func newResultWord(r *settlement.Result) resultWord {
	w := resultWord{
		ID: r.ID, Status: r.Status.String(), Reason: r.Reason.String(), ISO: r.Reason.ISO(), Text: r.Reason.Text(),
		Index: r.Index, Member: r.Member, Cause: r.Cause.String(),
	}
	if r.Status == settlement.Settled || r.Status == settlement.PartlySettled {
		w.Delivered, w.Received = r.Delivered.String(), r.Received.String()
	}
	return w
}

// words says the result in a few words.
func (r resultWord) words() string {
	s := r.Status
	if r.Reason != "" {
		s += " (" + r.Reason
		if r.Cause != "" {
			s += fmt.Sprintf(": transfer %d, %s", r.Member, r.Cause)
		}
		s += ")"
	}
	switch r.Status {
	case settlement.Exists.String(), settlement.Conflict.String():
		s += fmt.Sprintf(", see entry %d", r.Index)
	}
	return s
}

// newLineWords says what a proof shows of accounts.
func newLineWords(shown []proof.Shown) (words []lineWord) {
	for i := range shown {
		words = append(words, newLineWord(shown[i].Index, &shown[i].Line))
	}
	return words
}

// linePairs says the same on a page.
func linePairs(words []lineWord) (pairs []string) {
	for _, w := range words {
		pairs = append(pairs, "  account", fmt.Sprintf("%s after entry %d: debits %s and %s pending, credits %s and %s pending; entry %d of the account",
			printable(w.Account), w.Index, w.DebitsPosted, w.DebitsPending, w.CreditsPosted, w.CreditsPending, w.Sequence))
	}
	return pairs
}

func newLineWord(index uint64, l *settlement.Line) lineWord {
	b := &l.Balances
	return lineWord{
		l.Account, index, b.DebitsPending.Decimal(l.Scale), b.DebitsPosted.Decimal(l.Scale), b.CreditsPending.Decimal(l.Scale),
		b.CreditsPosted.Decimal(l.Scale), l.Sequence, l.Previous,
	}
}

// microseconds writes a duration of ledger time.
func microseconds(n int64) string {
	if n > math.MaxInt64/int64(time.Microsecond) {
		return fmt.Sprintf("%d µs", n)
	}
	return (time.Duration(n) * time.Microsecond).String()
}
