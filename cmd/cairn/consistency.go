package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// point is a size of the ledger and, if a file vouches for it, its root.
type point struct {
	size uint64
	root *merkle.Hash
	from string
}

// parsePoint takes a size, or a file with a receipt or checkpoint that the
// policy accepts.
func (a *app) parsePoint(what, arg string) (point, error) {
	if n, err := parseNumber(arg, 0, maxIndex); err == nil {
		return point{size: n, from: "the ledger"}, nil
	}
	raw, err := readFile(arg, tlog.MaxReceiptSize)
	if errors.Is(err, os.ErrNotExist) {
		return point{}, usagef("%s: %q is neither a size nor a file", what, arg)
	}
	if err != nil {
		return point{}, errors.Wrapf(err, "read %s", what)
	}
	policy, err := a.policy()
	if err != nil {
		return point{}, err
	}
	var cp *tlog.VerifiedCheckpoint
	if r, perr := tlog.ParseReceipt(raw); perr == nil {
		cp, err = policy.VerifyReceipt(r)
	} else {
		cp, err = policy.Verify(raw)
	}
	if err != nil {
		return point{}, refused(errors.Wrapf(err, "refused %s", arg))
	}
	return point{size: cp.Size, root: &cp.Root, from: arg}, nil
}

func (a *app) consistencyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "consistency OLD [NEW]",
		Short: "Prove that the ledger only grew between two sizes or receipts",
		Long: `Prove that the ledger of OLD is a prefix of the ledger of NEW. Each of them is a
size, or a file with a checkpoint or a receipt, whose root is then the one to be
proved. Without NEW the newest checkpoint is taken.

All roots are proved under the newest checkpoint, which must meet the policy;
the node that serves the proofs is not trusted.`,
		Example: "  cairn consistency last-year.tlog-proof today.tlog-proof",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := a.parsePoint("OLD", args[0])
			if err != nil {
				return err
			}
			to := point{from: "the newest checkpoint"}
			if len(args) == 2 {
				if to, err = a.parsePoint("NEW", args[1]); err != nil {
					return err
				}
				if from.size > to.size {
					return usagef("OLD (size %d) is larger than NEW (size %d)", from.size, to.size)
				}
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				cp, err := c.Checkpoint(ctx)
				if err != nil {
					return errors.Wrap(err, "get newest checkpoint")
				}
				if last := c.LastCheckpoint(); last != nil && last.Size > cp.Size {
					cp = last // this node is behind another that was asked before
				}
				if len(args) == 1 {
					to.size, to.root = cp.Size, &cp.Root
				}
				if top := max(from.size, to.size); top > cp.Size {
					return failf(exitNotFound, "nothing is proved beyond the newest checkpoint; wait for the next, or use a smaller size",
						"size %d is beyond the newest checkpoint (size %d)", top, cp.Size)
				}
				return a.proveGrowth(ctx, c, from, to, cp)
			})
		},
	}
}

// proveGrowth proves NEW under the checkpoint, then OLD under NEW.
func (a *app) proveGrowth(ctx context.Context, c *client.Client, from, to point, cp *client.Checkpoint) error {
	upper, err := c.ConsistencyProof(ctx, to.size, cp.Size)
	if err != nil {
		return errors.Wrap(err, "get consistency proof")
	}
	if upper.NewRoot != cp.Root {
		return failf(exitRefused, "", "the proof ends in root %s, the checkpoint for size %d has %s", upper.NewRoot, cp.Size, cp.Root)
	}
	if to.root != nil && *to.root != upper.OldRoot {
		return failf(exitRefused, "keep both: they prove that history was rewritten", "%s has the root %s for size %d, the ledger proves %s", to.from, to.root, to.size, upper.OldRoot)
	}
	lower, err := c.ConsistencyProof(ctx, from.size, to.size)
	if err != nil {
		return errors.Wrap(err, "get consistency proof")
	}
	if lower.NewRoot != upper.OldRoot {
		return failf(exitRefused, "", "the node gives two roots for size %d: %s and %s", to.size, lower.NewRoot, upper.OldRoot)
	}
	if from.root != nil && *from.root != lower.OldRoot {
		return failf(exitRefused, "keep both: they prove that history was rewritten", "%s has the root %s for size %d, the ledger proves %s", from.from, from.root, from.size, lower.OldRoot)
	}
	proof := make([]string, len(lower.Hashes))
	for i, h := range lower.Hashes {
		proof[i] = h.String()
	}
	r := struct {
		Consistent bool     `json:"consistent"`
		OldSize    uint64   `json:"old_size"`
		OldRoot    string   `json:"old_root"`
		NewSize    uint64   `json:"new_size"`
		NewRoot    string   `json:"new_root"`
		Proof      []string `json:"proof"`
		Checkpoint uint64   `json:"checkpoint_size"`
	}{true, from.size, lower.OldRoot.String(), to.size, lower.NewRoot.String(), proof, cp.Size}
	return a.emit(r, func(w *page) {
		fmt.Fprintf(w, good("consistent")+": the ledger of size %d is a prefix of that of size %d\n", r.OldSize, r.NewSize)
		fields(w, "  old root", r.OldRoot, "  new root", r.NewRoot,
			"  proved by", plural(len(proof), "hash", "hashes")+", under the checkpoint of size "+strconv.FormatUint(cp.Size, 10))
	})
}
