package gateway

import (
	"cmp"
	"context"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/report"
)

// Codes that Item.Code has for an instruction of sese.023: the state of sese.024, without its group.
const (
	stateRejected  = "Rjctd"
	stateUnmatched = "Umtchd"
	statePending   = "Pdg"
	stateSettled   = "Settled" // sese.025 says it
	stateCancelled = "Canc"
)

// Reason codes of sese.024.
const (
	secAccount   = "SAFE"
	secCash      = "CASH"
	secReference = "REFE"
	secLink      = "LINK"
	secDate      = "DDAT"
	secParties   = "DEPT"
	secSecurity  = "DSEC"
	secQuantity  = "DQUA"
	secOther     = "OTHR"
)

// Instruction is what became of an instruction.
type Instruction struct {
	ID                 string
	Status             settlement.Status
	Reason             settlement.Reason
	Index              uint64 // of the entry that gave it
	Resolved           uint64 // of the entry that gave it its last status, else Index
	Delivers, Receives InstructionLeg
	Held               bool // on hold now
}

// InstructionLeg is a leg of an instruction, in units of its asset; the zero value is no leg.
type InstructionLeg struct {
	Account, Amount string
	Settled         string // so far
}

// Settlement is an entry that settled an instruction, in whole or in part.
type Settlement struct {
	Index               uint64
	Time                time.Time // ledger time
	Delivered, Received string    // what it moved, in units of the assets; "" without the leg
}

const (
	definitionAdvice       = "sese.024.001.13"
	definitionConfirmation = "sese.025.001.12"
)

// securities gives the instruction of a sese.023 to the ledger.
func (e *exchange) securities() step {
	identity := e.m.Identify(e.g.options.Participant, e.g.options.Rail)[0]
	it := &item{name: identity.Transaction, id: identity.Key()}
	e.items = []*item{it}
	for _, f := range e.warn {
		if p := problemOf(f); f.Severity == iso20022.Error && it.late == nil {
			it.late = &p // the others have rejected the message
		}
	}
	instruct, p := e.g.options.instruct(e.m, it.id)
	if p != nil {
		it.problem = p
		return e.advise(nil)
	}
	instruct.Source = sourceOf(instruct, e.m.Definition, e.in.Raw)
	ask := step{actions: []settlement.Action{instruct}, then: func(f *facts) step {
		it.asked = true
		d := &f.decisions[0]
		if d.refused != nil {
			it.problem = &problem{secOther, "refused", d.refused.Error()}
		} else if len(d.Results) == 0 {
			it.problem = &problem{secOther, "no_outcome", "the ledger gave no outcome: send the message again"}
		}
		return e.advise(d)
	}}
	if it.late == nil {
		return ask
	}
	return step{instructions: []string{it.id}, then: func(f *facts) step {
		if f.instructions[it.id] != nil {
			return ask // it came in time once
		}
		it.problem = it.late
		return e.advise(nil)
	}}
}

// instruct returns the instruction that a sese.023 asks for, without its source, or what is wrong with
// it.
func (o *Options) instruct(m *iso20022.Message, id string) (*settlement.Instruct, *problem) {
	s := m.Securities
	own, other := s.Delivering, s.Receiving
	if s.Movement == "RECE" {
		own, other = other, own
	}
	in := &settlement.Instruct{
		ID: id, Party: partyName(own, s.Owner), Counterparty: partyName(other, iso20022.Party{}), Common: s.CommonID,
		Held: isTrue(s.Hold), Partial: s.Partial == "PART", Priority: priority(s.Priority),
	}
	if in.Party == "" {
		return nil, &problem{secParties, "party_missing", "the message does not name its own side: add Pty1 to it, or AcctOwnr"}
	}
	for _, l := range s.Links {
		if l.Position != "INFO" {
			return nil, &problem{secLink, "link", "the ledger does not link instructions, and this one is to settle " + l.Position + " another one: instruct without Lnkgs"}
		}
	}
	var err error
	if in.SettlementDate, err = settlement.ParseDate(dateOf(s.SettlementDate)); err != nil {
		return nil, &problem{secDate, "settlement_date", "SttlmDt is " + cut(s.SettlementDate) + ", which is no date: write one"}
	}
	if date, err := settlement.ParseDate(dateOf(s.TradeDate)); err == nil {
		in.TradeDate = date // a code instead of a date says nothing that can be matched
	}
	security := cmp.Or(s.ISIN, s.OtherID)
	quantity, p := o.leg(s.Quantity, security, secQuantity, secSecurity)
	if p != nil {
		return nil, p
	}
	quantity.Account = o.safekeeping(s.SafekeepingAccount, security)
	if p := checkAccount(quantity.Account, secAccount, "deliver or receive securities"); p != nil {
		return nil, p
	}
	cash, p := o.cash(s, cmp.Or(firstParty(own), s.Owner))
	if p != nil {
		return nil, p
	}
	if in.Delivers, in.Receives = quantity, cash; s.Movement == "RECE" {
		in.Delivers, in.Receives = cash, quantity
	}
	values := map[settlement.ReferenceKind]string{
		settlement.TransactionID: s.TransactionID, settlement.Participant: o.Participant, settlement.Rail: o.Rail,
		settlement.ValueDate: s.SettlementDate, settlement.Fingerprint: hex.EncodeToString(m.Fingerprint[:]),
	}
	for kind, value := range values {
		if values[kind] = clean(value); values[kind] == "" {
			delete(values, kind)
		}
	}
	in.References = settlement.References(values)
	return in, nil
}

func (o *Options) leg(amount, asset, amountCode, assetCode string) (*settlement.Leg, *problem) {
	d, err := settlement.ParseDecimal(amount)
	if err != nil {
		return nil, &problem{amountCode, "amount", err.Error()}
	}
	if err := settlement.CheckID(asset); err != nil {
		return nil, &problem{assetCode, "asset", "what is to be moved can be no asset: " + err.Error()}
	}
	return &settlement.Leg{Asset: asset, Amount: d}, nil
}

// cash returns the leg of the payment; nil free of payment.
func (o *Options) cash(s *iso20022.SecuritiesInstruction, own iso20022.Party) (*settlement.Leg, *problem) {
	if s.Payment != "APMT" {
		return nil, nil
	}
	cash, p := o.leg(s.Settlement.Value, s.Settlement.Currency, "DMON", "DMON")
	if p != nil {
		return nil, p
	}
	if number := s.CashAccount.ID(); number != "" {
		cash.Account = o.mapped(number, cash.Asset)
	} else {
		cash.Account = o.institution(own, iso20022.Account{}, cash.Asset)
	}
	return cash, checkAccount(cash.Account, secCash, "pay from or to")
}

// safekeeping returns the account of a security: an account of the ledger holds one asset, so what is
// not configured has the name of the safekeeping account and the security's, with "/" between them.
func (o *Options) safekeeping(number, security string) string {
	if account, found := o.configured(number, security); found || number == "" {
		return account
	}
	return number + "/" + security
}

// priority turns 0001, the highest, to 0004 and the like into the ledger's 3 to 0.
func priority(nmrc string) uint8 {
	n, err := strconv.Atoi(nmrc)
	if err != nil || n < 1 || n > settlement.MaxPriority {
		return 0
	}
	return uint8(settlement.MaxPriority + 1 - n)
}

func firstParty(c iso20022.SettlementChain) iso20022.Party {
	if len(c.Parties) == 0 {
		return iso20022.Party{}
	}
	return c.Parties[0].Party
}

// partyName returns how an instruction names the party of a side: a BIC without XXX, else what names
// it best. Both sides have to name it in the same way.
func partyName(c iso20022.SettlementChain, otherwise iso20022.Party) string {
	p := firstParty(c)
	if p.ID() == "" {
		p = otherwise
	}
	if short, primary := strings.CutSuffix(p.BIC, "XXX"); primary && len(p.BIC) == 11 {
		return short
	}
	return clean(p.ID())
}

// advise answers a sese.023 by a sese.024 that says what the ledger decided first.
func (e *exchange) advise(d *Decision) step {
	it := e.items[0]
	var states []report.StateReport
	if d != nil && it.problem == nil {
		states = it.decideInstruction(e.m.Securities, d)
	}
	if it.problem != nil {
		it.code = stateRejected
		states = []report.StateReport{{State: report.InstructionRejected, Reasons: []report.SecuritiesReason{it.problem.security()}}}
	}
	return e.advice(states)
}

func (e *exchange) advice(states []report.StateReport) step {
	raw, err := report.SecuritiesStatus{IDs: e.securitiesIDs(), States: states}.Encode()
	if err != nil {
		return e.answer(nil, "", []problem{{secOther, "answer", err.Error()}})
	}
	return e.answer(raw, definitionAdvice, nil)
}

func (e *exchange) securitiesIDs() report.SecuritiesIDs {
	return report.SecuritiesIDs{Owner: cut(e.m.Securities.TransactionID), Servicer: e.replyID(), Common: cut(e.m.Securities.CommonID)}
}

// decideInstruction notes the first outcome of an instruction, and returns the states that say it.
// What the outcome does not say, such as whose account is short, the answer does not say either: the
// same message gets the same answer for ever.
func (it *item) decideInstruction(s *iso20022.SecuritiesInstruction, d *Decision) []report.StateReport {
	r := d.Results[0]
	it.index, it.decided, it.repeated, it.time = d.Index, true, d.Existed, d.Time
	why := r.Reason.String() + ": " + r.Reason.Text()
	if states := waiting(r.Status, r.Reason, isTrue(s.Hold), false); states != nil {
		if it.code = statePending; r.Status == settlement.Unmatched {
			it.code = stateUnmatched
		}
		it.state = stateWord(r.Status, r.Reason, isTrue(s.Hold), false)
		return states
	}
	accepted, matched := report.StateReport{State: report.InstructionAccepted}, report.StateReport{State: report.Matched}
	switch r.Status {
	case settlement.Settled:
		it.code = stateSettled
		return []report.StateReport{accepted, matched}
	case settlement.Cancelled, settlement.Expired:
		it.code = stateCancelled
		return []report.StateReport{{State: report.InstructionCancelled, Reasons: []report.SecuritiesReason{{Code: "CANS", Text: why}}}}
	case settlement.Conflict:
		it.index, it.time = r.Index, time.Time{}
		p := conflict(r.Index)
		p.code = secReference
		it.problem = p
	default:
		it.problem = problemOfInstruction(s, r.Reason)
	}
	return nil
}

// waiting returns the states of an instruction that waits for something; nil of another one. held says
// that the instruction itself is on hold, and failing that its settlement date is over.
func waiting(status settlement.Status, reason settlement.Reason, held, failing bool) []report.StateReport {
	code, text := secOther, reason.String()+": "+reason.Text()
	switch status {
	case settlement.Unmatched:
		return []report.StateReport{{State: report.InstructionAccepted}, {State: report.Unmatched, Reasons: []report.SecuritiesReason{{Code: "CMIS"}}}}
	case settlement.Matched:
		if text = "it settles from the settlement date on"; !failing {
			code = "FUTU"
		}
	case settlement.Held:
		if code, text = "PRCY", "the counterparty's instruction is on hold"; held {
			code, text = "PREA", "this instruction is on hold"
		}
	case settlement.Queued, settlement.PartlySettled:
	default:
		return nil
	}
	state := report.SettlementPending
	if failing {
		state = report.SettlementFailing
	}
	return []report.StateReport{
		{State: report.InstructionAccepted}, {State: report.Matched}, {State: state, Reasons: []report.SecuritiesReason{{Code: code, Text: text}}},
	}
}

// stateWord names what waiting says, for Followed.State.
func stateWord(status settlement.Status, reason settlement.Reason, held, failing bool) string {
	word := status.String()
	if reason != settlement.NoReason {
		word += " " + reason.String()
	}
	if held && status == settlement.Held {
		word += " itself"
	}
	if failing {
		word += " failing"
	}
	return word
}

// problemOfInstruction returns a reason of the ledger with a code of sese.024.
func problemOfInstruction(s *iso20022.SecuritiesInstruction, r settlement.Reason) *problem {
	p := problemOfReason(r)
	debit, credit := secAccount, secCash
	if s.Movement == "RECE" {
		debit, credit = credit, debit
	}
	switch r {
	case settlement.DebitUnknown, settlement.DebitClosed:
		p.code = debit
	case settlement.CreditUnknown, settlement.CreditClosed:
		p.code = credit
	case settlement.PartyNotOwner:
		p.code = secParties
	case settlement.AssetMismatch, settlement.InstructionLegs:
		p.code = secSecurity
	case settlement.InstructionLate:
		p.code = secDate
	default:
		p.code = secOther
	}
	return p
}

// security is a problem as sese.024 says it.
func (p *problem) security() report.SecuritiesReason {
	code := p.code
	if len(code) != 4 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		code = secOther
	}
	text := []rune(clean(p.name + ": " + p.text))
	return report.SecuritiesReason{Code: code, Text: strings.TrimSpace(string(text[:min(len(text), 210)]))}
}

// rejectSecurities answers a sese.023 that is not carried out.
func (e *exchange) rejectSecurities(against []problem) step {
	var reasons []report.SecuritiesReason
	for i := range against[:min(len(against), maxReasons)] {
		reasons = append(reasons, against[i].security())
	}
	raw, err := report.SecuritiesStatus{
		IDs: e.securitiesIDs(), States: []report.StateReport{{State: report.InstructionRejected, Reasons: reasons}},
	}.Encode()
	if err != nil {
		return e.answer(nil, "", against)
	}
	return e.answer(raw, definitionAdvice, against)
}

// Followed is how far an instruction has been followed. The zero value is the beginning.
type Followed struct {
	Last    uint64 // index of the last entry that a notice was made of
	Settled string // quantity that the notices have confirmed, "" for none
	// State is what was told last of an instruction that waits, as in Answer.State, and States counts
	// what was told since the answer.
	State  string
	States int
}

// Notice is a message about what became of an instruction after it was answered.
type Notice struct {
	Index      uint64 // of the entry that it is about
	Reply      []byte
	Definition string // sese.025.001.12; sese.024.001.13 when it waits, was cancelled or has expired
	// State is the status while the instruction waits, as in "2-queued", where no entry is told of.
	State string
}

// Follow returns what is to be said about the instruction of a sese.023 that was answered, beyond what
// was said already, and how far that goes. Final says that nothing follows any more. A notice of an
// entry depends on the message and the entries of the ledger alone: following again from the same
// place gives the same one. What an instruction waits for is told as it is now: what came and went
// since the last call is not told.
func (g *Gateway) Follow(ctx context.Context, raw []byte, from Followed, now time.Time) (notices []Notice, to Followed, final bool, err error) {
	m, err := iso20022.Decode(raw)
	if err == nil && m.Securities == nil {
		err = errors.Newf("follow a %s: only instructions of sese.023 are followed", m.Type())
	}
	if err != nil {
		return nil, from, false, err
	}
	e := &exchange{g: g, in: Incoming{Raw: raw}, m: m}
	id := m.Identify(g.options.Participant, g.options.Rail)[0].Key()
	state, err := g.ledger.Instruction(ctx, id)
	if err != nil {
		return nil, from, false, err
	}
	if state == nil {
		return nil, from, false, errors.Newf("the ledger knows no instruction %s that the caller may read: see that its certificate and the owners of the accounts are as they were", id)
	}
	if state.Status == settlement.Rejected {
		return nil, from, true, nil
	}
	to = from
	leg := state.Delivers
	if m.Securities.Movement == "RECE" {
		leg = state.Receives
	}
	left, err := subtract(leg.Settled, from.Settled)
	if err != nil {
		return nil, from, false, err
	}
	if left != "0" {
		if notices, to, err = e.confirm(ctx, state, leg, from); err != nil {
			return nil, from, false, err
		}
		// More may have settled since the instruction was read. Less cannot be: then something is
		// missing, and nothing is said to be final.
		if _, err := subtract(to.Settled, leg.Settled); err != nil {
			return nil, from, false, errors.Wrapf(err, "the entries of the account %s do not show all that has settled of %s", leg.Account, id)
		}
	}
	if state.Status == settlement.Cancelled || state.Status == settlement.Expired {
		n, err := e.cancelled(state)
		if err != nil {
			return nil, from, false, err
		}
		notices, to.Last = append(notices, n), state.Resolved
	}
	n, err := e.waits(state, &to, now)
	if err != nil {
		return nil, from, false, err
	}
	return append(notices, n...), to, state.Status.Final(), nil
}

// waits makes the sese.024 about what an instruction waits for, when that is not what was told last.
func (e *exchange) waits(state *Instruction, to *Followed, now time.Time) ([]Notice, error) {
	date, err := settlement.ParseDate(dateOf(e.m.Securities.SettlementDate))
	if err != nil {
		return nil, err
	}
	failing := state.Status != settlement.Unmatched && settlement.DateOf(now.UnixMicro()) > date
	states, word := waiting(state.Status, state.Reason, state.Held, failing), stateWord(state.Status, state.Reason, state.Held, failing)
	if states == nil || word == to.State || to.State == "" {
		return nil, nil
	}
	raw, err := report.SecuritiesStatus{IDs: e.securitiesIDs(), States: states}.Encode()
	to.State, to.States = word, to.States+1
	return []Notice{{Index: state.Index, Reply: raw, Definition: definitionAdvice, State: strconv.Itoa(to.States) + "-" + state.Status.String()}}, err
}

// confirm makes a sese.025 of every entry that settled the instruction since. leg is that of the
// security.
func (e *exchange) confirm(ctx context.Context, state *Instruction, leg InstructionLeg, from Followed) ([]Notice, Followed, error) {
	s := e.m.Securities
	list, err := e.g.ledger.Settlements(ctx, leg.Account, state.ID, max(state.Index, from.Last+1))
	if err != nil {
		return nil, from, err
	}
	var notices []Notice
	for _, x := range list {
		moved, paid := x.Delivered, x.Received
		if s.Movement == "RECE" {
			moved, paid = paid, moved
		}
		sum, err := add(from.Settled, moved)
		if err != nil {
			return nil, from, err
		}
		c := report.SecuritiesConfirmation{
			IDs: e.securitiesIDs(), Instruction: *s, Effective: stamp(x.Time), Quantity: moved, Settled: iso20022.Amount{Value: paid, Currency: s.Settlement.Currency},
		}
		left, err := subtract(leg.Amount, sum)
		if err != nil {
			return nil, from, err
		}
		if done := left == "0"; !done || from.Settled != "" {
			c.Previous, c.Remaining, c.Partial = cmp.Or(from.Settled, "0"), left, "PAIN"
			if done {
				c.Partial = "PARC"
			}
		}
		raw, err := c.Encode()
		if err != nil {
			// A version that is read leniently may have parties that a confirmation cannot repeat.
			c.Instruction.Owner, c.Instruction.Delivering, c.Instruction.Receiving = iso20022.Party{}, iso20022.SettlementChain{}, iso20022.SettlementChain{}
			if raw, err = c.Encode(); err != nil {
				return nil, from, err
			}
		}
		notices = append(notices, Notice{Index: x.Index, Reply: raw, Definition: definitionConfirmation})
		from.Last, from.Settled = x.Index, sum
	}
	return notices, from, nil
}

// cancelled makes the sese.024 about an instruction that does not settle any more.
func (e *exchange) cancelled(state *Instruction) (Notice, error) {
	reason := report.SecuritiesReason{Code: "CANI", Text: "cancelled as it was asked for"}
	if state.Reason != settlement.NoReason {
		reason = report.SecuritiesReason{Code: "CANS", Text: state.Reason.String() + ": " + state.Reason.Text()}
	}
	raw, err := report.SecuritiesStatus{
		IDs: e.securitiesIDs(), States: []report.StateReport{{State: report.InstructionCancelled, Reasons: []report.SecuritiesReason{reason}}},
	}.Encode()
	return Notice{Index: state.Resolved, Reply: raw, Definition: definitionAdvice}, err
}

// The amounts below are what the ledger gives, in units of one asset.

func add(a, b string) (string, error) {
	x, y, err := minors(a, b)
	if err != nil {
		return "", err
	}
	sum, ok := x.Add(y)
	if !ok {
		return "", errors.Newf("%s and %s are too much", a, b)
	}
	return units(sum), nil
}

func subtract(a, b string) (string, error) {
	x, y, err := minors(a, b)
	if err != nil {
		return "", err
	}
	rest, ok := x.Sub(y)
	if !ok {
		return "", errors.Newf("%s is more than %s", b, a)
	}
	return units(rest), nil
}

// minors reads amounts as multiples of the smallest unit that an asset can have; "" is zero.
func minors(a, b string) (x, y settlement.Amount, err error) {
	for _, f := range []struct {
		text string
		to   *settlement.Amount
	}{{a, &x}, {b, &y}} {
		d, err := settlement.ParseDecimal(cmp.Or(f.text, "0"))
		if err != nil {
			return x, y, err
		}
		minor, ok := d.Minor(settlement.MaxScale)
		if !ok {
			return x, y, errors.Newf("the amount %s cannot be counted", f.text)
		}
		*f.to = minor
	}
	return x, y, nil
}

// units writes an amount without zeros behind the point that say nothing.
func units(a settlement.Amount) string {
	return strings.TrimSuffix(strings.TrimRight(a.Decimal(settlement.MaxScale), "0"), ".")
}
