package nemesis

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
)

// kill ends processes with SIGKILL; healing starts them again.
type kill struct {
	a      *Arena
	who    Who
	nodes  []int
	before []int // pids
	gone   bool
	back   []int
}

func (k *kill) Inject(ctx context.Context) (err error) {
	if k.nodes, err = k.a.choose("kill", k.who); err != nil {
		return err
	}
	k.before = k.a.pids(k.nodes)
	if err := k.a.Kill(k.nodes...); err != nil {
		return err
	}
	k.gone = k.a.down(k.nodes)
	return nil
}

func (k *kill) Target() string { return strings.Join(k.a.Names(k.nodes), ", ") }

func (k *kill) Heal(ctx context.Context) error {
	defer k.a.Release(k.nodes...)
	k.gone = k.gone && k.a.down(k.nodes)
	err := k.a.Spawn(ctx, k.nodes...)
	k.back = k.a.pids(k.nodes)
	return err
}

func (k *kill) Observed(context.Context) (string, error) {
	if !k.gone {
		return "", errors.Newf("a process of %s did not end", k.Target())
	}
	return changed(k.a, k.nodes, k.before, k.back)
}

func (a *Arena) pids(nodes []int) (pids []int) {
	for _, i := range nodes {
		pids = append(pids, a.PID(i))
	}
	return pids
}

func (a *Arena) down(nodes []int) bool {
	for _, i := range nodes {
		if a.Running(i) {
			return false
		}
	}
	return true
}

// changed says that every node has another process than before.
func changed(a *Arena, nodes, before, after []int) (string, error) {
	var parts []string
	for k, i := range nodes {
		if k >= len(before) || k >= len(after) || before[k] == 0 || after[k] == 0 || before[k] == after[k] {
			return "", errors.Newf("%s has no other process than before: %v, %v", a.Name(i), before, after)
		}
		parts = append(parts, fmt.Sprintf("%s: process %d gone, %d in its place", a.Name(i), before[k], after[k]))
	}
	return strings.Join(parts, "; "), nil
}

// pause stops processes where they are.
type pause struct {
	a      *Arena
	who    Who
	nodes  []int
	paused int // seen stopped at the end
}

func (p *pause) Inject(context.Context) (err error) {
	if p.nodes, err = p.a.choose("pause", p.who); err != nil {
		return err
	}
	return p.a.Pause(p.nodes...)
}

func (p *pause) Target() string { return strings.Join(p.a.Names(p.nodes), ", ") }

func (p *pause) Heal(context.Context) error {
	defer p.a.Release(p.nodes...)
	for _, i := range p.nodes {
		if p.a.Paused(i) {
			p.paused++
		}
	}
	return p.a.Resume(p.nodes...)
}

func (p *pause) Observed(context.Context) (string, error) {
	if p.paused < len(p.nodes) {
		return "", errors.Newf("%d of %d processes were stopped", p.paused, len(p.nodes))
	}
	return fmt.Sprintf("the kernel showed %s stopped until it was continued", p.Target()), nil
}

// transfer makes the leader hand over.
type transfer struct {
	a        *Arena
	from, to int
	term     uint64
	led      bool
}

func (t *transfer) Inject(ctx context.Context) (err error) {
	if t.from, t.term, err = t.a.Monitor.Leader(); err != nil {
		return errors.Wrap(ErrBusy, "no leader")
	}
	t.to = (t.from + 1 + t.a.intN(max(1, t.a.Size()-1))) % t.a.Size()
	if t.to == t.from || !t.a.Running(t.to) {
		return errors.Wrap(ErrBusy, "nobody to hand over to")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := t.a.Monitor.Transfer(ctx, t.from, t.to); err != nil {
		return errors.Wrapf(ErrBusy, "the leader could not hand over: %v", err)
	}
	// What the leader says about it is proved by who says that it leads.
	for ctx.Err() == nil && !t.led {
		for i, s := range t.a.Monitor.Newest() {
			t.led = t.led || s.Role == "leader" && i != t.from && s.Term > t.term
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func (t *transfer) Target() string {
	return fmt.Sprintf("%s to %s", t.a.Name(t.from), t.a.Name(t.to))
}

func (t *transfer) Heal(context.Context) error { return nil }

func (t *transfer) Observed(context.Context) (string, error) {
	if !t.led {
		return "", errors.Newf("nobody else led after term %d", t.term)
	}
	return fmt.Sprintf("another node than %s led in a later term than %d", t.a.Name(t.from), t.term), nil
}

// rolling stops one node after the other politely and starts it again.
type rolling struct {
	a             *Arena
	nodes         []int
	before, after []int
}

func (r *rolling) Inject(ctx context.Context) (err error) {
	if r.nodes, err = r.a.choose("rolling restart", All); err != nil {
		return err
	}
	r.before = r.a.pids(r.nodes)
	for _, i := range r.nodes {
		if err := r.a.Stop(i); err != nil {
			return err
		}
		// While links are cut it may not get ready: the next one waits only so long.
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := r.a.Start(short, i)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	r.after = r.a.pids(r.nodes)
	return nil
}

func (r *rolling) Target() string { return "each in turn" }

func (r *rolling) Heal(ctx context.Context) error {
	defer r.a.Release(r.nodes...)
	return r.a.Spawn(ctx, r.nodes...)
}

func (r *rolling) Observed(context.Context) (string, error) {
	return changed(r.a, r.nodes, r.before, r.after)
}
