package raftnode

import (
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/transport"
)

// Limits of what one sender can have waiting for a turn; beyond them its messages are
// dropped, which Raft survives. A leader's window for one follower is below them.
const (
	maxShareMessages = 2048
	maxShareBytes    = maxInflightBytes + transport.MaxPayload
)

// inbox collects everything that a turn has to react to. Nobody ever waits to put something in.
// What finished writes and applies put in is bounded by what the turns gave them.
type inbox struct {
	wake func()
	mu   struct {
		sync.Mutex
		mail
	}
}

// mail is one filling of an inbox.
type mail struct {
	tick     bool // at least one tick was due; they do not add up
	messages []*raftpb.Message
	// shares says how much of messages each sender has. Invariant: a share depends on its own
	// sender alone, and no share exceeds maxShareMessages and maxShareBytes. A sender that sends
	// too much loses its own messages and nobody else's.
	shares      map[uint64]share
	written     []*AppendWork
	applied     []*ApplyWork
	readers     []func(index uint64, err error)
	peersDown   []uint64
	unreachable []uint64
	transfers   []transfer
	// stopped: the driver has ended and nobody looks any more.
	stopped bool
}

// share is what one sender has waiting.
type share struct {
	messages int
	bytes    int // of the messages' entries
}

// put changes the mail under the lock and wakes a turn; false when the driver has ended.
func (b *inbox) put(f func(m *mail)) bool {
	ok := b.leave(f)
	if ok {
		b.wake()
	}
	return ok
}

// leave is put without a wake.
func (b *inbox) leave(f func(m *mail)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.mu.stopped {
		f(&b.mu.mail)
	}
	return !b.mu.stopped
}

// putMessage is put for the hot path. from is the authenticated sender.
func (b *inbox) putMessage(from uint64, m *raftpb.Message) {
	size := 0
	for _, e := range m.GetEntries() {
		size += len(e.GetData())
	}
	b.mu.Lock()
	if s := b.mu.shares[from]; !b.mu.stopped && s.messages < maxShareMessages && s.bytes+size <= maxShareBytes {
		if b.mu.shares == nil {
			b.mu.shares = make(map[uint64]share)
		}
		b.mu.shares[from] = share{s.messages + 1, s.bytes + size}
		b.mu.messages = append(b.mu.messages, m)
	}
	b.mu.Unlock()
	b.wake()
}

// take exchanges the mail for an empty one that reuses the slices of spare, whose
// contents the caller has dealt with.
func (b *inbox) take(spare mail) mail {
	clear(spare.messages)
	clear(spare.shares)
	clear(spare.written)
	clear(spare.applied)
	clear(spare.transfers)
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.mu.mail
	b.mu.mail = mail{
		stopped:     out.stopped,
		messages:    spare.messages[:0],
		shares:      spare.shares,
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
