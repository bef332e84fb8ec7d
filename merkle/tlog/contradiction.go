package tlog

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// MaxContradictionSize is the size of the largest contradiction, in bytes: two notes and a proof.
const MaxContradictionSize = 2*MaxNoteSize + 16<<10

// maxConsistencyHashes bounds a consistency proof: two hashes for each level of the largest tree.
const maxConsistencyHashes = 128

// ErrNoContradiction: two notes that can both be true.
var ErrNoContradiction = errors.New("the two checkpoints do not contradict each other")

// A Contradiction is the evidence that two signed checkpoints of one ledger cannot both be true. It
// needs nothing but the keys to be verified: the larger tree has, at the size of the smaller
// checkpoint, a root that the smaller checkpoint does not have, and a consistency proof shows that
// root.
type Contradiction struct {
	// Smaller and Larger are signed notes with the checkpoints, whole. Their sizes may be equal.
	Smaller, Larger []byte
	// Root is the root of the first Smaller.Size leaves of Larger's tree. Proof proves that.
	Root  merkle.Hash
	Proof []merkle.Hash
}

// VerifiedContradiction is what a contradiction proves under a policy.
type VerifiedContradiction struct {
	Smaller, Larger Checkpoint
	// SmallerBy and LargerBy name the policy's cosigners whose lines verify, in the policy's order;
	// Both are those in both, so that their keys signed two histories.
	SmallerBy, LargerBy, Both []string
	// SmallerSealed and LargerSealed say whether the policy accepts the checkpoint.
	SmallerSealed, LargerSealed bool
}

const contradictionMagic = "cairn-contradiction v1"

// Marshal returns the contradiction as text: comment lines, each with "# " in front, then root,
// proof, and the two notes, each after a line with its length in bytes.
func (c *Contradiction) Marshal(comments ...string) []byte {
	var b bytes.Buffer
	for _, line := range comments {
		fmt.Fprintf(&b, "# %s\n", strings.Map(func(r rune) rune {
			if r < 0x20 || r == 0x7f {
				return ' '
			}
			return r
		}, line))
	}
	fmt.Fprintf(&b, "%s\nroot %s\n", contradictionMagic, encoding.EncodeToString(c.Root[:]))
	for _, h := range c.Proof {
		fmt.Fprintf(&b, "proof %s\n", encoding.EncodeToString(h[:]))
	}
	fmt.Fprintf(&b, "smaller %d\n%s", len(c.Smaller), c.Smaller)
	fmt.Fprintf(&b, "larger %d\n%s", len(c.Larger), c.Larger)
	return b.Bytes()
}

// ParseContradiction parses what [Contradiction.Marshal] returns. It verifies nothing.
func ParseContradiction(text []byte) (*Contradiction, error) {
	c, err := parseContradiction(string(text))
	return c, errors.Wrap(err, "parse contradiction")
}

func parseContradiction(rest string) (*Contradiction, error) {
	if len(rest) > MaxContradictionSize {
		return nil, errors.Newf("%d bytes, at most %d are allowed", len(rest), MaxContradictionSize)
	}
	line := func() (key, value string, err error) {
		l, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return "", "", errors.New("the text is truncated")
		}
		rest = after
		key, value, _ = strings.Cut(l, " ")
		return key, value, nil
	}
	key, value, err := line()
	for err == nil && key == "#" {
		key, value, err = line()
	}
	if err != nil {
		return nil, err
	}
	if key+" "+value != contradictionMagic {
		return nil, errors.Newf("does not begin with the line %q", contradictionMagic)
	}
	c := &Contradiction{}
	note := func(value string) ([]byte, error) {
		n, err := parseDecimal(value)
		if err != nil {
			return nil, errors.Wrap(err, "length of a note")
		}
		if n > uint64(len(rest)) {
			return nil, errors.New("a note is truncated")
		}
		b := []byte(rest[:n])
		rest = rest[n:]
		return b, nil
	}
	for step := 0; step < 3; {
		if key, value, err = line(); err != nil {
			return nil, err
		}
		switch {
		case key == "root" && step == 0:
			c.Root, err = parseHashLine(value)
			step = 1
		case key == "proof" && step == 1 && len(c.Proof) < maxConsistencyHashes:
			var h merkle.Hash
			h, err = parseHashLine(value)
			c.Proof = append(c.Proof, h)
		case key == "smaller" && step == 1:
			c.Smaller, err = note(value)
			step = 2
		case key == "larger" && step == 2:
			c.Larger, err = note(value)
			step = 3
		default:
			return nil, errors.Newf("unexpected line %s", quoteShort(key))
		}
		if err != nil {
			return nil, err
		}
	}
	if rest != "" {
		return nil, errors.Newf("%s bytes after the second note", strconv.Itoa(len(rest)))
	}
	return c, nil
}

// VerifyContradiction verifies that the two checkpoints contradict each other and that keys of the
// policy signed both. It returns who signed what. Its errors match [ErrNoContradiction] when both
// can be true, and [ErrBadSignature] or [ErrUnknownLog] when a note says nothing under this policy.
func (p *Policy) VerifyContradiction(c *Contradiction) (*VerifiedContradiction, error) {
	v, err := p.verifyContradiction(c)
	return v, errors.Wrap(err, "verify contradiction")
}

func (p *Policy) verifyContradiction(c *Contradiction) (*VerifiedContradiction, error) {
	v := &VerifiedContradiction{}
	var err error
	if v.Smaller, v.SmallerBy, v.SmallerSealed, err = p.signers(c.Smaller); err != nil {
		return nil, errors.Wrap(err, "smaller checkpoint")
	}
	if v.Larger, v.LargerBy, v.LargerSealed, err = p.signers(c.Larger); err != nil {
		return nil, errors.Wrap(err, "larger checkpoint")
	}
	if v.Smaller.Origin != v.Larger.Origin {
		return nil, errors.Newf("%w: they are of two ledgers, %s and %s", ErrNoContradiction, quoteShort(v.Smaller.Origin), quoteShort(v.Larger.Origin))
	}
	if v.Smaller.Root == c.Root {
		return nil, errors.Newf("%w: both have root %s for size %d", ErrNoContradiction, c.Root, v.Smaller.Size)
	}
	if err := merkle.VerifyConsistency(v.Smaller.Size, v.Larger.Size, c.Proof, c.Root, v.Larger.Root); err != nil {
		return nil, errors.Newf("%w: %v", ErrNoContradiction, err)
	}
	for _, name := range v.SmallerBy {
		if slices.Contains(v.LargerBy, name) {
			v.Both = append(v.Both, name)
		}
	}
	return v, nil
}

// signers returns the policy's cosigners whose lines on the note verify, at least one. A line by a
// key of the policy that does not verify makes the note worthless.
func (p *Policy) signers(note []byte) (cp Checkpoint, by []string, sealed bool, err error) {
	cp, n, err := ParseCheckpoint(note)
	if err != nil {
		return cp, nil, false, err
	}
	if !slices.ContainsFunc(p.logs, func(l policyLog) bool { return l.key.Name() == cp.Origin }) {
		return cp, nil, false, errors.Newf("%w: origin is %s", ErrUnknownLog, quoteShort(cp.Origin))
	}
	for _, w := range p.witnesses {
		_, found, err := verifyLines(w.key, cp, n)
		if err != nil {
			return cp, nil, false, err
		}
		if found {
			by = append(by, w.key.Name())
		}
	}
	if len(by) == 0 {
		return cp, nil, false, errors.Newf("%w: no line by a cosigner of the policy", ErrBadSignature)
	}
	_, err = p.verify(note)
	return cp, by, err == nil, nil
}
