package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// app is one run of the binary: its streams and the flags that every command has.
type app struct {
	streams
	outScreen   screen
	errScreen   screen
	format      string // --output
	json        bool   // format == "json"
	quiet       bool
	profilePath string
	policyPath  string
	chainPath   string
	ledger      string // origin; "" means that of the profile
	policyAsIs  bool   // a policy file was named and --ledger was not: no log of it is renamed
	timeout     time.Duration

	effect  *effect // what the command has done for good; nil while nothing
	started bool    // a command's own code has begun: from here on errors are not about usage
}

const (
	groupLedger  = "ledger"
	groupVerify  = "verify"
	groupOperate = "operate"
)

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, s streams) int {
	a := &app{outScreen: screenOf(s.out, os.Getenv), errScreen: screenOf(s.err, os.Getenv)}
	out := &output{w: s.out}
	s.out = out
	a.streams = s
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	checkNames(root) // when the output is set: the completion command keeps what it is now
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = out.err // of what ignores it, such as the help
	}
	if err == nil {
		return exitOK
	}
	if a.effect == nil && brokenPipe(err) {
		return exitPipe
	}
	f := classify(err)
	if f.code == exitInterrupted && ctx.Err() == nil {
		// Nobody interrupted us: a call was cancelled because its time was up.
		f.code, f.reason, f.next = exitUnavailable, exitReason(exitUnavailable), "look at `cairn status`, or allow more time with --timeout"
	}
	if a.effect != nil {
		f = a.effect.after(f)
	}
	if !a.started && f.code == exitFailed && out.err == nil {
		f = &failure{code: exitUsage, reason: exitReason(exitUsage), err: err, next: "see `" + cmd.CommandPath() + " --help`"}
	}
	report(s.err, a.errScreen, a.json || wantsJSON(args), f)
	return f.code
}

// wantsJSON looks for --output json where the flags could not be parsed.
func wantsJSON(args []string) bool {
	for i, arg := range args {
		if arg == "--" {
			return false
		}
		if arg == "--output=json" || arg == "--output" && i+1 < len(args) && args[i+1] == "json" {
			return true
		}
	}
	return false
}

// flagError explains what looks like a flag and was meant as a number.
func flagError(_ *cobra.Command, err error) error {
	msg := err.Error()
	if i := strings.LastIndexByte(msg, '-'); strings.HasPrefix(msg, "unknown shorthand flag") && i >= 0 {
		if n, convErr := strconv.ParseInt(msg[i:], 10, 64); convErr == nil {
			return usagef("%d is negative: indexes and sizes count from 0", n)
		}
	}
	return err
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "cairn",
		Short: "A replicated, tamper-evident ledger with post-quantum receipts",
		Long: `Cairn is a replicated, tamper-evident ledger: append an entry and get a receipt
that is durable on a quorum, included in an RFC 6962 Merkle tree, cosigned with
ML-DSA by a majority of the replicas, and verifiable offline.

Try it:            cairn demo
A local cluster:   cairn cluster up && . ./.cairn/env
Append and prove:  echo hello | cairn append --sealed -o r.tlog-proof
Verify offline:    cairn verify r.tlog-proof`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			if err := checkValues(cmd, args); err != nil {
				return err
			}
			switch a.format {
			case "text":
			case "json":
				a.json = true
			default:
				return usagef("--output must be text or json, not %q", a.format)
			}
			// CAIRN_LEDGER belongs to CAIRN_PROFILE: another profile names its own ledger.
			if cmd.Flags().Changed("profile") && !cmd.Flags().Changed("ledger") {
				a.ledger = ""
			}
			a.policyAsIs = cmd.Flags().Changed("policy") && !cmd.Flags().Changed("ledger")
			a.started = true
			return nil
		},
	}
	root.SetFlagErrorFunc(flagError)
	a.layOutHelp(root)
	f := root.PersistentFlags()
	f.StringVar(&a.format, "output", "text", "`format` of results: text or json (one object per line)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no remarks on standard error")
	f.StringVar(&a.profilePath, "profile", os.Getenv("CAIRN_PROFILE"), "client profile `file` [$CAIRN_PROFILE]")
	f.StringVar(&a.policyPath, "policy", os.Getenv("CAIRN_POLICY"), "tlog-policy `file` that receipts and checkpoints must meet [$CAIRN_POLICY]")
	f.StringVar(&a.chainPath, "chain", os.Getenv("CAIRN_CHAIN"), "`file` of cairn policy chain: judge each size by its policy [$CAIRN_CHAIN]")
	f.StringVar(&a.ledger, "ledger", os.Getenv("CAIRN_LEDGER"), "`origin` of the ledger; without it, and with --profile, the profile's [$CAIRN_LEDGER]")
	numberFlag(f, &a.timeout, "timeout", "", 30*time.Second, time.Millisecond, maxWait, "give up after this `duration`, or when nothing has come for it")
	// The defaults above come from the environment: help shows the variable, not the value.
	f.Lookup("profile").DefValue, f.Lookup("policy").DefValue, f.Lookup("ledger").DefValue = "", "", ""

	root.AddGroup(
		&cobra.Group{ID: groupLedger, Title: "Write and read:"},
		&cobra.Group{ID: groupVerify, Title: "Verify:"},
		&cobra.Group{ID: groupOperate, Title: "Operate:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	a.addCommands(add)
	root.AddCommand(a.versionCommand(), a.manCommand(), &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long:  exitCodesHelp,
	})
	root.Version = buildVersion().Version
	root.SetVersionTemplate("cairn {{.Version}}\n")
	a.completeValues(root)
	return root
}
