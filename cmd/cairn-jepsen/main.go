// Command cairn-jepsen tests a ledger the hard way: clients record what they are
// told while faults happen, and a checker decides whether it can all be true.
//
//	cairn-jepsen run      a cluster of real processes, broken in every way this machine allows
//	cairn-jepsen recheck  the verdict about a run again, from its files
//	cairn-jepsen sim      simulated clusters, one for each seed
//	cairn-jepsen damage   the files of stopped nodes are damaged, and the nodes come back
//	cairn-jepsen zoo      builds with deliberate bugs, each of which must be caught
//
// Exit codes: 0 pass, 1 a promise was broken, 2 usage, 3 the run proves nothing.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/jepsen/report"
	"github.com/cairnledger/cairn/jepsen/testbed"
)

const (
	exitFail    = 1
	exitUsage   = 2
	exitInvalid = 3
)

// exitError ends the program with a code, after everything has been said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	if len(os.Args) > 1 && os.Args[1] == "run" {
		if code, done := testbed.Private(); done {
			os.Exit(code)
		}
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	os.Exit(execute(ctx, os.Args[1:]))
}

func execute(ctx context.Context, args []string) int {
	root := &cobra.Command{
		Use:           "cairn-jepsen",
		Short:         "Test a ledger under faults, and prove what it did",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(runCommand(), recheckCommand(), simCommand(), damageCommand(), zooCommand())
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(os.Stderr, "cairn-jepsen:", err)
	if ctx.Err() != nil {
		return exitInvalid
	}
	return exitUsage
}

// verdictError is the exit code of a verdict.
func verdictError(v report.Verdict) error {
	switch v {
	case report.Pass:
		return nil
	case report.Fail:
		return exitError(exitFail)
	}
	return exitError(exitInvalid)
}
