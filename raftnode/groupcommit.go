package raftnode

import "sync"

// defaultWriteBytes is GroupCommit.maxBytes.
const defaultWriteBytes = 8 << 20

// GroupCommit makes one write, with one sync, of what the drivers of all groups of a process have
// for the log that they share. It does no I/O: a Host runs it on a goroutine, the simulation with
// events.
//
// Want is safe from anywhere. Next and Written have one owner, who writes to the log; nothing else
// writes to the log while a driver runs.
type GroupCommit struct {
	// maxBytes ends the collecting for one write, in bytes of entries: a group must not wait for
	// all that the others have.
	maxBytes int
	mu       struct {
		sync.Mutex
		// waiting are the writers that have something to write, in the order in which they said so.
		// Invariant: w is in it if and only if w.waiting.
		waiting []*Writer
	}
	busy  []*Writer // of the write under way; empty when none is
	write Write
}

// Writer is what a GroupCommit knows of a driver.
type Writer struct {
	Driver *Driver
	// Over hears, from inside Next and perhaps more than once, that the driver will not write any
	// more.
	Over func()

	waiting bool // guarded by GroupCommit.mu
}

// NewGroupCommit returns a GroupCommit for one log.
func NewGroupCommit() *GroupCommit { return &GroupCommit{maxBytes: defaultWriteBytes} }

// Want says that a driver has something to write. The owner has to be woken after it.
func (g *GroupCommit) Want(w *Writer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !w.waiting {
		w.waiting = true
		g.mu.waiting = append(g.mu.waiting, w)
	}
}

// Next returns what is to be written now, nil when nothing waits. Every write has to be followed by
// Written, and then by another call of Next: there may be more.
func (g *GroupCommit) Next() *Write {
	size := 0
	for _, w := range g.take() {
		if size >= g.maxBytes {
			g.Want(w)
			continue
		}
		part, more := w.Driver.NextWrite()
		switch {
		case part != nil:
			g.busy = append(g.busy, w)
			g.write.Records = append(g.write.Records, part.Records...)
			g.write.Sync = g.write.Sync || part.Sync
			size += part.size()
		case !more:
			w.Over()
		}
	}
	if len(g.busy) == 0 {
		return nil
	}
	return &g.write
}

// Written says how the write under way ended.
func (g *GroupCommit) Written(err error) {
	for _, w := range g.busy {
		w.Driver.Written(err)
		g.Want(w) // until nothing waits: only then it says whether there can be more
	}
	clear(g.write.Records)
	g.busy, g.write = g.busy[:0], Write{Records: g.write.Records[:0]}
}

// take returns the writers that have something to write, each once: none may be asked for its next
// write before this one has ended.
func (g *GroupCommit) take() []*Writer {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := g.mu.waiting
	g.mu.waiting = nil
	for _, w := range taken {
		w.waiting = false
	}
	return taken
}
