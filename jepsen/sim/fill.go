package sim

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

const (
	// fillTimeout is how long a member waits for a peer's answer, and fillPause how long after an answer
	// that was of no use.
	fillTimeout = 300 * time.Millisecond
	fillPause   = 50 * time.Millisecond
)

// errFillTimeout: the peer, or the network, has not answered.
var errFillTimeout = errors.New("no answer")

// filling is how a member runs its replica's filler: one question at a time.
type filling struct{ busy, again bool }

// WakeFiller implements replica.Shell.
func (m *member) WakeFiller() {
	if m.filling.busy {
		m.filling.again = true
		return
	}
	m.filling.busy = true
	m.p.after(exp(m.n.rng, m.w.cfg.loopMean), m.fill)
}

// FillProblem implements replica.Shell.
func (m *member) FillProblem(peer uint64, err error) {
	m.w.stats.FillProblems++
	if errors.Is(err, errFillTimeout) || m.w.nodes[peer].lies || m.n.damaged() || m.w.nodes[peer].damaged() {
		return
	}
	var behind *ledger.NotFoundError
	if !errors.As(err, &behind) {
		m.g.fail("fill", 0, "node %d refuses what node %d, which is honest, has answered: %v", m.n.id, peer, err)
	}
}

// fill asks the next question.
func (m *member) fill() {
	m.filling.again = false
	rebuilding := m.Rebuilding()
	ask, ok := m.NextFill()
	if rebuilding && !ok && m.ledger.Head().RaftIndex >= m.log.Mark().Index {
		m.w.stats.Rebuilt++
	}
	if !ok {
		m.filling.busy = false
		if m.filling.again {
			m.WakeFiller()
		}
		return
	}
	m.strikeWhileFilling()
	if ask.Log {
		size := m.ledger.Head().Size
		if m.FillFromLog(ask) != nil || m.p.dead {
			return // the process has ended
		}
		if m.ledger.Head().Size > size {
			m.checkProgram()
			m.deliver()
			release(&m.behind, m.ledger.Head().Size)
		}
		m.p.after(exp(m.n.rng, m.w.cfg.loopMean), m.fill)
		return
	}
	m.ask(ask, func(useful bool) {
		pause := exp(m.n.rng, m.w.cfg.loopMean)
		if !useful {
			pause += fillPause
		}
		m.p.after(pause, m.fill)
	})
}

// strikeWhileFilling ends the process now and then while it takes blocks, in runs in which processes
// end or power fails.
func (m *member) strikeWhileFilling() {
	n, faults := m.n, m.w.opt.Faults
	if m.w.healed || faults == NoFaults || faults&(FaultKill|FaultPower) == 0 || n.rng.IntN(8) > 0 {
		return
	}
	m.p.after(exp(n.rng, 5*time.Millisecond), func() {
		if m.w.healed || n.proc != m.p {
			return
		}
		m.w.stats.FillStrikes++
		if faults&FaultPower != 0 && n.rng.IntN(2) == 0 {
			n.powerOff("power failure while it takes blocks")
		} else {
			n.kill("killed while it takes blocks")
		}
		n.startAfter(exp(n.rng, 100*time.Millisecond))
	})
}

// fillAnswer is what a peer says.
type fillAnswer struct {
	note    []byte
	records [][]byte
	proof   []merkle.Hash
	err     error
}

// ask carries a question to a peer and its answer back.
func (m *member) ask(ask replica.FillAsk, then func(useful bool)) {
	answered := false
	hear := func(a fillAnswer) {
		if answered {
			return
		}
		answered = true
		then(m.takeAnswer(ask, a))
	}
	m.p.after(fillTimeout, func() { hear(fillAnswer{err: errFillTimeout}) })
	self, net := m.n.id, m.w.net
	for _, d := range net.arrivals(self, ask.Peer, control) {
		m.w.after(d, func() {
			peer := m.g.on(ask.Peer)
			if peer == nil || peer.n.paused > 0 {
				return
			}
			a := peer.answerFill(ask)
			for _, d := range net.arrivals(ask.Peer, self, bulk) {
				m.p.after(d, func() { hear(a) })
			}
		})
	}
}

// takeAnswer gives an answer to the replica, and reports whether it was of use.
func (m *member) takeAnswer(ask replica.FillAsk, a fillAnswer) bool {
	if ask.Sealed {
		m.FillSealed(ask, a.note, a.proof, a.err)
		return a.err == nil
	}
	err := a.err
	var records []*ledger.BlockRecord
	for _, encoded := range a.records {
		r, e := ledger.ParseBlockRecord(encoded)
		if e != nil {
			err = e
			break
		}
		records = append(records, r)
	}
	if err == nil && len(records) > 0 {
		m.w.stats.Filled += len(records)
		size := m.ledger.Head().Size
		err = m.FillBlocks(ask, records, a.proof)
		if m.p.dead {
			return false
		}
		if m.ledger.Head().Size > size {
			m.checkProgram()
			m.deliver()
			release(&m.behind, m.ledger.Head().Size)
		}
	}
	m.FillEnd(ask, err)
	return err == nil
}

// answerFill is what this node answers a peer: the service Replica.
func (m *member) answerFill(ask replica.FillAsk) (a fillAnswer) {
	head := m.ledger.Head()
	if ask.Size > head.Size {
		return fillAnswer{err: &ledger.NotFoundError{Index: ask.Size, Size: head.Size}}
	}
	if ask.Sealed {
		if s := m.ledger.Sealed(); s != nil {
			a.note = s.Note
			a.proof, a.err = m.ledger.ConsistencyProof(min(s.Size, ask.Size), max(s.Size, ask.Size))
		}
		return a
	}
	next := ask.First
	for range 1 + m.n.rng.IntN(8) {
		if next >= ask.Size {
			break
		}
		r, err := m.ledger.BlockAt(next)
		if err != nil {
			return fillAnswer{err: err}
		}
		if r.End() > ask.Size {
			break
		}
		a.records = append(a.records, bytes.Clone(r.Encoded))
		next = r.End()
	}
	if a.proof, a.err = m.ledger.ConsistencyProof(next, ask.Size); m.n.lies {
		m.lie(&a)
	}
	return a
}

// lie changes an answer about blocks in one of the ways in which a faulty peer may. Every one has to
// be refused.
func (m *member) lie(a *fillAnswer) {
	rng := m.n.rng
	n := len(a.records)
	if n == 0 || rng.IntN(3) == 0 {
		return
	}
	m.w.stats.FillLies++
	at := rng.IntN(n)
	switch rng.IntN(5) {
	case 0: // a block is missing
		a.records = append(a.records[:at:at], a.records[at+1:]...)
	case 1: // cut off
		a.records[at] = a.records[at][:rng.IntN(len(a.records[at]))]
	case 2: // a bit differs
		a.records[at][rng.IntN(len(a.records[at]))] ^= 1 << rng.IntN(8)
	case 3: // another proof
		a.proof = append(a.proof, merkle.Hash{1})
	case 4: // another entry, with right checksums
		if forged := forge(a.records[at]); forged != nil {
			a.records[at] = forged
		}
	}
}

// forge returns the record with another body of an entry, nil when no entry has one.
func forge(encoded []byte) []byte {
	forged := bytes.Clone(encoded)
	r, err := ledger.ParseBlockRecord(forged) // aliases the copy
	if err != nil {
		return nil
	}
	block, err := ledger.ParseBlock(r.Block)
	if err != nil {
		return nil
	}
	for _, b := range block.Batches {
		for _, e := range b.Entries {
			if len(e.Body) > 0 {
				e.Body[len(e.Body)-1] ^= 1
				end := len(r.Block) - 4
				binary.BigEndian.PutUint32(r.Block[end:], crc32.Checksum(r.Block[:end], castagnoli))
				return forged
			}
		}
	}
	return nil
}
