package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger"
)

func (a *app) ledgerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Create the cluster's ledgers, and list them",
		Long: `A cluster keeps many ledgers. Each has a name, its origin, and begins with a
genesis that says who keeps it and whose keys seal it. The cluster's directory
lists them; it is a ledger, too. --ledger ORIGIN, or CAIRN_LEDGER, says which
ledger the other commands mean.`,
		RunE: needsSubcommand,
	}
	cmd.AddCommand(a.ledgerCreateCommand(), a.ledgerListCommand(), a.ledgerShowCommand())
	return cmd
}

// genesisInfo is what a ledger's entry 0 says.
type genesisInfo struct {
	Origin         string            `json:"origin"`
	Program        string            `json:"program"`
	ProgramVersion uint32            `json:"program_version"`
	Parameters     map[string]string `json:"parameters"`
	SealQuorum     uint32            `json:"seal_quorum"`
	FeatureLevel   uint32            `json:"feature_level"`
	Members        []ledgerMember    `json:"members"`
	LogKeys        []string          `json:"log_keys"`
}

type ledgerMember struct {
	ID       uint64 `json:"id"`
	Name     string `json:"name"`
	Cosigner string `json:"cosigner"`
}

func newGenesisInfo(g *ledger.Genesis) *genesisInfo {
	i := &genesisInfo{
		Origin: g.Origin, Program: g.Program, ProgramVersion: g.ProgramVersion, Parameters: map[string]string{},
		SealQuorum: g.SealQuorum, FeatureLevel: g.FeatureLevel, LogKeys: g.LogKeys,
	}
	for _, p := range g.Parameters {
		i.Parameters[p.Name] = p.Value
	}
	for _, m := range g.Members {
		i.Members = append(i.Members, ledgerMember{m.ID, m.Name, m.Cosigner})
	}
	return i
}

// pairs are the lines of a text.
func (i *genesisInfo) pairs() []string {
	pairs := []string{"  program", fmt.Sprintf("%s, version %d", printable(i.Program), i.ProgramVersion)}
	for _, name := range slices.Sorted(maps.Keys(i.Parameters)) {
		pairs = append(pairs, "  parameter", printable(name)+" = "+printable(i.Parameters[name]))
	}
	pairs = append(pairs, "  sealed by", fmt.Sprintf("%d of %d members", i.SealQuorum, len(i.Members)))
	for _, m := range i.Members {
		name, _, _ := strings.Cut(m.Cosigner, "+")
		pairs = append(pairs, "  member", fmt.Sprintf("%s (%d), signs as %s", printable(m.Name), m.ID, printable(name)))
	}
	return append(pairs, "  feature level", fmt.Sprint(i.FeatureLevel))
}

// ledgerInfo is a ledger as the directory knows it.
type ledgerInfo struct {
	*genesisInfo
	Group   uint64 `json:"group"`
	Creator string `json:"creator"`
	Created string `json:"created,omitempty"` // RFC 3339; absent for the directory
}

func newLedgerInfo(l *client.LedgerInfo) ledgerInfo {
	g := ledger.Genesis{
		FeatureLevel: l.FeatureLevel, Origin: l.Origin, Program: l.Program, ProgramVersion: l.ProgramVersion,
		LogKeys: l.LogKeys, SealQuorum: l.SealQuorum,
	}
	for _, p := range l.Parameters {
		g.Parameters = append(g.Parameters, ledger.Parameter{Name: p.Name, Value: p.Value})
	}
	for _, m := range l.Members {
		g.Members = append(g.Members, ledger.Member{ID: m.Id, Name: m.Name, Cosigner: m.Cosigner})
	}
	i := ledgerInfo{genesisInfo: newGenesisInfo(&g), Group: l.Group, Creator: l.Creator}
	if l.Time > 0 {
		i.Created = timeString(l.Time)
	}
	return i
}

func (i *ledgerInfo) fields(w *page) {
	var pairs []string
	if i.Created != "" {
		pairs = append(pairs, "  created", i.Created)
	}
	pairs = append(pairs, "  by", printable(i.Creator))
	fields(w, append(append(pairs, i.pairs()...), "  group", fmt.Sprint(i.Group))...)
}

func (a *app) ledgerCreateCommand() *cobra.Command {
	var program string
	var params []string
	cmd := &cobra.Command{
		Use:   "create ORIGIN",
		Short: "Create a ledger (role admin)",
		Long: `Create a ledger. Its origin is its name for ever: it stands on the first line of
every checkpoint. Creating it once more with the same program and the same
parameters changes nothing, and with others it is a conflict (exit code 5). It
uses the profile of CAIRN_ADMIN_PROFILE unless --profile names another one,
whose certificate then needs the role admin.

A ledger of every program has the parameter public-reads: false keeps it off the
HTTP read path of the nodes, where nobody is asked for a certificate.`,
		Example: `  cairn ledger create example.org/invoices --profile profiles/admin.yaml
  cairn ledger create example.org/payroll --param public-reads=false
  echo hello | cairn append --ledger example.org/invoices --sealed`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			origin := args[0]
			var parameters []ledger.Parameter
			for _, p := range params {
				name, value, ok := strings.Cut(p, "=")
				if !ok || name == "" {
					return usagef("--param %s: want NAME=VALUE", printable(p))
				}
				parameters = append(parameters, ledger.Parameter{Name: name, Value: value})
			}
			a.byProfile(cmd)
			return a.withAdmin(cmd, func(ctx context.Context, c *client.Client) error {
				made, created, err := c.CreateLedger(ctx, origin, program, parameters...)
				if err != nil {
					f := classify(changeError(errors.Wrap(err, "create the ledger"), "create it again: a ledger is created once"))
					if f.code == exitConflict {
						f.next = "`cairn ledger show " + shellPath(origin) + "` prints the one that there is"
					}
					return f
				}
				info := newLedgerInfo(made)
				headline := "exists already:"
				if created {
					headline = "created"
				}
				a.did(effect{text: "the ledger " + printable(info.Origin) + " exists"})
				return a.emit(struct {
					ledgerInfo
					New bool `json:"new"`
				}{info, created}, func(w *page) {
					fmt.Fprintf(w, "%s %s\n", headline, printable(info.Origin))
					info.fields(w)
				})
			})
		},
	}
	cmd.Flags().StringVar(&program, "program", ledger.Log{}.Name(), "the `program` that decides the entries")
	cmd.Flags().StringArrayVar(&params, "param", nil, "a parameter of the program, `NAME=VALUE`; may be repeated")
	return cmd
}

// byProfile has a call to the directory go through the ledger of the profile, or of --ledger: that of
// CAIRN_LEDGER may not exist yet.
func (a *app) byProfile(cmd *cobra.Command) {
	if !cmd.Flags().Changed("ledger") {
		a.ledger = ""
	}
}

func (a *app) ledgerListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the cluster's ledgers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.byProfile(cmd)
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				all, err := c.Ledgers(ctx)
				if err != nil {
					return errors.Wrap(err, "list the ledgers")
				}
				infos := make([]ledgerInfo, len(all))
				for i := range all {
					infos[i] = newLedgerInfo(all[i])
				}
				if a.json {
					for _, i := range infos {
						if err := a.emit(i, nil); err != nil {
							return err
						}
					}
					return nil
				}
				return a.emit(nil, func(w *page) {
					t := newTable("ledger", "program", "created", "by")
					for _, i := range infos {
						t.row(printable(i.Origin), i.Program, i.Created, printable(i.Creator))
					}
					t.write(w)
				})
			})
		},
	}
}

func (a *app) ledgerShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show [ORIGIN]",
		Short: "Print what the directory knows of a ledger",
		Long: `Print what the directory knows of a ledger: of the one that is named, or of that
of --ledger. It is the word of a node. What proves it is the ledger's genesis,
its entry 0: "cairn policy export" checks that.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.profile()
			if err != nil {
				return err
			}
			origin := p.Origin
			if len(args) == 1 {
				origin = args[0]
			}
			a.byProfile(cmd)
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				found, err := c.ShowLedger(ctx, origin)
				if err != nil {
					f := classify(errors.Wrap(err, "show the ledger"))
					if f.code == exitNotFound {
						f.next = "`cairn ledger list` shows the ledgers of the cluster"
					}
					return f
				}
				info := newLedgerInfo(found)
				return a.emit(info, func(w *page) {
					fmt.Fprintln(w, printable(info.Origin))
					info.fields(w)
				})
			})
		},
	}
}
