package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/settlement"
)

// A ledger runs log, or in some seeds a program. What the program decided is compared with a model:
// the final ledger is an order of the entries, and in that order every outcome is known exactly.

// business is what the clients of a ledger with a program do there.
type business interface {
	// entry makes an entry. No other entry of the ledger has the same body, unless it has a key.
	entry(l *workload, r *rand.Rand) ledger.NewEntry
	// judge returns a new judge of the final ledger.
	judge(g *group) judge
}

// judge compares the final ledger with what it has to be.
type judge interface {
	leaf(index uint64, e *ledger.Entry, leaf []byte)
	// end looks at what a node that has the whole ledger makes of it.
	end(m *member)
}

// programs chooses the program of a ledger. Both results are nil for log.
func programs(w *world, r *rand.Rand) (ledger.Program, business) {
	switch r.IntN(6) {
	case 0:
		return accounts.WithHolds{}, &holds{}
	case 1, 2:
		return settlement.Program{}, newMoney(w)
	}
	return nil, nil
}

// entry makes an entry for the ledger's program.
func (l *workload) entry(r *rand.Rand) ledger.NewEntry {
	if l.g.business == nil {
		return ledger.NewEntry{Kind: ledger.KindPayload, Body: l.payload(r)}
	}
	return l.g.business.entry(l, r)
}

// logJudge demands that nothing has an outcome.
type logJudge struct{ g *group }

func (j logJudge) leaf(index uint64, e *ledger.Entry, _ []byte) {
	if len(e.Outcome) > 0 {
		j.g.fail("outcome", index, "entry %d of a log has the outcome %x", index, e.Outcome)
	}
}

func (logJudge) end(*member) {}

func (g *group) newJudge() judge {
	if g.business == nil {
		return logJudge{g}
	}
	return g.business.judge(g)
}

// ofLeader reports whether an entry is one that leaders propose in their own name.
func ofLeader(principal string) bool { return pki.ID(principal).IsNode() }

// checkProgram fails when a batch was refused on account of the program: every client and every
// proposer of the simulation validates what it sends. A record of the policies may come too late.
func (m *member) checkProgram() {
	for _, reason := range ledger.RefuseReasons {
		if reason == ledger.RefusedPolicy {
			continue
		}
		if n := m.ledger.Refused(reason); n > m.refused {
			m.refused = n
			m.g.fail("outcome", m.applied, "node %d: a batch up to raft index %d is refused (%s) %s", m.n.id, m.applied, reason, m.ledger.ProgramPanic())
		}
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
