package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger/policychain"
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
tell you, over another channel.

With --chain FILE the chain of policies is verified from the policy that you
trust, and the newest one is printed, and for which sizes each of them is.`,
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
			epochs := []*epochInfo{}
			if p.chain != nil {
				for i := range p.chain.Steps {
					epochs = append(epochs, newEpochInfo(&p.chain.Steps[i]))
				}
				p.Policy = p.chain.Newest().Policy
			}
			r := struct {
				Logs      []keyInfo `json:"logs"`
				Cosigners []keyInfo `json:"cosigners"`
				Quorum    string    `json:"quorum"`
				Text      string    `json:"text"`
				SHA256    string    `json:"sha256"` // of Text
				// Epochs are the policies of --chain, from the trusted one on.
				Epochs []*epochInfo `json:"epochs,omitempty"`
				derivation
			}{keyInfos(p.Logs()), keyInfos(p.Cosigners()), strings.TrimSpace(quorum), p.String(), policyFingerprint(p.Policy), epochs, p.derivation()}
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
				for _, e := range r.Epochs {
					fields(w, fmt.Sprintf("epoch %d", e.Epoch), fmt.Sprintf("sizes from %d, sealed by %d of %d", e.From, e.Quorum, e.Voters))
				}
				fields(w, append([]string{"sha256", r.SHA256}, r.derivation.pairs(": `cairn policy export` does")...)...)
			})
		},
	})
	policy.AddCommand(a.policyExportCommand(), a.policyChainCommand(), a.policyRotateCommand())
	return policy
}

// epochInfo is one policy of a chain.
type epochInfo struct {
	Epoch  uint32 `json:"epoch"`
	From   uint64 `json:"from"` // the smallest size that it is for
	Until  uint64 `json:"handed_over_at,omitempty"`
	Quorum uint32 `json:"quorum"`
	Voters int    `json:"voters"`
}

func newEpochInfo(s *policychain.Step) *epochInfo {
	return &epochInfo{s.Epoch(), s.From, s.Until, s.Says.Quorum, len(s.Says.Voters())}
}

func (a *app) policyExportCommand() *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the policy of a ledger that is in force now",
		Long: `Write a tlog-policy file for verifiers of one ledger: of the profile, or of that
of --ledger. The keys and the quorum are those of the ledger's genesis, entry 0,
or of the newest change that has taken over: its epoch says how many changes
there were. What leads there is verified first, from the policy that you have
(--policy). Receipts from before the newest change need the chain of policies:
cairn policy chain.`,
		Example: "  cairn policy export --ledger example.org/invoices -o invoices.policy",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.writePolicies(cmd, out, force, func(p *client.Policies, _ []byte) (*policyFile, error) {
				newest := p.Newest()
				v, err := newest.Says.Verifier(p.Origin)
				if err != nil {
					return nil, fail(exitRefused, "", errors.Wrap(err, "make a policy of what the ledger says"))
				}
				return &policyFile{Origin: p.Origin, Epoch: newest.Epoch(), SHA256: policyFingerprint(v), what: "the policy of epoch " + fmt.Sprint(newest.Epoch()), raw: v.Marshal()}, nil
			})
		},
	}
	policyOutput(cmd, &out, &force)
	return cmd
}

func (a *app) policyChainCommand() *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "chain",
		Short: "Write the proof that leads from policy to policy",
		Long: `Write the chain of policies of one ledger: its genesis and every change of keys
or members that has taken over, each with its proof and a checkpoint that the
policy before and the new one have signed. Whoever trusts any policy of it
verifies with it (--chain) receipts of all later sizes, offline and for ever.

The chain is verified first, from the policy that you have (--policy). It names
keys and members, and holds no secret and no other entry.`,
		Example: `  cairn policy chain -o chain
  cairn verify --policy policy --chain chain invoice-17.tlog-proof`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.writePolicies(cmd, out, force, func(p *client.Policies, chain []byte) (*policyFile, error) {
				epoch := p.Newest().Epoch()
				sum := sha256.Sum256(chain)
				return &policyFile{Origin: p.Origin, Epoch: epoch, SHA256: hex.EncodeToString(sum[:]), what: "the chain of policies, up to epoch " + fmt.Sprint(epoch), raw: chain}, nil
			})
		},
	}
	policyOutput(cmd, &out, &force)
	return cmd
}

func policyOutput(cmd *cobra.Command, out *string, force *bool) {
	cmd.Flags().StringVarP(out, "out", "o", "", "write to this new `file` instead of standard output, which is -")
	cmd.Flags().BoolVar(force, "force", false, "with --out: replace the file if it exists")
}

// policyFile is what policy export and policy chain write.
type policyFile struct {
	Origin string `json:"origin"`
	Epoch  uint32 `json:"epoch"` // of the newest policy
	File   string `json:"file,omitempty"`
	Text   string `json:"text,omitempty"`
	SHA256 string `json:"sha256"` // of the policy, or of the chain
	what   string
	raw    []byte
}

// writePolicies gets the policies of the ledger and writes what is made of them.
func (a *app) writePolicies(cmd *cobra.Command, out string, force bool, of func(*client.Policies, []byte) (*policyFile, error)) error {
	var file *target
	if out != "" {
		var err error
		if file, err = a.openTarget("--out", out, force); err != nil {
			return err
		}
	}
	return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
		policies, chain, err := c.Policies(ctx)
		if err != nil {
			return errors.Wrap(err, "get the chain of policies")
		}
		r, err := of(policies, chain)
		if err != nil {
			return err
		}
		if !file.file() {
			if !a.json {
				return a.emitBytes(r.raw)
			}
			r.Text = string(r.raw)
			return a.emit(r, nil)
		}
		if err := file.write(r.raw); err != nil {
			return err
		}
		a.did(effect{text: r.what + " is in " + printable(out)})
		r.File = out
		return a.emit(r, func(w *page) {
			fmt.Fprintf(w, "%s: %s, of %s\n", printable(out), r.what, printable(r.Origin))
			fields(w, "sha256", r.SHA256)
		})
	})
}
