package settlepb

import (
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/settlement"
)

func instruct(m *cairnv1.Instruct) (settlement.Action, error) {
	a := &settlement.Instruct{
		ID: m.GetId(), Party: m.GetParty(), Counterparty: m.GetCounterparty(), Common: m.GetCommonReference(),
		Held: m.GetHeld(), Partial: m.GetPartial(), Expires: m.GetExpires(),
	}
	if m.GetPriority() > settlement.MaxPriority {
		return nil, errors.Newf("priority %d; at most %d", m.GetPriority(), settlement.MaxPriority)
	}
	a.Priority = uint8(m.GetPriority())
	var err error
	if a.Delivers, err = leg(m.GetDelivers()); err != nil {
		return nil, errors.Wrap(err, "delivers")
	}
	if a.Receives, err = leg(m.GetReceives()); err != nil {
		return nil, errors.Wrap(err, "receives")
	}
	if m.GetTradeDate() != "" {
		if a.TradeDate, err = settlement.ParseDate(m.GetTradeDate()); err != nil {
			return nil, errors.Wrap(err, "trade_date")
		}
	}
	if a.SettlementDate, err = settlement.ParseDate(m.GetSettlementDate()); err != nil {
		return nil, errors.Wrap(err, "settlement_date")
	}
	if a.References, err = references(m.GetReferences()); err != nil {
		return nil, err
	}
	a.Source, err = source(m.GetSource())
	return a, err
}

func leg(m *cairnv1.InstructionLeg) (*settlement.Leg, error) {
	if m == nil {
		return nil, nil
	}
	amount, err := settlement.ParseDecimal(m.GetAmount())
	return &settlement.Leg{Account: m.GetAccount(), Asset: m.GetAsset(), Amount: amount}, err
}

func manage(m *cairnv1.ManageInstruction) (settlement.Action, error) {
	change, err := settlement.ParseChange(m.GetChange())
	return &settlement.Manage{Request: m.GetRequest(), ID: m.GetId(), Change: change}, err
}

// Instruct returns an instruction as a message, without the message that it was decoded from.
func Instruct(a *settlement.Instruct) *cairnv1.Instruct {
	return &cairnv1.Instruct{
		Id: a.ID, Party: a.Party, Counterparty: a.Counterparty, Delivers: legMessage(a.Delivers), Receives: legMessage(a.Receives),
		TradeDate: a.TradeDate.String(), SettlementDate: a.SettlementDate.String(), CommonReference: a.Common,
		Held: a.Held, Partial: a.Partial, Priority: uint32(a.Priority), Expires: a.Expires, References: References(a.References),
	}
}

func legMessage(l *settlement.Leg) *cairnv1.InstructionLeg {
	if l == nil {
		return nil
	}
	return &cairnv1.InstructionLeg{Account: l.Account, Asset: l.Asset, Amount: l.Amount.String()}
}

// Scales are the digits behind the point of what an instruction delivers and of what it receives.
// Without one of the legs its scale is 0.
type Scales struct{ Delivers, Receives uint8 }

// Instruction returns what became of an instruction as a message. said is the command that gave it,
// which the message takes.
func Instruction(s *settlement.State, said *cairnv1.Instruct, scales Scales) *cairnv1.SettlementInstruction {
	m := &cairnv1.SettlementInstruction{
		Id: said.GetId(), Status: s.Status.String(), Reason: s.Reason.String(), IsoCode: s.Reason.ISO(), Text: s.Reason.Text(),
		Index: s.Index, Resolved: s.Resolved, Said: said,
	}
	i := s.Instruction
	if i == nil {
		return m // a rejected one
	}
	m.Held, m.Match, m.WaitsFor, m.CancelAsked = i.Held, i.Match, i.Waits, i.CancelAsked
	for _, l := range []struct {
		message *cairnv1.InstructionLeg
		state   *settlement.LegState
		scale   uint8
	}{{said.GetDelivers(), &i.Delivers, scales.Delivers}, {said.GetReceives(), &i.Receives, scales.Receives}} {
		if l.message != nil {
			l.message.Amount, l.message.Settled = l.state.Amount.Decimal(l.scale), l.state.Settled.Decimal(l.scale)
		}
	}
	return m
}

// Moved returns what an entry moved for an instruction, in units of its assets; "" where it has no
// such leg.
func Moved(r *settlement.Result, i *settlement.Instruction, scales Scales) (delivered, received string) {
	if i.Delivers.Account != "" {
		delivered = r.Delivered.Decimal(scales.Delivers)
	}
	if i.Receives.Account != "" {
		received = r.Received.Decimal(scales.Receives)
	}
	return delivered, received
}

// minor returns the minor units that Amount.Decimal has written, whatever the scale was.
func minor(s string) (settlement.Amount, error) {
	if s == "" {
		return settlement.Amount{}, nil
	}
	d, err := settlement.ParseDecimal(s)
	if err != nil {
		return settlement.Amount{}, err
	}
	_, digits, _ := strings.Cut(s, ".")
	if len(digits) > settlement.MaxScale {
		return settlement.Amount{}, errors.Newf("the amount %s has more than %d digits behind the point", s, settlement.MaxScale)
	}
	a, ok := d.Minor(uint8(len(digits)))
	if !ok {
		return settlement.Amount{}, errors.Newf("the amount %s is too large", s)
	}
	return a, nil
}
