package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/client"
)

// brokenWriter is standard output that takes n bytes.
type brokenWriter struct {
	n   int
	err error
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if len(p) > w.n {
		return 0, w.err
	}
	w.n -= len(p)
	return len(p), nil
}

// TestLostOutput: no command ends with 0 when its output was lost, whether or not it looks at the
// error.
func TestLostOutput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if code := execute(t.Context(), []string{"pki", "init", "--trust-domain", "x.example", "--dir", filepath.Join(dir, "ca")}, streams{out: &bytes.Buffer{}, err: &bytes.Buffer{}}); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	for _, c := range []struct {
		args string
		want int
		says string
	}{
		{"version", exitFailed, "write to standard output"},
		{"version --output json", exitFailed, "write to standard output"},
		{"--help", exitFailed, "write to standard output"},
		{"help exit-codes", exitFailed, "write to standard output"},
		{"completion bash", exitFailed, "write to standard output"},
		{"pki inspect CA/root.crt", exitFailed, "write to standard output"},
		{"man CA/man", exitLost, "the man pages are in"},
		{"pki init --trust-domain y.example --dir CA/other", exitLost, "root.key"},
		{"pki issue --ca CA --service s1 --roles reader --dir CA/s1", exitLost, "s1.key"},
		{"pki request --service s2 --dir CA/s2", exitLost, "s2.request"},
	} {
		args := strings.Fields(strings.ReplaceAll(c.args, "CA", filepath.Join(dir, "ca")))
		var errs bytes.Buffer
		code := execute(t.Context(), args, streams{out: &brokenWriter{err: syscall.ENOSPC}, err: &errs})
		if code != c.want || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%s: exit code %d, want %d; %s", c.args, code, c.want, errs.String())
		}
	}
	// A reader that leaves is no error of a command that changed nothing.
	var errs bytes.Buffer
	if code := execute(t.Context(), []string{"version"}, streams{out: &brokenWriter{err: syscall.EPIPE}, err: &errs}); code != exitPipe || errs.Len() > 0 {
		t.Errorf("closed pipe: exit code %d, %q", code, errs.String())
	}
	// It does not hide what was done.
	ca := filepath.Join(dir, "another")
	code := execute(t.Context(), []string{"pki", "init", "--trust-domain", "z.example", "--dir", ca}, streams{out: &brokenWriter{err: syscall.EPIPE}, err: &errs})
	if code != exitLost || !strings.Contains(errs.String(), "root.key") {
		t.Errorf("closed pipe after keys were made: exit code %d, want %d, and that the keys are made; %q", code, exitLost, errs.String())
	}
	errs.Reset()
	code = execute(t.Context(), []string{"man", filepath.Join(dir, "man")}, streams{out: &brokenWriter{err: syscall.EPIPE}, err: &errs})
	if code != exitLost || !strings.Contains(errs.String(), "the man pages are in") {
		t.Errorf("closed pipe after man pages were written: exit code %d, want %d; %q", code, exitLost, errs.String())
	}
}

// TestEffect: whatever fails after an append, the error names index and key and says that the entry
// is in the ledger.
func TestEffect(t *testing.T) {
	t.Parallel()
	e := appendedEffect(client.Appended{Index: 7}, client.Entry{Key: []byte("\xff")}, nil)
	late := notSealed(&client.Error{Code: codes.Unavailable, Reason: client.ReasonNotSealed}, client.Appended{Index: 7})
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"standard output": {lost(syscall.ENOSPC, "write"), exitLost},
		"closed pipe":     {lost(syscall.EPIPE, "write"), exitLost},
		"file":            {lost(os.ErrPermission, "write r"), exitLost},
		"state file":      {errors.Wrap(lost(os.ErrNotExist, "close client"), "x"), exitLost},
		"not sealed":      {late, exitNotSealed},
		"interrupted":     {context.Canceled, exitInterrupted},
		"verification":    {changeError(&client.VerificationError{What: "receipt", Err: errors.New("x")}, "retry"), exitRefused},
		"anything":        {errors.New("x"), exitFailed},
	} {
		f := e.after(classify(c.err))
		var text, object bytes.Buffer
		report(&text, screen{}, false, f)
		report(&object, screen{}, true, f)
		if f.code != c.want || !strings.HasPrefix(text.String(), "cairn: entry 7 is in the ledger under the key base64:/w==, but: ") {
			t.Errorf("%s: code %d, want %d; %s", name, f.code, c.want, text.String())
		}
		var v struct {
			Index *uint64 `json:"index"`
			Key   string  `json:"key_base64"`
			Code  int     `json:"exit_code"`
		}
		if err := json.Unmarshal(object.Bytes(), &v); err != nil || v.Index == nil || *v.Index != 7 || v.Key != "/w==" || v.Code != c.want {
			t.Errorf("%s: %s, %v", name, object.String(), err)
		}
	}
	// A node that lies about the receipt is not believed about the entry either.
	e = appendedEffect(client.Appended{Index: 7}, client.Entry{}, &client.VerificationError{What: "receipt", Err: errors.New("x")})
	if e.text != "the node says that entry 7 is in the ledger" {
		t.Errorf("got %q", e.text)
	}
}
