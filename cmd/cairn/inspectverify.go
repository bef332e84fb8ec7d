package main

import (
	"fmt"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/raftnode/wal"
)

func (a *app) inspectVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify DATA_DIR",
		Short: "Check all files of a stopped node",
		Long: `Check all files of a stopped node: IDENTITY and MEMBERS, every frame of the Raft
log, and every table, entry, key and tile of every ledger, as
` + "`cairn inspect wal verify` and `cairn inspect ledger verify`" + ` do. All ledgers are
looked at, even after one has been found damaged; the exit code is 3 then.
Nothing is written to DATA_DIR: a read-only mount will do.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			start := time.Now()
			return withNode(args[0], func(s *badgerstore.Store, report wal.Report, held []heldLedger) error {
				if err := node.VerifyDataDir(args[0]); err != nil {
					return fail(exitRefused, "restore the file; the node does not start without it", err)
				}
				if err := a.printWAL(report); err != nil {
					return err
				}
				var first error
				damagedLedgers, entries := 0, uint64(0)
				for _, h := range held {
					err := h.open(s, func(l *ledger.Ledger) error {
						entries += l.Head().Size
						return a.verifyLedger(l, h.at)
					})
					var f *failure
					if errors.As(err, &f) && f.code == exitRefused {
						damagedLedgers++
						a.note("%s (group %d) is damaged: %v", printable(h.Origin), h.group, err)
						if first == nil {
							first = errors.Wrapf(err, "ledger %s (group %d)", printable(h.Origin), h.group)
						}
						continue
					}
					if err != nil {
						return err
					}
				}
				if first != nil {
					return errors.Wrapf(first, "%d of %s damaged", damagedLedgers, plural(len(held), "ledger is", "ledgers are"))
				}
				took := time.Since(start).Seconds()
				v := struct {
					OK      bool    `json:"ok"`
					Ledgers int     `json:"ledgers"`
					Entries uint64  `json:"entries"`
					Seconds float64 `json:"seconds"`
					Rate    float64 `json:"entries_per_second"`
				}{true, len(held), entries, took, float64(entries) / took}
				return a.emit(v, func(w *page) {
					fields(w, good("all intact"), fmt.Sprintf("%s, %s, %.1f s, %s entries/s", plural(v.Ledgers, "ledger", "ledgers"), plural(v.Entries, "entry", "entries"), v.Seconds, count(uint64(v.Rate))))
				})
			})
		},
	}
}
