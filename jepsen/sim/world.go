package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cairnledger/cairn/jepsen/check"
)

// world is one run: virtual time, everything that will happen, and everybody in it.
type world struct {
	opt Options // resolved
	cfg config

	now    int64 // virtual ns since the start
	queue  eventQueue
	nextID uint64

	trace   *trace
	entropy *entropy
	net     *network
	nodes   []*node  // by id; nodes[0] is nil
	groups  []*group // one for each ledger, in the order of their ids

	faults     []*fault
	lastFault  int64 // when the newest one began
	healed     bool
	timeline   []TimelineEvent
	violations []check.Violation
	stats      Stats
}

// event is something that will happen.
type event struct {
	at int64
	id uint64 // orders events of one instant
	do func()
}

// eventQueue is a heap by (at, id).
type eventQueue []event

func (q eventQueue) less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].id < q[j].id
}

func (q *eventQueue) push(e event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (q *eventQueue) pop() event {
	h := *q
	top, n := h[0], len(h)-1
	h[0], h[n] = h[n], event{}
	h = h[:n]
	*q = h
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			return top
		}
		if child+1 < n && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			return top
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

// after lets f happen after d of virtual time.
func (w *world) after(d time.Duration, f func()) {
	w.nextID++
	w.queue.push(event{w.now + max(0, int64(d)), w.nextID, f})
}

// runUntil lets everything happen up to a moment, or until stop says so.
func (w *world) runUntil(end int64, stop func() bool) {
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := w.queue.pop()
		w.now = e.at
		w.stats.Events++
		if w.stats.Events > maxEvents(w.now) {
			w.fail("liveness", 0, "more than %d events by now: something turns around without end", w.stats.Events-1)
			break
		}
		e.do()
		if stop != nil && stop() {
			return
		}
	}
	w.now = max(w.now, end)
}

// maxEvents is what no sensible run exceeds up to a moment.
func maxEvents(now int64) int { return 2_000_000 + int(now/int64(time.Second))*500_000 }

// exp draws from an exponential distribution, cut at ten times its mean.
func exp(r *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(min(r.ExpFloat64(), 10) * float64(mean))
}

// note adds to the timeline.
func (w *world) note(node uint64, kind, format string, args ...any) {
	w.timeline = append(w.timeline, TimelineEvent{At: time.Duration(w.now), Node: node, Kind: kind, Text: fmt.Sprintf(format, args...)})
}

func (w *world) fail(kind string, index uint64, format string, args ...any) {
	w.violate(check.Violation{Kind: kind, Index: index, A: -1, B: -1, Text: fmt.Sprintf(format, args...)})
}

func (w *world) violate(v check.Violation) {
	if len(w.violations) < 100 {
		w.violations = append(w.violations, v)
	}
	w.note(0, "violation", "%s: %s", v.Kind, v.Text)
}

// entropy is what crypto/rand reads during a run: the stream of whichever node is
// running, so that what one node draws does not depend on the others.
type entropy struct{ current *rand.ChaCha8 }

func (e *entropy) Read(p []byte) (int, error) { return e.current.Read(p) }

// Stats count what happened in a run.
type Stats struct {
	Events, Messages, Delivered, Dropped int
	DiskWrites, DiskSyncs                int
	SharedWrites                         int // to the log, with records of several ledgers
	TornBlocks, UndoneOps                int
	Elections, Restarts, Crashes         int
	Ticks, QuietTicks                    int // of all members, and those that took no turn
	Beats, QuietBeats                    int // heartbeats and answers that arrived, and those that took no turn
	Rotations, Removed                   int // of log segments
	Seals, Cosignatures, Handovers       int
	MemberChanges                        int // of ledgers
	Promotions, MembersRemoved           int // among them
	Lost                                 int // nodes given up after their disk was damaged
	Works                                int // entries that leaders proposed in their own name
	Posted, Expired, Rejected            int // results in settlement ledgers
	Proofs, ProofsGone                   int // of accounts that were verified, or that were too old
	Filled, Restored                     int // blocks that members took from each other, and snapshots that they then took over
	StoresLost, Rebuilt                  int // stores that were lost with the process, and ledgers that were rebuilt
	FillStrikes                          int // crashes while a member takes blocks
	FillLies, FillProblems               int // wrong answers of a faulty peer, and answers that were of no use
	OK, Failed, Unknown                  int // operations
	Sessions                             int // local reads within a session
	Behind                               int // of a node that had to catch up first
	Deliveries                           int // of watches
	Committed                            int // entries of the Raft log
	Virtual                              time.Duration
}

// TimelineEvent is something worth showing: a fault, its end, a change of leader,
// a node that stopped or came back.
type TimelineEvent struct {
	At   time.Duration
	Node uint64 // 0: the cluster
	Kind string // fault, heal, leader, down, up, lost, violation
	Text string
}

func (e TimelineEvent) String() string {
	who := "      "
	if e.Node != 0 {
		who = fmt.Sprintf("node %d", e.Node)
	}
	return fmt.Sprintf("%9.3fs %s %-9s %s", e.At.Seconds(), who, e.Kind, e.Text)
}
