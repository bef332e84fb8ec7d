package main

import (
	"io"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/cluster/signer"
)

func (a *app) signerCommand() *cobra.Command {
	var dir, socket string
	cmd := &cobra.Command{
		Use:   "signer --dir DIR --socket PATH",
		Short: "Hold a node's cosigner key in a process of its own",
		Long: `Hold a node's cosigner key in a process of its own until SIGINT or SIGTERM, and
sign checkpoints for the node on a Unix socket (keys.signer of node.yaml). The
signer never signs two roots for one size of a ledger, nor a smaller size after
a larger one: DIR remembers what it signed, on disk before a signature leaves.
While the key is replaced, cosigner-next.key in DIR is a second one; the memory
is of both.
Run it as another user than the node: its key is then out of the node's reach.
The socket has mode 0660.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" || socket == "" {
				return usagef("--dir DIR and --socket PATH are required")
			}
			s, err := signer.Open(dir)
			if err != nil {
				return signerError(err)
			}
			l, err := signer.Listen(socket)
			if err != nil {
				return errors.CombineErrors(err, s.Close())
			}
			a.note("signing as %s with %s, for %s so far, on %s", s.Keys()[0].Name(), plural(len(s.Keys()), "key", "keys"), plural(s.Ledgers(), "ledger", "ledgers"), printable(socket))
			return errors.CombineErrors(s.Serve(cmd.Context(), l), s.Close())
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the signer's `directory`, which `cairn signer init` made")
	cmd.Flags().StringVar(&socket, "socket", "", "Unix socket, a `path` of at most about 100 bytes")
	cmd.AddCommand(a.signerInitCommand())
	return cmd
}

func (a *app) signerInitCommand() *cobra.Command {
	var dir, name string
	cmd := &cobra.Command{
		Use:   "init --dir DIR --name NAME",
		Short: "Make the directory of a signer from a cosigner key, once",
		Long: `Make DIR, which holds cosigner.key, the directory of a signer. Move the key file
there first: a copy that stays with the node can be used without the signer.
NAME is the cosigner's, what stands before the first + of members[].cosigner in
node.yaml. Do this once, and never again: a signer that begins anew has
forgotten what it signed.`,
		Example: `  mv n1/cosigner.key signer/
  cairn signer init --dir signer --name example.org/ledger/n1`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if dir == "" || name == "" {
				return usagef("--dir DIR and --name NAME are required")
			}
			key, err := signer.Init(dir, name)
			if err != nil {
				return signerError(err)
			}
			a.did(effect{text: "the signer's directory " + printable(dir) + " is made"})
			return a.emit(struct {
				Dir string `json:"dir"`
				Key string `json:"key"`
			}{dir, key.String()}, func(w *page) {
				_, _ = io.WriteString(w, "made the signer's directory "+dir+"\nmembers[].cosigner  "+key.String()+"\n")
			})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`directory` with cosigner.key")
	cmd.Flags().StringVar(&name, "name", "", "the cosigner's `name`")
	return cmd
}

// signerError gives what is wrong with a signer's directory its exit code.
func signerError(err error) error {
	switch {
	case errors.Is(err, signer.ErrNotInitialised):
		return fail(exitUsage, "`cairn signer init` makes one of a directory with cosigner.key, once", err)
	case errors.Is(err, signer.ErrInitialised):
		return fail(exitRefused, "a signer begins once; start it with `cairn signer`", err)
	case errors.Is(err, signer.ErrLocked):
		return fail(exitFailed, "stop the other process first", err)
	}
	return err
}
