package tlog

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// Reasons why a policy does not accept a checkpoint or a receipt, to be
// matched with errors.Is.
var (
	// ErrPolicy: the policy itself cannot be verified under, because it names no
	// log or demands no cosignature.
	ErrPolicy = errors.New("policy is not sufficient")
	// ErrUnknownLog: the checkpoint's origin is no log of the policy.
	ErrUnknownLog = errors.New("log is not in the policy")
	// ErrNoLogSignature: the line of the log itself is missing.
	ErrNoLogSignature = errors.New("signature of the log is missing")
	// ErrBadSignature: a line by a key of the policy does not verify. One such
	// line makes the whole note worthless, whatever the others say.
	ErrBadSignature = errors.New("signature is not valid")
	// ErrQuorum: too few cosignatures.
	ErrQuorum = errors.New("quorum is not reached")
	// ErrNoEntry: the receipt does not carry the entry it is about.
	ErrNoEntry = errors.New("receipt carries no entry")
)

// A VerifiedCheckpoint is a checkpoint that a policy accepts.
type VerifiedCheckpoint struct {
	Checkpoint
	// LogKey is the key of the log that signed it.
	LogKey *VerifierKey
	// Cosigners whose cosignatures were verified, in the policy's order. They
	// reach the quorum and may be more.
	Cosigners []CosignedBy
}

// CosignedBy is one verified cosignature.
type CosignedBy struct {
	// Name of the cosigner's key.
	Name string
	// Time that the cosigner claims, in whole seconds; zero when it claims none.
	Time time.Time
}

// A Verifier judges checkpoints and receipts: a [Policy], or the policies of a ledger, each for the
// sizes that it is for.
type Verifier interface {
	Verify(note []byte) (*VerifiedCheckpoint, error)
	VerifyReceipt(r *Receipt) (*VerifiedCheckpoint, error)
}

// Verify parses a signed note and verifies the checkpoint in it: it is signed
// by the policy's log for its origin, and cosigned by the policy's quorum.
// Lines by keys that the policy does not know are ignored, as C2SP signed-note
// demands.
func (p *Policy) Verify(note []byte) (*VerifiedCheckpoint, error) {
	v, err := p.verify(note)
	return v, errors.Wrap(err, "verify checkpoint")
}

func (p *Policy) verify(note []byte) (*VerifiedCheckpoint, error) {
	if len(p.logs) == 0 {
		return nil, errors.Newf("%w: it lists no log", ErrPolicy)
	}
	if p.quorum == "" || p.quorum == noQuorum {
		return nil, errors.Newf("%w: it has no quorum, so whoever holds the log's key could forge a checkpoint; "+
			"add a group of cosigners and name it in the quorum line", ErrPolicy)
	}
	cp, n, err := ParseCheckpoint(note)
	if err != nil {
		return nil, err
	}
	v := &VerifiedCheckpoint{Checkpoint: cp}
	if v.LogKey, err = p.verifyLog(cp, n); err != nil {
		return nil, err
	}
	cosigned := make([]bool, len(p.witnesses))
	for i, w := range p.witnesses {
		timestamp, found, err := verifyLines(w.key, cp, n)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		cosigned[i] = true
		by := CosignedBy{Name: w.key.Name()}
		if timestamp != 0 {
			by.Time = time.Unix(int64(timestamp), 0).UTC()
		}
		v.Cosigners = append(v.Cosigners, by)
	}
	if missing := p.missing(p.quorum, cosigned); missing != "" {
		return nil, errors.Newf("%w: %s", ErrQuorum, missing)
	}
	return v, nil
}

// verifyLog verifies the lines of the logs with the checkpoint's origin and
// returns the first key that signed. A key of a log with another origin does not
// count.
func (p *Policy) verifyLog(cp Checkpoint, n *Note) (*VerifierKey, error) {
	var signed *VerifierKey
	known := false
	for _, l := range p.logs {
		if l.key.Name() != cp.Origin {
			continue
		}
		known = true
		_, found, err := verifyLines(l.key, cp, n)
		if err != nil {
			return nil, err
		}
		if found && signed == nil {
			signed = l.key
		}
	}
	if !known {
		names := make([]string, len(p.logs))
		for i, l := range p.logs {
			names[i] = l.key.Name()
		}
		return nil, errors.Newf("%w: origin is %s, the policy lists %s",
			ErrUnknownLog, quoteShort(cp.Origin), strings.Join(names, ", "))
	}
	if signed == nil {
		return nil, errors.Newf("%w: no line by a key of %s", ErrNoLogSignature, quoteShort(cp.Origin))
	}
	return signed, nil
}

// verifyLines verifies every line by the key. Repeated lines must all be
// valid; the latest timestamp is returned.
func verifyLines(key *VerifierKey, cp Checkpoint, n *Note) (timestamp uint64, found bool, err error) {
	for _, sig := range n.Signatures {
		if !key.Signed(sig) {
			continue
		}
		t, err := key.VerifyCheckpoint(cp, sig)
		if err != nil {
			return 0, false, err
		}
		found = true
		timestamp = max(timestamp, t)
	}
	return timestamp, found, nil
}

// missing says what the named witness or group lacks, or nothing when it has
// witnessed the checkpoint.
func (p *Policy) missing(name string, cosigned []bool) string {
	m := p.byName[name]
	if !m.isGroup {
		if cosigned[m.position] {
			return ""
		}
		return "no cosignature by " + p.describe(name)
	}
	g := p.groups[m.position]
	var lacking []string
	for _, member := range g.members {
		if p.missing(member, cosigned) != "" {
			lacking = append(lacking, p.describe(member))
		}
	}
	have := len(g.members) - len(lacking)
	if have >= g.k {
		return ""
	}
	return fmt.Sprintf("%d of %d cosignatures that group %s needs; missing: %s",
		have, g.k, name, strings.Join(lacking, ", "))
}

// describe names a member of a group, with its key's name if that is another.
func (p *Policy) describe(name string) string {
	m := p.byName[name]
	if m.isGroup {
		return "group " + name
	}
	if key := p.witnesses[m.position].key.Name(); key != name {
		return name + " (" + key + ")"
	}
	return name
}

// VerifyReceipt verifies a receipt offline: the policy accepts its checkpoint,
// and the entry that it carries is at its index in that checkpoint's tree.
func (p *Policy) VerifyReceipt(r *Receipt) (*VerifiedCheckpoint, error) {
	v, err := p.verifyReceipt(r)
	return v, errors.Wrap(err, "verify receipt")
}

func (p *Policy) verifyReceipt(r *Receipt) (*VerifiedCheckpoint, error) {
	if len(r.Extra) == 0 {
		return nil, errors.Newf("%w: no extra line to compute the leaf from", ErrNoEntry)
	}
	if len(r.Extra) > merkle.MaxEntrySize {
		return nil, errors.Newf("entry has %d bytes, at most %d are possible", len(r.Extra), merkle.MaxEntrySize)
	}
	if r.Index > math.MaxInt64 {
		return nil, errors.Newf("index %d is beyond any ledger", r.Index)
	}
	v, err := p.Verify(r.Checkpoint)
	if err != nil {
		return nil, err
	}
	if err := merkle.VerifyInclusion(r.Index, v.Size, merkle.LeafHash(r.Extra), r.Proof, v.Root); err != nil {
		return nil, errors.Wrapf(err, "verify inclusion in checkpoint of size %d", v.Size)
	}
	return v, nil
}
