package main

import (
	"bytes"
	"context"
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
