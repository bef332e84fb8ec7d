package nemesis

import (
	"context"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/report"
)

// Plan says which faults happen how often.
type Plan struct {
	Kinds []string // see Select
	// Start is the zero of the history's clock.
	Start time.Time
	// A fault lasts between Hold[0] and Hold[1]; between two of a lane (those of
	// processes and disks, those of links) pass Quiet[0] to Quiet[1].
	Hold, Quiet [2]time.Duration
	// Note is told of every fault when it is over, by one goroutine at a time.
	Note func(Event)
}

// Due returns the kinds that each must have happened within a time. A lane goes
// through all of its kinds before it begins again; three times as long as that takes
// on average leaves room for faults that take longer and for those that are put off.
func (p Plan) Due(within time.Duration) (names []string) {
	each := (p.Hold[0] + p.Hold[1] + p.Quiet[0] + p.Quiet[1]) / 2
	for l := range lanes {
		mine := p.kinds(l)
		if 3*each*time.Duration(len(mine)) > within {
			continue
		}
		for _, k := range mine {
			names = append(names, k.name)
		}
	}
	return names
}

// kinds returns those of one lane.
func (p Plan) kinds(l lane) (mine []kind) {
	for _, name := range p.Kinds {
		if k, ok := find(name); ok && k.lane == l {
			mine = append(mine, k)
		}
	}
	return mine
}

// Event is what became of one fault.
type Event struct {
	report.Fault
	// Problem says why the fault was not seen to take effect, or what went wrong.
	Problem string `json:",omitempty"`
	// Broken says which promise a node broke under the fault.
	Broken string `json:",omitempty"`
	// Skipped: there was nothing to break just then, and nothing was done; or the end
	// of the faults cut it short, and it was not seen to take effect.
	Skipped bool `json:",omitempty"`
}

// healTimeout bounds what heals a fault, also when the run is over.
const healTimeout = 30 * time.Second

// Swarm injects faults until the context ends: in each lane one after the other, in random
// order, each kind as often as the others. It returns when all are healed.
func Swarm(ctx context.Context, a *Arena, p Plan) (events []Event) {
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	note := func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
		if p.Note != nil {
			p.Note(e)
		}
	}
	for l := range lanes {
		mine := p.kinds(l)
		if len(mine) == 0 {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			a.run(ctx, p, mine, note)
		}()
	}
	wg.Wait()
	return events
}

func (a *Arena) run(ctx context.Context, p Plan, mine []kind, note func(Event)) {
	var deck []kind
	for sleep(ctx, a.between(p.Quiet[0], p.Quiet[1])) == nil {
		if len(deck) == 0 {
			deck = append(deck, mine...)
			for i := len(deck) - 1; i > 0; i-- {
				j := a.intN(i + 1)
				deck[i], deck[j] = deck[j], deck[i]
			}
		}
		k := deck[0]
		e := a.once(ctx, p, k)
		note(e)
		if !e.Skipped {
			deck = deck[1:]
			continue
		}
		deck = append(deck[1:], k) // later
		if sleep(ctx, 100*time.Millisecond) != nil {
			return
		}
	}
}

// once lets one fault happen.
func (a *Arena) once(ctx context.Context, p Plan, k kind) Event {
	n := k.make(a)
	e := Event{Fault: report.Fault{Name: k.name, Start: time.Since(p.Start)}}
	err := n.Inject(ctx)
	cut := ctx.Err() != nil
	if err == nil && !k.instant {
		cut = sleep(ctx, a.between(p.Hold[0], p.Hold[1])) != nil
	}
	// The end of the run must not keep a fault from being healed.
	healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTimeout)
	defer cancel()
	e.Skipped = errors.Is(err, ErrBusy) || ctx.Err() != nil && errors.Is(err, ctx.Err())
	healed := n.Heal(healing)
	e.End = time.Since(p.Start)
	switch {
	case healed != nil:
		e.Skipped = false
		e.Problem = "heal: " + healed.Error()
	case err != nil:
		e.Problem = err.Error()
	default:
		e.Observed, err = n.Observed(healing)
		switch {
		case errors.Is(err, ErrBroken):
			e.Observed, e.Broken = err.Error(), err.Error()
		case err != nil:
			// It may have had no time to be seen.
			e.Problem, e.Skipped = err.Error(), cut
		}
	}
	if err == nil || !errors.Is(err, ErrBusy) {
		e.Target = n.Target()
	}
	return e
}
