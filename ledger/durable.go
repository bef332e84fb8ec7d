package ledger

import (
	"sync"

	"github.com/cockroachdb/errors"
)

// sampleBytes is how many committed bytes lie between two samples of the store's token: a sample
// may cost a directory listing.
const sampleBytes = 256 << 10

// durability knows which applied position is certain to survive a power failure. A store says so
// only for a whole memtable at a time (Store.Token, Store.Flushed), so positions are sampled with
// the token of their moment.
type durability struct {
	mu struct {
		sync.Mutex
		newest  Summary
		samples []sample // ascending in token and position; at most one for each token
		last    Summary  // newest position that was committed, and of which the store has all rows
		pending int      // bytes committed since the last sample
		problem error    // why the last sample or question failed; nil when it did not
	}
}

type sample struct {
	token   Token
	summary Summary
}

func (d *durability) init(start Summary) {
	d.mu.newest = start
}

// committed says that a commit of n bytes brought the ledger to summary; whole says that the store
// has all rows of that position, so that a replay can begin there.
func (d *durability) committed(store Store, summary Summary, n int, whole bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.pending += n; !whole {
		return
	}
	d.mu.last = summary
	if d.mu.pending >= sampleBytes {
		d.sample(store)
	}
}

// base says that the store has all rows as of summary, an earlier position than that of the last
// commit or the same one.
func (d *durability) base(store Store, summary Summary) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if summary.RaftIndex > d.mu.last.RaftIndex {
		d.mu.last = summary
		d.sample(store)
	}
}

// sample notes the store's token with the newest position. It is called with the lock.
func (d *durability) sample(store Store) {
	d.mu.pending = 0
	token, err := store.Token()
	if d.mu.problem = errors.Wrap(err, "sample the store"); err != nil {
		return // no sample this time: the mark stays where it is, and nothing is lost
	}
	if k := len(d.mu.samples); k > 0 && d.mu.samples[k-1].token == token {
		d.mu.samples[k-1].summary = d.mu.last
	} else {
		d.mu.samples = append(d.mu.samples, sample{token, d.mu.last})
	}
}

func (d *durability) set(s Summary) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.newest, d.mu.samples = s, nil
}

// DurabilityProblem says why Durable does not advance, nil if nothing is known to be in its way.
// Nothing is lost by that, but the Raft log cannot be shortened meanwhile.
func (l *Ledger) DurabilityProblem() error {
	l.durable.mu.Lock()
	defer l.durable.mu.Unlock()
	return l.durable.mu.problem
}

// Durable returns the newest position that is known to be durable in the store; false when that is
// only the empty ledger. Call it now and then, not on the way of an append: it may wait for the
// disk. Meant for the Raft log's mark.
func (l *Ledger) Durable() (Summary, bool) {
	if l.applier.accounts.rows.loaded {
		l.settle()
	}
	d := &l.durable
	d.mu.Lock()
	// A quiet ledger may never commit enough for a sample. The memtables of the store are flushed
	// nevertheless, because of other ledgers.
	if d.mu.last.RaftIndex > d.mu.newest.RaftIndex && len(d.mu.samples) == 0 && l.Err() == nil {
		d.sample(l.store)
	}
	waiting := len(d.mu.samples) > 0
	d.mu.Unlock()
	var flushed Token
	var err error
	asked := waiting && l.Err() == nil
	if asked {
		// An error here only means that nothing new is known. The lock is not held: the applier
		// takes samples.
		if flushed, err = l.store.Flushed(); err != nil {
			flushed = 0
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if asked {
		d.mu.problem = errors.Wrap(err, "ask the store what is durable")
	}
	for len(d.mu.samples) > 0 && d.mu.samples[0].token <= flushed {
		d.mu.newest = d.mu.samples[0].summary
		d.mu.samples = d.mu.samples[1:]
	}
	return d.mu.newest, d.mu.newest.RaftIndex > 0
}
