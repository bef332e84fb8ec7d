package sim

import (
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/raftnode"
)

// verdict is what a response says about the request.
type verdict uint8

const (
	answered verdict = iota
	// refused: no effect, ever.
	refused
	// unknown: it may have an effect, now or later.
	unknown
)

// response is what a client gets from a node.
type response struct {
	verdict verdict
	leader  uint64 // of a refusal: whom to ask instead, 0 unknown
	result  ledger.Result
	size    uint64
	root    *merkle.Hash
	leaves  [][]byte
	missing bool // no such entry
	err     error
}

// call is a request that a node works on.
type call struct {
	m     *member
	done  bool
	reply func(response)
}

// request delivers a client's request to a node; reply may be called or not.
func (g *group) request(node uint64, serve func(m *member, c *call), reply func(response)) {
	net := g.w.net
	net.client(node, func() {
		m := g.on(node)
		if m == nil {
			// Nobody listens: the connection is refused, so there is no request.
			net.client(node, func() { reply(response{verdict: refused}) })
			return
		}
		c := &call{m: m, reply: reply}
		m.calls = append(m.calls, c)
		if len(m.calls) > 64 {
			m.forgetCalls()
		}
		m.p.run(func() { serve(m, c) })
	})
}

func (m *member) forgetCalls() {
	live := m.calls[:0]
	for _, c := range m.calls {
		if !c.done {
			live = append(live, c)
		}
	}
	clear(m.calls[len(live):])
	m.calls = live
}

// answer sends the response, once.
func (c *call) answer(r response) {
	if c.done || c.m.p.dead && r.verdict == answered {
		return
	}
	c.done = true
	c.m.w.net.client(c.m.n.id, func() { c.reply(r) })
}

// hangUp breaks the connections to the ledger of a process that has ended. Nobody can say what
// becomes of the requests.
func (m *member) hangUp() {
	for _, c := range m.calls {
		c.answer(response{verdict: unknown})
	}
	m.calls, m.watchers = nil, nil
}

// fail answers with an error, as package server translates it.
func (c *call) fail(err error) {
	var notLeader *raftnode.NotLeaderError
	r := response{verdict: refused, err: err}
	switch {
	case errors.As(err, &notLeader):
		r.leader = notLeader.Leader
	case errors.Is(err, raftnode.ErrNotLeader), errors.Is(err, raftnode.ErrDropped), errors.Is(err, raftnode.ErrNotServing):
		r.leader = c.m.state.Leader
	case errors.Is(err, raftnode.ErrQueueFull), errors.Is(err, raftnode.ErrStopped), errors.Is(err, ledger.ErrBadBatch):
	default:
		r.verdict = unknown
	}
	c.answer(r)
}

func (m *member) serveAppend(c *call, b ledger.Batch) {
	if err := b.Validate(m.ledger.Program()); err != nil {
		c.fail(err)
		return
	}
	m.Submit(b, func(res ledger.Result, err error) {
		if err != nil {
			c.fail(err)
			return
		}
		c.answer(response{result: res})
	})
}

// fresh calls do after a read barrier; a read has no effect whatever goes wrong.
func (m *member) fresh(c *call, do func()) {
	m.barrier(func(err error) {
		if err != nil {
			c.answer(response{verdict: refused, err: err})
			return
		}
		do()
	})
}

func (m *member) serveGet(c *call, index uint64) {
	read := func() {
		leaf, err := m.ledger.Leaf(index)
		var missing *ledger.NotFoundError
		switch {
		case errors.As(err, &missing):
			c.answer(response{missing: true})
		case err != nil:
			m.readFailed(c, err)
		default:
			c.answer(response{leaves: [][]byte{leaf}})
		}
	}
	if index < m.ledger.Head().Size {
		read() // an entry that is here is final
		return
	}
	m.fresh(c, read)
}

// readFailed: an entry that cannot be read is an error, never a wrong answer.
func (m *member) readFailed(c *call, err error) {
	if !m.n.damaged() {
		m.g.fail("refused", 0, "node %d cannot read its ledger: %v", m.n.id, err)
	}
	c.answer(response{verdict: refused, err: err})
}

func (m *member) serveRange(c *call, first, limit uint64) {
	m.fresh(c, func() {
		size := m.ledger.Head().Size
		if first > size {
			c.answer(response{missing: true})
			return
		}
		r := response{size: size}
		if first < size {
			leaves, err := m.ledger.Leaves(first, int(min(limit, size)), 1<<30)
			if err != nil {
				m.readFailed(c, err)
				return
			}
			r.leaves = leaves
		}
		c.answer(r)
	})
}

func (m *member) head() response {
	h := m.ledger.Head()
	return response{size: h.Size, root: &h.Root}
}

func (m *member) serveHead(c *call) { m.fresh(c, func() { c.answer(m.head()) }) }

// behindWait is how long a node waits for a size that a client has seen elsewhere.
const behindWait = time.Second

func (m *member) serveLocalHead(c *call, least uint64) {
	if m.ledger.Head().Size >= least {
		c.answer(m.head())
		return
	}
	m.w.stats.Behind++
	m.behind = append(m.behind, waiter{least, func() { c.answer(m.head()) }})
	m.p.after(behindWait, func() { c.answer(response{verdict: refused}) })
}

func (m *member) serveCheckpoint(c *call) {
	s := m.ledger.Sealed()
	if s == nil {
		c.answer(response{missing: true})
		return
	}
	c.answer(response{size: s.Size, root: &s.Root})
}

// watcher is a subscription to a node.
type watcher struct {
	next uint64
	to   func(first uint64, leaves [][]byte) // a delivery
}

func (m *member) serveWatch(wt *watcher) {
	m.watchers = append(m.watchers, wt)
	m.deliver()
}

// deliver sends new entries to everybody who watches.
func (m *member) deliver() {
	size := m.ledger.Head().Size
	for _, wt := range m.watchers {
		if wt.next >= size {
			continue
		}
		first := wt.next
		leaves, err := m.ledger.Leaves(first, 64, 1<<20)
		if err != nil {
			if !m.n.damaged() {
				m.g.fail("refused", first, "node %d cannot read its ledger: %v", m.n.id, err)
			}
			continue
		}
		wt.next += uint64(len(leaves))
		m.w.net.client(m.n.id, func() { wt.to(first, leaves) })
		if wt.next < size {
			m.p.after(time.Millisecond, m.deliver)
		}
	}
}
