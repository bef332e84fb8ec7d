package tlog

import (
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

const (
	// maxProofHashes is the length of the longest inclusion proof in a tree of
	// merkle.MaxSize.
	maxProofHashes = 63
	// MaxReceiptSize bounds a receipt, in bytes: the largest entry in base64,
	// the longest proof, the largest note.
	MaxReceiptSize = 128<<10 + MaxNoteSize
)

// receiptHeader is the first line of a receipt.
const receiptHeader = "c2sp.org/tlog-proof@v1"

// A Receipt proves that an entry is in a ledger: C2SP tlog-proof, whose extra
// line carries the leaf's bytes, so that it needs nothing beside a [Policy] to
// be verified. Receipts are kept in files with the extension .tlog-proof.
type Receipt struct {
	// Extra is the leaf: the entry's encoded bytes, at most
	// [merkle.MaxEntrySize] of them. Empty when the proof carries none; a proof
	// by others may, and [Policy.VerifyReceipt] then says so.
	Extra []byte
	// Index of the entry.
	Index uint64
	// Proof of inclusion of the leaf's hash in the checkpoint's tree.
	Proof []merkle.Hash
	// Checkpoint is a signed note, byte for byte as the ledger sealed it.
	Checkpoint []byte
}

// Marshal returns the receipt's bytes.
func (r *Receipt) Marshal() []byte {
	hashLine := encoding.EncodedLen(merkle.HashSize) + 1
	size := len(receiptHeader) + len("\nextra \nindex \n\n") + 20 +
		encoding.EncodedLen(len(r.Extra)) + len(r.Proof)*hashLine + len(r.Checkpoint)
	b := make([]byte, 0, size)
	b = append(b, receiptHeader...)
	b = append(b, '\n')
	if len(r.Extra) > 0 {
		b = append(b, "extra "...)
		b = encoding.AppendEncode(b, r.Extra)
		b = append(b, '\n')
	}
	b = append(b, "index "...)
	b = strconv.AppendUint(b, r.Index, 10)
	b = append(b, '\n')
	for i := range r.Proof {
		b = encoding.AppendEncode(b, r.Proof[i][:])
		b = append(b, '\n')
	}
	b = append(b, '\n')
	return append(b, r.Checkpoint...)
}

// ParseReceipt parses a receipt. What it accepts is exactly what
// [Receipt.Marshal] returns for the same receipt, and its checkpoint can be
// parsed. It verifies nothing.
func ParseReceipt(b []byte) (*Receipt, error) {
	r, err := parseReceipt(b)
	return r, errors.Wrap(err, "parse receipt")
}

func parseReceipt(b []byte) (*Receipt, error) {
	if len(b) > MaxReceiptSize {
		return nil, errors.Newf("%d bytes, at most %d are allowed", len(b), MaxReceiptSize)
	}
	rest := string(b)
	number := 0 // of the line that next returned
	next := func() (string, error) {
		number++
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return "", errors.Newf("line %d lacks its newline; the receipt is truncated", number)
		}
		rest = after
		return line, nil
	}

	line, err := next()
	if err != nil {
		return nil, err
	}
	if line != receiptHeader {
		return nil, errors.Newf("first line is %s, want %q", quoteShort(line), receiptHeader)
	}
	r := &Receipt{}
	if line, err = next(); err != nil {
		return nil, err
	}
	if extra, ok := strings.CutPrefix(line, "extra "); ok {
		if extra == "" {
			return nil, errors.Newf("line %d: extra line without data", number)
		}
		if len(extra) > encoding.EncodedLen(merkle.MaxEntrySize) {
			return nil, errors.Newf("line %d: extra data is larger than an entry can be, %d bytes", number, merkle.MaxEntrySize)
		}
		if r.Extra, err = decodeBase64(extra); err != nil {
			return nil, errors.Wrapf(err, "line %d: extra data", number)
		}
		if line, err = next(); err != nil {
			return nil, err
		}
	}
	index, ok := strings.CutPrefix(line, "index ")
	if !ok {
		return nil, errors.Newf(`line %d is %s, want "index " and a number`, number, quoteShort(line))
	}
	if r.Index, err = parseDecimal(index); err != nil {
		return nil, errors.Wrapf(err, "line %d: index", number)
	}
	for {
		if line, err = next(); err != nil {
			return nil, err
		}
		if line == "" {
			break
		}
		if len(r.Proof) == maxProofHashes {
			return nil, errors.Newf("line %d: more than %d hashes of inclusion proof", number, maxProofHashes)
		}
		h, err := parseHashLine(line)
		if err != nil {
			return nil, errors.Wrapf(err, "line %d: hash %d of the inclusion proof", number, len(r.Proof)+1)
		}
		r.Proof = append(r.Proof, h)
	}
	r.Checkpoint = b[len(b)-len(rest):]
	if _, _, err := ParseCheckpoint(r.Checkpoint); err != nil {
		return nil, err
	}
	return r, nil
}

// quoteShort quotes a line of input for an error, without repeating all of a
// long one.
func quoteShort(s string) string {
	if len(s) > 40 {
		return strconv.Quote(s[:40]) + "…"
	}
	return strconv.Quote(s)
}
