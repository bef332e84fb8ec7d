package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/client"
)

// awkward are keys and paths that a shell would take apart.
var awkward = []string{
	"k", "two words", "  ", "it's", `"`, "$HOME", "`id`", "a\\b", "*", "~", "#x", "a;b", "a\nb", "a\n\n", "\n", "-n", "--", "100%", "%s", "\t", "\xff\xfe", "\u202e", "é", "a'\n$(id)'%d\\n", "!x", "{a,b}", "",
}

// TestShellWord runs each word through a shell, which must get back the bytes.
func TestShellWord(t *testing.T) {
	t.Parallel()
	for _, s := range awkward {
		word := shellWord(s)
		if oneLine(word) != word {
			t.Errorf("%q: the word %q would be escaped on a screen", s, word)
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf '[%s]' "+word).CombinedOutput()
		if err != nil || string(out) != "["+s+"]" {
			t.Errorf("%q: the shell makes %q of %s: %v", s, out, word, err)
		}
	}
}

// TestRetryHints pastes the hints of failed appends into a shell: the key in them must arrive.
func TestRetryHints(t *testing.T) {
	t.Parallel()
	broken := &client.Error{Code: codes.Unavailable, Reason: "UNREACHABLE", Message: "broke"}
	for _, key := range awkward {
		if key == "" {
			continue
		}
		for _, hint := range []string{
			changeError(broken, retryHint([]byte(key))).(*failure).next,
			changeError(&client.VerificationError{What: "receipt", Err: errors.New("x")}, retryHint([]byte(key))).(*failure).next,
			linesOptions{key: key}.afterLines(changeError(broken, linesOptions{key: key}.retryHint()), 0).(*failure).next,
			linesOptions{key: key}.afterLines(errors.New("x"), 3).(*failure).next,
		} {
			var b bytes.Buffer
			report(&b, screen{}, false, &failure{code: exitUnknown, next: hint, err: broken})
			_, flag, ok := strings.Cut(b.String(), "--key ")
			word, _, ok2 := strings.Cut(flag, ": ")
			if !ok || !ok2 {
				t.Fatalf("no key in %q", b.String())
			}
			if i := strings.LastIndex(flag, ": "); strings.Contains(key, ": ") {
				word = flag[:i]
			}
			out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf '[%s]' "+word).CombinedOutput()
			if err != nil || string(out) != "["+key+"]" {
				t.Errorf("key %q: the shell makes %q of %q: %v", key, out, word, err)
			}
		}
	}
}
