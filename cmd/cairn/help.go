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
