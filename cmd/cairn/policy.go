package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
)

type keyInfo struct {
	Name string `json:"name"`
	Type string `json:"type"`
	ID   string `json:"id"`
	VKey string `json:"vkey"`
}

func keyInfos(keys []*tlog.VerifierKey) []keyInfo {
	infos := []keyInfo{}
	for _, k := range keys {
		infos = append(infos, keyInfo{Name: k.Name(), Type: k.Type().String(), ID: fmt.Sprintf("%08x", k.KeyID()), VKey: k.String()})
	}
	return infos
}

func (a *app) policyCommand() *cobra.Command {
	policy := &cobra.Command{
		Use:   "policy",
		Short: "Look at a verifier's policy, or make that of a ledger",
		RunE:  needsSubcommand,
	}
	policy.AddCommand(&cobra.Command{
		Use:   "show [FILE]",
		Short: "Print which keys a policy trusts and how many of them must sign",
		Long: `Print which keys a policy trusts and how many of them must sign. Compare the key
ids, or the SHA-256 of the whole policy, with what the operators of the nodes
tell you, over another channel.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				a.policyPath, a.policyAsIs = args[0], !cmd.Flags().Changed("ledger")
			}
			p, err := a.policy()
			if err != nil {
				return err
			}
			quorum := ""
			for _, l := range strings.Split(p.String(), "\n") {
				if strings.HasPrefix(l, "group ") || strings.HasPrefix(l, "quorum ") {
					quorum += l + "\n"
				}
			}
			r := struct {
				Logs      []keyInfo `json:"logs"`
				Cosigners []keyInfo `json:"cosigners"`
				Quorum    string    `json:"quorum"`
				Text      string    `json:"text"`
				SHA256    string    `json:"sha256"` // of Text
				derivation
			}{keyInfos(p.Logs()), keyInfos(p.Cosigners()), strings.TrimSpace(quorum), p.String(), policyFingerprint(p.Policy), p.derivation()}
			return a.emit(r, func(w *page) {
				t := newTable("key", "type", "id", "name")
				for _, k := range r.Logs {
					t.row("log", k.Type, k.ID, k.Name)
				}
				for _, k := range r.Cosigners {
					t.row("cosigner", k.Type, k.ID, k.Name)
				}
				t.write(w)
				fmt.Fprintf(w, "\n%s\n\n", r.Quorum)
				fields(w, append([]string{"sha256", r.SHA256}, r.derivation.pairs(": `cairn policy export` does")...)...)
			})
		},
	})
	policy.AddCommand(a.policyExportCommand())
	return policy
}

func (a *app) policyExportCommand() *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the policy of a ledger, made from its genesis",
		Long: `Write a tlog-policy file for verifiers of one ledger: of the profile, or of that
of --ledger. The keys and the quorum are those of the ledger's genesis, entry 0.
Its receipt is verified first, with the policy that you have (--policy): the log
key is one key of the cluster, and the cosigners are the same for all ledgers.`,
		Example: "  cairn policy export --ledger example.org/invoices -o invoices.policy",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var file *target
			if out != "" {
				var err error
				if file, err = a.openTarget("--out", out, force); err != nil {
					return err
				}
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				r, err := c.Receipt(ctx, 0)
				if err != nil {
					return errors.Wrap(err, "get the receipt of the genesis")
				}
				genesis, err := ledger.GenesisOf(r.Extra)
				if err != nil {
					return failf(exitRefused, "the ledger was not created by `cairn ledger create`: do not trust what its nodes say of it", "%v", err)
				}
				p, err := genesis.Policy()
				if err != nil {
					return fail(exitRefused, "", errors.Wrap(err, "make a policy of the genesis"))
				}
				result := struct {
					Origin string `json:"origin"`
					File   string `json:"file,omitempty"`
					Text   string `json:"text,omitempty"`
					SHA256 string `json:"sha256"` // of the policy
				}{Origin: genesis.Origin, SHA256: policyFingerprint(p)}
				if !file.file() {
					if !a.json {
						return a.emitBytes(p.Marshal())
					}
					result.Text = p.String()
					return a.emit(result, nil)
				}
				if err := file.write(p.Marshal()); err != nil {
					return err
				}
				a.did(effect{text: "the policy is in " + printable(out)})
				result.File = out
				return a.emit(result, func(w *page) {
					fmt.Fprintf(w, "%s: the policy of %s\n", printable(out), printable(genesis.Origin))
					fields(w, "sha256", result.SHA256)
				})
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write to this new `file` instead of standard output, which is -")
	cmd.Flags().BoolVar(&force, "force", false, "with --out: replace the file if it exists")
	return cmd
}
