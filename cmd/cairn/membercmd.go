package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/enrolment"
	"github.com/cairnledger/cairn/cluster/local"
)

func (a *app) memberCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member",
		Short: "Add, promote, remove and list the nodes of a cluster",
		Long: `The cluster's directory says what each node is to be in every ledger: a voter, a
learner, which has everything and does not count, or removed. The leaders of the
ledgers then take one step after the other; a step that was refused or lost is
taken again. ` + "`cairn member list`" + ` shows how far they are and what they wait for.`,
		RunE: needsSubcommand,
	}
	cmd.AddCommand(a.memberAddCommand(), a.memberReplaceCommand(), a.memberPromoteCommand(), a.memberRemoveCommand(), a.memberListCommand())
	return cmd
}

// joining are the flags of the commands that add a node.
type joining struct {
	dir, ca string
	client.NewMember
}

func (j *joining) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&j.dir, "dir", ".", "`directory` to write the answer to, in NAME of it")
	cmd.Flags().StringVar(&j.ca, "ca", "", "`directory` of the authority: sign the certificates, too")
}

func (a *app) memberAddCommand() *cobra.Command {
	j := joining{}
	cmd := &cobra.Command{
		Use:   "add REQUEST",
		Short: "Add the node that made a request (role admin)",
		Long: `Add a node to the cluster. Its machine has made REQUEST (` + "`cairn node keys`" + ` with
--cluster); compare the fingerprint first. DIR/NAME gets what the node begins
with: node.yaml, the policy, and the cluster's log key, sealed so that this node
alone can open it. With --ca it gets the certificates besides; otherwise
` + "`cairn pki sign`" + ` writes them. On its machine the node is then made and started:
` + "`cairn node init`" + `, ` + "`cairn node`" + `.

The node becomes a learner of every ledger and takes their blocks from the
others. With --promote it votes as soon as it has caught up.`,
		Example: `  cairn member add n4.request --ca ca --dir out --promote`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.addMember(cmd, &j, args[0]) },
	}
	j.flags(cmd)
	cmd.Flags().BoolVar(&j.Promote, "promote", false, "have the node vote once it has caught up")
	return cmd
}

func (a *app) memberReplaceCommand() *cobra.Command {
	j := joining{}
	cmd := &cobra.Command{
		Use:   "replace NAME REQUEST",
		Short: "Put a new node in the place of another one (role admin)",
		Long: `Put the node that made REQUEST in the place of NAME, which may be dead. It is
` + "`cairn member add --promote`" + `, and NAME leaves each ledger once the new node
votes there. NAME never comes back, and its connections are closed.`,
		Example: `  cairn member replace n3 n4.request --ca ca --dir out`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			j.Replaces = args[0]
			return a.addMember(cmd, &j, args[1])
		},
	}
	j.flags(cmd)
	cmd.Flags().BoolVar(&j.Force, "force", false, "NAME may leave although the cluster survives fewer failures")
	return cmd
}

func (a *app) addMember(cmd *cobra.Command, j *joining, file string) error {
	request, err := enrolment.ReadFile(file)
	if err != nil {
		return fail(exitUsage, "`cairn node keys --cluster ID` makes one", err)
	}
	if j.Request, err = os.ReadFile(file); err != nil {
		return fail(exitUsage, "", err)
	}
	answer := &enrolment.Answer{Name: request.Name}
	if j.ca != "" {
		authority, err := loadAuthority(j.ca)
		if err != nil {
			return err
		}
		if answer, err = enrolment.Sign(authority, request, enrolment.Grant{Validity: local.LeafValidity}); err != nil {
			return requestError(err)
		}
	}
	return a.withAdmin(cmd, func(ctx context.Context, c *client.Client) error {
		m, added, files, err := c.AddMember(ctx, j.NewMember)
		if err != nil {
			return memberError(errors.Wrapf(err, "add %s", request.Name))
		}
		word := "the cluster has the node already:"
		if added {
			word = "added the node"
		}
		a.did(effect{text: fmt.Sprintf("%s %s (%d)", word, printable(m.Name), m.Id)})
		for _, f := range files {
			answer.Add(f.Name, f.Data)
		}
		if err := a.writeAnswers(j.dir, []*enrolment.Answer{answer}); err != nil {
			return err
		}
		return a.emit(newMemberLine(m), func(w *page) {
			fmt.Fprintf(w, "%s %s (%d); take %s/%s to its machine\n", word, printable(m.Name), m.Id, printable(j.dir), printable(m.Name))
		})
	})
}

// memberError explains a refusal.
func memberError(err error) error {
	return classify(changeError(err, "it may yet take effect: `cairn member list` shows the nodes; the command can be repeated"))
}

// waiting adds the flag --wait.
func waiting(cmd *cobra.Command, wait *bool) {
	cmd.Flags().BoolVar(wait, "wait", false, "wait until every ledger has followed, up to --timeout")
}

func (a *app) memberPromoteCommand() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "promote NAME",
		Short: "Have a learner vote once it has caught up (role admin)",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeMember(cmd, args[0], "promote", wait, func(ctx context.Context, c *client.Client) (bool, error) {
				return c.PromoteMember(ctx, args[0])
			})
		},
	}
	waiting(cmd, &wait)
	return cmd
}

func (a *app) memberRemoveCommand() *cobra.Command {
	var wait, force bool
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Have a node leave the cluster for ever (role admin)",
		Long: `Have a node leave every ledger, and then the cluster. Its connections are
closed, and its name and id are never used again. It is refused when the cluster
would survive fewer failures (unless --force), or when too few of the voters
that are left can be heard.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeMember(cmd, args[0], "remove", wait, func(ctx context.Context, c *client.Client) (bool, error) {
				return c.RemoveMember(ctx, args[0], force)
			})
		},
	}
	waiting(cmd, &wait)
	cmd.Flags().BoolVar(&force, "force", false, "although the cluster survives fewer failures then")
	return cmd
}

func (a *app) changeMember(cmd *cobra.Command, name, verb string, wait bool, change func(context.Context, *client.Client) (bool, error)) error {
	return a.withAdmin(cmd, func(ctx context.Context, c *client.Client) error {
		changed, err := change(ctx, c)
		if err != nil {
			return memberError(errors.Wrapf(err, "%s %s", verb, printable(name)))
		}
		a.did(effect{text: "the directory says so: " + verb + " " + printable(name)})
		if wait {
			if err := awaitMember(ctx, c, name); err != nil {
				return memberError(err)
			}
		}
		word := map[bool]string{true: "the directory has the change", false: "the directory had the change already"}[changed]
		if wait {
			word += ", and every ledger has followed"
		}
		return a.emit(struct {
			Node    string `json:"node"`
			Changed bool   `json:"changed"`
			Settled bool   `json:"settled"`
		}{name, changed, wait}, func(w *page) {
			fmt.Fprintf(w, "%s: %s %s\n", word, verb, printable(name))
		})
	})
}

// awaitMember waits until a node is in every ledger what it is to be.
func awaitMember(ctx context.Context, c *client.Client, name string) error {
	for {
		all, err := c.Members(ctx)
		if err != nil {
			return err
		}
		left := ""
		for _, m := range all {
			for _, l := range m.Ledgers {
				if m.Name == name && !l.Settled {
					left = l.Origin + ": " + l.Waiting
				}
			}
		}
		if left == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Wrapf(ctx.Err(), "the ledgers have not all followed, such as %s", printable(left))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// memberLine is a node as `cairn member list` prints it.
type memberLine struct {
	ID        uint64             `json:"id"`
	Name      string             `json:"name"`
	Role      string             `json:"role"`
	Peer      string             `json:"peer"`
	API       string             `json:"api"`
	HTTP      string             `json:"http,omitempty"`
	Replaces  uint64             `json:"replaces,omitempty"`
	By        string             `json:"by,omitempty"`
	Time      string             `json:"time,omitempty"`
	Connected bool               `json:"connected"`
	Awaited   bool               `json:"awaited,omitempty"`
	Ledgers   []memberLedgerLine `json:"ledgers"`
}

type memberLedgerLine struct {
	Ledger  string `json:"ledger"`
	Role    string `json:"role"`
	Leads   bool   `json:"leads"`
	Settled bool   `json:"settled"`
	Match   uint64 `json:"match,omitempty"`
	Commit  uint64 `json:"commit,omitempty"`
	Waiting string `json:"waiting,omitempty"`
}

func newMemberLine(m *client.Member) memberLine {
	l := memberLine{
		ID: m.Id, Name: m.Name, Role: m.Role, Peer: m.Peer, API: m.Api, HTTP: m.Http, Replaces: m.Replaces, By: m.By, Connected: m.Connected, Awaited: m.Awaited,
		Ledgers: []memberLedgerLine{},
	}
	if m.Time > 0 {
		l.Time = timeString(m.Time)
	}
	for _, x := range m.Ledgers {
		l.Ledgers = append(l.Ledgers, memberLedgerLine{x.Origin, x.Role, x.Leads, x.Settled, x.Match, x.Commit, x.Waiting})
	}
	return l
}

// words says in one line how far the ledgers are.
func (l *memberLine) words() string {
	var parts []string
	done := 0
	for _, x := range l.Ledgers {
		switch {
		case x.Settled:
			done++
		case x.Waiting != "":
			parts = append(parts, x.Ledger+": "+x.Waiting)
		case x.Role == "":
			parts = append(parts, x.Ledger+": no member yet")
		default:
			parts = append(parts, x.Ledger+": "+x.Role)
		}
	}
	if l.Awaited {
		return "has not connected yet"
	}
	if len(l.Ledgers) == 0 {
		return "no ledger"
	}
	return strings.Join(append([]string{fmt.Sprintf("%d of %s", done, plural(len(l.Ledgers), "ledger", "ledgers"))}, parts...), "; ")
}

func (a *app) memberListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the nodes, and what each is in every ledger",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				all, err := c.Members(ctx)
				if err != nil {
					return errors.Wrap(err, "list the members")
				}
				lines := make([]memberLine, len(all))
				for i, m := range all {
					lines[i] = newMemberLine(m)
				}
				if a.json {
					for _, l := range lines {
						if err := a.emit(l, nil); err != nil {
							return err
						}
					}
					return nil
				}
				return a.emit(nil, func(w *page) {
					for _, l := range lines {
						fmt.Fprintf(w, "%-3d %-12s %-8s %-22s %s\n", l.ID, printable(l.Name), printable(l.Role), printable(l.API), printable(l.words()))
					}
				})
			})
		},
	}
}
