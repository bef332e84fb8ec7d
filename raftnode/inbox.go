package raftnode

import (
	"sync"

	"go.etcd.io/raft/v3/raftpb"
)

// Limits of what peers can have waiting for a turn; beyond them messages are
// dropped, which Raft survives. A leader's window for one follower is below them.
const (
	maxInboxMessages = 8192
	maxInboxBytes    = 128 << 20
)

// inbox collects everything that a turn has to react to. Nobody ever waits to put something in. What
// finished writes and applies put in is bounded by what the turns gave them.
type inbox struct {
	wake func()
	mu   struct {
		sync.Mutex
		mail
	}
}

// mail is one filling of an inbox.
type mail struct {
	tick        bool // at least one tick was due; they do not add up
	messages    []*raftpb.Message
	bytes       int // of the messages' entries
	written     []*AppendWork
	applied     []*ApplyWork
	readers     []func(index uint64, err error)
	peersDown   []uint64
	unreachable []uint64
	transfers   []transfer
	// stopped: the driver has ended and nobody looks any more.
	stopped bool
}

// put changes the mail under the lock and wakes a turn; false when the driver has ended.
func (b *inbox) put(f func(m *mail)) bool {
	b.mu.Lock()
	ok := !b.mu.stopped
	if ok {
		f(&b.mu.mail)
	}
	b.mu.Unlock()
	if ok {
		b.wake()
	}
	return ok
}

// putMessage is put for the hot path.
func (b *inbox) putMessage(m *raftpb.Message) {
	size := 0
	for _, e := range m.GetEntries() {
		size += len(e.GetData())
	}
	b.mu.Lock()
	if !b.mu.stopped && len(b.mu.messages) < maxInboxMessages && b.mu.bytes+size <= maxInboxBytes {
		b.mu.messages = append(b.mu.messages, m)
		b.mu.bytes += size
	}
	b.mu.Unlock()
	b.wake()
}

// take exchanges the mail for an empty one that reuses the slices of spare, whose
// contents the caller has dealt with.
func (b *inbox) take(spare mail) mail {
	clear(spare.messages)
	clear(spare.written)
	clear(spare.applied)
	clear(spare.transfers)
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.mu.mail
	b.mu.mail = mail{
		stopped:     out.stopped,
		messages:    spare.messages[:0],
		written:     spare.written[:0],
		applied:     spare.applied[:0],
		peersDown:   spare.peersDown[:0],
		unreachable: spare.unreachable[:0],
		transfers:   spare.transfers[:0],
	}
	return out
}

// stop ends the inbox and returns what was left.
func (b *inbox) stop() mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.mu.mail
	b.mu.mail = mail{stopped: true}
	return out
}
