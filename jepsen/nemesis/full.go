package nemesis

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/node"
)

// full fills a node's disk, to the last byte. The node has to stop by itself, to say
// why, and to refuse to start as long as there is no space.
type full struct {
	a       *Arena
	within  time.Duration // how long it may take to stop, and to refuse
	nodes   []int
	before  []int
	stopped bool // by itself
	told    bool // why
	refused bool // to start, and told why
	back    []int
}

const (
	// roomToStop is what a node needs for a clean stop, with what its store is writing
	// at that moment; it is below the limit at which nodes stop (256 MiB unless
	// configured).
	roomToStop = 192 << 20
	// stopTimeout is how long a node may take to find out that it cannot go on, and to
	// end: much longer than it does, since its disk may be slow.
	stopTimeout = time.Minute
)

func (f *full) Inject(ctx context.Context) (err error) {
	if f.nodes, err = f.a.choose("full disk", One); err != nil {
		return err
	}
	i := f.nodes[0]
	f.before = f.a.pids(f.nodes)
	if err := f.a.FillDisk(i, roomToStop); err != nil {
		return err
	}
	if f.stopped = f.a.ends(ctx, i, f.within); !f.stopped {
		return ctx.Err() // or Observed tells
	}
	said, err := f.said()
	if f.told = said > 0; err != nil || !f.told {
		return err
	}
	if err := f.a.FillDisk(i, 0); err != nil {
		return err
	}
	_ = f.a.Spawn(ctx, i)
	ended := f.a.ends(ctx, i, f.within)
	again, err := f.said()
	f.refused = ended && again > said
	return errors.CombineErrors(err, ctx.Err())
}

// said returns how often the node has told that its disk is full.
func (f *full) said() (int, error) {
	log, err := os.ReadFile(f.a.Cluster.LogPath(f.a.Name(f.nodes[0])))
	return strings.Count(string(log), node.ErrDiskFull.Error()), errors.Wrap(err, "read the node's log")
}

func (f *full) Target() string { return strings.Join(f.a.Names(f.nodes), ", ") }

func (f *full) Heal(ctx context.Context) error {
	defer f.a.Release(f.nodes...)
	if len(f.nodes) == 0 {
		return nil
	}
	err := f.a.EmptyDisk(f.nodes[0])
	err = errors.CombineErrors(err, f.a.Spawn(ctx, f.nodes...))
	f.back = f.a.pids(f.nodes)
	return err
}

func (f *full) Observed(context.Context) (string, error) {
	switch {
	case !f.stopped:
		return "", broken("%s did not stop within %s although its disk is full", f.Target(), f.within)
	case !f.told:
		return "", broken("%s stopped without saying that its disk is full", f.Target())
	case !f.refused:
		return "", broken("%s started although its disk is full, or does not say why it cannot", f.Target())
	}
	how, err := changed(f.a, f.nodes, f.before, f.back)
	return fmt.Sprintf("stopped by itself, said why, refused to start; %s", how), err
}
