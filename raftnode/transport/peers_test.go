package transport

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

// TestPeerIsAddedAndRemoved: a node that becomes a peer at run time is dialled and accepted; when it
// is one no longer its connections close in both directions, and it is refused.
func TestPeerIsAddedAndRemoved(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	one, two := p.nodes[1], p.nodes[2]
	connected := func() bool {
		for _, s := range append(one.Stats(), two.Stats()...) {
			if !s.Inbound && !s.Connected {
				return false
			}
		}
		return true
	}
	eventually(t, "both ends are connected", connected)

	one.SetPeers(nil)
	eventually(t, "the removed peer hears that its connection broke", func() bool { return p.recorders[2].has("down 1 refused=false") })
	if s := one.Stats(); len(s) != 0 {
		t.Errorf("the node still counts connections of a node that is no peer: %+v", s)
	}
	eventually(t, "its new connections are refused", func() bool { return p.logs.heard("node 2 is not a peer of node 1") })
	one.SendRaft(1, testMessages()[0]) // is dropped

	one.SetPeers(map[NodeID]string{1: p.addrs[1], 2: p.addrs[2]})
	eventually(t, "both ends are connected again", func() bool { return len(one.Stats()) > 0 && connected() })
}

// TestPeerMoves: a peer with another address is dialled there, and its handlers hear of the end of the
// old connection first.
func TestPeerMoves(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	eventually(t, "node 1 is connected", func() bool { return p.recorders[1].has("up 2") })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go forward(ln, p.addrs[2])
	t.Cleanup(func() { _ = ln.Close() })
	p.nodes[1].SetPeers(map[NodeID]string{2: ln.Addr().String()})
	eventually(t, "node 1 has heard of both connections", func() bool {
		p.recorders[1].mu.Lock()
		defer p.recorders[1].mu.Unlock()
		down := slices.Index(p.recorders[1].events, "down 2 refused=false")
		return down >= 0 && slices.Contains(p.recorders[1].events[down:], "up 2")
	})
}

// forward connects whoever dials ln with an address.
func forward(ln net.Listener, addr string) {
	for {
		in, err := ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", addr)
		if err != nil {
			_ = in.Close()
			continue
		}
		for from, to := range map[net.Conn]net.Conn{in: out, out: in} {
			go func() {
				_, _ = io.Copy(to, from)
				_ = to.Close()
			}()
		}
	}
}

// heard reports whether an event contains a text.
func (r *recorder) heard(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.events, func(e string) bool { return strings.Contains(e, text) })
}

// TestSamePeersAreLeftAlone: connections to peers that stay do not break.
func TestSamePeersAreLeftAlone(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	eventually(t, "node 1 is connected", func() bool { return p.recorders[1].has("up 2") })
	before := p.nodes[1].peer(2)
	p.nodes[1].SetPeers(map[NodeID]string{2: p.addrs[2], 3: "127.0.0.1:1"})
	if p.nodes[1].peer(2) != before || before.ctx.Err() != nil {
		t.Error("the connections of a peer that stays were made anew")
	}
	p.nodes[1].Close()
	p.nodes[1].SetPeers(map[NodeID]string{3: "127.0.0.1:1"}) // does nothing
}
