package settlement

import (
	"slices"

	"github.com/cockroachdb/errors"
)

// Reader reads the state of a ledger as of one size; ledger.State is one. Its errors are passed on.
type Reader interface {
	// Size is the size of the ledger that the state is of.
	Size() uint64
	Get(key []byte) (value []byte, found bool, err error)
	Range(from, to []byte, each func(key, value []byte) bool) error
}

// ErrUnknown says that there is no account, asset, transfer or set of this id as of the size.
var ErrUnknown = errors.New("not known to the ledger as of this size")

// ReadAccount returns an account and its owners. Its errors: ErrUnknown, the reader's.
func ReadAccount(r Reader, id string) (*Account, []string, error) {
	b, err := get(r, rowAccount, id)
	if err != nil {
		return nil, nil, err
	}
	a, err := parseAccountRow(b)
	if err != nil {
		return nil, nil, err
	}
	owners, err := ReadOwners(r, id)
	return a, owners, err
}

// ReadOwners returns the owners of an account, none when it has none or does not exist.
func ReadOwners(r Reader, id string) ([]string, error) {
	b, err := get(r, rowOwners, id)
	if errors.Is(err, ErrUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseOwners(b)
}

// Owns reports whether a principal owns an account.
func Owns(r Reader, principal, account string) (bool, error) {
	owners, err := ReadOwners(r, account)
	return slices.Contains(owners, principal), err
}

func get(r Reader, kind byte, id string) ([]byte, error) {
	b, found, err := r.Get(rowKey(kind, id))
	if err == nil && !found {
		err = ErrUnknown
	}
	return b, err
}

// Asset is an asset as of a size.
type Asset struct {
	ID    string
	Scale uint8
	Index uint64 // of the entry that created it
}

// ReadAsset returns an asset. Its errors: ErrUnknown, the reader's.
func ReadAsset(r Reader, id string) (Asset, error) {
	b, err := get(r, rowAsset, id)
	if err != nil {
		return Asset{}, err
	}
	a, err := parseAsset(b)
	return Asset{id, a.scale, a.index}, err
}

// ReadTransfer returns what became of a transfer or a set: one record, whether or not it was pending
// once. Its errors: ErrUnknown, the reader's.
func ReadTransfer(r Reader, id string) (*State, error) {
	state, err := readState(r, id)
	if err == nil && !state.kind.transfers() {
		return nil, ErrUnknown
	}
	return state, err
}

func readState(r Reader, id string) (*State, error) {
	b, err := get(r, rowTransfer, id)
	if err != nil {
		return nil, err
	}
	return parseState(b)
}

// Transfers calls each with the transfers and sets whose ids begin with prefix and are greater than
// after, ascending, as long as it returns true.
func Transfers(r Reader, prefix, after string, each func(id string, state *State) bool) error {
	from := rowKey(rowTransfer, prefix)
	if after >= prefix && after != "" {
		from = append(rowKey(rowTransfer, after), 0)
	}
	var failed error
	err := r.Range(from, behind(rowKey(rowTransfer, prefix)), func(key, value []byte) bool {
		state, err := parseState(value)
		if failed = err; err != nil {
			return false
		}
		return !state.kind.transfers() || each(string(key[1:]), state)
	})
	return errors.CombineErrors(err, failed)
}

// behind returns the first key behind all that begin with b, whose last byte is not 0xff.
func behind(b []byte) []byte {
	b[len(b)-1]++
	return b
}

// IsSet reports whether the state is that of a set.
func (s *State) IsSet() bool { return s.kind == kindSet }

// Accounts calls each with the accounts whose ids are greater than after, ascending, as long as it
// returns true.
func Accounts(r Reader, after string, each func(*Account) bool) error {
	return scan(r, rowAccount, after, func(_ string, value []byte) (bool, error) {
		a, err := parseAccountRow(value)
		return err == nil && each(a), err
	})
}

// Assets calls each with the assets whose ids are greater than after, ascending, as long as it
// returns true.
func Assets(r Reader, after string, each func(Asset) bool) error {
	return scan(r, rowAsset, after, func(id string, value []byte) (bool, error) {
		a, err := parseAsset(value)
		return err == nil && each(Asset{id, a.scale, a.index}), err
	})
}

func scan(r Reader, kind byte, after string, each func(id string, value []byte) (bool, error)) error {
	from := rowKey(kind, after)
	if after != "" {
		from = append(from, 0)
	}
	var failed error
	err := r.Range(from, []byte{kind + 1}, func(key, value []byte) bool {
		more, err := each(string(key[1:]), value)
		failed = err
		return more
	})
	return errors.CombineErrors(err, failed)
}

// Hold is a reservation: a pending transfer or set, or one that expired.
type Hold struct {
	ID      string
	Expires int64 // ledger time in µs; 0: never
	State   *State
}

// Holds calls each with the reservations that are pending, or with those that expired, in the order
// of their times and ids, as long as it returns true: those behind after, up to the time until; 0 is
// for ever. Those that never expire come last.
func Holds(r Reader, expired bool, after *Hold, until int64, each func(Hold) bool) error {
	from := reservations.first()
	if after != nil {
		from = append(holdTimer(after.Expires, after.ID).key(), 0)
	}
	to := reservations.end()
	if until > 0 {
		to = timer{reservations, until, ""}.key()
	}
	want := Pending
	if expired {
		want = Expired
	}
	var failed error
	err := r.Range(from, to, func(key, value []byte) bool {
		if len(value) == 0 {
			return true
		}
		t := reservations.parse(key)
		state, err := ReadTransfer(r, t.id)
		if err != nil {
			failed = errors.Wrapf(err, "the reservation %s", t.id)
			return false
		}
		return state.Status != want || each(Hold{t.id, state.Expires, state})
	})
	return errors.CombineErrors(err, failed)
}
