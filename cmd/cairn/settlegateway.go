package main

import (
	"context"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/api/client/settle/gatewayledger"
	"github.com/cairnledger/cairn/settlement/gateway"
	"github.com/cairnledger/cairn/settlement/gateway/folder"
)

// eventInfo is a file that the gateway has finished.
type eventInfo struct {
	*answerInfo
	Moved string `json:"moved"` // path of the file now
}

// noticeInfo is a message about an instruction whose file is done already.
type noticeInfo struct {
	File   string `json:"file"`
	Notice string `json:"notice_file"`
	Index  uint64 `json:"index"`
}

func (a *app) settleGatewayCommand() *cobra.Command {
	flags := &gatewayFlags{}
	var in, out string
	var once bool
	o := folder.Options{}
	cmd := &cobra.Command{
		Use:   "gateway --in DIRECTORY --out DIRECTORY",
		Short: "Carry out the ISO 20022 messages that come into a directory",
		Long: `Carry out ISO 20022 messages that come as files into the directory --in, and
write the answers into the directory --out, until SIGINT or SIGTERM.

  IN/NAME              a message that waits
  IN/done/NAME         one that was carried out, at least in part
  IN/rejected/NAME     one of which nothing was carried out
  OUT/NAME.reply.xml   the answer; NAME.reply.txt when it is a text
  OUT/NAME.sese.025-…  what an entry of the ledger settled of an instruction

The gateway may be killed at any moment, and started again: every message is
carried out once, and every answer is there once. While no node answers, files
wait. A file is read when it has not changed for --still; a writer that gives it
a name that ends in .tmp, and renames it at the end, needs no such time.

One gateway works on a directory. It says on standard error what it does; with
--output json it prints an object for each file instead.`,
		Example: `  cairn settle gateway --in in --out out --participant BANKDEFF
  cairn settle gateway --in in --out out --options gateway.yaml --once`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "in", "out"); err != nil {
				return err
			}
			options, err := flags.complete()
			if err != nil {
				return err
			}
			return a.gateway(cmd.Context(), in, out, o, options, once)
		},
	}
	f := cmd.Flags()
	f.StringVar(&in, "in", "", "`directory` into which the messages come")
	f.StringVar(&out, "out", "", "`directory` for the answers")
	f.BoolVar(&once, "once", false, "answer what is there, and end")
	numberFlag(f, &o.Quiet, "still", "", folder.DefaultQuiet, time.Millisecond, time.Hour, "a file is read when it has not changed for this `duration`")
	numberFlag(f, &o.Keep, "keep", "", folder.DefaultKeep, time.Hour, 100*365*24*time.Hour, "remember for this `duration` that an instruction was told about")
	numberFlag(f, &o.Poll, "poll", "", folder.DefaultPoll, time.Millisecond, time.Hour, "look for new files after this `duration`")
	flags.carrying(cmd)
	return cmd
}

func (a *app) gateway(ctx context.Context, in, out string, o folder.Options, options gateway.Options, once bool) error {
	if _, err := a.profile(); err != nil {
		return err
	}
	var broken error // standard output is gone
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.Report = func(e folder.Event) {
		if err := a.gatewayEvent(in, out, e); err != nil && broken == nil {
			broken = err
			cancel()
		}
	}
	f, err := folder.Open(in, out, o)
	if err != nil {
		return failf(exitFailed, "see that the directories can be written, and that no other gateway works on them", "%v", err)
	}
	defer f.Close()
	err = a.withClientContext(ctx, func(ctx context.Context, c *client.Client) error {
		g, err := gateway.New(gatewayledger.New(settle.New(c), a.timeout), options)
		if err != nil {
			return usagef("%v", err)
		}
		if once {
			left, err := f.Once(ctx, g)
			if err == nil && left > 0 {
				a.note("%s left: still being written", plural(left, "file is", "files are"))
			}
			return err
		}
		a.note("waiting for messages in %s, until interrupted", printable(in))
		return f.Run(ctx, g)
	})
	if broken != nil {
		return broken
	}
	return errors.Wrap(err, "carry messages out; they wait in "+printable(in))
}

// gatewayEvent says what the gateway has done.
func (a *app) gatewayEvent(in, out string, e folder.Event) error {
	if e.Err != nil {
		what := "the ledger or the disk fails"
		if e.File != "" {
			what = printable(e.File) + " waits"
		}
		a.note("%s: %v", what, e.Err)
		return nil
	}
	if e.Notice != "" {
		if a.json {
			return a.emit(noticeInfo{e.File, e.Notice, e.Index}, nil)
		}
		a.note("%s: entry %d is told in %s", printable(e.File), e.Index, printable(e.Notice))
		return nil
	}
	info := newAnswerInfo(e.File, e.Answer)
	info.ReplyFile = e.Reply
	if a.json {
		return a.emit(eventInfo{info, e.Moved}, nil)
	}
	a.note("%s; %s, answer %s", info.words(), printable(e.Moved), printable(e.Reply))
	return nil
}
