package badgerstore

import (
	"encoding/binary"
	"hash/crc32"
	"strconv"

	"github.com/dgraph-io/badger/v4/y"
)

// Bits of an entry's first byte in Badger's logs.
const (
	entryInTxn   = 1 << 6 // the entry belongs to a transaction
	entryEndsTxn = 1 << 7 // the entry ends one; its value is the transaction's version in decimal
)

// logEnd returns where the last complete transaction in the log of a memtable ends, at least
// logHeader; 0 for a log without a header. Badger's replay keeps exactly this part and truncates
// the rest.
//
// A log is a header and then entries: meta and user meta (one byte each), lengths of key and value
// and the time of expiry (unsigned varints), key, value, CRC-32C of all that (4 bytes, big endian).
// A key ends with its version. Entries with entryInTxn share a version until an entry with
// entryEndsTxn names it.
func logEnd(b []byte) int {
	if len(b) < logHeader {
		return 0
	}
	end := logHeader
	version := uint64(0) // of the transaction that has begun
	for at := end; ; {
		e, ok := parseLogEntry(b[at:])
		if !ok {
			return end
		}
		at += e.size
		switch {
		case e.meta&entryInTxn != 0:
			if version == 0 {
				version = y.ParseTs(e.key)
			}
			if y.ParseTs(e.key) != version {
				return end
			}
		case e.meta&entryEndsTxn != 0:
			if v, err := strconv.ParseUint(string(e.value), 10, 64); err != nil || v != version {
				return end
			}
			version, end = 0, at
		case version != 0:
			return end
		default:
			end = at
		}
	}
}

type logEntry struct {
	meta       byte
	key, value []byte
	size       int // of the encoding, in bytes
}

// parseLogEntry reads the entry that b begins with. Zeros, a torn entry and a damaged one are not
// ok.
func parseLogEntry(b []byte) (e logEntry, ok bool) {
	if len(b) < 2 {
		return e, false
	}
	at := 2
	var lengths [3]uint64 // of key and value; the time of expiry is none
	for i := range lengths {
		v, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return e, false
		}
		lengths[i] = v
		at += n
	}
	left := uint64(len(b) - at)
	keyLen, valueLen := lengths[0], lengths[1]
	if keyLen == 0 || keyLen > 1<<16 || keyLen > left || valueLen > left-keyLen || left-keyLen-valueLen < crc32.Size {
		return e, false
	}
	valueAt := at + int(keyLen)
	sumAt := valueAt + int(valueLen)
	if crc32.Checksum(b[:sumAt], y.CastagnoliCrcTable) != binary.BigEndian.Uint32(b[sumAt:]) {
		return e, false
	}
	return logEntry{meta: b[0], key: b[at:valueAt], value: b[valueAt:sumAt], size: sumAt + crc32.Size}, true
}
