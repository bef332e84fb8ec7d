package raftnode

import (
	"sync"

	"go.etcd.io/raft/v3/raftpb"
)

// Limits of what peers can have waiting for the loop; beyond them messages are
// dropped, which Raft survives. A leader's window for one follower is below them.
const (
	maxInboxMessages = 8192
	maxInboxBytes    = 128 << 20
)

// inbox collects everything the loop has to react to. Nobody ever waits to put
// something in. What append and apply put in is bounded by what the loop gave them.
type inbox struct {
	wake chan struct{} // capacity 1
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
	appended    []*AppendWork
	applied     []*ApplyWork
	readers     []chan<- readAnswer
	peersDown   []uint64
	unreachable []uint64
	transfers   []transferRequest
	// stopped: the loop has ended and nobody looks any more.
	stopped bool
}

type readAnswer struct {
	index uint64
	err   error
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// put changes the mail under the lock and wakes the loop; false when the loop has ended.
func (b *inbox) put(f func(m *mail)) bool {
	b.mu.Lock()
	ok := !b.mu.stopped
	if ok {
		f(&b.mu.mail)
	}
	b.mu.Unlock()
	if ok {
		b.signal()
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
	b.signal()
}

// take exchanges the mail for an empty one that reuses the slices of spare, whose
// contents the caller has dealt with.
func (b *inbox) take(spare mail) mail {
	clear(spare.messages)
	clear(spare.appended)
	clear(spare.applied)
	clear(spare.transfers)
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.mu.mail
	b.mu.mail = mail{
		stopped:     out.stopped,
		messages:    spare.messages[:0],
		appended:    spare.appended[:0],
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
