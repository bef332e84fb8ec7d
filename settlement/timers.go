package settlement

import (
	"bytes"
	"math"

	"github.com/cairnledger/cairn/ledger"
)

// A timer is a row whose key begins with the ledger time at which something is due, so that rows
// are in the order in which they are due. A timer that is not needed any more gets an empty value.
// The cursor says where to begin to read.
// Invariant: what a timer below the cursor was for is done.
// Every reservation has one, so that they can be listed; one that never expires has the time never.
// The row of a reservation that expired stays as it is: it lists what timed out.
type timer struct {
	at int64  // ledger time in µs
	id string // of the transfer or set whose reservation expires
}

// never is the time of a timer that is never due.
const never = math.MaxInt64

// holdTimer returns the timer of a reservation.
func holdTimer(expires int64, id string) timer {
	if expires == 0 {
		expires = never
	}
	return timer{expires, id}
}

func (t timer) key() []byte { return append(appendU64([]byte{rowTimer}, uint64(t.at)), t.id...) }

func parseTimer(key []byte) timer {
	r := reader{b: key[1:]}
	return timer{int64(r.u64()), string(r.b)}
}

var (
	firstTimer = []byte{rowTimer}
	endTimers  = []byte{rowTimer + 1}
	liveTimer  = []byte{1}
)

// maxDead bounds how many timers that are neither live nor due one entry passes.
const maxDead = 16

func (s *step) cursor() []byte {
	if b, found := s.view.Get([]byte{rowCursor}); found {
		return b
	}
	return firstTimer
}

// setTimers writes the timers that the entry set.
func (s *step) setTimers() {
	if len(s.timers) == 0 {
		return
	}
	lowest := s.cursor()
	for _, t := range s.timers {
		key := t.key()
		s.view.Put(key, liveTimer)
		if bytes.Compare(key, lowest) < 0 {
			lowest = key
		}
	}
	if !bytes.Equal(lowest, s.cursor()) {
		s.view.Put([]byte{rowCursor}, lowest)
	}
}

// clearTimer says that a timer is not needed any more.
func (s *step) clearTimer(t timer) {
	s.view.Put(t.key(), nil)
	s.pass(0, maxDead, nil)
}

// pass moves the cursor behind the timers that are due at now, as long as due returns true for
// them, and behind so many at most that are neither due nor live.
func (s *step) pass(now int64, dead int, due func(timer) bool) {
	at := s.cursor()
	next := at
	var live []timer
	for key, value := range s.view.Range(at, endTimers) {
		t := parseTimer(key)
		isDue, isLive := t.at <= now, len(value) > 0
		if !isDue && (isLive || dead == 0) || len(live) == maxDue {
			break
		}
		switch {
		case isLive:
			live = append(live, t)
		case !isDue:
			dead--
		}
		next = append(append(next[:0:0], key...), 0)
	}
	for _, t := range live {
		if !due(t) {
			next = t.key()
			break
		}
	}
	if !bytes.Equal(next, at) {
		s.view.Put([]byte{rowCursor}, next)
	}
}

// maxDue bounds how many timers one entry looks at.
const maxDue = 256

// advance lets reservations expire that are due at the entry's time, in the order of their times and
// ids, until the outcome is full.
func (s *step) advance() {
	if !s.in.ByNode() {
		s.reject(NotTheLeader)
		return
	}
	room := maxAdvance
	s.pass(s.in.Time, 0, func(t timer) bool {
		row := s.state(t.id)
		if row == nil || row.value.Status != Pending {
			return true
		}
		members := s.members(t.id, row.value)
		if room -= len(members)*2*maxLine + resultSize + len(t.id); room < 0 {
			return false
		}
		s.release(t.id, row, members, Expired, make([]Amount, len(members)))
		s.result(Result{Status: Expired, ID: t.id, Index: row.value.Index})
		return true
	})
}

// maxSkipped bounds how many timers that are not live Work passes.
const maxSkipped = 256

// Work implements ledger.Timed: the first reservation that ends is due. Where many timers that are
// not live stand before it, an Advance passes them when they would have been due.
func (Program) Work(state ledger.State) (at int64, command []byte, ok bool, err error) {
	from := firstTimer
	if b, found, err := state.Get([]byte{rowCursor}); err != nil {
		return 0, nil, false, err
	} else if found {
		from = b
	}
	skipped := 0
	err = state.Range(from, timer{never, ""}.key(), func(key, value []byte) bool {
		at = parseTimer(key).at
		skipped++
		ok = len(value) > 0 || skipped == maxSkipped
		return !ok
	})
	if err != nil || !ok {
		return 0, nil, false, err
	}
	command, err = (&Command{Action: &Advance{}}).Marshal()
	return at, command, true, err
}
