package raftnode

import (
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/transport"
)

// maxShareMessages bounds the messages that one sender can have waiting for a turn. Beyond it, and
// beyond Limits.InboxBytes, its messages are dropped, which Raft survives.
const maxShareMessages = 2048

// inbox collects everything that a turn has to react to. Nobody ever waits to put something in.
// What finished writes and applies put in is bounded by what the turns gave them.
type inbox struct {
	wake   func()
	budget *budget
	// unwritten are the entries that have left the inbox and wait for the disk.
	unwritten *part
	mu        struct {
		sync.Mutex
		mail
		ticked bool // at least one tick was due; they do not add up
		round  bool // one of the ticks that were due was a round
		// quiet stands in for turns while there is nothing to do.
		quiet quiet
		// stopped: the driver has ended and nobody looks any more.
		stopped bool
	}
}

// mail is one filling of an inbox.
type mail struct {
	any      bool // there is something in it
	messages []*raftpb.Message
	// shares says how much of messages each sender has. Invariant: no share exceeds
	// maxShareMessages, and each is a part of its own in the budget. A sender that sends too much
	// loses its own messages and nobody else's.
	shares      map[uint64]*share
	written     []*AppendWork
	applied     []*ApplyWork
	readers     []func(index uint64, err error)
	peersDown   []uint64
	unreachable []uint64
	transfers   []transfer
	changes     []Change
	filled      []filled
	publish     bool // what news holds is to leave
}

// filled is an answer of the machine to Machine.Fill.
type filled struct {
	index uint64
	ok    bool
}

// share is what one sender has waiting.
type share struct {
	messages int
	bytes    part // of the messages' entries
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

// leave is put for what can wait for another reason to take a turn, unless it is urgent. The next
// tick is one at the latest: a member takes every tick that is not quiet, and none becomes quiet while
// it has mail.
func (b *inbox) leave(urgent bool, f func(m *mail)) {
	b.mu.Lock()
	ok := !b.mu.stopped
	if ok {
		f(&b.mu.mail)
		b.mu.any = true
		urgent = urgent || b.mu.quiet.on
	}
	b.mu.Unlock()
	if ok && urgent {
		b.wake()
	}
}

// note notes a beat if the member is quiet; false when it has to be stepped.
func (b *inbox) note(from uint64, beat transport.Beat) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.quiet.note(from, beat)
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
	if b.mu.stopped {
		return
	}
	s := b.mu.shares[from]
	if s == nil {
		if b.mu.shares == nil {
			b.mu.shares = make(map[uint64]*share)
		}
		s = &share{}
		s.bytes.of = b.budget
		b.mu.shares[from] = s
	}
	if s.messages == maxShareMessages || size > 0 && (!b.unwritten.fits(size) || !s.bytes.take(size)) {
		return
	}
	s.messages++
	b.mu.messages = append(b.mu.messages, m)
	b.mu.any = true
}

// take says whether a tick is due, and a round, and exchanges the mail for m, with whose contents the
// caller has dealt. A tick alone moves nothing. The member is not quiet any more; q becomes what it
// was.
func (b *inbox) take(m *mail, q *quiet) (tick, round bool) {
	if m.any {
		m.empty()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	tick, round = b.mu.ticked, b.mu.round
	b.mu.ticked, b.mu.round = false, false
	b.mu.quiet, *q = quiet{contacts: q.contacts[:0]}, b.mu.quiet
	if b.mu.any {
		b.mu.mail, *m = *m, b.mu.mail
		m.release()
	}
	return tick, round
}

// release gives back what the senders have: a turn deals with their messages.
func (m *mail) release() {
	for _, s := range m.shares {
		s.messages = 0
		s.bytes.clear()
	}
}

// empty keeps nothing but the slices, and the shares, which are those of members.
func (m *mail) empty() {
	clear(m.messages)
	clear(m.written)
	clear(m.applied)
	clear(m.transfers)
	clear(m.changes)
	*m = mail{
		messages:    m.messages[:0],
		shares:      m.shares,
		written:     m.written[:0],
		applied:     m.applied[:0],
		peersDown:   m.peersDown[:0],
		unreachable: m.unreachable[:0],
		transfers:   m.transfers[:0],
		changes:     m.changes[:0],
		filled:      m.filled[:0],
	}
}

// stop ends the inbox and returns what was left.
func (b *inbox) stop() mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.mu.mail
	b.mu.mail, b.mu.quiet, b.mu.stopped = mail{}, quiet{}, true
	out.release()
	return out
}
