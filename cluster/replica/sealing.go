package replica

import (
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/raftnode"
)

// A member has at most so many messages, and bytes of them, in the mailbox. Messages beyond it are
// lost, as they may be on the network; members send again.
const (
	maxMessages     = 1024
	maxMessageBytes = 1 << 20
)

// mailbox collects what the sealer has to hear. Nobody waits to put something in.
type mailbox struct {
	mu     sync.Mutex
	events []seal.Event
	// taken is what each member has in events: one that floods the mailbox loses its own messages.
	taken map[uint64]share
	// position is told once for many blocks, told is what the sealer knows of it; wanted likewise.
	position, told seal.Applied
	callers        int // that want a seal
	// awaited: a new position is to wake the sealer. Otherwise the sealer hears of it with the next
	// event, or at its deadline. Invariant: true while the sealer is being stepped.
	awaited bool
}

type share struct{ messages, bytes int }

func (m *mailbox) init(h ledger.Head) {
	m.taken = map[uint64]share{}
	m.applied(h)
	m.awaited = true
}

// applied reports whether the sealer is to be woken for the position.
func (m *mailbox) applied(h ledger.Head) (wake bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.position = seal.Applied{Size: h.Size, Index: h.RaftIndex}
	return m.awaited
}

// settle says whether the sealer awaits another position, after it has been stepped with what take
// returned.
func (m *mailbox) settle(awaited bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.awaited = awaited
}

func (m *mailbox) want() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.callers++
}

func (m *mailbox) post(e seal.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
}

// received reports whether there is room for the message.
func (m *mailbox) received(from uint64, payload []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.taken[from]
	if s.messages == maxMessages || s.bytes+len(payload) > maxMessageBytes {
		return false
	}
	m.taken[from] = share{s.messages + 1, s.bytes + len(payload)}
	m.events = append(m.events, seal.Received{From: from, Payload: payload})
	return true
}

// take empties the mailbox. The position goes first: what waits for it can be answered.
func (m *mailbox) take() (events []seal.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.position != m.told {
		m.told = m.position
		events = append(events, m.position)
	}
	if m.callers > 0 {
		events = append(events, seal.Wanted{Callers: m.callers})
		m.callers = 0
	}
	events = append(events, m.events...)
	m.events, m.awaited = nil, true
	clear(m.taken)
	return events
}

func (r *Replica) post(e seal.Event) {
	r.mail.post(e)
	r.shell.WakeSealer()
}

// Seal steps the sealer with what has happened and carries out what it wants. It returns when it
// has to be called again without another wake, on the clock of Clocks.Now; false if not.
func (r *Replica) Seal() (due time.Time, ok bool) {
	s := &r.sealing
	s.Lock()
	defer s.Unlock()
	if !s.open {
		return time.Time{}, false
	}
	for _, e := range append(r.mail.take(), seal.Tick{}) {
		if !r.carryOut(s.machine.Step(r.clocks.Now(), e)) {
			s.open = false
			return time.Time{}, false
		}
	}
	r.mail.settle(s.machine.AwaitsGrowth())
	return s.machine.Deadline()
}

// carryOut does what the sealer wants, and reports whether the replica can go on. It never waits
// for the network or the Raft log: what has become durable comes back as an event.
func (r *Replica) carryOut(effects []seal.Effect) (going bool) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case seal.Send:
			r.raft.Publish() // a voter signs what it has applied
			r.raft.SendApp(e.To, e.Payload)
		case seal.Persist:
			r.raft.AppendNote(sealNote, e.Data, func(err error) { r.persisted(e.Token, err) })
		case seal.Sealed:
			if err := r.ledger.SetSealed(e.Checkpoint); err != nil {
				r.shell.Halt(errors.Wrapf(err, "store sealed checkpoint of size %d", e.Checkpoint.Size), nil)
				return false
			}
			r.measureSealed(e.Checkpoint.Size)
			r.shell.Sealed(e.Checkpoint)
			r.endHandover()
		case seal.Outvoted:
			r.shell.Halt(e.Err(r.ledger.Head().RaftIndex), e.Evidence)
			return false
		case seal.Restored:
			r.shell.Halt(e.Err(), nil)
			return false
		case seal.Contradiction:
			r.shell.Contradicted(e)
		case seal.Problem:
			r.shell.Problem(e.Err)
		}
	}
	return true
}

func (r *Replica) persisted(token uint64, err error) {
	switch {
	case errors.Is(err, raftnode.ErrStopped): // whoever stopped the group knows why
	case err != nil:
		r.shell.Halt(errors.Wrap(err, "write what this replica promised to sign"), nil)
	default:
		r.post(seal.Persisted{Token: token})
	}
}

// StopSealing waits for a call of Seal that is under way; later ones do nothing.
func (r *Replica) StopSealing() {
	r.sealing.Lock()
	defer r.sealing.Unlock()
	r.sealing.open = false
}
