package sim

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cairnledger/cairn/jepsen/settle"
	"github.com/cairnledger/cairn/jepsen/settle/load"
	"github.com/cairnledger/cairn/ledger"
)

// money is the business of a settlement ledger: a bank, and deliveries against payment.
type money struct{ load load.Load }

func newMoney(w *world) *money {
	now := func() int64 { return epoch.Add(time.Duration(w.now)).UnixMicro() }
	return &money{load.Load{Owners: principals, Timeout: longestHold, Grain: 1, Now: now}}
}

// entry makes a command. Commands repeat one another on purpose, so each entry has a key of its
// own.
func (m *money) entry(l *workload, r *rand.Rand) ledger.NewEntry {
	c := m.load.Next(r)
	body, err := c.Marshal()
	if err != nil {
		panic(err)
	}
	l.nextPayload++
	return ledger.NewEntry{Kind: ledger.KindCommand, Key: fmt.Appendf(nil, "command-%d-%d", l.g.id, l.nextPayload), Body: body}
}

// moneyJudge compares a ledger with the model of settlement.
type moneyJudge struct {
	g     *group
	model *settle.Model
	wrong bool // later differences may follow from the first one
	// details has the SHA-256 of the detail of each entry, by the model.
	details [][32]byte
}

func (m *money) judge(g *group) judge {
	return &moneyJudge{g: g, model: settle.New(originOf(g.id))}
}

func (j *moneyJudge) leaf(index uint64, _ *ledger.Entry, leaf []byte) {
	for _, problem := range j.model.Leaf(leaf) {
		if !j.wrong {
			j.wrong = true
			j.g.fail("outcome", index, "%v", problem)
		}
	}
	j.details = append(j.details, sha256.Sum256(j.model.Detail()))
}

func (j *moneyJudge) end(m *member) {
	g, head := m.g, m.ledger.Head()
	if err := j.model.End(); err != nil {
		g.fail("outcome", head.Size, "%v", err)
	}
	if id := j.model.Overdue(head.Time); id != "" {
		g.fail("work", head.Size, "the reservation %s was due at the time of the last entry, %d, and has not expired", id, head.Time)
	}
	for index, want := range j.details {
		_, detail, err := m.ledger.Detail(uint64(index))
		if err != nil || sha256.Sum256(detail) != want {
			g.fail("outcome", uint64(index), "node %d has the detail %x, %v, and the model has another one", m.n.id, detail, err)
			break
		}
	}
	left := j.model.Rows()
	m.checkProofs(slices.Sorted(maps.Keys(left)))
	err := m.ledger.State().Range([]byte{'a'}, []byte{'b'}, func(key, row []byte) bool {
		id := string(key[1:])
		if want := left[id]; !bytes.Equal(row, want) {
			g.fail("outcome", head.Size, "node %d has the account %s with the row %x, the model says %x", m.n.id, id, row, want)
		}
		delete(left, id)
		return true
	})
	if err != nil || len(left) > 0 {
		g.fail("outcome", head.Size, "node %d lacks %d accounts, %v", m.n.id, len(left), err)
	}
	c, s := j.model.Counts(), &g.w.stats
	s.Posted, s.Expired, s.Rejected = s.Posted+c.Statuses[2], s.Expired+c.Statuses[5], s.Rejected+c.Statuses[6]
}
