package proof

import (
	"bytes"
	"crypto/sha256"
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

// Statement proves every entry that touched an account between two sizes, and what the account had
// after each of them: the heads of the two records chain them, so that none can be left out,
// invented or moved.
type Statement struct {
	// Opening is the account, or its absence, as of the first size; nil: the statement begins with
	// the entry that opened the account.
	Opening *Account
	Closing *Account // as of the second size
	Entries []StatementEntry
}

// StatementEntry is an entry that touched the account.
type StatementEntry struct {
	Index uint64
	// Covered is the leaf without what it says of accounts (settlement.Decided.Covered). It is nil
	// when the entry is not shown, and Digest, its SHA-256, stands for it.
	Covered []byte
	Digest  settlement.Digest
	Detail  []byte // of the account, as settlement.Detail encodes it
}

// Marshal returns the file.
func (s *Statement) Marshal() []byte {
	d := document{kind: statementKind}
	if s.Opening != nil {
		d.parts = append(d.parts, s.Opening.Marshal())
	}
	d.parts = append(d.parts, s.Closing.Marshal())
	d.add("account", s.Closing.ID)
	for i := range s.Entries {
		e := &s.Entries[i]
		name, what := "hidden", e.Digest[:]
		if e.Covered != nil {
			name, what = "entry", e.Covered
		}
		d.add(name, fmt.Sprintf("%d %s %s", e.Index, encoding.EncodeToString(what), encoding.EncodeToString(e.Detail)))
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
		e, ok := parseStatementEntry(f.next(f.rest[0].name), hidden)
		if !ok {
			f.fail("a damaged line about an entry")
		}
		s.Entries = append(s.Entries, e)
	}
	if err := f.end(); err != nil {
		return nil, err
	}
	n := len(d.parts)
	if n < 1 || n > 2 {
		return nil, errors.Newf("%d parts, want one proof of the account or two", n)
	}
	if s.Closing, err = ParseAccount(d.parts[n-1]); err != nil {
		return nil, errors.Wrap(err, "closing")
	}
	if n == 2 {
		if s.Opening, err = ParseAccount(d.parts[0]); err != nil {
			return nil, errors.Wrap(err, "opening")
		}
	}
	if s.Closing.ID != id || s.Opening != nil && s.Opening.ID != id {
		return nil, errors.Newf("a statement about %s with proofs about other accounts", id)
	}
	return s, nil
}

func parseStatementEntry(value string, hidden bool) (e StatementEntry, ok bool) {
	words := strings.Split(value, " ")
	if len(words) != 3 {
		return e, false
	}
	var err error
	if e.Index, err = strconv.ParseUint(words[0], 10, 64); err != nil {
		return e, false
	}
	var contents [][]byte
	for _, w := range words[1:] {
		b, err := encoding.Strict().DecodeString(w)
		if err != nil || len(b) == 0 {
			return e, false
		}
		contents = append(contents, b)
	}
	e.Detail = contents[1]
	if !hidden {
		e.Covered = contents[0]
		return e, true
	}
	if len(contents[0]) != len(e.Digest) {
		return e, false
	}
	e.Digest = settlement.Digest(contents[0])
	return e, true
}

// VerifiedStatement is what a statement proves.
type VerifiedStatement struct {
	Opening *VerifiedAccount // nil: the statement begins with the entry that opened the account
	Closing *VerifiedAccount
	Entries []VerifiedEntry
}

// VerifiedEntry is an entry of a statement.
type VerifiedEntry struct {
	Index   uint64
	Decided *settlement.Decided // nil: not shown
	Before  settlement.Balances
	Line    settlement.Line // what the account has after the entry
}

// Verify verifies the statement under a policy.
func (s *Statement) Verify(policy tlog.Verifier) (*VerifiedStatement, error) {
	v, err := s.verify(policy)
	return v, errors.Wrapf(err, "verify the statement of the account %s", s.Closing.ID)
}

func (s *Statement) verify(policy tlog.Verifier) (*VerifiedStatement, error) {
	v := &VerifiedStatement{}
	var err error
	if v.Closing, err = s.Closing.Verify(policy); err != nil {
		return nil, errors.Wrap(err, "closing")
	}
	closing := v.Closing.Account
	chain := chain{account: s.Closing.ID}
	first := uint64(0) // where the statement begins
	if s.Opening != nil {
		if v.Opening, err = s.Opening.Verify(policy); err != nil {
			return nil, errors.Wrap(err, "opening")
		}
		if first = v.Opening.Size; first > v.Closing.Size {
			return nil, errors.New("it ends before it begins")
		}
		if v.Opening.Checkpoint.Origin != v.Closing.Checkpoint.Origin {
			return nil, errors.Newf("it begins in the ledger %s and ends in %s", v.Opening.Checkpoint.Origin, v.Closing.Checkpoint.Origin)
		}
		if o := v.Opening.Account; o != nil {
			chain.head, chain.sequence, chain.last, chain.balances = o.Head, o.Sequence, o.Last, o.Balances
		}
	}
	switch {
	case closing == nil && chain.sequence > 0:
		return nil, errors.New("the account is there at the beginning and not at the end")
	case closing == nil && len(s.Entries) > 0:
		return nil, errors.New("it shows entries of an account that does not exist")
	case closing == nil:
		return v, nil
	}
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.Index < first || e.Index >= v.Closing.Size {
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
	case chain.balances != closing.Balances:
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
	balances settlement.Balances // after the last entry
}

func (c *chain) next(e *StatementEntry) (VerifiedEntry, error) {
	v := VerifiedEntry{Index: e.Index, Before: c.balances}
	digest := e.Digest
	detail, err := settlement.ParseDetail(e.Detail)
	if err == nil && e.Covered != nil {
		digest = sha256.Sum256(e.Covered)
		v.Decided, err = settlement.ParseCovered(e.Index, e.Covered)
	}
	if err != nil {
		return v, errors.Wrapf(err, "entry %d", e.Index)
	}
	v.Line = detail.Line
	previous := c.last
	if c.sequence == 0 {
		previous = e.Index
	}
	if detail.Head != c.head || v.Line.Account != c.account || v.Line.Sequence != c.sequence+1 || v.Line.Previous != previous || c.sequence > 0 && e.Index <= c.last {
		return v, errors.Newf("entry %d does not follow entry %d of the account", e.Index, c.last)
	}
	c.head, c.last = detail.Next(e.Index, digest), e.Index
	c.sequence, c.balances = v.Line.Sequence, v.Line.Balances
	return v, nil
}
