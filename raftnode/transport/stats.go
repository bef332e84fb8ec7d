package transport

import (
	"cmp"
	"slices"
	"sync/atomic"
)

type counters struct {
	frames, bytes, dropped, connects atomic.Uint64
}

// ConnStats counts one direction of one class of connection since New.
type ConnStats struct {
	Peer     NodeID
	Class    string // "control" or "bulk"
	Inbound  bool
	Frames   uint64 // sent or received whole
	Bytes    uint64 // of these frames, headers included
	Dropped  uint64 // frames dropped: queue full, no connection, or no handler for the group
	Connects uint64 // times that the connection was made
	Queued   int    // frames waiting to be sent
	// Connected: an outbound connection stands now.
	Connected bool
}

// Stats returns the counters of all connections, ordered by peer and class,
// outbound first.
func (t *Transport) Stats() []ConnStats {
	var out []ConnStats
	for _, p := range *t.peers.Load() {
		for _, c := range []class{classControl, classBulk} {
			o := p.out[c.index()]
			o.mu.Lock()
			queued, connected := len(o.mu.queue), o.mu.connected
			o.mu.Unlock()
			s := o.stats.read(p.id, c, false)
			s.Queued, s.Connected = queued, connected
			if c == classControl {
				s.Dropped += p.local.dropped.Load()
			}
			out = append(out, s, p.in[c.index()].read(p.id, c, true))
		}
	}
	slices.SortStableFunc(out, func(a, b ConnStats) int { return cmp.Compare(a.Peer, b.Peer) })
	return out
}

func (c *counters) read(id NodeID, cl class, inbound bool) ConnStats {
	return ConnStats{
		Peer: id, Class: cl.String(), Inbound: inbound,
		Frames: c.frames.Load(), Bytes: c.bytes.Load(), Dropped: c.dropped.Load(), Connects: c.connects.Load(),
	}
}
