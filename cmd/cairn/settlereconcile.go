package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement/reconcile"
	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// maxMapping is the largest file with a mapping, in bytes.
const maxMapping = 1 << 20

// reconciliation is what the command line asks for.
type reconciliation struct {
	account, mapping, of, out, appendTo, pattern string
	from, to                                     reconcile.Day
	all, force                                   bool
	options                                      reconcile.Options
}

func (a *app) settleReconcileCommand() *cobra.Command {
	r := &reconciliation{options: reconcile.DefaultOptions()}
	cmd := &cobra.Command{
		Use:   "reconcile STATEMENT... --account ACCOUNT",
		Short: "Compare an account with statements of somebody else",
		Long: `Compare an account with the statements of a bank or another system: camt.053,
camt.052 and camt.054 files, or CSV files with --mapping. Every movement of both
sides is matched, or named with what is wrong about it. The exit code is 13 when
something is.

-o writes the report: as HTML, JSON or text, as the name ends in .html, .json or
otherwise. --append puts its record into a ledger of the program log, as proof
of what was found when.`,
		Example: `  cairn settle reconcile camt053.xml --account nostro -o report.html
  cairn settle reconcile bank.csv --mapping bank.yaml --account nostro \
      --from 2027-03-01 --to 2027-03-31`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := required(cmd, "account"); err != nil {
				return err
			}
			return a.reconcile(cmd, args, r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.account, "account", "", "`id` of the account in the ledger")
	f.StringVar(&r.mapping, "mapping", "", "YAML `file` that names the columns of a CSV file")
	f.StringVar(&r.of, "statement-account", "", "take the statements about this `account` alone, as they write it")
	f.Var(dayFlag{&r.from}, "from", "first day of the period, YYYY-MM-DD, UTC (default: the first one of the statements)")
	f.Var(dayFlag{&r.to}, "to", "last day of the period, YYYY-MM-DD, UTC (default: the last one of the statements)")
	numberFlag(f, &r.options.Tolerance, "tolerance", "", r.options.Tolerance, 0, 3660, "a booking that is more `days` apart is late")
	numberFlag(f, &r.options.Window, "window", "", r.options.Window, 0, 3660, "bookings without a reference match within so many `days`")
	f.StringVar(&r.pattern, "pattern", "", "regular `expression` that finds references in texts")
	f.BoolVar(&r.options.Mirror, "mirror", false, "the statement's credits are the ledger's debits")
	f.BoolVar(&r.options.ByValueDate, "by-value-date", false, "compare value dates instead of booking dates")
	f.BoolVar(&r.all, "all", false, "list what matches, too")
	f.StringVarP(&r.out, "out", "o", "", "write the report to a `file`: .html, .json, or text")
	f.BoolVar(&r.force, "force", false, "replace the file of --out")
	f.StringVar(&r.appendTo, "append", "", "append the record of the report to the ledger of this `origin`")
	return cmd
}

func (a *app) reconcile(cmd *cobra.Command, files []string, r *reconciliation) error {
	var out *target
	var err error
	if r.out != "" {
		if out, err = a.openTarget("--out", r.out, r.force); err != nil {
			return err
		}
	}
	if r.pattern != "" {
		if r.options.Pattern, err = regexp.Compile(r.pattern); err != nil {
			return usagef("--pattern: %v", err)
		}
	}
	there, err := a.readStatements(cmd.Context(), files, r)
	if err != nil {
		return err
	}
	if r.from == 0 && r.to == 0 {
		r.from, r.to = period(there)
	}
	report, err := a.compareAccount(cmd, there, r)
	if err != nil {
		return err
	}
	if out != nil {
		raw, err := render(report, r)
		if err == nil {
			err = out.write(raw)
		}
		if err != nil {
			return err
		}
	}
	if !out.stdout() {
		var text bytes.Buffer
		if err := report.WriteText(&text, r.all); err != nil {
			return err
		}
		if err := a.emit(report, func(w *page) { fmt.Fprint(w, text.String()) }); err != nil {
			return err
		}
	}
	if r.appendTo != "" {
		if err := a.appendRecord(cmd, report, r.appendTo); err != nil {
			return err
		}
	}
	if n := report.Breaks(); n > 0 {
		return failf(exitBreaks, "docs/reconciliation.md says what each class of break means", "%s between the account and the statements", plural(n, "break", "breaks"))
	}
	return nil
}

// readStatements reads the files and joins what they say about one account.
func (a *app) readStatements(ctx context.Context, files []string, r *reconciliation) (*statement.Joined, error) {
	var mapping *statement.Mapping
	if r.mapping != "" {
		raw, err := readFile(r.mapping, maxMapping)
		if err != nil {
			return nil, err
		}
		if mapping, err = statement.ReadMapping(raw); err != nil {
			return nil, usagef("%s: %v", printable(r.mapping), err)
		}
	}
	var all []statement.Statement
	for _, name := range files {
		raw, err := a.readInput(ctx, name, statement.MaxFile)
		if err != nil {
			return nil, err
		}
		list, err := statement.Read(raw, mapping)
		if err != nil {
			return nil, usagef("%s: %v", printable(name), err)
		}
		all = append(all, list...)
	}
	if r.of != "" {
		known := statement.Accounts(all)
		if all = statement.Select(all, r.of); len(all) == 0 {
			return nil, usagef("no statement is about %s; they are about %s", printable(r.of), printable(strings.Join(known, ", ")))
		}
	}
	joined, err := statement.Join(all)
	if err != nil {
		return nil, failf(exitUsage, "name one account with --statement-account, or other files", "%v", err)
	}
	return joined, nil
}

// period returns the first and the last day on which the statements have a booking.
func period(there *statement.Joined) (from, to reconcile.Day) {
	for i := range there.Entries {
		if d := there.Entries[i].Booked; d != 0 {
			if from == 0 || d < from {
				from = d
			}
			to = max(to, d)
		}
	}
	return from, to
}

func (a *app) compareAccount(cmd *cobra.Command, there *statement.Joined, r *reconciliation) (report *reconcile.Report, err error) {
	profile, err := a.profile()
	if err != nil {
		return nil, err
	}
	err = a.withSettle(cmd, func(ctx context.Context, s *settle.Client) error {
		book, err := readBook(ctx, s, r.account, r.from, r.to, r.options.Window)
		if err != nil {
			return err
		}
		book.Ledger = profile.Origin
		report, err = reconcile.Compare(book, there, r.options)
		if err != nil {
			return usagef("%v", err)
		}
		return nil
	})
	return report, err
}

// render returns the report in the format that the name of its file asks for.
func render(report *reconcile.Report, r *reconciliation) ([]byte, error) {
	var b bytes.Buffer
	var err error
	switch strings.ToLower(filepath.Ext(r.out)) {
	case ".html", ".htm":
		err = report.WriteHTML(&b)
	case ".json":
		err = report.WriteJSON(&b)
	default:
		err = report.WriteText(&b, r.all)
	}
	return b.Bytes(), err
}

// appendRecord appends the record of a report to a ledger of payloads, once.
func (a *app) appendRecord(cmd *cobra.Command, report *reconcile.Report, origin string) error {
	record, err := report.Record()
	if err != nil {
		return err
	}
	a.ledger = origin
	return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
		sum := sha256.Sum256(record)
		x, err := c.Append(ctx, client.Entry{Key: []byte("reconciliation-" + hex.EncodeToString(sum[:])), Payload: record})
		if err != nil {
			return changeError(errors.Wrap(err, "append the record"), "repeat the command: the same record is appended once")
		}
		a.note("the record is entry %d of %s", x.Index, printable(origin))
		return nil
	})
}
