package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// required refuses a command line without one of these flags.
func required(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if !cmd.Flags().Changed(name) {
			return usagef("--%s is required", name)
		}
	}
	return nil
}

// checkValues holds what a command line names to one rule: an empty value is a mistake. A shell
// makes one of a variable that is not set, and a command that took it for "not given" would do
// something else than it was asked for. The check looks at every flag and argument of every
// command, so that no command can forget it.
func checkValues(cmd *cobra.Command, args []string) error {
	if strings.HasPrefix(cmd.Name(), cobra.ShellCompRequestCmd) {
		return nil // the shell asks for words that begin with nothing
	}
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		empty := f.Value.String() == ""
		if list, ok := f.Value.(pflag.SliceValue); ok {
			empty = slices.Contains(list.GetSlice(), "")
		}
		if err == nil && empty {
			err = failf(exitUsage, "give it a value, or leave the flag out; is a shell variable not set?", "--%s is empty", f.Name)
		}
	})
	if err != nil {
		return err
	}
	for i, arg := range args {
		if arg == "" {
			return failf(exitUsage, "is a shell variable not set?", "argument %d of %s is empty", i+1, cmd.CommandPath())
		}
	}
	return nil
}
