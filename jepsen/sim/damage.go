package sim

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	"github.com/cairnledger/cairn/ledger"
)

// damage is one flipped bit in a value of a store. It lasts until the value is
// written again.
type damage struct {
	key  string
	bit  int
	gone bool
}

// damagedKinds are the kinds of keys whose values the ledger proves or checks:
// blocks, their parts, tiles, checkpoints, position, identity. Idempotency
// records are not among them: the real store reads every table when it opens and
// refuses damage to them itself.
const damagedKinds = "bphcam"

// damageStore chooses a bit to flip in what the store holds of the groups; nil when that is
// nothing.
func damageStore(rng *rand.Rand, s ledger.Store, groups []*group) *damage {
	var keys []ledger.Pair
	for _, g := range groups {
		for _, kind := range []byte(damagedKinds) {
			prefix := append(binary.BigEndian.AppendUint64(nil, g.id), kind)
			key := prefix
			for range 200 {
				p, err := s.Seek(key, prefix)
				if err != nil {
					break
				}
				keys = append(keys, p)
				key = append(bytes.Clone(p.Key), 0)
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	p := keys[rng.IntN(len(keys))]
	if len(p.Value) == 0 {
		return nil
	}
	return &damage{key: string(p.Key), bit: rng.IntN(8 * len(p.Value))}
}

func (d *damage) apply(key, value []byte) []byte {
	if !d.gone && string(key) == d.key && d.bit/8 < len(value) {
		value[d.bit/8] ^= 1 << (d.bit % 8)
	}
	return value
}

// damagedStore is a store with a flipped bit.
type damagedStore struct {
	ledger.Store
	d *damage
}

func (s *damagedStore) Get(key []byte) ([]byte, error) {
	v, err := s.Store.Get(key)
	return s.d.apply(key, v), err
}

func (s *damagedStore) Seek(key, prefix []byte) (ledger.Pair, error) {
	p, err := s.Store.Seek(key, prefix)
	p.Value = s.d.apply(p.Key, p.Value)
	return p, err
}

func (s *damagedStore) SeekLast(key, prefix []byte) (ledger.Pair, error) {
	p, err := s.Store.SeekLast(key, prefix)
	p.Value = s.d.apply(p.Key, p.Value)
	return p, err
}

func (s *damagedStore) Scan(key, prefix []byte, limit int, visit func(key []byte) (take bool, next []byte)) ([]ledger.Pair, error) {
	pairs, err := s.Store.Scan(key, prefix, limit, visit)
	for i := range pairs {
		pairs[i].Value = s.d.apply(pairs[i].Key, pairs[i].Value)
	}
	return pairs, err
}

func (s *damagedStore) Commit(version uint64, pairs []ledger.Pair) error {
	for i := range pairs {
		s.d.gone = s.d.gone || string(pairs[i].Key) == s.d.key
	}
	return s.Store.Commit(version, pairs)
}
