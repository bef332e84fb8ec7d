package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement"
)

// readAt gives a command the flags that say which state it reads, and runs f with what they say.
func (a *app) readAt(cmd *cobra.Command, f func(ctx context.Context, s *settle.Client, args []string, at settle.At) error) *cobra.Command {
	var at settle.At
	numberFlag(cmd.Flags(), &at.Size, "at", "", 0, 0, maxIndex, "what the ledger knew at this `size` (0: the newest)")
	cmd.Flags().Var(timeFlag{&at.Time}, "at-time", "what it knew at this `time`, such as 2027-03-15T16:00:00Z")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if at.Size != 0 && at.Time != 0 {
			return usagef("--at and --at-time exclude each other")
		}
		return a.withSettle(cmd, func(ctx context.Context, s *settle.Client) error { return f(ctx, s, args, at) })
	}
	return cmd
}

func (a *app) settleBalanceCommand() *cobra.Command {
	return a.readAt(&cobra.Command{
		Use:   "balance ACCOUNT",
		Short: "Print what an account has",
		Long: `Print what an account has: posted is posted credits less posted debits, and
available is what may be debited. It is the word of an authenticated node.

With --at or --at-time, what it had then: any state of the last 25 hours, and
those at the ends of UTC days. A size within a block is rounded down.`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, s *settle.Client, args []string, at settle.At) error {
		x, size, err := s.Account(ctx, args[0], at)
		if err != nil {
			return errors.Wrap(err, "read the account")
		}
		i := newAccountInfo(x, size)
		return a.emit(i, func(w *page) {
			fmt.Fprintf(w, "%s: %s %s posted, %s available\n", printable(i.ID), i.Posted, printable(i.Asset), i.Available)
			pairs := []string{
				"  posted debits", i.PostedDebits, "  posted credits", i.PostedCredits,
				"  pending debits", i.PendingDebits, "  pending credits", i.PendingCredits, "  limit", i.Limit,
			}
			for _, f := range i.Flags {
				pairs = append(pairs, "  flag", f)
			}
			for _, o := range i.Owners {
				pairs = append(pairs, "  owner", printable(o))
			}
			fields(w, append(pairs, "  entries", fmt.Sprintf("%d, the last one at index %d", i.Entries, i.LastIndex), "  as of size", fmt.Sprint(i.Size))...)
		})
	})
}

// transferInfo is what became of a transfer or a set.
type transferInfo struct {
	ID         string            `json:"id"`
	Status     string            `json:"status"`
	Reason     string            `json:"reason"`
	ISO        string            `json:"iso_code,omitempty"`
	Text       string            `json:"text,omitempty"`
	Index      uint64            `json:"index"`
	Resolved   uint64            `json:"resolved"`
	Expires    string            `json:"expires,omitempty"`
	Asset      string            `json:"asset,omitempty"`
	From       string            `json:"from,omitempty"`
	To         string            `json:"to,omitempty"`
	Amount     string            `json:"amount,omitempty"`
	Posted     string            `json:"posted,omitempty"`
	Returned   string            `json:"returned,omitempty"`
	Original   string            `json:"original,omitempty"`
	Set        string            `json:"set,omitempty"`
	References map[string]string `json:"references,omitempty"`
	Members    []transferInfo    `json:"members,omitempty"`
	Size       uint64            `json:"size,omitempty"`
}

func newTransferInfo(t *settle.Transfer, size uint64) transferInfo {
	i := transferInfo{
		ID: t.GetId(), Status: t.GetStatus(), Reason: t.GetReason(), ISO: t.GetIsoCode(), Text: t.GetText(), Index: t.GetIndex(), Resolved: t.GetResolved(),
		Asset: t.GetAsset(), From: t.GetDebit(), To: t.GetCredit(), Amount: t.GetAmount(), Posted: t.GetPosted(), Returned: t.GetReturned(),
		Original: t.GetOriginal(), Set: t.GetSet(), Size: size,
	}
	if t.GetExpires() > 0 {
		i.Expires = timeString(t.GetExpires())
	}
	for _, r := range t.GetReferences() {
		if i.References == nil {
			i.References = map[string]string{}
		}
		i.References[r.GetKind()] = r.GetValue()
	}
	for _, m := range t.GetMembers() {
		i.Members = append(i.Members, newTransferInfo(m, 0))
	}
	return i
}

// wordsAt says what an entry did about the transfer, which may have become something else since: it
// reserved the amount, or it ended the reservation.
func (i *transferInfo) wordsAt(index uint64) string {
	at := *i
	switch reserved := i.Resolved != i.Index || i.Status == settlement.Pending.String(); {
	case reserved && index == i.Index:
		at.Status = "reserved"
	case reserved && i.Posted != "" && i.Status == settlement.Posted.String():
		at.Amount = i.Posted
	}
	return at.words()
}

func (i *transferInfo) words() string {
	s := i.Status + " " + printable(i.ID)
	if i.From != "" {
		s += fmt.Sprintf(": %s %s from %s to %s", i.Amount, printable(i.Asset), printable(i.From), printable(i.To))
	}
	return s
}

func (a *app) settleShowCommand() *cobra.Command {
	return a.readAt(&cobra.Command{
		Use:   "show ID",
		Short: "Print what became of a transfer, a set or an instruction",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, s *settle.Client, args []string, at settle.At) error {
		t, size, err := s.Transfer(ctx, args[0], at)
		if unknownID(err) {
			if shown, err := a.showInstruction(ctx, s, args[0], at); shown || err != nil {
				return err
			}
		}
		if err != nil {
			return errors.Wrap(err, "read the transfer")
		}
		i := newTransferInfo(t, size)
		return a.emit(i, func(w *page) {
			fmt.Fprintln(w, i.words())
			pairs := []string{"  asked for in entry", fmt.Sprint(i.Index)}
			if i.Resolved != i.Index {
				pairs = append(pairs, "  resolved in entry", fmt.Sprint(i.Resolved))
			}
			for _, f := range []struct{ name, value string }{
				{"  posted", i.Posted}, {"  returned", i.Returned}, {"  returns", i.Original}, {"  set", i.Set}, {"  expires", i.Expires}, {"  reason", i.Text},
			} {
				if f.value != "" {
					pairs = append(pairs, f.name, printable(f.value))
				}
			}
			for _, r := range t.GetReferences() {
				pairs = append(pairs, "  "+r.GetKind(), printable(r.GetValue()))
			}
			for n := range i.Members {
				pairs = append(pairs, "  transfer", i.Members[n].words())
			}
			fields(w, pairs...)
		})
	})
}

func (a *app) settleHoldsCommand() *cobra.Command {
	var expired bool
	var within time.Duration
	cmd := a.readAt(&cobra.Command{
		Use:   "holds",
		Short: "List what is reserved, or what has expired",
		Args:  cobra.NoArgs,
	}, func(ctx context.Context, s *settle.Client, _ []string, at settle.At) error {
		until := int64(0)
		if within > 0 {
			until = time.Now().Add(within).UnixMicro()
		}
		t := newTable("expires", "id", "status", "amount", "asset", "from", "to", "entry").alignRight(3, 7)
		err := s.Holds(ctx, expired, until, func(x *settle.Transfer) error {
			i := newTransferInfo(x, 0)
			expires := i.Expires
			if expires == "" {
				expires = "never"
			}
			t.row(expires, printable(i.ID), i.Status, i.Amount, printable(i.Asset), printable(i.From), printable(i.To), fmt.Sprint(i.Index))
			return a.each(i)
		}, at)
		return a.table(t, errors.Wrap(err, "list the reservations"))
	})
	cmd.Flags().BoolVar(&expired, "expired", false, "those that expired, instead of those that are pending")
	numberFlag(cmd.Flags(), &within, "within", "", 0, 0, maxHold, "only those that end within this `duration` from now (0: all)")
	return cmd
}

// movementInfo is a line of a statement.
type movementInfo struct {
	Index        uint64            `json:"index"`
	Time         string            `json:"time"`
	Before       lineInfo          `json:"before"`
	After        lineInfo          `json:"after"`
	Transfers    []transferInfo    `json:"transfers"`
	Instructions []instructionInfo `json:"instructions,omitempty"`
}

func newLineInfo(account string, b *cairnv1.AccountBalances) lineInfo {
	return lineInfo{account, b.GetDebitsPending(), b.GetDebitsPosted(), b.GetCreditsPending(), b.GetCreditsPosted()}
}

func (a *app) settleStatementCommand() *cobra.Command {
	var from, to uint64
	var most int
	cmd := a.readAt(&cobra.Command{
		Use:   "statement ACCOUNT",
		Short: "Print the entries that touched an account, the newest first",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, s *settle.Client, args []string, at settle.At) error {
		t := newTable("entry", "time", "change", "balance", "pending debits", "pending credits", "transfers").alignRight(0, 2, 3, 4, 5)
		n := 0
		enough := errors.New("enough")
		_, _, err := s.Statement(ctx, args[0], from, to, func(e *settle.StatementEntry) error {
			if most > 0 && n == most {
				return enough
			}
			n++
			i := movementInfo{Index: e.GetIndex(), Time: timeString(e.GetTime()), Before: newLineInfo(args[0], e.GetBefore()), After: newLineInfo(args[0], e.GetAfter()), Transfers: []transferInfo{}}
			what := ""
			for _, x := range e.GetTransfers() {
				info := newTransferInfo(x, 0)
				i.Transfers = append(i.Transfers, info)
				if what != "" {
					what += "; "
				}
				what += info.wordsAt(i.Index)
			}
			for _, x := range e.GetInstructions() {
				info := newInstructionInfo(x, 0)
				i.Instructions = append(i.Instructions, info)
				if what != "" {
					what += "; "
				}
				what += info.words()
			}
			before, err := posted(e.GetBefore())
			if err != nil {
				return err
			}
			balance, err := posted(e.GetAfter())
			if err != nil {
				return err
			}
			t.row(fmt.Sprint(i.Index), i.Time, balance.Sub(before).String(), balance.String(), i.After.DebitsPending, i.After.CreditsPending, what)
			return a.each(i)
		}, at)
		if errors.Is(err, enough) {
			err = nil
		}
		return a.table(t, errors.Wrap(err, "read the statement"))
	})
	f := cmd.Flags()
	numberFlag(f, &from, "from", "", 0, 0, maxIndex, "entries from this `index` on")
	numberFlag(f, &to, "to-size", "", 0, 0, maxIndex, "entries below this `size` of the ledger (0: the newest)")
	numberFlag(f, &most, "limit", "n", 0, 0, 1<<30, "at most `n` entries (0: all)")
	return cmd
}
