package local

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sync/errgroup"

	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/internal/wholefile"
)

// stopTimeout is how long Stop waits for a node to hand over and flush.
const stopTimeout = 15 * time.Second

// killTimeout is how long the end of a killed process is waited for: its disk may hang.
const killTimeout = 5 * time.Second

// Start starts the named nodes, all without a name, and returns when they are
// ready (or, with too few processes for a quorum, when they are live). A node
// that runs already is left alone. A paused node is ErrPaused, and then nothing is started:
// a paused process answers nobody, and only Resume or Kill helps.
func (c *Cluster) Start(ctx context.Context, names ...string) error {
	if node.Platform != nil {
		return node.Platform
	}
	names, err := c.resolve(names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if c.Paused(name) {
			return errors.Wrapf(ErrPaused, "start %s", name)
		}
	}
	for _, name := range names {
		if err := c.spawn(name); err != nil && !errors.Is(err, ErrRunning) {
			return errors.Wrapf(err, "start %s", name)
		}
	}
	return c.waitUp(ctx, names)
}

func (c *Cluster) spawn(name string) error {
	argv := []string{filepath.Join(c.dir, "bin", "cairn"), "node", "--config", c.configPath(name)}
	if c.lifeline != nil {
		argv = append(argv, "--lifeline")
	}
	ended, err := c.process(name).start(argv, c.nodeEnv(), c.NodeDir(name), c.lifeline)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.children[name] = ended
	return nil
}

// nodeEnv is the environment of the nodes. They share one machine, so each gets its
// share of the processors: threads of one node that wait for work spin, and would take
// the time from the others. GOMAXPROCS, if set, stays as it is.
func (c *Cluster) nodeEnv() []string {
	env := os.Environ()
	if os.Getenv("GOMAXPROCS") == "" {
		share := max(1, runtime.GOMAXPROCS(0)/len(c.Names()))
		env = append(env, "GOMAXPROCS="+strconv.Itoa(share))
	}
	return env
}

// Stop asks the named nodes to stop (SIGTERM: hand over leadership, flush) and
// waits until they have. A node without a process is ErrNotRunning.
func (c *Cluster) Stop(ctx context.Context, names ...string) error {
	names, err := c.resolve(names)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	var g errgroup.Group
	for _, name := range names {
		g.Go(func() error {
			id, err := c.process(name).signal(syscall.SIGTERM)
			if err != nil {
				return errors.Wrapf(err, "stop %s", name)
			}
			// A paused process takes the signal only when it is continued.
			if _, err := c.process(name).signal(sigContinue); err != nil && !errors.Is(err, ErrNotRunning) {
				return errors.Wrapf(err, "stop %s", name)
			}
			if err := c.process(name).wait(ctx, id); err != nil {
				return errors.Wrapf(err, "stop %s (kill it instead?)", name)
			}
			c.reap(name)
			return nil
		})
	}
	return g.Wait()
}

// Kill ends the named nodes with SIGKILL and waits until they are gone. A node
// without a process is ErrNotRunning.
func (c *Cluster) Kill(ctx context.Context, names ...string) error {
	names, err := c.resolve(names)
	if err != nil {
		return err
	}
	ids := make([]pidFile, len(names))
	for i, name := range names {
		if ids[i], err = c.process(name).signal(syscall.SIGKILL); err != nil {
			return errors.Wrapf(err, "kill %s", name)
		}
	}
	for i, name := range names {
		if err := c.process(name).wait(ctx, ids[i]); err != nil {
			return errors.Wrapf(err, "kill %s", name)
		}
		c.reap(name)
	}
	return nil
}

// Pause stops the named processes where they are (SIGSTOP), until Resume.
func (c *Cluster) Pause(names ...string) error { return c.signalAll("pause", sigPause, names) }

// Resume continues paused processes.
func (c *Cluster) Resume(names ...string) error { return c.signalAll("resume", sigContinue, names) }

func (c *Cluster) signalAll(verb string, sig syscall.Signal, names []string) error {
	names, err := c.resolve(names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := c.process(name).signal(sig); err != nil {
			return errors.Wrapf(err, "%s %s", verb, name)
		}
	}
	return nil
}

// reap waits for the end of a child of this process, so that no goroutine and
// no zombie stays. It is a no-op for a process that somebody else started.
func (c *Cluster) reap(name string) {
	c.mu.Lock()
	ended := c.mu.children[name]
	delete(c.mu.children, name)
	c.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// exited says whether a child that this Cluster started has ended.
func (c *Cluster) exited(name string) bool {
	c.mu.Lock()
	ended := c.mu.children[name]
	c.mu.Unlock()
	if ended == nil {
		f, err := c.process(name).find()
		if err != nil {
			return true
		}
		_ = f.handle.Release()
		return false
	}
	select {
	case <-ended:
		return true
	default:
		return false
	}
}

// Running says whether a node has a process, paused or not.
func (c *Cluster) Running(name string) bool { return !c.exited(name) }

// Paused says whether a node has a process that is paused.
func (c *Cluster) Paused(name string) bool {
	f, err := c.process(name).find()
	if err != nil {
		return false
	}
	_ = f.handle.Release()
	return f.state == procPaused
}

// Down stops all nodes that run: politely first, with SIGKILL what does not
// stop in time.
func (c *Cluster) Down(ctx context.Context) error {
	var running []string
	for _, name := range c.Names() {
		if !c.exited(name) {
			running = append(running, name)
		}
	}
	if len(running) == 0 {
		return nil
	}
	err := c.Stop(ctx, running...)
	if err == nil {
		return nil
	}
	return c.killAll(ctx)
}

// killAll ends all nodes. It does so even if ctx has ended, which it may have while Down waited.
func (c *Cluster) killAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
	defer cancel()
	for _, name := range c.Names() {
		if err := c.Kill(ctx, name); err != nil && !errors.Is(err, ErrNotRunning) {
			return err
		}
	}
	return nil
}

// Destroy kills all nodes and deletes what Create made. Files of other origin
// in the directory stay, and then the directory does too.
func (c *Cluster) Destroy(ctx context.Context) error {
	if err := c.killAll(ctx); err != nil {
		return err
	}
	return removeContents(c.dir, "cluster.json")
}

// DestroyUnfinished deletes the rest of an interrupted Create, in which no node was ever started,
// as Destroy deletes a cluster. Its error is ErrNoCluster if the directory is no such rest.
func DestroyUnfinished(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return errors.Wrap(err, "find cluster directory")
	}
	if !creating(abs) {
		return errors.Wrapf(ErrNoCluster, "open %s", abs)
	}
	return removeContents(abs, creatingMarker)
}

// removeContents deletes the names that Create makes, and the directory if it is empty then. The
// file last tells what the directory is. It goes last: while it is there, the deletion can be
// repeated.
func removeContents(dir, last string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errors.Wrap(err, "read cluster directory")
	}
	var names []string
	for _, e := range entries {
		if ownName(e.Name()) && e.Name() != last {
			names = append(names, e.Name())
		}
	}
	for _, name := range append(names, last) {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return errors.Wrap(err, "delete cluster files")
		}
	}
	_ = os.Remove(dir) // not empty: somebody else's files are in it
	return nil
}

// ownName says whether Create makes a file or directory of this name, complete or not.
func ownName(name string) bool {
	name = strings.TrimSuffix(name, wholefile.Suffix)
	switch name {
	case "env", "policy", "log.vkey", "pki", "profiles", "bin", "cluster.json", creatingMarker:
		return true
	}
	number, err := strconv.Atoi(strings.TrimPrefix(name, "n"))
	return err == nil && number > 0 && name == nodeName(number-1)
}

// resolve checks names; none means all.
func (c *Cluster) resolve(names []string) ([]string, error) {
	if len(names) == 0 {
		return c.Names(), nil
	}
	for _, name := range names {
		if _, err := c.Node(name); err != nil {
			return nil, err
		}
	}
	return names, nil
}
