package raftnode

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// Node runs one member of a group: a Driver with a goroutine for each of its tasks and one for
// ticks. All methods are safe for concurrent use, but must not be called from inside the machine's
// methods, except Submit, SendApp, AppendNote and SetMark, which never wait.
type Node struct {
	cfg    Config
	driver *Driver
	start  time.Time
	wake   [tasks]chan struct{} // capacity 1
	ended  chan struct{}        // closed when the last turn is over
	wg     sync.WaitGroup
	stop   sync.Once
}

// Start starts a member from its log. Entries behind the group's newest mark are
// given to the machine again as they become known to be committed.
func Start(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Incarnation == 0 {
		var nonce [8]byte
		if _, err := rand.Read(nonce[:]); err != nil {
			return nil, errors.Wrap(err, "draw an incarnation")
		}
		cfg.Incarnation = binary.LittleEndian.Uint64(nonce[:])
	}
	n := &Node{cfg: cfg, start: time.Now(), ended: make(chan struct{})}
	for i := range n.wake {
		n.wake[i] = make(chan struct{}, 1)
	}
	if n.driver, err = NewDriver(cfg, shell{n}); err != nil {
		return nil, err
	}
	n.wg.Go(n.turns)
	n.wg.Go(n.writes)
	n.wg.Go(n.applies)
	n.wg.Go(n.ticks)
	cfg.Transport.Register(cfg.Group, n.driver)
	return n, nil
}

// shell is the Shell of a Node's driver.
type shell struct{ n *Node }

// Wake implements Shell.
func (s shell) Wake(t Task) {
	select {
	case s.n.wake[t] <- struct{}{}:
	default:
	}
}

// Now implements Shell.
func (s shell) Now() time.Duration { return time.Since(s.n.start) }

// Failed implements Shell.
func (s shell) Failed(err error) {
	if s.n.cfg.Fatal != nil {
		go s.n.cfg.Fatal(err)
	}
}

func (n *Node) turns() {
	defer close(n.ended)
	for n.driver.Turn() {
		<-n.wake[TaskTurn]
	}
}

// writes is the only goroutine that writes to the log while the node runs.
func (n *Node) writes() {
	for {
		w, more := n.driver.NextWrite()
		switch {
		case w != nil:
			n.driver.Written(n.cfg.Log.Append(w.Records, w.Sync))
		case more:
			<-n.wake[TaskWrite]
		default:
			return
		}
	}
}

func (n *Node) applies() {
	for {
		e, more := n.driver.NextApply()
		switch {
		case e != nil:
			n.driver.Applied(n.cfg.Machine.Apply(e))
		case more:
			<-n.wake[TaskApply]
		default:
			return
		}
	}
}

func (n *Node) ticks() {
	t := time.NewTicker(n.cfg.TickInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			n.driver.Tick()
		case <-n.ended:
			return
		}
	}
}

// Submit is Driver.Submit.
func (n *Node) Submit(r Request) error { return n.driver.Submit(r) }

// ReadIndex returns an index such that a read of a state that has applied it is
// linearizable. It costs one round trip to a quorum, shared by all callers that
// wait at the same time. Errors: ErrReadTimeout, ErrStopped, or ctx's.
func (n *Node) ReadIndex(ctx context.Context) (uint64, error) {
	type answer struct {
		index uint64
		err   error
	}
	result := make(chan answer, 1)
	if !n.driver.ReadIndex(func(index uint64, err error) { result <- answer{index, err} }) {
		return 0, ErrStopped
	}
	select {
	case a := <-result:
		return a.index, a.err
	case <-ctx.Done():
		return 0, errors.Wrap(context.Cause(ctx), "wait for a quorum to confirm a read")
	}
}

// WaitApplied waits until the machine has applied index. Errors: ErrStopped, or ctx's.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	ready := make(chan struct{})
	cancel := n.driver.WhenApplied(index, func() { close(ready) })
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		cancel()
		return errors.Wrapf(context.Cause(ctx), "wait for index %d to be applied", index)
	case <-n.ended:
		cancel()
		return ErrStopped
	}
}

// AppendNote is Driver.AppendNote.
func (n *Node) AppendNote(slot uint8, data []byte, done func(error)) {
	n.driver.AppendNote(slot, data, done)
}

// SetMark is Driver.SetMark.
func (n *Node) SetMark(m wal.Mark) bool { return n.driver.SetMark(m) }

// SendApp sends a payload to the machine of another member; it may be lost.
func (n *Node) SendApp(to uint64, payload []byte) { n.cfg.Transport.SendApp(n.cfg.Group, to, payload) }
