// Command cairn is all of Cairn in one binary: it runs a node, appends to a
// ledger and reads it, verifies receipts and whole ledgers, manages a local
// cluster, measures and demonstrates.
//
// Scripts may rely on three things: the exit code (cairn help exit-codes), the
// objects that --output json prints on standard output, and that nothing else
// is written there. Messages for people go to standard error.
//
// The connection comes from a profile (--profile or CAIRN_PROFILE), the
// verifier's demands from a policy file (--policy or CAIRN_POLICY). The profile
// names a ledger; --ledger or CAIRN_LEDGER names another one of its cluster.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

func run() int {
	// A write to a closed pipe is an error of that write, which says what was done, and not the
	// end of the process. A handler, unlike ignoring, is not inherited by the nodes of a cluster.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := untilSignal()
	defer stop()
	return execute(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM. The
// second one ends the process: a clean stop may wait for a disk that hangs.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
