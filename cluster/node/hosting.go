package node

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sync/errgroup"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/api/web"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// hosting are the ledgers that a node hosts: the directory, and every ledger that it lists.
type hosting struct {
	node      *node
	store     *badgerstore.Store // of all ledgers, like caches and round
	caches    *ledger.Caches
	round     flushRound
	directory *hosted
	// known is replaced, never changed, by add.
	known atomic.Pointer[catalogue]
	// adding serialises add and stop. Invariant: nothing is added once closed is set.
	adding struct {
		sync.Mutex
		closed bool
	}
	// followed is the size of the directory up to which every ledger that it lists is hosted here
	// or counts as a stranger.
	followed atomic.Uint64
	// creations counts those that are under way here: proposed, and not known to be decided.
	creations struct {
		sync.Mutex
		under int
	}
	// toldCosigners is what the log has said about the node's cosigner keys. Owned by keepMarks.
	toldCosigners string
	// strangers counts the ledgers that the directory lists and this node does not host.
	strangers atomic.Int64
	// busy is how many ledgers have been sealed within busyFor: they share the time for signing.
	busy atomic.Int64
	// clocks are the members' clocks as all ledgers see them within one tick: they ask every round.
	clocks struct {
		sync.Mutex
		at      time.Time
		samples map[uint64]transport.ClockSample
	}
	follower struct {
		cancel context.CancelFunc
		done   chan struct{}
	}
}

// catalogue is what a node hosts at one moment.
type catalogue struct {
	all      []*hosted // ascending by group, so the directory is the first
	byOrigin map[string]*hosted
}

// openHosting opens the store and the directory. start has to follow.
func (n *node) openHosting() (err error) {
	h := &hosting{node: n, caches: ledger.NewCaches(n.cfg.Storage.LedgerCacheBytes)}
	h.known.Store(&catalogue{byOrigin: map[string]*hosted{}})
	h.store, err = badgerstore.Open(badgerstore.Options{Dir: n.dir.sub(ledgerDir), Logf: n.logf("badger")})
	if err != nil {
		return err
	}
	n.hosting, n.repairs = h, newRepairs(n)
	block, err := n.directoryGenesis()
	if err == nil {
		h.directory, err = h.open(directory.Group, n.cfg.Directory, directory.Program{}, block)
	}
	if err == nil {
		h.directory.public = kinds[directory.Program{}.Name()].PublicReads
	}
	if err == nil {
		err = h.checkCosigners()
	}
	if errors.Is(err, replica.ErrOtherGenesis) {
		err = errors.Wrap(err, "members, their cosigner keys, the log key and seal.quorum must be as they were when the cluster was made")
	}
	return err
}

// open opens a ledger whose Raft log has begun.
func (h *hosting) open(group uint64, origin string, program ledger.Program, genesis []byte) (*hosted, error) {
	log := h.node.wal.Group(group)
	l, err := replica.Open(ledger.Shared(h.round.store(h.store)), log, ledger.Config{Group: group, Origin: origin, Program: program, KnownLevel: h.node.cfg.knownLevel(), Caches: h.caches})
	if err != nil {
		return nil, err
	}
	if err := h.node.checkBeginning(l, log, genesis); err != nil {
		return nil, errors.CombineErrors(err, l.Close())
	}
	policy, err := policyOf(genesis)
	if err != nil {
		return nil, errors.CombineErrors(err, l.Close())
	}
	return newHosted(h.node, l, policy)
}

// policyOf returns the policy of a verifier who trusts the genesis in a block.
func policyOf(genesis []byte) (*tlog.Policy, error) {
	block, err := ledger.ParseBlock(genesis)
	if err != nil || len(block.Batches) == 0 {
		return nil, errors.CombineErrors(err, errors.New("the genesis is no block with one entry"))
	}
	g, err := ledger.GenesisOf(block.Batches[0].Entries[0].Encoded)
	if err != nil {
		return nil, err
	}
	return g.Policy()
}

// start starts the directory, the ledgers that it lists so far, and the following of it.
func (h *hosting) start() error {
	if err := h.run(h.directory); err != nil {
		return err
	}
	// A state of the directory, not its newest: it may grow already.
	state := h.directory.Replica.Ledger().State()
	listed, err := directory.List(state)
	if err != nil {
		return errors.Wrap(err, "read the directory")
	}
	for i := range listed {
		if err := h.add(&listed[i]); err != nil {
			return err
		}
	}
	h.followed.Store(state.Size())
	ctx, cancel := context.WithCancel(context.Background())
	h.follower.cancel, h.follower.done = cancel, make(chan struct{})
	go func() {
		defer close(h.follower.done)
		h.follow(ctx, state.Size())
	}()
	return nil
}

// run starts a replica and shows it.
func (h *hosting) run(l *hosted) error {
	if err := l.start(h.node.host); err != nil {
		return err
	}
	old := h.known.Load()
	next := &catalogue{all: append(slices.Clip(old.all), l), byOrigin: make(map[string]*hosted, len(old.byOrigin)+1)}
	for origin, other := range old.byOrigin {
		next.byOrigin[origin] = other
	}
	next.byOrigin[l.origin] = l
	h.known.Store(next)
	return nil
}

// follow starts the ledgers that the directory comes to list, from an index of it on.
func (h *hosting) follow(ctx context.Context, next uint64) {
	l := h.directory.Ledger()
	for {
		if l.WaitSize(ctx, next+1) != nil {
			return // the node stops, or the ledger has told why it cannot go on
		}
		leaf, err := l.Leaf(next)
		var created *directory.Ledger
		changed := false
		if err == nil {
			changed, err = directory.ChangedNode(next, leaf)
		}
		if err == nil && changed {
			err = h.node.learnNodes() // a ledger that is created behind it may have the node as a member
		}
		if err == nil {
			created, err = directory.CreatedBy(next, leaf)
		}
		if err == nil && created != nil {
			err = h.add(created)
		}
		if err != nil {
			h.node.fail(errors.Wrap(err, "follow the directory"))
			return
		}
		next++
		h.followed.Store(next)
	}
}

// add starts a ledger, unless the node stops.
func (h *hosting) add(d *directory.Ledger) error {
	h.adding.Lock()
	defer h.adding.Unlock()
	if h.adding.closed {
		return nil
	}
	err := h.begin(d)
	if errors.Is(err, errNotHosted) {
		h.strangers.Add(1)
		h.node.log.Error("a ledger that the directory lists is not hosted", "ledger", d.Genesis.Origin, "group", d.Group, "reason", err.Error())
		return nil
	}
	return errors.Wrapf(err, "start the ledger %s (group %d)", d.Genesis.Origin, d.Group)
}

// begin begins a ledger on this node, or continues it. What an interrupted creation has left is
// completed.
func (h *hosting) begin(d *directory.Ledger) error {
	kind, err := h.node.kindOf(d.Genesis)
	if err == nil && h.node.wal.Group(d.Group).Mark().Index == 0 {
		err = h.node.keeps(d.Genesis, kind)
	}
	if err != nil {
		return err
	}
	block, err := d.Block()
	if err != nil {
		return errors.Mark(err, errNotHosted)
	}
	used, err := replica.Bootstrap(h.node.wal, d.Group, idsOf(d.Genesis.Members), block)
	if err != nil {
		return err
	}
	l, err := h.open(d.Group, d.Genesis.Origin, kind.Program, block)
	if errors.Is(err, ledger.ErrNewerLevel) { // raised behind the genesis
		err = errors.Mark(err, errNotHosted)
	}
	if err != nil {
		return err
	}
	l.new, l.public = !used, kind.Public(d.Genesis.Parameters)
	return h.run(l)
}

// all are the ledgers that run, the directory first.
func (h *hosting) all() []*hosted { return h.known.Load().all }

// find returns a ledger that runs, nil when there is none.
func (h *hosting) find(origin string) *hosted { return h.known.Load().byOrigin[origin] }

// backend is a ledger for the API.
func (h *hosting) backend(origin string) (server.Backend, bool) {
	l := h.find(origin)
	return l, l != nil && l.halted.Load() == nil
}

// backends are all ledgers for the API.
func (h *hosting) backends() []server.Backend {
	var all []server.Backend
	for _, l := range h.all() {
		all = append(all, l)
	}
	return all
}

// halted says why this node's replica of a ledger has stopped; nil when it has not.
func (h *hosting) halted(origin string) error {
	if l := h.find(origin); l != nil {
		if why := l.halted.Load(); why != nil {
			return why
		}
	}
	return nil
}

// page is a ledger for the read path, where anybody reads: one that is public.
func (h *hosting) page(origin string) (web.Ledger, bool) {
	l := h.find(origin)
	if l == nil || !l.public || l.halted.Load() != nil {
		return nil, false
	}
	return reads{l.Replica.Ledger(), l}, true
}

// pages are all ledgers for the read path.
func (h *hosting) pages() []web.Ledger {
	var pages []web.Ledger
	for _, l := range h.all() {
		if l.public && l.halted.Load() == nil {
			pages = append(pages, reads{l.Replica.Ledger(), l})
		}
	}
	return pages
}

// time is the newest time of all ledgers, µs since the Unix epoch. All have the same members, so
// what a majority has agreed to in one of them no member's clock can call impossible in another.
func (h *hosting) time() int64 {
	newest := int64(0)
	for _, l := range h.all() {
		newest = max(newest, l.Time())
	}
	return newest
}

// stopRaft stops following the directory and ends all members of Raft groups; each hands its
// leadership over before.
func (h *hosting) stopRaft(ctx context.Context) error {
	h.adding.Lock()
	h.adding.closed = true
	h.adding.Unlock()
	if h.follower.cancel != nil {
		h.follower.cancel()
		<-h.follower.done
	}
	var g errgroup.Group
	for _, l := range h.all() {
		g.Go(func() error { return l.stop(ctx) })
	}
	return g.Wait()
}

// close closes the ledgers and their store. clean says that the marks of the Raft log may name all
// that was applied, which spares the next start the replay.
func (h *hosting) close(clean bool) error {
	var err error
	running := h.all()
	if len(running) == 0 && h.directory != nil { // start has not got that far
		running = []*hosted{h.directory}
	}
	for _, l := range running {
		err = errors.CombineErrors(err, errors.Wrapf(l.Replica.Ledger().Close(), "close the ledger %s", l.origin))
	}
	err = errors.CombineErrors(err, errors.Wrap(h.store.Close(), "close the ledgers' store"))
	if err != nil || !clean {
		return err
	}
	var marks []wal.Record
	for _, l := range running {
		if l.halted.Load() != nil {
			continue // the next start looks at its blocks again
		}
		mark, err := l.FinalMark()
		if err != nil {
			return errors.Wrapf(err, "mark the Raft log of %s", l.origin)
		}
		if mark != nil {
			marks = append(marks, wal.Record{Group: l.group, Mark: mark})
		}
	}
	if len(marks) == 0 {
		return nil
	}
	return errors.Wrap(h.node.wal.Append(marks, true), "mark the Raft log")
}

// markInterval is how often the Raft log learns how far the ledgers are durable.
const markInterval = 250 * time.Millisecond

// keepMarks tells the Raft log now and then how far the ledgers are durable, and looks at what else
// changes slowly. It waits for the disk: a goroutine of its own.
func (h *hosting) keepMarks(quit <-chan struct{}) {
	garbage := newGarbage()
	for {
		select {
		case <-quit:
			return
		case <-time.After(markInterval):
		}
		h.round.begin()
		now, busy, known := time.Now(), int64(0), h.node.members.featureLevel()
		garbage.pace(now)
		for _, l := range h.all() {
			l.KeepMark()
			l.report()
			l.raiseLevel(known)
			if s := l.Replica.Ledger().Sealed(); s != nil && s.Size != l.sealed {
				l.sealed, l.growing = s.Size, now.Add(busyFor)
			}
			if now.Before(l.growing) {
				busy++
			}
		}
		h.busy.Store(busy)
		h.reportCosigners()
	}
}

// flushRound asks the store once for all ledgers of a round of keepMarks what is durable: the
// answer is about the whole store.
type flushRound struct {
	mu    sync.Mutex
	asked bool
	token ledger.Token
	err   error
}

func (r *flushRound) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = false
}

func (r *flushRound) store(s ledger.Store) ledger.Store { return roundStore{s, r} }

// roundStore is a ledger's view of the store.
type roundStore struct {
	ledger.Store
	round *flushRound
}

// Flushed implements ledger.Store.
func (s roundStore) Flushed() (ledger.Token, error) {
	r := s.round
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asked {
		r.token, r.err = s.Store.Flushed()
		r.asked = true
	}
	return r.token, r.err
}

// busyFor is how long after a seal a ledger counts as one that is being sealed.
const busyFor = time.Second

// clockSamples are the newest samples of the other members' clocks, at most a tick old.
func (h *hosting) clockSamples() map[uint64]transport.ClockSample {
	c := &h.clocks
	c.Lock()
	defer c.Unlock()
	if now := time.Now(); c.samples == nil || now.Sub(c.at) > h.node.cfg.Raft.Tick {
		c.at, c.samples = now, h.node.transport.Clocks()
	}
	return c.samples
}

// sealing is among how many ledgers this node's time for signing is shared.
func (h *hosting) sealing() int { return int(h.busy.Load()) }

// obstacle says what keeps this node from serving its ledgers; nil when nothing does. The directory
// is asked to confirm a read with a quorum, of the others it is enough to know a leader.
func (h *hosting) obstacle(ctx context.Context) error {
	if err := h.rebuilding(); err != nil {
		return err
	}
	if err := h.leaderless(); err != nil {
		return err
	}
	if err := h.directory.ReadBarrier(ctx); err != nil {
		return err
	}
	if err := h.unfollowed(); err != nil {
		return err
	}
	return h.leaderless() // of all, those included that were just begun
}

// leaderless says which ledgers have no leader, nil when all have one.
func (h *hosting) leaderless() error {
	var leaderless []string
	for _, l := range h.all() {
		if l.State().Leader == 0 && l.halted.Load() == nil {
			leaderless = append(leaderless, l.origin)
		}
	}
	if len(leaderless) == 0 {
		return nil
	}
	some := strings.Join(leaderless[:min(len(leaderless), 3)], ", ")
	return errors.Wrapf(h.directory.notLeader(0), "%d of %d ledgers have no leader, such as %s", len(leaderless), len(h.all()), some)
}

// unfollowed says that the directory, as this node has applied it, may list ledgers that do not run
// here yet.
func (h *hosting) unfollowed() error {
	if followed, size := h.followed.Load(), h.directory.Replica.Ledger().Head().Size; followed < size {
		return errors.Newf("the directory has %d entries, and the ledgers of %d are begun", size, followed)
	}
	return nil
}

// learning says why this node may come to host ledgers that it does not know; nil when it has begun
// all that the directory's leader knew a moment ago. After a start even the leader knows less,
// until it has committed an entry of its own term.
func (h *hosting) learning() error {
	s := h.directory.State()
	if s.Leader == 0 || s.Leader == h.node.cfg.Self().ID && !s.Serving {
		return errors.New("the directory has no leader")
	}
	return h.unfollowed()
}
