package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelpFits: no line of any command's help is wider than 80 columns, and examples, which are
// for pasting, are not broken even there.
func TestHelpFits(t *testing.T) {
	t.Parallel()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		var out bytes.Buffer
		path := strings.Fields(cmd.CommandPath())[1:]
		if code := execute(context.Background(), append(path, "--help"), streams{out: &out, err: &out}); code != exitOK {
			t.Errorf("%s --help: exit code %d", cmd.CommandPath(), code)
		}
		checkWidth(t, cmd.CommandPath()+" --help", out.String(), proseWidth)
		// A broken line fits as well, but is harder to read.
		short := strings.Repeat(" ", 2+max(11, len(cmd.Name()))+1) + cmd.Short
		if !strings.HasPrefix(cmd.CommandPath(), "cairn completion") { // which is cobra's
			for what, text := range map[string]string{"short text": short, "long text": cmd.Long, "example": cmd.Example} {
				checkWidth(t, cmd.CommandPath()+", "+what, text, proseWidth)
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	root := (&app{}).rootCommand()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	walk(root)
}

// tooWide says that a line does not fit. The only exception is one word that cannot be broken, on a
// line of its own.
func tooWide(line string, width int) bool {
	return columns(line) > width && strings.Contains(strings.TrimSpace(line), " ")
}

// checkWidth fails for a line that is too wide.
func checkWidth(t *testing.T, what, text string, width int) {
	t.Helper()
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); tooWide(line, width) {
			t.Errorf("%s: a line of %d columns, at most %d fit:\n%s", what, columns(line), width, line)
		}
	}
}

// TestUnknownNames: a name that is no command is a usage error, also for cobra's own commands.
func TestUnknownNames(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"bogus", "help bogus", "help append bogus", "help cluster bogus", "help cluster kill bogus", "help completion bogus",
		"help help bogus", "completion", "completion bogus", "completion bash bogus", "cluster bogus", "pki bogus",
	} {
		for _, format := range []string{"text", "json"} {
			var out, errs bytes.Buffer
			code := execute(t.Context(), append(strings.Fields(args), "--output", format), streams{out: &out, err: &errs})
			if code != exitUsage || out.Len() > 0 || (format == "json") != json.Valid(errs.Bytes()) {
				t.Errorf("cairn %s: exit code %d, want %d; output %q, error %q", args, code, exitUsage, out.String(), errs.String())
			}
		}
	}
	for _, args := range []string{"help", "help help", "help append", "help cluster", "help cluster kill", "help completion bash", "help exit-codes", "completion --help"} {
		var out, errs bytes.Buffer
		if code := execute(t.Context(), strings.Fields(args), streams{out: &out, err: &errs}); code != exitOK || out.Len() == 0 {
			t.Errorf("cairn %s: exit code %d, %s", args, code, errs.String())
		}
	}
}
