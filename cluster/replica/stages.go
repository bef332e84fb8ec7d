package replica

import (
	"sync"

	"github.com/cairnledger/cairn/internal/stages"
	"github.com/cairnledger/cairn/raftnode"
)

// maxUnsealed bounds the sizes whose apply is remembered until they are sealed.
const maxUnsealed = 256

// unsealed remembers when the sizes were applied that no checkpoint covers yet.
type unsealed struct {
	mu struct {
		sync.Mutex
		// runs are in the order in which they were applied. Invariant: no more than maxUnsealed, and
		// their sizes rise.
		runs []appliedRun
	}
}

// appliedRun is one run of blocks, or several that were joined: the ledger's size after the last
// block, and the moment at which the first one was applied.
type appliedRun struct {
	size uint64
	at   stages.Moment
}

// grew remembers a size. When there are too many, neighbours are joined: a seal that covers only a
// part of what was joined measures nothing of it, and the next one measures the oldest moment.
func (u *unsealed) grew(size uint64, at stages.Moment) {
	u.mu.Lock()
	defer u.mu.Unlock()
	runs := u.mu.runs
	if n := len(runs); n > 0 && runs[n-1].size >= size {
		return // the blocks had no effect
	}
	if len(runs) == maxUnsealed {
		for i := range maxUnsealed / 2 {
			runs[i] = appliedRun{runs[2*i+1].size, runs[2*i].at}
		}
		runs = runs[:maxUnsealed/2]
	}
	u.mu.runs = append(runs, appliedRun{size, at})
}

// sealed forgets what a checkpoint covers, and returns when the oldest of it was applied.
func (u *unsealed) sealed(size uint64) (at stages.Moment, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for n < len(u.mu.runs) && u.mu.runs[n].size <= size {
		n++
	}
	if n == 0 {
		return 0, false
	}
	at = u.mu.runs[0].at
	u.mu.runs = append(u.mu.runs[:0], u.mu.runs[n:]...)
	return at, true
}

// measureApplied counts a run that has been applied.
func (r *Replica) measureApplied(run []raftnode.Committed, now stages.Moment) {
	if r.stages == nil {
		return
	}
	for i := range run {
		if len(run[i].Data) > 0 {
			r.stages.Observe(stages.Apply, now-run[i].Since)
		}
	}
	size, sealed := r.ledger.Head().Size, uint64(0)
	if s := r.ledger.Sealed(); s != nil {
		sealed = s.Size
	}
	if size > sealed { // otherwise the run is one that was applied before a restart
		r.unsealed.grew(size, now)
	}
}

// measureSealed counts a checkpoint that has been sealed.
func (r *Replica) measureSealed(size uint64) {
	if at, ok := r.unsealed.sealed(size); ok {
		r.stages.Since(stages.Seal, at)
	}
}
