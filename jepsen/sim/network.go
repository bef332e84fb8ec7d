package sim

import (
	"math/rand/v2"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// network carries messages between nodes, and between clients and nodes.
type network struct {
	w   *world
	rng *rand.Rand
	// cut counts the reasons why a link, by sender and receiver, is broken.
	cut [maxNodes + 1][maxNodes + 1]int
	// last is when the newest message arrives that keeps the order of its
	// connection: one for bulk, one for control.
	last [maxNodes + 1][maxNodes + 1][2]int64
	// flaky multiplies the delays and adds loss, repetition and overtaking.
	flaky float64
	// unreachable counts the reasons why clients do not reach a node.
	unreachable [maxNodes + 1]int
}

const (
	bulk    = 0
	control = 1
)

func classOf(m *raftpb.Message) int {
	if m.GetType() == raftpb.MsgApp {
		return bulk
	}
	return control
}

// arrivals returns how long copies of a message are under way; none when it is lost.
func (n *network) arrivals(from, to uint64, class int) (delays []time.Duration) {
	c := &n.w.cfg.net
	n.w.stats.Messages++
	if n.cut[from][to] > 0 || n.rng.Float64() < c.loss+n.flaky*0.2 {
		n.w.stats.Dropped++
		return nil
	}
	copies := 1
	if n.rng.Float64() < c.dup+n.flaky*0.2 {
		copies = 2
	}
	for range copies {
		d := c.min + exp(n.rng, c.mean)
		if n.flaky > 0 {
			d += exp(n.rng, time.Duration(n.flaky*float64(300*time.Millisecond)))
		}
		if n.rng.Float64() >= c.overtake+n.flaky*0.5 {
			// In order behind what is on the way.
			at := max(n.w.now+int64(d), n.last[from][to][class]+1)
			n.last[from][to][class] = at
			d = time.Duration(at - n.w.now)
		}
		delays = append(delays, d)
	}
	return delays
}

// raft sends a message of a ledger's Raft group.
func (n *network) raft(g *group, m *raftpb.Message) {
	n.w.trace.message('>', g, m)
	from, to := m.GetFrom(), m.GetTo()
	delays := n.arrivals(from, to, classOf(m))
	if len(delays) == 0 && n.rng.IntN(4) == 0 {
		if sender := g.on(from); sender != nil { // its transport may notice
			sender.driver.Unreachable(to)
		}
	}
	for _, d := range delays {
		c := copyMessage(m)
		n.w.after(d, func() {
			if receiver := g.on(to); receiver != nil {
				n.w.trace.message('<', g, c)
				n.w.stats.Delivered++
				receiver.hear(from, c)
			}
		})
	}
}

// app sends a payload between the sealers of a ledger.
func (n *network) app(g *group, from, to uint64, payload []byte) {
	n.w.trace.app('>', g, from, to, payload)
	g.seals.sent(from, payload)
	payload = append([]byte(nil), payload...)
	for _, d := range n.arrivals(from, to, control) {
		n.w.after(d, func() {
			if receiver := g.on(to); receiver != nil {
				n.w.trace.app('<', g, from, to, payload)
				n.w.stats.Delivered++
				receiver.driver.HandleApp(g.id, from, payload)
			}
		})
	}
}

// client carries something between a client and a node; false when it is lost.
func (n *network) client(node uint64, f func()) bool {
	c := &n.w.cfg.net
	if n.unreachable[node] > 0 || n.rng.Float64() < c.loss {
		return false
	}
	n.w.after(c.min+exp(n.rng, c.clientMean), f)
	return true
}

// message and entry own the scalars that the protobuf structs point at.
type message struct {
	raftpb.Message
	typ                                                raftpb.MessageType
	from, to, term, logTerm, index, commit, rejectHint uint64
	reject                                             bool
}

type entry struct {
	raftpb.Entry
	term, index uint64
}

// copyMessage copies the fields that the wire format carries, and no others.
func copyMessage(m *raftpb.Message) *raftpb.Message {
	c := &message{
		typ: m.GetType(), from: m.GetFrom(), to: m.GetTo(), term: m.GetTerm(), logTerm: m.GetLogTerm(),
		index: m.GetIndex(), commit: m.GetCommit(), rejectHint: m.GetRejectHint(), reject: m.GetReject(),
	}
	c.Type, c.From, c.To, c.Term, c.LogTerm = &c.typ, &c.from, &c.to, &c.term, &c.logTerm
	c.Index, c.Commit, c.RejectHint, c.Reject = &c.index, &c.commit, &c.rejectHint, &c.reject
	if s := m.GetSnapshot(); s != nil {
		c.Snapshot = proto.Clone(s).(*raftpb.Snapshot)
	}
	c.Context = append([]byte(nil), m.GetContext()...)
	if k := len(m.GetEntries()); k > 0 {
		slab := make([]entry, k)
		c.Entries = make([]*raftpb.Entry, k)
		for i, e := range m.GetEntries() {
			s := &slab[i]
			s.term, s.index = e.GetTerm(), e.GetIndex()
			s.Term, s.Index = &s.term, &s.index
			if e.GetType() != raftpb.EntryNormal {
				s.Type = e.GetType().Enum()
			}
			s.Data = append([]byte(nil), e.GetData()...)
			c.Entries[i] = &s.Entry
		}
	}
	return &c.Message
}
