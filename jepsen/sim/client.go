package sim

import (
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/ledger"
)

// client issues one operation after the other.
type client struct {
	l       *workload
	rng     *rand.Rand
	think   time.Duration
	process uint32
	node    uint64 // to ask first
	known   uint64 // largest size seen
	local   uint64 // largest size that a local head or a checkpoint showed
	reader  bool   // never appends, and so never waits for what a cut off leader cannot commit
	current *attempt
}

// attempt is one operation on its way. It ends once.
type attempt struct {
	c      *client
	op     history.Op
	serve  func(m *member, c *call)
	finish func(r response) // fills in op for an answer
	// tries counts requests sent, doubtful those whose fate is not known.
	tries, doubtful int
	waiting         bool // for the response to the newest request
	ended           bool
	then            func()
}

// next issues an operation, and then the one after it.
func (c *client) next() {
	w := c.l.w
	if c.l.left == 0 || w.healed {
		return
	}
	c.l.left--
	if c.rng.IntN(4) == 0 {
		c.node = 1 + c.rng.Uint64N(uint64(w.opt.Nodes))
	}
	a := c.draw()
	a.then = func() {
		// Most of the time there is little to do, but much when something goes wrong.
		d := exp(c.rng, 2*c.think)
		if w.now-w.lastFault < int64(time.Second) || c.rng.IntN(2) == 0 {
			d = exp(c.rng, c.think/10)
		}
		w.after(d, c.next)
	}
	a.start()
}

// draw chooses an operation.
func (c *client) draw() *attempt {
	r := c.rng
	k := r.IntN(100)
	if c.reader {
		k = 50 + k/2
	}
	switch {
	case k < 50:
		return c.append(c.l.batch(r, c.known))
	case k < 65:
		index := r.Uint64N(c.known + 4)
		if r.IntN(20) == 0 {
			index = r.Uint64()
		}
		return c.get(index)
	case k < 77:
		return c.read(history.Op{Kind: history.Head}, (*member).serveHead)
	case k < 87:
		first, limit := r.Uint64N(c.known+4), 1+r.Uint64N(40)
		return c.readRange(first, limit)
	case k < 92:
		return c.localHead(max(c.known, c.local))
	case k < 95:
		return c.localHead(0) // outside of any session
	}
	return c.read(history.Op{Kind: history.Checkpoint}, (*member).serveCheckpoint)
}

func (c *client) append(b ledger.Batch) *attempt {
	a := &attempt{c: c, op: history.Op{Kind: history.Append, Entries: entriesOf(&b), Keyless: len(b.Entries[0].Key) == 0}}
	if b.ExpectedSize != nil {
		a.op.Conditional, a.op.Size = true, *b.ExpectedSize
	}
	a.serve = func(m *member, cl *call) { m.serveAppend(cl, b) }
	a.finish = func(r response) {
		var conflict *ledger.ConflictError
		var mismatch *ledger.SizeMismatchError
		c.known = max(c.known, r.result.Size)
		switch {
		case errors.As(r.result.Err, &conflict):
			a.op.Outcome, a.op.Reason, a.op.Seen = history.Fail, history.Conflict, conflict.Index
		case errors.As(r.result.Err, &mismatch):
			a.op.Outcome, a.op.Reason, a.op.Seen = history.Fail, history.SizeMismatch, mismatch.Actual
		default:
			for i := range a.op.Entries {
				a.op.Entries[i].Index, a.op.Entries[i].Duplicate = r.result.Indexes[i], r.result.Duplicate[i]
			}
		}
	}
	return a
}

func (c *client) get(index uint64) *attempt {
	a := &attempt{c: c, op: history.Op{Kind: history.Get, First: index}}
	a.serve = func(m *member, cl *call) { m.serveGet(cl, index) }
	a.finish = func(r response) {
		if r.missing {
			a.op.Reason = history.NotFound
			return
		}
		c.known = max(c.known, index+1)
		a.leaves(r)
	}
	return a
}

func (c *client) readRange(first, limit uint64) *attempt {
	a := &attempt{c: c, op: history.Op{Kind: history.Range, First: first, Limit: limit}}
	a.serve = func(m *member, cl *call) { m.serveRange(cl, first, limit) }
	a.finish = func(r response) {
		if r.missing {
			a.op.Reason = history.NotFound
			return
		}
		c.known = max(c.known, r.size)
		a.op.Seen = r.size
		a.leaves(r)
	}
	return a
}

func (a *attempt) leaves(r response) {
	var ok bool
	if a.op.Entries, ok = readEntries(a.op.First, r.leaves); !ok {
		a.c.l.g.fail("wrong-answer", a.op.First, "a node answered with bytes that are no leaf")
	}
}

// localHead is within a session if it names what the client has seen.
func (c *client) localHead(least uint64) *attempt {
	return c.read(history.Op{Kind: history.LocalHead, First: least}, func(m *member, cl *call) { m.serveLocalHead(cl, least) })
}

// read is an operation that is answered with a size and a root.
func (c *client) read(op history.Op, serve func(*member, *call)) *attempt {
	a := &attempt{c: c, op: op, serve: serve}
	a.finish = func(r response) {
		if r.missing { // nothing sealed yet
			a.op.Outcome = history.Fail
			return
		}
		a.op.Size, a.op.Root = r.size, r.root
		if op.Kind == history.Head {
			c.known = max(c.known, r.size)
		} else {
			c.local = max(c.local, r.size)
		}
	}
	return a
}

func (a *attempt) start() {
	w := a.c.l.w
	a.c.current = a
	a.op.Process, a.op.Call = a.c.process, w.now
	w.after(w.cfg.timeout, func() {
		if a.waiting {
			a.waiting = false
			a.doubtful++
		}
		a.end()
	})
	a.try()
}

// try sends the request, to the node that the client holds for the leader.
func (a *attempt) try() {
	if a.ended {
		return
	}
	node := a.c.node
	a.tries++
	a.waiting = true
	this := a.tries
	a.op.Node = uint16(node)
	a.c.l.g.request(node, a.serve, func(r response) {
		if a.ended || this != a.tries || !a.waiting {
			return
		}
		a.waiting = false
		a.answered(r)
	})
}

func (a *attempt) answered(r response) {
	c := a.c
	switch r.verdict {
	case answered:
		a.op.Outcome = history.OK
		a.finish(r)
		a.complete()
	case refused:
		c.node = r.leader
		if r.leader == 0 || c.rng.IntN(10) == 0 {
			c.node = 1 + c.rng.Uint64N(uint64(c.l.w.opt.Nodes))
		}
		a.again()
	case unknown:
		a.doubtful++
		c.node = 1 + c.rng.Uint64N(uint64(c.l.w.opt.Nodes))
		if a.op.Kind == history.Append && (a.op.Keyless || c.rng.IntN(2) == 0) {
			a.end()
			return
		}
		a.op.Retried = a.op.Kind == history.Append
		a.again()
	}
}

// again tries once more after a while.
func (a *attempt) again() {
	a.c.l.w.after(exp(a.c.rng, 20*time.Millisecond), a.try)
}

// end gives up: refused for certain if every request was, or if it was a read.
func (a *attempt) end() {
	if a.ended {
		return
	}
	if a.op.Kind != history.Append || a.doubtful == 0 {
		a.op.Outcome, a.op.Reason = history.Fail, history.Refused
		a.complete()
		return
	}
	a.ended = true
	a.op.Outcome, a.op.Return = history.Info, history.Never
	a.c.process = a.c.l.newProcess()
	a.c.l.record(a.op)
	a.then()
}

func (a *attempt) complete() {
	a.ended = true
	w := a.c.l.w
	a.op.Return = w.now
	// A size mismatch or conflict may be the work of an earlier try of the same request.
	if a.op.Outcome == history.Fail && a.op.Kind == history.Append && a.doubtful > 0 {
		a.op.Outcome, a.op.Reason, a.op.Return = history.Info, history.None, history.Never
		a.op.Seen = 0
		a.c.process = a.c.l.newProcess()
	}
	a.c.l.record(a.op)
	a.then()
}

// subscriber watches the ledger on one node after the other.
type subscriber struct {
	l       *workload
	rng     *rand.Rand
	process uint32
	next    uint64
	serial  int // of the newest subscription; deliveries of older ones are dropped
}

// subscribe watches from where the last delivery ended, on some node.
func (s *subscriber) subscribe() {
	w := s.l.w
	s.serial++
	serial, since := s.serial, w.now
	node := 1 + s.rng.Uint64N(uint64(w.opt.Nodes))
	if m := s.l.g.on(node); m != nil {
		wt := &watcher{next: s.next}
		wt.to = func(first uint64, leaves [][]byte) {
			// A stream keeps its order: what comes out of it after a gap means that the connection
			// broke.
			if serial != s.serial || first != s.next {
				return
			}
			entries, ok := readEntries(first, leaves)
			if !ok {
				s.l.g.fail("wrong-answer", first, "a watch delivered bytes that are no leaf")
				return
			}
			s.next = first + uint64(len(leaves))
			s.l.record(history.Op{
				Process: s.process, Kind: history.Watch, Outcome: history.OK, Call: since, Return: w.now,
				First: first, Entries: entries, Node: uint16(node),
			})
		}
		m.p.run(func() { m.serveWatch(wt) })
	}
	if !w.healed {
		w.after(500*time.Millisecond+exp(s.rng, 4*time.Second), s.subscribe)
	}
}
