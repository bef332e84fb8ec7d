package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// chosen says which ledgers of a store are meant: all that have the group and the origin, as far as
// they are given.
type chosen struct {
	group  uint64 // 0: not given
	origin string // "": not given
}

func (c *chosen) flags(cmd *cobra.Command) {
	numberFlag(cmd.Flags(), &c.group, "group", "", 0, 0, maxIndex, "the ledger of this Raft `group`")
	cmd.Flags().StringVar(&c.origin, "ledger", "", "the ledger with this `origin`")
}

func (a *app) ledgerFilesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ledger", Short: "Look into a stopped node's ledgers", RunE: needsSubcommand}
	list := &cobra.Command{
		Use:   "list DATA_DIR",
		Short: "List the ledgers that a node's store holds",
		Long: `List the ledgers that a stopped node's store holds: Raft group, origin, program
and size. The size is that of the mark in the Raft log. What was applied after
the mark is replayed when the node starts, and is not counted.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return withStore(args[0], func(_ *badgerstore.Store, held []heldLedger) error { return a.printHeld(held) })
		},
	}
	var from, limit uint64
	var one chosen
	dump := &cobra.Command{
		Use:   "dump DATA_DIR",
		Short: "Print the entries of a ledger, each checked against the tree",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return withStore(args[0], func(s *badgerstore.Store, held []heldLedger) error {
				held, err := one.of(held)
				if err != nil {
					return err
				}
				if len(held) > 1 {
					return usagef("the store holds several ledgers: choose one with --group or --ledger: %s", namesOf(held))
				}
				return held[0].open(s, func(l *ledger.Ledger) error {
					return eachLeaf(l, from, limit, func(index uint64, leaf []byte) error { return a.dumpLeaf(held[0].Program, index, leaf) })
				})
			})
		},
	}
	numberFlag(dump.Flags(), &from, "from", "", 0, 0, maxIndex, "first `index`")
	numberFlag(dump.Flags(), &limit, "limit", "", 0, 0, maxIndex, "at most `n` entries (0: no limit)")
	one.flags(dump)
	var which chosen
	verify := &cobra.Command{
		Use:   "verify DATA_DIR",
		Short: "Check every table, entry, key and tile of a node's store",
		Long: `Check a stopped node's ledgers, all or one of them: every table of the store by
its checksums, every entry against the tree and for the record of its
idempotency key, the tree against the root in the Raft log's mark and against
the newest sealed checkpoint. What was applied after the mark is replayed from
the Raft log when the node starts, and is not looked at here. Nothing is written
to DATA_DIR: a read-only mount will do.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return withStore(args[0], func(s *badgerstore.Store, held []heldLedger) error {
				held, err := which.of(held)
				if err != nil {
					return err
				}
				for _, h := range held {
					if err := h.open(s, func(l *ledger.Ledger) error { return a.verifyLedger(l, h.at) }); err != nil {
						return errors.Wrapf(err, "ledger %s (group %d)", printable(h.Origin), h.group)
					}
				}
				return nil
			})
		},
	}
	which.flags(verify)
	cmd.AddCommand(list, dump, verify)
	return cmd
}

// heldLedger is a ledger in a stopped node's store.
type heldLedger struct {
	ledger.Identity
	group uint64
	at    ledger.Summary // the position that the mark in the node's Raft log names
}

// open opens the ledger for inspection, whatever its program.
func (h *heldLedger) open(s *badgerstore.Store, f func(*ledger.Ledger) error) error {
	l, err := ledger.Open(s.Shared(), ledger.Config{
		Group: h.group, Origin: h.Origin, Program: storedProgram(h.Program), Start: h.at, ReadOnly: true,
	})
	if err != nil {
		return damaged(errors.Wrap(err, "open ledger"))
	}
	return errors.CombineErrors(f(l), l.Close())
}

// storedProgram is a program by its name. It decides nothing: its ledger is read as it is.
type storedProgram string

func (p storedProgram) Name() string  { return string(p) }
func (storedProgram) Version() uint32 { return 0 }
func (storedProgram) MaxOutcome(ledger.Kind, []byte) (int, error) {
	return 0, errors.New("the ledger is open for inspection only")
}
func (storedProgram) Decide(ledger.View, *ledger.Input) []byte { return nil }

// withStore opens the store of a stopped node for inspection and finds the ledgers in it. It writes
// nothing to the data directory.
func withStore(dataDir string, f func(*badgerstore.Store, []heldLedger) error) (err error) {
	return withNode(dataDir, func(s *badgerstore.Store, _ wal.Report, held []heldLedger) error { return f(s, held) })
}

// withNode is withStore for a caller that looks at the Raft log, too, which has been verified.
func withNode(dataDir string, f func(*badgerstore.Store, wal.Report, []heldLedger) error) (err error) {
	release, err := holdStopped(dataDir)
	if err != nil {
		return err
	}
	defer release()
	if _, err := os.Stat(filepath.Join(dataDir, "IDENTITY")); errors.Is(err, os.ErrNotExist) {
		return failf(exitNotFound, "DATA_DIR is data_dir in the node's node.yaml", "%s is not a node's data directory", dataDir)
	}
	report, err := wal.Verify(nil, filepath.Join(dataDir, "wal"))
	if err != nil {
		return damaged(errors.Wrap(err, "read the marks in the Raft log"))
	}
	s, err := badgerstore.Inspect(filepath.Join(dataDir, "ledger"), nil)
	if errors.Is(err, badgerstore.ErrInUse) {
		return fail(exitFailed, stoppedOnly, err)
	}
	if err != nil {
		return damaged(err)
	}
	defer func() {
		if closeErr := s.Close(); err == nil {
			err = closeErr
		}
	}()
	var held []heldLedger
	for _, g := range report.Groups {
		h := heldLedger{group: g.Group}
		if h.at, err = ledger.ParseSummary(g.Mark.Meta); err != nil {
			return damaged(&ledger.CorruptError{What: "mark", Index: g.Mark.Index, Err: err})
		}
		h.Identity, err = ledger.ReadIdentity(s, g.Group)
		switch {
		case errors.Is(err, ledger.ErrKeyNotFound) && h.at.RaftIndex == 0:
			continue // the Raft log has all of it
		case errors.Is(err, ledger.ErrKeyNotFound):
			return damaged(&ledger.CorruptError{What: "identity", Index: h.at.RaftIndex,
				Err: errors.Newf("the store holds none of group %d, though entries up to this raft index are durable", g.Group)})
		case err != nil:
			return damaged(err)
		}
		held = append(held, h)
	}
	return f(s, report, held)
}

// of returns the ledgers that are meant, at least one.
func (c *chosen) of(held []heldLedger) (meant []heldLedger, err error) {
	for _, h := range held {
		if (c.group == 0 || c.group == h.group) && (c.origin == "" || c.origin == h.Origin) {
			meant = append(meant, h)
		}
	}
	switch {
	case len(held) == 0:
		return nil, failf(exitNotFound, "the node makes its ledgers from the Raft log when it starts", "the store holds no ledger yet")
	case len(meant) == 0:
		return nil, failf(exitNotFound, "see `cairn inspect ledger list DATA_DIR`", "the store holds no such ledger, but: %s", namesOf(held))
	}
	return meant, nil
}

// namesOf lists ledgers for a message, not more than a screen has room for.
func namesOf(held []heldLedger) string {
	const most = 10
	var names []string
	for _, h := range held[:min(len(held), most)] {
		names = append(names, fmt.Sprintf("%d %s", h.group, printable(h.Origin)))
	}
	if len(held) > most {
		names = append(names, fmt.Sprintf("and %d more", len(held)-most))
	}
	return strings.Join(names, ", ")
}

type heldResult struct {
	Group   uint64 `json:"group"`
	Origin  string `json:"origin"`
	Program string `json:"program"`
	Size    uint64 `json:"size"`
}

func (a *app) printHeld(held []heldLedger) error {
	results := make([]heldResult, 0, len(held))
	for _, h := range held {
		results = append(results, heldResult{h.group, h.Origin, h.Program, h.at.Size})
	}
	return a.emit(struct {
		Ledgers []heldResult `json:"ledgers"`
	}{results}, func(w *page) {
		t := newTable("group", "origin", "program", "size").alignRight(0, 3)
		for _, r := range results {
			t.row(fmt.Sprint(r.Group), printable(r.Origin), printable(r.Program), count(r.Size))
		}
		t.write(w)
	})
}

func (a *app) dumpLeaf(program string, index uint64, leaf []byte) error {
	r, err := leafResult(program, index, leaf)
	if err != nil {
		return damaged(&ledger.CorruptError{What: "leaf", Index: index, Err: err})
	}
	return a.emit(r, r.line)
}
