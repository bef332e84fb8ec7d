package main

import (
	"fmt"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/proof"
)

// proofVerdict is the result of verifying one proof about a settlement ledger.
type proofVerdict struct {
	Valid  bool   `json:"valid"`
	File   string `json:"file"`
	Kind   string `json:"kind"`
	Reason string `json:"reason,omitempty"`
	Origin string `json:"origin,omitempty"`
	// Size is the size of the ledger that the checkpoint is of.
	Size     uint64          `json:"size,omitempty"`
	Account  *provenAccount  `json:"account,omitempty"`
	Transfer *provenTransfer `json:"transfer,omitempty"`

	Instruction *provenInstruction `json:"instruction,omitempty"`
	Statement   *provenStatement   `json:"statement,omitempty"`
	Cosigners   []cosignerInfo     `json:"cosigners,omitempty"`
	Proof       string             `json:"proof,omitempty"` // the file, where it was written to no other place
	Quorum      *quorumInfo        `json:"quorum,omitempty"`
	derivation
}

// provenAccount is what a proof says of an account.
type provenAccount struct {
	ID             string `json:"id"`
	Exists         bool   `json:"exists"`
	AsOfSize       uint64 `json:"as_of_size"`
	AsOfTime       string `json:"as_of_time"`
	Accounts       uint64 `json:"accounts"` // of the ledger
	Asset          string `json:"asset,omitempty"`
	Posted         string `json:"posted,omitempty"` // credits less debits
	DebitsPending  string `json:"debits_pending,omitempty"`
	DebitsPosted   string `json:"debits_posted,omitempty"`
	CreditsPending string `json:"credits_pending,omitempty"`
	CreditsPosted  string `json:"credits_posted,omitempty"`
	Limit          string `json:"limit,omitempty"`
	Entries        uint64 `json:"entries,omitempty"`
	LastIndex      uint64 `json:"last_index,omitempty"`
}

type provenTransfer struct {
	ID         string  `json:"id"`
	Status     string  `json:"status"`
	Reason     string  `json:"reason,omitempty"`
	Index      uint64  `json:"index"`
	Time       string  `json:"time"`
	By         string  `json:"by"`
	Resolved   *uint64 `json:"resolved,omitempty"`
	ResolvedAt string  `json:"resolved_at,omitempty"`
	Transfers  []struct {
		ID     string `json:"id"`
		From   string `json:"from"`
		To     string `json:"to"`
		Amount string `json:"amount"`
	} `json:"transfers"`
	Accounts []lineWord `json:"accounts,omitempty"` // that the proof shows
}

type provenInstruction struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	Index  uint64 `json:"index"`
	Time   string `json:"time"`
	By     string `json:"by"`
	Says   string `json:"says"`
	// Of the counterparty's instruction, if it is shown.
	Match     string  `json:"match,omitempty"`
	MatchBy   string  `json:"match_by,omitempty"`
	MatchSays string  `json:"match_says,omitempty"`
	Last      *uint64 `json:"last,omitempty"` // the entry of the last status
	LastAt    string  `json:"last_at,omitempty"`

	Accounts []lineWord `json:"accounts,omitempty"` // that the proof shows
}

func newProvenInstruction(v *proof.VerifiedInstruction) *provenInstruction {
	_, says := instructTold(v.Says)
	p := &provenInstruction{
		ID: v.ID, Status: v.Result.Status.String(), Reason: v.Result.Reason.String(), Index: v.Given.Index,
		Time: timeString(v.Given.Entry.Time), By: v.Given.Entry.Principal, Says: says.line, Accounts: newLineWords(v.Shown),
	}
	if v.Match != nil {
		_, says := instructTold(v.MatchSays)
		p.Match, p.MatchBy, p.MatchSays = v.MatchSays.ID, v.Match.Entry.Principal, says.line
	}
	if v.Last != nil {
		p.Last, p.LastAt = &v.Last.Index, timeString(v.Last.Entry.Time)
	}
	return p
}

func (p *provenInstruction) pairs() []string {
	pairs := []string{"  given", fmt.Sprintf("entry %d, %s, by %s", p.Index, p.Time, printable(p.By)), "  says", p.Says}
	if p.Match != "" {
		pairs = append(pairs, "  match", p.MatchSays+", by "+printable(p.MatchBy))
	}
	if p.Last != nil {
		pairs = append(pairs, "  last status", fmt.Sprintf("entry %d, %s", *p.Last, p.LastAt))
	}
	if p.Reason != "" {
		pairs = append(pairs, "  reason", p.Reason)
	}
	return append(pairs, linePairs(p.Accounts)...)
}

type provenStatement struct {
	// Opening is absent from a statement that begins with the entry which opened the account.
	Opening *provenAccount `json:"opening,omitempty"`
	Closing *provenAccount `json:"closing"`
	Entries []provenEntry  `json:"entries"`
}

type provenEntry struct {
	Index  uint64 `json:"index"`
	Shown  bool   `json:"shown"`
	Time   string `json:"time,omitempty"`
	Change string `json:"posted_change"`
	Posted string `json:"posted"` // after the entry
}

// verifyProof verifies a proof about a settlement ledger; every error of it has the code for
// refusal.
func verifyProof(policy *verifier, name string, raw []byte) (proofVerdict, error) {
	v, err := proof.Verify(raw, policy)
	if err != nil {
		return proofVerdict{}, refused(err)
	}
	cp := v.Checkpoint()
	of, _ := policy.at(cp.Size)
	verdict := proofVerdict{Valid: true, File: name, Origin: cp.Origin, Size: cp.Size, Cosigners: cosignerInfos(cp.Cosigners), Quorum: newQuorumInfo(of, cp.Cosigners)}
	switch {
	case v.Account != nil:
		verdict.Kind, verdict.Account = "account", newProvenAccount(v.Account)
	case v.Transfer != nil:
		verdict.Kind, verdict.Transfer = "transfer", newProvenTransfer(v.Transfer)
	case v.Instruction != nil:
		verdict.Kind, verdict.Instruction = "instruction", newProvenInstruction(v.Instruction)
	default:
		verdict.Kind, verdict.Statement = "statement", newProvenStatement(v.Statement)
	}
	return verdict, nil
}

func newProvenAccount(v *proof.VerifiedAccount) *provenAccount {
	p := &provenAccount{ID: v.ID, AsOfSize: v.Size, AsOfTime: timeString(v.Time), Accounts: v.Accounts}
	if x := v.Account; x != nil {
		b := x.Balances
		p.Exists, p.Asset, p.Limit, p.Entries, p.LastIndex = true, x.Asset, x.Limit.Decimal(x.Scale), x.Sequence, x.Last
		p.Posted = signedDecimal(b.Posted())(x.Scale)
		p.DebitsPending, p.DebitsPosted = b.DebitsPending.Decimal(x.Scale), b.DebitsPosted.Decimal(x.Scale)
		p.CreditsPending, p.CreditsPosted = b.CreditsPending.Decimal(x.Scale), b.CreditsPosted.Decimal(x.Scale)
	}
	return p
}

func newProvenTransfer(v *proof.VerifiedTransfer) *provenTransfer {
	p := &provenTransfer{
		ID: v.ID, Status: v.Status.String(), Reason: v.Result.Reason.String(), Index: v.Asked.Index,
		Time: timeString(v.Asked.Entry.Time), By: v.Asked.Entry.Principal, Accounts: newLineWords(v.Shown),
	}
	if v.Resolution != nil {
		p.Resolved, p.ResolvedAt = &v.Resolution.Index, timeString(v.Resolution.Entry.Time)
	}
	for i := range v.Transfers {
		t := &v.Transfers[i]
		p.Transfers = append(p.Transfers, struct {
			ID     string `json:"id"`
			From   string `json:"from"`
			To     string `json:"to"`
			Amount string `json:"amount"`
		}{t.ID, t.Debit, t.Credit, t.Amount.String()})
	}
	return p
}

func newProvenStatement(v *proof.VerifiedStatement) *provenStatement {
	p := &provenStatement{Closing: newProvenAccount(v.Closing), Entries: []provenEntry{}}
	if v.Opening != nil {
		p.Opening = newProvenAccount(v.Opening)
	}
	for i := range v.Entries {
		e := &v.Entries[i]
		after, scale := &e.Line.Balances, e.Line.Scale
		entry := provenEntry{Index: e.Index, Shown: e.Decided != nil, Change: change(&e.Before, after, scale), Posted: signedDecimal(after.Posted())(scale)}
		if e.Decided != nil {
			entry.Time = timeString(e.Decided.Entry.Time)
		}
		p.Entries = append(p.Entries, entry)
	}
	return p
}

// change is how posted credits less posted debits changed.
func change(before, after *settlement.Balances, scale uint8) string {
	credits, _ := after.CreditsPosted.Sub(before.CreditsPosted)
	debits, _ := after.DebitsPosted.Sub(before.DebitsPosted)
	if d, ok := credits.Sub(debits); ok {
		return "+" + d.Decimal(scale)
	}
	d, _ := debits.Sub(credits)
	return "-" + d.Decimal(scale)
}

func signedDecimal(a settlement.Amount, negative bool) func(scale uint8) string {
	return func(scale uint8) string {
		if negative {
			return "-" + a.Decimal(scale)
		}
		return a.Decimal(scale)
	}
}

func (v proofVerdict) text(w *page) {
	if !v.Valid {
		fmt.Fprintf(w, "REFUSED %s: %s\n", printable(v.File), v.Reason)
		return
	}
	fmt.Fprintf(w, "OK %s: ", printable(v.File))
	var pairs []string
	switch {
	case v.Account != nil:
		x := v.Account
		if !x.Exists {
			fmt.Fprintf(w, "there is no account %s\n", printable(x.ID))
		} else {
			fmt.Fprintf(w, "what the account %s has, and nothing later is missing\n", printable(x.ID))
		}
		pairs = x.pairs()
	case v.Transfer != nil:
		x := v.Transfer
		fmt.Fprintf(w, "%s is %s\n", printable(x.ID), x.Status)
		for _, t := range x.Transfers {
			pairs = append(pairs, "  transfer", fmt.Sprintf("%s: %s from %s to %s", printable(t.ID), t.Amount, printable(t.From), printable(t.To)))
		}
		pairs = append(pairs, "  asked for", fmt.Sprintf("entry %d, %s, by %s", x.Index, x.Time, printable(x.By)))
		if x.Resolved != nil {
			pairs = append(pairs, "  resolved", fmt.Sprintf("entry %d, %s", *x.Resolved, x.ResolvedAt))
		}
		if x.Reason != "" {
			pairs = append(pairs, "  reason", x.Reason)
		}
		pairs = append(pairs, linePairs(x.Accounts)...)
	case v.Instruction != nil:
		fmt.Fprintf(w, "%s is %s\n", printable(v.Instruction.ID), v.Instruction.Status)
		pairs = v.Instruction.pairs()
	default:
		x := v.Statement
		fmt.Fprintf(w, "the statement of the account %s, %s, none is missing\n", printable(x.Closing.ID), plural(uint64(len(x.Entries)), "entry", "entries"))
		if x.Opening != nil {
			pairs = append(pairs, "  opening", "")
			pairs = append(pairs, x.Opening.pairs()...)
		}
		for _, e := range x.Entries {
			at := e.Time
			if !e.Shown {
				at = "not shown"
			}
			pairs = append(pairs, "  entry", fmt.Sprintf("%d  %s  %s, then %s", e.Index, at, e.Change, e.Posted))
		}
		pairs = append(pairs, "  closing", "")
		pairs = append(pairs, x.Closing.pairs()...)
	}
	pairs = append(pairs, "  ledger", fmt.Sprintf("%s, size %d", printable(v.Origin), v.Size))
	fields(w, append(pairs, cosignedFields(v.Quorum, v.Origin, v.Cosigners)...)...)
}

func (p *provenAccount) pairs() []string {
	pairs := []string{"  as of", fmt.Sprintf("size %d, %s", p.AsOfSize, p.AsOfTime)}
	if !p.Exists {
		return pairs
	}
	return append(pairs,
		"  balance", p.Posted+" "+printable(p.Asset),
		"  debits", fmt.Sprintf("%s posted, %s pending", p.DebitsPosted, p.DebitsPending),
		"  credits", fmt.Sprintf("%s posted, %s pending", p.CreditsPosted, p.CreditsPending),
		"  entries", fmt.Sprintf("%d, the last one at index %d", p.Entries, p.LastIndex))
}
