package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sync/errgroup"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/ledger"
)

// cleanupTimeout bounds the clean-up after a demonstration or measurement,
// which also runs after an interrupt.
const cleanupTimeout = 20 * time.Second

// createAtATime is how many ledgers of a measurement are created at the same time.
const createAtATime = 16

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
			return nil, fail(exitFailed, "set TMPDIR to a directory that can be written, or name another one with --dir", errors.Wrap(err, "create temporary directory"))
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

// ledgers returns the writer's profiles for n ledgers of the running cluster: the one that it was
// created with, and others that are created now; all of them are new if the program is not log.
func (t *throwaway) ledgers(ctx context.Context, n int, program string) ([]client.Profile, error) {
	p, err := client.LoadProfile(t.Profile("writer"))
	if err != nil {
		return nil, err
	}
	admin, err := t.Dial(ctx, "admin")
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	var all []client.Profile
	if program == (ledger.Log{}).Name() {
		all = append(all, p)
	}
	var g errgroup.Group
	g.SetLimit(createAtATime)
	for i := len(all); i < n; i++ {
		origin := fmt.Sprintf("%s/%d", t.Origin(), i+1)
		all = append(all, p.ForLedger(origin))
		g.Go(func() error {
			_, _, err := admin.CreateLedger(ctx, origin, program)
			return errors.Wrapf(err, "create the ledger %s", origin)
		})
	}
	return all, g.Wait()
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
