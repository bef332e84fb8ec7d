package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

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
		Short: "Look at a verifier's policy",
		RunE:  needsSubcommand,
	}
	policy.AddCommand(&cobra.Command{
		Use:   "show [FILE]",
		Short: "Print which keys a policy trusts and how many of them must sign",
		Long: `Print which keys a policy trusts and how many of them must sign. Compare the key
ids, or the SHA-256 of the whole policy, with what the operators of the nodes
tell you, over another channel.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				a.policyPath = args[0]
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
			}{keyInfos(p.Logs()), keyInfos(p.Cosigners()), strings.TrimSpace(quorum), p.String(), policyFingerprint(p)}
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
				fields(w, "sha256", r.SHA256)
			})
		},
	})
	return policy
}
