package main

import (
	"context"
	"slices"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement"
)

func (a *app) settleAccountCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "account", Short: "Open accounts, change them, and list them", RunE: needsSubcommand}
	cmd.AddCommand(a.accountOpenCommand(), a.accountChangeCommand(), a.accountListCommand())
	return cmd
}

func (a *app) accountOpenCommand() *cobra.Command {
	open := settlement.OpenAccount{}
	var noOverdraft, noCredit, frozen bool
	var owners []string
	cmd := &cobra.Command{
		Use:   "open ID --asset ASSET",
		Short: "Open an account (role operator)",
		Long: `Open an account of an asset.

With --no-overdraft its debits never exceed its credits, pending ones included;
with --limit they exceed them by at most that much. With --credits-limited it is
the other way round. Otherwise the account may go either way, as the account of
an issuer or of the outside world does.

Each --owner is a principal that may debit the account, and read it.`,
		Example: `  cairn settle account open world --asset USD
  cairn settle account open alice --asset USD --no-overdraft \
      --owner spiffe://cairn.local/svc/alice
  cairn settle account open bank-a --asset USD --limit 1000000`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := required(cmd, "asset"); err != nil {
				return err
			}
			limited := cmd.Flags().Changed("limit")
			open.ID, open.Owners = args[0], slices.Compact(slices.Sorted(slices.Values(owners)))
			switch {
			case noCredit && noOverdraft:
				return usagef("--credits-limited and --no-overdraft exclude each other")
			case noCredit:
				open.Flags |= settlement.CreditsLimited
			case noOverdraft || limited:
				open.Flags |= settlement.DebitsLimited
			}
			if frozen {
				open.Flags |= settlement.Frozen
			}
			return a.settle(cmd, open.ID, &open)
		},
	}
	f := cmd.Flags()
	f.StringVar(&open.Asset, "asset", "", "`id` of the asset")
	f.BoolVar(&noOverdraft, "no-overdraft", false, "debits must not exceed credits, and the limit")
	f.Var(&decimalFlag{d: &open.Limit}, "limit", "how far debits may exceed credits; with --credits-limited, credits debits")
	f.BoolVar(&noCredit, "credits-limited", false, "credits must not exceed debits, and the limit")
	f.BoolVar(&frozen, "frozen", false, "the account takes no transfer until it is unfrozen")
	f.StringArrayVar(&owners, "owner", nil, "a `principal` (SPIFFE ID) that may debit the account and read it; may be repeated")
	return cmd
}

func (a *app) accountChangeCommand() *cobra.Command {
	var change settlement.ChangeAccount
	var freeze, unfreeze, noOwners bool
	var limit settlement.Decimal
	var owners []string
	cmd := &cobra.Command{
		Use:   "change ID",
		Short: "Change, freeze or close an account (role operator)",
		Long: `Change the limit or the owners of an account, freeze it, or close it. A frozen
account takes no transfer; what was reserved before can be posted and voided. A
closed account stays closed; nothing may be pending on it, and no balance may be
left.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			change.ID = args[0]
			if freeze && unfreeze {
				return usagef("--freeze and --unfreeze exclude each other")
			}
			if freeze || unfreeze {
				change.Frozen = &freeze
			}
			if cmd.Flags().Changed("limit") {
				change.Limit = &limit
			}
			if noOwners && len(owners) > 0 {
				return usagef("--owner and --no-owners exclude each other")
			}
			if change.SetOwners = noOwners || len(owners) > 0; change.SetOwners {
				change.Owners = slices.Compact(slices.Sorted(slices.Values(owners)))
			}
			return a.settle(cmd, change.ID, &change)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&freeze, "freeze", false, "take no transfer")
	f.BoolVar(&unfreeze, "unfreeze", false, "take transfers again")
	f.BoolVar(&change.Close, "close", false, "take no transfer, for ever")
	f.Var(&decimalFlag{d: &limit}, "limit", "the new limit")
	f.StringArrayVar(&owners, "owner", nil, "a `principal` that owns the account, instead of those before; may be repeated")
	f.BoolVar(&noOwners, "no-owners", false, "nobody owns the account: operators alone may debit it")
	return cmd
}

// accountInfo is an account.
type accountInfo struct {
	ID             string   `json:"id"`
	Asset          string   `json:"asset"`
	Posted         string   `json:"posted"`
	PendingDebits  string   `json:"pending_debits"`
	PendingCredits string   `json:"pending_credits"`
	Available      string   `json:"available"`
	PostedDebits   string   `json:"posted_debits"`
	PostedCredits  string   `json:"posted_credits"`
	Limit          string   `json:"limit"`
	Flags          []string `json:"flags"`
	Owners         []string `json:"owners"`
	Entries        uint64   `json:"entries"`
	LastIndex      uint64   `json:"last_index"`
	Size           uint64   `json:"size,omitempty"`
}

func newAccountInfo(x *settle.Account, size uint64) accountInfo {
	b := x.GetBalances()
	i := accountInfo{
		ID: x.GetId(), Asset: x.GetAsset(), Posted: x.GetPosted(), PendingDebits: b.GetDebitsPending(), PendingCredits: b.GetCreditsPending(),
		Available: x.GetAvailable(), PostedDebits: b.GetDebitsPosted(), PostedCredits: b.GetCreditsPosted(), Limit: x.GetLimit(),
		Flags: []string{}, Owners: append([]string{}, x.GetOwners()...), Entries: x.GetSequence(), LastIndex: x.GetLastIndex(), Size: size,
	}
	for _, f := range []struct {
		set  bool
		name string
	}{{x.GetDebitsLimited(), "debits_limited"}, {x.GetCreditsLimited(), "credits_limited"}, {x.GetFrozen(), "frozen"}, {x.GetClosed(), "closed"}} {
		if f.set {
			i.Flags = append(i.Flags, f.name)
		}
	}
	return i
}

func (a *app) accountListCommand() *cobra.Command {
	return a.readAt(&cobra.Command{
		Use:   "list",
		Short: "List the accounts that you may read",
		Args:  cobra.NoArgs,
	}, func(ctx context.Context, s *settle.Client, _ []string, at settle.At) error {
		t := newTable("account", "asset", "posted", "pending debits", "pending credits", "available").alignRight(2, 3, 4, 5)
		err := s.Accounts(ctx, func(x *settle.Account) error {
			i := newAccountInfo(x, 0)
			t.row(printable(i.ID), printable(i.Asset), i.Posted, i.PendingDebits, i.PendingCredits, i.Available)
			return a.each(i)
		}, at)
		return a.table(t, errors.Wrap(err, "list the accounts"))
	})
}
