package ledger

import "sync/atomic"

// IgnoreReason is why a committed block had no effect, in one word for metrics.
type IgnoreReason string

// The reasons for which a block has no effect. Each is a function of the blocks before it, so every
// replica ignores the same blocks, and nobody who gets a block committed can stop a replica with
// it.
const (
	// IgnoredMalformed: ParseBlock refuses the bytes.
	IgnoredMalformed IgnoreReason = "malformed"
	// IgnoredAnchor: the block names a root that this replica does not have for that size, or a
	// size beyond the ledger.
	IgnoredAnchor IgnoreReason = "anchor"
	// IgnoredTime: the block is older than the newest entry.
	IgnoredTime IgnoreReason = "time"
)

// ignored counts the blocks without effect since Open, those of a replay included.
type ignored struct {
	malformed, anchor, time atomic.Uint64
	// contradicted is the newest anchor that made a block have no effect; nil when there is none.
	contradicted atomic.Pointer[Anchor]
}

func (i *ignored) counter(r IgnoreReason) *atomic.Uint64 {
	switch r {
	case IgnoredAnchor:
		return &i.anchor
	case IgnoredTime:
		return &i.time
	default:
		return &i.malformed
	}
}

// Ignored returns how many blocks have had no effect for this reason since Open.
func (l *Ledger) Ignored(r IgnoreReason) uint64 { return l.ignored.counter(r).Load() }

// Contradicted returns the newest anchor that this replica contradicts, nil when there is none: the
// newest one that made a block have no effect.
func (l *Ledger) Contradicted() *Anchor { return l.ignored.contradicted.Load() }
