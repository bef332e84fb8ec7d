package node

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// ErrKnown says that a member of the cluster remembers this node with a data directory. The node
// has been a member before, so it must not be made again. Nothing was made.
var ErrKnown = errors.New("a member of the cluster knows this node already")

// ErrNotAsked says that a member answers which cannot be asked whether it knows this node. Nothing
// was made.
var ErrNotAsked = errors.New("a member answers that cannot be asked whether it knows this node")

// inquiryTimeout bounds the question to one member.
const inquiryTimeout = 2 * time.Second

// Init makes the data directory of a node of a new cluster: a Raft log that begins with the
// genesis of the cluster's directory, for the members of the configuration, and an incarnation of
// its own. It is done once for each node, when the cluster is made, and never again: a node that
// starts with an empty directory under a name that has voted before has forgotten its votes and
// acknowledged entries.
//
// Before it makes anything, Init asks all other members over the peer channel whether they know
// this node. It returns ErrKnown when one does. Members that do not answer do not stop it, because
// no member runs when a cluster is made. Should one of them know the node after all, it refuses the
// new directory when they meet (package formation).
//
// Other errors match ErrConfig, ErrNotAsked, and ErrInitialised, ErrLocked or ErrForeignData when
// the directory is in use. An interrupted Init can be repeated.
func Init(ctx context.Context, c Config) (err error) {
	n, err := prepare(c, &logs{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	c = n.cfg
	id, err := c.identity()
	if err != nil {
		return err
	}
	// A directory that is a node's already is reported as such, without asking anybody.
	if _, err := os.Stat(filepath.Join(c.DataDir, identityFile)); errors.Is(err, os.ErrNotExist) {
		if err := n.askMembersUntil(ctx, id); err != nil {
			return err
		}
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
	genesis, err := n.directoryGenesis()
	if err != nil {
		return errors.CombineErrors(err, log.Close())
	}
	used, err := replica.Bootstrap(log, directory.Group, idsOf(c.founders()), genesis)
	if used || errors.Is(err, replica.ErrOtherGenesis) {
		err = errors.CombineErrors(errors.Wrap(ErrForeignData, "the Raft log has been in use"), err)
	}
	if err = errors.CombineErrors(err, log.Close()); err != nil {
		return err
	}
	return d.adopt(id, formation.New(id.cluster, id.node, d.incarnation, c.formationMembers()).Marshal())
}

// knownWithin is how long a member may take to learn of a node that was just added.
const knownWithin = 10 * time.Second

// askMembersUntil is askMembers, and asks again while members do not know yet that the node was added.
func (n *node) askMembersUntil(ctx context.Context, id identity) error {
	for deadline := time.Now().Add(knownWithin); ; {
		err := n.askMembers(ctx, id)
		if !n.cfg.joined() || !errors.Is(err, ErrNotAsked) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// askMembers asks all other members at the same time whether one knows this node.
func (n *node) askMembers(ctx context.Context, id identity) error {
	all := n.nodes().present()
	answers := make([]error, len(all))
	var wg sync.WaitGroup
	for i, x := range all {
		if m := x.member(); m.ID != id.node {
			wg.Go(func() { answers[i] = n.askMember(ctx, id, m) })
		}
	}
	wg.Wait()
	var first error
	for _, err := range answers {
		if errors.Is(err, ErrKnown) {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return errors.CombineErrors(first, ctx.Err())
}

func (n *node) askMember(ctx context.Context, id identity, m Member) error {
	ctx, cancel := context.WithTimeout(ctx, inquiryTimeout)
	defer cancel()
	conn, err := n.peers.dial(ctx, m.ID, m.Peer)
	var handshake *lpa.HandshakeError
	if errors.As(err, &handshake) && handshake.Temporary() || err != nil && handshake == nil && !errors.Is(err, errNoMember) {
		return nil // nobody answers
	}
	var in transport.Introduction
	if err == nil {
		defer conn.Close()
		in, err = transport.Inquire(ctx, conn, id.cluster, id.node, m.ID)
	}
	if err != nil {
		return errors.Mark(errors.Wrapf(err, "%s at %s answers, and cannot be asked whether it knows %s; nothing was made", m.Name, m.Peer, id.name), ErrNotAsked)
	}
	for _, known := range in.Members {
		if known.ID == id.node && known.Incarnation != (transport.Incarnation{}) {
			return errors.Wrapf(ErrKnown, "%s at %s remembers %s with the data directory %s; nothing was made. "+
				"%[3]s has been a member before. Made again it would have forgotten its votes and the entries that it acknowledged. "+
				"Restore its data directory; if that is gone, leave %[3]s stopped", m.Name, m.Peer, id.name, known.Incarnation)
		}
	}
	return nil
}

// openLog opens the Raft log of a data directory.
func openLog(c *Config, d *dataDir, id identity, logf func(string, ...any)) (*wal.Log, error) {
	log, err := wal.Open(wal.Options{
		Dir: d.sub(walDir), Cluster: id.cluster, Node: id.node,
		SegmentSize: c.Storage.SegmentBytes, RetainBytes: c.Storage.RetainBytes, CacheBytes: c.Storage.CacheBytes,
		Logf: logf,
	})
	return log, errors.Wrap(err, "open the Raft log")
}

// identity is what the configuration's data directory must belong to.
func (c *Config) identity() (identity, error) {
	cluster, err := c.clusterID()
	if err != nil {
		return identity{}, err
	}
	self := c.Self()
	return identity{cluster: uint64(cluster), node: self.ID, name: self.Name, directory: c.Directory}, nil
}
