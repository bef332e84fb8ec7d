package nemesis

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/testbed"
)

// power cuts the power of nodes: their disks lose what was not synced, and their
// processes end.
type power struct {
	a      *Arena
	who    Who
	nodes  []int
	before []int
	dead   int
	back   []int
}

func (p *power) Inject(ctx context.Context) (err error) {
	if p.nodes, err = p.a.choose("power", p.who); err != nil {
		return err
	}
	p.before = p.a.pids(p.nodes)
	for _, i := range p.nodes {
		if err := p.a.CutPower(i); err != nil {
			return err
		}
	}
	// A node may end by itself first, because its writes fail.
	if err := p.a.Kill(p.nodes...); err != nil && !errors.Is(err, testbed.ErrNotRunning) {
		return err
	}
	for _, i := range p.nodes {
		if p.a.Disk(i).Dead() {
			p.dead++
		}
	}
	return nil
}

func (p *power) Target() string { return strings.Join(p.a.Names(p.nodes), ", ") }

func (p *power) Heal(ctx context.Context) (err error) {
	defer p.a.Release(p.nodes...)
	for _, i := range p.nodes {
		if p.a.Running(i) {
			err = errors.CombineErrors(err, p.a.Kill(i))
		}
		err = errors.CombineErrors(err, p.a.RestorePower(i))
	}
	err = errors.CombineErrors(err, p.a.Spawn(ctx, p.nodes...))
	p.back = p.a.pids(p.nodes)
	return err
}

func (p *power) Observed(context.Context) (string, error) {
	if p.dead < len(p.nodes) {
		return "", errors.Newf("%d of %d disks were without power", p.dead, len(p.nodes))
	}
	gone, err := changed(p.a, p.nodes, p.before, p.back)
	if err != nil {
		return "", err
	}
	return "writes to the disk failed with EIO; " + gone, nil
}

// freeze makes every write to a node's disk wait.
type freeze struct {
	a      *Arena
	who    Who
	nodes  []int
	probes chan time.Duration // how long one write to each disk took
	since  time.Time          // when all were frozen
	frozen time.Duration
}

func (f *freeze) Inject(context.Context) (err error) {
	if f.nodes, err = f.a.choose("freeze", f.who); err != nil {
		return err
	}
	f.probes = make(chan time.Duration, len(f.nodes))
	for _, i := range f.nodes {
		if err := f.a.Disk(i).Freeze(); err != nil {
			return err
		}
		path := filepath.Join(filepath.Dir(f.a.DataDir(i)), "frozen")
		go func() {
			begun := time.Now()
			_ = os.WriteFile(path, nil, 0o600)
			f.probes <- time.Since(begun)
		}()
	}
	f.since = time.Now() // to freeze a disk takes as long as to write what its files hold in memory
	return nil
}

func (f *freeze) Target() string { return strings.Join(f.a.Names(f.nodes), ", ") }

func (f *freeze) Heal(context.Context) (err error) {
	defer f.a.Release(f.nodes...)
	f.frozen = time.Since(f.since)
	for _, i := range f.nodes {
		err = errors.CombineErrors(err, f.a.Disk(i).Thaw())
	}
	return err
}

func (f *freeze) Observed(ctx context.Context) (string, error) {
	least := time.Duration(1 << 62)
	for range f.nodes {
		select {
		case d := <-f.probes:
			least = min(least, d)
		case <-ctx.Done():
			return "", errors.New("a write to a disk that was thawed does not return")
		}
	}
	if least < f.frozen/2 {
		return "", errors.Newf("a write took %s while the disk was frozen for %s", least, f.frozen)
	}
	return fmt.Sprintf("a write waited %s", least.Round(time.Millisecond)), nil
}
