package node

import (
	"os"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// Init makes the data directory of a node of a new cluster: an empty ledger, and a
// Raft log whose members are those of the configuration. It is done once for each
// node, when the cluster is made, and never again: a node that starts with an empty
// directory under a name that has voted before can lose acknowledged entries. Its
// errors match ErrInitialised, ErrLocked or ErrForeignData when the directory is in
// use. An interrupted Init can be repeated.
func Init(c Config) (err error) {
	c.setDefaults()
	if err := c.Validate(); err != nil {
		return errors.Wrap(err, "node configuration")
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
	voters := make([]uint64, len(c.Members))
	for i, m := range c.Members {
		voters[i] = m.ID
	}
	err = log.Bootstrap(group, wal.Mark{ConfState: &raftpb.ConfState{Voters: voters}})
	if errors.Is(err, wal.ErrNotEmpty) {
		err = checkUnused(log.Group(group), voters)
	}
	if err = errors.CombineErrors(errors.Wrap(err, "bootstrap the Raft log"), log.Close()); err != nil {
		return err
	}
	return d.adopt(id)
}

// checkUnused accepts the log of an interrupted Init: these members, nothing else.
func checkUnused(g *wal.Group, voters []uint64) error {
	_, conf, err := g.InitialState()
	if err != nil {
		return err
	}
	last, err := g.LastIndex()
	if err != nil {
		return err
	}
	same := len(conf.GetVoters()) == len(voters)
	for i, v := range conf.GetVoters() {
		same = same && v == voters[i]
	}
	if last > 0 || !same {
		return errors.Wrap(ErrForeignData, "the Raft log has been in use")
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
	return identity{cluster: uint64(cluster), node: self.ID, name: self.Name, origin: c.Origin}, nil
}
