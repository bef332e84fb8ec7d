package main

import (
	"context"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client/settle"
)

func (a *app) settleProofCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "proof",
		Short: "Prove an account, a statement or a transfer, to verify offline",
		RunE:  needsSubcommand,
	}
	var at uint64
	account := a.proofCommand("account ID", "Prove what an account has, or that there is none", `Write a file that proves what an account has as of a size of the ledger, and
that nothing is missing: no entry below that size that touches the account is
left out. It proves the absence of an account, too. "cairn verify FILE" verifies
it with the policy alone.

Sizes are provable for a day, and the sizes at the ends of days for ever.`,
		"  cairn settle proof account alice -o alice.proof && cairn verify alice.proof",
		func(ctx context.Context, s *settle.Client, id string) ([]byte, error) {
			raw, _, err := s.ProveAccount(ctx, id, at)
			return raw, err
		})
	numberFlag(account.Flags(), &at, "at", "", 0, 0, maxIndex, "as of the newest state below this `size` of the ledger (0: the newest)")
	transfer := a.proofCommand("transfer ID", "Prove what became of a transfer or a set", `Write a file that proves what was asked for under an id and what came of it, a
rejection included, and of what was pending how it was resolved. "cairn verify
FILE" verifies it with the policy alone.`,
		"  cairn settle proof transfer t-1 -o t-1.proof && cairn verify t-1.proof",
		func(ctx context.Context, s *settle.Client, id string) ([]byte, error) {
			return s.ProveTransfer(ctx, id)
		})
	var from, to uint64
	statement := a.proofCommand("statement ACCOUNT", "Prove a statement of an account: all entries, and none else", `Write a file that proves the entries which touched an account between two sizes
of the ledger, and what the account had before, after each of them and at the
end. No entry can be left out, invented or moved. "cairn verify FILE" verifies
it with the policy alone.

Without --from the statement begins with the entry that opened the account.
Sizes are provable for a day, and the sizes at the ends of days for ever.
An entry that the caller may not read is not shown: its index and what the
account had after it are.`,
		"  cairn settle proof statement alice --from 1200 -o alice.proof",
		func(ctx context.Context, s *settle.Client, id string) ([]byte, error) {
			return s.ProveStatement(ctx, id, from, to)
		})
	numberFlag(statement.Flags(), &from, "from", "", 0, 0, maxIndex, "from the newest state below this `size` of the ledger (0: the beginning)")
	numberFlag(statement.Flags(), &to, "to", "", 0, 0, maxIndex, "to the newest state below this `size` of the ledger (0: the newest)")
	instruction := a.proofCommand("instruction ID", "Prove an instruction, its match, and what came of them", `Write a file that proves what an instruction says, what the counterparty
instructed if the two match, and the last status of both. An entry that the
caller may not read is not in it. "cairn verify FILE" verifies it with the
policy alone.`,
		"  cairn settle proof instruction dvp-1 -o dvp-1.proof",
		func(ctx context.Context, s *settle.Client, id string) ([]byte, error) {
			return s.ProveInstruction(ctx, id)
		})
	cmd.AddCommand(account, statement, transfer, instruction)
	return cmd
}

// proofCommand is a command that gets a proof, verifies it, and writes it.
func (a *app) proofCommand(use, short, long, example string, get func(ctx context.Context, s *settle.Client, id string) ([]byte, error)) *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy, err := a.policy()
			if err != nil {
				return err
			}
			var file *target
			if out != "" {
				if file, err = a.openTarget("--out", out, force); err != nil {
					return err
				}
			}
			return a.withSettle(cmd, func(ctx context.Context, s *settle.Client) error {
				raw, err := get(ctx, s, args[0])
				if err != nil {
					return errors.Wrap(err, "get the proof")
				}
				v, err := verifyProof(policy, out, raw)
				if err != nil {
					return errors.Wrap(err, "the node's proof")
				}
				v.derivation = policy.derivation()
				if !file.file() && !a.json {
					return a.emitBytes(raw)
				}
				if !file.file() {
					v.Proof = string(raw)
					return a.emit(v, nil)
				}
				if err := file.write(raw); err != nil {
					return err
				}
				a.did(effect{text: "the proof is in " + printable(out)})
				return a.emit(v, v.text)
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write to this new `file` instead of standard output, which is -")
	cmd.Flags().BoolVar(&force, "force", false, "with --out: replace the file if it exists")
	return cmd
}
