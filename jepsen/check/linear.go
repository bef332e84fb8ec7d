// Package check gives exact verdicts about histories of a ledger.
//
// Linear decides linearizability in linear time. That is possible, although the
// general problem is NP-complete, because the ledger tells every entry's place:
// the final ledger fixes the order of all effects, and every observation becomes
// a bound on the moment C(i) at which the ledger grew past index i. The moments
// never decrease with i, so the history is linearizable exactly if no lower bound
// of an entry lies above an upper bound of the same or a later one:
//
//	append of entry i, acknowledged        C(i) in [call, return]
//	append of entry i, found duplicate     C(i) <= return
//	some append that could have made i     C(i) >= the earliest call of them
//	get of i found                         C(i) <= return
//	get of i not found                     C(i) >= call
//	head of size n                         C(n-1) <= return and C(n) >= call
//	range, size mismatch                   as a head of the size they name
//	checkpoint or local head of size n     C(n-1) <= return
//	watch delivers i                       C(i) <= the moment of delivery
//	range breaks after it showed i         C(i) <= return
//	entry 0 is a genesis                   C(0) before every call
//	a leader's own entry i                 no bound but those of reads
//	the new entries of one batch           share one C
//
// Bounds are closed: operations that touch in one instant are concurrent.
//
// One thing is assumed of the workload: a batch of several entries whose outcome
// stayed unknown is repeated as a whole or not at all, and no other batch contains
// its keys. Otherwise nobody can tell which of two unknown batches appended what,
// and Linear gives them the benefit of the doubt: it still accuses nobody falsely.
package check

import (
	"fmt"
	"slices"

	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/merkle"
)

// FinalEntry is one entry of the ledger after everything has healed.
type FinalEntry struct {
	Key, Body history.Digest
	Leaf      merkle.Hash // RFC 6962 leaf hash
	// Genesis says that the ledger began with this entry: no append put it there, and no
	// linearizable read was before it. It counts at index 0 only.
	Genesis bool
	// Own says that the ledger's leader put the entry there in its own name: no append did.
	Own bool
}

// Violation is one contradiction, with the operations that contradict each other.
type Violation struct {
	// Kind is a stable word: stale, lost, phantom, moved, duplicate, mismatch,
	// torn-batch, wrong-root, future, wrong-answer.
	Kind string
	// Index is the entry (or size) that the contradiction is about.
	Index uint64
	// A and B are positions in the history; -1 for none.
	A, B int
	Text string
}

func (v Violation) String() string { return fmt.Sprintf("%s at %d: %s", v.Kind, v.Index, v.Text) }

// maxViolations bounds a report; one is enough to fail.
const maxViolations = 100

const noOp = -1

// bound is the tightest bound seen so far and the operation that set it.
type bound struct {
	at int64
	op int32
}

type linear struct {
	ops   []history.Op
	final []FinalEntry
	begun bool                      // entry 0 is the genesis
	pos   map[history.Digest]uint64 // key -> index in final

	lo, hi []bound // of C(i)
	// appendedBy is the acknowledged operation that appended i, noOp if none claims to.
	appendedBy []int32
	// asked is the earliest call, among the operations of unknown outcome, that
	// may have appended i. mixed: they are not all the same batch.
	asked []bound
	mixed []bool
	// joined: C(i) == C(i-1), because both are new entries of the batch whole[i].
	joined []bool
	whole  []int32

	roots map[uint64][]int // size -> operations that named a root for it
	found []Violation
}

// Linear checks a history against the final ledger. No violation means that the
// history is linearizable (and every root, batch and reference in it is right);
// any violation means that it is not. It never gives up.
func Linear(ops []history.Op, final []FinalEntry) []Violation {
	n := len(final)
	c := &linear{
		ops: ops, final: final, begun: n > 0 && final[0].Genesis, pos: make(map[history.Digest]uint64, n),
		lo: make([]bound, n), hi: make([]bound, n), asked: make([]bound, n),
		mixed: make([]bool, n), appendedBy: make([]int32, n), joined: make([]bool, n), whole: make([]int32, n),
		roots: map[uint64][]int{},
	}
	for i := range final {
		c.lo[i], c.hi[i], c.asked[i] = bound{minTime, noOp}, bound{history.Never, noOp}, bound{history.Never, noOp}
		c.appendedBy[i], c.whole[i] = noOp, noOp
		if j, ok := c.pos[final[i].Key]; ok {
			c.fail("duplicate", uint64(i), noOp, noOp, "the ledger holds one key at %d and %d", j, i)
			continue
		}
		c.pos[final[i].Key] = uint64(i)
	}
	for i := range ops {
		c.observe(i)
	}
	for i := range ops {
		c.candidate(i)
	}
	c.joinUnknown()
	c.checkRoots()
	c.checkOrder()
	return c.found
}

const minTime = -1 << 62

func (c *linear) fail(kind string, index uint64, a, b int, format string, args ...any) {
	if len(c.found) < maxViolations {
		c.found = append(c.found, Violation{Kind: kind, Index: index, A: a, B: b, Text: fmt.Sprintf(format, args...)})
	}
}

// candidate notes which unclaimed entries an append may have put into the
// ledger: one of unknown outcome, or an acknowledged one that was retried on the
// way and so cannot tell its own earlier attempt from somebody else's entry. The
// batch is atomic, so it took effect only if all of it is in the ledger.
func (c *linear) candidate(op int) {
	o := &c.ops[op]
	if o.Kind != history.Append || o.Outcome == history.Fail || o.Outcome == history.OK && !o.Retried {
		return
	}
	for k := range o.Entries {
		i, ok := c.pos[o.Entries[k].Key]
		if !ok || c.final[i].Body != o.Entries[k].Body {
			return
		}
	}
	last := int64(-1) // index of the previous new entry
	for k := range o.Entries {
		i := c.pos[o.Entries[k].Key]
		if c.appendedBy[i] != noOp {
			continue
		}
		if last >= 0 && int64(i) != last+1 || last < 0 && o.Conditional && i != o.Size {
			return
		}
		last = int64(i)
	}
	for k := range o.Entries {
		i := c.pos[o.Entries[k].Key]
		if c.appendedBy[i] != noOp {
			continue
		}
		if first := c.asked[i].op; first != noOp && !slices.EqualFunc(c.ops[first].Entries, o.Entries, sameEntry) {
			c.mixed[i] = true
		}
		if o.Call < c.asked[i].at {
			c.asked[i] = bound{o.Call, int32(op)}
		}
	}
}

func sameEntry(a, b history.Entry) bool { return a.Key == b.Key && a.Body == b.Body }

// joinUnknown: entries that only one batch of unknown outcome can have appended appeared together.
func (c *linear) joinUnknown() {
	for i := 1; i < len(c.final); i++ {
		op := c.asked[i].op
		if op == noOp || c.mixed[i] || c.mixed[i-1] || c.asked[i-1].op != op {
			continue
		}
		c.join(uint64(i), int(op))
	}
}

func (c *linear) before(i uint64, op int) { // C(i) <= return of op
	if o := &c.ops[op]; o.Return < c.hi[i].at {
		c.hi[i] = bound{o.Return, int32(op)}
	}
}

func (c *linear) after(i uint64, op int) { // C(i) >= call of op
	o := &c.ops[op]
	switch {
	case i == 0 && c.begun:
		c.fail("stale", 0, op, noOp, "%s of process %d was answered without the genesis, with which the ledger began", o.Kind, o.Process)
	case i < uint64(len(c.final)) && o.Call > c.lo[i].at:
		c.lo[i] = bound{o.Call, int32(op)}
	}
}

func (c *linear) observe(op int) {
	o := &c.ops[op]
	switch {
	case o.Kind == history.Append:
		c.observeAppend(op)
	case o.Kind == history.Range && o.Outcome == history.Fail:
		c.seen(op, o.First) // what it showed before it broke
	case o.Outcome != history.OK:
		// Any other read that failed tells nothing.
	case o.Kind == history.Get && o.Reason == history.NotFound:
		c.after(o.First, op)
	case o.Kind == history.Get:
		if len(o.Entries) != 1 {
			c.fail("wrong-answer", o.First, op, noOp, "get answered with %d entries", len(o.Entries))
			return
		}
		c.seen(op, o.First)
	case o.Kind == history.Head:
		c.headRead(op, o.Size)
		c.root(op)
	case o.Kind == history.Range && o.Reason == history.NotFound: // it begins beyond the size, not at it
		if o.First == 0 {
			c.fail("wrong-answer", 0, op, noOp, "range finds no place 0, with which every ledger begins")
			return
		}
		c.after(o.First-1, op)
	case o.Kind == history.Range:
		c.observeRange(op)
	case o.Kind == history.Watch:
		c.seen(op, o.First)
	case o.Kind == history.Checkpoint, o.Kind == history.LocalHead:
		c.sizeExisted(op, o.Size)
		c.root(op)
	}
}

// seen checks entries read from first on against the final ledger.
func (c *linear) seen(op int, first uint64) {
	o := &c.ops[op]
	for k := range o.Entries {
		i := first + uint64(k)
		if i >= uint64(len(c.final)) || i < first {
			c.fail("lost", i, op, noOp, "%s saw an entry that the final ledger of size %d does not hold", o.Kind, len(c.final))
			return
		}
		if c.final[i].Key != o.Entries[k].Key || c.final[i].Body != o.Entries[k].Body {
			c.fail("mismatch", i, op, noOp, "%s saw another entry than the final ledger holds", o.Kind)
			return
		}
	}
	if n := uint64(len(o.Entries)); n > 0 {
		c.before(first+n-1, op)
	}
}

// sizeExisted: the ledger had exactly this size at some moment up to the return.
func (c *linear) sizeExisted(op int, size uint64) bool {
	if size > uint64(len(c.final)) {
		c.fail("lost", size, op, noOp, "%s named size %d, the final ledger has %d", c.ops[op].Kind, size, len(c.final))
		return false
	}
	if size > 0 {
		c.before(size-1, op)
	}
	return true
}

// headRead: the ledger had exactly this size at some moment between call and return.
func (c *linear) headRead(op int, size uint64) {
	if c.sizeExisted(op, size) {
		c.after(size, op)
	}
}

func (c *linear) observeRange(op int) {
	o := &c.ops[op]
	c.headRead(op, o.Seen)
	if o.First > o.Seen {
		c.fail("wrong-answer", o.First, op, noOp, "range from %d was answered at size %d, where it finds nothing", o.First, o.Seen)
		return
	}
	want := o.Seen - o.First
	if o.Limit > 0 {
		want = min(want, o.Limit)
	}
	if uint64(len(o.Entries)) != want {
		c.fail("wrong-answer", o.First, op, noOp, "range from %d limit %d at size %d returned %d entries, want %d",
			o.First, o.Limit, o.Seen, len(o.Entries), want)
		return
	}
	c.seen(op, o.First)
}

func (c *linear) observeAppend(op int) {
	o := &c.ops[op]
	switch {
	case o.Outcome == history.OK:
		c.acknowledged(op)
	case o.Outcome == history.Info:
		// See candidate.
	case o.Reason == history.SizeMismatch:
		if !o.Conditional || o.Seen == o.Size {
			c.fail("wrong-answer", o.Seen, op, noOp, "size mismatch reported for the expected size")
		}
		c.headRead(op, o.Seen)
	case o.Reason == history.Conflict:
		c.conflict(op)
	}
}

func (c *linear) conflict(op int) {
	o := &c.ops[op]
	for k := range o.Entries {
		if i, ok := c.pos[o.Entries[k].Key]; ok && i == o.Seen && c.final[i].Body != o.Entries[k].Body {
			c.before(i, op)
			return
		}
	}
	c.fail("wrong-answer", o.Seen, op, noOp, "conflict reported with an entry that holds none of the keys with another payload")
}

func (c *linear) acknowledged(op int) {
	o := &c.ops[op]
	firstNew, lastNew := int64(-1), int64(-1)
	for k := range o.Entries {
		e := &o.Entries[k]
		i, ok := c.pos[e.Key]
		switch {
		case !ok:
			c.fail("lost", e.Index, op, noOp, "an acknowledged entry is not in the final ledger")
			return
		case i != e.Index:
			c.fail("moved", e.Index, op, noOp, "acknowledged at %d, but the final ledger has it at %d", e.Index, i)
			return
		case c.final[i].Body != e.Body:
			c.fail("mismatch", e.Index, op, noOp, "acknowledged with another payload than the final ledger holds")
			return
		}
		c.before(i, op)
		if e.Duplicate {
			continue
		}
		if by := c.appendedBy[i]; by != noOp {
			c.fail("duplicate", i, int(by), op, "two appends both claim to have added the entry")
			return
		}
		c.appendedBy[i] = int32(op)
		c.after(i, op)
		if firstNew < 0 {
			firstNew = int64(i)
		} else if int64(i) != lastNew+1 {
			c.fail("torn-batch", i, op, noOp, "the new entries of one batch lie at %d and %d", lastNew, i)
			return
		} else {
			c.join(i, op)
		}
		lastNew = int64(i)
	}
	for k := range o.Entries {
		if e := &o.Entries[k]; e.Duplicate && firstNew >= 0 && int64(e.Index) > lastNew {
			c.fail("wrong-answer", e.Index, op, noOp, "a duplicate lies behind the batch's new entry %d", firstNew)
			return
		}
	}
	if o.Conditional {
		c.condition(op, firstNew)
	}
}

func (c *linear) condition(op int, firstNew int64) {
	o := &c.ops[op]
	if firstNew >= 0 {
		if uint64(firstNew) != o.Size {
			c.fail("wrong-answer", uint64(firstNew), op, noOp, "append expecting size %d landed at %d", o.Size, firstNew)
		}
		return
	}
	if !repeatsAt(o, o.Size) {
		c.headRead(op, o.Size)
	}
}

// repeatsAt: a conditional append that finds all of its entries stored succeeds as
// a repetition if one of them lies at the expected size; otherwise the ledger must
// have that size now.
func repeatsAt(o *history.Op, size uint64) bool {
	return slices.ContainsFunc(o.Entries, func(e history.Entry) bool { return e.Index == size })
}

func (c *linear) join(i uint64, op int) {
	c.joined[i] = true
	c.whole[i] = int32(op)
}

func (c *linear) root(op int) {
	if o := &c.ops[op]; o.Root != nil && o.Size <= uint64(len(c.final)) {
		c.roots[o.Size] = append(c.roots[o.Size], op)
	}
}

// checkRoots recomputes the root of every size that somebody named.
func (c *linear) checkRoots() {
	if len(c.roots) == 0 {
		return
	}
	tree := merkle.NewTree()
	compare := func() {
		size := tree.Size()
		ops, ok := c.roots[size]
		if !ok {
			return
		}
		root := tree.Root()
		for _, op := range ops {
			if *c.ops[op].Root != root {
				c.fail("wrong-root", size, op, noOp, "%s named root %s for size %d, the final ledger gives %s",
					c.ops[op].Kind, c.ops[op].Root, size, root)
			}
		}
	}
	compare()
	leaf := make([]merkle.Hash, 1)
	for i := range c.final {
		leaf[0] = c.final[i].Leaf
		tree.Append(leaf)
		compare()
	}
}

// checkOrder runs along the ledger and compares each group's earliest possible
// moment with its latest allowed one.
func (c *linear) checkOrder() {
	for op := range c.ops {
		c.checkNotInside(op)
	}
	earliest := bound{minTime, noOp}
	for i := 0; i < len(c.final); {
		end := i + 1
		for end < len(c.final) && c.joined[end] {
			end++
		}
		latest := bound{history.Never, noOp}
		for k := i; k < end; k++ {
			if c.appendedBy[k] == noOp && (k > 0 || !c.begun) && !c.final[k].Own {
				if c.asked[k].op == noOp {
					c.fail("phantom", uint64(k), noOp, noOp, "no append can have put this entry there: none asked for it, "+
						"or it was refused, or only a part of its batch is in the ledger")
				} else if c.asked[k].at > earliest.at {
					earliest = c.asked[k]
				}
			}
			if c.lo[k].at > earliest.at {
				earliest = c.lo[k]
			}
			if c.hi[k].at < latest.at {
				latest = c.hi[k]
			}
		}
		if earliest.at > latest.at {
			a, b := &c.ops[earliest.op], &c.ops[latest.op]
			c.fail("stale", uint64(i), int(earliest.op), int(latest.op),
				"entries from %d on cannot exist before %d ns (%s of process %d), but %s of process %d had seen them by %d ns",
				i, earliest.at, a.Kind, a.Process, b.Kind, b.Process, latest.at)
			return
		}
		i = end
	}
}

// checkNotInside: no size lies inside an atomic batch.
func (c *linear) checkNotInside(op int) {
	o := &c.ops[op]
	var size uint64
	switch {
	case o.Kind == history.Append && o.Outcome == history.Fail && o.Reason == history.SizeMismatch:
		size = o.Seen
	case o.Outcome != history.OK:
		return
	case o.Kind == history.Append && o.Conditional && !repeatsAt(o, o.Size):
		size = o.Size
	case o.Kind == history.Head, o.Kind == history.Checkpoint, o.Kind == history.LocalHead:
		size = o.Size
	case o.Kind == history.Range && o.Reason != history.NotFound:
		size = o.Seen
	default:
		return
	}
	if size < uint64(len(c.final)) && c.joined[size] {
		c.fail("torn-batch", size, op, int(c.whole[size]), "%s saw size %d, inside an atomic batch", o.Kind, size)
	}
}
