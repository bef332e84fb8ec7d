package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// nextKeyFile is the file of the cosigner key that is to take the place of a node's present one.
const nextKeyFile = "cosigner-next.key"

// makeNextCosigner makes the second cosigner key of a node, beside its other keys.
func (a *app) makeNextCosigner(c *node.Config, dir string) error {
	row, err := tlog.ParseVerifierKey(c.Self().Cosigner)
	if err != nil {
		return fail(exitUsage, "", errors.Wrap(err, "members: this node's cosigner"))
	}
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	if err != nil {
		return err
	}
	vkey, err := tlog.NewMLDSA44VerifierKey(row.Name(), key.Public())
	if err != nil {
		return err
	}
	files, err := openFileSet(dir, c.Name, nextKeyFile)
	if err != nil {
		return taken(err)
	}
	if err := pqcrypto.WriteKeyFile(files.path(nextKeyFile), key); err != nil {
		return errors.CombineErrors(err, files.clear())
	}
	if err := files.publish(); err != nil {
		return taken(err)
	}
	path := filepath.Join(dir, nextKeyFile)
	a.did(effect{text: "the key is made: " + printable(path)})
	a.note("Set keys.cosigner_next of node.yaml to the file, start the node again, then `cairn policy rotate %s`.", c.Name)
	return a.emit(struct {
		Node string `json:"node"`
		File string `json:"file"`
		Key  string `json:"key"`
	}{c.Name, path, vkey.String()}, func(w *page) {
		fmt.Fprintf(w, "next cosigner key of %s\n", c.Name)
		fields(w, "  file", path, "  key", vkey.String())
	})
}

// rotated is how far the change of a cosigner key is on one ledger.
type rotated struct {
	Ledger    string  `json:"ledger"`
	Epoch     *uint32 `json:"epoch,omitempty"` // of the policy with the key
	TakenOver bool    `json:"taken_over"`
	Error     string  `json:"error,omitempty"`
}

func (a *app) policyRotateCommand() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "rotate NODE",
		Short: "Replace the cosigner key of a node on all ledgers (role admin)",
		Long: `Replace the cosigner key of a node on every ledger of the cluster. The node runs
with its second key then (cairn node keys --rotate, keys.cosigner_next), and
tells it; --key VKEY says which one it must be.

On each ledger an entry changes the policy, and the policy takes over when the
keys before and the new one have sealed it. Appends and receipts go on. The
command waits for that, up to --timeout, and may be interrupted and repeated:
what is done stays. It ends with 0 when the new key counts on all ledgers, and
the old one nowhere. It uses the profile of CAIRN_ADMIN_PROFILE unless --profile
names another one.`,
		Example: "  cairn policy rotate n2",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAdmin(cmd, func(ctx context.Context, c *client.Client) error {
				next, err := a.nextCosigner(ctx, c, args[0], key)
				if err != nil {
					return err
				}
				return a.rotate(ctx, c, args[0], next)
			})
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the `vkey` that `cairn node keys --rotate` printed; the node must have it")
	return cmd
}

// nextCosigner asks a node for its second cosigner key.
func (a *app) nextCosigner(ctx context.Context, c *client.Client, name, want string) (string, error) {
	status, err := c.Status(ctx, name)
	if err != nil {
		return "", errors.Wrapf(err, "ask %s for its keys", printable(name))
	}
	const restart = "`cairn node keys --rotate` makes a second key on the node's machine; name it in keys.cosigner_next and start the node again"
	keys := status.CosignerKeys
	if want != "" {
		for _, k := range keys {
			if k.Key == want {
				return want, nil
			}
		}
		return "", failf(exitRefused, restart, "%s does not have the key of --key", printable(name))
	}
	if len(keys) < 2 {
		return "", failf(exitConflict, restart, "%s runs with one cosigner key: there is nothing to rotate to", printable(name))
	}
	return keys[1].Key, nil
}

// rotate changes the policy of every ledger, one after the other, the directory first: a ledger that
// is created meanwhile then begins with the new key.
func (a *app) rotate(ctx context.Context, c *client.Client, name, key string) error {
	p, err := a.profile()
	if err != nil {
		return err
	}
	done := map[string]bool{}
	var failed []string
	for round := 0; round < 2; round++ { // again, for those that were created meanwhile
		all, err := c.Ledgers(ctx)
		if err != nil {
			return errors.Wrap(err, "list the ledgers")
		}
		var origins []string
		for _, l := range all {
			if origin := l.GetOrigin(); l.GetProgram() == "directory" {
				origins = append([]string{origin}, origins...)
			} else {
				origins = append(origins, origin)
			}
		}
		for _, origin := range origins {
			if done[origin] {
				continue
			}
			done[origin] = true
			r, err := a.rotateOne(ctx, p.ForLedger(origin), name, key)
			if err != nil {
				return errors.Wrapf(err, "rotate the key of %s", printable(name))
			}
			if !r.TakenOver {
				failed = append(failed, origin)
			}
			if err := a.emit(r, r.text); err != nil {
				return err
			}
		}
	}
	if len(failed) > 0 {
		slices.Sort(failed)
		return failf(exitUnavailable, "repeat the command: what is done stays; `cairn status` shows what a ledger waits for",
			"the new key of %s does not count alone yet on %d of %d ledgers, such as %s", printable(name), len(failed), len(done), printable(failed[0]))
	}
	return nil
}

// rotatePoll is how often a ledger is asked whether the new policy has taken over.
const rotatePoll = 100 * time.Millisecond

// rotateOne changes the policy of one ledger and waits until it has taken over. The error is one that
// no other ledger would spare the caller.
func (a *app) rotateOne(ctx context.Context, p client.Profile, name, key string) (*rotated, error) {
	r := &rotated{Ledger: p.Origin}
	c, err := client.Dial(ctx, p, client.WithTimeout(a.timeout))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for {
		got, err := c.RotateCosigner(ctx, name, key)
		var called *client.Error
		switch {
		case err == nil:
			a.did(effect{text: "the policy of " + printable(p.Origin) + " names the new key of " + printable(name)})
			if r.Epoch, r.TakenOver, r.Error = &got.Epoch, got.TakenOver, ""; got.TakenOver {
				return r, nil
			}
		case errors.As(err, &called) && called.Reason == "POLICY" && ctx.Err() == nil:
			r.Error = err.Error() // another hand-over may end
		case errors.As(err, &called) && called.Code == codes.PermissionDenied:
			return nil, err
		default:
			if r.Error == "" {
				r.Error = err.Error()
			}
			return r, nil
		}
		select {
		case <-ctx.Done():
			return r, nil
		case <-time.After(rotatePoll):
		}
	}
}

func (r *rotated) text(w *page) {
	switch {
	case r.TakenOver:
		fmt.Fprintf(w, "%s %s: the policy of epoch %d has taken over\n", good("rotated"), printable(r.Ledger), *r.Epoch)
	case r.Epoch != nil:
		fmt.Fprintf(w, "%s %s: the policy of epoch %d has not taken over yet\n", doubtful("waits"), printable(r.Ledger), *r.Epoch)
	default:
		w.hang("", bad("failed")+" "+printable(r.Ledger)+": "+r.Error)
	}
}
