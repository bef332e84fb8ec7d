package node

import (
	"bytes"
	"fmt"
	"maps"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/programs"
	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// rogue is a program that does what its commands say: "long" gives an outcome that is longer than
// announced, "panic" panics.
type rogue struct{}

func init() { kinds[rogue{}.Name()] = programs.Kind{Program: rogue{}} }

func (rogue) Name() string    { return "rogue" }
func (rogue) Version() uint32 { return 1 }

func (rogue) MaxOutcome(_ ledger.Kind, body []byte) (int, error) {
	switch string(body) {
	case "long", "panic":
		return 1, nil
	}
	return 0, errors.New("no such command")
}

func (rogue) Decide(_ ledger.View, in *ledger.Input) []byte {
	if string(in.Body) == "panic" {
		panic("rogue")
	}
	return []byte("long")
}

// committed appends blocks to a group's Raft log, behind its genesis, as committed entries.
func (n *node) committed(t *testing.T, group uint64, blocks ...[]byte) {
	t.Helper()
	var entries []*raftpb.Entry
	for i, b := range blocks {
		entries = append(entries, &raftpb.Entry{Index: new(uint64(i + 2)), Term: new(uint64(1)), Data: b})
	}
	last := uint64(len(blocks) + 1)
	err := n.wal.Append([]wal.Record{{Group: group, Entries: entries, HardState: &raftpb.HardState{Term: new(uint64(1)), Commit: &last}}}, true)
	if err != nil {
		t.Fatal(err)
	}
}

// counted are the counters of blocks and batches without effect that are not 0, by name, ledger and
// reason.
func (n *node) counted(t *testing.T) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(&ledgerMetrics{all: n.hosting.all, figures: ledgerFigures})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if v := m.GetCounter().GetValue(); v != 0 {
				labels := map[string]string{}
				for _, l := range m.GetLabel() {
					labels[l.GetName()] = l.GetValue()
				}
				got[fmt.Sprint(f.GetName(), " ", labels["ledger"], " ", labels["reason"])] = v
			}
		}
	}
	return got
}

// TestBadBlocksAreCounted: committed blocks and batches that no honest leader proposes have no
// effect and stop no replica, whatever the ledger's program; a metric counts each, by its reason.
func TestBadBlocksAreCounted(t *testing.T) {
	t.Parallel()
	const log, wild = "example.org/log", "example.org/rogue"
	n := hermit(t)
	blockAt := func(at int64, anchor ledger.Anchor, kind ledger.Kind, bodies ...string) []byte {
		t.Helper()
		b := ledger.Batch{Principal: "liar"}
		for _, body := range bodies {
			b.Entries = append(b.Entries, ledger.NewEntry{Kind: kind, Body: []byte(body)})
		}
		block, err := ledger.EncodeBlock(anchor, at, []ledger.Batch{b})
		if err != nil {
			t.Fatal(err)
		}
		return block
	}
	none := ledger.Anchor{Root: merkle.EmptyRoot()}
	bad := func(genesis []byte) [][]byte {
		g, err := ledger.ParseBlock(genesis)
		if err != nil {
			t.Fatal(err)
		}
		e, err := ledger.ParseLeaf(g.Batches[0].Entries[0].Encoded)
		if err != nil {
			t.Fatal(err)
		}
		return [][]byte{
			bytes.Repeat([]byte{0xa7, 0x13}, 50),
			blockAt(9, ledger.Anchor{Size: 1, Root: merkle.LeafHash([]byte("false"))}, ledger.KindPayload, "x"),
			blockAt(-1, none, ledger.KindPayload, "x"),
			blockAt(9, none, ledger.KindCommand, "nonsense"),
			blockAt(9, none, ledger.KindRecord, string(e.Body)), // a second genesis
		}
	}
	genesis := func(origin string, group uint64, p ledger.Program) []byte {
		g, err := n.genesis(origin, 1, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		block, err := (&directory.Ledger{Genesis: g, Group: group, Creator: "creator", Time: 7}).Block()
		if err == nil {
			_, err = replica.Bootstrap(n.wal, group, idsOf(n.cfg.founders()), block)
		}
		if err != nil {
			t.Fatal(err)
		}
		return block
	}
	own, err := n.directoryGenesis()
	if err != nil {
		t.Fatal(err)
	}
	n.committed(t, directory.Group, append(bad(own), n.creation(t, log, ledger.Log{}), n.creation(t, wild, rogue{}))...)
	n.committed(t, directory.Group+1, bad(genesis(log, directory.Group+1, ledger.Log{}))...)
	genesis(wild, directory.Group+2, rogue{})
	n.committed(t, directory.Group+2, blockAt(9, none, ledger.KindCommand, "long"), blockAt(9, none, ledger.KindCommand, "panic"))
	n.hostAlone(t)

	const blocks, batches = "cairn_ledger_ignored_blocks_total ", "cairn_ledger_ignored_batches_total "
	want := map[string]float64{batches + wild + " outcome": 1, batches + wild + " panic": 1}
	for _, origin := range []string{n.cfg.Directory, log} {
		for _, reason := range []string{"malformed", "anchor", "time"} {
			want[blocks+origin+" "+reason] = 1
		}
		want[batches+origin+" not_understood"] = 2 // the command and the record
	}
	for _, origin := range []string{n.cfg.Directory, log, wild} {
		n.soon(t, origin+" has a leader", func() bool { l := n.hosting.find(origin); return l != nil && l.State().Serving })
	}
	if got := n.counted(t); !maps.Equal(got, want) {
		t.Errorf("counted\n%v\nwant\n%v", got, want)
	}
	for origin, size := range map[string]uint64{n.cfg.Directory: 3, log: 1, wild: 1} {
		if got := n.hosting.find(origin).Replica.Ledger().Head().Size; got != size {
			t.Errorf("%s has %d entries, want %d", origin, got, size)
		}
	}
	r, err := n.hosting.find(log).Append(t.Context(), ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("x")}}})
	if err != nil || r.Err != nil || r.Indexes[0] != 1 {
		t.Errorf("an append behind the bad blocks: %+v, %v", r, err)
	}
	select {
	case err := <-n.fatal:
		t.Errorf("the node stops: %v", err)
	default:
	}
}
