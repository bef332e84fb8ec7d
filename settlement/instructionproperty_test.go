package settlement_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
)

// TestInstructionProperties decides random commands and looks at the whole state after every entry:
//
//   - The sums of every asset are conserved, and no account passes its limit.
//   - Two instructions that match agree. What is final stays as it is. Nothing settles before its
//     settlement date, nor once its time is over, nor on hold, and all legs settle in proportion.
//   - A new instruction takes the oldest one that matches, and none is left that would match.
//   - Nothing waits that could settle once the leader has done what is due.
//   - The outcomes say what was moved.
func TestInstructionProperties(t *testing.T) {
	seeds, entries := 6, 900
	if testing.Short() {
		seeds = 2
	}
	seen := map[string]int{}
	for seed := range uint64(seeds) {
		p := &properties{driver: newDriver(t, 1_700_000_000_000_000), seed: seed, rng: rand.New(rand.NewPCG(seed, 30)), seen: seen, settled: map[string][2]settlement.Amount{}, states: map[string]*settlement.State{}}
		p.run(entries)
	}
	if testing.Short() {
		return // too few entries to see everything
	}
	for _, want := range []string{
		"unmatched", "matched", "held", "queued insufficient_funds", "queued behind_queue", "queued credit_limit_exceeded", "queued debit_account_frozen",
		"queued credit_account_frozen", "partly_settled insufficient_funds", "settled", "cancelled", "cancelled by the ledger",
		"expired instruction_expired", "cancel_requested",
		"rejected instruction_final", "rejected party_not_owner", "rejected same_account", "exists", "conflict",
	} {
		if seen[want] == 0 {
			t.Errorf("no result was %q: the test shows nothing about it", want)
		}
	}
	if t.Failed() {
		t.Log(seen)
	}
}

// properties is a driver with what the test knows of the entries before.
type properties struct {
	*driver
	seed    uint64
	rng     *rand.Rand
	seen    map[string]int                  // results by status and reason
	settled map[string][2]settlement.Amount // by instruction: delivered and received, by the outcomes
	states  map[string]*settlement.State    // of every instruction, after the entry before
	given   int                             // instructions so far
	entry   string                          // for messages
}

func (p *properties) failf(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("seed %d, entry %d, %s: %s", p.seed, p.l.Head().Size-1, p.entry, fmt.Sprintf(format, args...))
}

func (p *properties) run(entries int) {
	for _, asset := range []string{"USD", "SEC"} {
		p.must(&settlement.CreateAsset{ID: asset, Scale: 2})
		for n := range randomAccounts {
			a := &settlement.OpenAccount{ID: fmt.Sprintf("%s-%d", asset, n), Asset: asset, Flags: settlement.DebitsLimited, Owners: []string{"BANKA", "BANKB", "spiffe://example.org/svc/a"}}
			switch p.rng.IntN(6) {
			case 0:
				a.Flags = 0
			case 1:
				a.Flags, a.Limit = settlement.CreditsLimited, settlement.NewDecimal(settlement.AmountOf(p.rng.Uint64N(60)), 0)
			case 2:
				a.Limit = settlement.NewDecimal(settlement.AmountOf(p.rng.Uint64N(60)), 0)
			}
			p.must(a)
		}
	}
	for range entries {
		command := p.command()
		principal := fmt.Sprintf("spiffe://example.org/svc/%c", 'a'+p.rng.IntN(2))
		p.step(principal, command)
		switch p.rng.IntN(10) {
		case 0: // the leader does one thing
			if command := p.due(); command != nil {
				p.step(nodeID, command)
				p.time++
			}
		case 1, 2: // the leader does everything
			for command := p.due(); command != nil; command = p.due() {
				p.step(nodeID, command)
				p.time++
			}
			p.nothingCouldSettle()
		case 3:
			p.time += p.rng.Int64N(100)
		}
		if p.rng.IntN(150) == 0 {
			p.time += p.rng.Int64N(200_000_000_000) // up to two days
		}
	}
	for command := p.due(); command != nil; command = p.due() {
		p.step(nodeID, command)
		p.time++
	}
	p.nothingCouldSettle()
}

// command returns a random command; most instructions have a new id, and most that is done to
// instructions is done to recent ones.
func (p *properties) command() []byte {
	c, err := settlement.ParseCommand(randomInstructionCommand(p.rng))
	if err != nil {
		p.t.Fatal(err)
	}
	switch a := c.Action.(type) {
	case *settlement.Instruct:
		if a.ID = fmt.Sprintf("i-%d", p.given-min(p.given, p.rng.IntN(4))); p.rng.IntN(20) > 0 {
			a.ID = fmt.Sprintf("i-%d", p.given)
			p.given++
		}
		a.SettlementDate = 19675 + []settlement.Date{0, 0, 0, 1, 4}[p.rng.IntN(5)]
		if a.Expires > 0 {
			a.Expires = p.time - 20 + p.rng.Int64N(300)
		}
	case *settlement.Manage:
		a.ID = fmt.Sprintf("i-%d", p.given-min(p.given, 1+p.rng.IntN(12)))
	case *settlement.Submit:
		a.Transfers[0].ID = fmt.Sprintf("t-%d", p.l.Head().Size)
	case *settlement.Resolve:
		a.ID = fmt.Sprintf("t-%d", p.l.Head().Size-min(p.l.Head().Size, 1+p.rng.Uint64N(20)))
	}
	body, err := c.Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	return body
}

// step decides a command and looks at what came of it.
func (p *properties) step(principal string, body []byte) {
	p.t.Helper()
	c, err := settlement.ParseCommand(body)
	if err != nil {
		p.t.Fatal(err)
	}
	p.entry = fmt.Sprintf("%s %+v", c.Action.Op(), c.Action)
	o, err := settlement.ParseOutcome(p.apply(principal, ledger.KindCommand, body).Outcome)
	if err != nil {
		p.failf("%v", err)
	}
	for _, r := range o.Results {
		name := r.Status.String()
		if r.Status == settlement.Cancelled && r.Reason != settlement.NoReason {
			name += " by the ledger"
		} else if r.Reason != settlement.NoReason {
			name += " " + r.Reason.String()
		}
		p.seen[name]++
		sums := p.settled[r.ID]
		sums[0], _ = sums[0].Add(r.Delivered)
		sums[1], _ = sums[1].Add(r.Received)
		p.settled[r.ID] = sums
	}
	p.sums()
	now := p.read()
	if a, ok := c.Action.(*settlement.Instruct); ok && p.states[a.ID] == nil && now[a.ID] != nil {
		p.oldestMatch(a.ID, now[a.ID], now)
	}
	p.compare(now)
	p.states = now
}

// read reads every instruction.
func (p *properties) read() map[string]*settlement.State {
	now := map[string]*settlement.State{}
	for n := range p.given + 1 {
		id := fmt.Sprintf("i-%d", n)
		if s, err := settlement.ReadInstruction(p.l.State(), id); err == nil {
			now[id] = s
		}
	}
	return now
}

// sums: what is posted and pending is conserved in every asset, and no account passes its limit.
func (p *properties) sums() {
	p.t.Helper()
	sums := map[string]*settlement.Balances{}
	err := settlement.Accounts(p.l.State(), "", func(a *settlement.Account) bool {
		s := sums[a.Asset]
		if s == nil {
			s = new(settlement.Balances)
			sums[a.Asset] = s
		}
		b := a.Balances
		s.DebitsPosted, _ = s.DebitsPosted.Add(b.DebitsPosted)
		s.CreditsPosted, _ = s.CreditsPosted.Add(b.CreditsPosted)
		s.DebitsPending, _ = s.DebitsPending.Add(b.DebitsPending)
		s.CreditsPending, _ = s.CreditsPending.Add(b.CreditsPending)
		switch {
		case a.Flags.Has(settlement.DebitsLimited) && less(b.CreditsPosted, a.Limit, b.DebitsPosted, b.DebitsPending),
			a.Flags.Has(settlement.CreditsLimited) && less(b.DebitsPosted, a.Limit, b.CreditsPosted, b.CreditsPending):
			p.failf("account %s is above its limit %s: %+v", a.ID, a.Limit, b)
		}
		return true
	})
	if err != nil {
		p.t.Fatal(err)
	}
	for asset, s := range sums {
		if s.DebitsPosted != s.CreditsPosted || s.DebitsPending != s.CreditsPending {
			p.failf("the sums of %s are not conserved: %+v", asset, s)
		}
	}
}

// less reports whether a + b < c + d. The amounts of the test are small.
func less(a, b, c, d settlement.Amount) bool {
	have, _ := a.Add(b)
	use, _ := c.Add(d)
	return have.Cmp(use) < 0
}

// compare looks at every instruction, and at what it was before the entry.
func (p *properties) compare(now map[string]*settlement.State) {
	p.t.Helper()
	var open []string
	waiting := uint64(0)
	time := p.l.Head().Time
	for id, s := range now {
		i, before := s.Instruction, p.states[id]
		if (i == nil) != (s.Status == settlement.Rejected) {
			p.failf("%s is %s with the details %v", id, s.Status, i)
		}
		if i == nil {
			continue
		}
		if !s.Status.Final() {
			open = append(open, id)
		}
		if i.Waits != "" {
			waiting++
		}
		if got := p.settled[id]; got != [2]settlement.Amount{i.Delivers.Settled, i.Receives.Settled} {
			p.failf("the outcomes say that %s delivered and received %v, its state %s and %s", id, got, i.Delivers.Settled, i.Receives.Settled)
		}
		whole := i.Delivers.Settled == i.Delivers.Amount && i.Receives.Settled == i.Receives.Amount
		none := i.Delivers.Settled.IsZero() && i.Receives.Settled.IsZero()
		if whole != (s.Status == settlement.Settled) || s.Status == settlement.PartlySettled && none || s.Status == settlement.Queued && !none {
			p.failf("%s is %s: delivered %s of %s, received %s of %s", id, s.Status, i.Delivers.Settled, i.Delivers.Amount, i.Receives.Settled, i.Receives.Amount)
		}
		p.proportion(id, i)
		if (s.Status == settlement.Queued || s.Status == settlement.PartlySettled) != (i.Waits != "") {
			p.failf("%s is %s and waits for %q", id, s.Status, i.Waits)
		}
		if moved := before == nil && !none || before != nil && before.Instruction != nil && before.Instruction.Delivers.Settled != i.Delivers.Settled; moved {
			switch {
			case time < i.SettlementDate.Begin():
				p.failf("%s settles before its date %s", id, i.SettlementDate)
			case s.Expires > 0 && time >= s.Expires:
				p.failf("%s settles when its time is over", id)
			case i.Held:
				p.failf("%s settles on hold", id)
			}
		}
		if before != nil && before.Status.Final() && (before.Status != s.Status || before.Resolved != s.Resolved) {
			p.failf("%s was %s, and is %s", id, before.Status, s.Status)
		}
		p.agree(id, s, now)
	}
	b, _, err := p.l.State().Get([]byte{'W'})
	if err != nil {
		p.t.Fatal(err)
	}
	if n := append(make([]byte, 8-len(b)), b...); 2*binary.BigEndian.Uint64(n) != waiting {
		p.failf("%x pairs wait, and %d instructions", b, waiting)
	}
	slices.SortFunc(open, func(a, b string) int { return int(now[a].Index) - int(now[b].Index) })
	var listed []string
	if err := settlement.OpenInstructions(p.l.State(), "", func(id string, _ *settlement.State) bool {
		listed = append(listed, id)
		return true
	}); err != nil || !slices.Equal(listed, open) {
		p.failf("listed as open: %v, %v; open are %v", listed, err, open)
	}
}

// proportion: the leg with the fewer minor units leads, and the other one follows, rounded down.
func (p *properties) proportion(id string, i *settlement.Instruction) {
	p.t.Helper()
	few, many := i.Delivers, i.Receives
	if few.Account == "" || many.Account == "" {
		return
	}
	if many.Amount.Lo < few.Amount.Lo {
		few, many = many, few
	}
	if want := many.Amount.Lo * few.Settled.Lo / few.Amount.Lo; many.Settled.Lo != want {
		p.failf("%s: settled %s of %s and %s of %s, want %d", id, few.Settled, few.Amount, many.Settled, many.Amount, want)
	}
}

// agree: two instructions that match say the same of each other.
func (p *properties) agree(id string, s *settlement.State, now map[string]*settlement.State) {
	p.t.Helper()
	i := s.Instruction
	if (i.Match == "") != (s.Status == settlement.Unmatched || (s.Status == settlement.Cancelled || s.Status == settlement.Expired) && i.Match == "") {
		p.failf("%s is %s, with the match %q", id, s.Status, i.Match)
	}
	if i.Match == "" {
		return
	}
	other := now[i.Match]
	if other == nil || other.Instruction == nil || other.Instruction.Match != id {
		p.failf("%s has the match %s, which is %+v", id, i.Match, other)
	}
	o := other.Instruction
	if other.Status != s.Status || other.Reason != s.Reason || o.Waits != i.Waits || o.Delivers.Settled != i.Receives.Settled ||
		s.Status.Final() && other.Resolved != s.Resolved {
		p.failf("%s is %+v %+v, its match %s %+v %+v", id, s, i, i.Match, other, o)
	}
	if held := (i.Held || o.Held) && !s.Status.Final(); held != (s.Status == settlement.Held) {
		p.failf("%s is %s, held %t and %t", id, s.Status, i.Held, o.Held)
	}
}

// matches says whether two instructions match, by the fields.
func matches(a, b *settlement.Instruction) bool {
	leg := func(x, y settlement.LegState) bool { return x.Asset == y.Asset && x.Amount == y.Amount }
	return a.Party == b.Counterparty && a.Counterparty == b.Party && leg(a.Delivers, b.Receives) && leg(a.Receives, b.Delivers) &&
		a.SettlementDate == b.SettlementDate && (a.TradeDate == b.TradeDate || a.TradeDate == 0 || b.TradeDate == 0) &&
		(a.Common == b.Common || a.Common == "" || b.Common == "")
}

// oldestMatch: a new instruction has taken the oldest one that matches, or there was none.
func (p *properties) oldestMatch(id string, s *settlement.State, now map[string]*settlement.State) {
	p.t.Helper()
	if s.Instruction == nil {
		return
	}
	want := ""
	for other, before := range p.states {
		isOver := before.Expires > 0 && p.l.Head().Time >= before.Expires
		if before.Status != settlement.Unmatched || isOver || !matches(s.Instruction, before.Instruction) {
			continue
		}
		if want == "" || before.Index < p.states[want].Index {
			want = other
		}
	}
	if s.Instruction.Match != want {
		p.failf("%s matches %q, the oldest one that matches is %q", id, s.Instruction.Match, want)
	}
}

// nothingCouldSettle: once the leader has done what is due, every pair that waits is short of
// something, so much that no part can settle either.
func (p *properties) nothingCouldSettle() {
	p.t.Helper()
	time := p.l.Head().Time
	if err := p.l.State().Range([]byte{'y'}, []byte{'y' + 1}, func(key, value []byte) bool {
		if at := int64(binary.BigEndian.Uint64(key[1:])); at <= time && len(value) > 0 {
			p.failf("row %x says that something is due at %d, and it is %d", key, at, time)
		}
		return true
	}); err != nil {
		p.t.Fatal(err)
	}
	for id, s := range p.states {
		i := s.Instruction
		if i == nil || i.Match == "" || s.Status.Final() || s.Status == settlement.Held {
			continue
		}
		if time >= i.SettlementDate.Begin() && s.Status == settlement.Matched {
			p.failf("%s is matched, and its date has come", id)
		}
		if s.Status == settlement.Matched {
			continue
		}
		if p.account(i.Waits).Flags.Has(settlement.Closed) {
			p.failf("%s waits for %s, which is closed", id, i.Waits)
		}
		o := p.states[i.Match].Instruction
		if p.couldMove(i, o) && p.couldMove(o, i) {
			p.failf("%s waits for %s (%s), and could settle", id, i.Waits, s.Reason)
		}
	}
}

// couldMove reports whether what one side delivers could be moved: all that is left or, if both allow
// parts, the first part, which is one minor unit of the leg with the fewer.
func (p *properties) couldMove(from, to *settlement.Instruction) bool {
	leg := from.Delivers
	if leg.Account == "" {
		return true
	}
	amount := leg.Amount.Lo - leg.Settled.Lo
	if from.Partial && to.Partial {
		amount = 1
		if few := to.Delivers; few.Account != "" && few.Amount.Lo < leg.Amount.Lo {
			amount = leg.Amount.Lo*(few.Settled.Lo+1)/few.Amount.Lo - leg.Settled.Lo
		}
	}
	d, c := p.account(leg.Account), p.account(to.Receives.Account)
	off := settlement.Frozen | settlement.Closed
	if d.Flags&off != 0 || c.Flags&off != 0 {
		return false
	}
	debits, _ := d.Balances.DebitsPending.Add(settlement.AmountOf(amount))
	credits, _ := c.Balances.CreditsPending.Add(settlement.AmountOf(amount))
	return !(d.Flags.Has(settlement.DebitsLimited) && less(d.Balances.CreditsPosted, d.Limit, d.Balances.DebitsPosted, debits)) &&
		!(c.Flags.Has(settlement.CreditsLimited) && less(c.Balances.DebitsPosted, c.Limit, c.Balances.CreditsPosted, credits))
}
