package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/jepsen/testbed"
)

// Workload is all clients together.
type Workload struct {
	opt     Options
	cluster *local.Cluster
	start   time.Time
	rec     *history.Recorder
	users   []*user // one for each principal

	processes atomic.Uint32
	payloads  atomic.Uint64
	known     atomic.Uint64 // largest size that anybody has seen
	counts    Counts
	seals     seals

	stop     context.Context // ended: issue nothing new
	stopAll  context.CancelFunc
	clients  sync.WaitGroup
	watchers sync.WaitGroup
	// watching ends the watchers, which go on after the clients.
	watching     context.Context
	stopWatching context.CancelFunc

	pool  pool
	Proof Evidence

	mu         sync.Mutex
	ops        [][]history.Op // of clients and watchers that have ended
	violations []check.Violation
	failed     error // the first error that ends the run: the history cannot be written
	watchedTo  []*atomic.Uint64
}

// user is one principal with its connections.
type user struct {
	principal string
	conns     []*testbed.Conn
	streams   []*stream // by node, for AppendStream
}

// Counts are operations by outcome, while they happen.
type Counts struct {
	OK, Fail, Info, Entries atomic.Int64
	// Asked are questions that no history holds: proofs, and what makes no sense.
	Asked atomic.Int64
	// Inclusions and Consistencies are proofs that held.
	Inclusions, Consistencies atomic.Int64
}

// Ops is how many operations have ended.
func (c *Counts) Ops() int64 { return c.OK.Load() + c.Fail.Load() + c.Info.Load() }

// roles are the profiles whose principals append. The same key of two of them is
// two keys.
var roles = []string{"writer", "admin"}

// Start connects the clients and lets them go. start is the zero of the history's
// clock.
func Start(c *local.Cluster, rec *history.Recorder, start time.Time, o Options) (_ *Workload, err error) {
	o.fill()
	w := &Workload{opt: o, cluster: c, start: start, rec: rec}
	w.stop, w.stopAll = context.WithCancel(context.Background())
	w.watching, w.stopWatching = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	for _, role := range roles {
		u := &user{}
		if u.conns, u.principal, err = testbed.Dial(c, role); err != nil {
			return nil, err
		}
		for _, conn := range u.conns {
			u.streams = append(u.streams, newStream(conn))
		}
		w.users = append(w.users, u)
	}
	var libraries []*library
	for i := range o.Library {
		l, err := newLibrary(w, i)
		if err != nil {
			return nil, err
		}
		libraries = append(libraries, l)
	}
	for i := range o.Clients {
		k := newClient(w, i)
		run(&w.clients, k.run)
	}
	for _, l := range libraries {
		run(&w.clients, l.run)
	}
	for i := range o.Watchers {
		s := newWatcher(w, i)
		w.watchedTo = append(w.watchedTo, &s.next)
		run(&w.watchers, s.run)
	}
	return w, nil
}

func run(wg *sync.WaitGroup, f func()) {
	wg.Add(1)
	go func() {
		defer wg.Done()
		f()
	}()
}

// now is the moment on the history's clock.
func (w *Workload) now() int64 { return int64(time.Since(w.start)) }

func (w *Workload) newProcess() uint32 { return w.processes.Add(1) }

func (w *Workload) rng(part string, i int) *rand.Rand {
	n := uint64(i)
	for _, c := range []byte(part) {
		n = n*131 + uint64(c)
	}
	return rand.New(rand.NewPCG(w.opt.Seed, n))
}

// nodeNamed returns the number of a node, -1 if there is none of this name.
func (w *Workload) nodeNamed(name string) int {
	return slices.IndexFunc(w.users[0].conns, func(c *testbed.Conn) bool { return c.Name == name })
}

// saw remembers a size for everybody.
func (w *Workload) saw(size uint64) {
	for {
		old := w.known.Load()
		if size <= old || w.known.CompareAndSwap(old, size) {
			return
		}
	}
}

// Counts tells what has happened so far.
func (w *Workload) Counts() *Counts { return &w.counts }

// Size returns the largest size that any client has seen.
func (w *Workload) Size() uint64 { return w.known.Load() }

const maxViolations = 100

// violate notes an answer that is wrong by itself.
func (w *Workload) violate(kind string, index uint64, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.violations) < maxViolations {
		w.violations = append(w.violations, check.Violation{Kind: kind, Index: index, A: -1, B: -1, Text: fmt.Sprintf(format, args...)})
	}
}

// Violations returns the answers that were wrong by themselves.
func (w *Workload) Violations() []check.Violation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]check.Violation(nil), w.violations...)
}

// fail ends the run: without a history it proves nothing.
func (w *Workload) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = err
		w.stopAll()
	}
}

// Stopped is closed when the clients issue nothing new.
func (w *Workload) Stopped() <-chan struct{} { return w.stop.Done() }

// Stop lets the clients finish what they are doing and waits for them. The
// watchers go on.
func (w *Workload) Stop() error {
	w.stopAll()
	w.clients.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// AwaitWatchers waits until every watcher has been told everything up to size,
// and then ends them. It returns false if one has not in time.
func (w *Workload) AwaitWatchers(ctx context.Context, size uint64) bool {
	told := func() bool {
		for _, to := range w.watchedTo {
			if to.Load() < size {
				return false
			}
		}
		return true
	}
	for !told() && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	w.stopWatching()
	w.watchers.Wait()
	return told()
}

// Close ends everything at once.
func (w *Workload) Close() {
	w.stopAll()
	w.stopWatching()
	for _, u := range w.users {
		for _, s := range u.streams {
			s.close()
		}
		testbed.CloseAll(u.conns)
	}
	w.clients.Wait()
	w.watchers.Wait()
}

// Ops returns the history: every process in its own order. Call it after the
// clients and watchers have ended.
func (w *Workload) Ops() (all []history.Op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, ops := range w.ops {
		n += len(ops)
	}
	all = make([]history.Op, 0, n)
	for _, ops := range w.ops {
		all = append(all, ops...)
	}
	return all
}

// Principals are those that the clients append as.
func (w *Workload) Principals() (names []string) {
	for _, u := range w.users {
		names = append(names, u.principal)
	}
	return names
}
