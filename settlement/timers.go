package settlement

import (
	"bytes"
	"math"
	"slices"

	"github.com/cairnledger/cairn/ledger"
)

// A timer is a row whose key begins with the ledger time at which something is due, so that rows
// are in the order in which they are due. A timer that is not needed any more gets an empty value.
// The cursor of an agenda says where to begin to read it.
// Invariant: what a timer below the cursor was for is done.
type timer struct {
	agenda agenda
	at     int64 // ledger time in µs; 0: there is no such timer
	// id is that of the transfer or set whose reservation expires; on the agenda dues a kind comes
	// first, and the id is of an instruction or an account.
	id string
}

// agenda is a list of timers: the first byte of the keys of its rows, and the key of its cursor.
type agenda struct{ row, cursor byte }

// Every reservation stands in reservations, so that they can be listed; one that never expires has
// the time never. The row of a reservation that expired stays as it is: it lists what timed out. Of
// dues a row is live as long as something is to be done.
var (
	reservations = agenda{rowTimer, rowCursor}
	dues         = agenda{rowDue, rowDueCursor}
)

// The kinds of what is due about instructions. At one time, lower ones come first.
const (
	dueExpiry  = 1 // id of an instruction
	dueDate    = 2 // id of the older one of a pair, whose settlement date begins
	dueRematch = 3 // id of an instruction, which looks for a match once more
	dueQueue   = 4 // id of an account, whose queue is tried
)

// never is the time of a timer that is never due.
const never = math.MaxInt64

// holdTimer returns the timer of a reservation.
func holdTimer(expires int64, id string) timer {
	if expires == 0 {
		expires = never
	}
	return timer{reservations, expires, id}
}

func dueTimer(at int64, kind byte, id string) timer {
	return timer{dues, at, string(rune(kind)) + id}
}

func expiryTimer(row *item[State]) timer { return dueTimer(row.value.Expires, dueExpiry, row.id) }

func dateTimer(d Date, id string) timer { return dueTimer(d.Begin(), dueDate, id) }

func rematchTimer(at int64, id string) timer { return dueTimer(at, dueRematch, id) }

func queueTimer(at int64, account string) timer { return dueTimer(at, dueQueue, account) }

func (t timer) key() []byte {
	return append(appendU64([]byte{t.agenda.row}, uint64(t.at)), t.id...)
}

func (a agenda) parse(key []byte) timer {
	r := readerOf(key[1:])
	return timer{a, int64(r.u64()), r.s}
}

func (a agenda) first() []byte { return []byte{a.row} }

func (a agenda) end() []byte { return []byte{a.row + 1} }

var liveTimer = []byte{1}

// maxDead bounds how many timers that are neither live nor due one entry passes.
const maxDead = 16

// maxPassed bounds how many timers one entry passes, live or not.
const maxPassed = 1024

// now returns the entry's time as that of a timer that is due at once.
func (s *step) now() int64 { return max(1, s.in.Time) }

// later returns the time of a timer that is due after all that are due now.
func (s *step) later() int64 { return min(never-1, s.now()) + 1 }

func (s *step) cursor(a agenda) []byte {
	if b, found := s.view.Get([]byte{a.cursor}); found {
		return b
	}
	return a.first()
}

func (s *step) setTimer(t timer) {
	if t.at > 0 {
		s.timers = append(s.timers, t)
	}
}

// writeTimers writes the timers that the entry set.
func (s *step) writeTimers() {
	for _, a := range []agenda{reservations, dues} {
		var lowest []byte
		for _, t := range s.timers {
			if t.agenda != a {
				continue
			}
			key := t.key()
			s.view.Put(key, liveTimer)
			if lowest == nil || bytes.Compare(key, lowest) < 0 {
				lowest = key
			}
		}
		if lowest != nil && bytes.Compare(lowest, s.cursor(a)) < 0 {
			s.view.Put([]byte{a.cursor}, lowest)
		}
	}
}

// clearTimer says that a timer is not needed any more.
func (s *step) clearTimer(t timer) {
	s.timers = slices.DeleteFunc(s.timers, func(set timer) bool { return set == t })
	key := t.key()
	if value, _ := s.view.Get(key); len(value) == 0 {
		return
	}
	s.view.Put(key, nil)
	if !s.advancing { // an Advance passes them in any case
		s.pass(t.agenda, 0, maxDead, nil)
	}
}

// pass moves the cursor of an agenda behind the timers that are due at now, as long as due returns
// true for them, and behind so many at most that are neither due nor live.
func (s *step) pass(a agenda, now int64, dead int, due func(timer) bool) {
	at := s.cursor(a)
	next, passed := at, 0
	var live []timer
	for key, value := range s.view.Range(at, a.end()) {
		t := a.parse(key)
		isDue, isLive := t.at <= now, len(value) > 0
		if !isDue && (isLive || dead == 0) || len(live) == maxDue || passed == maxPassed {
			break
		}
		passed++
		switch {
		case isLive:
			live = append(live, t)
		case !isDue:
			dead--
		}
		next = append(append(next[:0:0], key...), 0)
	}
	if due != nil && len(live) == 0 && passed < maxSkipped {
		return // nothing is due: an Advance that comes too early changes nothing
	}
	for _, t := range live {
		if !due(t) {
			next = t.key()
			break
		}
	}
	if !bytes.Equal(next, at) {
		s.view.Put([]byte{a.cursor}, next)
	}
}

// maxDue bounds how many timers one entry looks at.
const maxDue = 256

// advance does what is due at the entry's time, until the outcome is full or enough instructions were
// tried: reservations expire, in the order of their times and ids, and then what is due about
// instructions, in the order of times, kinds and ids.
func (s *step) advance() {
	if !s.in.ByNode() {
		s.reject(NotTheLeader)
		return
	}
	s.advancing, s.tries = true, maxTries
	s.pass(reservations, s.in.Time, 0, s.expireReservation)
	s.pass(dues, s.in.Time, 0, func(t timer) bool {
		done := s.due(t.id[0], t.id[1:])
		if done {
			s.view.Put(t.key(), nil)
		}
		return done
	})
}

func (s *step) expireReservation(t timer) bool {
	row := s.state(t.id)
	if row == nil || row.value.Status != Pending {
		return true
	}
	members := s.members(t.id, row.value)
	if !s.afford(len(members)*2*maxLine + resultSize + len(t.id)) {
		return false
	}
	s.release(t.id, row, members, Expired, make([]Amount, len(members)))
	s.result(Result{Status: Expired, ID: t.id, Index: row.value.Index})
	for _, m := range members {
		s.relieve(m.value.Debit)
		s.relieve(m.value.Credit)
	}
	return true
}

// due does what is due about an instruction or a queue. It returns false, and does nothing, when
// this entry has no room for it.
func (s *step) due(kind byte, id string) bool {
	if kind == dueQueue {
		if s.tries == 0 {
			return false
		}
		if !s.retry(id) {
			s.setTimer(queueTimer(s.later(), id))
		}
		return true
	}
	row := s.state(id)
	if row == nil || row.value.Status.Final() {
		return true
	}
	if s.tries == 0 || !s.afford(maxPairOutcome) {
		return false
	}
	s.tries--
	i := row.value.Instruction
	switch {
	case kind == dueExpiry && s.isOver(row.value):
		s.expire(row)
	case kind == dueRematch && i.Match == "":
		s.rematch(row)
	case kind == dueDate && i.Match != "":
		p := s.pairOf(row)
		if s.pairIsOver(p) {
			s.endPair(p, Expired, InstructionExpired)
		} else {
			s.proceed(p, false)
		}
		if p.changed {
			s.pairResults(p, p.older)
		}
	}
	return true
}

// afford reports whether an Advance has room for so many bytes more of outcome.
func (s *step) afford(n int) bool {
	n += s.out.size()
	for _, r := range s.accounts.rows {
		if r.changed {
			n += lineSize + len(r.id)
		}
	}
	return n <= outcomeHeader+maxAdvance
}

// maxSkipped bounds how many timers that are not live Work passes in one agenda.
const maxSkipped = 256

// Work implements ledger.Timed: the first timer is due. Where many timers that are not live stand
// before it, an Advance passes them when they would have been due.
func (Program) Work(state ledger.State) (at int64, command []byte, ok bool, err error) {
	at = never
	for _, a := range []agenda{reservations, dues} {
		first, err := a.next(state)
		if err != nil {
			return 0, nil, false, err
		}
		at = min(at, first)
	}
	if at == never {
		return 0, nil, false, nil
	}
	command, err = (&Command{Action: &Advance{}}).Marshal()
	return at, command, true, err
}

// next returns when an Advance has something to do for an agenda.
func (a agenda) next(state ledger.State) (at int64, err error) {
	from, found, err := state.Get([]byte{a.cursor})
	if err != nil {
		return 0, err
	}
	if !found {
		from = a.first()
	}
	at = never
	skipped := 0
	err = state.Range(from, timer{a, never, ""}.key(), func(key, value []byte) bool {
		skipped++
		if len(value) == 0 && skipped < maxSkipped {
			return true
		}
		at = a.parse(key).at
		return false
	})
	return at, err
}
