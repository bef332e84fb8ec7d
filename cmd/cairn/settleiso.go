package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/api/client/settle/gatewayledger"
	"github.com/cairnledger/cairn/settlement/gateway"
	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

func (a *app) settleISOCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "iso",
		Short: "Judge, carry out and audit ISO 20022 messages",
		Long: `Commands for ISO 20022 messages: pacs.008, pacs.009, pacs.004, pacs.002,
pacs.028, camt.056 and sese.023. cairn settle gateway does the same for folders
of files.

The identity of a transaction is the participant, the rail, the kind of message,
the message's identification and the transaction's. An identity is decided once:
the same message again moves nothing and gets the first answer.`,
		Example: `  cairn settle iso lint pacs008.xml
  cairn settle iso submit pacs008.xml --participant BANKDEFF -o pacs002.xml
  cairn settle iso status MSG-1 TX-1 --participant BANKDEFF
  cairn settle iso audit`,
		RunE: needsSubcommand,
	}
	cmd.AddCommand(a.isoLintCommand(), a.isoSubmitCommand(), a.isoStatusCommand(), a.isoStatementCommand(), a.isoAuditCommand())
	return cmd
}

// readMessage reads a file with a message.
func (a *app) readMessage(ctx context.Context, name string) ([]byte, error) {
	raw, err := a.readInput(ctx, name, xmltree.DefaultBytes)
	if errors.Is(err, errTooLong) {
		return nil, fail(exitUsage, "split it into several messages", err)
	}
	return raw, err
}

// findingInfo is what is wrong with a message.
type findingInfo struct {
	Severity    string `json:"severity"`
	Rule        string `json:"rule"`
	Code        string `json:"code,omitempty"`
	Path        string `json:"path,omitempty"`
	Line        int    `json:"line"`
	Column      int    `json:"column"`
	Transaction *int   `json:"transaction,omitempty"` // from 0; missing when it is about the whole message
	Text        string `json:"text"`
}

func newFindingInfos(findings []iso20022.Finding) []findingInfo {
	all := []findingInfo{}
	for _, f := range findings {
		i := findingInfo{Severity: f.Severity.String(), Rule: f.Rule, Code: f.Code, Path: f.Path, Line: f.Line, Column: f.Column, Text: f.Text}
		if f.Transaction >= 0 {
			i.Transaction = &f.Transaction
		}
		all = append(all, i)
	}
	return all
}

// lintInfo is the verdict about a file.
type lintInfo struct {
	File         string        `json:"file"`
	Message      string        `json:"message,omitempty"` // definition
	ID           string        `json:"id,omitempty"`
	Transactions int           `json:"transactions"`
	Rejected     bool          `json:"rejected"` // the whole message
	Errors       int           `json:"errors"`
	Warnings     int           `json:"warnings"`
	Findings     []findingInfo `json:"findings"`
}

func (a *app) isoLintCommand() *cobra.Command {
	flags := &gatewayFlags{}
	cmd := &cobra.Command{
		Use:   "lint FILE...",
		Short: "Judge messages without a ledger",
		Long: `Judge ISO 20022 messages by what is in them: form, schema, amounts, accounts,
dates and identifications. No ledger is asked. docs/iso20022.md lists the rules.

The exit code is 9 when a message, or a transaction of one, would be rejected.`,
		Example: "  cairn settle iso lint pacs008.xml\n  cairn settle iso lint *.xml --business-date today --output json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := flags.options()
			if err == nil {
				err = checkTimely(&o)
			}
			if err != nil {
				return err
			}
			wrong := 0
			for _, name := range args {
				raw, err := a.readMessage(cmd.Context(), name)
				if err != nil {
					return err
				}
				info := lint(name, raw, &o)
				if info.Errors > 0 {
					wrong++
				}
				if err := a.emit(info, info.text); err != nil {
					return err
				}
			}
			if wrong > 0 {
				return failf(exitInvalid, "correct what the errors name", "%s would be rejected, at least in part", plural(wrong, "message", "messages"))
			}
			return nil
		},
	}
	flags.timely(cmd)
	return cmd
}

func lint(name string, raw []byte, o *gateway.Options) *lintInfo {
	m, findings := iso20022.Check(raw, o.Rules(time.Now()))
	info := &lintInfo{File: name, Rejected: m == nil || iso20022.Rejected(findings), Findings: newFindingInfos(findings)}
	if m != nil {
		info.Message, info.ID, info.Transactions = m.Definition, m.ID, len(m.Transactions)
	}
	for _, f := range findings {
		if f.Severity == iso20022.Error {
			info.Errors++
		} else {
			info.Warnings++
		}
	}
	return info
}

func (i *lintInfo) text(w *page) {
	what := "no message that can be read"
	if i.Message != "" {
		what = printable(i.Message) + " " + printable(i.ID)
	}
	verdict := "in order"
	switch {
	case i.Rejected:
		verdict = "would be rejected"
	case i.Errors > 0:
		verdict = "would be rejected in part"
	}
	fmt.Fprintf(w, "%s: %s, %s\n", printable(i.File), what, verdict)
	for _, f := range i.Findings {
		code := f.Code
		if code == "" {
			code = "-"
		}
		w.hang("  ", fmt.Sprintf("%s %s %s, line %d, column %d: %s", f.Severity, code, f.Rule, f.Line, f.Column, onScreen(f.Text)))
	}
}

// answerInfo is what came of a message.
type answerInfo struct {
	File       string        `json:"file"`
	Message    string        `json:"message,omitempty"` // definition
	ID         string        `json:"id,omitempty"`
	Rejected   bool          `json:"rejected"` // nothing of it was carried out
	Reply      string        `json:"reply"`    // the text of the answer
	Definition string        `json:"reply_definition,omitempty"`
	ReplyID    string        `json:"reply_id"`
	ReplyFile  string        `json:"reply_file,omitempty"`
	Items      []itemInfo    `json:"transactions"`
	Findings   []findingInfo `json:"findings,omitempty"`
}

// itemInfo is what came of a transaction of a message.
type itemInfo struct {
	Transaction string  `json:"transaction"`
	ID          string  `json:"id,omitempty"`     // in the ledger
	Status      string  `json:"status,omitempty"` // of ISO 20022
	Code        string  `json:"iso_code,omitempty"`
	Reason      string  `json:"reason,omitempty"`
	Text        string  `json:"text,omitempty"`
	Index       *uint64 `json:"index,omitempty"` // of the entry that decided it
	Repeated    bool    `json:"decided_before,omitempty"`
}

func newItemInfo(i *gateway.Item) itemInfo {
	info := itemInfo{Transaction: i.Transaction, ID: i.ID, Status: i.Code, Code: i.Reason, Reason: i.Name, Text: i.Text, Repeated: i.Repeated}
	if i.Decided {
		info.Index = &i.Index
	}
	return info
}

func newAnswerInfo(name string, x *gateway.Answer) *answerInfo {
	info := &answerInfo{
		File: name, Message: x.Message, ID: x.ID, Rejected: x.Rejected, Reply: string(x.Reply), Definition: x.Definition, ReplyID: x.ReplyID,
		Items: []itemInfo{}, Findings: newFindingInfos(x.Findings),
	}
	for i := range x.Items {
		info.Items = append(info.Items, newItemInfo(&x.Items[i]))
	}
	return info
}

// words says what came of the message in a line.
func (i *answerInfo) words() string {
	what := "a message that cannot be named"
	if i.ID != "" {
		what = strings.TrimSpace(printable(i.Message) + " " + printable(i.ID))
	}
	verdict := "carried out"
	if i.Rejected {
		verdict = "rejected"
	}
	return fmt.Sprintf("%s: %s %s", printable(i.File), what, verdict)
}

func (i *answerInfo) text(w *page) {
	fmt.Fprintln(w, i.words())
	for n := range i.Items {
		i.Items[n].text(w)
	}
	if len(i.Items) == 0 {
		for _, f := range i.Findings {
			w.hang("  ", fmt.Sprintf("%s %s: %s", f.Code, f.Rule, onScreen(f.Text)))
		}
	}
	if i.ReplyFile != "" {
		fmt.Fprintf(w, "  the answer %s is in %s\n", i.ReplyID, printable(i.ReplyFile))
	}
}

func (i *itemInfo) text(w *page) {
	line := statusWords(i.Status) + " " + printable(i.Transaction)
	if i.Repeated {
		line += " (decided before)"
	}
	if i.Index != nil {
		line += fmt.Sprintf(", entry %d", *i.Index)
	}
	if i.Reason != "" {
		line += fmt.Sprintf(": %s (%s): %s", i.Reason, i.Code, onScreen(i.Text))
	}
	w.hang("  ", line)
}

func (a *app) isoSubmitCommand() *cobra.Command {
	flags := &gatewayFlags{}
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "submit FILE...",
		Short: "Carry messages out, and write the answers",
		Long: `Carry out ISO 20022 messages on the ledger, in their order, and answer each:
pacs.002, camt.029 to camt.056, sese.024 to sese.023. What cannot be read as a
message gets a text.

-o writes the answer to a file; of several messages it names a directory, and
each answer is there as FILE.reply.xml, or FILE.reply.txt when it is a text.

The exit code is 12 when of some message nothing was carried out. Giving the
files again moves nothing, and gives the first answers.`,
		Example: `  cairn settle iso submit pacs008.xml --participant BANKDEFF -o pacs002.xml
  cairn settle iso submit *.xml --options gateway.yaml -o answers/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := flags.complete()
			if err != nil {
				return err
			}
			s := &submission{a: a, cmd: cmd, options: o, files: args, out: out, force: force}
			return s.run()
		},
	}
	flags.carrying(cmd)
	cmd.Flags().StringVarP(&out, "out", "o", "", "write the answer to a `file`, or the answers into a directory; - is standard output")
	cmd.Flags().BoolVar(&force, "force", false, "replace the files of --out")
	return cmd
}

// submission is one call of submit.
type submission struct {
	a       *app
	cmd     *cobra.Command
	options gateway.Options
	files   []string
	out     string
	force   bool
	targets []*target // one for each file, when --out is given
}

func (s *submission) run() error {
	in := make([]gateway.Incoming, len(s.files))
	for i, name := range s.files {
		raw, err := s.a.readMessage(s.cmd.Context(), name)
		if err != nil {
			return errors.Wrap(err, "nothing was sent")
		}
		in[i] = gateway.Incoming{Raw: raw, Received: time.Now()}
	}
	if err := s.open(); err != nil {
		return err
	}
	var rejected []string
	err := s.a.withSettle(s.cmd, func(ctx context.Context, c *settle.Client) error {
		g, err := gateway.New(gatewayledger.New(c, 0), s.options)
		if err != nil {
			return usagef("%v", err)
		}
		answers, failed := g.AnswerAll(ctx, in)
		for i, x := range answers {
			if x == nil {
				continue
			}
			if x.Rejected {
				rejected = append(rejected, s.files[i])
			}
			if err := s.answer(i, x); err != nil {
				return err
			}
		}
		if failed != nil {
			return changeError(errors.Wrap(failed, "carry the messages out"), "give the same files again: what was decided is decided once, and has the same answer")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n := len(rejected); n > 0 {
		return failf(exitRejected, "the answer says why", "nothing was carried out of %s", printable(strings.Join(rejected, ", ")))
	}
	return nil
}

// open opens the targets of the answers.
func (s *submission) open() error {
	if s.out == "" {
		return nil
	}
	info, err := os.Stat(s.out)
	folder := err == nil && info.IsDir()
	if !folder && len(s.files) > 1 {
		return usagef("--out names a directory when there are several messages: %s is none", printable(s.out))
	}
	seen := map[string]bool{}
	for _, name := range s.files {
		path := s.out
		if folder {
			path = filepath.Join(s.out, filepath.Base(name)+".reply.xml")
			if name == "-" || seen[path] {
				return usagef("two answers would have the name %s: give the files one by one", printable(path))
			}
			seen[path] = true
		}
		t, err := s.a.openTarget("--out", path, s.force)
		if err != nil {
			return err
		}
		s.targets = append(s.targets, t)
	}
	return nil
}

// answer prints what came of a message, and writes its answer.
func (s *submission) answer(i int, x *gateway.Answer) error {
	info := newAnswerInfo(s.files[i], x)
	s.a.did(effect{text: info.words(), next: "give the same file again: it moves nothing, and gets the same answer"})
	if s.targets == nil {
		return s.a.emit(info, info.text)
	}
	t := s.targets[i]
	if x.Definition == "" && strings.HasSuffix(t.path, ".reply.xml") && t.path != s.out {
		t.path = strings.TrimSuffix(t.path, ".xml") + ".txt"
	}
	if err := t.write(x.Reply); err != nil {
		return err
	}
	if t.stdout() {
		return nil
	}
	info.ReplyFile = t.path
	return s.a.emit(info, info.text)
}

func (a *app) isoStatusCommand() *cobra.Command {
	flags := &gatewayFlags{}
	var file string
	cmd := &cobra.Command{
		Use:   "status [MESSAGE [TRANSACTION...]]",
		Short: "Print what came of the transactions of a message",
		Long: `Print what came of transactions, without asking for anything: of all of the
message with the identification MESSAGE that the ledger knows; or of those named
by their own TxId, InstrId, EndToEndId or RtrId; or, with --file, of all that a
message asks for or is about.

The exit code is 4 when the ledger knows one of them not, or the caller may not
read it. It may still come.`,
		Example: `  cairn settle iso status MSG-1 --participant BANKDEFF
  cairn settle iso status MSG-1 TX-1 TX-2 --participant BANKDEFF
  cairn settle iso status --file pacs008.xml --participant BANKDEFF`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := flags.complete()
			if err != nil {
				return err
			}
			switch {
			case file != "" && len(args) > 0:
				return usagef("name transactions or a --file, not both")
			case file == "" && len(args) == 0:
				return usagef("name a message, or give it with --file")
			}
			return a.isoStatus(cmd, o, file, args)
		},
	}
	flags.identities(cmd)
	cmd.Flags().StringVar(&file, "file", "", "`file` with the message")
	return cmd
}

func (a *app) isoStatus(cmd *cobra.Command, o gateway.Options, file string, args []string) error {
	var raw []byte
	if file != "" {
		var err error
		if raw, err = a.readMessage(cmd.Context(), file); err != nil {
			return err
		}
	}
	unknown := 0
	err := a.withSettle(cmd, func(ctx context.Context, c *settle.Client) error {
		g, err := gateway.New(gatewayledger.New(c, 0), o)
		if err != nil {
			return usagef("%v", err)
		}
		show := func(name string, found *gateway.Item) error {
			if found == nil {
				unknown++
				found = &gateway.Item{Transaction: name}
			}
			info := newItemInfo(found)
			return a.emit(info, info.text)
		}
		if len(args) == 1 {
			found, err := g.FindMessage(ctx, args[0])
			if err != nil {
				return errors.Wrap(err, "read the transfers")
			}
			if len(found) == 0 {
				return failf(exitNotFound, "see that --participant and --rail are those with which the message was given", "the ledger knows no transaction of the message %s that the caller may read", printable(args[0]))
			}
			for _, i := range found {
				if err := show(i.Transaction, i); err != nil {
					return err
				}
			}
			return nil
		}
		if file == "" {
			for _, transaction := range args[1:] {
				found, err := g.Find(ctx, args[0], transaction)
				if err != nil {
					return errors.Wrap(err, "read the transfer")
				}
				if err := show(transaction, found); err != nil {
					return err
				}
			}
			return nil
		}
		m, items, err := g.FindAll(ctx, raw)
		var refused *iso20022.Refused
		switch {
		case errors.As(err, &refused):
			return fail(exitInvalid, "`cairn settle iso lint` says all that is wrong with it", errors.Wrap(err, printable(file)))
		case err != nil:
			return errors.Wrap(err, "read the transfers")
		}
		names := m.Identify(o.Participant, o.Rail)
		for i, found := range items {
			if err := show(names[i].Transaction, found); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && unknown > 0 {
		err = failf(exitNotFound, "see that --participant and --rail are those with which the message was given", "the ledger does not know %s that the caller may read", plural(unknown, "transaction", "transactions"))
	}
	return err
}

// readFolder reads every message among the files of arguments, which may be folders.
func (a *app) readMessages(ctx context.Context, names []string) ([][]byte, error) {
	var all [][]byte
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil || !info.IsDir() {
			raw, err := a.readMessage(ctx, name)
			if err != nil {
				return nil, err
			}
			all = append(all, raw)
			continue
		}
		err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			raw, err := a.readMessage(ctx, path)
			if errors.Is(err, errTooLong) {
				return nil // the gateway takes no such message
			}
			all = append(all, raw)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
