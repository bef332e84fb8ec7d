package settle

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
)

// The reasons, by the documented numbers.
const (
	assetUnknown        = 1
	accountUnknown      = 2
	debitUnknown        = 3
	creditUnknown       = 4
	notPermitted        = 5
	sameAccount         = 6
	assetsDiffer        = 7
	assetMismatch       = 8
	amountZero          = 9
	amountScale         = 10
	amountOverflow      = 11
	debitClosed         = 12
	creditClosed        = 13
	debitFrozen         = 14
	creditFrozen        = 15
	insufficientFunds   = 16
	limitExceeded       = 17
	creditLimitExceeded = 18
	conditionFailed     = 19
	idUsed              = 20
	originalUnknown     = 21
	originalNotPosted   = 22
	originalDiffers     = 23
	returnExceeds       = 24
	pendingUnknown      = 25
	notPending          = 26
	alreadyPosted       = 27
	alreadyVoided       = 28
	alreadyExpired      = 29
	exceedsPending      = 30
	memberOfSet         = 31
	notInSet            = 32
	accountHasPending   = 33
	balanceLeft         = 34
	accountClosed       = 35
	noLimit             = 36
	notTheLeader        = 37
	setMemberRejected   = 38
	timeOverflow        = 39
	idTwice             = 40
)

// step decides one command.
type step struct {
	m     *Model
	e     *entry
	c     *command
	index uint64
	// before has what the accounts that the entry touched were; nil: the account was not there.
	before map[string]*account
	lines  []line // of the accounts in before, ascending, once it is decided
	booked booking
	given  *outcome // of the leaf: how far an advance came
}

func (s *step) decide() *outcome {
	o := &outcome{}
	switch s.c.op {
	case opCreateAsset:
		o.results = []result{s.createAsset()}
	case opOpenAccount:
		o.results = []result{s.openAccount()}
	case opChangeAccount:
		o.results = []result{s.changeAccount()}
	case opSubmit:
		o.results = s.submit()
	case opResolve:
		o.results = []result{s.resolve()}
	case opInstruct:
		o.results = s.instruct()
	case opManage:
		o.results = s.manage()
	case opAdvance:
		o.results = s.advance()
	}
	if s.c.op != opAdvance { // whose parts count by themselves
		for id, before := range s.before {
			if before != nil && roomier(before, s.m.accounts[id]) {
				s.relieve(id)
			}
		}
	}
	for id := range s.before {
		a := s.m.accounts[id]
		previous := a.last
		if a.seq++; a.seq == 1 {
			previous = s.index
		}
		a.last = s.index
		s.lines = append(s.lines, line{id, a.scale, a.dp, a.db, a.cp, a.cb, a.seq, previous})
	}
	slices.SortFunc(s.lines, func(a, b line) int { return strings.Compare(a.account, b.account) })
	return o
}

// touch gives an account to be changed.
func (s *step) touch(id string) *account {
	if _, done := s.before[id]; !done {
		copied := *s.m.accounts[id]
		s.before[id] = &copied
	}
	return s.m.accounts[id]
}

func no(reason byte) result { return result{status: rejected, reason: reason} }

func (s *step) createAsset() result {
	old, known := s.m.assets[s.c.id]
	switch {
	case !s.c.operator:
		return no(notPermitted)
	case known && old.scale == s.c.scale:
		return result{status: exists, index: old.index}
	case known:
		return result{status: conflict, index: old.index}
	}
	s.m.assets[s.c.id] = asset{s.c.scale, s.index}
	return result{status: done}
}

func (s *step) openAccount() result {
	c := s.c
	held, known := s.m.assets[c.asset]
	if !c.operator {
		return no(notPermitted)
	}
	if !known {
		return no(assetUnknown)
	}
	limit, digits, fits := c.limit.minor(held.scale)
	old := s.m.accounts[c.id]
	switch {
	case digits:
		return no(amountScale)
	case !fits:
		return no(amountOverflow)
	case old != nil && old.asset == c.asset && old.flags == c.flags && old.limit.Cmp(limit) == 0 && slices.Equal(old.owners, c.owners):
		return result{status: exists, index: old.last}
	case old != nil:
		return result{status: conflict, index: old.last}
	}
	zero := new(big.Int)
	s.m.accounts[c.id] = &account{id: c.id, asset: c.asset, scale: held.scale, flags: c.flags, limit: limit, owners: c.owners, key: c.key, dp: zero, db: zero, cp: zero, cb: zero}
	s.before[c.id] = nil
	return result{status: done}
}

func (s *step) changeAccount() result {
	c, a := s.c, s.m.accounts[s.c.id]
	if !c.operator {
		return no(notPermitted)
	}
	if a == nil {
		return no(accountUnknown)
	}
	limit := a.limit
	if c.limit != nil {
		var digits, fits bool
		if limit, digits, fits = c.limit.minor(a.scale); digits {
			return no(amountScale)
		} else if !fits {
			return no(amountOverflow)
		}
	}
	closing := c.change&4 != 0
	switch {
	case a.flags&closed != 0:
		return no(accountClosed)
	case c.limit != nil && a.flags&(debitsLimited|creditsLimited) == 0:
		return no(noLimit)
	case closing && (a.dp.Sign() > 0 || a.cp.Sign() > 0):
		return no(accountHasPending)
	case closing && a.db.Cmp(a.cb) != 0:
		return no(balanceLeft)
	}
	a = s.touch(c.id)
	a.limit = limit
	if c.change&1 != 0 {
		a.flags |= frozen
	}
	if c.change&2 != 0 {
		a.flags &^= frozen
	}
	if closing {
		a.flags |= closed
	}
	if c.change&16 != 0 {
		a.owners = c.owners
	}
	return result{status: done}
}

// known answers a command whose id is used.
func (s *step) known(id, content string) (result, bool) {
	t := s.m.ids[id]
	switch {
	case t == nil:
		return result{}, false
	case t.content == content:
		return result{status: exists, index: t.index}, true
	}
	return result{status: conflict, index: t.index}, true
}

// content is what a repetition repeats: all of the command but the source and the ids of others,
// and who asked.
func (s *step) content(set bool, transfers []transfer) string {
	text := fmt.Sprintf("%t %q %t %d %x", set, s.e.principal, s.c.pending, s.c.timeout, s.c.rawConds)
	for _, t := range transfers {
		text += fmt.Sprintf(" %x", t.raw)
	}
	return text
}

func (s *step) submit() (results []result) {
	if s.c.id != "" {
		return []result{s.submitSet()}
	}
	for i := range s.c.transfers {
		t := s.c.transfers[i : i+1]
		content := s.content(false, t)
		r, known := s.known(t[0].id, content)
		if !known {
			r = s.single(&t[0], content)
		}
		results = append(results, r)
	}
	return results
}

// status of what is submitted when nothing stands against it.
func (s *step) made() byte {
	if s.c.pending {
		return pending
	}
	return posted
}

func (s *step) single(t *transfer, content string) result {
	r, holds := s.conditions()
	if holds {
		if reason := s.transfer(t, ""); reason != 0 {
			r = no(reason)
		} else {
			r = result{status: s.made()}
		}
	}
	if r.status == rejected {
		s.m.ids[t.id] = &thing{content: content, status: rejected, index: s.index, ended: s.index}
	} else {
		s.m.ids[t.id].content = content
	}
	return r
}

func (s *step) submitSet() result {
	content := s.content(true, s.c.transfers)
	if r, known := s.known(s.c.id, content); known {
		return r
	}
	r, holds := s.conditions()
	set := &thing{set: true, content: content, status: s.made(), index: s.index, ended: s.index, waited: s.c.pending}
	var made []string
	var originals []*thing
	for i := range s.c.transfers {
		if !holds {
			break
		}
		t := &s.c.transfers[i]
		reason := byte(0)
		switch {
		case t.id == s.c.id || slices.Contains(made, t.id):
			reason = idTwice
		case s.m.ids[t.id] != nil:
			reason = idUsed
		default:
			reason = s.transfer(t, s.c.id)
		}
		if reason == 0 {
			made = append(made, t.id)
			if o := s.m.ids[t.original]; t.original != "" {
				originals = append(originals, o)
			}
			continue
		}
		// Nothing of the set is left.
		for k, id := range made {
			if s.c.transfers[k].original != "" {
				originals[0].returned = difference(originals[0].returned, s.m.ids[id].amount)
				originals = originals[1:]
			}
			delete(s.m.ids, id)
		}
		for id, old := range s.before {
			*s.m.accounts[id] = *old
		}
		clear(s.before)
		r, holds = result{status: rejected, reason: setMemberRejected, member: i, cause: reason}, false
	}
	if !holds {
		set.status, set.waited = rejected, false
		s.m.ids[s.c.id] = set
		return r
	}
	for _, id := range made {
		s.m.ids[id].content = "of the set " + s.c.id
		set.expires = s.m.ids[id].expires
	}
	set.members = made
	s.m.ids[s.c.id] = set
	if s.c.pending {
		s.m.live[s.c.id] = set
	}
	return result{status: s.made()}
}

// conditions says whether all conditions hold, and the rejection if not.
func (s *step) conditions() (r result, hold bool) {
	for i, x := range s.c.conditions {
		if !s.holds(&x) {
			return result{status: rejected, reason: conditionFailed, member: i}, false
		}
	}
	return result{}, true
}

func (s *step) holds(x *condition) bool {
	a := s.m.accounts[x.id]
	switch x.kind {
	case 1:
		if a == nil || !s.owns(x.id) {
			return false
		}
		least, digits, _ := x.least.minor(a.scale)
		return !digits && a.available().Cmp(least) >= 0
	case 2:
		if a == nil || !s.owns(x.id) {
			return false
		}
		return a.seq == x.number // this entry counts when it has ended
	case 3:
		t := s.m.ids[x.id]
		switch {
		case t == nil:
			return false
		case t.instruction != nil:
			return t.instruction.now() == x.status && s.ownsAll(t.instruction)
		}
		return t.status == x.status && s.ownsDebits(x.id)
	case 4:
		return s.e.time >= int64(x.number)
	default:
		return s.e.time <= int64(x.number)
	}
}

func (a *account) available() *big.Int {
	n := difference(a.cb, sum(a.db, a.dp))
	if a.flags&debitsLimited != 0 {
		n.Add(n, a.limit)
	}
	return n
}

// transfer makes a transfer, or says why it cannot be made. set is the set that it belongs to.
func (s *step) transfer(t *transfer, set string) (reason byte) {
	m := s.m
	d, c := m.accounts[t.debit], m.accounts[t.credit]
	switch {
	case t.debit == t.credit:
		return sameAccount
	case t.amount.coefficient.Sign() == 0:
		return amountZero
	case !s.owns(t.debit):
		return notPermitted
	case d == nil:
		return debitUnknown
	case c == nil:
		return creditUnknown
	case d.asset != c.asset:
		return assetsDiffer
	case t.asset != "" && t.asset != d.asset:
		return assetMismatch
	}
	amount, digits, fits := t.amount.minor(d.scale)
	switch {
	case digits:
		return amountScale
	case !fits:
		return amountOverflow
	}
	original := m.ids[t.original]
	if t.original != "" {
		switch {
		case original == nil:
			return originalUnknown
		case original.set || original.instruction != nil || original.status != posted:
			return originalNotPosted
		case original.debit != t.credit || original.credit != t.debit:
			return originalDiffers
		case sum(original.returned, amount).Cmp(original.posted) > 0:
			return returnExceeds
		}
	}
	debits, credits := sum(sum(d.dp, d.db), amount), sum(sum(c.cp, c.cb), amount)
	switch {
	case d.flags&closed != 0:
		return debitClosed
	case c.flags&closed != 0:
		return creditClosed
	case d.flags&frozen != 0:
		return debitFrozen
	case c.flags&frozen != 0:
		return creditFrozen
	case debits.Cmp(largest) > 0 || credits.Cmp(largest) > 0:
		return amountOverflow
	case d.flags&debitsLimited != 0 && debits.Cmp(sum(d.cb, d.limit)) > 0 && d.limit.Sign() == 0:
		return insufficientFunds
	case d.flags&debitsLimited != 0 && debits.Cmp(sum(d.cb, d.limit)) > 0:
		return limitExceeded
	case c.flags&creditsLimited != 0 && credits.Cmp(sum(c.db, c.limit)) > 0:
		return creditLimitExceeded
	case s.c.timeout > math.MaxInt64-s.e.time:
		return timeOverflow
	}
	x := &thing{of: set, status: s.made(), index: s.index, ended: s.index, waited: s.c.pending, debit: t.debit, credit: t.credit,
		amount: amount, posted: new(big.Int), returned: new(big.Int), original: t.original}
	if s.c.timeout > 0 {
		x.expires = s.e.time + s.c.timeout
	}
	d, c = s.touch(t.debit), s.touch(t.credit)
	if s.c.pending {
		d.dp, c.cp = sum(d.dp, amount), sum(c.cp, amount)
	} else {
		d.db, c.cb, x.posted = sum(d.db, amount), sum(c.cb, amount), amount
	}
	if original != nil {
		original.returned = sum(original.returned, amount)
	}
	m.ids[t.id] = x
	if s.c.pending && set == "" {
		m.live[t.id] = x
	}
	return 0
}
