package testbed

import (
	"github.com/cairnledger/cairn/cluster/local"
)

// Network is everything between the nodes: one gate for each ordered pair, and a
// proxy at which each node finds each other one. Nodes count from 0 here, in the
// order of their names.
type Network struct {
	n       int
	gates   [][]*gate  // [from][to]
	proxies [][]*proxy // [dialler][target]
}

func newNetwork(nodes []local.NodeInfo, seed uint64, logf func(string, ...any)) (_ *Network, err error) {
	w := &Network{n: len(nodes)}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	for i := range nodes {
		w.gates = append(w.gates, make([]*gate, w.n))
		w.proxies = append(w.proxies, make([]*proxy, w.n))
		for j := range nodes {
			w.gates[i][j] = newGate(seed + uint64(i*w.n+j))
		}
	}
	avoid := map[string]bool{}
	for _, n := range nodes {
		avoid[n.API], avoid[n.Peer], avoid[n.HTTP] = true, true, true
	}
	for i := range nodes {
		for j, to := range nodes {
			if i == j {
				continue
			}
			if w.proxies[i][j], err = startProxy(to.Peer, avoid, w.gates[i][j], w.gates[j][i], logf); err != nil {
				return w, err
			}
		}
	}
	return w, nil
}

// address is where a node has to dial to reach another.
func (w *Network) address(from, to int) string { return w.proxies[from][to].addr }

// Set changes what happens to what one node sends to another.
func (w *Network) Set(from, to int, c Condition) { w.gates[from][to].set(c) }

// Shape changes every link: shape says what happens to what from sends to to.
func (w *Network) Shape(shape func(from, to int) Condition) {
	for i := range w.n {
		for j := range w.n {
			if i != j {
				w.Set(i, j, shape(i, j))
			}
		}
	}
}

// Heal makes every link whole.
func (w *Network) Heal() { w.Shape(func(int, int) Condition { return Condition{} }) }

// Traffic returns what has passed, and what faults did, from one node to another.
func (w *Network) Traffic(from, to int) Traffic { return w.gates[from][to].stats() }

// Total adds up the traffic of all links.
func (w *Network) Total() (sum Traffic) {
	for i := range w.n {
		for j := range w.n {
			if i != j {
				sum.add(w.Traffic(i, j))
			}
		}
	}
	return sum
}

func (w *Network) close() {
	if w.gates != nil {
		w.Heal()
	}
	for _, row := range w.proxies {
		for _, p := range row {
			if p != nil {
				p.close()
			}
		}
	}
}
