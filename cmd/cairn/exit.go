package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
)

// The exit codes are an interface: scripts branch on them. A number is never
// given another meaning.
const (
	exitOK          = 0   // everything held
	exitFailed      = 1   // anything without a code of its own
	exitUsage       = 2   // the command line or a file named by it is wrong; nothing was tried
	exitRefused     = 3   // a verification refused: receipt, checkpoint, proof, ledger, a command against its message
	exitNotFound    = 4   // no such entry, ledger, file or cluster
	exitConflict    = 5   // key used with another payload, another size than expected, or another ledger of the origin
	exitUnavailable = 6   // no quorum, node down, overloaded: the call that failed had certainly no effect, try again
	exitUnknown     = 7   // it may or may not have happened: repeat an append with the same key
	exitDenied      = 8   // certificate or role not accepted
	exitInvalid     = 9   // the ledger refuses the input: too large, malformed; or a linter does
	exitNotSealed   = 10  // appended, but not sealed in time: the receipt can be had later
	exitLost        = 11  // done, but the output about it was lost: standard error says what was done
	exitRejected    = 12  // the ledger's program decided against it: the outcome is in the ledger
	exitBreaks      = 13  // a reconciliation found breaks
	exitInterrupted = 130 // SIGINT or SIGTERM
	exitPipe        = 141 // nobody reads standard output any more: as after SIGPIPE, nothing is said
)

const exitCodesHelp = `Every command ends with one of these codes. A number is never given another
meaning.

    0  everything held
    1  failed, for a reason without a code of its own
    2  usage: the command line or a file named by it is wrong; nothing was tried
    3  refused: a receipt, checkpoint, proof or ledger does not verify, a
       command says something else than its message, or a member that the
       others know was to be made again
    4  not found: no such entry, ledger, file or cluster
    5  conflict: the key was used with another payload, the ledger does not
       have the expected size, or another ledger has the origin
    6  unavailable: no leader, no quorum, overloaded, not reachable, or behind
       what was audited before. The call that failed certainly had no effect;
       try again
    7  outcome unknown: it may or may not have happened. Repeat an append with
       the same --key: it is then appended once, whatever happened before.
       Repeat the creation of a ledger. After move-leader or cluster up, down,
       destroy, start, stop, kill look at the status
    8  denied: certificate or role not accepted
    9  invalid: the ledger refuses the input (too large, malformed), or cairn
       settle iso lint a message
   10  not sealed in time: what append --sealed prints is in the ledger, but
       has no receipt yet; cairn receipt INDEX gets it later
   11  done, but the output was lost: standard output, the file of --out or the
       state file could not be written. Standard error says what was done (of
       an append: index, key, and that it is in the ledger). Do not repeat it
   12  rejected: the ledger's program decided against the command, for the
       reason that is printed. The command and its outcome are in the ledger
   13  breaks: the account and the statements of a reconciliation differ
  130  interrupted (an append that was on its way ends with 7 instead)
  141  nobody reads standard output any more (cairn log | head), and nothing was
       changed

With --output json an error is one object on standard error: error, reason,
exit_code, and where it applies definite, index, key and next.`

// failure is an error that knows its exit code and what to do next.
type failure struct {
	code   int
	reason string // stable word for scripts
	next   string // what to do, a sentence; "" if nothing helps
	// definite is set for calls to the ledger: did it certainly have no effect?
	definite *bool
	index    *uint64 // of the entry that was appended all the same
	keyJSON          // that the entry has, or may have
	err      error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail returns err with an exit code and a next step.
func fail(code int, next string, err error) error {
	return &failure{code: code, reason: exitReason(code), next: next, err: err}
}

func failf(code int, next, format string, args ...any) error {
	return fail(code, next, errors.Newf(format, args...))
}

func usagef(format string, args ...any) error {
	return failf(exitUsage, "", format, args...)
}

func exitReason(code int) string {
	switch code {
	case exitUsage:
		return "USAGE"
	case exitRefused:
		return "REFUSED"
	case exitNotFound:
		return "NOT_FOUND"
	case exitConflict:
		return "CONFLICT"
	case exitUnavailable:
		return "UNAVAILABLE"
	case exitUnknown:
		return "OUTCOME_UNKNOWN"
	case exitDenied:
		return "DENIED"
	case exitInvalid:
		return "INVALID"
	case exitNotSealed:
		return client.ReasonNotSealed
	case exitLost:
		return "OUTPUT_LOST"
	case exitRejected:
		return "REJECTED"
	case exitBreaks:
		return "BREAKS"
	case exitInterrupted:
		return "INTERRUPTED"
	default:
		return "FAILED"
	}
}

// classify gives every error its exit code.
func classify(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		// The text of the outermost error, the code of the innermost verdict.
		return &failure{code: f.code, reason: f.reason, next: f.next, definite: f.definite, index: f.index, keyJSON: f.keyJSON, err: err}
	}
	if f := classifyClient(err); f != nil {
		return f
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &failure{code: exitInterrupted, reason: exitReason(exitInterrupted), err: errors.New("interrupted")}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{code: exitUnavailable, reason: exitReason(exitUnavailable), err: err,
			next: "look at `cairn status`, or allow more time with --timeout"}
	case errors.Is(err, os.ErrNotExist):
		return &failure{code: exitNotFound, reason: exitReason(exitNotFound), err: err}
	}
	return &failure{code: exitFailed, reason: exitReason(exitFailed), err: err}
}

// report writes an error for a person or, as one object, for a script.
func report(w io.Writer, s screen, asJSON bool, f *failure) {
	if asJSON {
		raw, err := marshalLine(struct {
			Error    string  `json:"error"`
			Reason   string  `json:"reason"`
			ExitCode int     `json:"exit_code"`
			Definite *bool   `json:"definite,omitempty"`
			Index    *uint64 `json:"index,omitempty"`
			keyJSON
			Next string `json:"next,omitempty"`
		}{f.Error(), f.reason, f.code, f.definite, f.index, f.keyJSON, f.next})
		if err == nil {
			_, _ = w.Write(raw)
			return
		}
	}
	// Lines after the first are indented: no server can write a line that looks like one of ours.
	text := strings.ReplaceAll(strings.TrimRight(f.Error(), "\n"), "\n", "\n    ")
	_ = printPage(w, s, func(p *page) {
		fmt.Fprintf(p, "%s %s\n", bad("cairn:"), text)
		if f.next != "" {
			p.hang("  next: ", f.next)
		}
	})
}
