package raftnode

import "time"

// refusalPause is how long after a line about a peer's refused messages the next one is
// logged: a peer can send any number of them.
const refusalPause = time.Minute

// refusals counts and logs the messages that were refused. Owned by the loop.
type refusals struct {
	peers map[uint64]*peerRefusals
}

type peerRefusals struct {
	last   *RefusedError
	count  int   // since the last line
	logged int64 // when the last line was logged, on the node's clock; 0 before the first
}

func (r *refusals) note(n *Node, err *RefusedError) {
	n.cfg.Refused(err)
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
	r.report(n)
}

// report logs one line for each peer that is due.
func (r *refusals) report(n *Node) {
	for _, p := range r.peers {
		if p.count == 0 || p.logged != 0 && time.Duration(n.clock()-p.logged) < refusalPause {
			continue
		}
		n.cfg.Logf("raft: error: refused %d message(s) of node %d; the last: %v", p.count, p.last.From, p.last)
		p.count, p.logged = 0, n.clock()
	}
}
