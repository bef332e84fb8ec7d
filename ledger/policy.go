package ledger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

const (
	recordPolicy  = 4
	policyVersion = 1

	// maxSigners bounds the quorums of two policies that follow each other, together: the
	// cosignatures of both fit into the record that ends the hand-over.
	maxSigners = 16
)

// Policy says who keeps a ledger and whose signatures seal it. The genesis says the first one,
// records the later ones. Immutable.
type Policy struct {
	// Epoch counts the policies of a ledger: 0 is that of the genesis, each change is one more.
	Epoch uint32
	// LogKeys are the keys of the log's own line in a checkpoint, C2SP vkeys named after the ledger.
	LogKeys []string
	// Members keep the ledger, with ids in ascending order.
	Members []PolicyMember
	// Quorum is how many cosignatures of voters seal a checkpoint. Invariant: more than half of the
	// voters, so that no two disjoint sets of them reach it.
	Quorum uint32
}

// PolicyMember is a member in its role: the cosignatures of learners do not count.
type PolicyMember struct {
	Member
	Learner bool
}

// PolicyReason is why a policy changes.
type PolicyReason uint8

// The reasons. A change does what its reason says and nothing besides, but for the quorum, which
// follows the number of voters.
const (
	PolicyAdd            PolicyReason = 1 // a member more
	PolicyPromote        PolicyReason = 2 // a learner becomes a voter
	PolicyRemove         PolicyReason = 3 // a member less
	PolicyReplace        PolicyReason = 4 // a member less and a learner more
	PolicyRotateCosigner PolicyReason = 5 // a member has another cosigner key
	PolicyRotateLog      PolicyReason = 6 // the log keys are others
	PolicyRestore        PolicyReason = 7 // the ledger was restored, from a backup or from one survivor
)

var policyReasons = [...]string{"", "add", "promote", "remove", "replace", "rotate cosigner key", "rotate log key", "restore"}

// String returns the reason as the documentation calls it.
func (r PolicyReason) String() string {
	if r == 0 || int(r) >= len(policyReasons) {
		return fmt.Sprintf("reason %d", uint8(r))
	}
	return policyReasons[r]
}

// PolicyChange is a record that changes the policy of a ledger, from the size on that includes it.
// The entry's principal is who asked for it and its time is when.
type PolicyChange struct {
	Policy Policy
	Reason PolicyReason
	// Restored is the head that a restored ledger continues, of PolicyRestore alone: that of the ledger
	// before the record.
	Restored Anchor
}

// Policy0 returns the policy that the genesis says.
func (g *Genesis) Policy0() *Policy {
	p := &Policy{LogKeys: g.LogKeys, Quorum: g.SealQuorum}
	for _, m := range g.Members {
		p.Members = append(p.Members, PolicyMember{Member: m})
	}
	return p
}

// Verifier returns the policy in the form that verifies checkpoints of the ledger with this origin.
func (p *Policy) Verifier(origin string) (*tlog.Policy, error) {
	g := Genesis{Origin: origin, LogKeys: p.LogKeys, SealQuorum: p.Quorum, Members: p.Voters()}
	v, err := g.Policy()
	return v, errors.Wrapf(err, "policy of epoch %d", p.Epoch)
}

// Agrees says what a verifier's policy demands otherwise than this one: Genesis.Agrees.
func (p *Policy) Agrees(origin string, policy *tlog.Policy) error {
	g := Genesis{Origin: origin, LogKeys: p.LogKeys, SealQuorum: p.Quorum, Members: p.Voters()}
	return g.Agrees(origin, policy)
}

// Voters returns the members whose cosignatures count.
func (p *Policy) Voters() (voters []Member) {
	for _, m := range p.Members {
		if !m.Learner {
			voters = append(voters, m.Member)
		}
	}
	return voters
}

// PolicyBatch returns the batch that changes a ledger's policy, in the name of who asked for it, or
// says what is wrong with the change in itself. Callers cannot hand in records.
func PolicyBatch(principal string, c *PolicyChange) (Batch, error) {
	body, err := c.Marshal()
	if err == nil && len(body) > MaxBody(principal, 0) {
		err = errors.Newf("policy change: %d bytes do not fit into an entry", len(body))
	}
	if err != nil {
		return Batch{}, err
	}
	return Batch{Principal: principal, Entries: []NewEntry{{Kind: KindRecord, Body: body}}}, nil
}

// Marshal returns the body of the entry, or says what is wrong with the change in itself.
func (c *PolicyChange) Marshal() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	p := &c.Policy
	b := binary.BigEndian.AppendUint32([]byte{recordPolicy, policyVersion}, p.Epoch)
	b = append(b, byte(c.Reason), byte(len(p.LogKeys)))
	for _, k := range p.LogKeys {
		b = appendText(b, k)
	}
	b = append(b, byte(len(p.Members)))
	for _, m := range p.Members {
		role := byte(1)
		if m.Learner {
			role = 2
		}
		b = append(binary.BigEndian.AppendUint64(b, m.ID), role)
		b = appendText(appendText(b, m.Name), m.Cosigner)
	}
	b = binary.BigEndian.AppendUint32(b, p.Quorum)
	if c.Reason == PolicyRestore {
		b = append(binary.BigEndian.AppendUint64(b, c.Restored.Size), c.Restored.Root[:]...)
	}
	return b, nil
}

// ParsePolicyChange parses the body of a record. Every byte string either is refused or encodes
// back to itself.
func ParsePolicyChange(body []byte) (*PolicyChange, error) {
	if !isPolicyChange(body) {
		return nil, errors.Newf("a record of %d bytes that is no policy change of version %d", len(body), policyVersion)
	}
	r := reader{rest: body[2:]}
	c := &PolicyChange{}
	p := &c.Policy
	p.Epoch, c.Reason = r.uint32(), PolicyReason(r.byte())
	for range r.byte() {
		p.LogKeys = append(p.LogKeys, r.text())
	}
	for range r.byte() {
		id, role := r.uint64(), r.byte()
		if role != 1 && role != 2 {
			r.failed = true
		}
		p.Members = append(p.Members, PolicyMember{Member{ID: id, Name: r.text(), Cosigner: r.text()}, role == 2})
	}
	p.Quorum = r.uint32()
	if c.Reason == PolicyRestore {
		c.Restored.Size = r.uint64()
		copy(c.Restored.Root[:], r.take(merkle.HashSize))
	}
	if r.failed || len(r.rest) > 0 {
		return nil, errors.Newf("policy change: %d bytes that end too early, or too late, or have an unknown role", len(body))
	}
	return c, c.check()
}

func isPolicyChange(body []byte) bool {
	return len(body) >= 2 && body[0] == recordPolicy && body[1] == policyVersion
}

// check says what is wrong with the change in itself. It looks at nothing but the change.
func (c *PolicyChange) check() error {
	p := &c.Policy
	voters := len(p.Voters())
	switch {
	case c.Reason < PolicyAdd || c.Reason > PolicyRestore:
		return errors.Newf("policy change: an unknown %s", c.Reason)
	case (c.Reason == PolicyRestore) != (c.Restored != Anchor{}):
		return errors.New("policy change: a restored head belongs to a restored ledger, and to no other")
	case p.Epoch == 0:
		return errors.New("policy change: epoch 0 is that of the genesis")
	case len(p.LogKeys) == 0 || len(p.LogKeys) > maxGenesisKeys:
		return errors.Newf("policy change: %d log keys, want 1 to %d", len(p.LogKeys), maxGenesisKeys)
	case len(p.Members) > maxGenesisMembers:
		return errors.Newf("policy change: %d members, at most %d", len(p.Members), maxGenesisMembers)
	case voters == 0:
		return errors.New("policy change: no voter is left")
	case uint64(p.Quorum)*2 <= uint64(voters):
		return errors.Newf("policy change: two disjoint sets of %d voters reach a quorum of %d", voters, p.Quorum)
	case uint64(p.Quorum) > uint64(voters):
		return errors.Newf("policy change: a quorum of %d of %d voters", p.Quorum, voters)
	}
	names := map[string]bool{}
	var logs, all []*tlog.VerifierKey
	for _, vkey := range p.LogKeys {
		k, err := tlog.ParseVerifierKey(vkey)
		if err != nil {
			return errors.Wrap(err, "policy change: log key")
		}
		logs = append(logs, k)
	}
	for i, m := range p.Members {
		switch {
		case m.ID == 0 || i > 0 && m.ID <= p.Members[i-1].ID:
			return errors.Newf("policy change: member %d: ids start at 1 and ascend", m.ID)
		case len(m.Name) == 0 || len(m.Name) > maxParameterName || names[m.Name]:
			return errors.Newf("policy change: a member whose name has %d bytes, want 1 to %d and each name once", len(m.Name), maxParameterName)
		}
		names[m.Name] = true
		k, err := tlog.ParseVerifierKey(m.Cosigner)
		if err != nil {
			return errors.Wrapf(err, "policy change: cosigner key of %q", m.Name)
		}
		all = append(all, k)
	}
	// Of learners, too: the key of a learner must be fit for its promotion.
	_, err := tlog.NewPolicy(logs, all, 1)
	return errors.Wrap(err, "policy change")
}

// follows says why the change cannot come after the policies that are in force, as the ledger with
// this origin has them.
func (c *PolicyChange) follows(origin string, in *PolicyInForce) error {
	p, old := &c.Policy, in.Newest
	base := in.Newest
	switch {
	case c.Reason == PolicyRestore: // nothing is handed over
		base = p
	case in.Before != nil:
		base = in.Before
	}
	switch {
	case p.Epoch != old.Epoch+1:
		return errors.Newf("policy change: epoch %d behind epoch %d", p.Epoch, old.Epoch)
	case c.Reason != PolicyRestore && uint64(base.Quorum)+uint64(p.Quorum) > maxSigners:
		return errors.Newf("policy change: the quorums %d before and %d now are more than %d together", base.Quorum, p.Quorum, maxSigners)
	}
	// What the hand-over will need, too: the policy before must be one that can be verified.
	for _, q := range []*Policy{p, base} {
		if _, err := q.Verifier(origin); err != nil {
			return errors.Wrap(err, "policy change")
		}
	}
	return c.checkReason(old)
}

// policyDiff counts what differs between two policies.
type policyDiff struct{ added, removed, promoted, demoted, renamed, rekeyed, logs int }

func diffPolicies(old, p *Policy) (d policyDiff) {
	byID := func(ms []PolicyMember, id uint64) *PolicyMember {
		if i, ok := slices.BinarySearchFunc(ms, id, func(m PolicyMember, id uint64) int { return cmp.Compare(m.ID, id) }); ok {
			return &ms[i]
		}
		return nil
	}
	for _, m := range p.Members {
		switch was := byID(old.Members, m.ID); {
		case was == nil:
			d.added++
		default:
			if was.Learner && !m.Learner {
				d.promoted++
			}
			if !was.Learner && m.Learner {
				d.demoted++
			}
			if was.Name != m.Name {
				d.renamed++
			}
			if was.Cosigner != m.Cosigner {
				d.rekeyed++
			}
		}
	}
	for _, m := range old.Members {
		if byID(p.Members, m.ID) == nil {
			d.removed++
		}
	}
	if !slices.Equal(old.LogKeys, p.LogKeys) {
		d.logs = 1
	}
	return d
}

// checkReason compares what the change does with what it says.
func (c *PolicyChange) checkReason(old *Policy) error {
	d := diffPolicies(old, &c.Policy)
	want := map[PolicyReason]policyDiff{
		PolicyAdd: {added: 1}, PolicyPromote: {promoted: 1}, PolicyRemove: {removed: 1}, PolicyReplace: {added: 1, removed: 1},
		PolicyRotateCosigner: {rekeyed: 1}, PolicyRotateLog: {logs: 1}, PolicyRestore: d,
	}[c.Reason]
	if d != want {
		return errors.Newf("policy change: it does something else than %q: %+v", c.Reason, d)
	}
	if c.Policy.Quorum != old.Quorum && len(c.Policy.Voters()) == len(old.Voters()) && c.Reason != PolicyRestore {
		return errors.Newf("policy change: %q changes the quorum and not the number of voters", c.Reason)
	}
	if n := votersChanged(old, &c.Policy); c.Reason.ChangesMembers() && n > 1 {
		return errors.Newf("policy change: %q changes %d voters, want at most one at a time", c.Reason, n)
	}
	return nil
}

// Equal reports whether two policies demand the same, whatever their epochs.
func (p *Policy) Equal(o *Policy) bool {
	a, b := PolicyChange{Policy: *p}, PolicyChange{Policy: *o}
	a.Policy.Epoch, b.Policy.Epoch = 1, 1
	a.Reason, b.Reason = PolicyAdd, PolicyAdd
	x, errA := a.Marshal()
	y, errB := b.Marshal()
	return errA == nil && errB == nil && bytes.Equal(x, y)
}
