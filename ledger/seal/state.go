package seal

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// signed is the largest size that this node has promised to sign, with its root.
type signed struct {
	size uint64
	root merkle.Hash
}

const (
	stateVersion = 1
	stateSize    = 1 + 8 + merkle.HashSize + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// marshal returns the durable state: version, size, root, CRC-32C.
func (p signed) marshal() []byte {
	b := append(make([]byte, 0, stateSize), stateVersion)
	b = binary.BigEndian.AppendUint64(b, p.size)
	b = append(b, p.root[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func parseState(b []byte) (signed, error) {
	if len(b) == 0 {
		return signed{}, nil
	}
	if len(b) != stateSize || b[0] != stateVersion {
		return signed{}, errors.Newf("parse sealing state: %d bytes of version %d, want %d of version %d", len(b), b[0], stateSize, stateVersion)
	}
	if crc32.Checksum(b[:stateSize-4], castagnoli) != binary.BigEndian.Uint32(b[stateSize-4:]) {
		return signed{}, errors.New("parse sealing state: checksum mismatch")
	}
	p := signed{size: binary.BigEndian.Uint64(b[1:])}
	copy(p.root[:], b[9:])
	return p, nil
}
