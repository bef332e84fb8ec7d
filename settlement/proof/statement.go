package proof

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/settlement"
)

// statementKind is the first line of a statement.
const statementKind = "cairn-statement-proof v1"

// Statement proves every entry that touched an account between two sizes: the heads of the two
// records chain them, so that none can be left out, invented or moved.
type Statement struct {
	Opening *Account // the account, or its absence, as of the first size
	Closing *Account // as of the second size
	Entries []StatementEntry
}

// StatementEntry is an entry that touched the account.
type StatementEntry struct {
	Index uint64
	// Leaf is nil when the entry is not shown, and Digest stands for it.
	Leaf []byte
	// Digest is the SHA-256 of the leaf of an entry that is not shown.
	Digest settlement.Digest
}

// Marshal returns the file.
func (s *Statement) Marshal() []byte {
	d := document{kind: statementKind, parts: [][]byte{s.Opening.Marshal(), s.Closing.Marshal()}}
	d.add("account", s.Closing.ID)
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.Leaf != nil {
			d.add("entry", fmt.Sprintf("%d %s", e.Index, encoding.EncodeToString(e.Leaf)))
		} else {
			d.add("hidden", fmt.Sprintf("%d %s", e.Index, encoding.EncodeToString(e.Digest[:])))
		}
	}
	return d.marshal()
}

// ParseStatement parses the file. It verifies nothing.
func ParseStatement(b []byte) (*Statement, error) {
	s, err := parseStatement(b)
	if err == nil && !bytes.Equal(s.Marshal(), b) {
		err = errNotCanonical
	}
	return s, errors.Wrap(err, "parse a statement")
}

func parseStatement(b []byte) (*Statement, error) {
	d, err := parseDocument(b, statementKind)
	if err != nil {
		return nil, err
	}
	f := fields{rest: d.fields}
	id := f.next("account")
	s := &Statement{}
	for f.is("entry") || f.is("hidden") {
		hidden := f.is("hidden")
		number, value, _ := strings.Cut(f.next(f.rest[0].name), " ")
		index, err := strconv.ParseUint(number, 10, 64)
		content, err2 := encoding.Strict().DecodeString(value)
		e := StatementEntry{Index: index, Leaf: content}
		if hidden && len(content) == len(e.Digest) {
			e.Leaf, e.Digest = nil, settlement.Digest(content)
		}
		if err != nil || err2 != nil || strconv.FormatUint(index, 10) != number || encoding.EncodeToString(content) != value || hidden == (e.Leaf != nil) || len(content) == 0 {
			f.fail("a damaged line about an entry")
		}
		s.Entries = append(s.Entries, e)
	}
	if err := f.end(); err != nil {
		return nil, err
	}
	if len(d.parts) != 2 {
		return nil, errors.Newf("%d parts, want two proofs of the account", len(d.parts))
	}
	if s.Opening, err = ParseAccount(d.parts[0]); err != nil {
		return nil, errors.Wrap(err, "opening")
	}
	if s.Closing, err = ParseAccount(d.parts[1]); err != nil {
		return nil, errors.Wrap(err, "closing")
	}
	if s.Opening.ID != id || s.Closing.ID != id {
		return nil, errors.Newf("a statement about %s with proofs about %s and %s", id, s.Opening.ID, s.Closing.ID)
	}
	return s, nil
}

// VerifiedStatement is what a statement proves.
type VerifiedStatement struct {
	Opening, Closing *VerifiedAccount
	Entries          []VerifiedEntry
}

// VerifiedEntry is an entry of a statement.
type VerifiedEntry struct {
	Index         uint64
	Decided       *settlement.Decided // nil: not shown
	Before, After settlement.Balances // zero when not known, for want of an entry that is shown
	Known         bool                // whether Before and After are known
}

// Verify verifies the statement under a policy.
func (s *Statement) Verify(policy *tlog.Policy) (*VerifiedStatement, error) {
	v, err := s.verify(policy)
	return v, errors.Wrapf(err, "verify the statement of the account %s", s.Closing.ID)
}

func (s *Statement) verify(policy *tlog.Policy) (*VerifiedStatement, error) {
	v := &VerifiedStatement{}
	var err error
	if v.Opening, err = s.Opening.Verify(policy); err != nil {
		return nil, errors.Wrap(err, "opening")
	}
	if v.Closing, err = s.Closing.Verify(policy); err != nil {
		return nil, errors.Wrap(err, "closing")
	}
	closing := v.Closing.Account
	switch {
	case v.Opening.Checkpoint.Origin != v.Closing.Checkpoint.Origin:
		return nil, errors.Newf("it begins in the ledger %s and ends in %s", v.Opening.Checkpoint.Origin, v.Closing.Checkpoint.Origin)
	case v.Opening.Size > v.Closing.Size:
		return nil, errors.New("it ends before it begins")
	case closing == nil && v.Opening.Account != nil:
		return nil, errors.New("the account is there at the beginning and not at the end")
	case closing == nil && len(s.Entries) > 0:
		return nil, errors.New("it shows entries of an account that does not exist")
	case closing == nil:
		return v, nil
	}
	opening := v.Opening.Account
	if opening == nil {
		opening = &settlement.Account{ID: closing.ID, Asset: closing.Asset}
	}
	chain := chain{account: closing.ID, head: opening.Head, sequence: opening.Sequence, last: opening.Last, balances: opening.Balances, known: true}
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.Index < v.Opening.Size || e.Index >= v.Closing.Size {
			return nil, errors.Newf("entry %d lies outside of the statement", e.Index)
		}
		entry, err := chain.next(e)
		if err != nil {
			return nil, err
		}
		v.Entries = append(v.Entries, entry)
	}
	switch {
	case chain.head != closing.Head || chain.sequence != closing.Sequence:
		return nil, errors.New("the entries do not lead from the opening record to the closing one: one is missing, too many or changed")
	case chain.known && chain.balances != closing.Balances:
		return nil, errors.New("the last entry leaves other balances than the closing record has")
	}
	return v, nil
}

// chain follows an account from entry to entry.
type chain struct {
	account  string
	head     merkle.Hash
	sequence uint64
	last     uint64
	balances settlement.Balances
	known    bool // balances are those after the last entry
}

func (c *chain) next(e *StatementEntry) (VerifiedEntry, error) {
	v := VerifiedEntry{Index: e.Index}
	if c.sequence > 0 && e.Index <= c.last {
		return v, errors.Newf("entry %d stands behind entry %d", e.Index, c.last)
	}
	digest := e.Digest
	before, knew := c.balances, c.known
	c.known = false
	if e.Leaf != nil {
		d, err := settlement.ParseLeaf(e.Index, e.Leaf)
		if err != nil {
			return v, err
		}
		digest = d.Digest()
		line, ok := d.Outcome.Line(c.account)
		previous := c.last
		if c.sequence == 0 {
			previous = e.Index
		}
		if !ok || line.Sequence != c.sequence+1 || line.Previous != previous {
			return v, errors.Newf("entry %d does not follow entry %d of the account", e.Index, c.last)
		}
		v.Decided, v.Before, v.After, v.Known = d, before, line.Balances, knew
		c.balances, c.known = line.Balances, true
	}
	c.head, c.last = settlement.NextHead(c.head, e.Index, digest), e.Index
	c.sequence++
	return v, nil
}
