package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/local"
)

// Start starts nodes, all without an argument, and waits until they are ready.
// One that runs is left alone.
func (t *Testbed) Start(ctx context.Context, nodes ...int) error {
	if len(nodes) == 0 {
		nodes = t.all()
	}
	return t.begin(ctx, nodes)
}

// spawnTime is how long Spawn gives local.Cluster, which insists on waiting.
const spawnTime = 50 * time.Millisecond

// Spawn starts nodes and does not wait for them: while links are cut or others
// are down they cannot get ready.
func (t *Testbed) Spawn(ctx context.Context, nodes ...int) error {
	for _, i := range nodes {
		short, cancel := context.WithTimeout(ctx, spawnTime)
		err := t.Start(short, i)
		cancel()
		if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// patience is how long a process may take to end beyond what an operator would wait.
const patience = time.Minute

// Kill ends nodes with SIGKILL and waits until they are gone. It takes no context, nor
// does Stop: a node that ended only after the end of a run had cut the wait would be
// found running by whoever starts it again, and be missing in the next moment.
func (t *Testbed) Kill(nodes ...int) error {
	t.ask(nodes)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return t.each(nodes, func(name string) error { return t.Cluster.Kill(ctx, name) })
}

// Stop asks processes to end, with SIGTERM, and waits until they have: patiently, for
// their disks may be slow and have much to write. One that has not even then is killed,
// and Stop fails: nothing that was asked to end ends later, unexpected.
func (t *Testbed) Stop(nodes ...int) error {
	t.ask(nodes)
	return t.each(nodes, func(name string) error {
		i := slices.Index(t.names, name)
		err := t.Cluster.Stop(context.Background(), name)
		if !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if late := t.AwaitEnd(ctx, i); late == nil {
			return nil
		}
		return errors.CombineErrors(err, t.Kill(i))
	})
}

// Pause stops processes where they are.
func (t *Testbed) Pause(nodes ...int) error {
	return t.each(nodes, func(name string) error { return t.Cluster.Pause(name) })
}

// Resume continues them.
func (t *Testbed) Resume(nodes ...int) error {
	return t.each(nodes, func(name string) error { return t.Cluster.Resume(name) })
}

// each does the same to several nodes at once, as far as a loop can.
func (t *Testbed) each(nodes []int, f func(name string) error) (err error) {
	results := make(chan error, len(nodes))
	for _, i := range nodes {
		go func() { results <- f(t.names[i]) }()
	}
	for range nodes {
		err = errors.CombineErrors(err, <-results)
	}
	return err
}

// Running says whether a node has a process.
func (t *Testbed) Running(i int) bool { return t.Cluster.Running(t.names[i]) }

// Paused says whether a node has a process that is stopped where it is. Only
// Linux tells.
func (t *Testbed) Paused(i int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", t.lastPID(i)))
	// The state is what follows the name, which is in parentheses.
	_, state, ok := bytes.Cut(stat, []byte(") "))
	return err == nil && ok && bytes.HasPrefix(state, []byte("T"))
}

// AwaitEnd waits until a node has ended by itself.
func (t *Testbed) AwaitEnd(ctx context.Context, i int) error {
	for t.Running(i) {
		select {
		case <-ctx.Done():
			return errors.Wrapf(ctx.Err(), "wait for %s to end", t.names[i])
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// ErrNotRunning says that a node has no process.
var ErrNotRunning = local.ErrNotRunning

// PID returns the number of a node's process, 0 if it has none.
func (t *Testbed) PID(i int) int {
	if !t.Running(i) {
		return 0
	}
	return t.lastPID(i)
}

// lastPID returns the number of a node's newest process, 0 if there was none or if it
// was told to end.
func (t *Testbed) lastPID(i int) int {
	raw, err := os.ReadFile(filepath.Join(t.Cluster.NodeDir(t.names[i]), "pid"))
	var process struct {
		PID int `json:"pid"`
	}
	if err != nil || json.Unmarshal(raw, &process) != nil {
		return 0
	}
	return process.PID
}
