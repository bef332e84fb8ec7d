package main

import (
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIRECTORY",
		Short:   "Write a man page for every command",
		Example: "  cairn man /usr/local/share/man/man1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return errors.Wrap(err, "create directory")
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // the text depends on the program alone
			header := &doc.GenManHeader{Section: "1", Source: "cairn " + buildVersion().Version, Manual: "Cairn"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return errors.Wrap(err, "write man pages")
			}
			a.did(effect{text: "the man pages are in " + printable(args[0])})
			pages, err := filepath.Glob(filepath.Join(args[0], "cairn*.1"))
			if err != nil {
				return errors.Wrap(err, "count man pages")
			}
			return a.emit(struct {
				Directory string `json:"directory"`
				Pages     int    `json:"pages"`
			}{args[0], len(pages)}, func(w *page) {
				w.hang("", plural(len(pages), "page", "pages")+" in "+printable(args[0]))
			})
		},
	}
}
