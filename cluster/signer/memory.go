package signer

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/merkle"
)

// A file of the signer's memory, one for each ledger, SHA-256(origin) in hexadecimal and ".signed":
//
//	cairn signer v1
//	origin example.org/ledger
//	size 1042
//	root BASE64
//	crc32c 8 hexadecimal digits, over all lines before
const (
	memoryMagic  = "cairn signer v1"
	memorySuffix = ".signed"
	maxMemory    = 4 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// signed is the newest checkpoint that the signer has signed, or was about to sign, of a ledger.
type signed struct {
	origin string
	size   uint64
	root   merkle.Hash
}

func (s signed) marshal() []byte {
	text := fmt.Sprintf("%s\norigin %s\nsize %d\nroot %s\n", memoryMagic, s.origin, s.size, base64.StdEncoding.EncodeToString(s.root[:]))
	return fmt.Appendf(nil, "%scrc32c %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

func parseSigned(text []byte) (signed, error) {
	var s signed
	for line := range strings.Lines(string(text)) {
		word, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch word {
		case "origin":
			s.origin = value
		case "size":
			s.size, _ = strconv.ParseUint(value, 10, 64)
		case "root":
			raw, _ := base64.StdEncoding.DecodeString(value)
			copy(s.root[:], raw)
		}
	}
	// The checksum is part of what is compared.
	if !bytes.Equal(s.marshal(), text) {
		return signed{}, errors.New("not a file of the signer's memory, or damaged")
	}
	return s, nil
}

func memoryName(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:]) + memorySuffix
}

// recall reads the memory. A file that cannot be read is an error: without it the signer would have
// forgotten what it signed.
func recall(dir string) (map[string]signed, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.Wrap(err, "read the signer's directory")
	}
	all := map[string]signed{}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, memorySuffix) {
			continue
		}
		path := filepath.Join(dir, name)
		text, err := wholefile.Read(path, maxMemory)
		if err != nil {
			return nil, errors.Wrap(err, "read the signer's memory")
		}
		s, err := parseSigned(text)
		if err == nil && memoryName(s.origin) != name {
			err = errors.Newf("it is about %s, which has another file", s.origin)
		}
		if err != nil {
			return nil, errors.Wrapf(err, "%s: the signer does not know what it signed and must not go on: restore the file, or give the node up as a lost member", path)
		}
		all[s.origin] = s
	}
	return all, nil
}

// remember makes a checkpoint durable before it is signed.
func remember(dir string, s signed) error {
	return errors.Wrap(wholefile.WriteSync(filepath.Join(dir, memoryName(s.origin)), s.marshal(), fs.FileMode(0o600)), "write the signer's memory")
}
