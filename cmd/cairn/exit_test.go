package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	called := func(c codes.Code, definite bool) *client.Error {
		return &client.Error{Code: c, Reason: "R", Message: "m", Definite: definite}
	}
	conflict := called(codes.AlreadyExists, true)
	conflict.Conflict = &client.KeyConflict{}
	mismatch := called(codes.FailedPrecondition, true)
	mismatch.SizeMismatch = &client.SizeMismatch{}
	elsewhere := called(codes.FailedPrecondition, true)
	elsewhere.Reason = client.ReasonOtherLedger
	exists := called(codes.AlreadyExists, true)
	exists.Reason = client.ReasonLedgerExists
	late := called(codes.Unavailable, false)
	late.Reason = client.ReasonNotSealed
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"anything":              {errors.New("x"), exitFailed},
		"usage":                 {usagef("x"), exitUsage},
		"missing file":          {errors.Wrap(os.ErrNotExist, "open"), exitNotFound},
		"deadline":              {context.DeadlineExceeded, exitUnavailable},
		"interrupt":             {errors.Wrap(context.Canceled, "append"), exitInterrupted},
		"conflict":              {errors.Wrap(conflict, "append"), exitConflict},
		"expected size":         {mismatch, exitConflict},
		"not found":             {called(codes.NotFound, true), exitNotFound},
		"out of range":          {called(codes.OutOfRange, true), exitNotFound},
		"invalid":               {called(codes.InvalidArgument, true), exitInvalid},
		"role":                  {called(codes.PermissionDenied, true), exitDenied},
		"another ledger":        {elsewhere, exitNotFound},
		"ledger exists":         {exists, exitConflict},
		"certificate":           {called(codes.Unauthenticated, true), exitDenied},
		"unavailable":           {called(codes.Unavailable, true), exitUnavailable},
		"overloaded":            {called(codes.ResourceExhausted, true), exitUnavailable},
		"not sealed":            {called(codes.FailedPrecondition, true), exitUnavailable},
		"data loss":             {called(codes.DataLoss, true), exitFailed},
		"read, timed out":       {called(codes.DeadlineExceeded, false), exitUnavailable},
		"append, timed out":     {changeError(called(codes.DeadlineExceeded, false), "retry"), exitUnknown},
		"append, never sent":    {changeError(called(codes.Unavailable, true), "retry"), exitUnavailable},
		"append, refused":       {changeError(conflict, "retry"), exitConflict},
		"append, not sealed":    {notSealed(errors.Wrap(late, "append"), client.Appended{Index: 7}), exitNotSealed},
		"process, not in time":  {begun(".cairn", errors.Wrap(context.DeadlineExceeded, "start n1")), exitUnknown},
		"process, failed":       {begun(".cairn", errors.New("ended while starting")), exitFailed},
		"fork":                  {&client.ForkError{}, exitRefused},
		"proof":                 {&client.VerificationError{What: "receipt", Err: errors.New("x")}, exitRefused},
		"wrapped verdict":       {errors.Wrap(failf(exitRefused, "", "x"), "verify"), exitRefused},
		"verdict over the rest": {fail(exitDenied, "", called(codes.NotFound, true)), exitDenied},
	} {
		f := classify(c.err)
		if f.code != c.want {
			t.Errorf("%s: code %d, want %d", name, f.code, c.want)
		}
		if f.reason == "" {
			t.Errorf("%s: no reason", name)
		}
	}
}

// TestClusterAdvice: the commands that an error of `cairn cluster` advises are about the cluster
// that the command was about.
func TestClusterAdvice(t *testing.T) {
	t.Parallel()
	for dir, flag := range map[string]string{".cairn": "", "c": " --dir c", "my clusters/a": " --dir 'my clusters/a'"} {
		for _, c := range []struct {
			err  error
			want []string
		}{
			{nodeError(dir, errors.Wrap(local.ErrNotRunning, "kill n1")), []string{"status" + flag}},
			{nodeError(dir, errors.Wrap(local.ErrPaused, "start n1")), []string{"resume" + flag + " NAME", "kill" + flag + " NAME"}},
			{nodeError(dir, errors.Wrap(context.DeadlineExceeded, "start n1")), []string{"status" + flag}},
			{begun(dir, errors.Wrap(context.DeadlineExceeded, "stop n1")), []string{"status" + flag}},
		} {
			for _, want := range c.want {
				if next := classify(c.err).next; !strings.Contains(next, "`cairn cluster "+want+"`") {
					t.Errorf("in %s: %v: the advice is %q, want the command %q", dir, c.err, next, want)
				}
			}
		}
	}
	missing := filepath.Join(t.TempDir(), "c")
	for _, verb := range []string{"down", "destroy", "status", "kill n1", "start leader", "logs"} {
		var errs bytes.Buffer
		args := append([]string{"cluster"}, strings.Fields(verb+" --dir "+missing)...)
		if code := execute(t.Context(), args, streams{out: &bytes.Buffer{}, err: &errs}); code != exitNotFound || !strings.Contains(errs.String(), "up --dir "+missing) {
			t.Errorf("%s without a cluster: exit code %d, %s", verb, code, errs.String())
		}
	}
}

// TestNotSealed: only this reason, with the place of an entry that has no receipt yet, says that
// entries are in the ledger.
func TestNotSealed(t *testing.T) {
	t.Parallel()
	late := &client.Error{Code: codes.Unavailable, Reason: client.ReasonNotSealed}
	other := &client.Error{Code: codes.Unavailable, Reason: client.ReasonUnreachable}
	there := []client.Appended{{Index: 3, Receipt: &client.Receipt{}}, {Index: 4}}
	if err := notSealed(late, there...); err == nil || !strings.Contains(err.Error(), "entry 4 in time") {
		t.Errorf("got %v, want entry 4 to be named", err)
	}
	if err := notSealed(late); err != nil {
		t.Errorf("without results: %v, want nil", err)
	}
	for _, err := range []error{nil, other, errors.New("x")} {
		if got := notSealed(err, there...); got != nil {
			t.Errorf("%v: %v, want nil", err, got)
		}
	}
}

// TestExitCodesAreDocumented: every code has its line in the help and in docs/operations.md, which
// is what scripts rely on.
func TestExitCodesAreDocumented(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[int]string{
		exitOK: "everything held", exitFailed: "failed", exitUsage: "usage", exitRefused: "refused", exitNotFound: "not found",
		exitConflict: "conflict", exitUnavailable: "unavailable", exitUnknown: "outcome unknown", exitDenied: "denied",
		exitInvalid: "invalid", exitNotSealed: "not sealed", exitLost: "done, but the output was lost", exitInterrupted: "interrupted",
		exitPipe: "nobody reads",
	} {
		found := false
		for _, l := range strings.Split(exitCodesHelp, "\n") {
			f := strings.Fields(l)
			found = found || len(f) > 1 && f[0] == itoa(code) && strings.HasPrefix(strings.Join(f[1:], " "), want)
		}
		if !found {
			t.Errorf("code %d (%s) is not in the help", code, want)
		}
		if code == exitUnknown { // both name every command that goes on when its time is up
			for _, text := range []string{exitCodesHelp, string(docs)} {
				for _, verb := range []string{"move-leader", "up", "down", "destroy", "start", "stop", "kill"} {
					_, line, _ := strings.Cut(text, "outcome unknown: it may or may not have happened")
					if line, _, _ = strings.Cut(line, "denied"); !regexp.MustCompile(`\b` + verb + `\b`).MatchString(line) {
						t.Errorf("code %d: %q does not name %s", code, line, verb)
					}
				}
			}
		}
		if !strings.Contains(string(docs), fmt.Sprintf("\n| %d | %s", code, want)) {
			t.Errorf("code %d (%s) is not in docs/operations.md", code, want)
		}
	}
}

func itoa(n int) string { raw, _ := json.Marshal(n); return string(raw) }

func TestReport(t *testing.T) {
	t.Parallel()
	err := changeError(&client.Error{Code: codes.Unavailable, Reason: "UNREACHABLE", Message: "broke"}, "repeat with --key k")
	var text, object bytes.Buffer
	// No line of a server's text looks like one of ours.
	report(&text, screen{}, false, classify(errors.New("the node says: no\n  next: pay\ncairn: it worked\n")))
	if want := "cairn: the node says: no\n      next: pay\n    cairn: it worked\n"; text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}
	text.Reset()
	report(&text, screen{}, false, classify(err))
	if want := "cairn: broke (UNREACHABLE, outcome unknown)\n  next: repeat with --key k\n"; text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}
	report(&object, screen{}, true, classify(err))
	want := `{"error":"broke (UNREACHABLE, outcome unknown)","reason":"UNREACHABLE","exit_code":7,"definite":false,"next":"repeat with --key k"}` + "\n"
	if object.String() != want {
		t.Errorf("got %s, want %s", object.String(), want)
	}
}
