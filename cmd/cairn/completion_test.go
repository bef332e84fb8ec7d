package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestEveryFlagCompletes: whoever adds a flag decides how its value is completed.
func TestEveryFlagCompletes(t *testing.T) {
	t.Parallel()
	eachCommand((&app{}).rootCommand(), func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() == "bool" {
				return
			}
			tables := 0
			if _, ok := flagValues[f.Name]; ok {
				tables++
			}
			if _, ok := flagFiles[f.Name]; ok {
				tables++
			}
			if flagFree[f.Name] || f.Name == "ledger" {
				tables++
			}
			if tables != 1 {
				t.Errorf("%s --%s is in %d tables of completion.go, want 1", cmd.CommandPath(), f.Name, tables)
			}
		})
	})
}

// TestCompletion asks as a shell does.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"head --output ":           "text json :4",
		"bench --mode ":            "unary stream :4",
		"bench --op ":              "append get proof head range :4",
		"cluster up --suite ":      "default cat5 :4",
		"pki issue --roles ":       "reader writer admin participant operator reader,writer writer,operator :4",
		"get ":                     ":4",
		"cluster kill --dir none ": ":4",
		"cluster up ":              "1 3 5 :4",
		"append --key ":            ":4",
		"append ":                  ":0",
		"verify --payload ":        ":0",
		"pki issue --dir ":         ":16",
		"cluster ki":               "kill :4",
	} {
		var out, errs bytes.Buffer
		args := append([]string{"__complete"}, strings.Split(line, " ")...)
		if code := execute(context.Background(), args, streams{in: strings.NewReader(""), out: &out, err: &errs}); code != exitOK {
			t.Errorf("%s: exit code %d: %s", line, code, errs.String())
		}
		var got []string
		for _, l := range strings.Split(strings.TrimSpace(out.String()), "\n") {
			word, _, _ := strings.Cut(l, "\t") // without the description
			got = append(got, word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q completes to %q, want %q", line, strings.Join(got, " "), want)
		}
	}
}
