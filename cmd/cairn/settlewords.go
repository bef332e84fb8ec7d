package main

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement"
)

// What the entries of settlement ledgers say. Amounts are in units of the asset.

// commandInfo is a command of a settlement ledger. One of its fields behind the first is set.
type commandInfo struct {
	Operator bool          `json:"by_operator"`
	Asset    *assetWord    `json:"create_asset,omitempty"`
	Open     *accountWord  `json:"open_account,omitempty"`
	Change   *accountWord  `json:"change_account,omitempty"`
	Submit   *submitWord   `json:"submit,omitempty"`
	Resolve  *resolveWord  `json:"resolve,omitempty"`
	Instruct *instructWord `json:"instruct,omitempty"`
	Manage   *manageWord   `json:"manage,omitempty"`
	Advance  bool          `json:"advance,omitempty"`
}

type assetWord struct {
	ID    string `json:"id"`
	Scale uint8  `json:"scale"`
}

// accountWord is an account that is opened, or what is changed about one: what is absent stays.
type accountWord struct {
	ID             string    `json:"id"`
	Asset          string    `json:"asset,omitempty"`
	DebitsLimited  bool      `json:"debits_limited,omitempty"`
	CreditsLimited bool      `json:"credits_limited,omitempty"`
	Frozen         *bool     `json:"frozen,omitempty"`
	Close          bool      `json:"close,omitempty"`
	Limit          *string   `json:"limit,omitempty"`
	Owners         *[]string `json:"owners,omitempty"`
}

type submitWord struct {
	Set        string          `json:"set,omitempty"`
	Pending    bool            `json:"pending,omitempty"`
	Timeout    string          `json:"timeout,omitempty"`
	Conditions []conditionWord `json:"conditions,omitempty"`
	Transfers  []transferWord  `json:"transfers"`
	Source     *sourceWord     `json:"source,omitempty"`
}

type conditionWord struct {
	Kind   string `json:"kind"`
	ID     string `json:"id,omitempty"`
	Amount string `json:"amount,omitempty"`
	Status string `json:"status,omitempty"`
	Number uint64 `json:"number,omitempty"`
}

type transferWord struct {
	ID         string            `json:"id"`
	From       string            `json:"from"`
	To         string            `json:"to"`
	Amount     string            `json:"amount"`
	Asset      string            `json:"asset,omitempty"`
	Original   string            `json:"original,omitempty"`
	References map[string]string `json:"references,omitempty"`
}

// sourceWord is the message that a command was decoded from, or its digest.
type sourceWord struct {
	Type   string `json:"type"`
	Size   uint64 `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
}

type resolveWord struct {
	ID      string        `json:"id"`
	Void    bool          `json:"void"`
	Amounts []partialWord `json:"amounts,omitempty"`
	Source  *sourceWord   `json:"source,omitempty"`
}

type partialWord struct {
	ID     string `json:"id,omitempty"`
	Amount string `json:"amount"`
}

// settlementTold is what a command of a settlement ledger asks for.
func settlementTold(body []byte) (told, error) {
	c, err := settlement.ParseCommand(body)
	if err != nil {
		return told{}, err
	}
	info := commandInfo{Operator: c.Operator}
	var t told
	switch a := c.Action.(type) {
	case *settlement.CreateAsset:
		info.Asset = &assetWord{a.ID, a.Scale}
		t.line = fmt.Sprintf("create the asset %s with %s behind the point", a.ID, plural(int(a.Scale), "digit", "digits"))
	case *settlement.OpenAccount:
		info.Open, t = openTold(a)
	case *settlement.ChangeAccount:
		info.Change, t = changeTold(a)
	case *settlement.Submit:
		info.Submit, t = submitTold(a)
	case *settlement.Resolve:
		info.Resolve, t = resolveTold(a)
	case *settlement.Instruct:
		info.Instruct, t = instructTold(a)
	case *settlement.Manage:
		info.Manage, t = manageTold(a)
	case *settlement.Advance:
		info.Advance, t.line = true, "do the work that is due"
	default:
		return told{}, errors.Newf("a command %s, which this binary cannot read", c.Action.Op())
	}
	t.object = info
	if c.Operator {
		t.more = append(t.more, "  as", "operator")
	}
	return t, nil
}

func openTold(a *settlement.OpenAccount) (*accountWord, told) {
	w := &accountWord{ID: a.ID, Asset: a.Asset, DebitsLimited: a.Flags.Has(settlement.DebitsLimited), CreditsLimited: a.Flags.Has(settlement.CreditsLimited)}
	t := told{line: fmt.Sprintf("open the account %s in %s", a.ID, a.Asset)}
	limited := ""
	switch {
	case w.DebitsLimited:
		limited = "debits exceed credits by at most " + a.Limit.String()
	case w.CreditsLimited:
		limited = "credits exceed debits by at most " + a.Limit.String()
	}
	if limited != "" {
		limit := a.Limit.String()
		w.Limit = &limit
		t.more = append(t.more, "  limit", limited)
	}
	if frozen := a.Flags.Has(settlement.Frozen); frozen {
		w.Frozen = &frozen
		t.more = append(t.more, "  frozen", "yes")
	}
	if len(a.Owners) > 0 {
		w.Owners = &a.Owners
		t.more = append(t.more, ownersTold(a.Owners)...)
	}
	return w, t
}

// ownersTold are the lines that name the owners of an account.
func ownersTold(owners []string) (pairs []string) {
	for _, o := range owners {
		pairs = append(pairs, "  owner", printable(o))
	}
	return pairs
}

func changeTold(a *settlement.ChangeAccount) (*accountWord, told) {
	w := &accountWord{ID: a.ID, Frozen: a.Frozen, Close: a.Close}
	var changes, more []string
	if a.Frozen != nil {
		changes = append(changes, map[bool]string{true: "freeze", false: "unfreeze"}[*a.Frozen])
	}
	if a.Close {
		changes = append(changes, "close")
	}
	if a.Limit != nil {
		limit := a.Limit.String()
		w.Limit = &limit
		changes = append(changes, "limit "+limit)
	}
	if a.SetOwners {
		owners := append([]string{}, a.Owners...)
		w.Owners = &owners
		changes, more = append(changes, plural(len(owners), "owner", "owners")), ownersTold(owners)
	}
	return w, told{line: fmt.Sprintf("change the account %s: %s", a.ID, strings.Join(changes, ", ")), more: more}
}

func submitTold(a *settlement.Submit) (*submitWord, told) {
	w := &submitWord{Set: a.Set, Pending: a.Pending}
	verb := "transfer"
	if a.Pending {
		verb = "reserve"
	}
	var more []string
	if a.Timeout > 0 {
		w.Timeout = microseconds(a.Timeout)
		more = append(more, "  for", w.Timeout)
	}
	for i := range a.Conditions {
		c, words := conditionTold(&a.Conditions[i])
		w.Conditions = append(w.Conditions, c)
		more = append(more, "  if", words)
	}
	var lines []string
	for i := range a.Transfers {
		x := &a.Transfers[i]
		t := transferWord{ID: x.ID, From: x.Debit, To: x.Credit, Amount: x.Amount.String(), Asset: x.Asset, Original: x.Original}
		words := fmt.Sprintf("%s: %s from %s to %s", x.ID, strings.TrimSpace(t.Amount+" "+x.Asset), x.Debit, x.Credit)
		if x.Original != "" {
			words += ", a return of " + x.Original
		}
		lines = append(lines, words)
		more = append(more, "  "+verb, words)
		for _, r := range x.References {
			if t.References == nil {
				t.References = map[string]string{}
			}
			t.References[r.Kind.String()] = r.Value
			more = append(more, "    "+r.Kind.String(), loose+printable(r.Value))
		}
		w.Transfers = append(w.Transfers, t)
	}
	if w.Source = newSourceWord(&a.Source); w.Source != nil {
		more = append(more, "  source", w.Source.words())
	}
	head := verb
	if a.Set != "" {
		head += " as the set " + a.Set + ":"
	}
	return w, told{line: head + " " + few(lines), head: head + " " + plural(len(lines), "amount", "amounts"), more: more}
}

// few lists the first of many.
func few(words []string) string {
	const most = 3
	s := strings.Join(words[:min(len(words), most)], "; ")
	if n := len(words) - most; n > 0 {
		s += fmt.Sprintf("; and %d more", n)
	}
	return s
}

func newSourceWord(s *settlement.Source) *sourceWord {
	switch s.Form {
	case settlement.RawSource:
		return &sourceWord{Type: s.Type, Size: uint64(len(s.Raw))}
	case settlement.DigestSource:
		return &sourceWord{Type: s.Type, Size: s.Size, SHA256: fmt.Sprintf("%x", s.Digest)}
	}
	return nil
}

// words says the source in a line.
func (w *sourceWord) words() string {
	words := fmt.Sprintf("%s, %s", printable(w.Type), plural(w.Size, "byte", "bytes"))
	if w.SHA256 != "" {
		words += ", sha256 " + w.SHA256
	}
	return words
}

func conditionTold(c *settlement.Condition) (w conditionWord, words string) {
	switch c.Kind {
	case settlement.BalanceAtLeast:
		return conditionWord{Kind: "balance_at_least", ID: c.ID, Amount: c.Amount.String()}, fmt.Sprintf("%s has at least %s available", c.ID, c.Amount)
	case settlement.AccountVersion:
		return conditionWord{Kind: "account_version", ID: c.ID, Number: c.Number}, fmt.Sprintf("%s was touched by %s", c.ID, plural(c.Number, "entry", "entries"))
	case settlement.EntryState:
		return conditionWord{Kind: "transfer_state", ID: c.ID, Status: c.State.String()}, fmt.Sprintf("%s is %s", c.ID, c.State)
	case settlement.NotBefore:
		return conditionWord{Kind: "not_before", Number: c.Number}, "it is " + timeString(int64(c.Number)) + " or later"
	default:
		return conditionWord{Kind: "deadline", Number: c.Number}, "it is " + timeString(int64(c.Number)) + " or earlier"
	}
}

func resolveTold(a *settlement.Resolve) (*resolveWord, told) {
	w := &resolveWord{ID: a.ID, Void: a.Void}
	verb := "post"
	if a.Void {
		verb = "void"
	}
	var parts []string
	for _, p := range a.Amounts {
		w.Amounts = append(w.Amounts, partialWord{p.ID, p.Amount.String()})
		parts = append(parts, strings.TrimSpace(p.Amount.String()+" of "+p.ID))
	}
	line := verb + " " + a.ID
	if len(parts) == 1 && a.Amounts[0].ID == "" {
		line += ", " + a.Amounts[0].Amount.String() + " of it"
	} else if len(parts) > 0 {
		line += ", " + few(parts)
	}
	t := told{line: line}
	if w.Source = newSourceWord(&a.Source); w.Source != nil {
		t.more = append(t.more, "  source", w.Source.words())
	}
	return w, t
}
