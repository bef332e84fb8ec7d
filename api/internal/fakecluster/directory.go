package fakecluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/settlement"
)

// directory is the directory of a node: a list that its cluster keeps.
type directory struct{ n *Node }

var _ server.Directory = directory{}

// programs are those that a ledger of Host or of the directory may run.
var programs = map[string]ledger.Program{
	ledger.Log{}.Name(): ledger.Log{}, accounts.Program{}.Name(): accounts.Program{}, Commands{}.Name(): Commands{},
	settlement.Program{}.Name(): settlement.Program{},
}

// Commands is the program accounts, but that it takes no payloads.
type Commands struct{ accounts.Program }

// Name implements ledger.Program.
func (Commands) Name() string { return "commands" }

// MaxOutcome implements ledger.Program.
func (c Commands) MaxOutcome(kind ledger.Kind, body []byte) (int, error) {
	if kind != ledger.KindCommand {
		return 0, errors.Newf("the program commands takes commands alone, not a %s", kind)
	}
	return c.Program.MaxOutcome(kind, body)
}

// genesis is what the first entry of a ledger on the nodes of c says.
func (c *Cluster) genesis(l server.NewLedger) (*ledger.Genesis, error) {
	keys, err := c.Keys.forLedger(l.Origin)
	if err != nil {
		return nil, err
	}
	program := programs[l.Program]
	g := &ledger.Genesis{
		FeatureLevel: ledger.FeatureLevel, Origin: l.Origin, Program: l.Program, ProgramVersion: program.Version(),
		Parameters: slices.Clone(l.Parameters), LogKeys: []string{keys.log.Key().String()}, SealQuorum: uint32(len(c.Nodes)/2 + 1),
	}
	for i, n := range c.Nodes {
		g.Members = append(g.Members, ledger.Member{ID: n.id, Name: n.Name, Cosigner: keys.nodes[i].Key().String()})
	}
	g.Normalise()
	return g, nil
}

// Create implements server.Directory.
func (d directory) Create(ctx context.Context, creator string, l server.NewLedger) (info server.LedgerInfo, created bool, err error) {
	info, created, err = d.create(ctx, creator, l)
	if err == nil && d.n.AfterCreate != nil {
		err = d.n.AfterCreate()
	}
	return info, created, err
}

func (d directory) create(ctx context.Context, creator string, l server.NewLedger) (info server.LedgerInfo, created bool, err error) {
	c := d.n.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cmp.Or(ctx.Err(), d.n.notLeader()); err != nil {
		return info, false, err
	}
	if programs[l.Program] == nil {
		return info, false, errors.Wrapf(server.ErrBadLedger, "there is no program %q", l.Program)
	}
	g, err := c.genesis(l)
	if err != nil {
		return info, false, errors.Mark(err, server.ErrBadLedger)
	}
	if there, err := c.find(l.Origin); err == nil {
		if diff := there.Genesis.Diff(g); diff != "" {
			return info, false, &server.LedgerExistsError{Origin: l.Origin, Why: diff}
		}
		return there, false, nil
	}
	info = server.LedgerInfo{Genesis: *g, Group: uint64(len(c.created) + 2), Creator: creator, Time: time.Now().UnixMicro()}
	if _, err := c.host(l.Origin, g, creator, info.Time); err != nil {
		return info, false, errors.Mark(err, server.ErrBadLedger)
	}
	c.created = append(c.created, info)
	return info, true, nil
}

func (c *Cluster) find(origin string) (server.LedgerInfo, error) {
	for _, l := range c.created {
		if l.Genesis.Origin == origin {
			return l, nil
		}
	}
	return server.LedgerInfo{}, errors.Wrap(server.ErrUnknownLedger, fmt.Sprintf("%q", origin))
}

// List implements server.Directory.
func (d directory) List(ctx context.Context) ([]server.LedgerInfo, error) {
	if err := d.n.ReadBarrier(ctx); err != nil {
		return nil, err
	}
	d.n.c.mu.Lock()
	defer d.n.c.mu.Unlock()
	return slices.Clone(d.n.c.created), nil
}

// Show implements server.Directory.
func (d directory) Show(ctx context.Context, origin string) (server.LedgerInfo, error) {
	if err := d.n.ReadBarrier(ctx); err != nil {
		return server.LedgerInfo{}, err
	}
	d.n.c.mu.Lock()
	defer d.n.c.mu.Unlock()
	return d.n.c.find(origin)
}
