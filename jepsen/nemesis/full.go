package nemesis

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/node"
)

// full fills a node's disk, to the last byte. The node has to stop by itself, to say
// why, and to refuse to start as long as there is no space.
type full struct {
	a       *Arena
	nodes   []int
	before  []int
	stopped bool // by itself
	refused bool // to start
	said    bool
	back    []int
}

const (
	// roomToStop is what a node needs for a clean stop, with what its store is writing
	// at that moment; it is below the limit at which nodes stop (256 MiB unless
	// configured).
	roomToStop  = 192 << 20
	stopTimeout = 20 * time.Second
)

func (f *full) Inject(ctx context.Context) (err error) {
	if f.nodes, err = f.a.choose("full disk", One); err != nil {
		return err
	}
	i := f.nodes[0]
	f.before = f.a.pids(f.nodes)
	if err := f.a.Disk(i).Fill(roomToStop); err != nil {
		return err
	}
	ending, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := f.a.AwaitEnd(ending, i); err != nil {
		return nil // Observed tells
	}
	f.stopped = true
	f.said = strings.Contains(f.a.LogTail(i, 4096), node.ErrDiskFull.Error())
	if err := f.a.Disk(i).Fill(0); err != nil {
		return err
	}
	_ = f.a.Spawn(ctx, i)
	f.refused = f.a.AwaitEnd(ending, i) == nil
	return nil
}

func (f *full) Target() string { return strings.Join(f.a.Names(f.nodes), ", ") }

func (f *full) Heal(ctx context.Context) error {
	defer f.a.Release(f.nodes...)
	if len(f.nodes) == 0 {
		return nil
	}
	err := f.a.Disk(f.nodes[0]).Empty()
	err = errors.CombineErrors(err, f.a.Spawn(ctx, f.nodes...))
	f.back = f.a.pids(f.nodes)
	return err
}

func (f *full) Observed(context.Context) (string, error) {
	switch {
	case !f.stopped:
		return "", errors.Newf("%s did not stop within %s although its disk is full", f.Target(), stopTimeout)
	case !f.said:
		return "", errors.Newf("%s stopped without saying that its disk is full", f.Target())
	case !f.refused:
		return "", errors.Newf("%s started although its disk is full", f.Target())
	}
	how, err := changed(f.a, f.nodes, f.before, f.back)
	return fmt.Sprintf("stopped by itself, said why, refused to start; %s", how), err
}
