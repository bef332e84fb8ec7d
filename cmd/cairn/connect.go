package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/merkle/tlog"
)

const needProfile = "`cairn cluster up` makes one; then `. DIR/env`, or pass --profile FILE"

// profile loads the profile of the command line or the environment.
func (a *app) profile() (client.Profile, error) {
	if a.profilePath == "" {
		return client.Profile{}, failf(exitUsage, needProfile, "no profile: CAIRN_PROFILE is not set and there is no --profile")
	}
	p, err := loadProfile(a.profilePath)
	if err != nil {
		return p, err
	}
	if a.policyPath != "" {
		p.Policy = a.policyPath
	}
	if a.ledger != "" {
		p = p.ForLedger(a.ledger)
	}
	return p, nil
}

func loadProfile(path string) (client.Profile, error) {
	p, err := client.LoadProfile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return p, fail(exitUsage, needProfile, err)
	case err != nil:
		return p, fail(exitUsage, "a profile is a YAML file; docs/operations.md explains its keys", err)
	}
	return p, nil
}

// adminProfile names the variable with the profile of the commands that need the role admin.
const adminProfile = "CAIRN_ADMIN_PROFILE"

// withAdmin is withClient for a command that needs the role admin: it takes the profile of
// CAIRN_ADMIN_PROFILE, unless the command line names one.
func (a *app) withAdmin(cmd *cobra.Command, f func(ctx context.Context, c *client.Client) error) error {
	path := os.Getenv(adminProfile)
	if path == "" || cmd.Flags().Changed("profile") {
		return a.withClient(cmd, f)
	}
	admin, err := loadProfile(path)
	if err != nil {
		return errors.Wrap(err, adminProfile)
	}
	if a.profilePath != "" {
		other, err := a.profile()
		if err != nil {
			return err
		}
		if other.ClusterID != admin.ClusterID {
			return failf(exitUsage, "name the profile with --profile, or unset "+adminProfile,
				"%s is of the cluster %s, and CAIRN_PROFILE of the cluster %s", adminProfile, printable(admin.ClusterID), printable(other.ClusterID))
		}
	}
	a.profilePath = path
	return a.withClient(cmd, f)
}

// dial prepares a client of the ledger. It does not connect yet.
func (a *app) dial(ctx context.Context, opts ...client.Option) (*client.Client, error) {
	p, err := a.profile()
	if err != nil {
		return nil, err
	}
	opts = append([]client.Option{client.WithTimeout(a.timeout)}, opts...)
	c, err := client.Dial(ctx, p, opts...)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fail(exitUsage, "check the files that the profile "+a.profilePath+" names", err)
	}
	return c, nil
}

// withClient runs f with a client, within --timeout.
func (a *app) withClient(cmd *cobra.Command, f func(ctx context.Context, c *client.Client) error) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
	defer cancel()
	return a.withClientContext(ctx, f)
}

// withClientContext runs f with a client. Closing it writes the state file; an
// error of that does not hide one of f.
func (a *app) withClientContext(ctx context.Context, f func(ctx context.Context, c *client.Client) error) (err error) {
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := c.Close(); err == nil {
			err = lost(closeErr, "close client")
		}
	}()
	return f(ctx, c)
}

func readPolicy(path string) (*tlog.Policy, error) {
	p, err := tlog.LoadPolicy(path)
	var unread *fs.PathError
	switch {
	case errors.As(err, &unread):
		return nil, fail(exitUsage, "", err)
	case err != nil:
		return nil, fail(exitUsage, "a policy is a C2SP tlog-policy text: log, witness, group and quorum lines", err)
	}
	return p, nil
}

// readFile reads a file of at most max bytes.
func readFile(path string, max int) ([]byte, error) {
	f, err := openNamed(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path, max)
}

// classifyClient gives errors of the client their exit codes; nil for others.
func classifyClient(err error) *failure {
	var (
		fork   *client.ForkError
		proof  *client.VerificationError
		called *client.Error
	)
	switch {
	case errors.As(err, &fork):
		return &failure{code: exitRefused, reason: "FORK", err: err,
			next: client.ForkAdvice}
	case errors.As(err, &proof):
		return &failure{code: exitRefused, reason: "REFUSED", err: err,
			next: "do not trust this answer; ask another node, and audit the ledger with `cairn audit`"}
	case errors.As(err, &called):
		f := &failure{reason: called.Reason, err: err, definite: &called.Definite}
		f.code, f.next = clientCode(called)
		return f
	}
	return nil
}

func clientCode(e *client.Error) (code int, next string) {
	switch {
	case e.Conflict != nil:
		return exitConflict, "use another key, or the payload that this key was first used with (see `cairn get`)"
	case e.SizeMismatch != nil:
		return exitConflict, "somebody else appended: look at `cairn log`, then repeat with the new size"
	}
	switch e.Reason {
	case "WRONG_PROGRAM":
		return exitUsage, "name a ledger of that program with --ledger (CAIRN_LEDGER does not count beside --profile); `cairn ledger list` shows the programs"
	case client.ReasonUnknownID:
		return exitNotFound, ""
	case "TOO_MANY_LEDGERS":
		return exitUnavailable, "use a ledger that exists, or raise storage.max_ledgers of the nodes"
	case client.ReasonLedgerExists:
		return exitConflict, ""
	case client.ReasonOtherLedger:
		return exitNotFound, "`cairn ledger list --ledger DIRECTORY` shows the ledgers, where DIRECTORY is `directory` in a node's node.yaml; the profile's endpoints must be nodes that host this one"
	}
	switch e.Code {
	case codes.NotFound, codes.OutOfRange:
		return exitNotFound, "see `cairn head` for the size of the ledger; indexes count from 0"
	case codes.InvalidArgument:
		return exitInvalid, ""
	case codes.PermissionDenied, codes.Unauthenticated:
		if e.Reason == client.ReasonHandshake {
			return exitDenied, "the profile's roots, certificate, suite and node names must be those of this cluster, and the certificates valid: see `cairn pki show`"
		}
		return exitDenied, "use a profile whose certificate has the role; `cairn pki inspect FILE` shows the roles of one"
	case codes.Canceled:
		return exitInterrupted, ""
	case codes.DeadlineExceeded:
		return exitUnavailable, "look at `cairn status`, or allow more time with --timeout"
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return exitUnavailable, "look at `cairn status`, and try again"
	case codes.FailedPrecondition:
		return exitUnavailable, "try again in a moment; `cairn status` shows leader and sealed size"
	default:
		return exitFailed, ""
	}
}

// notSealed returns the error of an append that is in the ledger, but was not sealed in time; nil
// if err is another one. appended are the results that came with err.
func notSealed(err error, appended ...client.Appended) error {
	var called *client.Error
	if !errors.As(err, &called) || called.Reason != client.ReasonNotSealed || len(appended) == 0 {
		return nil
	}
	for _, x := range appended {
		if x.Receipt == nil {
			return failf(exitNotSealed, fmt.Sprintf("`cairn receipt %d` gets the receipt when it is sealed; `cairn status` shows how far that is", x.Index),
				"no checkpoint covered entry %d in time", x.Index)
		}
	}
	return nil
}

// changeError is classify for what changes something: an append, a move of leadership.
// There it matters more than anything else whether it may have happened.
func changeError(err error, retry string) error {
	f := classify(err)
	var called *client.Error
	var fork *client.ForkError
	var proof *client.VerificationError
	switch {
	case errors.As(err, &fork), errors.As(err, &proof):
		// The answer proves nothing: the change may have been made or not.
		definite := false
		f.definite, f.next = &definite, f.next+"; then "+retry
	case errors.As(err, &called) && !called.Definite:
		f.code, f.reason, f.next = exitUnknown, called.Reason, retry
	}
	return f
}
