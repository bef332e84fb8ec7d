package iso20022

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files of the corpus anew")

// corpusRules are what the corpus is judged against, with the date of its messages.
var corpusRules = Rules{
	Now:          time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC),
	MaxAge:       72 * time.Hour,
	Today:        "2026-11-30",
	MaxDaysAhead: 10,
	CutOff:       time.Date(2026, 11, 30, 17, 0, 0, 0, time.UTC),
}

// describe writes what Check says about a message: the fields that are not empty, the identities
// and the findings.
func describe(raw []byte) string {
	m, findings := Check(raw, corpusRules)
	var b strings.Builder
	if m == nil {
		b.WriteString("refused\n")
	} else {
		b.WriteString("message\n")
		dump(&b, reflect.ValueOf(m).Elem(), "  ")
		b.WriteString("identities\n")
		for _, id := range m.Identify("bank-a", "rail-1") {
			fmt.Fprintf(&b, "  %s\n", id.Key())
		}
	}
	b.WriteString("findings\n")
	for _, f := range findings {
		fmt.Fprintf(&b, "  [%d] %s\n", f.Transaction, f)
	}
	return b.String()
}

func dump(b *strings.Builder, v reflect.Value, indent string) {
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		if f.IsZero() {
			continue
		}
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		switch f.Kind() {
		case reflect.Array:
			fmt.Fprintf(b, "%s%s: %s\n", indent, name, hex.EncodeToString(f.Bytes()[:8]))
		case reflect.Struct:
			fmt.Fprintf(b, "%s%s\n", indent, name)
			dump(b, f, indent+"  ")
		case reflect.Slice:
			for k := range f.Len() {
				fmt.Fprintf(b, "%s%s %d", indent, name, k)
				if e := f.Index(k); e.Kind() == reflect.Struct {
					b.WriteString("\n")
					dump(b, e, indent+"  ")
				} else {
					fmt.Fprintf(b, ": %q\n", e.String())
				}
			}
		default:
			fmt.Fprintf(b, "%s%s: %v\n", indent, name, f.Interface())
		}
	}
}

// corpus returns the messages of a folder of testdata.
func corpus(t testing.TB, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.xml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no messages in testdata/%s: %v", folder, err)
	}
	return files
}

// TestCorpus compares what is said about every message of testdata with its golden file. Valid
// messages have no error, invalid ones have some, hostile ones are refused.
func TestCorpus(t *testing.T) {
	count := 0
	for _, folder := range []string{"valid", "invalid", "hostile"} {
		for _, file := range corpus(t, folder) {
			count++
			t.Run(folder+"/"+filepath.Base(file), func(t *testing.T) {
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				got := describe(raw)
				golden := strings.TrimSuffix(file, ".xml") + ".golden"
				if *update {
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("got\n%s\nwant\n%s\n(-update writes the golden files anew)", got, want)
				}
				bad := strings.Contains(got, "] error ")
				refused := strings.HasPrefix(got, "refused")
				switch {
				case folder == "valid" && (bad || refused):
					t.Error("a valid message has errors")
				case folder == "invalid" && (!bad || refused):
					t.Error("an invalid message is read without an error, or refused: it belongs into another folder")
				case folder == "hostile" && !refused:
					t.Error("a hostile message is read")
				}
				_, err = Decode(raw)
				var r *Refused
				if refused != (err != nil) || refused && !errors.As(err, &r) {
					t.Errorf("Check and Decode differ: %v", err)
				}
			})
		}
	}
	if count < 60 {
		t.Errorf("the corpus has %d messages, want at least 60", count)
	}
}

// TestFindingsSayWhatToDo: every finding of the corpus has a rule, a place, and a sentence with an
// advice behind the last colon.
func TestFindingsSayWhatToDo(t *testing.T) {
	rules := map[string]bool{}
	for _, folder := range []string{"valid", "invalid", "hostile"} {
		for _, file := range corpus(t, folder) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range Lint(raw) {
				rules[f.Rule] = true
				i := strings.LastIndex(f.Text, ": ")
				if f.Rule == "" || f.Line < 1 || f.Column < 1 || i < 0 || len(f.Text)-i < 8 || strings.HasSuffix(f.Text, ".") {
					t.Errorf("%s: %+v", file, f)
				}
				if lines := bytes.Count(raw, []byte("\n")) + 1; f.Line > lines {
					t.Errorf("%s has %d lines: %v", file, lines, f)
				}
			}
		}
	}
	t.Logf("the corpus shows %d rules", len(rules))
}
