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
ids with what the operators of the nodes tell you, over another channel.`,
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
			}{keyInfos(p.Logs()), keyInfos(p.Cosigners()), strings.TrimSpace(quorum), p.String()}
			return a.emit(r, func(w *page) {
				t := newTable("key", "name", "type", "id")
				for _, k := range r.Logs {
					t.row("log", k.Name, k.Type, k.ID)
				}
				for _, k := range r.Cosigners {
					t.row("cosigner", k.Name, k.Type, k.ID)
				}
				t.write(w)
				fmt.Fprintln(w)
				fmt.Fprintln(w, r.Quorum)
			})
		},
	})
	return policy
}
