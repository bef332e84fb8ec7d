package settlement

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// Detail shows what an account has after an entry, and proves it: its head is the commitment that
// the outcome of the entry has for the account. The leaf alone shows which accounts an entry
// touched. Whoever may read an account gets the details of it, and nobody else does.
type Detail struct {
	Head merkle.Hash // of the account, before the entry
	// Blind makes the commitment hiding: without it, whoever knows the leaf could try balances. It
	// says nothing about the blinds of other entries.
	Blind Blind
	Line  Line
}

// Blind is a secret of one account and one entry.
type Blind [32]byte

// Key is the secret of an account, from which its blinds come. The command that opens the account
// carries it, and no answer and no proof shows it.
type Key [32]byte

// Line is what an account has after an entry.
type Line struct {
	Account  string
	Scale    uint8 // of the account's asset
	Balances Balances
	Sequence uint64 // how many entries have touched the account, this one included
	Previous uint64 // index of the one before this one; of the first: its own index
}

const (
	// The first bytes of what is hashed for a head and for a blind.
	domainHead  = 4
	domainBlind = 6

	lineSize     = 1 + 1 + 4*maxAmountSize + 8 + 8 // without the id
	maxLine      = lineSize + MaxID
	detailHashes = merkle.HashSize + len(Blind{})
)

// blind returns the blind of the account with this key for an entry: SHA-256(0x06 ‖ key ‖ u64 index).
func (k *Key) blind(index uint64) Blind {
	b := append(make([]byte, 0, 1+len(k)+8), domainBlind)
	return sha256.Sum256(appendU64(append(b, k[:]...), index))
}

// Next returns the head of the account after the entry:
//
//	SHA-256(0x04 ‖ head ‖ u64 index ‖ digest ‖ blind ‖ line)
//
// digest is Decided.Digest of the entry. The head before the first entry is 32 zero bytes.
func (d *Detail) Next(index uint64, digest [sha256.Size]byte) merkle.Hash {
	b := append(make([]byte, 0, 1+merkle.HashSize+8+sha256.Size+len(Blind{})+maxLine), domainHead)
	b = append(appendU64(append(b, d.Head[:]...), index), digest[:]...)
	return sha256.Sum256(d.Line.Append(append(b, d.Blind[:]...)))
}

// Append appends the detail's encoding.
func (d *Detail) Append(b []byte) []byte {
	return d.Line.Append(append(append(b, d.Head[:]...), d.Blind[:]...))
}

// ParseDetail parses the detail of one account. Every byte string is either refused or encodes back
// to itself.
func ParseDetail(b []byte) (Detail, error) {
	r := readerOf(b)
	d := r.detail()
	return d, r.end("detail of an account")
}

func (r *reader) detail() (d Detail) {
	copy(d.Head[:], r.take(len(d.Head)))
	copy(d.Blind[:], r.take(len(d.Blind)))
	d.Line = r.line()
	return d
}

// Append appends the line's encoding.
func (l *Line) Append(b []byte) []byte {
	b = l.Balances.encode(append(appendID(b, l.Account), l.Scale))
	return appendU64(appendU64(b, l.Sequence), l.Previous)
}

func (r *reader) line() Line {
	l := Line{Account: r.id(), Scale: r.u8()}
	if l.Scale > MaxScale {
		r.fail("a scale of %d", l.Scale)
	}
	l.Balances.decode(r)
	l.Sequence, l.Previous = r.u64(), r.u64()
	return l
}

// Check demands that a detail is that of an account which the entry touched.
func (d *Decided) Check(detail *Detail) error {
	t, found := d.Outcome.Find(detail.Line.Account)
	if !found {
		return errors.Newf("entry %d did not touch the account %s", d.Index, detail.Line.Account)
	}
	if detail.Next(d.Index, d.Digest()) != t.Head {
		return errors.Newf("entry %d commits to another detail of the account %s", d.Index, detail.Line.Account)
	}
	return nil
}

// Details parses the detail of an entry, which is that of each account that it touched, ascending
// by id. It checks nothing: ledger.Ledger.Detail does.
func (d *Decided) Details(b []byte) ([]Detail, error) {
	r := readerOf(b)
	details := make([]Detail, len(d.Outcome.Touched))
	for i := range details {
		details[i] = r.detail()
	}
	return details, errors.Wrapf(r.end("details of an entry"), "entry %d", d.Index)
}

// Find returns what the outcome says about an account, and whether the entry touched it.
func (o *Outcome) Find(account string) (Touched, bool) {
	i, found := slices.BinarySearchFunc(o.Touched, account, func(t Touched, id string) int { return strings.Compare(t.Account, id) })
	if !found {
		return Touched{}, false
	}
	return o.Touched[i], true
}

// CheckDetail implements ledger.Detailed.
func (Program) CheckDetail(index uint64, leaf, detail []byte) error {
	d, err := ParseLeaf(index, leaf)
	if err != nil {
		return err
	}
	details, err := d.Details(detail)
	if err != nil {
		return err
	}
	digest := d.Digest()
	for i := range details {
		if t := &d.Outcome.Touched[i]; details[i].Line.Account != t.Account || details[i].Next(index, digest) != t.Head {
			return errors.Newf("entry %d commits to another detail of the account %s", index, t.Account)
		}
	}
	return nil
}
