package settle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"slices"

	"github.com/cockroachdb/errors"
)

// extend chains an entry to the accounts that it touched, puts their heads into its outcome, and
// makes its detail: of each account the head before, the blind and the line. encoded is the entry
// without its outcome.
func (m *Model) extend(s *step, encoded []byte, o *outcome) {
	digest := sha256.Sum256(append(bytes.Clone(encoded), o.encodeResults()...))
	m.detail = nil
	for _, l := range s.lines {
		a := m.accounts[l.account]
		index := binary.BigEndian.AppendUint64(nil, s.index)
		blind := sha256.Sum256(slices.Concat([]byte{6}, a.key[:], index))
		m.detail = slices.Concat(m.detail, a.head[:], blind[:], l.encode())
		a.head = sha256.Sum256(slices.Concat([]byte{4}, a.head[:], index, digest[:], blind[:], l.encode()))
		o.touched = append(o.touched, touched{l.account, a.head})
	}
	if len(s.before) > 0 && !m.stale {
		m.stale, m.uncovered = true, s.index
	}
}

// record is what the map of accounts commits to.
func (a *account) record() []byte {
	b := append([]byte{1, byte(len(a.id))}, a.id...)
	b = append(append(b, byte(len(a.asset))), a.asset...)
	b = append(b, byte(a.scale), a.flags)
	for _, n := range []*big.Int{a.limit, a.dp, a.db, a.cp, a.cb} {
		b = append(b, n.FillBytes(make([]byte, 16))...)
	}
	b = binary.BigEndian.AppendUint64(b, a.seq)
	b = binary.BigEndian.AppendUint64(b, a.last)
	return append(b, a.head[:]...)
}

// Detail is what shows the outcome of the newest leaf: for each account that the entry touched,
// ascending by id, the head before it, the blind and the line.
func (m *Model) Detail() []byte { return m.detail }

// Rows returns what a replica keeps of each account, by its id: the record and the key.
func (m *Model) Rows() map[string][]byte {
	all := m.Records()
	for id, a := range m.accounts {
		all[id] = append(all[id], a.key[:]...)
	}
	return all
}

// Records returns the records of all accounts, by their ids: what the map of accounts commits to.
func (m *Model) Records() map[string][]byte {
	all := map[string][]byte{}
	for id, a := range m.accounts {
		all[id] = a.record()
	}
	return all
}

// mapLeaf is an account in the map.
type mapLeaf struct {
	key  [32]byte
	hash [32]byte
}

// mapRoot computes the root of the map of all accounts, from nothing.
func (m *Model) mapRoot() [32]byte {
	leaves := make([]mapLeaf, 0, len(m.accounts))
	for id, a := range m.accounts {
		leaves = append(leaves, leafOf(keyOf(m.origin, id), sha256.Sum256(a.record())))
	}
	return rootOf(leaves, 0)
}

func keyOf(origin, account string) [32]byte {
	key := binary.BigEndian.AppendUint16(nil, uint16(len(origin)))
	return sha256.Sum256(append(append(key, origin...), account...))
}

func leafOf(key, record [32]byte) mapLeaf {
	return mapLeaf{key, sha256.Sum256(slices.Concat([]byte{2}, key[:], record[:]))}
}

func bitOf(key *[32]byte, n int) byte { return key[n/8] >> (7 - n%8) & 1 }

// rootOf returns the hash of a part of the map whose keys agree in the bits before from.
func rootOf(leaves []mapLeaf, from int) [32]byte {
	switch len(leaves) {
	case 0:
		return sha256.Sum256([]byte{5})
	case 1:
		return leaves[0].hash
	}
	var halves [2][]mapLeaf
	for i := range leaves {
		bit := bitOf(&leaves[i].key, from)
		halves[bit] = append(halves[bit], leaves[i])
	}
	if len(halves[0]) == 0 || len(halves[1]) == 0 {
		return rootOf(leaves, from+1)
	}
	left, right := rootOf(halves[0], from+1), rootOf(halves[1], from+1)
	return sha256.Sum256(slices.Concat([]byte{3, byte(from)}, left[:], right[:]))
}

// record compares the root that a record of the ledger publishes with that of all accounts.
func (m *Model) record(index uint64, e *entry) error {
	got, err := decodeRoot(e)
	if got == nil || err != nil {
		return err
	}
	want := mapRoot{root: m.mapRoot(), accounts: uint64(len(m.accounts)), previous: m.rootAt}
	changed := m.stale
	m.counts.Roots++
	m.rootAt, m.stale = index, false
	switch {
	case *got != want:
		return errors.Newf("it publishes the root %x of %d accounts, the record before is entry %d; by its records the root is %x, of %d accounts, and the record before entry %d",
			got.root, got.accounts, got.previous, want.root, want.accounts, want.previous)
	case !changed:
		return errors.New("it publishes the root of a map that has not changed since the record before")
	}
	return nil
}

// covered says whether a root covers what the accounts have at the end of a block. The entries of a
// block have one time, so a block ends at the latest where the time changes.
func (m *Model) covered() error {
	if m.stale {
		return errors.Newf("no root of the map covers entry %d, which changed accounts, although its block has ended", m.uncovered)
	}
	return nil
}
