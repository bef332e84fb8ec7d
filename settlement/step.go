package settlement

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// list has the rows of one kind that an entry read or made.
type list[T any] struct {
	rows []*item[T]
	// byID is for lists that have become long. Invariant: it is empty, or has all rows.
	byID map[string]*item[T]
	// chunk has room for rows, of which the first used are taken.
	chunk     []item[T]
	used      int
	different []*item[T] // room for changes
}

// item is one of them. A row that the state does not have is nil.
type item[T any] struct {
	id      string
	value   *T
	changed bool
	room    T // for the value
}

const (
	// manyRows is from how many rows on a list is searched by a map.
	manyRows = 12
	// fewRows is how many rows a list has room for at first: an entry with one transfer has two
	// accounts.
	fewRows = 2
	// keptRows is how much room a list keeps for the next entry.
	keptRows = 1024
)

func (l *list[T]) find(id string) *item[T] {
	if len(l.byID) > 0 {
		return l.byID[id]
	}
	for _, r := range l.rows {
		if r.id == id {
			return r
		}
	}
	return nil
}

// add adds a row that is not in the list.
func (l *list[T]) add(id string) *item[T] {
	if l.used == len(l.chunk) {
		l.chunk, l.used = make([]item[T], max(fewRows, 2*len(l.chunk))), 0
	}
	r := &l.chunk[l.used]
	l.used++
	r.id = id
	l.rows = append(l.rows, r)
	switch {
	case len(l.byID) > 0:
		l.byID[r.id] = r
	case len(l.rows) == manyRows:
		if l.byID == nil {
			l.byID = make(map[string]*item[T])
		}
		for _, r := range l.rows {
			l.byID[r.id] = r
		}
	}
	return r
}

// reset empties the list for the next entry.
func (l *list[T]) reset() {
	if len(l.chunk) > keptRows {
		*l = list[T]{}
		return
	}
	clear(l.chunk[:l.used])
	clear(l.rows)
	clear(l.byID)
	clear(l.different)
	l.used, l.rows, l.different = 0, l.rows[:0], l.different[:0]
}

// snapshot is what the rows of a list were.
type snapshot[T any] struct {
	values  []*T
	changed []bool
}

func (l *list[T]) save() (s snapshot[T]) {
	for _, r := range l.rows {
		value := r.value
		if value != nil {
			v := *value
			value = &v
		}
		s.values, s.changed = append(s.values, value), append(s.changed, r.changed)
	}
	return s
}

// restore takes back every change since the snapshot. Rows that were read since then are forgotten.
func (l *list[T]) restore(s snapshot[T]) {
	for i, r := range l.rows[:len(s.values)] {
		r.value, r.changed = s.values[i], s.changed[i]
	}
	for _, r := range l.rows[len(s.values):] {
		delete(l.byID, r.id)
	}
	l.rows = l.rows[:len(s.values)]
}

// changes returns the rows that changed, ascending by id. They are valid until the next call.
func (l *list[T]) changes() []*item[T] {
	changed := l.different[:0]
	for _, r := range l.rows {
		if r.changed {
			changed = append(changed, r)
		}
	}
	slices.SortFunc(changed, func(a, b *item[T]) int { return cmp.Compare(a.id, b.id) })
	l.different = changed
	return changed
}

// finish writes what the entry changed and returns its outcome.
func (s *step) finish() []byte {
	accounts := s.accounts.changes()
	if !s.advancing { // an Advance has said already where it gave room
		s.wake(accounts)
	}
	room := s.out.size()
	for _, r := range accounts {
		room += touchedSize + len(r.id)
	}
	outcome := s.out.appendResults(make([]byte, 0, room))
	var digest [sha256.Size]byte
	if len(accounts) > 0 {
		s.value = append(append(s.value[:0], s.in.Encoded...), outcome...)
		digest = sha256.Sum256(s.value)
	}
	outcome = binary.BigEndian.AppendUint16(outcome, uint16(len(accounts)))
	for _, r := range accounts {
		d := r.value.extend(s.in.Index, digest)
		outcome = append(appendID(outcome, r.id), r.value.Head[:]...)
		s.value = d.Append(s.value[:0])
		s.view.Keep(s.value)
		s.value = r.value.appendRow(s.value[:0])
		s.view.Put(s.key(rowAccount, r.id), s.value)
	}
	for _, r := range s.states.changes() {
		s.value = r.value.append(s.value[:0])
		s.view.Put(s.key(rowTransfer, r.id), s.value)
	}
	s.writeTimers()
	return outcome
}

// key returns the key of a row. It is valid until the next call: a View copies it.
func (s *step) key(kind byte, id string) []byte {
	s.keyRoom = append(append(s.keyRoom[:0], kind), id...)
	return s.keyRoom
}

func (s *step) result(r Result) { s.out.Results = append(s.out.Results, r) }

func (s *step) reject(reason Reason) { s.result(Result{Status: Rejected, Reason: reason}) }

// account returns an account as the entries before and this one left it; nil when there is none.
// Whoever changes it says so.
func (s *step) account(id string) *item[Account] {
	r := s.accounts.find(id)
	if r == nil {
		r = s.accounts.add(id)
		if b, found := s.view.Get(s.key(rowAccount, id)); found {
			r.value = &r.room
			if err := r.value.parseRow(shared(b)); err != nil {
				panic(err)
			}
		}
	}
	if r.value == nil {
		return nil
	}
	return r
}

// addAccount makes an account that does not exist.
func (s *step) addAccount(a *Account) {
	r := s.accounts.find(a.ID)
	r.value, r.changed = a, true
}

// state returns what the ledger knows of an id; nil when the id is not used.
func (s *step) state(id string) *item[State] {
	r := s.states.find(id)
	if r == nil {
		r = s.states.add(id)
		if b, found := s.view.Get(s.key(rowTransfer, id)); found {
			r.value = &r.room
			if err := r.value.parse(shared(b)); err != nil {
				panic(err)
			}
		}
	}
	if r.value == nil {
		return nil
	}
	return r
}

// newState returns a state for an id that is not used. addState uses the id.
func (s *step) newState(id string, state State) *State {
	r := s.states.find(id)
	r.room = state
	return &r.room
}

// addState uses an id that is not used.
func (s *step) addState(id string, state *State) {
	r := s.states.find(id)
	r.value, r.changed = state, true
}

func (s *step) asset(id string) (a asset, found bool) {
	b, found := s.view.Get(rowKey(rowAsset, id))
	if !found {
		return asset{}, false
	}
	a, err := parseAsset(b)
	if err != nil {
		panic(err)
	}
	return a, true
}

// owns reports whether the caller may debit an account and see it.
func (s *step) owns(account string) bool {
	if s.command.Operator {
		return true
	}
	return s.isOwner(string(s.in.Principal), account)
}

// isOwner reports whether a name is among the owners of an account.
func (s *step) isOwner(name, account string) bool {
	b, _ := s.view.Get(s.key(rowOwners, account))
	owners, err := parseOwners(b)
	if err != nil {
		panic(err)
	}
	_, found := slices.BinarySearch(owners, name)
	return found
}

// repeated answers a command whose id is used: with what came of it when it is the same one, else
// with a conflict.
func repeated(known *State, digest Digest) Result {
	if known.Digest == digest {
		return Result{Status: Exists, Index: known.Index}
	}
	return Result{Status: Conflict, Index: known.Index}
}
