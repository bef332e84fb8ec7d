package ledger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

const (
	// groupBytes and groupBlocks bound how many consecutive blocks share one commit to the store.
	groupBytes  = 2 << 20
	groupBlocks = 256

	// MaxCommitSize bounds what one Store.Commit is given: keys and values, and 16 bytes for each
	// pair. It is the largest block, its outcomes and its details with an idempotency record for
	// every entry, its offsets and its share of a tile, and rows of a program.
	MaxCommitSize = MaxBlockSize + MaxBlockOutcomes + MaxBlockDetails + MaxBlockEntries*entryCommitSize +
		rowBytesPerCommit + MaxStateKey + MaxStateValue + walkBytes + 2*MaxStateKey + 4096

	entryCommitSize = 9 + 32 + keyRefSize + 16 + 12 + 36

	// recentRoots is how many past (size, root) pairs are kept for anchors: more than there are
	// blocks between two seals, unless sealing stands still.
	recentRoots = 1024
)

// Result is the outcome of one batch, in the order of the block's batches.
type Result struct {
	Err       error    // nil, *ConflictError, *SizeMismatchError or *IgnoredError: definite, nothing was appended
	Indexes   []uint64 // of each entry, when Err is nil
	Duplicate []bool   // whether the entry had been stored before and Indexes names the original
	Size      uint64   // of the ledger right after the batch
	Time      int64    // ledger time (µs) of the entries that were appended, not of duplicates
	Wrote     bool     // whether the program put a row for an entry that the batch appended
}

// Committed is one committed Raft entry. Block is empty for Raft's own entries.
type Committed struct {
	RaftIndex, RaftTerm uint64
	Block               []byte
}

// applierState is the state ahead of the published view: what ApplyMany has decided, of which a
// part may not be committed to the store yet.
type applierState struct {
	tree *merkle.Tree
	pos  Summary
	// stored is the newest position that the store held at Open. Up to it the blocks are applied a
	// second time: they are compared with what the store holds, and written where it lost them.
	stored      Summary
	overlapping bool // invariant: pos.RaftIndex <= stored.RaftIndex, the root at stored is not compared yet

	// roots are the newest past states, ascending, from the one last anchored on. Views share the
	// array, so states are only appended to it, and cut off at the front.
	roots    []Anchor
	anchored Anchor // the last one that was compared: blocks repeat it until the next seal

	policy  policyState
	genesis *Genesis // of entry 0, for the program; nil when there is none, or the program is Log
	// restored is the newest record of a restore below pos, for the program; nil as genesis is.
	restored *Restoration

	// What the next commit writes, and what readers get to see after it.
	pairs   []Pair
	bytes   int
	blocks  int
	state   programState
	pending map[[32]byte]keyRef // idempotency keys that are in pairs
	records []*record
	full    []merkle.Tile

	// accounts is the map of a Mapped program. It has the rows of every block that was decided, so
	// it is ahead of what is committed. history has its past states.
	accounts mapState
	history  history
	// stale has the bases beyond Start that the store had at Open and the replay has not reached,
	// ascending.
	stale []uint64
}

func (a *applierState) init(tree *merkle.Tree, start, stored Summary) {
	a.tree, a.pos, a.stored = tree, start, stored
	a.pos.Root = start.root()
	a.overlapping = stored.RaftIndex > start.RaftIndex
	a.pending = make(map[[32]byte]keyRef)
	a.roots = []Anchor{{start.Size, start.root()}}
	a.anchored = Anchor{Root: merkle.EmptyRoot()}
}

// ApplyMany applies committed blocks in order and commits them to the store, together as far as
// they fit into one commit: hand over whatever is waiting. An empty block only moves the position,
// and so does one that has no effect (IgnoreReason). Raft indexes increase. The results of a block
// are those of its batches; there are none when the block is empty or malformed. An error
// (ErrNewerBlock, *DivergenceError, *CorruptError, the store's) is final: the node must stop, and
// everything after it is refused with the same error. A prefix of the blocks may have been applied
// then; none may be answered. The ledger keeps no reference to a block.
func (l *Ledger) ApplyMany(entries []Committed) ([][]Result, error) {
	l.applier.Lock()
	defer l.applier.Unlock()
	if err := l.Err(); err != nil {
		return nil, err
	}
	results := make([][]Result, len(entries))
	for i := range entries {
		if a := &l.applier; a.blocks >= groupBlocks || a.blocks > 0 && a.bytes+a.state.bytes+commitSize(entries[i].Block) > groupBytes {
			if err := l.flush(); err != nil {
				return nil, l.fail(err)
			}
		}
		var err error
		if results[i], err = l.stage(&entries[i]); err != nil {
			return nil, l.fail(err)
		}
	}
	if err := l.flush(); err != nil {
		return nil, l.fail(err)
	}
	return results, nil
}

// commitSize bounds what the block adds to a commit.
func commitSize(block []byte) int {
	if len(block) < blockHeaderSize {
		return 0
	}
	return len(block) + entryCommitSize*int(binary.BigEndian.Uint32(block[60:]))
}

// stage decides one block and adds it to the next commit.
func (l *Ledger) stage(e *Committed) ([]Result, error) {
	a := &l.applier.applierState
	if e.RaftIndex <= a.pos.RaftIndex {
		return nil, errors.Newf("apply: raft index %d after %d", e.RaftIndex, a.pos.RaftIndex)
	}
	if a.overlapping && e.RaftIndex > a.stored.RaftIndex {
		if err := l.flush(); err != nil {
			return nil, err
		}
		if err := a.endOverlap(); err != nil {
			return nil, err
		}
	}
	block, reason, err := l.judge(e)
	if err != nil {
		return nil, err
	}
	if block != nil && reason == "" && block.flagged() {
		// What a record of the policies is compared with is what readers see: the ledger before the
		// block. How blocks are put together into commits must not decide about it.
		if err := l.flush(); err != nil {
			return nil, err
		}
		a.policy.staged = nil
	}
	a.pos.RaftIndex, a.pos.RaftTerm = e.RaftIndex, e.RaftTerm
	a.blocks++
	var results []Result
	switch {
	case reason != "":
		l.ignored.counter(reason).Add(1)
		results = ignoredResults(block, reason, a.pos.Size)
	case block != nil:
		if results, err = l.stageBlock(e, block); err != nil {
			return nil, err
		}
	}
	if len(a.stale) > 0 {
		if err := l.passStale(); err != nil {
			return nil, err
		}
	}
	if a.overlapping && e.RaftIndex == a.stored.RaftIndex {
		if err := l.flush(); err != nil {
			return nil, err
		}
		return results, a.endOverlap()
	}
	return results, nil
}

// endOverlap compares the recomputed state with the one that the store held.
func (a *applierState) endOverlap() error {
	a.overlapping = false
	if a.pos.Size != a.stored.Size || a.pos.Root != a.stored.root() {
		return &DivergenceError{RaftIndex: a.pos.RaftIndex, Size: a.pos.Size, Want: a.stored.root(), Got: a.pos.Root,
			Replay: true, Reason: "replay ends with another state than the store held"}
	}
	return nil
}

// judge parses a block and says why it has no effect; "" when it has one. The block is nil when the
// entry is empty or malformed. An error stops the replica: its own store's, or that of a block
// which only a newer program understands.
func (l *Ledger) judge(e *Committed) (*Block, IgnoreReason, error) {
	if len(e.Block) == 0 {
		return nil, "", nil
	}
	block, err := ParseBlock(e.Block)
	switch {
	case errors.Is(err, ErrNewerBlock):
		return nil, "", errors.Wrapf(err, "apply raft index %d", e.RaftIndex)
	case err != nil:
		return nil, IgnoredMalformed, nil
	}
	right, err := l.checkAnchor(block)
	switch {
	case err != nil:
		return nil, "", errors.Wrapf(err, "check the anchor of raft index %d", e.RaftIndex)
	case !right:
		anchor := block.Anchor
		l.ignored.contradicted.Store(&anchor)
		return block, IgnoredAnchor, nil
	}
	if block.Time < l.applier.pos.Time {
		return block, IgnoredTime, nil
	}
	return block, "", nil
}

// ignoredResults answers the batches of a block without effect.
func ignoredResults(block *Block, reason IgnoreReason, size uint64) []Result {
	if block == nil {
		return nil
	}
	results := make([]Result, len(block.Batches))
	for i := range results {
		results[i] = Result{Err: &IgnoredError{reason}, Size: size}
	}
	return results
}

// checkAnchor compares the root that the proposer names with ours.
func (l *Ledger) checkAnchor(block *Block) (right bool, err error) {
	a := &l.applier.applierState
	anchor := block.Anchor
	if anchor == a.anchored {
		return true, nil
	}
	if anchor.Size > a.pos.Size {
		// An honest proposer had applied the same blocks before it proposed this one.
		return false, nil
	}
	root, err := l.pastRoot(anchor.Size)
	if err != nil || root != anchor.Root {
		return false, err
	}
	a.anchored = anchor
	a.roots = a.roots[findRoot(a.roots, anchor.Size):] // later blocks name later anchors
	return true, nil
}

func (l *Ledger) pastRoot(size uint64) (merkle.Hash, error) {
	a := &l.applier.applierState
	if root, ok := recentRoot(a.roots, size); ok {
		return root, nil
	}
	if size > l.Head().Size {
		if err := l.flush(); err != nil { // no proposer's head, but within what is staged
			return merkle.Hash{}, err
		}
	}
	return l.RootAt(size)
}

// findRoot returns where the first of the roots with at least this size is.
func findRoot(roots []Anchor, size uint64) int {
	i, _ := slices.BinarySearchFunc(roots, size, func(r Anchor, size uint64) int { return cmp.Compare(r.Size, size) })
	return i
}

// recentRoot returns the root of a size that is among roots.
func recentRoot(roots []Anchor, size uint64) (root merkle.Hash, ok bool) {
	if i := findRoot(roots, size); i < len(roots) && roots[i].Size == size {
		return roots[i].Root, true
	}
	return root, false
}

// stageBlock decides the batches and stages entries, tiles and keys.
func (l *Ledger) stageBlock(e *Committed, block *Block) ([]Result, error) {
	a := &l.applier.applierState
	first := a.pos.Size
	results, d, err := l.decide(block)
	if err != nil || len(d.accepted) == 0 {
		return results, err
	}
	accepted, outcomes := d.accepted, d.outcomes
	if a.pos.Size > merkle.MaxSize-uint64(len(accepted)) {
		return nil, errors.Newf("apply raft index %d: the ledger is full", e.RaftIndex)
	}
	offsets := make([]uint32, len(accepted))
	leaves := make([][]byte, len(accepted))
	for i, entry := range accepted {
		offsets[i], leaves[i] = entry.offset, entry.Encoded
	}
	appendOutcomes(leaves, outcomes)
	before := len(a.pairs)
	if p, ok := a.history.block(block.Time, first, a.pos.Time); ok {
		a.pairs = append(a.pairs, p)
	}
	full := a.tree.Append(merkle.LeafHashes(leaves))
	a.pos.Size, a.pos.Root, a.pos.Time = a.tree.Size(), a.tree.Root(), block.Time
	if len(a.roots) == recentRoots {
		a.roots = a.roots[1:]
	}
	a.roots = append(a.roots, Anchor{a.pos.Size, a.pos.Root})

	rec := encodeRecord(e.RaftIndex, e.RaftTerm, first, offsets, block.raw, outcomes, d.detailEnds, a.state.details)
	a.pairs = rec.appendPairs(a.pairs, l.keys)
	for _, tile := range full {
		b := merkle.AppendTile(make([]byte, 0, len(tile.Hashes)*merkle.HashSize), tile.Hashes)
		a.pairs = append(a.pairs, Pair{l.keys.tile(tile.Level, tile.Index), b})
	}
	if d.root != nil {
		a.pairs = append(a.pairs, d.root.pair(l.keys))
	}
	for _, p := range a.pairs[before:] {
		a.bytes += len(p.Key) + len(p.Value)
	}
	a.records = append(a.records, rec)
	a.full = append(a.full, full...)
	return results, nil
}

// appendOutcomes turns encoded entries into leaves. outcomes is nil when none has one.
func appendOutcomes(leaves, outcomes [][]byte) {
	size := 0
	for i, o := range outcomes {
		if len(o) > 0 {
			size += len(leaves[i]) + len(o)
		}
	}
	room := make([]byte, 0, size)
	for i, o := range outcomes {
		if len(o) > 0 {
			at := len(room)
			room = append(append(room, leaves[i]...), o...)
			leaves[i] = room[at:len(room):len(room)]
		}
	}
}

// flush commits what is staged and publishes it to readers.
func (l *Ledger) flush() error {
	a := &l.applier.applierState
	if a.blocks == 0 {
		return nil
	}
	pairs := a.pairs
	rows, replacing := a.state.rows()
	newBase, bare := false, false
	var old []Pair // what history wants to have committed together
	var err error
	if a.overlapping {
		if pairs, err = l.missing(pairs); err != nil {
			return err
		}
		if rows, err = l.missing(rows); err != nil {
			return err
		}
	} else {
		var more []Pair
		if more, newBase = a.baseRows(l.keys, len(a.state.written)); newBase {
			pairs = append(pairs, Pair{l.keys.base(a.accounts.rows.writing.at.Size), []byte{}})
		}
		rows = append(rows, more...)
		replacing += len(more)
		if bare = a.bareBase(); bare {
			pairs = append(pairs, Pair{l.keys.base(a.pos.Size), []byte{}})
		}
	}
	if !a.overlapping && len(rows) > 0 {
		if old, err = a.expired(len(rows), replacing); err != nil {
			return errors.Wrapf(err, "look for rows to delete at raft index %d", a.pos.RaftIndex)
		}
		if !a.history.on {
			rows, old = append(rows, old...), nil
		}
	}
	if rows, err = l.commitRows(a.pos.RaftIndex, rows); err != nil {
		return errors.Wrapf(err, "commit raft index %d", a.pos.RaftIndex)
	}
	if len(rows)+len(old) > 0 {
		pairs = append(append(pairs[:len(pairs):len(pairs)], rows...), old...)
	}
	// Every commit carries its position, in an overlap too: the commits that hold later positions
	// may yet be lost, and then what is written here must not lie beyond the newest position. There
	// it hides nothing: its version is lower.
	if len(pairs) > 0 || !a.overlapping {
		pairs = append(pairs, Pair{l.keys.applied(), a.pos.Marshal()})
		if err := l.store.Commit(a.pos.RaftIndex, pairs); err != nil {
			return errors.Wrapf(err, "commit raft index %d", a.pos.RaftIndex)
		}
	}
	bytes := a.bytes + a.state.bytes
	a.state.commit(a.pos.Size)
	if newBase {
		l.endBase()
	}
	m := &a.accounts.rows
	if bare {
		m.base = a.pos
		a.history.addBase(a.pos.Size)
	}
	l.durable.committed(l.store, a.pos, bytes, m.stored())
	if m.moved >= l.movesPerBase && m.writing == nil && !a.overlapping {
		m.begin(a.pos)
	}
	if err := a.state.filter.fill(l.store, l.keys, fillPerCommit); err != nil {
		return errors.Wrapf(err, "look for keys of rows at raft index %d", a.pos.RaftIndex)
	}
	l.publish()
	// The store keeps the pairs' slices but not the slice of pairs, and it is done with that.
	clear(a.pairs)
	a.pairs, a.bytes, a.blocks = a.pairs[:0], 0, 0
	clear(a.pending)
	clear(a.records)
	clear(a.full)
	a.records, a.full = a.records[:0], a.full[:0]
	l.grown.reach(a.pos.Size)
	if a.overlapping && m.moved >= l.movesPerBase {
		if err := l.writeBase(); err != nil {
			return err
		}
	}
	return l.promoteSealed()
}

// expired returns deletions of rows that nothing reads any more, for a commit of so many rows, of
// which replacing may replace others.
func (a *applierState) expired(written, replacing int) ([]Pair, error) {
	if !a.history.on {
		return a.state.expired(2 * written)
	}
	a.history.advance(a.pos.Time, a.state.floor.Load())
	return a.history.walk(replacing)
}

// commitRows commits rows until the rest is few enough to go with the position, and returns the
// rest. Rows above the position that a crash leaves behind are rows of the future, which nothing
// reads.
func (l *Ledger) commitRows(version uint64, rows []Pair) (rest []Pair, err error) {
	for {
		n, size := 0, 0
		for n < len(rows) && n < rowsPerCommit && size < rowBytesPerCommit {
			size += len(rows[n].Key) + len(rows[n].Value) + pairOverhead
			n++
		}
		if n == len(rows) {
			return rows, nil
		}
		if err := l.store.Commit(version, rows[:n:n]); err != nil {
			return nil, err
		}
		rows = rows[n:]
	}
}

// missing returns the pairs that the store does not hold; it must hold none with another value.
//
// A key may have survived a power failure that took the file with its value, and a new file may
// have got that name: then the store returns the value of another block's key (Store.Get). A
// block's record says whose it is, and the parts lie in the file of their record.
//
// A record with the same leaves is written again. A peer that lied about what no leaf covers, entries
// that were not appended, may have given it to this replica before a crash.
func (l *Ledger) missing(pairs []Pair) ([]Pair, error) {
	raftIndex := l.applier.pos.RaftIndex
	var out []Pair
	lost := false // the record that the parts to come belong to
	for _, p := range pairs {
		stored, err := l.store.Get(p.Key)
		gone := errors.Is(err, ErrKeyNotFound) || errors.Is(err, ErrValueLost)
		switch p.Key[8] {
		case kindBlock:
			gone = gone || err == nil && (!recordOf(p.Key, stored) || !bytes.Equal(stored, p.Value) && sameLeaves(stored, p.Value))
			lost = gone
		case kindPart:
			gone = gone || err == nil && lost && !bytes.Equal(stored, p.Value)
		}
		switch {
		case gone:
			out = append(out, p)
		case err != nil:
			return nil, errors.Wrapf(err, "compare raft index %d", raftIndex)
		case !bytes.Equal(stored, p.Value):
			return nil, &DivergenceError{RaftIndex: raftIndex, Size: l.applier.pos.Size,
				Reason: "the store holds another " + kindName(p.Key) + " than replay computes"}
		}
	}
	return out, nil
}

// sameLeaves reports whether two records of blocks have the same leaves.
func sameLeaves(a, b []byte) bool {
	var leaves [2][][]byte
	for i, encoded := range [][]byte{a, b} {
		r, err := ParseBlockRecord(encoded)
		if err == nil {
			leaves[i], err = r.Leaves()
		}
		if err != nil {
			return false
		}
	}
	return slices.EqualFunc(leaves[0], leaves[1], bytes.Equal)
}

// recordOf reports whether b begins the record of a block key.
func recordOf(key, b []byte) bool {
	if _, err := layoutOf(b); err != nil {
		return false
	}
	end := binary.BigEndian.Uint64(b[17:]) + uint64(binary.BigEndian.Uint32(b[25:])) // first and count
	return end == binary.BigEndian.Uint64(key[9:])
}

func kindName(key []byte) string {
	switch key[8] {
	case kindBlock, kindPart:
		return "block"
	case kindTile:
		return "tile"
	case kindKey:
		return "idempotency record"
	case kindState:
		return "row of the program's state"
	case kindMapRoot:
		return "map root"
	case kindBase:
		return "base of the map"
	case kindPolicy:
		return "policy"
	default:
		return "record"
	}
}

// publish shows the committed state to readers.
func (l *Ledger) publish() {
	a := &l.applier.applierState
	old := l.view.Load()
	v := &view{
		head:    Head{Size: a.pos.Size, Root: a.pos.Root, RaftIndex: a.pos.RaftIndex, RaftTerm: a.pos.RaftTerm, Time: a.pos.Time},
		partial: old.partial,
		roots:   a.roots,
		policy:  a.policy.ref, policySince: a.policy.since,
	}
	if a.pos.Size != old.head.Size {
		changed := uint8(0)
		for _, tile := range a.full {
			changed = max(changed, tile.Level+1)
			l.cache.putTile(tileID{tile.Level, tile.Index}, tile.Hashes)
		}
		for level := range changed + 1 {
			v.partial[level] = a.tree.Partial(level)
		}
	}
	for _, r := range a.records {
		l.cache.putBlock(r)
	}
	l.view.Store(v)
}
