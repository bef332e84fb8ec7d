package settle

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"
	"sort"
	"strings"

	"github.com/cockroachdb/errors"
)

// Model is what a settlement ledger is, by the documents.
type Model struct {
	origin string
	size   uint64
	time   int64

	assets   map[string]asset
	accounts map[string]*account
	ids      map[string]*thing // transfers, sets, instructions and requests
	live     map[string]*thing // of ids: what is pending or not final, and some that was
	queues   map[string]*queue // by account

	// The map of accounts: the index of the newest record of its root, 0 when there is none, and of
	// the first entry that touched an account since then.
	rootAt    uint64
	uncovered uint64
	stale     bool // there is such an entry

	counts Counts
	detail []byte // of the newest leaf
}

// Counts say what a ledger held, so that a run in which nothing happened does not pass for one.
type Counts struct {
	Commands, Results, Roots int
	// Statuses has how many results had each status.
	Statuses [17]int
	// Reasons has how many rejections had each reason, or as the cause of a set's rejection.
	Reasons [64]int
}

type asset struct {
	scale int
	index uint64
}

// account is an account. Its numbers are never changed in place, so a copy is a snapshot.
type account struct {
	id, asset      string
	scale          int
	flags          byte
	limit          *big.Int
	owners         []string
	dp, db, cp, cb *big.Int
	seq, last      uint64
	head, key      [32]byte // the key is in no record
}

const (
	debitsLimited  = 1
	creditsLimited = 2
	frozen         = 4
	closed         = 8
)

// thing is a transfer, a set, a transfer of a set, an instruction, or a request about one.
type thing struct {
	instruction *instruction
	request     bool
	set         bool
	of          string // the set that a transfer belongs to
	content     string // what a repetition repeats
	status      byte
	index       uint64 // of the entry that used the id
	ended       uint64 // of the entry that posted, voided or expired what was pending; else index
	waited      bool   // it was pending once
	expires     int64  // 0: never

	debit, credit    string
	amount           *big.Int
	posted, returned *big.Int
	original         string
	members          []string
}

const (
	done     = 1
	posted   = 2
	pending  = 3
	voided   = 4
	expired  = 5
	rejected = 6
	exists   = 7
	conflict = 8
)

// New returns the model of a ledger before its first entry.
func New(origin string) *Model {
	return &Model{origin: origin, assets: map[string]asset{}, accounts: map[string]*account{}, ids: map[string]*thing{}, live: map[string]*thing{}, queues: map[string]*queue{}}
}

// Size is the number of leaves that the model has read.
func (m *Model) Size() uint64 { return m.size }

// Time is the time of the newest entry, µs since the Unix epoch.
func (m *Model) Time() int64 { return m.time }

// Counts returns what the ledger held so far.
func (m *Model) Counts() Counts { return m.counts }

// Leaf takes the next leaf and says what about it is not as documented.
func (m *Model) Leaf(leaf []byte) (problems []error) {
	index := m.size
	m.size++
	m.detail = nil
	say := func(format string, args ...any) {
		problems = append(problems, errors.Newf("entry %d: "+format, append([]any{index}, args...)...))
	}
	e, err := decodeLeaf(leaf)
	if err != nil {
		say("%v", err)
		return problems
	}
	if e.time != m.time {
		if err := m.covered(); err != nil {
			say("%v", err)
		}
	}
	if e.time < m.time {
		say("its time %d is before that of the entry before, %d", e.time, m.time)
	}
	m.time = e.time
	switch {
	case e.kind == kindRecord:
		if err := m.record(index, &e); err != nil {
			say("%v", err)
		}
		return problems
	case e.kind != kindCommand:
		say("an entry of kind %d; a settlement ledger has commands and records", e.kind)
		return problems
	}
	c, err := decodeCommand(e.body)
	if err != nil {
		say("%v in the ledger", err)
		return problems
	}
	got, err := decodeOutcome(e.outcome)
	if err != nil {
		say("%v", err)
		return problems
	}
	s := &step{m: m, e: &e, c: c, index: index, before: map[string]*account{}, booked: booking{}, given: got}
	want := s.decide()
	m.extend(s, leaf[:len(leaf)-len(e.outcome)], want)
	if b := want.encode(); !bytes.Equal(b, e.outcome) {
		say("%s has the outcome %s", c, got.unlike(want))
	}
	m.count(want)
	if err := m.balanced(s); err != nil {
		say("%v", err)
	}
	return problems
}

// End says what is missing at the end of a ledger.
func (m *Model) End() error { return m.covered() }

func (m *Model) count(o *outcome) {
	m.counts.Commands++
	m.counts.Results += len(o.results)
	for _, r := range o.results {
		m.counts.Statuses[r.status]++
		m.counts.Reasons[r.reason]++
		m.counts.Reasons[r.cause]++
	}
}

// balanced checks, for the assets that an entry touched, that debits are credits, and for every
// account that it touched that nothing is negative or too large, and that its limit holds.
func (m *Model) balanced(s *step) error {
	touched := map[string]bool{}
	for id := range s.before {
		a := m.accounts[id]
		touched[a.asset] = true
		for _, n := range []*big.Int{a.dp, a.db, a.cp, a.cb, sum(a.dp, a.db), sum(a.cp, a.cb)} {
			if n.Sign() < 0 || n.BitLen() > 128 {
				return errors.Newf("the account %s has the impossible sum %s", id, n)
			}
		}
		if err := a.limited(s.before[id]); err != nil {
			return err
		}
	}
	net := map[string]*big.Int{}
	for _, a := range m.accounts {
		if touched[a.asset] {
			for kind, d := range map[string]*big.Int{" pending": difference(a.cp, a.dp), " posted": difference(a.cb, a.db)} {
				if net[a.asset+kind] == nil {
					net[a.asset+kind] = new(big.Int)
				}
				net[a.asset+kind].Add(net[a.asset+kind], d)
			}
		}
	}
	for what, n := range net {
		if n.Sign() != 0 {
			return errors.Newf("the credits of %s are %s more than the debits", what, n)
		}
	}
	return nil
}

// limited checks that an entry did not take an account above its limit. An account may be above it
// because the limit was lowered; then nothing that counts against the limit is added.
func (a *account) limited(before *account) error {
	debits, credits := sum(a.dp, a.db), sum(a.cp, a.cb)
	switch {
	case a.flags&debitsLimited != 0 && debits.Cmp(sum(a.cb, a.limit)) > 0 && debits.Cmp(sum(before.dp, before.db)) > 0:
		return errors.Newf("the account %s has debits of %s with credits of %s and a limit of %s", a.id, debits, a.cb, a.limit)
	case a.flags&creditsLimited != 0 && credits.Cmp(sum(a.db, a.limit)) > 0 && credits.Cmp(sum(before.cp, before.cb)) > 0:
		return errors.Newf("the account %s has credits of %s with debits of %s and a limit of %s", a.id, credits, a.db, a.limit)
	}
	return nil
}

// Balance is what an account has, in minor units.
type Balance struct {
	DebitsPending, DebitsPosted, CreditsPending, CreditsPosted *big.Int
	Sequence                                                   uint64
}

// Balances returns all accounts.
func (m *Model) Balances() map[string]Balance {
	all := map[string]Balance{}
	for id, a := range m.accounts {
		all[id] = Balance{a.dp, a.db, a.cp, a.cb, a.seq}
	}
	return all
}

// Overdue returns the reservation that has been due for longest at a ledger time, "" when none is.
func (m *Model) Overdue(now int64) string {
	if due := m.due(now); len(due) > 0 {
		return due[0]
	}
	return ""
}

// due returns the reservations that end at or before a time, in the order of their times and ids.
func (m *Model) due(now int64) []string {
	var due []string
	for id, t := range m.live {
		switch {
		case t.instruction == nil && t.status != pending || m.ids[id] != t:
			delete(m.live, id)
		case t.status == pending && t.of == "" && t.expires > 0 && t.expires <= now:
			due = append(due, id)
		}
	}
	sort.Slice(due, func(i, j int) bool {
		a, b := m.ids[due[i]], m.ids[due[j]]
		return a.expires < b.expires || a.expires == b.expires && due[i] < due[j]
	})
	return due
}

// owns reports whether a principal may debit an account; an operator may debit all.
func (s *step) owns(account string) bool {
	if s.c.operator {
		return true
	}
	a := s.m.accounts[account]
	return a != nil && slices.Contains(a.owners, s.e.principal)
}

func sum(a, b *big.Int) *big.Int        { return new(big.Int).Add(a, b) }
func difference(a, b *big.Int) *big.Int { return new(big.Int).Sub(a, b) }

var largest = difference(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))

// minor returns a number in minor units of an asset. digits: it has more than the asset; fits: it
// is at most 2^128 - 1.
func (n decimal) minor(scale int) (amount *big.Int, digits, fits bool) {
	if n.scale > scale {
		return new(big.Int), true, true
	}
	amount = new(big.Int).Mul(n.coefficient, new(big.Int).Exp(ten, big.NewInt(int64(scale-n.scale)), nil))
	return amount, false, amount.Cmp(largest) <= 0
}

func (c *command) String() string {
	names := map[byte]string{opCreateAsset: "create asset", opOpenAccount: "open account", opChangeAccount: "change account", opSubmit: "submit", opResolve: "resolve", opInstruct: "instruct", opManage: "manage", opAdvance: "advance"}
	who := ""
	if c.operator {
		who = " by an operator"
	}
	text := fmt.Sprintf("%s %q%s", names[c.op], c.id, who)
	for _, x := range c.conditions {
		text += fmt.Sprintf(" if (kind %d %s, %se-%d, status %d, %d)", x.kind, x.id, x.least.coefficient, x.least.scale, x.status, x.number)
	}
	for _, t := range c.transfers {
		text += fmt.Sprintf(" [%s: %s to %s, %se-%d]", t.id, t.debit, t.credit, t.amount.coefficient, t.amount.scale)
	}
	if i := c.instruction; i != nil {
		text += fmt.Sprintf(" %s to %s date %d trade %d reference %q held %t partial %t priority %d expiry %d", i.party, i.other, i.date, i.trade, i.reference, i.held, i.partial, i.priority, i.expiry)
		for k, l := range []*leg{i.delivers, i.receives} {
			if l != nil {
				text += fmt.Sprintf(" [%s %s %s %se-%d]", []string{"delivers", "receives"}[k], l.account, l.asset, i.given[k].coefficient, i.given[k].scale)
			}
		}
	}
	if c.of != "" {
		text += fmt.Sprintf(" change %d of %s", c.manage, c.of)
	}
	return text
}

// unlike says what the first difference between two outcomes is.
func (o *outcome) unlike(want *outcome) string {
	got, wanted := o.parts(), want.parts()
	for i, part := range got {
		if i == len(wanted) || part != wanted[i] {
			return fmt.Sprintf("%s as part %d of %d, by the rules it is %s", part, i, len(got), strings.Join(wanted[min(i, len(wanted)):], ""))
		}
	}
	return fmt.Sprintf("%s, by the rules it is followed by %s", strings.Join(got, ""), strings.Join(wanted[len(got):], ""))
}

// parts are the results and heads in words.
func (o *outcome) parts() (parts []string) {
	for _, r := range o.results {
		text := fmt.Sprintf("{status %d reason %d id %q index %d member %d cause %d", r.status, r.reason, r.id, r.index, r.member, r.cause)
		if r.delivered != nil {
			text += fmt.Sprintf(" delivered %s received %s", r.delivered, r.received)
		}
		parts = append(parts, text+"}")
	}
	for _, t := range o.touched {
		parts = append(parts, fmt.Sprintf("(%s with the head %x)", t.account, t.head))
	}
	return parts
}
