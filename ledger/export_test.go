package ledger

import (
	"encoding/binary"
	"hash/crc32"
)

func putCRC(raw []byte) {
	end := len(raw) - blockCRCSize
	binary.BigEndian.PutUint32(raw[end:], crc32.Checksum(raw[:end], castagnoli))
}

// BlockOf returns the memory of the cached block that holds an entry.
func BlockOf(l *Ledger, index uint64) ([]byte, error) {
	r, err := l.record(index)
	if err != nil {
		return nil, err
	}
	return r.raw, nil
}

// WriteBase makes the position of the last commit one from which the ledger can be opened, and
// returns it.
func WriteBase(l *Ledger) Summary {
	l.applier.Lock()
	defer l.applier.Unlock()
	if err := l.writeBase(); err != nil {
		panic(err)
	}
	return l.summary()
}

// PutCRC makes the checksum of a changed block right.
func PutCRC(raw []byte) { putCRC(raw) }

// PolicyKey is the key of a record of the policies.
func PolicyKey(group, index uint64) []byte { return keyspace{group}.policy(index) }
