package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/ledger/seal"
)

const (
	defaultNodes      = 3
	defaultClusterDir = ".cairn"
)

// clusterAdvice writes a subcommand of cluster to be pasted, for the cluster in dir.
func clusterAdvice(dir, verb string, names ...string) string {
	words := []string{"cairn", "cluster", verb}
	if dir != defaultClusterDir {
		words = append(words, "--dir", dir)
	}
	return advice(append(words, names...)...)
}

func (a *app) clusterCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Run a local cluster: several nodes as processes of this machine",
		Long: `Run a local cluster in one directory: keys, certificates, policy, profiles,
ports, logs and data. For development, tests and demonstrations: all keys lie in
one place. NAME is n1, n2, ... or leader.`,
		Example: `  cairn cluster up && . ./.cairn/env
  cairn cluster kill leader && cairn cluster status`,
		RunE: needsSubcommand,
	}
	cmd.PersistentFlags().StringVar(&dir, "dir", defaultClusterDir, "the cluster's `directory`")
	cmd.AddCommand(
		a.clusterUpCommand(&dir),
		a.clusterDownCommand(&dir),
		a.clusterStatusCommand(&dir),
		a.clusterNodeCommand(&dir, "kill", "End a node at once (SIGKILL)", "killed",
			func(ctx context.Context, c *local.Cluster, name string) error { return c.Kill(ctx, name) }),
		a.clusterNodeCommand(&dir, "stop", "Stop a node cleanly (SIGTERM)", "stopped",
			func(ctx context.Context, c *local.Cluster, name string) error { return c.Stop(ctx, name) }),
		a.clusterNodeCommand(&dir, "start", "Start a node again, and wait until it is ready", "started",
			func(ctx context.Context, c *local.Cluster, name string) error { return c.Start(ctx, name) }),
		a.clusterNodeCommand(&dir, "pause", "Stop a node where it is (SIGSTOP)", "paused",
			func(_ context.Context, c *local.Cluster, name string) error { return c.Pause(name) }),
		a.clusterNodeCommand(&dir, "resume", "Let a paused node continue", "resumed",
			func(_ context.Context, c *local.Cluster, name string) error { return c.Resume(name) }),
		a.clusterAddCommand(&dir),
		a.clusterReplaceCommand(&dir),
		a.clusterRemoveCommand(&dir),
		a.clusterLogsCommand(&dir),
		a.clusterDestroyCommand(&dir),
	)
	return cmd
}

// openCluster opens the directory of --dir.
func openCluster(dir string) (*local.Cluster, error) {
	c, err := local.Open(dir)
	if errors.Is(err, local.ErrNoCluster) {
		return nil, fail(exitNotFound, clusterAdvice(dir, "up")+" makes one; or pass --dir", err)
	}
	return c, err
}

type clusterResult struct {
	Dir     string   `json:"dir"`
	Nodes   []string `json:"nodes"`
	Origin  string   `json:"origin"`
	Leader  string   `json:"leader,omitempty"`
	Env     string   `json:"env"`
	Created bool     `json:"created"`
}

func (a *app) clusterUpCommand(dir *string) *cobra.Command {
	var origin, suite string
	var quorum int
	cmd := &cobra.Command{
		Use:   "up [N]",
		Short: "Create a cluster of N nodes if there is none, and start it",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := 0
			if len(args) == 1 {
				var err error
				if n, err = parseNumber(args[0], 1, local.MaxNodes); err != nil {
					return usagef("N, the number of nodes: %q %v", args[0], err)
				}
			}
			c, err := local.Open(*dir)
			created := errors.Is(err, local.ErrNoCluster)
			switch {
			case created:
				exe, err := os.Executable()
				if err != nil {
					return errors.Wrap(err, "find this program")
				}
				if n == 0 {
					n = defaultNodes
				}
				if least, most := seal.QuorumRange(n); quorum != 0 && (quorum < least || quorum > most) {
					return usagef("--seal-quorum: %d is out of range: must be %d to %d for %s", quorum, least, most, plural(n, "node", "nodes"))
				}
				o := local.Options{Dir: *dir, Nodes: n, Origin: origin, Suite: suite, SealQuorum: quorum, Executable: exe}
				if err := o.Check(); err != nil {
					return fail(exitUsage, "see `cairn cluster up --help`; nothing was tried", err)
				}
				if c, err = local.Create(o); err != nil {
					return err
				}
			case err != nil:
				return err
			case n != 0 && n != len(c.Nodes()):
				return failf(exitUsage, clusterAdvice(*dir, "destroy")+" removes it with all its data", "the cluster in %s has %d nodes, not %d", c.Dir(), len(c.Nodes()), n)
			case origin != "" && origin != c.Origin():
				return usagef("the cluster in %s is for the ledger %s, not %s", c.Dir(), c.Origin(), origin)
			case suite != "" && suite != c.Suite():
				return usagef("the cluster in %s has the suite %s, not %s", c.Dir(), c.Suite(), suite)
			case quorum != 0 && quorum != c.SealQuorum():
				return usagef("the cluster in %s seals with %d cosignatures, not %d", c.Dir(), c.SealQuorum(), quorum)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
			defer cancel()
			if err := c.Start(ctx); err != nil {
				return nodeError(*dir, err)
			}
			leader, err := c.Leader(ctx)
			if err != nil {
				return fail(exitUnknown, "look at the logs: "+clusterAdvice(*dir, "logs"), err)
			}
			a.did(effect{text: "the cluster in " + printable(c.Dir()) + " is ready"})
			r := clusterResult{Dir: c.Dir(), Nodes: c.Names(), Origin: c.Origin(), Leader: leader, Env: c.EnvPath(), Created: created}
			return a.emit(r, func(w *page) {
				fmt.Fprintf(w, "cluster of %s is ready: %s leads\n", plural(len(r.Nodes), "node", "nodes"), leader)
				fields(w, "  ledger", r.Origin, "  directory", r.Dir, "  next", ". "+shellPath(r.Env))
			})
		},
	}
	cmd.Flags().StringVar(&origin, "origin", "", "`name` of the first ledger (default cairn.local/ and a random name)")
	cmd.Flags().StringVar(&suite, "suite", "", "default or cat5 (ML-KEM-1024, ML-DSA-87)")
	numberFlag(cmd.Flags(), &quorum, "seal-quorum", "", 0, 0, local.MaxNodes, "`number` of cosignatures that seal a checkpoint, at least a majority (0: a majority)")
	return cmd
}

// shellPath makes a path fit for pasting: quoted, and relative if it is below the working
// directory.
func shellPath(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(rel, "..") {
			path = "./" + rel
		}
	}
	return shellWord(path)
}

func (a *app) clusterDownCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop all nodes; keys and data stay",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := openCluster(*dir)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
			defer cancel()
			if err := c.Down(ctx); err != nil {
				return begun(*dir, err)
			}
			a.did(effect{text: "the cluster in " + printable(c.Dir()) + " is stopped"})
			return a.emit(map[string]any{"dir": c.Dir(), "stopped": c.Names()}, func(w *page) {
				fmt.Fprintf(w, "stopped the cluster in %s\n", c.Dir())
			})
		},
	}
}

func (a *app) clusterDestroyCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "destroy",
		Short: "Kill all nodes and delete keys, data and logs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			abs, err := filepath.Abs(*dir)
			if err != nil {
				return errors.Wrap(err, "find cluster directory")
			}
			// An interrupted `up` leaves a directory that is no cluster yet.
			err = local.DestroyUnfinished(abs)
			if errors.Is(err, local.ErrNoCluster) {
				err = a.destroyCluster(cmd.Context(), *dir)
			}
			if err != nil {
				return err
			}
			a.did(effect{text: "the cluster in " + printable(abs) + " is deleted"})
			return a.emit(map[string]any{"dir": abs, "destroyed": true}, func(w *page) {
				fmt.Fprintf(w, "deleted the cluster in %s\n", abs)
			})
		},
	}
}

// destroyCluster kills the nodes of a cluster and deletes its directory.
func (a *app) destroyCluster(ctx context.Context, dir string) error {
	c, err := openCluster(dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if err := c.Destroy(ctx); err != nil {
		return begun(dir, err)
	}
	return nil
}

func (a *app) clusterStatusCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Print processes and state of all nodes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := openCluster(*dir)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
			defer cancel()
			all, err := settled(ctx, func() ([]nodeStatus, error) { return clusterStatus(ctx, c) })
			if err != nil {
				return err
			}
			return a.printStatus(c.Origin(), all)
		},
	}
}

// clusterStatus asks every node of a local cluster for its state.
func clusterStatus(ctx context.Context, c *local.Cluster) ([]nodeStatus, error) {
	nodes, roots, err := c.StatusAndRoots(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]nodeStatus, len(nodes))
	for i, n := range nodes {
		all[i] = nodeStatus{Node: n.Name, Address: n.API, Process: n.Process, PID: n.PID}
		if n.Status != nil {
			all[i].fill(n.Status)
		}
		if n.Err != nil {
			all[i].Error = statusError(n.Err)
		}
	}
	markRoots(all, roots)
	return all, nil
}

// clusterNodeCommand is a command that does one thing to one node after the other.
func (a *app) clusterNodeCommand(dir *string, verb, short, done string, do func(context.Context, *local.Cluster, string) error) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NAME...",
		Short: short,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := openCluster(*dir)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
			defer cancel()
			args = once(args)
			// A name that does not exist is told before anything is done to the others.
			for _, arg := range args {
				if arg == "leader" {
					continue // whoever leads when its turn comes
				}
				if _, err := resolveNode(ctx, *dir, c, arg); err != nil {
					return err
				}
			}
			var finished []string
			acted := map[string]bool{}
			for i, arg := range args {
				name, err := resolveNode(ctx, *dir, c, arg)
				if err != nil && i > 0 {
					return begun(*dir, err)
				}
				if err != nil {
					return err
				}
				if acted[name] {
					continue // named twice, once as the leader
				}
				acted[name] = true
				done := done
				switch {
				case verb == "start" && c.Running(name):
					done = "runs already:"
				case verb == "pause" && c.Paused(name):
					done = "is paused already:"
				case verb == "resume" && c.Running(name) && !c.Paused(name):
					done = "was not paused:"
				}
				start := time.Now()
				if err := do(ctx, c, name); err != nil {
					return nodeError(*dir, err)
				}
				finished = append(finished, done+" "+name)
				a.did(effect{text: strings.Join(finished, ", ")})
				took := time.Since(start)
				r := map[string]any{"node": name, "action": verb, "seconds": took.Seconds()}
				if err := a.emit(r, func(w *page) { fmt.Fprintf(w, "%s %s\n", done, name) }); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// nodeError explains why a command could not do its thing to a node's process.
func nodeError(dir string, err error) error {
	switch {
	case errors.Is(err, local.ErrNotRunning):
		return fail(exitFailed, clusterAdvice(dir, "status")+" shows what runs", err)
	case errors.Is(err, local.ErrPaused):
		return fail(exitFailed, "let it continue with "+clusterAdvice(dir, "resume", "NAME")+", or end it with "+clusterAdvice(dir, "kill", "NAME"), err)
	}
	return begun(dir, err)
}

// begun is classify for a command that has started or signalled processes: when its time is up that
// goes on, so it is not without effect.
func begun(dir string, err error) error {
	f := classify(err)
	if f.code == exitUnavailable {
		f.code, f.reason, f.next = exitUnknown, exitReason(exitUnknown), "what was begun goes on: "+clusterAdvice(dir, "status")+" shows what runs"
	}
	return f
}

// once returns the names without those that stand further in front already.
func once(names []string) []string {
	var all []string
	for _, name := range names {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// resolveNode turns "leader" into a name.
func resolveNode(ctx context.Context, dir string, c *local.Cluster, arg string) (string, error) {
	if arg == "leader" {
		name, err := c.Leader(ctx)
		if err != nil {
			return "", fail(exitUnavailable, clusterAdvice(dir, "status")+" shows what runs", err)
		}
		return name, nil
	}
	if _, err := c.Node(arg); err != nil {
		return "", fail(exitUsage, "", err)
	}
	return arg, nil
}
