package settlement

import (
	"cmp"
	"crypto/sha256"
	"slices"
)

// list has the rows of one kind that an entry read or made.
type list[T any] struct {
	rows []*item[T]
	byID map[string]*item[T] // once there are many
}

// item is one of them. A row that the state does not have is nil.
type item[T any] struct {
	id      string
	value   *T
	changed bool
}

// manyRows is from how many rows on a list is searched by a map.
const manyRows = 12

func (l *list[T]) find(id string) *item[T] {
	if l.byID != nil {
		return l.byID[id]
	}
	for _, r := range l.rows {
		if r.id == id {
			return r
		}
	}
	return nil
}

func (l *list[T]) add(r *item[T]) *item[T] {
	l.rows = append(l.rows, r)
	switch {
	case l.byID != nil:
		l.byID[r.id] = r
	case len(l.rows) == manyRows:
		l.byID = make(map[string]*item[T])
		for _, r := range l.rows {
			l.byID[r.id] = r
		}
	}
	return r
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

// changes returns the rows that changed, ascending by id.
func (l *list[T]) changes() []*item[T] {
	var changed []*item[T]
	for _, r := range l.rows {
		if r.changed {
			changed = append(changed, r)
		}
	}
	slices.SortFunc(changed, func(a, b *item[T]) int { return cmp.Compare(a.id, b.id) })
	return changed
}

// finish writes what the entry changed and returns its outcome.
func (s *step) finish() []byte {
	accounts := s.accounts.changes()
	if !s.advancing { // an Advance has said already where it gave room
		s.wake(accounts)
	}
	for _, r := range accounts {
		a := r.value
		previous := a.Last
		if a.Sequence == 0 {
			previous = s.in.Index
		}
		s.out.Lines = append(s.out.Lines, Line{a.ID, a.Scale, a.Balances, a.Sequence + 1, previous})
	}
	outcome := s.out.Marshal()
	if len(accounts) > 0 {
		leaf := sha256.New()
		leaf.Write(s.in.Encoded)
		leaf.Write(outcome)
		digest := [sha256.Size]byte(leaf.Sum(nil))
		for i, r := range accounts {
			r.value.extend(s.in.Index, digest, &s.out.Lines[i])
			s.view.Put(rowKey(rowAccount, r.id), r.value.Marshal())
		}
	}
	for _, r := range s.states.changes() {
		s.view.Put(rowKey(rowTransfer, r.id), r.value.marshal())
	}
	s.writeTimers()
	return outcome
}

func (s *step) result(r Result) { s.out.Results = append(s.out.Results, r) }

func (s *step) reject(reason Reason) { s.result(Result{Status: Rejected, Reason: reason}) }

// account returns an account as the entries before and this one left it; nil when there is none.
// Whoever changes it says so.
func (s *step) account(id string) *item[Account] {
	r := s.accounts.find(id)
	if r == nil {
		r = s.accounts.add(&item[Account]{id: id})
		if b, found := s.view.Get(rowKey(rowAccount, id)); found {
			a, err := ParseAccount(b)
			if err != nil {
				panic(err)
			}
			r.value = a
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
		r = s.states.add(&item[State]{id: id})
		if b, found := s.view.Get(rowKey(rowTransfer, id)); found {
			state, err := parseState(b)
			if err != nil {
				panic(err)
			}
			r.value = state
		}
	}
	if r.value == nil {
		return nil
	}
	return r
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
	b, _ := s.view.Get(rowKey(rowOwners, account))
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
