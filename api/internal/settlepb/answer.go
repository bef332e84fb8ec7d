package settlepb

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/settlement"
)

// Results returns what came of a command as messages.
func Results(results []settlement.Result) []*cairnv1.SettlementResult {
	list := make([]*cairnv1.SettlementResult, len(results))
	for i, r := range results {
		list[i] = &cairnv1.SettlementResult{
			Status: r.Status.String(), Reason: r.Reason.String(), IsoCode: r.Reason.ISO(), Text: r.Reason.Text(),
			Id: r.ID, Index: r.Index, Member: uint32(r.Member), Cause: r.Cause.String(),
		}
	}
	return list
}

// Line returns a line as a message; scale is that of the account's asset.
func Line(l *settlement.Line, scale uint8) *cairnv1.AccountLine {
	return &cairnv1.AccountLine{Account: l.Account, Balances: Balances(&l.Balances, scale), Sequence: l.Sequence, Previous: l.Previous}
}

// Balances returns the sums of an account as a message.
func Balances(b *settlement.Balances, scale uint8) *cairnv1.AccountBalances {
	return &cairnv1.AccountBalances{
		DebitsPending: b.DebitsPending.Decimal(scale), DebitsPosted: b.DebitsPosted.Decimal(scale),
		CreditsPending: b.CreditsPending.Decimal(scale), CreditsPosted: b.CreditsPosted.Decimal(scale),
	}
}

// Account returns an account as a message.
func Account(a *settlement.Account, owners []string, scale uint8) *cairnv1.SettlementAccount {
	return &cairnv1.SettlementAccount{
		Id: a.ID, Asset: a.Asset, Scale: uint32(scale),
		DebitsLimited: a.Flags.Has(settlement.DebitsLimited), CreditsLimited: a.Flags.Has(settlement.CreditsLimited),
		Frozen: a.Flags.Has(settlement.Frozen), Closed: a.Flags.Has(settlement.Closed),
		Limit: a.Limit.Decimal(scale), Balances: Balances(&a.Balances, scale),
		Posted: signed(a.Balances.Posted())(scale), Available: signed(a.Available())(scale),
		Sequence: a.Sequence, LastIndex: a.Last, Owners: owners, Record: a.Marshal(),
	}
}

func signed(a settlement.Amount, negative bool) func(scale uint8) string {
	return func(scale uint8) string {
		if negative {
			return "-" + a.Decimal(scale)
		}
		return a.Decimal(scale)
	}
}

// Transfer returns what became of a transfer or a set as a message; scale and asset are those of its
// accounts, if it has any.
func Transfer(id string, s *settlement.State, asset string, scale uint8) *cairnv1.SettlementTransfer {
	m := &cairnv1.SettlementTransfer{
		Id: id, Status: s.Status.String(), Reason: s.Reason.String(), IsoCode: s.Reason.ISO(), Text: s.Reason.Text(),
		Index: s.Index, Position: uint32(s.Position), Resolved: s.Resolved, Expires: s.Expires,
	}
	if s.Debit != "" {
		m.Asset, m.Debit, m.Credit = asset, s.Debit, s.Credit
		m.Amount, m.Posted, m.Returned = s.Amount.Decimal(scale), s.Posted.Decimal(scale), s.Returned.Decimal(scale)
		m.Original, m.Set = s.Original, s.Set
	}
	return m
}

// Outcome is what came of a command, as a client sees it.
type Outcome struct {
	Index   uint64
	Time    int64 // ledger time in µs
	Existed bool  // it had been decided before
	Results []settlement.Result
	Lines   []AccountLine
}

// AccountLine is what an account had after an entry, in units of its asset.
type AccountLine struct {
	Account                                                    string
	DebitsPending, DebitsPosted, CreditsPending, CreditsPosted string
	Sequence, Previous                                         uint64
}

// ParseOutcome returns what a message says came of a command.
func ParseOutcome(m *cairnv1.CommandOutcome) (*Outcome, error) {
	o := &Outcome{Index: m.GetIndex(), Time: m.GetTime(), Existed: m.GetExisted()}
	for _, r := range m.GetResults() {
		status, err := settlement.ParseStatus(r.GetStatus())
		if err != nil {
			return nil, errors.Wrap(err, "the node's answer")
		}
		reason, err := settlement.ParseReason(r.GetReason())
		if err != nil {
			return nil, errors.Wrap(err, "the node's answer")
		}
		cause, err := settlement.ParseReason(r.GetCause())
		if err != nil {
			return nil, errors.Wrap(err, "the node's answer")
		}
		o.Results = append(o.Results, settlement.Result{Status: status, Reason: reason, ID: r.GetId(), Index: r.GetIndex(), Member: uint16(r.GetMember()), Cause: cause})
	}
	for _, l := range m.GetLines() {
		b := l.GetBalances()
		o.Lines = append(o.Lines, AccountLine{
			l.GetAccount(), b.GetDebitsPending(), b.GetDebitsPosted(), b.GetCreditsPending(), b.GetCreditsPosted(), l.GetSequence(), l.GetPrevious(),
		})
	}
	return o, nil
}
