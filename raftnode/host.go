package raftnode

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/raftnode/gather"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// HostConfig configures a Host. Zero values mean the defaults given.
type HostConfig struct {
	// Log is closed by the caller, after the Host.
	Log       *wal.Log
	Transport Transport
	// Workers run the members. They are closed by the caller, after the Host. Nil: the Host has its own.
	Workers *Workers
	// TickInterval is the length of a tick of all members. DefaultTick.
	TickInterval time.Duration
	// Crowd counts the requests of all members. The Transport pauses for the same one. Nil: the Host
	// has its own.
	Crowd *gather.Crowd
	// Limits are of all members together.
	Limits
}

// Host runs the members of all groups of one process. They share one log, and so one write and one
// sync for everything that waits, one transport, and one ticker. A member that has nothing to do
// costs no turn and no goroutine. The heartbeats of all members leave together when all have had the
// tick.
type Host struct {
	cfg     HostConfig
	budgets *budgets
	start   time.Time
	workers *Workers
	writer  *Runner
	commit  *GroupCommit // owned by writer, but for Want
	mu      struct {
		sync.Mutex
		members []*Node
	}
	quit chan struct{}
	wg   sync.WaitGroup
}

// NewHost returns a Host without members.
func NewHost(cfg HostConfig) *Host {
	setDefault(&cfg.TickInterval, DefaultTick)
	if cfg.Crowd == nil {
		cfg.Crowd = new(gather.Crowd)
	}
	h := &Host{cfg: cfg, budgets: newBudgets(cfg.Limits), start: time.Now(), commit: NewGroupCommit(), workers: cfg.Workers, quit: make(chan struct{})}
	if h.workers == nil {
		h.workers = new(Workers)
	}
	h.writer = h.workers.gatherer(cfg.Crowd, h.write)
	h.wg.Go(h.ticks)
	return h
}

// Start starts a member from its log. Entries behind the group's newest mark are given to the
// machine again as they become known to be committed. The Host sets Log, Transport, TickInterval
// and, when it is 0, Incarnation.
func (h *Host) Start(cfg Config) (*Node, error) {
	cfg.Log, cfg.Transport, cfg.TickInterval, cfg.budgets, cfg.crowd = h.cfg.Log, h.cfg.Transport, h.cfg.TickInterval, h.budgets, h.cfg.Crowd
	if cfg.Incarnation == 0 {
		var nonce [8]byte
		if _, err := rand.Read(nonce[:]); err != nil {
			return nil, errors.Wrap(err, "draw an incarnation")
		}
		cfg.Incarnation = binary.LittleEndian.Uint64(nonce[:])
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := newNode(h, cfg)
	if n.driver, err = NewDriver(cfg, shell{n}); err != nil {
		return nil, err
	}
	n.writer.Driver = n.driver
	h.mu.Lock()
	h.mu.members = append(slices.Clip(h.mu.members), n)
	h.mu.Unlock()
	n.turns.Wake()
	cfg.Transport.Register(cfg.Group, handler{n.driver, n})
	return n, nil
}

// Close ends the ticker. Every member has to be stopped before.
func (h *Host) Close() {
	close(h.quit)
	h.wg.Wait()
	if h.workers != h.cfg.Workers {
		h.workers.Close()
	}
}

func (h *Host) remove(n *Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.members = slices.DeleteFunc(slices.Clone(h.mu.members), func(m *Node) bool { return m == n })
}

func (h *Host) ticks() {
	t := time.NewTicker(h.cfg.TickInterval)
	defer t.Stop()
	for tick := 1; ; tick++ {
		select {
		case <-t.C:
		case <-h.quit:
			return
		}
		h.mu.Lock()
		members := h.mu.members // never changed in place
		h.mu.Unlock()
		rounds := false
		for _, n := range members {
			round := tick%n.cfg.HeartbeatTicks == 0
			if n.driver.Tick(round) {
				n.turns.Run(n.turn) // a turn waits for nothing
			}
			rounds = rounds || round
		}
		h.cfg.Transport.Flush(rounds)
		h.cfg.Crowd.Tick()
	}
}

// wantWrite says that a member has something to write.
func (h *Host) wantWrite(n *Node) {
	h.commit.Want(&n.writer)
	h.writer.Wake()
}

// write does one write for all members that have something to write.
func (h *Host) write() {
	if w := h.commit.Next(); w != nil {
		h.commit.Written(h.cfg.Log.Append(w.Records, w.Sync))
		h.writer.Wake()
	}
}
