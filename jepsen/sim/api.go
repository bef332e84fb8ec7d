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
	p     *process
	done  bool
	reply func(response)
}

// request delivers a client's request to a node; reply may be called or not.
func (w *world) request(node uint64, serve func(p *process, c *call), reply func(response)) {
	w.net.client(node, func() {
		n := w.nodes[node]
		p := n.proc
		if p == nil || !p.running {
			// Nobody listens: the connection is refused, so there is no request.
			w.net.client(node, func() { reply(response{verdict: refused}) })
			return
		}
		c := &call{p: p, reply: reply}
		p.calls = append(p.calls, c)
		if len(p.calls) > 64 {
			p.forgetCalls()
		}
		p.run(func() { serve(p, c) })
	})
}

func (p *process) forgetCalls() {
	live := p.calls[:0]
	for _, c := range p.calls {
		if !c.done {
			live = append(live, c)
		}
	}
	clear(p.calls[len(live):])
	p.calls = live
}

// answer sends the response, once.
func (c *call) answer(r response) {
	if c.done || c.p.dead && r.verdict == answered {
		return
	}
	c.done = true
	c.p.w.net.client(c.p.n.id, func() { c.reply(r) })
}

// hangUp breaks the connections of a process that has ended. Nobody can say what
// becomes of the requests.
func (p *process) hangUp() {
	for _, c := range p.calls {
		c.answer(response{verdict: unknown})
	}
	p.calls, p.watchers = nil, nil
}

// fail answers with an error, as package server translates it.
func (c *call) fail(err error) {
	var notLeader *raftnode.NotLeaderError
	r := response{verdict: refused, err: err}
	switch {
	case errors.As(err, &notLeader):
		r.leader = notLeader.Leader
	case errors.Is(err, raftnode.ErrNotLeader), errors.Is(err, raftnode.ErrDropped), errors.Is(err, raftnode.ErrNotServing):
		r.leader = c.p.state.Leader
	case errors.Is(err, raftnode.ErrQueueFull), errors.Is(err, raftnode.ErrStopped), errors.Is(err, ledger.ErrBadBatch):
	default:
		r.verdict = unknown
	}
	c.answer(r)
}

func (p *process) serveAppend(c *call, b ledger.Batch) {
	if err := b.Validate(p.ledger.Program()); err != nil {
		c.fail(err)
		return
	}
	p.Submit(b, func(res ledger.Result, err error) {
		if err != nil {
			c.fail(err)
			return
		}
		c.answer(response{result: res})
	})
}

// fresh calls do after a read barrier; a read has no effect whatever goes wrong.
func (p *process) fresh(c *call, do func()) {
	p.barrier(func(err error) {
		if err != nil {
			c.answer(response{verdict: refused, err: err})
			return
		}
		do()
	})
}

func (p *process) serveGet(c *call, index uint64) {
	read := func() {
		leaf, err := p.ledger.Leaf(index)
		var missing *ledger.NotFoundError
		switch {
		case errors.As(err, &missing):
			c.answer(response{missing: true})
		case err != nil:
			p.readFailed(c, err)
		default:
			c.answer(response{leaves: [][]byte{leaf}})
		}
	}
	if index < p.ledger.Head().Size {
		read() // an entry that is here is final
		return
	}
	p.fresh(c, read)
}

// readFailed: an entry that cannot be read is an error, never a wrong answer.
func (p *process) readFailed(c *call, err error) {
	if !p.n.damaged() {
		p.w.fail("refused", 0, "node %d cannot read its ledger: %v", p.n.id, err)
	}
	c.answer(response{verdict: refused, err: err})
}

func (p *process) serveRange(c *call, first, limit uint64) {
	p.fresh(c, func() {
		size := p.ledger.Head().Size
		if first > size {
			c.answer(response{missing: true})
			return
		}
		r := response{size: size}
		if first < size {
			leaves, err := p.ledger.Leaves(first, int(min(limit, size)), 1<<30)
			if err != nil {
				p.readFailed(c, err)
				return
			}
			r.leaves = leaves
		}
		c.answer(r)
	})
}

func (p *process) head() response {
	h := p.ledger.Head()
	return response{size: h.Size, root: &h.Root}
}

func (p *process) serveHead(c *call) { p.fresh(c, func() { c.answer(p.head()) }) }

// behindWait is how long a node waits for a size that a client has seen elsewhere.
const behindWait = time.Second

func (p *process) serveLocalHead(c *call, least uint64) {
	if p.ledger.Head().Size >= least {
		c.answer(p.head())
		return
	}
	p.w.stats.Behind++
	p.behind = append(p.behind, waiter{least, func() { c.answer(p.head()) }})
	p.after(behindWait, func() { c.answer(response{verdict: refused}) })
}

func (p *process) serveCheckpoint(c *call) {
	s := p.ledger.Sealed()
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

func (p *process) serveWatch(wt *watcher) {
	p.watchers = append(p.watchers, wt)
	p.deliver()
}

// deliver sends new entries to everybody who watches.
func (p *process) deliver() {
	size := p.ledger.Head().Size
	for _, wt := range p.watchers {
		if wt.next >= size {
			continue
		}
		first := wt.next
		leaves, err := p.ledger.Leaves(first, 64, 1<<20)
		if err != nil {
			if !p.n.damaged() {
				p.w.fail("refused", first, "node %d cannot read its ledger: %v", p.n.id, err)
			}
			continue
		}
		wt.next += uint64(len(leaves))
		p.w.net.client(p.n.id, func() { wt.to(first, leaves) })
		if wt.next < size {
			p.after(time.Millisecond, p.deliver)
		}
	}
}
