package raftnode

import (
	"context"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// Node is one member of a group that a Host runs: its Driver, for callers that wait. All methods
// are safe for concurrent use, but must not be called from inside the machine's methods, except
// Submit, SendApp, AppendNote and SetMark, which never wait.
type Node struct {
	cfg     Config
	host    *Host
	driver  *Driver
	turns   *Runner
	applies *Runner
	writer  Writer
	// ended are closed when there is nothing more to do for a task.
	ended [tasks]chan struct{}
	ends  [tasks]sync.Once
	stop  sync.Once
}

func newNode(h *Host, cfg Config) *Node {
	n := &Node{cfg: cfg, host: h}
	for i := range n.ended {
		n.ended[i] = make(chan struct{})
	}
	n.turns, n.applies = h.workers.gatherer(cfg.crowd, n.turnAlone), h.workers.Runner(n.apply)
	n.writer.Over = func() { n.over(TaskWrite) }
	return n
}

// shell is the Shell of a Node's driver.
type shell struct{ n *Node }

// Wake implements Shell.
func (s shell) Wake(t Task) {
	switch t {
	case TaskTurn:
		s.n.turns.Wake()
	case TaskWrite:
		s.n.host.wantWrite(s.n)
	case TaskApply:
		s.n.applies.Wake()
	}
}

// Now implements Shell.
func (s shell) Now() time.Duration { return time.Since(s.n.host.start) }

// Failed implements Shell.
func (s shell) Failed(err error) {
	if s.n.cfg.Fatal != nil {
		go s.n.cfg.Fatal(err)
	}
}

// turn takes one turn. The caller lets the beats leave: after the turns of many members, for those
// of all.
func (n *Node) turn() {
	if !n.driver.Turn() {
		n.over(TaskTurn)
	}
}

// turnAlone is a turn that belongs to no pass over the members.
func (n *Node) turnAlone() {
	n.turn()
	n.cfg.Transport.Flush(false)
}

// handler is what the transport knows of a Node. A beat that needs a turn gets it at once, on the
// transport's goroutine, so that the answers to a round of beats are a round, too.
type handler struct {
	*Driver
	node *Node
}

// HandleBeat implements transport.Handler.
func (h handler) HandleBeat(_, from uint64, b transport.Beat) {
	if h.Driver.HandleBeat(from, b) {
		h.node.turns.Run(h.node.turn)
	}
}

func (n *Node) apply() {
	for {
		run, more := n.driver.NextApply()
		if len(run) == 0 {
			if !more {
				n.over(TaskApply)
			}
			return
		}
		n.driver.Applied(n.cfg.Machine.Apply(run))
	}
}

// over says that a task has nothing more to do, perhaps more than once.
func (n *Node) over(t Task) { n.ends[t].Do(func() { close(n.ended[t]) }) }

// Submit is Driver.Submit.
func (n *Node) Submit(r Request) error { return n.driver.Submit(r) }

// ChangeMembers is Driver.ChangeMembers.
func (n *Node) ChangeMembers(c Change) bool { return n.driver.ChangeMembers(c) }

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
	case <-n.ended[TaskTurn]:
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

// Filled is Driver.Filled.
func (n *Node) Filled(index uint64, ok bool) { n.driver.Filled(index, ok) }

// Reached is Driver.Reached.
func (n *Node) Reached() { n.driver.Reached() }

// SendApp is Driver.SendApp.
func (n *Node) SendApp(to uint64, payload []byte) { n.driver.SendApp(to, payload) }

// Publish is Driver.Publish.
func (n *Node) Publish() { n.driver.Publish() }
