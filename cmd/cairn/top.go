package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
)

func (a *app) topCommand() *cobra.Command {
	var once bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch a running cluster",
		Long: `Show, again and again, what every node of the profile does: its role, how many
entries a second it applies, what is sealed, what waits, its memory and disk,
how long the stages of appends and reads took in the last minute, and all
ledgers. It needs the role reader.

Keys: q ends, s sorts the ledgers by the next column, p pauses. Without a
terminal, with --once and with --output json one snapshot is printed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.profile()
			if err != nil {
				return err
			}
			watch := !once && !a.json && isTerminal(a.out) && isTerminal(a.in)
			return a.withClientContext(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				ask := func() topSample { return askTop(ctx, c, p.Endpoints) }
				if watch {
					return a.watchTop(ctx, ask, interval)
				}
				return a.printTop(ctx, ask, interval)
			})
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "print one snapshot and end")
	numberFlag(cmd.Flags(), &interval, "interval", "", time.Second, 100*time.Millisecond, time.Hour, "ask the nodes this often")
	return cmd
}

// askTop asks all nodes at the same time.
func askTop(ctx context.Context, c *client.Client, nodes []client.Endpoint) topSample {
	s := topSample{at: time.Now(), nodes: make([]topAnswer, len(nodes))}
	eachNode(nodes, func(i int, e client.Endpoint) {
		ctx, cancel := context.WithTimeout(ctx, statusTimeout)
		defer cancel()
		s.nodes[i].name = e.Name
		r, err := c.StatusWith(ctx, e.Name, &cairnv1.StatusRequest{Stages: true, Ledgers: true})
		if err != nil {
			s.nodes[i].err = statusError(err)
			return
		}
		s.nodes[i].StatusResponse = r
	})
	return s
}

// printTop prints what happens between two samples.
func (a *app) printTop(ctx context.Context, ask func() topSample, interval time.Duration) error {
	var m topModel
	m.sample(ask())
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(interval):
	}
	m.sample(ask())
	err := a.emit(m.shown, func(w *page) {
		for _, line := range m.view(w.width, 0) {
			w.lines([]string{line})
		}
		for _, n := range m.shown.Nodes {
			if n.Error != "" {
				w.hang("", n.Error)
			}
		}
	})
	if err != nil {
		return err
	}
	for _, n := range m.shown.Nodes {
		if n.Error == "" {
			return nil
		}
	}
	return failf(exitUnavailable, "", "no node answers")
}

// watchTop draws the screen until q. The terminal's own content comes back afterwards.
func (a *app) watchTop(ctx context.Context, ask func() topSample, interval time.Duration) error {
	in := int(os.Stdin.Fd())
	old, err := term.MakeRaw(in)
	if err != nil {
		return errors.Wrap(err, "read single keys from the terminal")
	}
	write := func(s string) { _, _ = a.out.Write([]byte(s)) }
	write("\x1b[?1049h\x1b[?25l")
	defer func() {
		write("\x1b[?25h\x1b[?1049l")
		_ = term.Restore(in, old)
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys, samples := make(chan byte), make(chan topSample)
	go func() { // ends with the process: a read of a terminal cannot be interrupted
		for b := make([]byte, 1); ; {
			if n, err := os.Stdin.Read(b); err != nil || n == 0 {
				close(keys)
				return
			}
			keys <- b[0]
		}
	}()
	go func() {
		for t := time.NewTicker(interval); ; {
			select {
			case samples <- ask():
			case <-ctx.Done():
				return
			}
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	for m := (topModel{}); !m.quit; {
		select {
		case <-ctx.Done():
			return nil
		case k, open := <-keys:
			if !open {
				return nil
			}
			m.key(k)
		case s := <-samples:
			m.sample(s)
		}
		width, height, err := term.GetSize(int(os.Stdout.Fd()))
		if err != nil {
			width, height = 80, 24
		}
		// Each line is cleared behind its end, and the screen behind the last one.
		write("\x1b[H" + strings.Join(m.view(width, height), "\x1b[K\r\n") + "\x1b[K\x1b[J")
	}
	return nil
}
