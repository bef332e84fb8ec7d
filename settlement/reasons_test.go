package settlement_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement"
)

// TestReasonsAreDocumented holds the table of docs/settlement.md to the code.
func TestReasonsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/settlement.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	names := map[string]bool{}
	for _, r := range settlement.Reasons() {
		if names[r.String()] || r.String() == "unknown" || len(r.ISO()) != 4 || r.Text() == "" {
			t.Errorf("reason %d: name %q, ISO code %q, text %q", r, r, r.ISO(), r.Text())
		}
		names[r.String()] = true
		want = append(want, fmt.Sprintf("| %d | `%s` | %s | %s |", r, r, r.ISO(), r.Text()))
	}
	got := regexp.MustCompile("(?m)^\\| [0-9]+ \\| `.*$").FindAllString(string(doc), -1)
	if !slices.Equal(got, want) {
		t.Errorf("docs/settlement.md lists other reasons than the code. It should have:\n%s", strings.Join(want, "\n"))
	}
}
