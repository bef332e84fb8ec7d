package ledger

import (
	"crypto/sha256"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle/accountmap"
)

// AccountProof is what the map of accounts says about one account below one published map root.
type AccountProof struct {
	MapRoot
	Present bool
	Record  []byte // nil when the account is not in the map
	Proof   accountmap.Proof
}

var (
	// ErrNotMapped says that the ledger's program keeps no map of accounts.
	ErrNotMapped = errors.New("the ledger's program keeps no map of accounts")
	// ErrNoMapRoot says that no entry below the size publishes a map root.
	ErrNoMapRoot = errors.New("no entry publishes a map root yet")
)

// MapRootAt returns the newest map root that an entry below a size publishes. Errors: ErrNotMapped,
// ErrNoMapRoot, *NotFoundError for a size beyond the head, *CorruptError.
func (l *Ledger) MapRootAt(size uint64) (MapRoot, error) {
	r, _, err := l.rootAt(size)
	return r.MapRoot, err
}

// rootAt returns the newest published root below a size, and whether the map has not changed since
// then.
func (l *Ledger) rootAt(size uint64) (r mapRoot, newest bool, err error) {
	if head := l.Head(); size > head.Size {
		return r, false, &NotFoundError{Index: size, Size: head.Size}
	}
	if l.applier.accounts.program == nil {
		return r, false, ErrNotMapped
	}
	r, found, err := l.newestMapRoot(size)
	switch {
	case err != nil || r.published:
		return r, true, err
	case !found || r.Previous == 0:
		return r, false, ErrNoMapRoot
	}
	index := r.Previous
	if r, found, err = l.newestMapRoot(index + 1); err == nil && (!found || r.Index != index || !r.published) {
		err = &CorruptError{What: "map root", Index: index, Err: errors.New("it is missing")}
	}
	return r, false, err
}

// NewestMapProof returns the record of an account and its proof below the newest map root. It waits
// for the blocks that are being applied, and costs some microseconds. Whoever wants to show the
// proof to others waits until the record that publishes the root is sealed. Errors: those of MapProof.
func (l *Ledger) NewestMapProof(account []byte) (*AccountProof, error) {
	p, size, err := l.liveProof(account, nil)
	if p == nil && err == nil {
		return l.MapProof(size, account)
	}
	return p, err
}

// liveProof returns the proof below the newest map root out of the map that the applier keeps, and
// the size of the head. The proof is nil when that map's root is published by no entry, or, unless
// index is nil, not by this one.
func (l *Ledger) liveProof(account []byte, index *uint64) (p *AccountProof, size uint64, err error) {
	l.applier.Lock()
	defer l.applier.Unlock()
	m := &l.applier.accounts
	size = l.Head().Size
	// After an error the map may be ahead of what is committed.
	if l.Err() != nil || m.tree == nil || !m.newest.published || index != nil && *index != m.newest.Index {
		return nil, size, nil
	}
	p = &AccountProof{MapRoot: m.newest.MapRoot, Proof: m.tree.Prove(accountmap.KeyOf(m.origin, account))}
	p.setRecord(m.program, m.rows.newest(m.row(account)))
	return p, size, p.check(size)
}

func (p *AccountProof) setRecord(program Mapped, r *row) {
	if !r.absent {
		p.Record, p.Present = slices.Clone(program.MapRecord(r.value)), true
	}
}

// check compares the record with its proof.
func (p *AccountProof) check(size uint64) error {
	if present := p.Proof.End == accountmap.EndsAtAccount; present != p.Present || present && p.Proof.Record != sha256.Sum256(p.Record) {
		return &CorruptError{What: "record of an account", Index: size, Err: errors.New("the map has another one")}
	}
	return nil
}

// MapProof returns the record of an account and its proof below the newest map root that an entry
// below a size publishes (MapRootAt). For a root that is not the newest the map is built anew from
// the rows, about a second for each million accounts, unless it is one of the two that were used
// last. Errors: those of MapRootAt, ErrStateGone when the state is not kept any more, and
// *BusyError while another map is built.
func (l *Ledger) MapProof(size uint64, account []byte) (*AccountProof, error) {
	r, newest, err := l.rootAt(size)
	if err != nil {
		return nil, err
	}
	if p, _, err := l.liveProof(account, &r.Index); p != nil || err != nil {
		return p, err
	}
	state, err := l.stateOf(r, newest, size)
	if err != nil {
		return nil, err
	}
	past, err := l.pastMap(state.size)
	if err != nil {
		return nil, err
	}
	m := &l.applier.accounts
	p := &AccountProof{MapRoot: r.MapRoot, Proof: past.tree.Prove(accountmap.KeyOf(m.origin, account))}
	p.setRecord(m.program, past.row(m.row(account)))
	return p, p.check(state.size)
}

// stateOf returns a state that has the records which a root commits to: that at the end of the
// root's block, or the one of the size when the map has not changed between the two.
func (l *Ledger) stateOf(r mapRoot, newest bool, size uint64) (State, error) {
	s := State{l, r.Index + 1} // the record is the last entry of its block
	if err := s.kept(); err == nil || !newest {
		return s, err
	}
	return l.StateAt(size)
}

// SizeAt returns how many entries have this time, in µs since the Unix epoch, or an earlier one. It
// reads some twenty blocks. Errors: *CorruptError.
func (l *Ledger) SizeAt(time int64) (uint64, error) {
	return sizeAt(l.store, l.keys, time, 0, l.Head().Size)
}
