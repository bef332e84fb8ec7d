package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"unicode"
	"unicode/utf8"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cockroachdb/errors"
)

// The sealed key file, version 1. Integers are big-endian.
//
//	offset   size  field
//	0        8     magic: "CAIRNSK" and a newline, so that a transfer in text mode shows
//	8        1     version: 1
//	9        1     content: 1 = PKCS#8 private key in seed form (RFC 5958)
//	10       2     L, length of the label: 1 to 512
//	12       4     S, length of the sealed message: 1137 to 9136
//	16       32    recipient: SHA-256 of the recipient's SubjectPublicKeyInfo
//	48       L     label: printable UTF-8, what the key is for
//	48+L     S     sealed message: X-Wing ciphertext (1120) ‖ AES-256-GCM ciphertext ‖ tag (16)
//	48+L+S   4     CRC-32C of all bytes before
//
// HPKE info is "cairn sealed key v1", a zero byte and the label; aad is bytes 0 to 48+L. So the
// label cannot be changed, and the opener states which one it expects. The checksum finds damage
// without the key; the tag is what protects.
const (
	fileMagic     = "CAIRNSK\n"
	fileVersion   = 1
	contentPKCS8  = 1
	fileHeader    = 48
	fileChecksum  = 4
	maxLabel      = 512
	maxPlaintext  = 8000
	maxSealedFile = fileHeader + maxLabel + Overhead + maxPlaintext + fileChecksum
	fileInfo      = "cairn sealed key v1\x00"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	// ErrFormat is returned for bytes that are no undamaged sealed key file of a known version.
	ErrFormat = errors.New("not a valid sealed key file")
	// ErrLabel is returned for a sealed key that is meant for another purpose than the opener's.
	ErrLabel = errors.New("sealed key has another label")
	// ErrRecipient is returned for a sealed key that is meant for another sealing key.
	ErrRecipient = errors.New("sealed key is for another recipient")
)

// Info is what a sealed key file says in the clear.
type Info struct {
	Version   int
	Content   int
	Label     string
	Recipient [sha256.Size]byte // fingerprint of the recipient's sealing key
	Sealed    int               // bytes of the sealed message
}

// parsed is a file taken apart; the slices point into it.
type parsed struct {
	Info
	aad, sealed []byte
}

func checkLabel(label string) error {
	if label == "" || len(label) > maxLabel || !utf8.ValidString(label) {
		return errors.Wrapf(ErrFormat, "label has %d bytes, want 1 to %d of UTF-8", len(label), maxLabel)
	}
	for _, r := range label {
		if !unicode.IsPrint(r) {
			return errors.Wrapf(ErrFormat, "label has the unprintable character %U", r)
		}
	}
	return nil
}

// SealKey encodes a private key (any that [pqcrypto.MarshalPrivateKeyDER] takes) as a sealed key
// file for pub's owner. label says what the key is for; it is readable by anybody, and [OpenKey]
// has to be given the same.
func SealKey(pub *PublicKey, label string, key any) ([]byte, error) {
	if err := checkLabel(label); err != nil {
		return nil, err
	}
	der, err := pqcrypto.MarshalPrivateKeyDER(key)
	if err != nil {
		return nil, err
	}
	recipient := pub.Fingerprint()
	out := make([]byte, 0, fileHeader+len(label)+Overhead+len(der)+fileChecksum)
	out = append(out, fileMagic...)
	out = append(out, fileVersion, contentPKCS8)
	out = binary.BigEndian.AppendUint16(out, uint16(len(label)))
	out = binary.BigEndian.AppendUint32(out, uint32(Overhead+len(der)))
	out = append(out, recipient[:]...)
	out = append(out, label...)
	sealed, err := Seal(pub, []byte(fileInfo+label), out, der)
	if err != nil {
		return nil, err
	}
	out = append(out, sealed...)
	return binary.BigEndian.AppendUint32(out, crc32.Checksum(out, castagnoli)), nil
}

// OpenKey opens a sealed key file and returns the key as [pqcrypto.ParsePrivateKeyDER] does. It is
// [ErrFormat] for damage, [ErrLabel] and [ErrRecipient] for a file that is meant for something or
// somebody else, [ErrOpen] for a forgery.
func OpenKey(priv *PrivateKey, label string, file []byte) (any, error) {
	p, err := parse(file)
	if err != nil {
		return nil, err
	}
	if p.Label != label {
		return nil, errors.Wrapf(ErrLabel, "it is %q, want %q", p.Label, label)
	}
	if own := priv.Public().Fingerprint(); p.Recipient != own {
		return nil, errors.Wrapf(ErrRecipient, "it is %x, this is %x", p.Recipient[:8], own[:8])
	}
	der, err := priv.Open([]byte(fileInfo+label), p.aad, p.sealed)
	if err != nil {
		return nil, err
	}
	key, err := pqcrypto.ParsePrivateKeyDER(der)
	return key, errors.Wrap(err, "parse the key that was sealed")
}

// Verify checks structure and checksum, which needs no key, and returns what the file says in the
// clear.
func Verify(file []byte) (Info, error) {
	p, err := parse(file)
	return p.Info, err
}

// Dump writes what a file says in the clear, for people.
func Dump(w io.Writer, file []byte) error {
	info, err := Verify(file)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "sealed key file, version %d\ncontent:    PKCS#8 private key\nlabel:      %s\nrecipient:  %x\nsealed:     %d bytes, X-Wing, HKDF-SHA256, AES-256-GCM\nchecksum:   good\n",
		info.Version, info.Label, info.Recipient, info.Sealed)
	return errors.Wrap(err, "write dump")
}

func parse(file []byte) (parsed, error) {
	bad := func(format string, args ...any) (parsed, error) {
		return parsed{}, errors.Wrapf(ErrFormat, format, args...)
	}
	if len(file) > maxSealedFile {
		return bad("%d bytes are more than the largest, %d", len(file), maxSealedFile)
	}
	if len(file) < len(fileMagic) || !bytes.Equal(file[:len(fileMagic)], []byte(fileMagic)) {
		return bad("magic is wrong")
	}
	if len(file) < fileHeader+fileChecksum {
		return bad("%d bytes are less than the header's %d", len(file), fileHeader)
	}
	body, sum := file[:len(file)-fileChecksum], binary.BigEndian.Uint32(file[len(file)-fileChecksum:])
	if version := file[8]; version != fileVersion {
		return bad("version is %d, want %d", version, fileVersion)
	}
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return bad("checksum is %08x, the file says %08x", got, sum)
	}
	p := parsed{Info: Info{Version: fileVersion, Content: int(file[9])}}
	if p.Content != contentPKCS8 {
		return bad("content is %d, want %d", p.Content, contentPKCS8)
	}
	labelSize, sealedSize := int(binary.BigEndian.Uint16(file[10:])), int64(binary.BigEndian.Uint32(file[12:]))
	if sealedSize <= Overhead || sealedSize > Overhead+maxPlaintext {
		return bad("sealed message has %d bytes, want %d to %d", sealedSize, Overhead+1, Overhead+maxPlaintext)
	}
	if want := int64(fileHeader+labelSize) + sealedSize; int64(len(body)) != want {
		return bad("%d bytes before the checksum, want %d", len(body), want)
	}
	copy(p.Recipient[:], file[16:fileHeader])
	p.Label, p.Sealed = string(file[fileHeader:fileHeader+labelSize]), int(sealedSize)
	if err := checkLabel(p.Label); err != nil {
		return parsed{}, err
	}
	p.aad, p.sealed = body[:fileHeader+labelSize], body[fileHeader+labelSize:]
	return p, nil
}

// WriteKeyFile seals a key into a new file of mode 0600.
func WriteKeyFile(path string, pub *PublicKey, label string, key any) error {
	data, err := SealKey(pub, label, key)
	if err != nil {
		return err
	}
	return pqcrypto.WriteSecretFile(path, data)
}

// OpenKeyFile reads and opens a sealed key file. Its mode doesn't matter: it is safe to hand
// around.
func OpenKeyFile(priv *PrivateKey, label, path string) (any, error) {
	data, err := wholefile.Read(path, maxSealedFile)
	if err != nil {
		return nil, errors.Wrap(err, "read sealed key file")
	}
	key, err := OpenKey(priv, label, data)
	return key, errors.Wrapf(err, "open sealed key file %s", path)
}
