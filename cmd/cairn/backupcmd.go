package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/peers"
	"github.com/cairnledger/cairn/cluster/backup"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/merkle/tlog"
)

func (a *app) backupCommand() *cobra.Command {
	var rate int
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Copy all ledgers of a running cluster (role reader)",
		Long: `Copy the cluster's directory and every ledger that it lists into DIR, up to the
newest sealed checkpoint of each, while the cluster runs. DIR is new, empty, or
a backup of the same cluster: then only what is new is copied. Everything is
verified before anything in DIR is replaced: entries and blocks against the
checkpoint, the checkpoint against the one before and against the policy. So DIR
always holds a whole backup. After an interruption the same command goes on.
One node that answers is enough, also when the cluster has lost its quorum.

DIR has the ledgers as C2SP tiles, which ` + "`cairn audit DIR/ledgers/1`" + ` reads,
and the blocks that a node would need. It holds no private key.

A ledger of which nothing could be taken is named, and keeps what DIR had of it;
the code is 6 then, or 3 if what the nodes sent was refused.`,
		Example: `  cairn backup /backup/cairn
  cairn backup verify /backup/cairn --policy policy`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.backup(cmd.Context(), args[0], rate)
		},
	}
	numberFlag(cmd.Flags(), &rate, "rate", "", 64, 1, 1<<20, "`MiB` of blocks a second at most")
	cmd.AddCommand(a.backupVerifyCommand(), a.backupDumpCommand())
	return cmd
}

// clusterPolicy returns the policy of each ledger of a cluster, from the policy file of one.
func (a *app) clusterPolicy() (func(origin string) (*tlog.Policy, error), error) {
	ledger := a.ledger
	a.ledger = ""
	v, err := a.policy()
	a.ledger = ledger
	if err != nil {
		return nil, err
	}
	return v.For, nil
}

func (a *app) backup(ctx context.Context, dir string, rate int) error {
	trusted, err := a.clusterPolicy()
	if err != nil {
		return err
	}
	p, err := a.profile()
	if err != nil {
		return err
	}
	nodes, done, err := a.backupNodes(&p)
	if err != nil {
		return err
	}
	defer done()
	root, err := a.directoryOrigin(ctx, dir, p.Origin)
	if err != nil {
		return err
	}
	bar := &progress{}
	start := time.Now()
	result, err := backup.Take(ctx, dir, backup.Options{
		Cluster: p.ClusterID, Directory: root, Nodes: nodes, Trusted: trusted, Rate: rate << 20, Now: time.Now(),
		Begin: func(origin string, entries uint64) {
			bar.done()
			bar = a.progress(int64(entries), "backup of "+printable(origin), "entries")
		},
		Progress: func(n int) { bar.add(n) },
	})
	bar.done()
	if err != nil {
		return backupError(dir, err)
	}
	a.did(effect{text: "the backup in " + printable(dir) + " is up to date"})
	v := struct {
		Dir     string            `json:"dir"`
		Ledgers []backupRow       `json:"ledgers"`
		Entries uint64            `json:"entries"`
		Bytes   uint64            `json:"bytes"`
		Failed  map[string]string `json:"failed"`
		Seconds float64           `json:"seconds"`
	}{Dir: dir, Entries: result.Entries, Bytes: result.Bytes, Failed: map[string]string{}, Seconds: time.Since(start).Seconds()}
	var first error
	for _, r := range result.Manifest.Ledgers {
		v.Ledgers = append(v.Ledgers, backupRow{r.Group, r.Origin, r.Size, r.Root.String()})
		if err := result.Failed[r.Origin]; err != nil && (first == nil || errors.Is(err, backup.ErrRefused)) {
			first = err
		}
	}
	for origin, err := range result.Failed {
		v.Failed[origin] = err.Error()
		if first == nil {
			first = err
		}
	}
	err = a.emit(v, func(w *page) {
		fmt.Fprintf(w, "%s, %s new, %s in %s\n", good("backed up ")+plural(len(v.Ledgers), "ledger", "ledgers"), plural(v.Entries, "entry", "entries"),
			bytesString(v.Bytes), latencyString(time.Since(start)))
		for _, r := range v.Ledgers {
			fields(w, "  "+printable(r.Origin), plural(r.Size, "entry", "entries"))
		}
		for origin, why := range v.Failed {
			w.hang(bad("NOT TAKEN")+"  ", printable(origin)+": "+why)
		}
	})
	if err == nil && first != nil {
		err = errors.Wrapf(backupError(dir, first), "%s not taken", plural(len(result.Failed), "ledger was", "ledgers were"))
	}
	return err
}

// backupRow is a ledger of a backup.
type backupRow struct {
	Group  uint64 `json:"group"`
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	Root   string `json:"root"`
}

// directoryOrigin returns the origin of the cluster's directory: what the backup says, or a node, or,
// where no node knows since the cluster has no quorum, the name that the directory of a new cluster gets
// from its first ledger. The policy judges what comes under that name.
func (a *app) directoryOrigin(ctx context.Context, dir, ledger string) (root string, err error) {
	if root, err = backup.DirectoryOf(dir); err != nil || root != "" {
		return root, backupError(dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	err = a.withClientContext(ctx, func(ctx context.Context, c *client.Client) error {
		all, err := c.Ledgers(ctx)
		for _, l := range all {
			if l.Program == (directory.Program{}).Name() {
				root = l.Origin
			}
		}
		if err == nil && root == "" {
			err = errors.New("the nodes name no directory")
		}
		return err
	})
	if err != nil && classify(err).code == exitUnavailable {
		return node.DirectoryOf(ledger), nil
	}
	return root, err
}

// backupNode bounds how long a node may be silent.
type backupNode struct {
	*peers.Client
	name    string
	timeout time.Duration
}

// Sealed implements backup.Node.
func (n backupNode) Sealed(ctx context.Context, origin string, size uint64) (*peers.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	p, err := n.Client.Sealed(ctx, origin, size)
	return p, errors.Wrap(err, n.name)
}

// Blocks implements backup.Node.
func (n backupNode) Blocks(ctx context.Context, origin string, r peers.Request, each func(peers.Batch) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silent := time.AfterFunc(n.timeout, cancel)
	defer silent.Stop()
	return errors.Wrap(n.Client.Blocks(ctx, origin, r, func(b peers.Batch) error {
		silent.Stop()
		defer silent.Reset(n.timeout)
		return each(b)
	}), n.name)
}

// backupNodes prepares the connections to the nodes of the profile, in any order.
func (a *app) backupNodes(p *client.Profile) (nodes []backup.Node, done func(), err error) {
	credentials, err := p.Credentials()
	if err != nil {
		return nil, nil, fail(exitUsage, "check the files that the profile "+a.profilePath+" names", err)
	}
	var clients []*peers.Client
	done = func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}
	for _, i := range rand.Perm(len(p.Endpoints)) {
		e := p.Endpoints[i]
		c, err := peers.New(e.Address, credentials(e.Name))
		if err != nil {
			done()
			return nil, nil, fail(exitUsage, "check the profile's endpoints", err)
		}
		clients = append(clients, c)
		nodes = append(nodes, backupNode{c, e.Name, a.timeout})
	}
	return nodes, done, nil
}

// backupError gives the error of a backup its exit code.
func backupError(dir string, err error) error {
	var f *failure
	switch code := status.Code(errors.UnwrapAll(err)); {
	case errors.As(err, &f):
		return err
	case errors.Is(err, backup.ErrNotBackup):
		return fail(exitUsage, "choose another directory", err)
	case errors.Is(err, backup.ErrInUse):
		return fail(exitFailed, "wait until the other one has ended", err)
	case errors.Is(err, backup.ErrDamaged):
		return fail(exitRefused, "`cairn backup verify` names what is wrong; use another copy of the backup, or make a new one in another directory", err)
	case errors.Is(err, backup.ErrRefused):
		return fail(exitRefused, "the backup is as it was; see that the policy is that of the cluster, and audit the ledger with `cairn audit`", err)
	case code == codes.PermissionDenied, code == codes.Unauthenticated:
		return fail(exitDenied, "use a profile whose certificate has the role reader", err)
	case code == codes.Unavailable, code == codes.DeadlineExceeded, code == codes.Canceled && !errors.Is(err, context.Canceled), code == codes.NotFound, code == codes.FailedPrecondition:
		return fail(exitUnavailable, "look at `cairn status`; the same command goes on where this one has stopped", err)
	}
	return err
}

// openBackup opens a backup to read.
func openBackup(dir string) (*backup.Backup, error) {
	b, err := backup.Open(dir)
	if err != nil {
		return nil, badBackup(err)
	}
	return b, nil
}

// badBackup gives what is wrong with a backup its exit code.
func badBackup(err error) error {
	switch {
	case errors.Is(err, backup.ErrNotBackup):
		return fail(exitNotFound, "give the directory of `cairn backup`", err)
	case errors.Is(err, backup.ErrDamaged):
		return fail(exitRefused, "do not restore from it; use another copy, or continue it from the cluster into a new directory", err)
	}
	return err
}

func (a *app) backupVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Check every file of a backup, offline",
		Long: `Check every file of a backup with a policy alone: that the checkpoint of every
ledger is signed as the policy demands, or a policy that it leads to; that
blocks, bundles and tiles have the entries of that checkpoint; and that all
ledgers are there which the directory lists. What is wrong is named by ledger,
entry and file, for every ledger the first; the code is 3 then. Nothing is
written.`,
		Example: `  cairn backup verify /backup/cairn --policy policy`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			trusted, err := a.clusterPolicy()
			if err != nil {
				return err
			}
			b, err := openBackup(args[0])
			if err != nil {
				return err
			}
			entries, err := a.verifyBackup(cmd.Context(), b, trusted)
			if err != nil {
				return err
			}
			return a.emit(struct {
				OK      bool   `json:"ok"`
				Ledgers int    `json:"ledgers"`
				Entries uint64 `json:"entries"`
				Taken   string `json:"taken"`
			}{true, len(b.Ledgers), entries, b.Manifest.Taken.Format(time.RFC3339)}, func(w *page) {
				fmt.Fprintf(w, "%s with %s: %s, %s, taken %s\n", good("nothing wrong"), args[0], plural(len(b.Ledgers), "ledger", "ledgers"),
					plural(entries, "entry", "entries"), b.Manifest.Taken.Format(time.RFC3339))
			})
		},
	}
}

// verifyBackup verifies a whole backup and counts its entries.
func (a *app) verifyBackup(ctx context.Context, b *backup.Backup, trusted func(string) (*tlog.Policy, error)) (entries uint64, err error) {
	for _, l := range b.Ledgers {
		entries += l.Size
	}
	bar := a.progress(int64(entries), "verify", "entries")
	err = b.Verify(ctx, trusted, bar.add)
	bar.done()
	if err != nil {
		return 0, errors.Wrap(badBackup(err), b.Dir)
	}
	return entries, nil
}

func (a *app) backupDumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dump DIR",
		Short: "Print what a backup holds, as its files say",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, err := openBackup(args[0])
			if err != nil {
				return err
			}
			for _, l := range b.Ledgers {
				files, err := l.Files()
				if err != nil {
					return errors.Wrap(err, "list the files of blocks")
				}
				v := struct {
					backupRow
					Blocks []uint64 `json:"blocks"`
				}{backupRow{l.Group, l.Origin, l.Size, l.Root.String()}, slices.Clip(files)}
				err = a.emit(v, func(w *page) {
					fields(w, printable(l.Origin), plural(l.Size, "entry", "entries"), "  folder", filepath.Join("ledgers", fmt.Sprint(l.Group)), "  root", v.Root,
						"  blocks", plural(len(files), "file", "files"))
				})
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}
