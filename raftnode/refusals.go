package raftnode

import "time"

// refusalPause is how long after a line about a peer's refused messages the next one is
// logged: a peer can send any number of them.
const refusalPause = time.Minute

// refusals counts and logs the messages that were refused. Owned by Turn.
type refusals struct {
	peers map[uint64]*peerRefusals
}

type peerRefusals struct {
	last   *RefusedError
	count  int   // since the last line
	logged int64 // when the last line was logged, on the driver's clock; 0 before the first
}

func (d *Driver) noteRefusal(err *RefusedError) {
	r := &d.turn.refusals
	d.cfg.Refused(err)
	if r.peers == nil {
		r.peers = make(map[uint64]*peerRefusals)
	}
	p := r.peers[err.From]
	if p == nil {
		p = &peerRefusals{}
		r.peers[err.From] = p
	}
	p.last = err
	p.count++
	d.reportRefusals()
}

// reportRefusals logs one line for each peer that is due.
func (d *Driver) reportRefusals() {
	for _, p := range d.turn.refusals.peers {
		if p.count == 0 || p.logged != 0 && time.Duration(d.clock()-p.logged) < refusalPause {
			continue
		}
		d.cfg.Logf("raft: error: refused %d message(s) of node %d; the last: %v", p.count, p.last.From, p.last)
		p.count, p.logged = 0, d.clock()
	}
}
