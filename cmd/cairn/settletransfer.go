package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement"
)

func (a *app) settleTransferCommand() *cobra.Command {
	var t settlement.Transfer
	var pending bool
	var timeout, expires time.Duration
	var refs []string
	cmd := &cobra.Command{
		Use:   "transfer --id ID --from ACCOUNT --to ACCOUNT --amount AMOUNT",
		Short: "Transfer an amount, or reserve it",
		Long: `Transfer an amount from one account to another. With --pending it is only
reserved: cairn settle post books it, cairn settle void releases it, and with
--expires-in it expires after that time.

The id is decided once. Giving the command again returns the first outcome.`,
		Example: `  cairn settle transfer --id t-1 --from alice --to bob --amount 12.34
  cairn settle transfer --id t-2 --from alice --to bob --amount 5 \
      --pending --expires-in 1h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "id", "from", "to", "amount"); err != nil {
				return err
			}
			submit := &settlement.Submit{Pending: pending}
			var err error
			if t.References, err = parseReferences(refs); err != nil {
				return usagef("%v", err)
			}
			given := cmd.Flags().Changed
			switch {
			case !pending && given("expires-in"):
				return usagef("--expires-in is for what is reserved: add --pending, or leave it out")
			case pending && given("timeout") && !given("expires-in"):
				expires = timeout
			case given("timeout"):
				a.timeout = timeout
			}
			submit.Timeout = expires.Microseconds()
			submit.Transfers = []settlement.Transfer{t}
			return a.settle(cmd, t.ID, submit)
		},
	}
	f := cmd.Flags()
	f.StringVar(&t.ID, "id", "", "`id` of the transfer, which you choose and never use again")
	f.StringVar(&t.Debit, "from", "", "`account` to debit")
	f.StringVar(&t.Credit, "to", "", "`account` to credit")
	f.Var(&decimalFlag{d: &t.Amount}, "amount", "what is transferred")
	f.StringVar(&t.Asset, "asset", "", "`id` of the asset that both accounts must hold")
	f.BoolVar(&pending, "pending", false, "reserve the amount only")
	numberFlag(f, &expires, "expires-in", "", 0, 0, maxHold, "with --pending: the reservation expires after this `duration` (0: never)")
	numberFlag(f, &timeout, "timeout", "", 0, 0, maxHold, "as everywhere, with --expires-in or without --pending; with --pending alone this `duration` is that of --expires-in")
	f.StringArrayVar(&refs, "ref", nil, "record a reference, `KIND=VALUE`, such as end_to_end_id=E-17 or note=rent; may be repeated")
	return cmd
}

// maxHold is the longest time of a reservation.
const maxHold = 100 * 365 * 24 * time.Hour

func parseReferences(pairs []string) ([]settlement.Reference, error) {
	byKind := make(map[settlement.ReferenceKind]string)
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok {
			return nil, errors.Newf("a reference is KIND=VALUE, not %s", printable(p))
		}
		kind, err := settlement.ParseReferenceKind(name)
		if err != nil {
			return nil, err
		}
		if _, twice := byKind[kind]; twice {
			return nil, errors.Newf("the reference %s is given twice", name)
		}
		byKind[kind] = value
	}
	return settlement.References(byKind), nil
}

func (a *app) settlePostCommand() *cobra.Command {
	var amount settlement.Decimal
	cmd := &cobra.Command{
		Use:   "post ID",
		Short: "Book what a pending transfer or set has reserved",
		Long: `Book what is reserved. With --amount only so much of a transfer is booked, and
the rest is released. Posting again what was posted returns the first outcome.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			resolve := &settlement.Resolve{ID: args[0]}
			if cmd.Flags().Changed("amount") {
				resolve.Amounts = []settlement.Partial{{Amount: amount}}
			}
			return a.settle(cmd, args[0], resolve)
		},
	}
	cmd.Flags().Var(&decimalFlag{d: &amount}, "amount", "book only so much of a transfer")
	return cmd
}

func (a *app) settleVoidCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "void ID",
		Short: "Release what a pending transfer or set has reserved",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.settle(cmd, args[0], &settlement.Resolve{ID: args[0], Void: true})
		},
	}
}

func (a *app) settleReturnCommand() *cobra.Command {
	var id string
	var amount settlement.Decimal
	cmd := &cobra.Command{
		Use:   "return ORIGINAL --id ID",
		Short: "Return a posted transfer, or a part of it",
		Long: `Return what a posted transfer moved: another transfer, from the account that was
credited to the one that was debited. All returns together never exceed the
original. Without --amount all of it is returned that was not returned before.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := required(cmd, "id"); err != nil {
				return err
			}
			var submit *settlement.Submit
			err := a.withSettle(cmd, func(ctx context.Context, s *settle.Client) error {
				original, _, err := s.Transfer(ctx, args[0])
				if err != nil {
					return errors.Wrap(err, "read the original transfer")
				}
				if !cmd.Flags().Changed("amount") {
					if amount, err = rest(original.GetPosted(), original.GetReturned()); err != nil {
						return errors.Wrap(err, "what is left of the original transfer")
					}
				}
				submit = &settlement.Submit{Transfers: []settlement.Transfer{{
					ID: id, Debit: original.GetCredit(), Credit: original.GetDebit(), Amount: amount, Original: args[0],
				}}}
				return nil
			})
			if err != nil {
				return err
			}
			return a.settle(cmd, id, submit)
		},
	}
	cmd.Flags().StringVar(&id, "id", "", "`id` of the return, which you choose and never use again")
	cmd.Flags().Var(&decimalFlag{d: &amount}, "amount", "return only so much")
	return cmd
}

// rest returns posted less returned, two amounts of one asset.
func rest(posted, returned string) (settlement.Decimal, error) {
	p, err := settlement.ParseDecimal(posted)
	if err != nil {
		return p, err
	}
	r, err := settlement.ParseDecimal(returned)
	if err != nil {
		return p, err
	}
	x, _ := p.Minor(settlement.MaxScale)
	y, _ := r.Minor(settlement.MaxScale)
	left, ok := x.Sub(y)
	if !ok {
		return p, errors.Newf("%s was returned of %s", returned, posted)
	}
	return settlement.NewDecimal(left, settlement.MaxScale), nil
}

// batchLine is a line of a batch file.
type batchLine struct {
	ID         string            `json:"id"`
	From       string            `json:"from"`
	To         string            `json:"to"`
	Amount     string            `json:"amount"`
	Asset      string            `json:"asset"`
	Pending    bool              `json:"pending"`
	Timeout    string            `json:"timeout"`
	Original   string            `json:"original"`
	References map[string]string `json:"references"`
}

func (l *batchLine) submit() (*settlement.Submit, error) {
	amount, err := settlement.ParseDecimal(l.Amount)
	if err != nil {
		return nil, err
	}
	var pairs []string
	for kind, value := range l.References {
		pairs = append(pairs, kind+"="+value)
	}
	refs, err := parseReferences(pairs)
	if err != nil {
		return nil, err
	}
	s := &settlement.Submit{Pending: l.Pending, Transfers: []settlement.Transfer{{
		ID: l.ID, Debit: l.From, Credit: l.To, Amount: amount, Asset: l.Asset, Original: l.Original, References: refs,
	}}}
	if l.Timeout != "" {
		d, err := time.ParseDuration(l.Timeout)
		if err != nil {
			return nil, err
		}
		s.Timeout = d.Microseconds()
	}
	_, err = (&settlement.Command{Action: s}).Marshal()
	return s, err
}

const (
	batchTransfers = 1000 // of one request
	maxBatchLine   = 64 << 10
	maxBatchFile   = 1 << 30
)

func (a *app) settleBatchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "batch FILE | -",
		Short: "Make the transfers of a file of JSON lines",
		Long: `Make the transfers of a file, one JSON object a line:

  {"id":"t-1","from":"alice","to":"bob","amount":"12.34"}

and optionally "asset", "pending", "timeout", "original" (of a return), and
"references", an object. Each is decided by itself, in the order of the lines.
One result is printed for each, in order. The whole file is read and checked
first; the exit code is 12 if a transfer was rejected, and 5 if an id stands for
another transfer. Giving the file again returns the same results.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			submits, err := a.readBatch(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.settleBatch(cmd, submits)
		},
	}
}

func (a *app) readBatch(ctx context.Context, name string) ([]settlement.Action, error) {
	raw, err := a.readInput(ctx, name, maxBatchFile)
	if err != nil {
		return nil, err
	}
	var submits []settlement.Action
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, maxBatchLine)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		var l batchLine
		d := json.NewDecoder(strings.NewReader(lines.Text()))
		d.DisallowUnknownFields()
		err := d.Decode(&l)
		if _, more := d.Token(); err == nil && !errors.Is(more, io.EOF) {
			err = errors.New("more than one value on the line")
		}
		var s *settlement.Submit
		if err == nil {
			s, err = l.submit()
		}
		if err != nil {
			return nil, usagef("%s, line %d: %v; nothing was sent", printable(name), n, err)
		}
		submits = append(submits, s)
	}
	return submits, errors.Wrapf(lines.Err(), "read %s", printable(name))
}

func (a *app) settleBatch(cmd *cobra.Command, submits []settlement.Action) error {
	var refused error
	err := a.withSettle(cmd, func(ctx context.Context, s *settle.Client) error {
		for len(submits) > 0 {
			part := submits[:min(len(submits), batchTransfers)]
			submits = submits[len(part):]
			outcomes, err := s.Execute(ctx, part)
			if err != nil {
				return changeError(errors.Wrap(err, "settle"), "give the same file again: each transfer is decided once")
			}
			for i := range outcomes {
				info := newResultInfo(part[i].(*settlement.Submit).Transfers[0].ID, &outcomes[i], 0)
				info.Lines = nil
				if r := info.refused(); r != nil && (refused == nil || r.(*failure).code == exitConflict) {
					refused = r
				}
				if err := a.emit(info, func(w *page) { fmt.Fprintf(w, "%d\t%s\n", info.Index, info.words()) }); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return refused
}
