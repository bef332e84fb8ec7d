package main

import (
	"context"
	"os"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/local"
)

// cleanupTimeout bounds the clean-up after a demonstration or measurement,
// which also runs after an interrupt.
const cleanupTimeout = 20 * time.Second

// throwaway is a cluster that goes away with this process: its nodes watch a
// pipe that closes even if this process is killed.
type throwaway struct {
	*local.Cluster
	temp     string // directory to remove at the end, "" if the caller chose it
	lifeline *os.File
}

// newThrowaway creates a cluster in dir, or in a temporary directory, and
// starts nothing. Close it in any case.
func newThrowaway(dir string, nodes int) (_ *throwaway, err error) {
	t := &throwaway{}
	if dir == "" {
		if t.temp, err = os.MkdirTemp("", "cairn-"); err != nil {
			return nil, errors.Wrap(err, "create temporary directory")
		}
		dir = t.temp
		defer func() {
			if err != nil {
				_ = os.RemoveAll(t.temp)
			}
		}()
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, errors.Wrap(err, "find this program")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, errors.Wrap(err, "make pipe")
	}
	c, err := local.Create(local.Options{Dir: dir, Nodes: nodes, Executable: exe, Lifeline: r})
	if err != nil {
		_, _ = r.Close(), w.Close()
		return nil, err
	}
	t.Cluster, t.lifeline = c, w
	return t, nil
}

// close ends all nodes and deletes everything; with keep the directory stays.
func (t *throwaway) close(keep bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	defer t.lifeline.Close()
	if keep {
		return t.Down(ctx)
	}
	if err := t.Destroy(ctx); err != nil {
		return errors.Wrap(err, "clean up")
	}
	if t.temp != "" {
		return errors.Wrap(os.RemoveAll(t.temp), "clean up")
	}
	return nil
}
