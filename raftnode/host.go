package raftnode

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// defaultWriteBytes is Host.writeBytes.
const defaultWriteBytes = 8 << 20

// Host runs the members of all groups of one process. They share one log, and so one write and one
// sync for everything that waits, and one ticker. A member that has nothing to do costs a turn for
// each tick, and no goroutine.
type Host struct {
	log    *wal.Log
	tick   time.Duration
	start  time.Time
	writer *Runner
	// writeBytes ends the collecting for one write to the log, in bytes of entries: a group must
	// not wait for all that the others have.
	writeBytes int
	mu         struct {
		sync.Mutex
		members []*Node
		// writing are the members that have something to write, in the order in which they said so.
		// Invariant: n is in it if and only if n.writing.
		writing []*Node
	}
	quit chan struct{}
	wg   sync.WaitGroup
}

// NewHost returns a Host whose members write to log, and tick (10 ms when 0). The caller closes the
// log after the Host.
func NewHost(log *wal.Log, tick time.Duration) *Host {
	setDefault(&tick, DefaultTick)
	h := &Host{log: log, tick: tick, start: time.Now(), writeBytes: defaultWriteBytes, quit: make(chan struct{})}
	h.writer = NewRunner(h.write)
	h.wg.Go(h.ticks)
	return h
}

// Start starts a member from its log. Entries behind the group's newest mark are given to the
// machine again as they become known to be committed. The Host sets Log, TickInterval and, when it
// is 0, Incarnation.
func (h *Host) Start(cfg Config) (*Node, error) {
	cfg.Log, cfg.TickInterval = h.log, h.tick
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
	h.mu.Lock()
	h.mu.members = append(slices.Clip(h.mu.members), n)
	h.mu.Unlock()
	n.turns.Wake()
	cfg.Transport.Register(cfg.Group, n.driver)
	return n, nil
}

// Close ends the ticker. Every member has to be stopped before.
func (h *Host) Close() {
	close(h.quit)
	h.wg.Wait()
}

func (h *Host) remove(n *Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.members = slices.DeleteFunc(slices.Clone(h.mu.members), func(m *Node) bool { return m == n })
}

func (h *Host) ticks() {
	t := time.NewTicker(h.tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-h.quit:
			return
		}
		h.mu.Lock()
		members := h.mu.members // never changed in place
		h.mu.Unlock()
		for _, n := range members {
			n.driver.Tick()
			n.turns.Run() // a turn waits for nothing
		}
	}
}

// wantWrite says that a member has something to write.
func (h *Host) wantWrite(n *Node) {
	h.mu.Lock()
	if !n.writing {
		n.writing = true
		h.mu.writing = append(h.mu.writing, n)
	}
	h.mu.Unlock()
	h.writer.Wake()
}

// write does one write for all members that have something to write. Nothing else writes to the log
// while a member runs.
func (h *Host) write() {
	var records []wal.Record
	var writers []*Node
	sync, size := false, 0
	for _, n := range h.takeWriting() {
		if size >= h.writeBytes {
			h.wantWrite(n)
			continue
		}
		w, more := n.driver.NextWrite()
		switch {
		case w != nil:
			writers = append(writers, n)
			records = append(records, w.Records...)
			sync = sync || w.Sync
			size += w.size()
		case !more:
			n.over(TaskWrite)
		}
	}
	if len(writers) == 0 {
		return
	}
	err := h.log.Append(records, sync)
	for _, n := range writers {
		n.driver.Written(err)
		h.wantWrite(n) // until nothing waits: only then it says whether there can be more
	}
}

// takeWriting returns the members that have something to write, each once: none may be asked for
// its next write before this one has ended.
func (h *Host) takeWriting() []*Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.mu.writing
	h.mu.writing = nil
	for _, n := range taken {
		n.writing = false
	}
	return taken
}
