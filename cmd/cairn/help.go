package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// layOutHelp makes the help of every command fit the screen.
func (a *app) layOutHelp(root *cobra.Command) {
	s := a.outScreen
	if s.width == 0 {
		s.width = proseWidth
	}
	wrapped := fmt.Sprintf("FlagUsagesWrapped %d", s.width)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "FlagUsages", wrapped))
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		p := newPage(s)
		cmd.SetOut(p)
		help(cmd, args)
		cmd.SetOut(a.out)
		_, _ = a.out.Write([]byte(p.String()))
	})
}

// checkNames makes a usage error of a name that is no command, where cobra's own commands print
// their help and end with 0.
func checkNames(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			cmd.Args, cmd.RunE = nil, needsSubcommand
		case "help":
			cmd.Args = func(_ *cobra.Command, args []string) error {
				found, rest, _ := root.Find(args)
				if len(rest) > 0 {
					return needsSubcommand(found, rest)
				}
				return nil
			}
		}
	}
}
