package sim

import (
	"bytes"
	"math/rand/v2"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
)

// holds is the business of a ledger whose program is accounts with holds. Holds expire by entries
// that leaders propose in their own name, in simulated time.
type holds struct {
	newest uint64 // hold that somebody asked for; those before have lower numbers
}

// longestHold is the longest timeout of a hold or reservation, µs: most expire during the run.
const longestHold = 3_000_000

// entry makes a payload, or a command of few accounts, that no other entry has.
func (h *holds) entry(l *workload, r *rand.Rand) ledger.NewEntry {
	payload := l.payload(r)
	if r.IntN(4) == 0 {
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
		h.newest++
		command = accounts.Hold(h.newest, account(), r.Uint64N(30), r.Uint64N(longestHold))
	case 6:
		command = accounts.Pay(h.hold(r), account())
	case 7:
		command = accounts.Expire(h.hold(r)) // which is for nodes alone
	default:
		command = accounts.Transfer(account(), account(), r.Uint64N(60))
	}
	return ledger.NewEntry{Kind: ledger.KindCommand, Body: append(command, payload[:8]...)}
}

// hold is one of the holds that somebody has asked for lately.
func (h *holds) hold(r *rand.Rand) uint64 { return h.newest - min(h.newest, r.Uint64N(10)) }

// holdsJudge compares a ledger with the model of accounts with holds.
type holdsJudge struct {
	g     *group
	model accounts.HoldsModel
}

func (h *holds) judge(g *group) judge { return &holdsJudge{g, accounts.NewHoldsModel()} }

func (j *holdsJudge) leaf(index uint64, e *ledger.Entry, _ []byte) {
	var want []byte
	if e.Kind == ledger.KindCommand {
		want = j.model.Decide(e)
	}
	if !bytes.Equal(e.Outcome, want) {
		j.g.fail("outcome", index, "entry %d, %s %x, has outcome %x, the model says %x", index, e.Kind, e.Body, e.Outcome, want)
	}
	if ofLeader(e.Principal) && accounts.ExpiredBefore(e.Body, e.Outcome) {
		j.g.fail("work", index, "entry %d by %s: the work %x had been done before: two proposals of it were under way", index, e.Principal, e.Body)
	}
}

func (j *holdsJudge) end(m *member) {
	got, err := accounts.ReadHolds(m.ledger.State())
	if err != nil || !got.Equal(j.model) {
		m.g.fail("outcome", m.ledger.Head().Size, "node %d has the accounts %v, %v, the model says %v", m.n.id, got, err, j.model)
	}
}
