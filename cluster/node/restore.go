package node

import (
	"context"
	"log/slog"
	"os"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/backup"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// ErrUsedID says that a member of the configuration has the id of a member of the cluster that was
// backed up. An id is never used again: what was signed under it would seem to be this member's.
var ErrUsedID = errors.New("the id of a member was used before")

// restoreBytes is how many bytes of blocks are applied at a time.
const restoreBytes = 8 << 20

// Restore makes the data directory of a node of a new cluster that continues the ledgers of a
// backup. The caller has verified the backup. All members of the configuration do the same with the
// same backup, and no other node exists: what Init asks the others is not asked.
//
// Each ledger gets the blocks of the backup, which are decided again and compared with the checkpoint
// of the backup, and behind them one entry: the record that names the head of the backup and says
// whose keys seal from there on (ledger.PolicyRestore). Its principal is the new cluster and its time
// that of the entry before, so all members make the same bytes. The Raft log begins behind it.
//
// Errors are those of Init, ErrUsedID, and what is wrong with the backup. The directory is a node's when
// Restore returns nil, and otherwise it is not.
func Restore(ctx context.Context, c Config, b *backup.Backup) (err error) {
	n, err := prepare(c, &logs{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	c = n.cfg
	if c.Directory != b.Manifest.Directory {
		return errors.Wrapf(ErrConfig, "directory: it is %s, that of the backup is %s", c.Directory, b.Manifest.Directory)
	}
	for _, m := range c.Members {
		if used := b.HighestID(); m.ID <= used {
			return errors.Mark(errors.Wrapf(ErrUsedID, "members: %s has the id %d, and the members of the backup have ids up to %d", m.Name, m.ID, used), ErrConfig)
		}
	}
	id, err := c.identity()
	if err != nil {
		return err
	}
	d, err := createDataDir(c.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.CombineErrors(err, d.close()) }()
	if entries, err := os.ReadDir(d.sub(ledgerDir)); err != nil || len(entries) > 0 {
		return errors.CombineErrors(err, errors.Wrapf(ErrForeignData, "%s holds a ledger", c.DataDir))
	}
	log, err := openLog(&c, d, id, nil)
	if err != nil {
		return err
	}
	err = n.restoreLedgers(ctx, d, log, b)
	if err = errors.CombineErrors(err, log.Close()); err != nil {
		return err
	}
	return d.adopt(id, formation.New(id.cluster, id.node, d.incarnation, c.formationMembers()).Marshal())
}

// restoreLedgers fills the store, and then begins the Raft log.
func (n *node) restoreLedgers(ctx context.Context, d *dataDir, log *wal.Log, b *backup.Backup) error {
	store, err := badgerstore.Open(badgerstore.Options{Dir: d.sub(ledgerDir)})
	if err != nil {
		return err
	}
	var records []wal.Record
	for _, l := range b.Ledgers {
		var at ledger.Summary
		if at, err = n.restoreLedger(ctx, store, l); err != nil {
			err = errors.Wrapf(err, "restore the ledger %s", l.Origin)
			break
		}
		records = append(records, replica.ContinueAt(l.Group, idsOf(n.cfg.founders()), at)...)
	}
	if err = errors.CombineErrors(err, errors.Wrap(store.Close(), "close the ledgers' store")); err != nil {
		return err
	}
	return errors.Wrap(log.Append(records, true), "begin the Raft log")
}

// restoreLedger restores one ledger and returns where it is.
func (n *node) restoreLedger(ctx context.Context, store *badgerstore.Store, from *backup.Ledger) (at ledger.Summary, err error) {
	var program ledger.Program = directory.Program{}
	if from.Group != directory.Group {
		kind, known := kinds[from.Created.Genesis.Program]
		if !known {
			return at, errors.Newf("it runs %q, of which this program knows nothing", from.Created.Genesis.Program)
		}
		program = kind.Program
	}
	l, err := ledger.Open(ledger.Shared(store), ledger.Config{Group: from.Group, Origin: from.Origin, Program: program, KnownLevel: n.cfg.knownLevel()})
	if err != nil {
		return at, err
	}
	if err = applyBackup(ctx, l, from); err == nil {
		err = l.SetSealed(&ledger.Sealed{Size: from.Size, Root: from.Root, Note: from.Note})
	}
	if err == nil {
		err = n.beginEpoch(l)
	}
	if err == nil {
		at, err = l.MakeDurable()
	}
	return at, errors.CombineErrors(err, l.Close())
}

// applyBackup applies the blocks of a backup. What they give has to have the root of its checkpoint.
func applyBackup(ctx context.Context, l *ledger.Ledger, from *backup.Ledger) error {
	tree := merkle.NewTree()
	var run []*ledger.BlockRecord
	bytes := 0
	flush := func() error {
		if len(run) == 0 {
			return nil
		}
		// The blocks are proved as a whole, by the root at the end.
		err := l.ApplyRecords(run, nil, ledger.Anchor{Size: tree.Size(), Root: tree.Root()}, run[len(run)-1].RaftIndex)
		run, bytes = nil, 0
		return err
	}
	err := from.Records(func(r *ledger.BlockRecord) error {
		leaves, err := r.Leaves()
		if err != nil {
			return err
		}
		tree.Append(merkle.LeafHashes(leaves))
		run = append(run, r)
		if bytes += len(r.Encoded); bytes < restoreBytes {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if h := l.Head(); err == nil && (h.Size != from.Size || h.Root != from.Root) {
		err = errors.Newf("the blocks give size %d with root %s, the checkpoint is for size %d with root %s", h.Size, h.Root, from.Size, from.Root)
	}
	return err
}

// beginEpoch appends the record with which this cluster's keys take the ledger over.
func (n *node) beginEpoch(l *ledger.Ledger) error {
	head := l.Head()
	in, err := l.PolicyAt(head.Size)
	if err != nil {
		return err
	}
	own, err := n.founding(l.Origin())
	if err != nil {
		return err
	}
	c := &ledger.PolicyChange{Policy: *own, Reason: ledger.PolicyRestore, Restored: ledger.Anchor{Size: head.Size, Root: head.Root}}
	c.Policy.Epoch = in.Newest.Epoch + 1
	batch, err := ledger.PolicyBatch(n.clusterPrincipal(), c)
	if err != nil {
		return err
	}
	block, err := ledger.EncodeBlock(l.Anchor(), head.Time, []ledger.Batch{batch})
	if err != nil {
		return err
	}
	results, err := l.ApplyMany([]ledger.Committed{{RaftIndex: head.RaftIndex + 1, RaftTerm: head.RaftTerm + 1, Block: block}})
	if err == nil {
		err = results[0][0].Err
	}
	return errors.Wrap(err, "begin a new epoch")
}

// founding is the policy of this configuration for a ledger.
func (n *node) founding(origin string) (*ledger.Policy, error) {
	g, err := n.genesisOf(n.cfg.founders(), origin, directoryLevel, directory.Program{}, nil)
	if err != nil {
		return nil, err
	}
	return g.Policy0(), nil
}

// checkBeginning compares how a ledger began, or was restored, with the block of its genesis and with
// this configuration.
func (n *node) checkBeginning(l *ledger.Ledger, log *wal.Group, genesis []byte) error {
	restored, _, err := l.Restored()
	if err != nil {
		return err
	}
	if restored == nil {
		if l.Head().RaftIndex < log.Mark().Index {
			return nil // its store is being rebuilt, and may not have come to the record yet
		}
		return errors.CombineErrors(replica.CheckGenesis(l, genesis), replica.CheckLog(log, genesis))
	}
	own, err := n.founding(l.Origin())
	if err == nil && !own.Equal(&restored.Policy) {
		err = errors.Wrapf(replica.ErrOtherGenesis, "the ledger was restored at size %d for other members, keys or quorum than those of this configuration", restored.Restored.Size)
	}
	return err
}
