package nemesis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/testbed"
)

// network shapes the links between the nodes.
type network struct {
	a *Arena
	// draw decides whom the fault strikes, and what each link does.
	draw func(a *Arena) (target string, shape func(from, to int) testbed.Condition, err error)
	// flap is how long the links are bad and whole in turn; 0: bad all the time.
	flap time.Duration

	target  string
	held    bool // the network is ours
	shape   func(from, to int) testbed.Condition
	before  []testbed.Traffic
	touched testbed.Traffic
	quit    chan struct{}
	wg      sync.WaitGroup
}

func (n *network) Inject(context.Context) (err error) {
	if !n.a.network.TryLock() {
		return errors.Wrap(ErrBusy, "the network is taken")
	}
	n.held = true
	if n.target, n.shape, err = n.draw(n.a); err != nil {
		return err
	}
	if !n.a.meets(n.shape) {
		return errors.Wrap(ErrBusy, "the nodes whose links would be struck do not run")
	}
	n.before = n.a.traffic()
	n.a.Net.Shape(n.shape)
	if n.flap > 0 {
		n.quit = make(chan struct{})
		n.wg.Add(1)
		go n.toggle()
	}
	return nil
}

func (n *network) toggle() {
	defer n.wg.Done()
	for bad := true; ; bad = !bad {
		select {
		case <-n.quit:
			return
		case <-time.After(n.a.between(n.flap/2, n.flap*3/2)):
		}
		if bad {
			n.a.Net.Heal()
		} else {
			n.a.Net.Shape(n.shape)
		}
	}
}

func (n *network) Target() string { return n.target }

func (n *network) Heal(context.Context) error {
	if !n.held {
		return nil
	}
	if n.quit != nil {
		close(n.quit)
		n.wg.Wait()
		n.a.Net.Shape(n.shape) // with whole links there would be nothing to wait for
	}
	if n.before != nil {
		n.touched = n.await()
		n.a.Net.Heal()
	}
	n.held = false
	n.a.network.Unlock()
	return nil
}

// A fault that nobody has met lasts touchPatience longer, of which only the time counts
// in which somebody runs who can meet it, and at most touchTimeout.
const (
	touchPatience = 20 * time.Second
	touchTimeout  = 2 * time.Minute
)

// await waits until somebody has met the fault: while the nodes that were struck are
// down, nothing is sent to them or by them.
func (n *network) await() (sum testbed.Traffic) {
	const look = 20 * time.Millisecond
	begun := time.Now()
	for left := touchPatience; ; {
		if sum = n.since(); sum.Touched() > 0 || left <= 0 || time.Since(begun) > touchTimeout {
			return sum
		}
		time.Sleep(look)
		if n.a.meets(n.shape) {
			left -= look
		}
	}
}

// meets says whether both ends of a link run with which a shape does something.
func (a *Arena) meets(shape func(from, to int) testbed.Condition) bool {
	for i := range a.Size() {
		for j := range a.Size() {
			if i != j && shape(i, j) != (testbed.Condition{}) && a.Running(i) && a.Running(j) {
				return true
			}
		}
	}
	return false
}

// since is what the links did since Inject.
func (n *network) since() (sum testbed.Traffic) {
	for k, now := range n.a.traffic() {
		sum.Held += now.Held - n.before[k].Held
		sum.Delayed += now.Delayed - n.before[k].Delayed
		sum.Broken += now.Broken - n.before[k].Broken
		sum.Waiting += now.Waiting - n.before[k].Waiting
	}
	return sum
}

func (n *network) Observed(context.Context) (string, error) {
	t := n.touched
	if t.Touched() == 0 {
		return "", errors.New("nothing was sent over the links that were struck")
	}
	return fmt.Sprintf("%d bytes held, %d delayed, %d connections broken, %d kept waiting", t.Held, t.Delayed, t.Broken, t.Waiting), nil
}

// traffic returns the counters of all links.
func (a *Arena) traffic() (all []testbed.Traffic) {
	for i := range a.Size() {
		for j := range a.Size() {
			if i != j {
				all = append(all, a.Net.Traffic(i, j))
			}
		}
	}
	return all
}

var cut = testbed.Condition{Cut: true}

// cutWhere makes a shape from a rule that says which links are cut.
func cutWhere(rule func(from, to int) bool) func(from, to int) testbed.Condition {
	return func(from, to int) testbed.Condition {
		if rule(from, to) {
			return cut
		}
		return testbed.Condition{}
	}
}

type drawn = func(a *Arena) (string, func(from, to int) testbed.Condition, error)

// isolateLeader cuts the leader off from everybody.
func isolateLeader(a *Arena) (string, func(from, to int) testbed.Condition, error) {
	leader, _, err := a.Monitor.Leader()
	if err != nil {
		return "", nil, errors.Wrap(ErrBusy, "no leader")
	}
	return a.Name(leader), cutWhere(func(from, to int) bool { return from == leader || to == leader }), nil
}

// isolateOne cuts a node off from everybody.
func isolateOne(a *Arena) (string, func(from, to int) testbed.Condition, error) {
	i := a.intN(a.Size())
	return a.Name(i), cutWhere(func(from, to int) bool { return from == i || to == i }), nil
}

// halves splits the nodes into a majority and a minority.
func halves(a *Arena) (string, func(from, to int) testbed.Condition, error) {
	order := a.shuffled()
	side := make([]bool, a.Size())
	small := order[:max(1, a.Minority())]
	for _, i := range small {
		side[i] = true
	}
	return fmt.Sprintf("%v and the others", a.Names(small)), cutWhere(func(from, to int) bool { return side[from] != side[to] }), nil
}

// ring lets each node speak to its two neighbours only, so that every node sees a
// different majority. With fewer than five nodes there is no such thing: a chain.
func ring(a *Arena) (string, func(from, to int) testbed.Condition, error) {
	order, n := a.shuffled(), a.Size()
	place := make([]int, n)
	for p, i := range order {
		place[i] = p
	}
	rule := func(from, to int) bool {
		d := (place[from] - place[to] + n) % n
		if n < 5 {
			return place[from]-place[to] != 1 && place[to]-place[from] != 1
		}
		return d != 1 && d != n-1
	}
	return fmt.Sprintf("%v", a.Names(order)), cutWhere(rule), nil
}

// oneWay lets a node be heard and not hear, or the other way round.
func oneWay(a *Arena) (string, func(from, to int) testbed.Condition, error) {
	i := a.intN(a.Size())
	if leader, _, err := a.Monitor.Leader(); err == nil && a.intN(2) == 0 {
		i = leader
	}
	if a.intN(2) == 0 {
		return a.Name(i) + " is not heard", cutWhere(func(from, _ int) bool { return from == i }), nil
	}
	return a.Name(i) + " hears nobody", cutWhere(func(_, to int) bool { return to == i }), nil
}

// slow delays everything, by another time on each link.
func slow(a *Arena) (string, func(from, to int) testbed.Condition, error) {
	delay := make([]time.Duration, a.Size()*a.Size())
	for k := range delay {
		delay[k] = a.between(0, 60*time.Millisecond)
	}
	return "all links", func(from, to int) testbed.Condition {
		d := delay[from*a.Size()+to]
		return testbed.Condition{Delay: d, Jitter: d + time.Millisecond}
	}, nil
}

// flaky stalls or breaks connections now and then.
func flaky(a *Arena) (string, func(from, to int) testbed.Condition, error) {
	breaks := a.intN(2) == 0
	loss := 0.05
	if breaks {
		loss = 0.01
	}
	return "all links", func(int, int) testbed.Condition { return testbed.Condition{Loss: loss, Breaks: breaks} }, nil
}
