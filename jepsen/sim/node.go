package sim

import (
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// node is one machine: its disks, its clock, and the process on it, if any.
type node struct {
	w       *world
	id      uint64
	rng     *rand.Rand // latencies and what crashes keep
	entropy *rand.ChaCha8
	disk    *disk
	store   *memstore.Store
	proc    *process // nil while the node is down
	// begun: Bootstrap has ended, so what it made is durable. It is not repeated.
	begun bool

	paused   int           // reasons why the process stands still
	slow     int           // reasons why syncs are slow
	offset   time.Duration // of the wall clock
	tickRate float64       // how long a tick takes here, in ticks
	hold     int           // reasons why the node is not started again
	// ambush, when not nil, is to happen while the next synced write is under way.
	ambush func()

	// flipped is the bit of the log that was flipped.
	flipped *flipTarget
	// storeDamage, when not nil, changes what the store returns.
	storeDamage *damage
	// storeLost: the store was lost while the node was down, and its log does not know it yet.
	storeLost bool
	// without: when the process ended, the log said that the store was being rebuilt.
	without bool
	// lies: what it answers to peers that lack blocks is wrong now and then.
	lies bool
	// lost: the node refused its damaged disk and stays down.
	lost bool
}

// epoch is where all wall clocks start.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// wall is the time on the node's wall clock.
func (n *node) wall() time.Time { return epoch.Add(time.Duration(n.w.now) + n.offset) }

// damaged: a bit was flipped here, so the node may refuse to work.
func (n *node) damaged() bool { return n.flipped != nil || n.storeDamage != nil }

// start starts the process, if nothing speaks against it.
func (n *node) start() {
	if n.proc != nil || n.lost || n.hold > 0 {
		return
	}
	n.w.entropy.current = n.entropy
	p := newProcess(n)
	if err := p.open(); err != nil {
		n.w.note(n.id, "down", "%v", err)
		n.refused(err)
		return
	}
	if n.flipped != nil {
		n.w.fail("corruption", uint64(n.flipped.offset), "node %d starts with a flipped bit in %s", n.id, n.flipped.name)
		n.flipped = nil
	}
	n.proc = p
	n.w.after(n.w.cfg.startup+exp(n.rng, n.w.cfg.startup), func() { p.run(p.begin) })
}

// refused judges why a node does not start, or has stopped.
func (n *node) refused(err error) {
	n.disk.crash(n.rng)
	var corrupt *wal.CorruptionError
	switch {
	case errors.Is(err, errSync):
		n.startAfter(500 * time.Millisecond)
		return
	case n.flipped != nil && errors.As(err, &corrupt) && corrupt.File == logDir+"/"+n.flipped.name:
	case n.flipped == nil && n.storeDamage != nil && isCorruption(err):
	default:
		n.w.fail("refused", 0, "node %d does not work: %v", n.id, err)
	}
	n.lost = true
	n.w.stats.Lost++
	n.w.note(n.id, "lost", "%v", err)
}

func isCorruption(err error) bool {
	var corrupt *ledger.CorruptError
	var diverged *ledger.DivergenceError
	return errors.As(err, &corrupt) || errors.As(err, &diverged)
}

// rebuilding: the store does not hold all that its log says.
func (n *node) rebuilding() bool {
	if n.proc != nil {
		return replica.Unfinished(n.proc.log)
	}
	return n.without
}

// startAfter plans a start, unless the node is up by then.
func (n *node) startAfter(d time.Duration) { n.w.after(d, n.start) }

// kill ends the process; the kernel keeps what it was given.
func (n *node) kill(why string) {
	p := n.proc
	if p == nil {
		return
	}
	n.end(why)
	n.store = n.store.ProcessCrash()
	p.hangUp()
	n.spreadNews()
}

// powerOff ends the process and forgets what was not durable.
func (n *node) powerOff(why string) {
	if n.proc != nil {
		n.end(why)
	} else {
		n.disk.crash(n.rng)
	}
	percent := pick(n.rng, 0, 10, 50, 90, 100)
	n.disk.powerLoss(n.rng, percent)
	n.store = n.store.PowerLoss(func(_, commits int) int {
		return pick(n.rng, 0, commits, n.rng.IntN(commits+1))
	})
}

// end takes the process away.
func (n *node) end(why string) {
	n.w.stats.Crashes++
	n.w.note(n.id, "down", "%s", why)
	n.proc.dead = true
	n.without = replica.Unfinished(n.proc.log)
	n.countLog()
	n.proc = nil
	n.disk.crash(n.rng)
}

func (n *node) countLog() {
	s := n.proc.log.Stats()
	n.w.stats.Rotations += int(s.Rotations)
	n.w.stats.Removed += int(s.Removed)
}

// spreadNews tells the others, perhaps, that the process is gone for certain.
func (n *node) spreadNews() {
	for _, other := range n.w.nodes[1:] {
		if other == n || n.rng.IntN(4) == 0 || n.w.net.cut[n.id][other.id] > 0 {
			continue
		}
		n.w.after(exp(n.rng, 5*time.Millisecond), func() {
			if p := other.proc; p != nil && p.running {
				p.peerDown(n.id)
			}
		})
	}
}

// pause stops the process from running; resume lets it go on where it was.
func (n *node) pause() { n.paused++ }

func (n *node) resume() {
	n.paused--
	if p := n.proc; p != nil && n.paused == 0 {
		p.resume()
	}
}
