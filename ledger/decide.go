package ledger

import (
	"crypto/sha256"

	"github.com/cockroachdb/errors"
)

// decide gives every batch its result and returns what is to be appended. It reads the idempotency
// index as it is after everything staged so far and stages the new keys.
func (l *Ledger) decide(block *Block) (results []Result, d *decision, err error) {
	entries := 0
	for i := range block.Batches {
		entries += len(block.Batches[i].Entries)
	}
	d = &decision{
		l:         l,
		accepted:  make([]*BlockEntry, 0, entries),
		indexes:   make([]uint64, entries),
		duplicate: make([]bool, entries),
		alone:     len(block.Batches) == 1,
	}
	results = make([]Result, len(block.Batches))
	first := l.applier.pos.Size
	size := first
	l.applier.state.beginBlock(first)
	l.applier.accounts.begin()
	for i := range block.Batches {
		d.last = i+1 == len(block.Batches)
		if err := d.batch(block.Time, &block.Batches[i], size, &results[i]); err != nil {
			return nil, nil, err
		}
		size = results[i].Size
		results[i].Time = block.Time
	}
	d.updateMap(first)
	if d.outcomes != nil {
		d.outcomes = d.outcomes[:len(d.accepted)]
	}
	if d.detailEnds != nil {
		d.detailEnds = d.detailEnds[:len(d.accepted)]
		for i := 1; i < len(d.detailEnds); i++ { // a record of the ledger has set none
			d.detailEnds[i] = max(d.detailEnds[i], d.detailEnds[i-1])
		}
	}
	return results, d, nil
}

// decision is the work on one block.
type decision struct {
	l *Ledger
	// accepted has the entries to append, in order.
	accepted []*BlockEntry
	// outcomes has those of accepted, and is nil while none has one; outcomeBytes is their sum.
	outcomes     [][]byte
	outcomeBytes int
	// detailEnds has where the detail of each of accepted ends in programState.details, and is nil
	// while none has one.
	detailEnds []uint32
	in         Input    // of the last decision
	last       bool     // the batch that is being decided is the last one of the block
	alone      bool     // it is the only one
	root       *mapRoot // nil: the block has neither changed the map nor published its root
	// room for the results of the batches to come
	indexes   []uint64
	duplicate []bool
}

// batch decides one batch on a ledger of the given size. An error is the store's.
//
// The rules, in this order: a key that is stored with another body refuses the whole batch; entries
// whose key is stored with the same body are duplicates; a batch that has an expected size and
// would append must find exactly that size; one that would append nothing must find that size or be
// the retry of the batch that did, which shows in one of its entries being stored at that very
// index.
//
// Then the program decides what is to be appended. What it puts for a batch that is refused is
// dropped.
func (d *decision) batch(time int64, b *BlockBatch, size uint64, res *Result) error {
	a := &d.l.applier.applierState
	n := len(b.Entries)
	indexes, duplicate := d.indexes[:n:n], d.duplicate[:n:n]
	d.indexes, d.duplicate = d.indexes[n:], d.duplicate[n:]

	mark, staged, details := len(d.accepted), len(a.pairs), len(a.state.details)
	outcomeBytes := d.outcomeBytes
	next := size
	refuse := func(err error) {
		for _, p := range a.pairs[staged:] {
			delete(a.pending, [32]byte(p.Key[9:]))
		}
		clear(a.pairs[staged:])
		a.pairs, d.accepted = a.pairs[:staged], d.accepted[:mark]
		a.state.undo()
		if d.outcomes != nil {
			clear(d.outcomes[mark:])
		}
		if d.detailEnds != nil {
			clear(d.detailEnds[mark:])
		}
		a.state.details = a.state.details[:details]
		d.outcomeBytes = outcomeBytes
		res.Err, res.Size = err, size
	}
	atExpected := false
	for i := range b.Entries {
		e := &b.Entries[i]
		if len(e.Key) == 0 {
			indexes[i] = next
			next++
			d.accepted = append(d.accepted, e)
			continue
		}
		name, body := keyDigest(e.Principal, e.Key), bodyRef{e.Kind, sha256.Sum256(e.Body)}
		ref, found, err := d.l.lookup(&name, size)
		if err != nil {
			return err
		}
		switch {
		case found && ref.bodyRef != body:
			refuse(&ConflictError{Key: append([]byte(nil), e.Key...), Index: ref.index, InBatch: ref.index >= size,
				StoredKind: ref.kind, OfferedKind: body.kind, StoredDigest: ref.digest, OfferedDigest: body.digest})
			return nil
		case found:
			indexes[i], duplicate[i] = ref.index, true
			atExpected = atExpected || b.ExpectedSize != nil && *b.ExpectedSize == ref.index
		default:
			ref = keyRef{next, body}
			a.pending[name] = ref
			a.pairs = append(a.pairs, Pair{d.l.keys.key(&name), ref.marshal()})
			indexes[i] = next
			next++
			d.accepted = append(d.accepted, e)
		}
	}
	if b.ExpectedSize != nil && *b.ExpectedSize != size && (next > size || !atExpected) {
		refuse(&SizeMismatchError{Expected: *b.ExpectedSize, Actual: size})
		return nil
	}
	refused, err := d.run(time, mark, size)
	if err != nil {
		return err
	}
	if refused != nil {
		for i := range duplicate { // of the new entries to the place in the batch
			if duplicate[i] && i <= refused.Entry {
				refused.Entry++
			}
		}
		refuse(refused)
		return nil
	}
	for _, p := range a.pairs[staged:] {
		a.bytes += len(p.Key) + len(p.Value) + pairOverhead
	}
	res.Wrote = a.state.keep()
	res.Indexes, res.Duplicate, res.Size = indexes, duplicate, next
	return nil
}

// pairOverhead is what a small pair costs the store beside its bytes.
const pairOverhead = 32

// lookup finds an idempotency key among the staged ones and in the store, for a batch on a ledger
// of the given size.
func (l *Ledger) lookup(name *[32]byte, size uint64) (keyRef, bool, error) {
	a := &l.applier.applierState
	if ref, ok := a.pending[*name]; ok {
		return ref, true, nil
	}
	ref, found, err := l.storedKey(name, size)
	if err != nil || !found {
		return keyRef{}, false, err
	}
	if ref.index >= a.pos.Size {
		// In an overlap the store may hold a later part of the history than has been replayed.
		if a.overlapping {
			return keyRef{}, false, nil
		}
		return keyRef{}, false, &CorruptError{What: "idempotency record", Index: ref.index,
			Err: errors.Newf("it points beyond the ledger's size %d", a.pos.Size)}
	}
	return ref, true, nil
}

// storedKey finds an idempotency key in the store; at is the index or size that a *CorruptError
// names.
func (l *Ledger) storedKey(name *[32]byte, at uint64) (ref keyRef, found bool, err error) {
	b, err := l.store.Get(l.keys.key(name))
	if errors.Is(err, ErrKeyNotFound) {
		return keyRef{}, false, nil
	}
	if err != nil {
		return keyRef{}, false, errors.Wrap(err, "look up an idempotency key")
	}
	if ref, found = parseKeyRef(b); !found {
		return keyRef{}, false, damagedKey(at, errors.Newf("%d bytes", len(b)))
	}
	return ref, true, nil
}

// CheckKey demands that the store knows the idempotency key of an entry and has this entry for it,
// and that it knows a record of the policies as one; a *CorruptError if not. Nothing else would show
// that this is gone: a repetition would be appended once more, and an older policy be in force.
func (l *Ledger) CheckKey(index uint64, leaf []byte) error {
	e, err := ParseLeaf(leaf)
	if err != nil {
		return damagedEntry("leaf", index, err)
	}
	if index > 0 && e.Kind == KindRecord && (isPolicyChange(e.Body) || isHandover(e.Body)) {
		if _, since, err := l.policyRefAt(index + 1); err != nil {
			return err
		} else if since != index {
			return &CorruptError{What: "policy", Index: index, Err: errors.New("it is missing")}
		}
	}
	if len(e.Key) == 0 {
		return nil
	}
	name, want := keyOf(index, &e)
	ref, found, err := l.storedKey(&name, index)
	switch {
	case err != nil:
		return err
	case !found:
		return damagedKey(index, errors.New("it is missing"))
	case ref != want:
		return damagedKey(index, errors.Newf("it tells of another entry, at %d", ref.index))
	}
	return nil
}

// keyOf returns the name of an entry's idempotency key and what the store has for it.
func keyOf(index uint64, e *Entry) (name [32]byte, ref keyRef) {
	return keyDigest([]byte(e.Principal), e.Key), keyRef{index, bodyRef{e.Kind, sha256.Sum256(e.Body)}}
}
