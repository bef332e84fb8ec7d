package node

import (
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/raftnode"
)

// sealNote is the slot of the Raft log that holds what this replica has promised
// to sign.
const sealNote = 1

// maxSealEvents and maxSealBytes bound what peers can have waiting in the mailbox.
// Messages beyond it are lost, as they may be on the network; peers send again.
const (
	maxSealEvents = 4096
	maxSealBytes  = 4 << 20
)

// sealer is the shell around seal.Sealer: one goroutine owns the state machine,
// everybody else leaves events. It never waits for the network or the disk: what
// has become durable comes back as an event.
type sealer struct {
	machine *seal.Sealer // owned by run
	ledger  *ledger.Ledger
	send    func(to uint64, payload []byte)
	persist func(data []byte, done func(error))
	fatal   func(error)
	now     func() time.Time
	dir     string // for evidence
	name    string // of this node
	log     *slog.Logger
	metrics *metrics

	mu struct {
		sync.Mutex
		events []seal.Event
		bytes  int // of the messages' payloads in events
		// size is the newest applied size, told once for many blocks; wanted likewise.
		size   uint64
		wanted bool
	}
	wake chan struct{} // capacity 1
	quit chan struct{}
	done chan struct{}
	once sync.Once
}

func (s *sealer) start() { go s.run() }

func (s *sealer) stop() {
	s.once.Do(func() { close(s.quit) })
	<-s.done
}

// applied says how large the ledger is now.
func (s *sealer) applied(size uint64) {
	s.mu.Lock()
	s.mu.size = max(s.mu.size, size)
	s.mu.Unlock()
	s.signal()
}

// wanted says that a caller waits for a receipt.
func (s *sealer) wanted() {
	s.mu.Lock()
	s.mu.wanted = true
	s.mu.Unlock()
	s.signal()
}

func (s *sealer) leading(is bool) { s.post(seal.Leader{Is: is}) }

func (s *sealer) received(from uint64, payload []byte) {
	s.post(seal.Received{From: from, Payload: payload})
}

func (s *sealer) peerUp(id uint64) { s.post(seal.PeerUp{ID: id}) }

func (s *sealer) post(e seal.Event) {
	s.mu.Lock()
	message, fromPeer := e.(seal.Received)
	size := len(message.Payload)
	if !fromPeer || len(s.mu.events) < maxSealEvents && s.mu.bytes+size <= maxSealBytes {
		s.mu.events = append(s.mu.events, e)
		s.mu.bytes += size
	}
	s.mu.Unlock()
	s.signal()
}

func (s *sealer) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take empties the mailbox. The size goes first: what waits for it can be answered.
func (s *sealer) take(known uint64) (events []seal.Event, size uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.size > known {
		events = append(events, seal.Applied{Size: s.mu.size})
	}
	if s.mu.wanted {
		s.mu.wanted = false
		events = append(events, seal.Wanted{})
	}
	events = append(events, s.mu.events...)
	s.mu.events, s.mu.bytes = nil, 0
	return events, s.mu.size
}

func (s *sealer) run() {
	defer close(s.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var size uint64
	for {
		var events []seal.Event
		events, size = s.take(size)
		for _, e := range events {
			s.carryOut(s.machine.Step(s.now(), e))
		}
		timer.Stop()
		if at, ok := s.machine.Deadline(); ok {
			timer.Reset(at.Sub(s.now()))
		}
		select {
		case <-s.quit:
			return
		case <-s.wake:
		case <-timer.C:
			s.carryOut(s.machine.Step(s.now(), seal.Tick{}))
		}
	}
}

func (s *sealer) carryOut(effects []seal.Effect) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case seal.Send:
			s.send(e.To, e.Payload)
		case seal.Persist:
			s.persist(e.Data, func(err error) {
				if errors.Is(err, raftnode.ErrStopped) {
					return // the node stops already; whoever stopped it knows why
				}
				if err != nil {
					s.fatal(errors.Wrap(err, "write what this replica promised to sign"))
					return
				}
				s.post(seal.Persisted{Token: e.Token})
			})
		case seal.Sealed:
			if err := s.ledger.SetSealed(e.Checkpoint); err != nil {
				s.fatal(errors.Wrapf(err, "store sealed checkpoint of size %d", e.Checkpoint.Size))
				return
			}
			s.metrics.seals.Inc()
		case seal.Outvoted:
			reason := e.Err(s.ledger.Head().RaftIndex)
			path, err := writeEvidence(s.dir, e.Evidence, "Two checkpoints that contradict each other, kept by node "+s.name+" when it stopped.")
			s.fatal(withEvidence(reason, path, err))
			return
		case seal.Restored:
			s.fatal(e.Err())
			return
		case seal.Contradiction:
			s.contradiction(e)
		case seal.Problem:
			s.metrics.sealProblems.Inc()
			s.log.Warn("sealing", "problem", e.Err.Error())
		}
	}
}

// contradiction reports keys that cosigned another history. The node goes on: fewer keys than a majority
// stop nobody.
func (s *sealer) contradiction(e seal.Contradiction) {
	s.metrics.sealProblems.Inc()
	path, err := writeEvidence(s.dir, e.Evidence, "A checkpoint cosigned with the key "+keyNames(e.By)+" that contradicts another one, kept by node "+s.name+".")
	if err != nil {
		s.log.Error("sealing", "problem", err.Error())
	}
	s.log.Error("sealing: a cosigner's key signed another history; its cosignatures do not count here any more",
		"problem", e.Err().Error(), "keys", keyNames(e.By), "evidence", path)
}
