package settle

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
)

// instruction is one side of an exchange.
type instruction struct {
	id, party, other   string
	delivers, receives *leg       // nil: nothing
	given              [2]decimal // the amounts of the two legs as they are given
	trade, date        uint32
	reference          string
	held, partial      bool
	priority           byte
	expiry             int64 // µs, 0 for never
	content            string

	index, ended uint64
	status       byte // while it has no pair, and when it is final
	reason       byte
	pair         *pair  // nil before the match
	again        bool   // the search for a match was given up, and goes on
	searchAt     int64  // when it goes on
	wish         uint64 // entry that asked to cancel the pair; 0: none did
	asked        bool   // wish counts
}

type leg struct {
	account, asset string
	amount, moved  *big.Int
}

func newLeg() *leg { return &leg{amount: new(big.Int), moved: new(big.Int)} }

// pair is two instructions that match. They have one status.
type pair struct {
	older, newer   *instruction
	status, reason byte
	waits          string // the account for which it waits
	early          bool   // the settlement date is still to begin, or nobody has looked since
}

const (
	unmatched       = 9
	matched         = 10
	queued          = 11
	settled         = 12
	partlySettled   = 13
	cancelled       = 14
	cancelRequested = 15
	held            = 16
)

const (
	instructionUnknown = 41
	instructionFinal   = 42
	instructionHeld    = 43
	instructionNotHeld = 44
	instructionLegs    = 45
	instructionLate    = 46
	partyNotOwner      = 47
	behindQueue        = 48
	instructionExpired = 49
)

const day = 24 * 60 * 60 * 1_000_000

func (i *instruction) begins() int64 { return int64(i.date) * day }

// now is the status of an instruction and of its pair.
func (i *instruction) now() byte {
	if i.pair != nil {
		return i.pair.status
	}
	return i.status
}

func final(status byte) bool {
	return status == settled || status == cancelled || status == expired || status == rejected
}

// end is when the instruction is over, 0 for never: of a pair the earlier expiry counts.
func (i *instruction) end() int64 {
	if i.pair == nil {
		return i.expiry
	}
	return i.pair.end()
}

func (p *pair) end() int64 {
	a, b := p.older.expiry, p.newer.expiry
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

func over(end, now int64) bool { return end > 0 && now >= end }

func (i *instruction) legs() []*leg {
	var legs []*leg
	for _, l := range []*leg{i.delivers, i.receives} {
		if l != nil {
			legs = append(legs, l)
		}
	}
	return legs
}

// ownsAll reports whether the caller owns the accounts of an instruction. A rejected one has none,
// so that only an operator learns of it.
func (s *step) ownsAll(i *instruction) bool {
	if i.now() == rejected {
		return s.c.operator
	}
	for _, l := range i.legs() {
		if !s.owns(l.account) {
			return false
		}
	}
	return true
}

func (s *step) instruct() []result {
	i := s.c.instruction
	content := fmt.Sprintf("instruction %q %s", s.e.principal, i.content)
	if r, known := s.known(i.id, content); known {
		return []result{r}
	}
	i.index, i.ended = s.index, s.index
	s.m.ids[i.id] = &thing{instruction: i, content: content, index: s.index, ended: s.index}
	s.m.live[i.id] = s.m.ids[i.id]
	match, reason := s.check(i)
	if reason != 0 {
		i.status, i.reason = rejected, reason
		return []result{no(reason)}
	}
	i.status = unmatched
	if match == nil {
		i.searchAt = s.e.time
		return []result{{status: unmatched, id: i.id}}
	}
	s.pair(match, i)
	return s.report(i.pair, i)
}

// check says why an instruction is rejected, or which one it matches.
func (s *step) check(i *instruction) (match *instruction, reason byte) {
	m := s.m
	for k, l := range []*leg{i.delivers, i.receives} {
		if l != nil && i.given[k].coefficient.Sign() == 0 {
			return nil, amountZero
		}
	}
	if !s.ownsAll(i) {
		return nil, notPermitted
	}
	for k, l := range []*leg{i.delivers, i.receives} {
		if l == nil {
			continue
		}
		a := m.accounts[l.account]
		if a == nil {
			return nil, []byte{debitUnknown, creditUnknown}[k]
		}
		amount, digits, fits := i.given[k].minor(a.scale)
		switch {
		case !s.c.operator && !slices.Contains(a.owners, i.party):
			return nil, partyNotOwner
		case a.asset != l.asset:
			return nil, assetMismatch
		case digits:
			return nil, amountScale
		case !fits:
			return nil, amountOverflow
		case a.flags&closed != 0:
			return nil, []byte{debitClosed, creditClosed}[k]
		}
		l.amount = amount
	}
	if i.delivers != nil && i.receives != nil && i.delivers.asset == i.receives.asset {
		return nil, instructionLegs
	}
	if i.expiry > 0 && (i.expiry <= s.e.time || i.expiry <= i.begins()) {
		return nil, instructionLate
	}
	match, i.again = s.search(i)
	if match != nil && toItself(i, match) {
		return nil, sameAccount
	}
	return match, 0
}

// maxOver is how many instructions that are over a search passes in one list.
const maxOver = 8

// search returns the oldest instruction that matches and whose time is not over. It looks into up
// to four lists, by trade date and by common reference given or not; again says that in one of them
// too many instructions are over.
func (s *step) search(i *instruction) (best *instruction, again bool) {
	var all []*instruction
	for _, t := range s.m.live {
		if o := t.instruction; o != nil && o != i && o.now() == unmatched && o.pair == nil && mirrors(o, i) {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b *instruction) int { return cmp.Compare(a.index, b.index) })
	dates, references := []uint32{i.trade, 0}, []string{i.reference, ""}
	if i.trade == 0 {
		dates = dates[:1]
	}
	if i.reference == "" {
		references = references[:1]
	}
	for _, date := range dates {
		for _, reference := range references {
			passed := 0
			for _, o := range all {
				if i.trade != 0 && o.trade != date || i.reference != "" && o.reference != reference {
					continue
				}
				if over(o.expiry, s.e.time) {
					if passed++; passed > maxOver {
						return nil, true
					}
					continue
				}
				if best == nil || o.index < best.index {
					best = o
				}
				break
			}
		}
	}
	return best, false
}

// mirrors reports whether two instructions agree in what both have to give.
func mirrors(a, b *instruction) bool {
	same := func(x, y *leg) bool {
		return x == nil && y == nil || x != nil && y != nil && x.asset == y.asset && x.amount.Cmp(y.amount) == 0
	}
	return a.party == b.other && a.other == b.party && same(a.delivers, b.receives) && same(a.receives, b.delivers) && a.date == b.date
}

// toItself reports whether a match would move a leg from an account to itself.
func toItself(a, b *instruction) bool {
	for _, x := range [][2]*leg{{a.delivers, b.receives}, {b.delivers, a.receives}} {
		if x[0] != nil && x[0].account == x[1].account {
			return true
		}
	}
	return false
}

// pair brings two instructions together and settles them if it can.
func (s *step) pair(older, newer *instruction) {
	p := &pair{older: older, newer: newer, status: matched, early: s.e.time < older.begins()}
	older.pair, newer.pair = p, p
	s.attempt(p)
}

func (p *pair) partner(i *instruction) *instruction {
	if i == p.older {
		return p.newer
	}
	return p.older
}

// report returns the results of a pair, first's before that of the other one.
func (s *step) report(p *pair, first *instruction) []result {
	var out []result
	for _, i := range []*instruction{first, p.partner(first)} {
		r := result{status: p.status, reason: p.reason, id: i.id, index: p.partner(i).index}
		if r.status == settled || r.status == partlySettled {
			r.delivered, r.received = s.moved(i.delivers), s.moved(i.receives)
		}
		out = append(out, r)
	}
	return out
}

func (s *step) manage() []result {
	c := s.c
	if c.id == "" {
		return s.managed()
	}
	content := fmt.Sprintf("manage %q %q %d", s.e.principal, c.of, c.manage)
	if r, known := s.known(c.id, content); known {
		return []result{r}
	}
	results := s.managed()
	t := &thing{request: true, content: content, index: s.index, ended: s.index, status: done}
	if results[0].status == rejected {
		t.status = rejected
	}
	s.m.ids[c.id] = t
	return results
}

func (s *step) managed() []result {
	c, t := s.c, s.m.ids[s.c.of]
	if t == nil || t.instruction == nil {
		if c.operator {
			return []result{no(instructionUnknown)}
		}
		return []result{no(notPermitted)}
	}
	i := t.instruction
	cancel := c.manage == 3
	switch {
	case !s.ownsAll(i):
		return []result{no(notPermitted)}
	case cancel && i.now() == cancelled:
		return []result{{status: exists, index: i.ended}}
	case final(i.now()) || over(i.end(), s.e.time):
		return []result{no(instructionFinal)}
	case cancel && i.asked:
		return []result{{status: exists, index: i.wish}}
	case c.manage == 1 && i.held:
		return []result{no(instructionHeld)}
	case c.manage == 2 && !i.held:
		return []result{no(instructionNotHeld)}
	}
	p := i.pair
	switch {
	case cancel && p == nil:
		s.finish(i, cancelled, 0)
		return []result{{status: cancelled, id: i.id}}
	case cancel && !p.partner(i).asked:
		i.asked, i.wish = true, s.index
		return []result{{status: cancelRequested, id: i.id, index: p.partner(i).index}, {status: cancelRequested, id: p.partner(i).id, index: i.index}}
	case cancel:
		s.finishPair(p, cancelled, 0)
		return s.report(p, i)
	}
	i.held = c.manage == 1
	if p == nil {
		return []result{{status: unmatched, id: i.id}}
	}
	s.attempt(p)
	return s.report(p, i)
}

func (s *step) finish(i *instruction, status, reason byte) {
	i.status, i.reason, i.ended = status, reason, s.index
}

func (s *step) finishPair(p *pair, status, reason byte) {
	s.leave(p)
	p.status, p.reason = status, reason
	for _, i := range []*instruction{p.older, p.newer} {
		s.finish(i, status, reason)
	}
}
