package accountmap

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cairnledger/cairn/merkle"
)

// ErrProof is what every error of [Proof.Verify] and [ParseProof] wraps: nothing is proved.
var ErrProof = errors.New("account map: proof does not verify")

// End says at what the walk of a key ends.
type End uint8

// The ends of a walk.
const (
	EndsAtAccount End = 1 // the key's own leaf: the account is in the map
	EndsAtOther   End = 2 // the leaf of another key: the account is not in the map
	EndsAtNothing End = 3 // the map has no accounts
)

// String names the end.
func (e End) String() string {
	switch e {
	case EndsAtAccount:
		return "account"
	case EndsAtOther:
		return "other account"
	case EndsAtNothing:
		return "empty map"
	default:
		return fmt.Sprintf("unknown end %d", uint8(e))
	}
}

// Proof shows where the walk of a key ends below a root. It shows no more of another account than
// its key and the hash of its record.
type Proof struct {
	End End
	// Steps are the nodes of the walk, from the root down. Their bits rise strictly.
	Steps []Step
	// Record is the SHA-256 of the record at the end; zero when there is none.
	Record merkle.Hash
	// Other is the key of the leaf at the end when End is EndsAtOther, zero otherwise.
	Other Key
}

// Step is a node of a walk. The walk goes to the child that the key's bit says, and Sibling is the
// hash of the other one.
type Step struct {
	Bit     uint8
	Sibling merkle.Hash
}

// Prove returns the proof of what the map says about a key: its record, or its absence.
func (t *Tree) Prove(key Key) Proof {
	if t.Len() == 0 {
		return Proof{End: EndsAtNothing}
	}
	p := Proof{End: EndsAtAccount, Steps: make([]Step, 0, 32)}
	r := t.top
	for !r.isLeaf() {
		n, sums := t.nodes.at(uint32(r)), t.sums.at(uint32(r))
		c := key.bit(n.bit)
		p.Steps = append(p.Steps, Step{n.bit, sums[1-c]})
		r = n.child[c]
	}
	l := t.leaf(r)
	p.Record = l.Record
	if l.Key != key {
		p.End, p.Other = EndsAtOther, l.Key
	}
	return p
}

// Verify returns what the proof shows about a key below a root: that the account is present and the
// SHA-256 of its record, or that it is absent. Every error wraps ErrProof.
func (p Proof) Verify(root merkle.Hash, key Key) (record merkle.Hash, present bool, err error) {
	if err := p.check(); err != nil {
		return merkle.Hash{}, false, err
	}
	var h merkle.Hash
	switch p.End {
	case EndsAtAccount:
		h = LeafHash(key, p.Record)
	case EndsAtOther:
		if p.Other == key {
			return merkle.Hash{}, false, fmt.Errorf("%w: the other account has key %s, which is the one asked for", ErrProof, key)
		}
		for _, s := range p.Steps {
			if p.Other.bit(s.Bit) != key.bit(s.Bit) {
				return merkle.Hash{}, false, fmt.Errorf("%w: bit %d of the other account's key is not that of %s", ErrProof, s.Bit, key)
			}
		}
		h = LeafHash(p.Other, p.Record)
	default:
		h = EmptyRoot()
	}
	for i := len(p.Steps) - 1; i >= 0; i-- {
		if s := &p.Steps[i]; key.bit(s.Bit) == 0 {
			h = InnerHash(s.Bit, h, s.Sibling)
		} else {
			h = InnerHash(s.Bit, s.Sibling, h)
		}
	}
	if h != root {
		return merkle.Hash{}, false, fmt.Errorf("%w: it gives root %s for key %s, want %s", ErrProof, h, key, root)
	}
	return p.Record, p.End == EndsAtAccount, nil
}

// check says what is wrong with the form of a proof. Whatever it accepts has one encoding.
func (p *Proof) check() error {
	switch {
	case p.End != EndsAtAccount && p.End != EndsAtOther && p.End != EndsAtNothing:
		return fmt.Errorf("%w: %s", ErrProof, p.End)
	case p.End == EndsAtNothing && (len(p.Steps) > 0 || !p.Record.IsZero()):
		return fmt.Errorf("%w: it shows an empty map with %d steps and record %s", ErrProof, len(p.Steps), p.Record)
	case p.End != EndsAtOther && p.Other != Key{}:
		return fmt.Errorf("%w: it names another account, %s, and ends at: %s", ErrProof, p.Other, p.End)
	}
	for i := 1; i < len(p.Steps); i++ {
		if p.Steps[i].Bit <= p.Steps[i-1].Bit {
			return fmt.Errorf("%w: bit %d comes behind bit %d", ErrProof, p.Steps[i].Bit, p.Steps[i-1].Bit)
		}
	}
	return nil
}

const (
	proofVersion    = 1
	proofHeaderSize = 4
	stepSize        = 1 + merkle.HashSize

	// MaxProofSize is the size of the largest encoded proof, in bytes. A map with a million
	// accounts has proofs of about 710 bytes.
	MaxProofSize = proofHeaderSize + 256*stepSize + merkle.HashSize + KeySize
)

// Append appends the encoded proof: docs/format-map.md. The proof must be one that Prove or
// ParseProof returned.
func (p Proof) Append(b []byte) []byte {
	b = append(b, proofVersion, byte(p.End))
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Steps)))
	for i := range p.Steps {
		b = append(b, p.Steps[i].Bit)
		b = append(b, p.Steps[i].Sibling[:]...)
	}
	if p.End != EndsAtNothing {
		b = append(b, p.Record[:]...)
	}
	if p.End == EndsAtOther {
		b = append(b, p.Other[:]...)
	}
	return b
}

// ParseProof parses an encoded proof. Every byte string either is refused or encodes back to
// itself.
func ParseProof(b []byte) (Proof, error) {
	if len(b) < proofHeaderSize {
		return Proof{}, fmt.Errorf("%w: %d bytes, want at least %d", ErrProof, len(b), proofHeaderSize)
	}
	if b[0] != proofVersion {
		return Proof{}, fmt.Errorf("%w: version %d, want %d", ErrProof, b[0], proofVersion)
	}
	p := Proof{End: End(b[1])}
	steps := int(binary.BigEndian.Uint16(b[2:]))
	want := proofHeaderSize + steps*stepSize
	switch p.End {
	case EndsAtAccount:
		want += merkle.HashSize
	case EndsAtOther:
		want += merkle.HashSize + KeySize
	}
	if len(b) != want {
		return Proof{}, fmt.Errorf("%w: %d bytes with %d steps, want %d", ErrProof, len(b), steps, want)
	}
	rest := b[proofHeaderSize:]
	if steps > 0 {
		p.Steps = make([]Step, steps)
	}
	for i := range p.Steps {
		p.Steps[i] = Step{rest[0], merkle.Hash(rest[1:stepSize])}
		rest = rest[stepSize:]
	}
	switch p.End {
	case EndsAtOther:
		p.Other = Key(rest[merkle.HashSize:])
		fallthrough
	case EndsAtAccount:
		p.Record = merkle.Hash(rest[:merkle.HashSize])
	}
	if err := p.check(); err != nil {
		return Proof{}, err
	}
	return p, nil
}
