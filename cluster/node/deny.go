package node

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"io"
	"math/big"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// maxDenyBytes bounds the file of a deny list.
const maxDenyBytes = 16 << 20

// denyList names certificates that are refused although they are valid: by serial number, by
// SPIFFE ID or by key. It is immutable. docs/operations.md describes the file.
type denyList struct {
	serials map[string]bool // lower-case hexadecimal, no leading zeros
	ids     map[pki.ID]bool
	keys    map[[sha256.Size]byte]bool // SHA-256 of the SubjectPublicKeyInfo
}

// loadDenyList reads the file keys.deny. The file must belong to root or to the user of this
// process and must not be writable by others: who can write it decides who gets in.
func loadDenyList(path string) (*denyList, error) {
	if path == "" {
		return &denyList{}, nil
	}
	f, err := wholefile.Open(path)
	if err != nil {
		return nil, errors.Wrap(err, "keys.deny")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Wrap(err, "keys.deny")
	}
	if err := checkOwner(info); err != nil {
		return nil, errors.Wrapf(err, "keys.deny: %s", path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxDenyBytes+1))
	if err != nil {
		return nil, errors.Wrap(err, "keys.deny")
	}
	if len(raw) > maxDenyBytes {
		return nil, errors.Newf("keys.deny: %s is larger than %d bytes", path, maxDenyBytes)
	}
	list, err := parseDenyList(raw)
	return list, errors.Wrapf(err, "keys.deny: %s", path)
}

// parseDenyList reads lines of "serial HEX", "id SPIFFE-ID" and "key SHA256". Empty lines and
// what follows a # are comments. Errors name the line.
func parseDenyList(raw []byte) (*denyList, error) {
	d := &denyList{serials: map[string]bool{}, ids: map[pki.ID]bool{}, keys: map[[sha256.Size]byte]bool{}}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return nil, errors.Newf("line %d: want a word and a value: serial HEX, id SPIFFE-ID or key SHA256", n)
		}
		if err := d.add(fields[0], fields[1]); err != nil {
			return nil, errors.Wrapf(err, "line %d", n)
		}
	}
	return d, errors.Wrap(lines.Err(), "read the lines")
}

func (d *denyList) add(kind, value string) error {
	switch kind {
	case "serial":
		// At most 20 octets: RFC 5280, section 4.1.2.2.
		n, ok := new(big.Int).SetString(strings.ReplaceAll(value, ":", ""), 16)
		if !ok || n.Sign() <= 0 || n.BitLen() > 160 {
			return errors.Newf("serial: %q is not a serial number in hexadecimal", value)
		}
		d.serials[n.Text(16)] = true
	case "id":
		id, err := pki.ParseID(value)
		if err != nil {
			return errors.Wrap(err, "id")
		}
		d.ids[id] = true
	case "key":
		sum, err := hex.DecodeString(value)
		if err != nil || len(sum) != sha256.Size {
			return errors.Newf("key: %q is not a SHA-256 hash in hexadecimal", value)
		}
		d.keys[[sha256.Size]byte(sum)] = true
	default:
		return errors.Newf("%q is none of serial, id and key", kind)
	}
	return nil
}

// size returns the number of entries.
func (d *denyList) size() int { return len(d.serials) + len(d.ids) + len(d.keys) }

// check returns why a certificate is refused, nil if the list does not name it.
func (d *denyList) check(c *pki.Certificate) error {
	if d.ids[c.ID] {
		return errors.Newf("the deny list names the identity %s", c.ID)
	}
	if serial := c.SerialNumber.Text(16); d.serials[serial] {
		return errors.Newf("the deny list names the serial number %s", serial)
	}
	if len(d.keys) > 0 {
		parsed, err := x509.ParseCertificate(c.Raw)
		if err != nil {
			return errors.Wrap(err, "parse certificate")
		}
		if sum := sha256.Sum256(parsed.RawSubjectPublicKeyInfo); d.keys[sum] {
			return errors.Newf("the deny list names the key %x", sum)
		}
	}
	return nil
}

// denyHook is the deny list in force, as the channel asks for it.
type denyHook struct{ list atomic.Pointer[denyList] }

func (h *denyHook) check(c *pki.Certificate) error { return h.list.Load().check(c) }
