package settlepb

import (
	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/settlement"
)

// Results returns what came of a command as messages, without what was moved for instructions.
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

// Line returns a line as a message.
func Line(l *settlement.Line) *cairnv1.AccountLine {
	return &cairnv1.AccountLine{Account: l.Account, Balances: Balances(&l.Balances, l.Scale), Sequence: l.Sequence, Previous: l.Previous}
}

// Balances returns the sums of an account as a message.
func Balances(b *settlement.Balances, scale uint8) *cairnv1.AccountBalances {
	return &cairnv1.AccountBalances{
		DebitsPending: b.DebitsPending.Decimal(scale), DebitsPosted: b.DebitsPosted.Decimal(scale),
		CreditsPending: b.CreditsPending.Decimal(scale), CreditsPosted: b.CreditsPosted.Decimal(scale),
	}
}

// Account returns an account as a message.
func Account(a *settlement.Account, owners []string) *cairnv1.SettlementAccount {
	scale := a.Scale
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

// ParseResults returns what messages say came of a command, the opposite of Results.
func ParseResults(list []*cairnv1.SettlementResult) ([]settlement.Result, error) {
	results := make([]settlement.Result, len(list))
	for i, r := range list {
		status, err := settlement.ParseStatus(r.GetStatus())
		if err != nil {
			return nil, err
		}
		reason, err := settlement.ParseReason(r.GetReason())
		if err != nil {
			return nil, err
		}
		cause, err := settlement.ParseReason(r.GetCause())
		if err != nil {
			return nil, err
		}
		delivered, err := minor(r.GetDelivered())
		if err != nil {
			return nil, err
		}
		received, err := minor(r.GetReceived())
		if err != nil {
			return nil, err
		}
		results[i] = settlement.Result{
			Status: status, Reason: reason, ID: r.GetId(), Index: r.GetIndex(), Member: uint16(r.GetMember()), Cause: cause,
			Delivered: delivered, Received: received,
		}
	}
	return results, nil
}
