package ledger

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"math"
	"sync/atomic"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

const (
	sealedVersion    = 1
	sealedHeaderSize = 1 + 8 + merkle.HashSize + 4 // version, ledger time, root, CRC of everything else

	// sealedSpacing is how far apart, in ledger time (µs), checkpoints are that are kept when newer
	// ones exist.
	sealedSpacing = 60_000_000
)

// Sealed is a sealed checkpoint. Immutable.
type Sealed struct {
	Size uint64
	Root merkle.Hash
	Note []byte // signed note: the log's line and a majority of node lines
}

type sealState struct {
	newest     atomic.Pointer[Sealed]
	newestTime int64 // ledger time when newest was set
	keptTime   int64 // of the newest checkpoint before newest that stays in the store; MinInt64 when there is none
	keep       bool  // whether newest stays when a newer one comes
	version    uint64
	repaired   uint64 // the version of the last repair since Open; see writeAgain
	// future is a checkpoint that the store holds for a size that replay has not reached.
	future     *Sealed
	futureTime int64
	hasFuture  atomic.Bool // future != nil, for the applier, which must not wait for a commit of SetSealed
}

// loadSealed finds the newest stored checkpoint that the ledger covers, and a later one to promote
// after replay.
func (l *Ledger) loadSealed() error {
	s := &l.seals.sealState
	s.keptTime = math.MinInt64
	start := l.cfg.Start.Size
	future, futureTime, err := l.readSealed(math.MaxUint64)
	if err != nil {
		return err
	}
	if future == nil {
		return nil
	}
	now, nowTime := future, futureTime
	if future.Size > start {
		s.future, s.futureTime = future, futureTime
		s.hasFuture.Store(true)
		if now, nowTime, err = l.readSealed(start); err != nil || now == nil {
			return err
		}
	}
	return l.adoptSealed(now, nowTime)
}

// readSealed returns the newest stored checkpoint of at most the size, or nil.
func (l *Ledger) readSealed(size uint64) (*Sealed, int64, error) {
	p, err := l.store.SeekLast(l.keys.sealed(size), l.keys.prefix(kindSealed, 0))
	if errors.Is(err, ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, errors.Wrap(err, "read sealed checkpoint")
	}
	return parseSealed(p)
}

// parseSealed returns a stored checkpoint and the ledger time when it was sealed.
func parseSealed(p Pair) (*Sealed, int64, error) {
	s := &Sealed{Size: binary.BigEndian.Uint64(p.Key[len(p.Key)-8:])}
	b := p.Value
	if len(b) < sealedHeaderSize || b[0] != sealedVersion {
		return nil, 0, damagedCheckpoint(s.Size, errors.Newf("%d bytes without a header", len(b)))
	}
	time := int64(binary.BigEndian.Uint64(b[1:]))
	copy(s.Root[:], b[9:])
	s.Note = b[sealedHeaderSize:]
	if binary.BigEndian.Uint32(b[41:]) != sealedCRC(b) {
		return nil, 0, damagedCheckpoint(s.Size, errors.New("checksum mismatch"))
	}
	return s, time, nil
}

func marshalSealed(s *Sealed, time int64) []byte {
	b := make([]byte, 0, sealedHeaderSize+len(s.Note))
	b = append(b, sealedVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(time))
	b = append(b, s.Root[:]...)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = append(b, s.Note...)
	binary.BigEndian.PutUint32(b[41:], sealedCRC(b))
	return b
}

func sealedCRC(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:41], castagnoli), castagnoli, b[sealedHeaderSize:])
}

// adoptSealed makes a stored checkpoint the newest one.
func (l *Ledger) adoptSealed(s *Sealed, time int64) error {
	root, err := l.RootAt(s.Size)
	if err != nil {
		return errors.Wrap(err, "check a stored checkpoint")
	}
	if root != s.Root {
		return &DivergenceError{RaftIndex: l.Head().RaftIndex, Size: s.Size, Want: s.Root, Got: root, Reason: "a checkpoint that this replica stored has another root"}
	}
	l.seals.newestTime, l.seals.keep = time, true
	l.seals.newest.Store(s)
	l.sealed.reach(s.Size)
	return nil
}

// promoteSealed adopts the stored later checkpoint once replay has reached it.
func (l *Ledger) promoteSealed() error {
	if !l.seals.hasFuture.Load() {
		return nil
	}
	l.seals.Lock()
	defer l.seals.Unlock()
	s := &l.seals.sealState
	if s.future == nil || s.future.Size > l.Head().Size {
		return nil
	}
	future := s.future
	s.future = nil
	s.hasFuture.Store(false)
	if newest := s.newest.Load(); newest != nil && newest.Size >= future.Size {
		return nil
	}
	return l.adoptSealed(future, s.futureTime)
}

// Sealed returns the newest sealed checkpoint, nil when there is none. It never waits.
func (l *Ledger) Sealed() *Sealed { return l.seals.newest.Load() }

// Anchor returns the newest sealed size and its root, for a block to be proposed; those of the
// empty ledger before the first seal.
func (l *Ledger) Anchor() Anchor {
	if s := l.Sealed(); s != nil {
		return Anchor{s.Size, s.Root}
	}
	return Anchor{Root: merkle.EmptyRoot()}
}

// SealedBefore returns the newest stored checkpoint of at most the size, nil when there is none.
// The history is thinned to about one a minute.
func (l *Ledger) SealedBefore(size uint64) (*Sealed, error) {
	size = min(size, l.Head().Size)
	if newest := l.Sealed(); newest != nil && newest.Size <= size {
		return newest, nil
	}
	s, _, err := l.readSealed(size)
	return s, err
}

// SetSealed stores a sealed checkpoint, whose signatures the caller has verified, after comparing
// its root with our own. One that is not newer than the newest is ignored. Its errors:
// *NotFoundError when the ledger has not reached the size, *DivergenceError when the roots differ
// (the node must stop), the store's.
func (l *Ledger) SetSealed(c *Sealed) error {
	l.seals.Lock()
	defer l.seals.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	s := &l.seals.sealState
	newest := s.newest.Load()
	if newest != nil && c.Size <= newest.Size {
		return nil
	}
	root, err := l.RootAt(c.Size)
	if err != nil {
		return err
	}
	head := l.Head()
	if root != c.Root {
		return l.fail(&DivergenceError{RaftIndex: head.RaftIndex, Size: c.Size, Want: c.Root, Got: root, Reason: "a sealed checkpoint has another root"})
	}
	stored := &Sealed{Size: c.Size, Root: c.Root, Note: append([]byte(nil), c.Note...)}
	pairs := []Pair{{l.keys.sealed(c.Size), marshalSealed(stored, head.Time)}}
	if newest != nil && !s.keep {
		pairs = append(pairs, Pair{Key: l.keys.sealed(newest.Size)})
	}
	// Checkpoints are written once and deleted once, the latter at a higher version, without a raft
	// index of their own.
	s.version = max(s.version+1, s.repaired+1, head.RaftIndex)
	if err := l.store.Commit(s.version, pairs); err != nil {
		return l.fail(errors.Wrapf(err, "store sealed checkpoint of size %d", c.Size))
	}
	if newest != nil && s.keep {
		s.keptTime = s.newestTime
	}
	s.newestTime = head.Time
	s.keep = s.keptTime == math.MinInt64 || s.newestTime-s.keptTime >= sealedSpacing
	s.newest.Store(stored)
	l.sealed.reach(c.Size)
	return nil
}

// WaitSealed returns the newest sealed checkpoint as soon as one covers at least the size. Its
// errors: the context's, ErrClosed, or why the ledger stopped.
func (l *Ledger) WaitSealed(ctx context.Context, size uint64) (*Sealed, error) {
	if err := l.sealed.wait(ctx, size); err != nil {
		return nil, err
	}
	if s := l.Sealed(); s != nil {
		return s, nil
	}
	return nil, ErrNotSealed // of the empty ledger
}

// Receipt returns the entry's receipt under the newest sealed checkpoint. Its errors: ErrNotSealed
// when that does not cover the entry, *NotFoundError, *CorruptError.
func (l *Ledger) Receipt(index uint64) (*tlog.Receipt, error) {
	if size := l.Head().Size; index >= size {
		return nil, &NotFoundError{Index: index, Size: size}
	}
	s := l.Sealed()
	if s == nil || index >= s.Size {
		return nil, ErrNotSealed
	}
	leaf, err := l.Leaf(index)
	if err != nil {
		return nil, err
	}
	proof, err := l.InclusionProof(index, s.Size)
	if err != nil {
		return nil, err
	}
	return &tlog.Receipt{Extra: leaf, Index: index, Proof: proof, Checkpoint: s.Note}, nil
}
