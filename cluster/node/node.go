// Package node assembles one Cairn node from its parts: configuration, keys, data directory, Raft
// log, store, replication, gRPC API and HTTP.
//
// A node hosts the cluster's directory and every ledger that the directory lists, each with a
// replica and a sealer of its own. They share the log, the store, the connections and the budgets
// of memory and time. A ledger that this node cannot host, because its program is older or its
// configuration differs, is counted and left out; it stops nobody.
//
// Run is all that a caller needs. It returns when its context is cancelled, after leadership was
// handed over, or when the node had to stop: a full disk, a failed sync, a directory that has
// diverged. A replica of another ledger that has diverged, or needs a newer program, halts alone. A
// node is started again by whoever supervises it. It
// never repairs itself by guessing: what it writes again, a block or the whole store, is proved to
// be what it had (repair.go, rebuild.go).
package node

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"

	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/internal/stages"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/gather"
	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// ErrDiskFull says that the node stopped, cleanly, because its disk has no space
// left. It starts again when there is space; nothing acknowledged is lost.
var ErrDiskFull = errors.New("not enough free disk space")

// ErrConfig says that the configuration, or a file that it names, is wrong; nothing
// was tried.
var ErrConfig = errors.New("node configuration")

// node is a running node. Fields are set once by start and closed in the reverse
// order by stop; whoever fails reports to fatal.
type node struct {
	cfg    Config
	log    *slog.Logger
	logs   *logs
	keys   *keyring
	deny   denyHook
	policy *tlog.Policy
	// signing are the digests of the key files that only a start reads.
	signing map[string][sha256.Size]byte
	hangup  <-chan os.Signal
	metrics *metrics
	started time.Time
	// stages measures the stages of appends and reads of all ledgers.
	stages *stages.Set
	// roots are the trust anchors and revocation lists in force. They belong to the goroutine that
	// reloads.
	roots *pki.Pool
	// expiries are the ends of the certificates in force, replaced as a whole by a reload.
	expiries atomic.Pointer[[]expiry]

	// nodesKnown is who the cluster's nodes are, replaced by learnNodes alone, which holds learning.
	nodesKnown atomic.Pointer[nodeList]
	learning   sync.Mutex
	// membersChanged wakes followMembers; capacity 1.
	membersChanged chan struct{}

	dir       *dataDir
	members   *membership
	wal       *wal.Log
	channel   *lpa.Config
	peers     *peerChannel
	transport *transport.Transport
	host      *raftnode.Host
	workers   raftnode.Workers // of host, and of what the ledgers do themselves
	hosting   *hosting
	repairs   *repairs
	// storeBytes is what the ledgers' directory occupies, measured now and then.
	storeBytes atomic.Int64
	services   *services
	others     *others

	// fatal takes the first reason to stop; capacity 1.
	fatal chan error
}

// FilesAdvice is what helps when a file that the configuration names, or its own, is wrong.
const FilesAdvice = "if a file is gone or damaged, put your copy of it back and start the node again; " +
	"docs/operations.md, \"Files of a node\", says which ones can be made anew"

// advise puts what an operator has to do before a reason to stop.
func (n *node) advise(reason error) error {
	var damaged *wal.CorruptionError
	if errors.As(reason, &damaged) || errors.Is(reason, replica.ErrRaftLogLost) {
		return errors.Wrapf(reason, "the Raft log is damaged, and with it what this node has promised the others; put the newest copy of %s back, the whole directory, "+
			"if the node has not run since the copy was made; otherwise let a new node take its place (cairn member replace)", n.cfg.DataDir)
	}
	return reason
}

// Check reads what the configuration names, except for the data directory: keys,
// certificates, policy. It returns an error that matches ErrConfig unless they belong
// together.
func Check(c Config) error {
	// What is said in passing is not part of the verdict.
	_, err := prepare(c, &logs{log: slog.New(slog.DiscardHandler)})
	return err
}

// prepare makes a node that has read its configuration and touched nothing else.
// l is where it logs; nil: as the configuration says.
func prepare(c Config, l *logs) (*node, error) {
	c.setDefaults()
	if err := c.Validate(); err != nil {
		return nil, errors.Mark(errors.Wrap(err, ErrConfig.Error()), ErrConfig)
	}
	n := &node{cfg: c, metrics: newMetrics(), started: time.Now(), fatal: make(chan error, 1), membersChanged: make(chan struct{}, 1)}
	n.stages = stages.New(func() time.Duration { return time.Since(n.started) })
	if l == nil {
		var err error
		if l, err = openLogs(&c); err != nil {
			return nil, errors.Mark(err, ErrConfig)
		}
	}
	n.logs, n.log = l, l.log
	return n, errors.Mark(n.load(), ErrConfig)
}

// load reads the files that the configuration names.
func (n *node) load() (err error) {
	if n.keys, err = loadKeys(&n.cfg); err != nil {
		return err
	}
	if n.policy, err = loadPolicy(&n.cfg); err != nil {
		return err
	}
	deny, err := loadDenyList(n.cfg.Keys.Deny)
	if err != nil {
		return err
	}
	n.deny.list.Store(deny)
	n.signing = signingFiles(&n.cfg)
	n.roots = n.keys.roots
	n.setExpiries(n.keys.identity, n.keys.roots)
	suite, err := lpa.ParseSuite(n.cfg.Suite)
	if err != nil {
		return errors.Wrap(err, "suite")
	}
	n.channel = &lpa.Config{Suite: suite, Identity: n.keys.identity, Roots: n.keys.roots, Deny: n.denied, Observe: n.observeHandshake}
	n.peers = &peerChannel{channel: n.channel, self: n.keys.identity.Leaf().ID, members: func() map[pki.ID]uint64 { return n.nodes().ids }}
	return errors.Wrap(n.channel.Validate(), "prepare authenticated channel")
}

// Run starts the node and blocks until ctx is cancelled or the node has to stop. SIGHUP makes it
// read again what reload names; from the call of Run on the signal does not end the process. It
// returns nil only after a clean stop, and an error that matches ErrConfig before it has tried
// anything.
//
// A store that is damaged beyond repair in place ends the node, too. Run then starts it once more,
// with an empty store that its replicas rebuild.
func Run(ctx context.Context, c Config) error {
	hangup := hangups()
	var n *node
	for again := true; ; {
		var l *logs
		if n != nil {
			l = n.logs
		}
		var err error
		if n, err = prepare(c, l); err != nil {
			return err
		}
		n.hangup = hangup
		err = n.start()
		if err == nil {
			n.logUp()
			err = n.wait(ctx)
		}
		if err == nil {
			break
		}
		err = n.advise(err)
		again = again || time.Since(n.started) > rebuildAgain
		if again = n.condemn(err) && again; !n.giveUp(err) || !again || ctx.Err() != nil {
			return err
		}
		again = false
	}
	began := time.Now()
	n.log.Info("the node stops", "reason", context.Cause(ctx).Error())
	if err := n.stop(nil); err != nil {
		n.log.Error("the node has not stopped cleanly", "reason", err.Error())
		return err
	}
	n.log.Info("the node has stopped cleanly", "took", time.Since(began).Round(time.Millisecond).String())
	return nil
}

// abandonAfter is how long the parts of a node that cannot go on may take to end.
const abandonAfter = 20 * time.Second

// giveUp stops a node that cannot go on. What is broken may keep its parts from ending:
// Badger repeats a flush that fails for ever, and a hung disk ends nothing. They are left
// to the end of the process then, as in a crash, so that whoever supervises it sees it end; false.
func (n *node) giveUp(reason error) (ended bool) {
	n.log.Error("the node stops", "reason", reason.Error())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.stop(reason)
	}()
	select {
	case <-done:
		return true
	case <-time.After(abandonAfter):
		n.log.Error("the node does not end by itself; leaving the rest to the end of the process", "waited", abandonAfter.String())
		return false
	}
}

// fail asks the node to stop. Only the first reason counts.
func (n *node) fail(err error) {
	var library *raftnode.LibraryPanic
	if errors.As(err, &library) {
		n.log.Error("the Raft library panicked", "text", library.Text, "stack", library.Stack)
	}
	if errors.IsAny(err, wal.ErrNoSpace, syscall.ENOSPC) {
		err = errors.Mark(errors.Wrap(err, ErrDiskFull.Error()), ErrDiskFull)
	}
	select {
	case n.fatal <- err:
	default:
	}
}

func (n *node) wait(ctx context.Context) error {
	full := time.NewTicker(100 * time.Millisecond)
	defer full.Stop()
	expiring := time.NewTicker(expiryInterval)
	defer expiring.Stop()
	slot := time.NewTicker(stages.SlotLength)
	defer slot.Stop()
	watch := expiryWatch{log: n.log}
	look := func() { watch.look(n.cfg.wallClock()(), *n.expiries.Load()) }
	look()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-n.fatal:
			return err
		case <-n.hangup:
			n.reload()
			look()
		case <-expiring.C:
			look()
		case <-slot.C:
			n.stages.Rotate()
		case <-full.C:
			if err := n.checkSpace(); err != nil {
				return err
			}
		}
	}
}

// checkSpace stops the node while there is still space: Badger maps its files
// into memory, and a mapped page that finds no space kills the process.
func (n *node) checkSpace() error {
	path, free, err := n.dir.tightest()
	if err != nil {
		return err
	}
	if free < n.cfg.Storage.MinFreeBytes {
		space := "make space"
		if aside := n.dir.aside(); len(aside) > 0 {
			space = "make space (a damaged store that nothing needs lies in " + strings.Join(aside, ", ") + ")"
		}
		return errors.Wrapf(ErrDiskFull, "%s: %s free, storage.min_free_bytes is %s: %s and start the node again",
			path, humanize.IBytes(uint64(free)), humanize.IBytes(uint64(n.cfg.Storage.MinFreeBytes)), space)
	}
	return nil
}

func (n *node) start() (err error) {
	if err := n.checkSigner(); err != nil {
		return err
	}
	if err := n.openStorage(); err != nil {
		return err
	}
	// Every listener first: an address in use is told before anything else happens.
	var l listeners
	if err := l.open(n.cfg.Listen); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	l.bound(n.displaced)
	crowd := new(gather.Crowd)
	n.transport = transport.New(transport.Config{
		Self: n.cfg.Self().ID, Peers: n.nodes().addresses(), Dial: n.peers.dial, Accept: n.peers.accept, Refused: n.refusedPeer,
		Membership: n.members, Logf: n.logf("transport"), Debugf: n.debugf("transport"),
		Now: n.cfg.wallClock(), Mark: n.hosting.time, Crowd: crowd,
	})
	if err := n.learnNodes(); err != nil {
		return err
	}
	n.others = newOthers(n)
	n.host = raftnode.NewHost(raftnode.HostConfig{
		Log: n.wal, Transport: n.transport, Workers: &n.workers, TickInterval: n.cfg.Raft.Tick, Crowd: crowd,
		Limits: raftnode.Limits{QueueBytes: int(n.cfg.Storage.QueueBytes)},
	})
	if err := n.hosting.start(); err != nil {
		return err
	}
	n.registerMetrics()
	n.transport.Start(l.peer)
	n.services, err = n.serve(&l)
	return err
}

// openStorage opens the data directory, the Raft log, the ledgers' store and the directory.
func (n *node) openStorage() (err error) {
	id, err := n.cfg.identity()
	if err != nil {
		return err
	}
	if n.dir, err = openDataDir(n.cfg.DataDir, id); err != nil {
		return err
	}
	if n.dir.lost != nil {
		n.log.Error("the data directory's identity was lost, and is written again from "+membersFile, "problem", n.dir.lost.Error())
	}
	if err := n.checkSpace(); err != nil {
		return err
	}
	if n.members, err = openMembership(n); err != nil {
		return err
	}
	if n.wal, err = openLog(&n.cfg, n.dir, id, n.logf("wal")); err != nil {
		return err
	}
	if err := n.replaceCondemned(); err != nil {
		return err
	}
	return n.openHosting()
}

// stop ends everything that start began, leadership first. reason is why the node
// stops, nil for a clean stop.
func (n *node) stop(reason error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var err error
	closing := func(what string, e error) {
		if e != nil && reason == nil {
			err = errors.CombineErrors(err, errors.Wrap(e, what))
		}
	}
	if n.services != nil {
		n.services.drain()
	}
	if n.repairs != nil {
		n.repairs.stop()
	}
	if n.others != nil {
		n.others.close()
	}
	if n.hosting != nil {
		closing("stop raft", n.hosting.stopRaft(ctx))
	}
	if n.host != nil {
		n.host.Close()
	}
	n.workers.Close()
	if n.services != nil {
		closing("stop services", n.services.stop(ctx))
	}
	if n.transport != nil {
		n.transport.Close()
	}
	if n.repairs != nil {
		n.repairs.close()
	}
	if n.hosting != nil {
		closing("close the ledgers", n.hosting.close(reason == nil))
	}
	if n.wal != nil {
		closing("close the Raft log", n.wal.Close())
	}
	if n.dir != nil {
		closing("unlock the data directory", n.dir.close())
	}
	return err
}

// listeners are the addresses of a node; probe is nil without listen.probe. Each bounds the
// connections of strangers.
type listeners struct{ api, peer, http, probe net.Listener }

// bound puts the budgets for strangers in front of the listeners.
func (l *listeners) bound(displaced func(*visitor)) {
	l.api = newCrowd(l.api, "api", apiStrangers, displaced)
	l.peer = newCrowd(l.peer, "peer", peerStrangers, displaced)
	l.http = newCrowd(l.http, "http", httpStrangers, displaced)
	if l.probe != nil {
		l.probe = newCrowd(l.probe, "probe", probeStrangers, displaced)
	}
}

func (l *listeners) open(c Listen) error {
	var g errgroup.Group
	for _, x := range []struct {
		key, addr string
		ln        *net.Listener
	}{{"listen.api", c.API, &l.api}, {"listen.peer", c.Peer, &l.peer}, {"listen.http", c.HTTP, &l.http}, {"listen.probe", c.Probe, &l.probe}} {
		if x.addr == "" {
			continue // listen.probe, the only one that may be absent
		}
		g.Go(func() (err error) {
			*x.ln, err = net.Listen("tcp", x.addr)
			return errors.Wrapf(err, "%s: is another process using the address?", x.key)
		})
	}
	if err := g.Wait(); err != nil {
		l.close()
		return err
	}
	return nil
}

func (l *listeners) close() {
	for _, ln := range []net.Listener{l.api, l.peer, l.http, l.probe} {
		if ln != nil {
			ln.Close()
		}
	}
}
