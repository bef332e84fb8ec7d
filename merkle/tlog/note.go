package tlog

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
)

// Bounds on a signed note. C2SP signed-note demands that at least 16
// signatures are accepted.
const (
	// MaxNoteSize is the size of the largest note, in bytes: MaxSignatures
	// lines of ML-DSA-44 and a text.
	MaxNoteSize = 512 << 10
	// MaxSignatures is how many signature lines a note can have.
	MaxSignatures = 128
	// MaxNameLength is the length of the longest key name and of the longest
	// origin, in bytes: an ML-DSA-44 cosignature covers both with a length of
	// one byte.
	MaxNameLength = 255
)

// signaturePrefix begins each signature line: an em dash and a space.
const signaturePrefix = "— "

// encoding is the base64 of all C2SP texts; Strict refuses padding bits that
// are not zero, so that a value has one encoding.
var encoding = base64.StdEncoding.Strict()

// A Signature is one signature line of a note.
type Signature struct {
	// Name of the key. Not empty, without spaces and plus signs.
	Name string
	// KeyID of the key, see [VerifierKey.KeyID].
	KeyID uint32
	// Data is the signature proper; what it holds depends on the key's type. Of
	// an ML-DSA-44 cosignature: a big-endian 64-bit timestamp in seconds since
	// the Unix epoch, then 2,420 bytes of signature. Not empty.
	Data []byte
}

// Line returns the signature line with its newline.
func (s Signature) Line() string { return string(s.appendLine(nil)) }

func (s Signature) appendLine(dst []byte) []byte {
	raw := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(s.Data)), s.KeyID)
	raw = append(raw, s.Data...)
	dst = append(dst, signaturePrefix...)
	dst = append(dst, s.Name...)
	dst = append(dst, ' ')
	dst = encoding.AppendEncode(dst, raw)
	return append(dst, '\n')
}

// A Note is a text with signatures: C2SP signed-note. Nothing about a note is
// true until a [Policy] has verified it.
type Note struct {
	// Text that is signed, with its final newline.
	Text string
	// Signatures in the order of their lines; at least one.
	Signatures []Signature
}

// Marshal returns the note's bytes: text, empty line, signature lines.
func (n *Note) Marshal() []byte {
	size := len(n.Text) + 1
	for _, s := range n.Signatures {
		size += len(signaturePrefix) + len(s.Name) + 1 + encoding.EncodedLen(4+len(s.Data)) + 1
	}
	b := make([]byte, 0, size)
	b = append(b, n.Text...)
	b = append(b, '\n')
	for _, s := range n.Signatures {
		b = s.appendLine(b)
	}
	return b
}

// ParseNote parses a note. What it accepts is exactly what [Note.Marshal]
// returns for the same note.
func ParseNote(b []byte) (*Note, error) {
	if len(b) > MaxNoteSize {
		return nil, errors.Newf("parse note: %d bytes, at most %d are allowed", len(b), MaxNoteSize)
	}
	s := string(b)
	if !strings.HasSuffix(s, "\n") {
		return nil, errors.New("parse note: last line lacks its newline; the note is truncated")
	}
	if err := checkText(b); err != nil {
		return nil, errors.Wrap(err, "parse note")
	}
	// The text may hold empty lines itself: the last one ends it.
	i := strings.LastIndex(s, "\n\n")
	if i < 0 {
		return nil, errors.New("parse note: no empty line between text and signatures")
	}
	n := &Note{Text: s[:i+1]}
	rest := s[i+2:]
	if rest == "" {
		return nil, errors.New("parse note: no signature lines")
	}
	for rest != "" {
		if len(n.Signatures) == MaxSignatures {
			return nil, errors.Newf("parse note: more than %d signature lines", MaxSignatures)
		}
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		sig, err := parseSignatureLine(line)
		if err != nil {
			return nil, errors.Wrapf(err, "parse note: signature line %d", len(n.Signatures)+1)
		}
		n.Signatures = append(n.Signatures, sig)
	}
	return n, nil
}

// ParseSignatureLine parses one signature line with its newline, as
// [Signature.Line] returns it.
func ParseSignatureLine(line string) (Signature, error) {
	if len(line) > MaxNoteSize {
		return Signature{}, errors.Newf("parse signature line: %d bytes, at most %d are allowed", len(line), MaxNoteSize)
	}
	content, ok := strings.CutSuffix(line, "\n")
	if !ok {
		return Signature{}, errors.New("parse signature line: no newline at its end")
	}
	if err := checkText([]byte(content)); err != nil {
		return Signature{}, errors.Wrap(err, "parse signature line")
	}
	sig, err := parseSignatureLine(content)
	return sig, errors.Wrap(err, "parse signature line")
}

// parseSignatureLine parses a line without its newline.
func parseSignatureLine(line string) (Signature, error) {
	rest, ok := strings.CutPrefix(line, signaturePrefix)
	if !ok {
		return Signature{}, errors.New("does not begin with an em dash and a space")
	}
	name, b64, ok := strings.Cut(rest, " ")
	if !ok {
		return Signature{}, errors.New("no space between key name and signature")
	}
	if err := checkName(name); err != nil {
		return Signature{}, err
	}
	raw, err := decodeBase64(b64)
	if err != nil {
		return Signature{}, errors.Wrapf(err, "signature by %s", name)
	}
	if len(raw) < 5 {
		return Signature{}, errors.Newf("signature by %s: %d bytes, want a key id of 4 and a signature", name, len(raw))
	}
	return Signature{Name: name, KeyID: binary.BigEndian.Uint32(raw), Data: raw[4:]}, nil
}

// checkText checks the characters of a note: UTF-8 without control characters
// other than newline.
func checkText(b []byte) error {
	for i, c := range b {
		if c < 0x20 && c != '\n' {
			return errors.Newf("control character 0x%02x at byte %d", c, i)
		}
	}
	if !utf8.Valid(b) {
		return errors.New("not UTF-8")
	}
	return nil
}

// checkName checks a key name: C2SP signed-note, and the length that a
// cosignature can cover.
func checkName(name string) error {
	if name == "" {
		return errors.New("key name is empty")
	}
	if len(name) > MaxNameLength {
		return errors.Newf("key name is %d bytes long, at most %d are allowed", len(name), MaxNameLength)
	}
	if !utf8.ValidString(name) {
		return errors.Newf("key name %q is not UTF-8", name)
	}
	for _, r := range name {
		if r < 0x20 || r == '+' || unicode.IsSpace(r) {
			return errors.Newf("key name %q holds %q", name, r)
		}
	}
	return nil
}

// decodeBase64 decodes one line's base64. The standard decoder skips newlines
// and carriage returns; here they are errors.
func decodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break inside base64")
	}
	b, err := encoding.DecodeString(s)
	return b, errors.Wrap(err, "decode base64")
}
