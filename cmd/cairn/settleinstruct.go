package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement"
)

func (a *app) settleInstructCommand() *cobra.Command {
	instruct := settlement.Instruct{}
	var deliver, receive settlement.Leg
	var refs []string
	var priority int
	cmd := &cobra.Command{
		Use:   "instruct ID --party NAME --counterparty NAME --date DATE",
		Short: "Instruct what you deliver against what you receive",
		Long: `Give one side of an exchange: delivery versus payment, payment versus payment,
or one leg alone. The counterparty gives the matching one: the same amounts and
assets the other way round, and the same date. Then both settle in one entry, as
soon as the date has come and the accounts have enough; until then they wait.

The party is a name, such as a BIC, that is among the owners of the accounts.

The id is decided once. Giving the command again returns the first outcome.`,
		Example: `  cairn settle instruct dvp-1 --party BANKDEFF --counterparty BANKFRPP \
      --deliver 100 --from bank-de-shares --receive 5000.00 --to bank-de-cash \
      --date 2027-03-15`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := required(cmd, "party", "counterparty", "date"); err != nil {
				return err
			}
			instruct.ID, instruct.Priority = args[0], uint8(priority)
			var err error
			if instruct.References, err = parseReferences(refs); err != nil {
				return usagef("%v", err)
			}
			if instruct.Delivers, err = legOf(cmd, "deliver", "from", &deliver); err != nil {
				return err
			}
			if instruct.Receives, err = legOf(cmd, "receive", "to", &receive); err != nil {
				return err
			}
			if instruct.Delivers == nil && instruct.Receives == nil {
				return usagef("say what you deliver (--deliver and --from), what you receive (--receive and --to), or both")
			}
			if err := a.completeLegs(cmd, &instruct); err != nil {
				return err
			}
			return a.settle(cmd, instruct.ID, &instruct)
		},
	}
	f := cmd.Flags()
	f.StringVar(&instruct.Party, "party", "", "`name` of your side, an owner of the accounts")
	f.StringVar(&instruct.Counterparty, "counterparty", "", "`name` of the other side")
	f.Var(&decimalFlag{d: &deliver.Amount}, "deliver", "what you deliver")
	f.StringVar(&deliver.Account, "from", "", "`account` that delivers")
	f.StringVar(&deliver.Asset, "deliver-asset", "", "`id` of the asset that you deliver (default: that of the account)")
	f.Var(&decimalFlag{d: &receive.Amount}, "receive", "what you receive")
	f.StringVar(&receive.Account, "to", "", "`account` that receives")
	f.StringVar(&receive.Asset, "receive-asset", "", "`id` of the asset that you receive (default: that of the account)")
	f.Var(dateFlag{&instruct.SettlementDate}, "date", "settlement date, YYYY-MM-DD: it settles from then on, not before")
	f.Var(dateFlag{&instruct.TradeDate}, "trade-date", "trade date, YYYY-MM-DD, the same on both sides")
	f.StringVar(&instruct.Common, "common-ref", "", "`reference` that both sides agreed upon")
	f.BoolVar(&instruct.Held, "hold", false, "match, and do not settle until cairn settle release")
	f.BoolVar(&instruct.Partial, "partial", false, "settle in parts, if the other side allows it, too")
	numberFlag(f, &priority, "priority", "", 0, 0, settlement.MaxPriority, "0 to 3: the higher one goes first where several wait")
	f.Var(timeFlag{&instruct.Expires}, "expires", "from this time on it does not settle, such as 2027-03-15T16:00:00Z")
	f.StringArrayVar(&refs, "ref", nil, "record a reference, `KIND=VALUE`; may be repeated")
	return cmd
}

// legOf returns a leg of an instruction; nil when none of its flags is given.
func legOf(cmd *cobra.Command, amount, account string, leg *settlement.Leg) (*settlement.Leg, error) {
	asset := amount + "-asset"
	given := cmd.Flags().Changed
	if !given(amount) && !given(account) && !given(asset) {
		return nil, nil
	}
	return leg, required(cmd, amount, account)
}

// completeLegs reads the assets of the accounts of legs that name none.
func (a *app) completeLegs(cmd *cobra.Command, instruct *settlement.Instruct) error {
	var open []*settlement.Leg
	for _, leg := range []*settlement.Leg{instruct.Delivers, instruct.Receives} {
		if leg != nil && leg.Asset == "" {
			open = append(open, leg)
		}
	}
	if len(open) == 0 {
		return nil
	}
	return a.withSettle(cmd, func(ctx context.Context, s *settle.Client) error {
		for _, leg := range open {
			x, _, err := s.Account(ctx, leg.Account)
			if err != nil {
				return errors.Wrapf(err, "read the asset of the account %s; nothing was sent", printable(leg.Account))
			}
			leg.Asset = x.GetAsset()
		}
		return nil
	})
}

func (a *app) settleManageCommand(change settlement.Change, short, long string) *cobra.Command {
	manage := settlement.Manage{Change: change}
	cmd := &cobra.Command{
		Use:   change.String() + " ID",
		Short: short,
		Long: long + `

With --request the request has an id of its own, which is used once for ever: a
late repetition of the command changes nothing.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			manage.ID = args[0]
			return a.settle(cmd, manage.ID, &manage)
		},
	}
	cmd.Flags().StringVar(&manage.Request, "request", "", "`id` of the request, which you choose and never use again")
	return cmd
}

func (a *app) settleManageCommands() []*cobra.Command {
	return []*cobra.Command{
		a.settleManageCommand(settlement.ManageHold, "Keep an instruction from settling",
			"Keep an instruction from settling until it is released. It matches all the same."),
		a.settleManageCommand(settlement.ManageRelease, "End the hold of an instruction",
			"End the hold of an instruction. It settles if nothing stands against it."),
		a.settleManageCommand(settlement.ManageCancel, "Cancel an instruction, or ask the other side to",
			`Cancel an instruction. Once it has a match, it is cancelled when both sides have
asked for it. Until then it may settle; to prevent that, hold it, too.`),
	}
}

// instructionInfo is what became of an instruction.
type instructionInfo struct {
	ID             string            `json:"id"`
	Status         string            `json:"status"`
	Reason         string            `json:"reason"`
	ISO            string            `json:"iso_code,omitempty"`
	Text           string            `json:"text,omitempty"`
	Index          uint64            `json:"index"`
	Resolved       uint64            `json:"resolved"`
	Party          string            `json:"party"`
	Counterparty   string            `json:"counterparty"`
	Delivers       *legInfo          `json:"delivers,omitempty"`
	Receives       *legInfo          `json:"receives,omitempty"`
	TradeDate      string            `json:"trade_date,omitempty"`
	SettlementDate string            `json:"settlement_date"`
	Common         string            `json:"common_reference,omitempty"`
	OnHold         bool              `json:"on_hold"`
	Partial        bool              `json:"partial"`
	Priority       uint32            `json:"priority"`
	Expires        string            `json:"expires,omitempty"`
	Match          string            `json:"match,omitempty"`
	WaitsFor       string            `json:"waits_for,omitempty"`
	CancelAsked    uint64            `json:"cancel_asked,omitempty"`
	References     map[string]string `json:"references,omitempty"`
	// Delivered and Received are what the entry of a statement moved.
	Delivered string `json:"delivered,omitempty"`
	Received  string `json:"received,omitempty"`
	Size      uint64 `json:"size,omitempty"`
}

type legInfo struct {
	Account string `json:"account"`
	Asset   string `json:"asset"`
	Amount  string `json:"amount"`
	Settled string `json:"settled"`
}

func newInstructionInfo(x *settle.Instruction, size uint64) instructionInfo {
	said := x.GetSaid()
	i := instructionInfo{
		ID: x.GetId(), Status: x.GetStatus(), Reason: x.GetReason(), ISO: x.GetIsoCode(), Text: x.GetText(), Index: x.GetIndex(), Resolved: x.GetResolved(),
		Party: said.GetParty(), Counterparty: said.GetCounterparty(), TradeDate: said.GetTradeDate(), SettlementDate: said.GetSettlementDate(),
		Common: said.GetCommonReference(), OnHold: x.GetHeld(), Partial: said.GetPartial(), Priority: said.GetPriority(),
		Match: x.GetMatch(), WaitsFor: x.GetWaitsFor(), CancelAsked: x.GetCancelAsked(), Delivered: x.GetDelivered(), Received: x.GetReceived(), Size: size,
	}
	if l := said.GetDelivers(); l != nil {
		i.Delivers = &legInfo{l.GetAccount(), l.GetAsset(), l.GetAmount(), l.GetSettled()}
	}
	if l := said.GetReceives(); l != nil {
		i.Receives = &legInfo{l.GetAccount(), l.GetAsset(), l.GetAmount(), l.GetSettled()}
	}
	if said.GetExpires() > 0 {
		i.Expires = timeString(said.GetExpires())
	}
	for _, r := range said.GetReferences() {
		if i.References == nil {
			i.References = map[string]string{}
		}
		i.References[r.GetKind()] = r.GetValue()
	}
	return i
}

// words says the amount of a leg.
func (l *legInfo) words() string {
	if l == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s %s", l.Amount, printable(l.Asset))
}

// words says the instruction in a line.
func (i *instructionInfo) words() string {
	what := fmt.Sprintf("%s against %s of", i.Delivers.words(), i.Receives.words())
	switch {
	case i.Delivers == nil:
		what = i.Receives.words() + " from"
	case i.Receives == nil:
		what = i.Delivers.words() + " to"
	}
	return fmt.Sprintf("%s %s: %s %s", i.Status, printable(i.ID), what, printable(i.Counterparty))
}

// pairs are the lines about the instruction below its words.
func (i *instructionInfo) pairs() []string {
	pairs := []string{"  given in entry", fmt.Sprint(i.Index)}
	if i.Resolved != i.Index {
		pairs = append(pairs, "  decided in entry", fmt.Sprint(i.Resolved))
	}
	for _, l := range []struct {
		name, where string
		leg         *legInfo
	}{{"  delivers", "from", i.Delivers}, {"  receives", "on", i.Receives}} {
		if l.leg != nil {
			words := fmt.Sprintf("%s %s %s", l.leg.words(), l.where, printable(l.leg.Account))
			if l.leg.Settled != "" {
				words += ", " + l.leg.Settled + " settled"
			}
			pairs = append(pairs, l.name, words)
		}
	}
	pairs = append(pairs, "  party", printable(i.Party), "  counterparty", printable(i.Counterparty), "  settlement date", i.SettlementDate)
	for _, f := range []struct{ name, value string }{
		{"  trade date", i.TradeDate}, {"  reference", i.Common}, {"  match", i.Match}, {"  waits for", i.WaitsFor}, {"  reason", i.Text}, {"  expires", i.Expires},
	} {
		if f.value != "" {
			pairs = append(pairs, f.name, printable(f.value))
		}
	}
	var marks []string
	if i.OnHold {
		marks = append(marks, "on hold")
	}
	if i.Partial {
		marks = append(marks, "in parts, too")
	}
	if i.Priority > 0 {
		marks = append(marks, fmt.Sprintf("priority %d", i.Priority))
	}
	if i.CancelAsked > 0 {
		marks = append(marks, fmt.Sprintf("asked to cancel in entry %d", i.CancelAsked))
	}
	if len(marks) > 0 {
		pairs = append(pairs, "  is", strings.Join(marks, ", "))
	}
	return pairs
}

func (a *app) settleInstructionsCommand() *cobra.Command {
	var status string
	cmd := &cobra.Command{
		Use:   "instructions",
		Short: "List the instructions that are not final, oldest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if status != "" {
				if _, err := settlement.ParseStatus(status); err != nil {
					return usagef("--status: %v", err)
				}
			}
			return a.withSettle(cmd, func(ctx context.Context, s *settle.Client) error {
				t := newTable("entry", "id", "status", "delivers", "receives", "counterparty", "date", "match", "waits for").alignRight(0)
				err := s.Instructions(ctx, status, func(x *settle.Instruction) error {
					i := newInstructionInfo(x, 0)
					t.row(fmt.Sprint(i.Index), printable(i.ID), i.Status, i.Delivers.words(), i.Receives.words(), printable(i.Counterparty),
						i.SettlementDate, printable(i.Match), printable(i.WaitsFor))
					return a.each(i)
				})
				return a.table(t, errors.Wrap(err, "list the instructions"))
			})
		},
	}
	cmd.Flags().StringVar(&status, "status", "", "those of this `status` alone: unmatched, matched, held, queued or partly_settled")
	return cmd
}

// showInstruction prints an instruction. It reports whether there is one that the caller may read.
func (a *app) showInstruction(ctx context.Context, s *settle.Client, id string, at settle.At) (bool, error) {
	x, size, err := s.Instruction(ctx, id, at)
	if unknownID(err) {
		return false, nil
	}
	if err != nil {
		return false, errors.Wrap(err, "read the instruction")
	}
	i := newInstructionInfo(x, size)
	return true, a.emit(i, func(w *page) {
		fmt.Fprintln(w, i.words())
		pairs := i.pairs()
		for _, r := range x.GetSaid().GetReferences() {
			pairs = append(pairs, "  "+r.GetKind(), printable(r.GetValue()))
		}
		fields(w, pairs...)
	})
}

// unknownID reports whether an error says that there is no such id.
func unknownID(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Reason == client.ReasonUnknownID
}

// dateFlag is a flag with a date.
type dateFlag struct{ d *settlement.Date }

func (f dateFlag) String() string {
	if f.d == nil {
		return ""
	}
	return f.d.String()
}

func (f dateFlag) Set(s string) (err error) {
	*f.d, err = settlement.ParseDate(s)
	return err
}

func (dateFlag) Type() string { return "date" }

// timeFlag is a flag with a ledger time, in µs since the Unix epoch.
type timeFlag struct{ t *int64 }

func (f timeFlag) String() string {
	if f.t == nil || *f.t == 0 {
		return ""
	}
	return timeString(*f.t)
}

func (f timeFlag) Set(s string) error {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.UnixMicro() <= 0 {
		return errors.New("must be a time since 1970 such as 2027-03-15T16:00:00Z")
	}
	*f.t = t.UnixMicro()
	return nil
}

func (timeFlag) Type() string { return "time" }
