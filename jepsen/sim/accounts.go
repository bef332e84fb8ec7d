package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// In some seeds a ledger's program is accounts with holds. What it decided is compared with a
// model: the final ledger is an order of the entries, and in that order every outcome is known
// exactly. Holds expire by entries that leaders propose in their own name, in simulated time.

// longestHold is the longest timeout of a hold, µs: most expire during the run.
const longestHold = 3_000_000

// entry makes a payload, or a command of few accounts, that no other entry has.
func (l *workload) entry(r *rand.Rand) ledger.NewEntry {
	payload := l.payload(r)
	if l.g.program == nil || r.IntN(4) == 0 {
		return ledger.NewEntry{Kind: ledger.KindPayload, Body: payload}
	}
	account := func() uint64 { return r.Uint64N(6) }
	var command []byte
	switch r.IntN(14) {
	case 0, 1:
		command = accounts.Open(account(), r.Uint64N(200))
	case 2:
		command = accounts.Sum(account(), account())
	case 3, 4, 5:
		l.holds++
		command = accounts.Hold(l.holds, account(), r.Uint64N(30), r.Uint64N(longestHold))
	case 6:
		command = accounts.Pay(l.hold(r), account())
	case 7:
		command = accounts.Expire(l.hold(r)) // which is for nodes alone
	default:
		command = accounts.Transfer(account(), account(), r.Uint64N(60))
	}
	return ledger.NewEntry{Kind: ledger.KindCommand, Body: append(command, payload[:8]...)}
}

// hold is one of the holds that somebody has asked for lately.
func (l *workload) hold(r *rand.Rand) uint64 { return l.holds - min(l.holds, r.Uint64N(10)) }

// ofLeader reports whether an entry is one that leaders propose in their own name.
func ofLeader(principal string) bool { return pki.ID(principal).IsNode() }

// checkProgram fails when a batch was refused on account of the program: every client and every
// proposer of the simulation validates what it sends.
func (m *member) checkProgram() {
	for _, reason := range ledger.RefuseReasons {
		if n := m.ledger.Refused(reason); n > m.refused {
			m.refused = n
			m.g.fail("outcome", m.applied, "node %d: a batch up to raft index %d is refused (%s) %s", m.n.id, m.applied, reason, m.ledger.ProgramPanic())
		}
	}
}

// checkOutcome compares the outcome of the entry at index with the model's.
func (g *group) checkOutcome(m accounts.HoldsModel, index uint64, e *ledger.Entry) {
	var want []byte
	if e.Kind == ledger.KindCommand {
		want = m.Decide(e)
	}
	if !bytes.Equal(e.Outcome, want) {
		g.fail("outcome", index, "entry %d, %s %x, has outcome %x, the model says %x", index, e.Kind, e.Body, e.Outcome, want)
	}
	if !ofLeader(e.Principal) || e.Kind != ledger.KindCommand {
		return
	}
	g.w.stats.Works++
	if accounts.ExpiredBefore(e.Body, e.Outcome) {
		g.fail("work", index, "entry %d by %s: the work %x had been done before: two proposals of it were under way", index, e.Principal, e.Body)
	}
}

// checkAccounts compares the rows of a node that has the whole ledger with the model.
func (m *member) checkAccounts(want accounts.HoldsModel) {
	if m.g.program == nil {
		return
	}
	got, err := accounts.ReadHolds(m.ledger.State())
	if err != nil || !got.Equal(want) {
		m.g.fail("outcome", m.ledger.Head().Size, "node %d has the accounts %v, %v, the model says %v", m.n.id, got, err, want)
	}
}

// WakeWorker implements replica.Shell.
func (m *member) WakeWorker() {
	if !m.working.woken {
		m.working.woken = true
		m.p.after(exp(m.n.rng, m.w.cfg.loopMean), func() {
			m.working.woken = false
			m.work()
		})
	}
}

func (m *member) work() {
	m.working.timer++
	due, ok := m.Work()
	if !ok || m.p.dead {
		return
	}
	timer := m.working.timer
	m.p.after(max(due.Sub(m.n.wall()), time.Millisecond), func() {
		if timer == m.working.timer {
			m.work()
		}
	})
}

// WorkProblem implements replica.Shell.
func (m *member) WorkProblem(err error) {
	if !m.n.damaged() {
		m.g.fail("work", m.applied, "node %d: %v", m.n.id, err)
	}
}

// overdue says which work a leader has not done although its clock says that it is due.
func (m *member) overdue() string {
	work, ok, err := m.ledger.Work()
	now := max(m.ledger.Head().Time, m.n.wall().UnixMicro())
	switch {
	case err != nil && m.n.damaged():
		return ""
	case err != nil:
		return err.Error()
	case ok && work.At <= now:
		return fmt.Sprintf("leader %d has not proposed the work %x, which has been due for %d µs", m.n.id, work.Command, now-work.At)
	}
	return ""
}
