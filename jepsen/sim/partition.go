package sim

import (
	"fmt"
	"slices"
	"time"
)

// partition breaks links in one of several shapes.
func (w *world) partition(f *fault) {
	w.outlast(f)
	nodes := slices.Clone(w.nodes[1:])
	f.rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	one := w.target(f)
	others := slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return n == one })
	if len(others) == 0 {
		return
	}
	half := nodes[:len(nodes)/2]
	var undo []func()
	shape := ""
	cut := func(from, to *node) { undo = append(undo, w.cutLink(from, to)) }
	switch f.rng.IntN(10) {
	case 9:
		// A leader that does not know yet that another one is being elected.
		if m := w.leader(f); m != nil {
			one = m.n
		}
		minority := []*node{one}
		for _, n := range nodes[:f.rng.IntN((len(nodes)-1)/2+1)] {
			if n != one && len(minority) < (len(nodes)-1)/2 {
				minority = append(minority, n)
			}
		}
		shape = fmt.Sprintf("the leader's side %s is the smaller one", ids(minority))
		undo = append(undo, w.isolate(minority))
	case 0:
		shape = fmt.Sprintf("node %d alone", one.id)
		undo = append(undo, w.isolate([]*node{one}))
	case 1:
		shape = fmt.Sprintf("nodes %s apart", ids(half))
		undo = append(undo, w.isolate(half))
	case 2:
		shape = fmt.Sprintf("node %d hears nobody", one.id)
		for _, n := range others {
			cut(n, one)
		}
	case 3:
		shape = fmt.Sprintf("nobody hears node %d", one.id)
		for _, n := range others {
			cut(one, n)
		}
	case 4:
		shape = fmt.Sprintf("node %d reaches only node %d", one.id, others[0].id)
		for _, n := range others[1:] {
			cut(n, one)
			cut(one, n)
		}
	case 5:
		// Everybody sees a majority, nobody the same one.
		shape = "ring of majorities"
		for i, a := range nodes {
			for j, b := range nodes {
				if d := (j - i + len(nodes)) % len(nodes); i != j && min(d, len(nodes)-d) > len(nodes)/4 && len(nodes) > 3 {
					cut(a, b)
				}
			}
		}
	case 6:
		shape = fmt.Sprintf("node %d is the bridge", one.id)
		for i, a := range others {
			for j, b := range others {
				if i < len(others)/2 && j >= len(others)/2 {
					cut(a, b)
					cut(b, a)
				}
			}
		}
	case 7:
		shape = "random links"
		for _, a := range nodes {
			for _, b := range nodes {
				if a != b && f.rng.IntN(3) == 0 {
					cut(a, b)
				}
			}
		}
	case 8:
		w.flap(f, one)
		return
	}
	w.begins(f, 0, "partition: %s, %s", shape, short(f.last))
	w.heal(f, func() {
		for _, u := range undo {
			u()
		}
	})
}

// outlast makes a fault long enough, as often as not, for what elections do about it.
func (w *world) outlast(f *fault) {
	if timeout := time.Duration(w.cfg.election) * w.cfg.tick; f.rng.IntN(2) == 0 {
		f.last = max(f.last, 2*timeout+exp(f.rng, 2*timeout))
	}
}

// flap isolates a node again and again, about once in an election timeout.
func (w *world) flap(f *fault, n *node) {
	period := time.Duration(pick(f.rng, 0.5, 1, 2) * float64(w.cfg.election) * float64(w.cfg.tick))
	rounds := 1 + int(f.last/(2*period))
	w.begins(f, 0, "partition: node %d comes and goes every %s, %d times", n.id, short(period), rounds)
	var round func(left int)
	round = func(left int) {
		if left == 0 || w.healed {
			w.note(0, "heal", "%d", f.number)
			return
		}
		undo := w.isolate([]*node{n})
		w.after(period, func() {
			undo()
			w.after(period, func() { round(left - 1) })
		})
	}
	round(rounds)
}

func (w *world) cutLink(from, to *node) (undo func()) {
	w.net.cut[from.id][to.id]++
	return func() {
		if !w.healed { // which has mended everything
			w.net.cut[from.id][to.id]--
		}
	}
}

// isolate breaks all links between a group and the others.
func (w *world) isolate(inside []*node) (undo func()) {
	var undos []func()
	for _, a := range inside {
		for _, b := range w.nodes[1:] {
			if !slices.Contains(inside, b) {
				undos = append(undos, w.cutLink(a, b), w.cutLink(b, a))
			}
		}
	}
	return func() {
		for _, u := range undos {
			u()
		}
	}
}
