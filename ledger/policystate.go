package ledger

import (
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/errors"
)

// PolicyInForce says whose signatures seal the checkpoints of a size. Immutable.
//
// A change is handed over from one policy to the next by both. From the size on that includes the
// change, a checkpoint needs the signatures that the new policy demands and those that the policy
// before demands, until a record (Handover) shows a checkpoint that has both. That record is in the
// ledger itself, so whose signatures a size needs is a function of the entries below it, and the
// proof that leads from one policy to the next is kept for ever with the entries.
//
// A further change while a hand-over is under way takes the place of the one that has not come to
// its end. So members that turn out to be dead do not end the sealing of a ledger.
//
// A ledger that was restored has no hand-over: the keys before are gone, or not to be used. From the
// record on (PolicyRestore) the new policy alone seals. No replica takes such a record from Raft
// (Restores): it is written behind a backup, or behind what one survivor has, before any node of the
// new policy runs.
type PolicyInForce struct {
	Newest *Policy // of the newest change
	Index  uint64  // of the entry that says Newest
	// Before is the policy that hands over to Newest; nil when it has.
	Before *Policy
}

// Verify verifies a checkpoint of such a size.
func (in *PolicyInForce) Verify(origin string, note []byte) error {
	for _, p := range in.All() {
		v, err := p.Verifier(origin)
		if err != nil {
			return err
		}
		if _, err := v.Verify(note); err != nil {
			return errors.Wrapf(err, "policy of epoch %d", p.Epoch)
		}
	}
	return nil
}

// All returns the policies each of which must accept a checkpoint, the oldest first.
func (in *PolicyInForce) All() []*Policy {
	if in.Before == nil {
		return []*Policy{in.Newest}
	}
	return []*Policy{in.Before, in.Newest}
}

// policyRef says where the policies in force are: the indexes of the entries that say them, 0 for
// the genesis. Invariant: before <= newest, and they are equal when there is no hand-over.
type policyRef struct{ newest, before uint64 }

const policyRefSize = 8 + 8

func (r policyRef) marshal() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, r.newest), r.before)
}

// policyState is the applier's: ref as the entries so far left it, and what it refers to as far as
// it was read. staged has the policies of the block that is being decided, which no leaf shows yet.
type policyState struct {
	ref policyRef
	// since is the index of the record that made ref so.
	since  uint64
	staged map[uint64]*Policy
}

// policyRefAt reads where the policies are that are in force at a size, and since which record.
func (l *Ledger) policyRefAt(size uint64) (r policyRef, since uint64, err error) {
	if size == 0 {
		return r, 0, nil
	}
	p, err := l.store.SeekLast(l.keys.policy(size-1), l.keys.prefix(kindPolicy, 0))
	switch {
	case errors.Is(err, ErrKeyNotFound):
		return r, 0, nil
	case err != nil:
		return r, 0, errors.Wrap(err, "read the policy")
	case len(p.Value) != policyRefSize:
		return r, 0, &CorruptError{What: "policy", Index: size, Err: errors.Newf("%d bytes", len(p.Value))}
	}
	since = binary.BigEndian.Uint64(p.Key[len(p.Key)-8:])
	return policyRef{binary.BigEndian.Uint64(p.Value), binary.BigEndian.Uint64(p.Value[8:])}, since, nil
}

// PolicyAt returns whose signatures seal a checkpoint of this size, at least 1. Its errors:
// *NotFoundError when the ledger has not reached the size, ErrNoGenesis, *CorruptError, the
// store's.
func (l *Ledger) PolicyAt(size uint64) (*PolicyInForce, error) {
	v := l.view.Load()
	if size == 0 || size > v.head.Size {
		return nil, &NotFoundError{Index: size, Size: v.head.Size}
	}
	ref := v.policy
	if size <= v.policySince {
		var err error
		if ref, _, err = l.policyRefAt(size); err != nil {
			return nil, err
		}
	}
	if known := l.policies.Load(); known != nil && known.ref == ref {
		return known.in, nil
	}
	in, err := ref.resolve(l.readPolicy)
	if err != nil {
		return nil, err
	}
	l.policies.Store(&knownPolicies{ref, in})
	return in, nil
}

// knownPolicies is what was read last.
type knownPolicies struct {
	ref policyRef
	in  *PolicyInForce
}

func (r policyRef) resolve(read func(uint64) (*Policy, error)) (*PolicyInForce, error) {
	newest, err := read(r.newest)
	if err != nil {
		return nil, err
	}
	in := &PolicyInForce{Newest: newest, Index: r.newest}
	if r.before != r.newest {
		in.Before, err = read(r.before)
	}
	return in, err
}

// readPolicy returns the policy that an entry says. The leaf is proved.
func (l *Ledger) readPolicy(index uint64) (*Policy, error) {
	if index == 0 {
		g, err := l.Genesis()
		if err != nil {
			return nil, err
		}
		return g.Policy0(), nil
	}
	leaf, err := l.Leaf(index)
	if err != nil {
		return nil, errors.Wrap(err, "read a policy")
	}
	c, err := PolicyChangeOf(leaf)
	if err != nil {
		return nil, &CorruptError{What: "policy", Index: index, Err: err}
	}
	return &c.Policy, nil
}

// PolicyChangeOf returns the policy change that a leaf holds.
func PolicyChangeOf(leaf []byte) (*PolicyChange, error) {
	e, err := ParseLeaf(leaf)
	if err != nil {
		return nil, err
	}
	if e.Kind != KindRecord {
		return nil, errors.Newf("a %s is no policy change", e.Kind)
	}
	return ParsePolicyChange(e.Body)
}

// PolicyRecords returns the indexes of the records below a size that changed the policies in force,
// ascending: policy changes and hand-overs.
func (l *Ledger) PolicyRecords(size uint64) (indexes []uint64, err error) {
	for size > 0 {
		_, since, err := l.policyRefAt(size)
		if err != nil {
			return nil, err
		}
		if since == 0 {
			break
		}
		indexes = append([]uint64{since}, indexes...)
		size = since
	}
	return indexes, nil
}

// acceptPolicy says whether the ledger takes a policy change or a hand-over at this index. stop is
// the store's error.
//
// alone: the record is all that its block has. A change of members has to be.
//
// A block with such a record begins a commit of its own (stage), so the ledger that readers see is
// the one before the block, on every replica.
func (l *Ledger) acceptPolicy(body []byte, index uint64, alone bool) (refused, stop error) {
	a := &l.applier.applierState
	in, err := a.policy.ref.resolve(func(index uint64) (*Policy, error) {
		if p := a.policy.staged[index]; p != nil {
			return p, nil
		}
		return l.readPolicy(index)
	})
	if errors.Is(err, ErrNoGenesis) {
		return errors.Wrap(err, "a ledger without a genesis has no policy"), nil
	} else if err != nil {
		return nil, err
	}
	head, ref := l.Head().Size, a.policy.ref
	if isHandover(body) {
		h, err := ParseHandover(body)
		if err != nil {
			return err, nil
		}
		if refused, stop = h.ends(l.cfg.Origin, in, head, l.RootAt); refused != nil || stop != nil {
			return refused, stop
		}
		ref.before = ref.newest
	} else {
		c, err := ParsePolicyChange(body)
		if err == nil {
			err = c.follows(l.cfg.Origin, in)
		}
		if err == nil && c.Reason.ChangesMembers() && !alone {
			err = errors.New("policy change: a change of members is the only batch of its block")
		}
		if err != nil {
			return err, nil
		}
		if c.Reason == PolicyRestore {
			if refused := c.continues(index, l.Head()); refused != nil {
				return refused, nil
			}
			ref.before = index
			a.restored = c.restoration(index)
		}
		ref.newest = index
		if a.policy.staged == nil {
			a.policy.staged = map[uint64]*Policy{}
		}
		a.policy.staged[index] = &c.Policy
	}
	a.policy.ref, a.policy.since = ref, index
	a.pairs = append(a.pairs, Pair{l.keys.policy(index), ref.marshal()})
	return nil, nil
}

// restoration is what programs are told about the record at this index.
func (c *PolicyChange) restoration(index uint64) *Restoration {
	r := &Restoration{Index: index}
	for _, m := range c.Policy.Members {
		r.Members = append(r.Members, m.Member)
	}
	return r
}

// continues says why the record is not the first one behind the head that it names: the ledger before
// the block has that head, and the record is the next entry.
func (c *PolicyChange) continues(index uint64, head Head) error {
	switch {
	case c.Restored.Size != index || head.Size != index:
		return errors.Newf("policy change: it names a restored head of size %d and is entry %d of a ledger of size %d", c.Restored.Size, index, head.Size)
	case c.Restored.Root != head.Root:
		return errors.Newf("policy change: the restored head of size %d has another root than this ledger", c.Restored.Size)
	}
	return nil
}

// Restored returns the newest record with which this ledger was restored, and its index; nil when it
// never was.
func (l *Ledger) Restored() (*PolicyChange, uint64, error) {
	records, err := l.PolicyRecords(l.Head().Size)
	for _, index := range slices.Backward(records) {
		leaf, err := l.Leaf(index)
		if err != nil {
			return nil, 0, errors.Wrap(err, "read a policy")
		}
		if c, err := PolicyChangeOf(leaf); err == nil && c.Reason == PolicyRestore {
			return c, index, nil
		}
	}
	return nil, 0, err
}

// Restores reports whether an encoded block holds a record that restores a ledger. Such a block never
// comes through Raft: a leader that proposes one wants to be rid of the keys that seal the ledger. What
// does not parse restores nothing.
func Restores(raw []byte) bool {
	if len(raw) < blockPrefixSize || raw[5]&blockHasRecords == 0 {
		return false
	}
	b, err := ParseBlock(raw)
	if err != nil {
		return false
	}
	for i := range b.Batches {
		for j := range b.Batches[i].Entries {
			if e := &b.Batches[i].Entries[j]; e.Kind == KindRecord {
				if c, err := ParsePolicyChange(e.Body); err == nil && c.Reason == PolicyRestore {
					return true
				}
			}
		}
	}
	return false
}
