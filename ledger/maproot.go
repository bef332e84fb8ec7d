package ledger

import (
	"encoding/binary"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

const (
	recordMapRoot  = 3
	mapRootVersion = 1
	// mapRootOutcome is the size of the outcome of a record of the map root, in bytes: root, number
	// of accounts, index of the record before.
	mapRootOutcome = merkle.HashSize + 8 + 8
)

// MapRoot is what a record of the map root publishes. It commits to the records of all accounts as
// of size Index+1.
type MapRoot struct {
	Index    uint64 // of the record
	Root     merkle.Hash
	Accounts uint64
	// Previous is the index of the record of the map root before this one, 0 when there is none.
	Previous uint64
}

// WithMapRoot returns the batches of a block that a leader makes, with a record of the map root as
// the last one when the program is Mapped and a command of the block may change its map. The
// principal is the leader's. Every leader does so: a block without the record changes the map and
// publishes no root, and the next record publishes a root of everything.
//
// The record has an outcome that every replica computes (MapRoot). It is taken at the end of its
// block, alone in its batch, and when the map has changed since the record before. So records alone
// cause no records, and no leader can publish a false root. Callers cannot hand in records.
func WithMapRoot(p Program, principal string, batches []Batch) []Batch {
	if _, ok := p.(Mapped); !ok || !anyCommand(batches) {
		return batches
	}
	return append(batches, Batch{Principal: principal, Entries: []NewEntry{{Kind: KindRecord, Body: []byte{recordMapRoot, mapRootVersion}}}})
}

func anyCommand(batches []Batch) bool {
	for i := range batches {
		for j := range batches[i].Entries {
			if batches[i].Entries[j].Kind == KindCommand {
				return true
			}
		}
	}
	return false
}

// isMapRoot reports whether the body is that of a record of the map root.
func isMapRoot(body []byte) bool {
	return len(body) == 2 && body[0] == recordMapRoot && body[1] == mapRootVersion
}

// ParseMapRoot parses the entry with this index as a record of the map root. Every entry either is
// refused or is what WithMapRoot and the replicas have made.
func ParseMapRoot(index uint64, e *Entry) (MapRoot, error) {
	if e.Kind != KindRecord || !isMapRoot(e.Body) {
		return MapRoot{}, errors.Newf("entry %d is no record of the map root", index)
	}
	o := e.Outcome
	if len(o) != mapRootOutcome {
		return MapRoot{}, errors.Newf("entry %d: a map root of %d bytes, want %d", index, len(o), mapRootOutcome)
	}
	return mapRootOf(index, o), nil
}

func mapRootOf(index uint64, outcome []byte) MapRoot {
	return MapRoot{
		Index: index, Root: merkle.Hash(outcome),
		Accounts: binary.BigEndian.Uint64(outcome[merkle.HashSize:]), Previous: binary.BigEndian.Uint64(outcome[merkle.HashSize+8:]),
	}
}

func (r *MapRoot) outcome() []byte {
	b := append(make([]byte, 0, mapRootOutcome), r.Root[:]...)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, r.Accounts), r.Previous)
}

// errMapUnchanged refuses a record of the map root that would say what the one before it says. It is
// not counted: a leader does not know yet what comes of the commands in its block.
var errMapUnchanged = errors.New("the map has not changed since the record before")

// acceptMapRoot gives a batch that begins with a record of the map root its outcome, when it is
// where such a record may be. at is its position in accepted.
func (d *decision) acceptMapRoot(entries []*BlockEntry, at int, index uint64) *RefusedError {
	l := d.l
	m := &l.applier.accounts
	switch {
	case m.program == nil:
		return l.refuse(&RefusedError{Reason: RefusedNotUnderstood, Err: ErrNotMapped})
	case !d.last || len(entries) > 1:
		return l.refuse(&RefusedError{Reason: RefusedNotUnderstood, Err: errors.New("a record of the map root stands at the end of its block, alone in its batch")})
	case len(m.changed) == 0 && (m.newest.published || m.tree.Len() == 0):
		return &RefusedError{Reason: RefusedNotUnderstood, Err: errMapUnchanged}
	case d.outcomeBytes+mapRootOutcome > MaxBlockOutcomes:
		return l.refuse(&RefusedError{Reason: RefusedTooLarge, Err: errors.New("the outcomes of the block leave no room for a map root")})
	}
	d.setRoot(index, true)
	d.outcomeBytes += mapRootOutcome
	d.setOutcome(at, d.root.outcome())
	return nil
}
