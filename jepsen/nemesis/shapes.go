package nemesis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/testbed"
)

// bridge splits the nodes into two halves that only one node hears.
func bridge(a *Arena) (string, func(from, to int) testbed.Condition, error) {
	order := a.shuffled()
	middle := order[0]
	left := make([]bool, a.Size())
	for _, i := range order[1 : 1+max(1, a.Minority())] {
		left[i] = true
	}
	return a.Name(middle) + " in between", cutWhere(func(from, to int) bool {
		return from != middle && to != middle && left[from] != left[to]
	}), nil
}

// oneLink lets the leader and one follower not hear one another. Two followers have
// nothing to say to each other.
func oneLink(a *Arena) (string, func(from, to int) testbed.Condition, error) {
	leader, _, err := a.Monitor.Leader()
	if err != nil {
		return "", nil, errors.Wrap(ErrBusy, "no leader")
	}
	return linkOf(leader)(a)
}

// linkOf lets a node and another one not hear one another.
func linkOf(x int) drawn {
	return func(a *Arena) (string, func(from, to int) testbed.Condition, error) {
		y := (x + 1 + a.intN(a.Size()-1)) % a.Size()
		return a.Name(x) + " and " + a.Name(y), cutWhere(func(from, to int) bool {
			return from == x && to == y || from == y && to == x
		}), nil
	}
}

// jitter lets messages of different connections overtake one another.
func jitter(a *Arena) (string, func(from, to int) testbed.Condition, error) {
	d := a.between(10*time.Millisecond, 100*time.Millisecond)
	return fmt.Sprintf("all links, up to %s", d.Round(time.Millisecond)), func(int, int) testbed.Condition {
		return testbed.Condition{Jitter: d}
	}, nil
}

// shifting turns one partition into another without healing in between.
type shifting struct {
	network
	halt    context.CancelFunc
	halting sync.WaitGroup
	n       int // shapes
}

func (s *shifting) Inject(ctx context.Context) error {
	draws := []drawn{isolateLeader, isolateOne, halves, bridge, oneWay, oneLink}
	s.draw = func(a *Arena) (string, func(from, to int) testbed.Condition, error) {
		return draws[a.intN(len(draws))](a)
	}
	if err := s.network.Inject(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.Background())
	s.halt, s.n = stop, 1
	s.halting.Add(1)
	go func() {
		defer s.halting.Done()
		for sleep(running, s.a.between(200*time.Millisecond, 1500*time.Millisecond)) == nil {
			if _, shape, err := s.draw(s.a); err == nil && s.a.meets(shape) {
				s.shape = shape
				s.a.Net.Shape(shape)
				s.n++
			}
		}
	}()
	return nil
}

func (s *shifting) Target() string { return "one shape after the other" }

func (s *shifting) Heal(ctx context.Context) error {
	if s.halt != nil {
		s.halt()
		s.halting.Wait()
	}
	return s.network.Heal(ctx)
}

func (s *shifting) Observed(ctx context.Context) (string, error) {
	how, err := s.network.Observed(ctx)
	return how, errors.Wrapf(err, "%d shapes", s.n)
}
