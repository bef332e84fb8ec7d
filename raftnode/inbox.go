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
		ticked bool // at least one tick was due; they do not add up
		round  bool // one of the ticks that were due was a round
		// stopped: the driver has ended and nobody looks any more.
		stopped bool
	}
}

// mail is one filling of an inbox.
type mail struct {
	any      bool // there is something in it
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
}

// share is what one sender has waiting.
type share struct {
	messages int
	bytes    int // of the messages' entries
}

// put changes the mail under the lock and wakes a turn; false when the driver has ended.
func (b *inbox) put(f func(m *mail)) bool {
	b.mu.Lock()
	ok := !b.mu.stopped
	if ok {
		f(&b.mu.mail)
		b.mu.any = true
	}
	b.mu.Unlock()
	if ok {
		b.wake()
	}
	return ok
}

// tick notes that a tick is due, without a wake.
func (b *inbox) tick(round bool) {
	b.mu.Lock()
	b.mu.ticked, b.mu.round = true, b.mu.round || round
	b.mu.Unlock()
}

// putMessage is put for the hot path. from is the authenticated sender.
func (b *inbox) putMessage(from uint64, m *raftpb.Message) {
	b.addMessage(from, m)
	b.wake()
}

// addMessage is putMessage without a wake.
func (b *inbox) addMessage(from uint64, m *raftpb.Message) {
	size := 0
	for _, e := range m.GetEntries() {
		size += len(e.GetData())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.mu.shares[from]; !b.mu.stopped && s.messages < maxShareMessages && s.bytes+size <= maxShareBytes {
		if b.mu.shares == nil {
			b.mu.shares = make(map[uint64]share)
		}
		b.mu.shares[from] = share{s.messages + 1, s.bytes + size}
		b.mu.messages = append(b.mu.messages, m)
		b.mu.any = true
	}
}

// take says whether a tick is due, and a round, and exchanges the mail for m, whose contents the caller has dealt
// with. A tick alone moves nothing.
func (b *inbox) take(m *mail) (tick, round bool) {
	if m.any {
		m.empty()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	tick, round = b.mu.ticked, b.mu.round
	b.mu.ticked, b.mu.round = false, false
	if b.mu.any {
		b.mu.mail, *m = *m, b.mu.mail
	}
	return tick, round
}

// empty keeps nothing but the slices.
func (m *mail) empty() {
	clear(m.messages)
	clear(m.shares)
	clear(m.written)
	clear(m.applied)
	clear(m.transfers)
	*m = mail{
		messages:    m.messages[:0],
		shares:      m.shares,
		written:     m.written[:0],
		applied:     m.applied[:0],
		peersDown:   m.peersDown[:0],
		unreachable: m.unreachable[:0],
		transfers:   m.transfers[:0],
	}
}

// stop ends the inbox and returns what was left.
func (b *inbox) stop() mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.mu.mail
	b.mu.mail, b.mu.stopped = mail{}, true
	return out
}
