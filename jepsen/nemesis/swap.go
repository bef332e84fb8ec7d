package nemesis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/testbed"
)

// swap is the sequence that shows whether an acknowledgement ever rests on memory:
// a minority stalls while the others write; one of the others crashes (with its
// power, if it has a disk); then the rest stalls, and the minority that missed
// everything forms a majority with the one that crashed and came back. Whatever
// was acknowledged must still be there.
type swap struct {
	a *Arena
	// cutOff: who stalls is cut off from the network instead of paused.
	cutOff bool

	nodes                []int
	stale, rest          []int
	victim               int
	before, after        int // pids of the victim
	ours                 bool
	traffic              []testbed.Traffic
	held                 int64
	sawStopped, mustStop int
	dead                 bool
}

const (
	swapPhase    = 3 * time.Second
	swapPatience = 15 * time.Second
)

func (s *swap) Inject(ctx context.Context) (err error) {
	if s.a.Size() < 3 {
		return errors.Wrap(ErrBusy, "too few nodes")
	}
	if s.cutOff {
		// The network is rarely free for long: wait for it, once it is ours nobody else gets it.
		for begun := time.Now(); !s.a.network.TryLock(); {
			if time.Since(begun) > swapPatience {
				return errors.Wrap(ErrBusy, "the network is taken")
			}
			if err := sleep(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
		s.ours = true
	}
	if s.nodes, err = s.a.choose("swap", All); err != nil {
		return err
	}
	s.cast()
	s.traffic = s.a.traffic()
	if err := s.stall(s.stale, nil); err != nil {
		return err
	}
	if err := sleep(ctx, s.a.between(swapPhase/2, swapPhase)); err != nil {
		return err
	}
	if err := s.write(ctx); err != nil {
		return err
	}
	if err := s.crash(ctx); err != nil {
		return err
	}
	if err := s.stall(s.rest, s.stale); err != nil {
		return err
	}
	if err := s.revive(ctx); err != nil {
		return err
	}
	return sleep(ctx, s.a.between(swapPhase, 2*swapPhase))
}

// cast gives the parts: the leader is not among the stale, and crashes half of the time.
func (s *swap) cast() {
	order := s.a.shuffled()
	if leader, _, err := s.a.Monitor.Leader(); err == nil {
		i := slices.Index(order, leader)
		order[i], order[len(order)-1] = order[len(order)-1], order[i]
	}
	m := max(1, s.a.Minority())
	s.stale = order[:m]
	active := slices.Clone(order[m:])
	k := len(active) - 1
	if s.a.intN(2) == 0 {
		k = s.a.intN(len(active))
	}
	s.victim = active[k]
	s.rest = slices.Delete(active, k, k+1)
}

// stall makes nodes stand still, and lets others go on.
func (s *swap) stall(nodes, others []int) error {
	if s.cutOff {
		s.a.Net.Shape(cutWhere(func(from, to int) bool {
			return slices.Contains(nodes, from) || slices.Contains(nodes, to)
		}))
		return nil
	}
	if err := s.a.Pause(nodes...); err != nil {
		return err
	}
	s.mustStop += len(nodes)
	for _, i := range nodes {
		// A process with many threads stops a little after the signal.
		for begun := time.Now(); !s.a.Paused(i) && time.Since(begun) < 2*time.Second; {
			time.Sleep(5 * time.Millisecond)
		}
		if s.a.Paused(i) {
			s.sawStopped++
		}
	}
	return s.a.Resume(others...)
}

// write waits until the others commit something that the stale miss: without that,
// nothing would depend on the one that crashes.
func (s *swap) write(ctx context.Context) error {
	for begun, mark := time.Now(), s.committed(); s.committed() <= mark; {
		if time.Since(begun) > swapPatience {
			return errors.Wrap(ErrBusy, "nothing is committed")
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// committed returns the highest commit index that one of those that go on has named.
func (s *swap) committed() (most uint64) {
	newest := s.a.Monitor.Newest()
	for _, i := range append([]int{s.victim}, s.rest...) {
		most = max(most, newest[i].Commit)
	}
	return most
}

func (s *swap) crash(ctx context.Context) error {
	s.before = s.a.PID(s.victim)
	if d := s.a.Disk(s.victim); d != nil {
		if err := s.a.CutPower(s.victim); err != nil {
			return err
		}
		s.dead = d.Dead()
	}
	if err := s.a.Kill(s.victim); err != nil && !errors.Is(err, testbed.ErrNotRunning) {
		return err
	}
	return nil
}

func (s *swap) revive(ctx context.Context) error {
	if s.a.Disk(s.victim) != nil {
		if err := s.a.RestorePower(s.victim); err != nil {
			return err
		}
	}
	err := s.a.Spawn(ctx, s.victim)
	s.after = s.a.PID(s.victim)
	return err
}

func (s *swap) Target() string {
	if s.nodes == nil {
		return ""
	}
	return fmt.Sprintf("%s stall, %s crashes, %s stall", strings.Join(s.a.Names(s.stale), ", "), s.a.Name(s.victim), strings.Join(s.a.Names(s.rest), ", "))
}

func (s *swap) Heal(ctx context.Context) (err error) {
	if s.ours {
		for k, now := range s.a.traffic() {
			if s.traffic != nil {
				s.held += now.Held + now.Waiting - s.traffic[k].Held - s.traffic[k].Waiting
			}
		}
		s.a.Net.Heal()
		s.a.network.Unlock()
		s.ours = false
	}
	if s.nodes == nil {
		return nil
	}
	defer s.a.Release(s.nodes...)
	for _, i := range s.nodes {
		if s.a.Running(i) {
			err = errors.CombineErrors(err, s.a.Resume(i))
			continue
		}
		if d := s.a.Disk(i); d != nil && d.Dead() {
			err = errors.CombineErrors(err, s.a.RestorePower(i))
		}
		err = errors.CombineErrors(err, s.a.Spawn(ctx, i))
	}
	return err
}

func (s *swap) Observed(context.Context) (string, error) {
	crashed, err := changed(s.a, []int{s.victim}, []int{s.before}, []int{s.after})
	if err != nil {
		return "", err
	}
	if s.dead {
		crashed += ", its disk had lost power"
	}
	if s.cutOff {
		if s.held == 0 {
			return "", errors.New("nothing was sent over the links that were cut")
		}
		return fmt.Sprintf("%s; %d bytes and connections held", crashed, s.held), nil
	}
	if s.sawStopped < s.mustStop {
		return "", errors.Newf("%d of %d processes were stopped", s.sawStopped, s.mustStop)
	}
	return fmt.Sprintf("%s; the kernel showed %d processes stopped", crashed, s.sawStopped), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
