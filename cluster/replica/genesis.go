package replica

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// The genesis of a ledger is entry genesisIndex of its Raft log, of term genesisTerm, and committed
// from the start.
const (
	genesisIndex = 1
	genesisTerm  = 1
)

// ErrOtherGenesis says that a group of the Raft log, or its ledger, began otherwise.
var ErrOtherGenesis = errors.New("the ledger began with another genesis")

// Bootstrap begins the Raft log of a ledger: with its members and, as the first entry, with the
// block of its genesis (ledger.EncodeGenesis). All members do the same with the same bytes, so no
// election is needed for it: the entry counts as committed in a term in which nobody led.
//
// It is durable on return, with one sync. It can be repeated after an interruption. used says that
// the log holds more than the beginning; an error that is ErrOtherGenesis that it holds another one.
func Bootstrap(log *wal.Log, group uint64, voters []uint64, genesis []byte) (used bool, err error) {
	g := log.Group(group)
	hs, conf, err := g.InitialState()
	if err != nil {
		return false, errors.Wrap(err, "read the Raft log's state")
	}
	last, err := g.LastIndex()
	if err != nil {
		return false, errors.Wrap(err, "read the Raft log's end")
	}
	empty := len(conf.GetVoters()) == 0 && last == 0 && hs.GetTerm() == 0
	// Behind the beginning the mark has the members of its own index.
	if !empty && g.Mark().Index == 0 && !slices.Equal(conf.GetVoters(), voters) {
		return false, errors.Wrapf(ErrOtherGenesis, "its members are %v, not %v", conf.GetVoters(), voters)
	}
	if last >= genesisIndex {
		if err := CheckLog(g, genesis); err != nil {
			return false, err
		}
		return last > genesisIndex || hs.GetTerm() > genesisTerm, nil
	}
	index, term := uint64(genesisIndex), uint64(genesisTerm)
	beginning := []wal.Record{
		{Group: group, Mark: &wal.Mark{ConfState: &raftpb.ConfState{Voters: voters}}},
		{
			Group:     group,
			Entries:   []*raftpb.Entry{{Index: &index, Term: &term, Data: genesis}},
			HardState: &raftpb.HardState{Term: &term, Commit: &index},
		},
	}
	return false, errors.Wrap(log.Append(beginning, true), "begin the Raft log")
}

// CheckLog compares the first entry of a Raft log, as long as the log has it, with the block that
// Bootstrap begins it with; ErrOtherGenesis, wrapped, when it differs.
func CheckLog(g *wal.Group, genesis []byte) error {
	first, err := g.FirstIndex()
	if err != nil {
		return errors.Wrap(err, "read the Raft log's beginning")
	}
	last, err := g.LastIndex()
	if err != nil {
		return errors.Wrap(err, "read the Raft log's end")
	}
	if first > genesisIndex || last < genesisIndex {
		return nil // the ledger has it, or an interrupted Bootstrap did not get that far
	}
	entries, err := g.Entries(genesisIndex, genesisIndex+1, wal.MaxEntrySize)
	if err != nil {
		return errors.Wrap(err, "read the Raft log's first entry")
	}
	if len(entries) != 1 || entries[0].GetTerm() != genesisTerm || !bytes.Equal(entries[0].GetData(), genesis) {
		return errors.Wrap(ErrOtherGenesis, "the Raft log's first entry is another one")
	}
	return nil
}

// CheckGenesis compares entry 0 of a ledger, as long as it has one, with the block that Bootstrap
// begins it with; ErrOtherGenesis, wrapped, when it differs.
func CheckGenesis(l *ledger.Ledger, genesis []byte) error {
	if l.Head().Size == 0 {
		return nil // it is in the Raft log: CheckLog compares
	}
	block, err := ledger.ParseBlock(genesis)
	if err != nil || len(block.Batches) == 0 {
		return errors.CombineErrors(err, errors.New("the genesis is no block with one entry"))
	}
	leaf, err := l.Leaf(0)
	if err != nil {
		return errors.Wrap(err, "read the genesis")
	}
	if want := block.Batches[0].Entries[0].Encoded; !bytes.Equal(leaf, want) {
		err := errors.Wrap(ErrOtherGenesis, "entry 0 is another one")
		if a, e := ledger.GenesisOf(leaf); e == nil {
			if b, e := ledger.GenesisOf(want); e == nil {
				err = errors.Wrap(ErrOtherGenesis, a.Diff(b))
			}
		}
		return err
	}
	return nil
}
