package tlog

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// A Checkpoint is a ledger's head: C2SP tlog-checkpoint, without extension
// lines.
type Checkpoint struct {
	// Origin names the ledger. Between 1 and 255 bytes of UTF-8 without control
	// characters; one that is also a key name has no spaces and plus signs.
	Origin string
	// Size of the tree, at most [merkle.MaxSize].
	Size uint64
	// Root of the tree of that size.
	Root merkle.Hash
}

// Text returns the text that is signed: three lines, origin, size, root.
func (c Checkpoint) Text() string {
	b := make([]byte, 0, len(c.Origin)+72)
	b = append(b, c.Origin...)
	b = append(b, '\n')
	b = strconv.AppendUint(b, c.Size, 10)
	b = append(b, '\n')
	b = encoding.AppendEncode(b, c.Root[:])
	return string(append(b, '\n'))
}

// Validate checks that the checkpoint can be written and signed.
func (c Checkpoint) Validate() error {
	if c.Origin == "" {
		return errors.New("origin is empty")
	}
	if len(c.Origin) > MaxNameLength {
		return errors.Newf("origin is %d bytes long, at most %d are allowed", len(c.Origin), MaxNameLength)
	}
	if strings.Contains(c.Origin, "\n") {
		return errors.New("origin holds a newline")
	}
	if err := checkText([]byte(c.Origin)); err != nil {
		return errors.Wrap(err, "origin")
	}
	if c.Size > merkle.MaxSize {
		return errors.Newf("size %d is beyond the largest, %d", c.Size, uint64(merkle.MaxSize))
	}
	if c.Size == 0 && c.Root != merkle.EmptyRoot() {
		return errors.Newf("root of size 0 is %s, want %s", c.Root, merkle.EmptyRoot())
	}
	return nil
}

// ParseCheckpointText parses the text of a checkpoint. What it accepts is
// exactly what [Checkpoint.Text] returns for a valid checkpoint.
func ParseCheckpointText(text string) (Checkpoint, error) {
	c, err := parseCheckpointText(text)
	return c, errors.Wrap(err, "parse checkpoint")
}

func parseCheckpointText(text string) (Checkpoint, error) {
	origin, rest, ok1 := strings.Cut(text, "\n")
	size, rest, ok2 := strings.Cut(rest, "\n")
	root, rest, ok3 := strings.Cut(rest, "\n")
	if !ok1 || !ok2 || !ok3 {
		return Checkpoint{}, errors.New("want three lines: origin, size, root")
	}
	if rest != "" {
		return Checkpoint{}, errors.New("extension lines after the root: no cosignature covers them, so they are refused")
	}
	c := Checkpoint{Origin: origin}
	var err error
	if c.Size, err = parseDecimal(size); err != nil {
		return Checkpoint{}, errors.Wrap(err, "size")
	}
	if c.Root, err = parseHashLine(root); err != nil {
		return Checkpoint{}, errors.Wrap(err, "root")
	}
	if err := c.Validate(); err != nil {
		return Checkpoint{}, err
	}
	return c, nil
}

// ParseCheckpoint parses a note and the checkpoint that is its text. It
// verifies nothing.
func ParseCheckpoint(note []byte) (Checkpoint, *Note, error) {
	n, err := ParseNote(note)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	c, err := ParseCheckpointText(n.Text)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	return c, n, nil
}

// subtreeLabel begins the message of an ML-DSA-44 cosignature.
const subtreeLabel = "subtree/v1\n\x00"

// cosignedMessage is what an ML-DSA-44 cosignature signs: C2SP tlog-cosignature,
// structure cosigned_message, for the subtree that is the whole tree.
func (c Checkpoint) cosignedMessage(cosigner string, timestamp uint64) []byte {
	b := make([]byte, 0, len(subtreeLabel)+1+len(cosigner)+8+1+len(c.Origin)+8+8+merkle.HashSize)
	b = append(b, subtreeLabel...)
	b = append(b, byte(len(cosigner))) // checkName bounds it
	b = append(b, cosigner...)
	b = binary.BigEndian.AppendUint64(b, timestamp)
	b = append(b, byte(len(c.Origin))) // Validate bounds it
	b = append(b, c.Origin...)
	b = binary.BigEndian.AppendUint64(b, 0) // start of the subtree
	b = binary.BigEndian.AppendUint64(b, c.Size)
	return append(b, c.Root[:]...)
}

// ed25519CosignedMessage is what an Ed25519 cosignature signs: C2SP
// tlog-cosignature, "Ed25519 signed message".
func (c Checkpoint) ed25519CosignedMessage(timestamp uint64) []byte {
	b := []byte("cosignature/v1\ntime ")
	b = strconv.AppendUint(b, timestamp, 10)
	b = append(b, '\n')
	return append(b, c.Text()...)
}

// parseDecimal parses a number without sign and leading zeros, at most
// merkle.MaxSize.
func parseDecimal(s string) (uint64, error) {
	if s == "" {
		return 0, errors.New("number is empty")
	}
	if len(s) > 1 && s[0] == '0' {
		return 0, errors.New("number has a leading zero")
	}
	var n uint64
	for i := range len(s) {
		d := uint64(s[i] - '0')
		if s[i] < '0' || s[i] > '9' {
			return 0, errors.Newf("number holds %q", s[i])
		}
		if n > (merkle.MaxSize-d)/10 {
			return 0, errors.Newf("number is larger than %d", uint64(merkle.MaxSize))
		}
		n = 10*n + d
	}
	return n, nil
}

// parseHashLine parses a hash in base64.
func parseHashLine(s string) (h merkle.Hash, err error) {
	if want := encoding.EncodedLen(merkle.HashSize); len(s) != want {
		return h, errors.Newf("%d characters, want %d of base64", len(s), want)
	}
	b, err := decodeBase64(s)
	if err != nil {
		return h, err
	}
	if len(b) != merkle.HashSize {
		return h, errors.Newf("%d bytes, want %d", len(b), merkle.HashSize)
	}
	return merkle.Hash(b), nil
}
