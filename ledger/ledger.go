package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

const (
	formatVersion = 2
	maxOriginSize = 1024

	// tileLevels is how many levels of tiles a tree of 2^63 entries has.
	tileLevels = 64 / merkle.TileHeight
)

// Config says which ledger Open opens.
type Config struct {
	Group  uint64  // the ledger's group id: prefix of all of its keys
	Origin string  // the ledger's name, 1 to 1,024 bytes
	Start  Summary // of the Raft log's mark: replay begins behind it
	// Program decides the entries; nil is Log.
	Program Program
	// KnownLevel is the newest feature level that the caller knows; 0 is FeatureLevel.
	KnownLevel uint32
	// Caches is shared with other ledgers; nil is one of DefaultCacheBytes for this ledger alone.
	Caches *Caches
	// MovesPerBase is after how many puts of rows of a Mapped program's map the store gets the
	// newest ones; 0 is 131,072. Tests use less.
	MovesPerBase int
	// ReadOnly opens the ledger for inspection at Start. Open then writes nothing, not even the
	// identity of a new ledger; Err is ErrReadOnly from the start, and ApplyMany and SetSealed
	// return it.
	ReadOnly bool
}

// Head is one consistent state of the ledger.
type Head struct {
	Size                uint64
	Root                merkle.Hash
	RaftIndex, RaftTerm uint64
	Time                int64 // of the newest entry, µs since the Unix epoch
}

// Ledger is one replica's copy of a ledger. See the package documentation for what may run at the
// same time.
type Ledger struct {
	cfg     Config
	keys    keyspace
	store   Store
	program Program
	isLog   bool // program is Log

	view   atomic.Pointer[view]
	cache  ledgerCache
	grown  sizeWaiters // reached = head size
	sealed sizeWaiters // reached = newest sealed size

	// applier belongs to ApplyMany.
	applier struct {
		sync.Mutex
		applierState
	}
	// seals belongs to SetSealed and to the promotion of stored checkpoints.
	seals struct {
		sync.Mutex
		sealState
	}
	durable  durability
	pastMaps pastMaps
	// movesPerBase is Config.MovesPerBase. settled is of settle, under the applier's lock.
	movesPerBase int
	settled      struct {
		head  uint64 // raft index of the head at the last call
		calls int
	}
	policies atomic.Pointer[knownPolicies] // those that were read last
	level    atomic.Uint32                 // the feature level; owned by ApplyMany
	ignored  ignored
	refused  refused
	// storedAtOpen is the newest raft index that the store held when it was opened.
	storedAtOpen uint64

	failed atomic.Pointer[failure]
}

// failure is why the ledger refuses to go on. It is set once.
type failure struct{ err error }

// view is one immutable state that readers work on.
type view struct {
	head Head
	// partial has, for each level, the hashes of the rightmost tile that is not full.
	partial [tileLevels][]merkle.Hash
	// roots are some past states up to head, ascending: those that sealing asks for, as a rule.
	roots []Anchor
	// policy says where the policies in force at head are, policySince since which record.
	policy      policyRef
	policySince uint64
}

type tileID struct {
	level uint8
	index uint64
}

// Open opens the ledger that the store holds, at the state of cfg.Start: blocks behind it are
// applied again. A store without a ledger is given one when Start is zero. Its errors:
// *IdentityError, *CorruptError when the store does not hold what Start says is durable, or the
// store's own.
func Open(store Store, cfg Config) (*Ledger, error) {
	if len(cfg.Origin) == 0 || len(cfg.Origin) > maxOriginSize {
		return nil, errors.Newf("open ledger: origin of %d bytes, want 1 to %d", len(cfg.Origin), maxOriginSize)
	}
	if cfg.Start.RaftIndex == 0 && cfg.Start != (Summary{}) {
		return nil, errors.New("open ledger: start without a raft index")
	}
	if cfg.KnownLevel == 0 {
		cfg.KnownLevel = FeatureLevel
	}
	if cfg.Caches == nil {
		cfg.Caches = NewCaches(DefaultCacheBytes)
	}
	l := &Ledger{cfg: cfg, keys: keyspace{cfg.Group}, store: store, cache: cfg.Caches.of()}
	if l.program = cfg.Program; l.program == nil {
		l.program = Log{}
	}
	if l.movesPerBase = cfg.MovesPerBase; l.movesPerBase == 0 {
		l.movesPerBase = movesPerBase
	}
	_, l.isLog = l.program.(Log)
	if name := l.program.Name(); len(name) == 0 || len(name) > maxProgramName {
		return nil, errors.Newf("open ledger: a program with a name of %d bytes, want 1 to %d", len(name), maxProgramName)
	}
	if cfg.ReadOnly {
		_ = l.fail(ErrReadOnly)
	}
	if err := l.checkIdentity(); err != nil {
		return nil, errors.Wrap(err, "open ledger")
	}
	if err := l.restore(); err != nil {
		return nil, errors.Wrap(err, "open ledger")
	}
	if err := l.loadGenesis(); err != nil {
		return nil, errors.Wrap(err, "open ledger")
	}
	if err := l.loadLevel(); err != nil {
		return nil, errors.Wrap(err, "open ledger")
	}
	if _, ok := l.program.(Mapped); ok {
		if err := l.applier.history.load(l.store, l.keys, cfg.Start); err != nil {
			return nil, errors.Wrap(err, "open ledger")
		}
		if err := l.loadBases(cfg.Start); err != nil {
			return nil, errors.Wrap(err, "open ledger")
		}
	}
	if err := l.loadMap(); err != nil {
		return nil, errors.Wrap(err, "open ledger")
	}
	if err := l.loadSealed(); err != nil {
		return nil, errors.Wrap(err, "open ledger")
	}
	return l, nil
}

// checkIdentity compares the meta record, or writes it into an empty store.
func (l *Ledger) checkIdentity() error {
	want := l.marshalMeta()
	got, err := l.store.Get(l.keys.meta())
	switch {
	case errors.Is(err, ErrKeyNotFound) && l.cfg.Start.RaftIndex == 0 && l.cfg.ReadOnly:
		return nil
	case errors.Is(err, ErrKeyNotFound) && l.cfg.Start.RaftIndex == 0:
		return errors.Wrap(l.store.Commit(1, []Pair{{l.keys.meta(), want}}), "write identity")
	case errors.Is(err, ErrKeyNotFound):
		return &CorruptError{What: "identity", Index: l.cfg.Start.RaftIndex, Err: errors.New("the store holds none, though entries up to this raft index are durable")}
	case err != nil:
		return errors.Wrap(err, "read identity")
	case bytes.Equal(got, want):
		return nil
	}
	id, err := parseIdentity(got)
	if err != nil {
		return err
	}
	if id.Origin != l.cfg.Origin {
		return &IdentityError{"origin", fmt.Sprintf("%q", id.Origin), fmt.Sprintf("%q", l.cfg.Origin)}
	}
	return &IdentityError{"program", fmt.Sprintf("%q", id.Program), fmt.Sprintf("%q", l.program.Name())}
}

// Identity is what a store says about a ledger that it holds.
type Identity struct{ Origin, Program string }

// ReadIdentity returns the identity of a group's ledger, or ErrKeyNotFound. Other errors:
// *IdentityError for another format version, *CorruptError, the store's.
func ReadIdentity(store Store, group uint64) (Identity, error) {
	b, err := store.Get(keyspace{group}.meta())
	if err != nil {
		return Identity{}, err
	}
	return parseIdentity(b)
}

func parseIdentity(b []byte) (Identity, error) {
	if len(b) < 2+4 || crc32.Checksum(b[:len(b)-4], castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return Identity{}, &CorruptError{What: "identity", Err: errors.New("checksum mismatch")}
	}
	if v := binary.BigEndian.Uint16(b); v != formatVersion {
		return Identity{}, &IdentityError{"format version", fmt.Sprint(v), fmt.Sprint(formatVersion)}
	}
	origin, program, ok := parseMeta(b[2 : len(b)-4])
	if !ok {
		return Identity{}, &CorruptError{What: "identity", Err: errors.Newf("%d bytes", len(b))}
	}
	return Identity{origin, program}, nil
}

func parseMeta(b []byte) (origin, program string, ok bool) {
	if len(b) < 2 {
		return "", "", false
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > len(b)-2 {
		return "", "", false
	}
	return string(b[2 : 2+n]), string(b[2+n:]), true
}

func (l *Ledger) marshalMeta() []byte {
	b := binary.BigEndian.AppendUint16(nil, formatVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(len(l.cfg.Origin)))
	b = append(b, l.cfg.Origin...)
	b = append(b, l.program.Name()...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// restore rebuilds the tree at Start and compares its root.
func (l *Ledger) restore() error {
	start := l.cfg.Start
	stored, err := l.storedApplied()
	if err != nil {
		return err
	}
	if stored.RaftIndex < start.RaftIndex || stored.Size < start.Size {
		return &CorruptError{What: "applied position", Index: stored.RaftIndex,
			Err: errors.Newf("the store ends there with size %d, though raft index %d with size %d is durable", stored.Size, start.RaftIndex, start.Size)}
	}
	tree, err := merkle.RestoreTree(start.Size, unprovedTiles{l.store, l.keys, start.Size})
	if err != nil {
		return &CorruptError{What: "tree", Index: start.Size, Err: err}
	}
	if root := tree.Root(); root != start.root() {
		return &CorruptError{What: "tree", Index: start.Size, Err: errors.Newf("root %s, want %s", root, start.root())}
	}
	l.storedAtOpen = stored.RaftIndex
	l.applier.init(tree, start, stored)
	l.applier.state.init(l.store, l.keys, l.cache, &l.applier.accounts, &l.applier.history, start.Size, stored.Size)
	_, l.applier.state.detailed = l.program.(Detailed)
	if !l.isLog && !l.cfg.ReadOnly {
		if err := l.applier.state.filter.fill(l.store, l.keys, fillAtOpen); err != nil {
			return errors.Wrap(err, "look for keys of rows")
		}
	}
	l.durable.init(start)
	v := &view{head: Head{Size: start.Size, Root: start.root(), RaftIndex: start.RaftIndex, RaftTerm: start.RaftTerm, Time: start.Time}}
	for level := range v.partial {
		v.partial[level] = tree.Partial(uint8(level))
	}
	if v.policy, v.policySince, err = l.policyRefAt(start.Size); err != nil {
		return err
	}
	l.applier.policy = policyState{ref: v.policy, since: v.policySince}
	l.view.Store(v)
	l.grown.reach(start.Size)
	return nil
}

// StoredApplied returns the newest raft index that the store holds, as of Open: commits behind the
// durable position may have holes. A Raft log that ends before it has lost what it had promised to
// keep.
func (l *Ledger) StoredApplied() uint64 { return l.storedAtOpen }

// storedApplied returns the newest position that the store holds; behind it there may be holes.
func (l *Ledger) storedApplied() (Summary, error) {
	b, err := l.store.Get(l.keys.applied())
	if errors.Is(err, ErrKeyNotFound) {
		return Summary{}, nil
	}
	if err != nil {
		return Summary{}, errors.Wrap(err, "read applied position")
	}
	s, err := ParseSummary(b)
	if err != nil {
		return Summary{}, &CorruptError{What: "applied position", Err: err}
	}
	return s, nil
}

// Head returns the newest state. It never waits.
func (l *Ledger) Head() Head { return l.view.Load().head }

// Group returns the ledger's group id.
func (l *Ledger) Group() uint64 { return l.cfg.Group }

// Origin returns the ledger's name.
func (l *Ledger) Origin() string { return l.cfg.Origin }

// Err returns why the ledger refuses to apply more, or nil.
func (l *Ledger) Err() error {
	if f := l.failed.Load(); f != nil {
		return f.err
	}
	return nil
}

// fail makes the first error final: the state in memory may be ahead of the store from here on.
func (l *Ledger) fail(err error) error {
	if l.failed.CompareAndSwap(nil, &failure{err}) {
		l.grown.stop(err)
		l.sealed.stop(err)
	}
	return err
}

// Halt makes err final, as an error of ApplyMany does, unless another one was before: nothing is
// applied or sealed any more, and whoever waits gets it. Reads are left to the caller.
func (l *Ledger) Halt(err error) { _ = l.fail(err) }

// Close flushes and closes the store. After a nil error Durable returns the head, unless the store
// is Shared: then the head is durable once the store itself was closed. Waiters get ErrClosed.
func (l *Ledger) Close() error {
	l.applier.Lock()
	defer l.applier.Unlock()
	l.seals.Lock()
	defer l.seals.Unlock()
	before := l.Err()
	if errors.Is(before, ErrClosed) {
		return nil
	}
	l.failed.Store(&failure{ErrClosed})
	l.grown.stop(ErrClosed)
	l.sealed.stop(ErrClosed)
	// After an error, too, the rows of the map in memory are those as of the head.
	baseErr := l.writeBase()
	if err := errors.CombineErrors(baseErr, l.store.Close()); err != nil {
		return errors.Wrap(err, "close ledger")
	}
	// In an overlap with what the store held before, everything up to the head was compared or
	// written.
	if _, open := l.store.(shared); before == nil && !open {
		l.durable.set(l.summary())
	}
	return nil
}

// summary returns the head as a Summary.
func (l *Ledger) summary() Summary {
	h := l.Head()
	return Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}
}
