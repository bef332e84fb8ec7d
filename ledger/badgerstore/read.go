package badgerstore

import (
	"bytes"
	"math"

	"github.com/cockroachdb/errors"
	badger "github.com/dgraph-io/badger/v4"

	"github.com/cairnledger/cairn/ledger"
)

// Get implements ledger.Store.
func (s *Store) Get(key []byte) (value []byte, err error) {
	defer recoverInto(&err, "read from the store")
	s.open.RLock()
	defer s.open.RUnlock()
	if s.open.closed {
		return nil, errClosed
	}
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, ledger.ErrKeyNotFound
	}
	if err != nil {
		return nil, errors.Wrap(err, "read from the store")
	}
	return copyValue(item)
}

// copyValue returns a copy of an item's value. A value in the value log may have been lost in a
// power failure although its key was not: then the error is a ledger.ErrValueLost.
func copyValue(item *badger.Item) (value []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.Newf("%v", r)
		}
		if err != nil {
			err = errors.Mark(errors.Wrap(err, "read from the value log"), ledger.ErrValueLost)
		}
	}()
	if value, err = item.ValueCopy(nil); err != nil {
		return nil, err
	}
	if len(value) == 0 && item.ValueSize() != 0 {
		// Badger logs why it cannot read a value, and returns none. Empty values never go to the
		// value log.
		return nil, errors.Newf("%d bytes are not readable", item.ValueSize())
	}
	if value == nil {
		value = []byte{}
	}
	return value, nil
}

// Seek implements ledger.Store.
func (s *Store) Seek(key, prefix []byte) (ledger.Pair, error) { return s.seek(key, prefix, false) }

// SeekLast implements ledger.Store.
func (s *Store) SeekLast(key, prefix []byte) (ledger.Pair, error) { return s.seek(key, prefix, true) }

func (s *Store) seek(key, prefix []byte, reverse bool) (p ledger.Pair, err error) {
	defer recoverInto(&err, "search the store")
	s.open.RLock()
	defer s.open.RUnlock()
	if s.open.closed {
		return ledger.Pair{}, errClosed
	}
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	o := badger.IteratorOptions{Reverse: reverse, Prefix: prefix}
	it := txn.NewIterator(o)
	defer it.Close()
	it.Seek(key)
	if !it.ValidForPrefix(prefix) {
		return ledger.Pair{}, ledger.ErrKeyNotFound
	}
	value, err := copyValue(it.Item())
	if err != nil {
		return ledger.Pair{}, err
	}
	return ledger.Pair{Key: it.Item().KeyCopy(nil), Value: value}, nil
}

// nearKeys is how many keys Scan steps over before it searches: a search costs about as much.
const nearKeys = 6

// Scan implements ledger.Store.
func (s *Store) Scan(key, prefix []byte, limit int, visit func(key []byte) (take bool, next []byte)) (pairs []ledger.Pair, err error) {
	defer recoverInto(&err, "scan the store")
	s.open.RLock()
	defer s.open.RUnlock()
	if s.open.closed {
		return nil, errClosed
	}
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	for it.Seek(key); len(pairs) < limit && it.ValidForPrefix(prefix); {
		take, next := true, []byte(nil)
		if visit != nil {
			take, next = visit(it.Item().Key())
		}
		if take {
			value, err := copyValue(it.Item())
			if err != nil {
				return nil, err
			}
			pairs = append(pairs, ledger.Pair{Key: it.Item().KeyCopy(nil), Value: value})
		}
		if next != nil && !bytes.HasPrefix(next, prefix) {
			break
		}
		it.Next()
		for steps := 1; next != nil && it.ValidForPrefix(prefix) && bytes.Compare(it.Item().Key(), next) < 0; steps++ {
			if steps == nearKeys {
				it.Seek(next)
				break
			}
			it.Next()
		}
	}
	return pairs, nil
}
