package iso20022

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/iso20022/schema"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// TestDocs: docs/iso20022.md has every rule, reason code and supported version.
func TestDocs(t *testing.T) {
	raw, err := os.ReadFile("../../docs/iso20022.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := string(raw)
	rules := map[string]bool{}
	rule := regexp.MustCompile(`(?:refuse\(|add\((?:Error|Warning|severity), |unique\((?:Error|Warning), )"([a-z_]+)"`)
	code := regexp.MustCompile(`= "([A-Z]{2}[0-9]{2}|[A-Z]{4})"`)
	for _, file := range []string{"decode.go", "decode_payment.go", "decode_report.go", "decode_securities.go", "envelope.go", "lint.go",
		"lint_rules.go", "lint_securities.go", "lint_values.go", "reasons.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range rule.FindAllStringSubmatch(string(source), -1) {
			rules[m[1]] = true
		}
		for _, m := range code.FindAllStringSubmatch(string(source), -1) {
			if !strings.Contains(docs, m[1]) {
				t.Errorf("the reason code %s is not in docs/iso20022.md", m[1])
			}
		}
	}
	for _, c := range valueChecks {
		rules[c.rule] = true
	}
	for _, r := range []schema.Rule{schema.Missing, schema.Unknown, schema.Order, schema.Repeated, schema.Choice, schema.Text, schema.Value, schema.Namespace} {
		rules["schema_"+string(r)] = true
	}
	for _, c := range []xmltree.Code{xmltree.TooLarge, xmltree.TooDeep, xmltree.TooManyElements, xmltree.TooManyAttributes, xmltree.Encoding,
		xmltree.Character, xmltree.Doctype, xmltree.Entity, xmltree.Instruction, xmltree.DuplicateAttribute, xmltree.Namespace, xmltree.Trailing, xmltree.Syntax} {
		rules[string(c)] = true
	}
	if len(rules) < 60 {
		t.Errorf("only %d rules were found", len(rules))
	}
	for r := range rules {
		if !strings.Contains(docs, "`"+r+"`") {
			t.Errorf("the rule %s is not in docs/iso20022.md", r)
		}
	}
	for _, s := range SupportedMessages() {
		exact := s.Exact
		if exact == "" {
			exact = "none"
		}
		if row := regexp.MustCompile(`\| ` + s.Type + ` \| [^|]+ \| ` + s.First + ` to ` + s.Last + ` \| ` + exact + ` \|`); !row.MatchString(docs) {
			t.Errorf("docs/iso20022.md has no row of %+v", s)
		}
	}
}
