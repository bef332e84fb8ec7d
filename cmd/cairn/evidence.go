package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/merkle/tlog"
)

// sideInfo is one of the two checkpoints of a contradiction.
type sideInfo struct {
	Size       uint64   `json:"size"`
	Root       string   `json:"root"`
	CosignedBy []string `json:"cosigned_by"`
	Sealed     bool     `json:"sealed"`
}

// evidenceResult is what a contradiction proves.
type evidenceResult struct {
	File    string   `json:"file"`
	Ledger  string   `json:"ledger"`
	Smaller sideInfo `json:"smaller"`
	Larger  sideInfo `json:"larger"`
	// OtherRoot is the root that the larger checkpoint's tree has at the smaller one's size.
	OtherRoot string   `json:"other_root"`
	Both      []string `json:"cosigned_both"`
}

func (a *app) evidenceCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "evidence FILE",
		Short: "Verify the evidence that two histories were cosigned",
		Long: `Verify a file contradiction-*.txt that a node wrote into its data directory: two
signed checkpoints of one ledger that cannot both be true. It needs the policy
and no network, and names the keys that signed both: they are in the wrong
hands, or their replica lost its data. Exits with 0 when the contradiction is
proved, with 3 when it is not.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy, err := a.policy()
			if err != nil {
				return err
			}
			r, err := a.readEvidence(cmd.Context(), policy, args[0])
			if err != nil {
				return err
			}
			return a.emit(r, func(w *page) { printEvidence(w, r) })
		},
	}
}

func (a *app) readEvidence(ctx context.Context, policy *verifier, file string) (*evidenceResult, error) {
	raw, err := a.readInput(ctx, file, tlog.MaxContradictionSize)
	if err != nil {
		return nil, err
	}
	c, err := tlog.ParseContradiction(raw)
	if err != nil {
		return nil, fail(exitRefused, "it is no evidence file of a node, or is damaged", errors.Wrap(err, file))
	}
	v, err := policy.contradiction(c)
	if err != nil {
		return nil, fail(exitRefused, "nothing is proved by this file under this policy", errors.Wrap(err, file))
	}
	side := func(cp tlog.Checkpoint, by []string, sealed bool) sideInfo {
		return sideInfo{Size: cp.Size, Root: cp.Root.String(), CosignedBy: by, Sealed: sealed}
	}
	return &evidenceResult{
		File: file, Ledger: v.Smaller.Origin, OtherRoot: c.Root.String(), Both: append([]string{}, v.Both...),
		Smaller: side(v.Smaller, v.SmallerBy, v.SmallerSealed), Larger: side(v.Larger, v.LargerBy, v.LargerSealed),
	}, nil
}

// contradiction verifies a contradiction under the first policy, of several the newest, that proves
// it. Keys that signed two histories are named even if they have been replaced since.
func (v *verifier) contradiction(c *tlog.Contradiction) (proved *tlog.VerifiedContradiction, err error) {
	policies := []*tlog.Policy{v.Policy}
	if v.chain != nil {
		for i := range v.chain.Steps {
			policies = append(policies, v.chain.Steps[i].Policy)
		}
	}
	for _, p := range slices.Backward(policies) {
		if proved, err = p.VerifyContradiction(c); err == nil {
			return proved, nil
		}
	}
	return nil, err
}

func printEvidence(w *page, r *evidenceResult) {
	both := "no key: each signed one history only"
	if len(r.Both) > 0 {
		both = strings.Join(r.Both, ", ")
	}
	fmt.Fprintf(w, "proved: two histories of %s were cosigned\n", r.Ledger)
	fields(w, "  both by", both)
	for _, s := range []sideInfo{r.Smaller, r.Larger} {
		sealed := "not sealed"
		if s.Sealed {
			sealed = "sealed"
		}
		fields(w, "  size", fmt.Sprintf("%d, %s", s.Size, sealed), "    root", s.Root, "    by", strings.Join(s.CosignedBy, ", "))
	}
	fields(w, "  root of the second at size "+fmt.Sprint(r.Smaller.Size), r.OtherRoot)
}
