package node

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/ledger"
)

// servingWait bounds how long the answer to a creation waits for this node's replica to know a
// leader. The ledger is created, whether or not it comes to that; until this node hosts it, calls
// for it hear so (hosting.learning). It is shorter than a client waits before it asks again.
const servingWait = 2 * time.Second

// Create implements server.Directory.
func (h *hosting) Create(ctx context.Context, creator string, l server.NewLedger) (server.LedgerInfo, bool, error) {
	none := server.LedgerInfo{}
	if err := directory.CheckOrigin(l.Origin); err != nil {
		return none, false, errors.Mark(err, server.ErrBadLedger)
	}
	kind, known := kinds[l.Program]
	switch {
	case kind.Internal:
		return none, false, errors.Mark(errors.Newf("a cluster has one directory, %s", h.directory.origin), server.ErrBadLedger)
	case !known:
		return none, false, errors.Mark(errors.Newf("no program is named %q", l.Program), server.ErrBadLedger)
	}
	parameters := slices.SortedFunc(slices.Values(l.Parameters), func(a, b ledger.Parameter) int { return strings.Compare(a.Name, b.Name) })
	if err := kind.Check(parameters); err != nil {
		return none, false, errors.Mark(err, server.ErrBadLedger)
	}
	g, err := h.node.genesis(l.Origin, h.directory.Replica.Ledger().Level(), kind.Program, kind.Normalise(parameters))
	if err != nil {
		return none, false, err
	}
	if err := h.nameCurrentKeys(g); err != nil {
		return none, false, err
	}
	command, err := directory.Create(g)
	if err != nil {
		return none, false, errors.Mark(err, server.ErrBadLedger)
	}
	leave, err := h.enter(l.Origin)
	if err != nil {
		return none, false, err
	}
	decided, err := server.Propose(ctx, h.directory, server.CommandBatch(creator, command))
	leave()
	if errors.Is(err, ledger.ErrBadBatch) {
		return none, false, errors.Mark(err, server.ErrBadLedger)
	}
	if err != nil {
		return none, false, err
	}
	// From here on the directory has decided.
	outcome, err := directory.ParseOutcome(decided[0].Entry.Outcome)
	if err != nil {
		return none, false, errors.Mark(err, server.ErrIndefinite)
	}
	info, err := h.info(h.directory.Ledger().State(), l.Origin)
	if err != nil {
		return none, false, errors.Mark(err, server.ErrIndefinite)
	}
	if outcome.Status == directory.Conflict {
		return none, false, &server.LedgerExistsError{Origin: l.Origin, Why: info.Genesis.Diff(g)}
	}
	h.awaitLeader(ctx, l.Origin)
	return info, outcome.Status == directory.Created, nil
}

// enter makes room for one more ledger, which counts as created until leave is called. The error is a
// *server.TooManyLedgersError when this node leads the directory and the cluster has as many as its
// configuration allows.
// There is always room for one that exists: its creation changes nothing.
func (h *hosting) enter(origin string) (leave func(), err error) {
	if !h.directory.State().Serving {
		return func() {}, nil // only the leader's configuration counts
	}
	most := int(h.node.cfg.Storage.MaxLedgers)
	h.creations.Lock()
	defer h.creations.Unlock()
	state := h.directory.Ledger().State()
	n, err := directory.Count(state)
	if err != nil {
		return nil, errors.Wrap(err, "read the directory")
	}
	if n+h.creations.under >= most {
		if l, err := directory.Find(state, origin); err != nil || l == nil {
			return nil, errors.CombineErrors(errors.Wrap(err, "read the directory"), &server.TooManyLedgersError{Most: most})
		}
	}
	h.creations.under++
	return func() {
		h.creations.Lock()
		defer h.creations.Unlock()
		h.creations.under--
	}, nil
}

// awaitLeader waits a little until this node's replica of a ledger knows a leader.
func (h *hosting) awaitLeader(ctx context.Context, origin string) {
	ctx, cancel := context.WithTimeout(ctx, servingWait)
	defer cancel()
	for {
		if l := h.find(origin); l != nil && l.State().Leader != 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-h.follower.done: // the node stops
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// info describes a ledger as a state of the directory has it, the directory itself included.
func (h *hosting) info(state ledger.State, origin string) (server.LedgerInfo, error) {
	if origin == h.directory.origin {
		return h.ownInfo()
	}
	d, err := directory.Find(state, origin)
	if err != nil {
		return server.LedgerInfo{}, errors.Wrap(err, "read the directory")
	}
	if d == nil {
		return server.LedgerInfo{}, errors.Wrapf(server.ErrUnknownLedger, "%q", origin)
	}
	return infoOf(d), nil
}

// ownInfo describes the directory.
func (h *hosting) ownInfo() (server.LedgerInfo, error) {
	leaf, err := h.directory.Replica.Ledger().Leaf(0)
	if err != nil {
		return server.LedgerInfo{}, errors.Wrap(err, "read the directory's genesis")
	}
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		return server.LedgerInfo{}, errors.Wrap(err, "read the directory's genesis")
	}
	g, err := ledger.GenesisOf(leaf)
	if err != nil {
		return server.LedgerInfo{}, err
	}
	return infoOf(&directory.Ledger{Genesis: g, Group: directory.Group, Creator: e.Principal, Time: e.Time}), nil
}

func infoOf(d *directory.Ledger) server.LedgerInfo {
	return server.LedgerInfo{Genesis: *d.Genesis, Group: d.Group, Creator: d.Creator, Time: d.Time}
}

// List implements server.Directory.
func (h *hosting) List(ctx context.Context) ([]server.LedgerInfo, error) {
	state, err := server.Newest(ctx, h.directory)
	if err != nil {
		return nil, err
	}
	own, err := h.ownInfo()
	if err != nil {
		return nil, err
	}
	all := []server.LedgerInfo{own}
	listed, err := directory.List(state)
	if err != nil {
		return nil, errors.Wrap(err, "read the directory")
	}
	for i := range listed {
		all = append(all, infoOf(&listed[i]))
	}
	return all, nil
}

// Show implements server.Directory.
func (h *hosting) Show(ctx context.Context, origin string) (server.LedgerInfo, error) {
	state, err := server.Newest(ctx, h.directory)
	if err != nil {
		return server.LedgerInfo{}, err
	}
	return h.info(state, origin)
}
