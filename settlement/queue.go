package settlement

// Pairs that wait for an account stand in its queue: one chain for each priority, so the higher
// priority goes first, and within it the pair that began to wait for the account first.
//
// When an account has more room than before, the pairs that wait for it are tried again: a pass goes
// through the queue from its beginning. An entry that gives room only notes that a pass is due; the
// tries are made by an Advance, at most maxTriesOfAccount for one account and maxTries in all. What
// is left follows in the next one. A pair that is too large does not stand in the way of those
// behind it. Room that comes while a pass is under way begins it anew.
type queue struct {
	waiting uint64 // how many pairs wait
	// underway says that a pass is due or under way. There is a timer for it.
	underway bool
	rank     uint8  // of the next one to be tried; lower ones first
	next     string // the older instruction of the next one; "": the first one of the rank
}

const (
	maxTries          = 64
	maxTriesOfAccount = 32
)

func rankOf(p *pair) uint8 {
	return MaxPriority - max(p.older.value.Instruction.Priority, p.newer.value.Instruction.Priority)
}

const queueUnderway = 1

func (s *step) queueOf(account string) (q queue) {
	b, found := s.view.Get(rowKey(rowQueue, account))
	if !found {
		return queue{}
	}
	r := readerOf(b)
	q = queue{r.u64(), r.u8()&queueUnderway != 0, r.u8(), r.optionalID()}
	if err := r.end("queue of an account"); err != nil {
		panic(err)
	}
	return q
}

func (s *step) putQueue(account string, q queue) {
	b := append(appendU64(nil, q.waiting), boolByte(q.underway)*queueUnderway, q.rank)
	s.view.Put(rowKey(rowQueue, account), appendID(b, q.next))
}

// rank returns the chain of those in the queue of an account that have the same priority. An id has
// no byte 0.
func (s *step) rank(account string, rank uint8) chain {
	return chain{s.view, append(rowKey(rowWaiting, account), 0, rank)}
}

// allWaiting returns how many pairs wait for any account.
func (s *step) allWaiting() uint64 {
	b, found := s.view.Get([]byte{rowAllWaiting})
	if !found {
		return 0
	}
	r := readerOf(b)
	return r.u64()
}

func (s *step) putAllWaiting(n uint64) { s.view.Put([]byte{rowAllWaiting}, appendU64(nil, n)) }

// wait has a pair wait in the queue of an account. A pair that waits there already keeps its place.
func (s *step) wait(p *pair, account string, reason Reason) {
	if p.older.value.Instruction.Waits != account {
		s.leaveQueue(p)
		s.enterQueue(p, account)
	}
	status := Queued
	if !p.older.value.Instruction.settledNothing() {
		status = PartlySettled
	}
	s.setPair(p, status, reason)
}

func (i *Instruction) settledNothing() bool {
	return i.Delivers.Settled.IsZero() && i.Receives.Settled.IsZero()
}

func (s *step) enterQueue(p *pair, account string) {
	rank, id := rankOf(p), p.older.id
	s.rank(account, rank).join(id, s.in.Index)
	q := s.queueOf(account)
	q.waiting++
	if q.underway && rank < q.rank {
		q.rank, q.next = rank, id // the pass has gone by its place
	}
	s.putQueue(account, q)
	s.putAllWaiting(s.allWaiting() + 1)
	s.setWaits(p, account)
}

// leaveQueue takes a pair out of the queue in which it waits, if it waits in one.
func (s *step) leaveQueue(p *pair) {
	account, id := p.older.value.Instruction.Waits, p.older.id
	if account == "" {
		return
	}
	rank := rankOf(p)
	chain, q := s.rank(account, rank), s.queueOf(account)
	if q.next == id {
		if q.next = chain.after(id); q.next == "" {
			q.rank++
		}
	}
	chain.leave(id)
	q.waiting--
	s.putQueue(account, q)
	s.putAllWaiting(s.allWaiting() - 1)
	s.setWaits(p, "")
}

func (s *step) setWaits(p *pair, account string) {
	p.older.value.Instruction.Waits, p.newer.value.Instruction.Waits = account, account
	p.older.changed, p.newer.changed, p.changed = true, true, true
}

// relieve says that an account may have more room than before: those that wait for it are due to be
// tried, from the first one on.
func (s *step) relieve(account string) {
	q := s.queueOf(account)
	if q.waiting == 0 {
		return
	}
	if !q.underway {
		s.setTimer(queueTimer(s.now(), account))
	}
	if !q.underway || q.rank != 0 || q.next != "" {
		q.underway, q.rank, q.next = true, 0, ""
		s.putQueue(account, q)
	}
}

// wake relieves the accounts to which an entry gave room.
func (s *step) wake(accounts []*item[Account]) {
	if len(accounts) == 0 || s.allWaiting() == 0 {
		return
	}
	for _, row := range accounts {
		b, found := s.view.Get(rowKey(rowAccount, row.id))
		if !found || s.queueOf(row.id).waiting == 0 {
			continue
		}
		before, err := parseAccountRow(b)
		if err != nil {
			panic(err)
		}
		if roomier(before, row.value) {
			s.relieve(row.id)
		}
	}
}

// roomier reports whether an account may take a transfer that it did not take before. To be closed
// counts, too: who waits for the account does so in vain.
func roomier(before, after *Account) bool {
	b, a := &before.Balances, &after.Balances
	switch {
	case after.Flags.Has(Closed), before.Flags.Has(Frozen) && !after.Flags.Has(Frozen):
		return true
	case a.debits().Cmp(b.debits()) < 0, a.credits().Cmp(b.credits()) < 0:
		return true
	case after.Flags.Has(DebitsLimited):
		return debitRoom(after).Cmp(debitRoom(before)) > 0
	case after.Flags.Has(CreditsLimited):
		return creditRoom(after).Cmp(creditRoom(before)) > 0
	}
	return false
}

// debitRoom returns how much an account may still be debited with.
func debitRoom(a *Account) Amount {
	most := MaxAmount
	if a.Flags.Has(DebitsLimited) {
		most = a.Balances.CreditsPosted.addCapped(a.Limit)
	}
	return most.subFloored(a.Balances.debits())
}

// creditRoom returns how much an account may still be credited with.
func creditRoom(a *Account) Amount {
	most := MaxAmount
	if a.Flags.Has(CreditsLimited) {
		most = a.Balances.DebitsPosted.addCapped(a.Limit)
	}
	return most.subFloored(a.Balances.credits())
}

// subFloored returns a - b, or 0 where b is greater.
func (a Amount) subFloored(b Amount) Amount {
	if rest, ok := a.Sub(b); ok {
		return rest
	}
	return Amount{}
}

// retry goes on with the pass through the queue of an account. It reports whether the pass is at its
// end.
func (s *step) retry(account string) (done bool) {
	for range maxTriesOfAccount {
		q := s.queueOf(account)
		if !q.underway {
			return true
		}
		for ; q.next == "" && q.rank <= MaxPriority; q.rank++ {
			if q.next = s.rank(account, q.rank).first(); q.next != "" {
				break
			}
		}
		if q.next == "" {
			q.underway, q.rank = false, 0
			s.putQueue(account, q)
			return true
		}
		if s.tries == 0 || !s.afford(maxPairOutcome) {
			return false
		}
		s.tries--
		p := s.pairOf(s.state(q.next))
		if q.next = s.rank(account, q.rank).after(q.next); q.next == "" {
			q.rank++
		}
		s.putQueue(account, q)
		if s.pairIsOver(p) {
			s.endPair(p, Expired, InstructionExpired)
		} else {
			s.proceed(p, true)
		}
		if p.changed {
			s.pairResults(p, p.older)
		}
	}
	return false
}
