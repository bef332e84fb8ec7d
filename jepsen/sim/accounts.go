package sim

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math/rand/v2"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
)

// In some seeds a ledger's program is accounts. What it decided is compared with a model: the
// final ledger is an order of the entries, and in that order every outcome is known exactly.

// entry makes a payload, or a command of few accounts, that no other entry has.
func (l *workload) entry(r *rand.Rand) ledger.NewEntry {
	payload := l.payload(r)
	if l.g.program == nil || r.IntN(4) == 0 {
		return ledger.NewEntry{Kind: ledger.KindPayload, Body: payload}
	}
	account := func() uint64 { return r.Uint64N(6) }
	var command []byte
	switch r.IntN(10) {
	case 0, 1:
		command = accounts.Open(account(), r.Uint64N(200))
	case 2:
		command = accounts.Sum(account(), account())
	default:
		command = accounts.Transfer(account(), account(), r.Uint64N(60))
	}
	return ledger.NewEntry{Kind: ledger.KindCommand, Body: append(command, payload[:8]...)}
}

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
func (g *group) checkOutcome(m accounts.Model, index uint64, e *ledger.Entry) {
	var want []byte
	if e.Kind == ledger.KindCommand {
		want = m.Decide(e.Body)
	}
	if !bytes.Equal(e.Outcome, want) {
		g.fail("outcome", index, "entry %d, %s %x, has outcome %x, the model says %x", index, e.Kind, e.Body, e.Outcome, want)
	}
}

// checkAccounts compares the rows of a node that has the whole ledger with the model.
func (m *member) checkAccounts(want accounts.Model) {
	got := accounts.Model{}
	err := m.ledger.State().Range(nil, nil, func(key, value []byte) bool {
		got[binary.BigEndian.Uint64(key[1:])] = binary.BigEndian.Uint64(value)
		return true
	})
	if err != nil || !maps.Equal(got, want) {
		m.g.fail("outcome", m.ledger.Head().Size, "node %d has the accounts %v, %v, the model says %v", m.n.id, got, err, want)
	}
}
