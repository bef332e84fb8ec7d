package client_test

import (
	"os"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/api/client"
)

// TestForkAdvice: the likelier causes come before an accusation, and the operator's manual says the
// same.
func TestForkAdvice(t *testing.T) {
	t.Parallel()
	at := -1
	for _, cause := range []string{"lost its disk", "older copy", "keys"} {
		next := strings.Index(client.ForkAdvice, cause)
		if next <= at {
			t.Errorf("%q is absent or too early in %q", cause, client.ForkAdvice)
		}
		at = next
	}
	manual, err := os.ReadFile("../../docs/operations.md")
	must(t, err)
	if !strings.Contains(string(manual), client.ForkAdvice) {
		t.Errorf("docs/operations.md does not quote %q", client.ForkAdvice)
	}
}
