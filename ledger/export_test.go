package ledger

import (
	"encoding/binary"
	"hash/crc32"
)

func putCRC(raw []byte) {
	end := len(raw) - blockCRCSize
	binary.BigEndian.PutUint32(raw[end:], crc32.Checksum(raw[:end], castagnoli))
}
