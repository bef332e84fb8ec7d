package accounts

import (
	"encoding/binary"
	"math"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// WithHolds is Program with holds: an amount is taken from an account until it is paid to another
// one, or until the hold expires and the amount goes back. Expiry is work that no caller asks for,
// so WithHolds is a ledger.Timed to copy from. HoldsModel says the same over maps.
type WithHolds struct{ Program }

// The first byte of a command of holds. Any eight bytes may follow, too.
const (
	opHold   = 4 // 8: hold; 8: account; 8: amount; 8: timeout, µs
	opPay    = 5 // 8: hold; 8: account that gets the amount
	opExpire = 6 // 8: hold; for nodes alone
)

// The first byte of an outcome of holds. Done has, of Hold: 8: balance of the account; 8: when the
// hold is due. Of Pay and Expire: 8: amount; 8: balance of the account that got it.
const (
	Early  = 5 // 8: when the hold is due. Expire came before that
	Late   = 6 // 8: when the hold was due. Pay came at that time or later
	Closed = 7 // 8: Paid or Expired. It was settled before
	Caller = 8 // only a node may do this
)

// What became of a hold.
const (
	Pending = 1
	Paid    = 2
	Expired = 3
)

// maxTimeout is the longest timeout of a hold, µs: 12 days.
const maxTimeout = 1 << 40

// Hold returns the command that takes an amount from an account for at most timeout, in µs.
func Hold(hold, account, amount, timeout uint64) []byte {
	return command(opHold, hold, account, amount, timeout)
}

// Pay returns the command that pays the amount of a hold to an account.
func Pay(hold, account uint64) []byte { return command(opPay, hold, account) }

// Expire returns the command that gives the amount of a hold back. It is WithHolds.Work's.
func Expire(hold uint64) []byte { return command(opExpire, hold) }

// Name implements ledger.Program.
func (WithHolds) Name() string { return "holds" }

// MaxOutcome implements ledger.Program.
func (p WithHolds) MaxOutcome(kind ledger.Kind, body []byte) (int, error) {
	if kind == ledger.KindPayload || len(body) == 0 || body[0] < opHold {
		return p.Program.MaxOutcome(kind, body)
	}
	_, _, err := parseHold(body)
	return 1 + 2*8, err
}

func parseHold(body []byte) (op byte, n [4]uint64, err error) {
	if len(body) > 0 {
		op = body[0]
	}
	want := map[byte]int{opHold: 4, opPay: 2, opExpire: 1}[op]
	if want == 0 || len(body) != 1+8*want && len(body) != 1+8*want+8 {
		return 0, n, errors.Newf("no command of holds: %.40x", body)
	}
	for i := range want {
		n[i] = number(body[1+8*i:])
	}
	if n[3] > maxTimeout {
		return 0, n, errors.Newf("a hold for %d µs, at most %d", n[3], maxTimeout)
	}
	return op, n, nil
}

// The rows of holds. Rows are never deleted, so the rows of dues are read from the newest due time
// that expired on: everything before it is settled, because time does not go back.
//
//	h, 8: hold          8: account; 8: amount; 8: due; 1: what became of it
//	d, 8: due; 8: hold  1 byte while the hold is pending, then empty
//	w                   8: due time of the hold that expired last
func holdKey(hold uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'h'}, hold) }

func dueKey(due, hold uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{'d'}, due), hold)
}

var keyNewestDue = []byte{'w'}

// hold is the row of a hold.
type hold struct {
	account, amount uint64
	due             int64
	status          byte
}

func parseRow(b []byte) hold {
	return hold{number(b), number(b[8:]), int64(number(b[16:])), b[24]}
}

func (h *hold) put(view ledger.View, id uint64) {
	b := binary.BigEndian.AppendUint64(nil, h.account)
	b = binary.BigEndian.AppendUint64(b, h.amount)
	b = binary.BigEndian.AppendUint64(b, uint64(h.due))
	view.Put(holdKey(id), append(b, h.status))
	var pending []byte
	if h.status == Pending {
		pending = []byte{1}
	}
	view.Put(dueKey(uint64(h.due), id), pending)
}

// Decide implements ledger.Program.
func (p WithHolds) Decide(view ledger.View, in *ledger.Input) []byte {
	if in.Kind == ledger.KindPayload || in.Body[0] < opHold {
		return p.Program.Decide(view, in)
	}
	op, n, _ := parseHold(in.Body)
	if op == opExpire && !in.ByNode() {
		return []byte{Caller}
	}
	row, found := view.Get(holdKey(n[0]))
	switch {
	case op == opHold && found:
		return []byte{Exists}
	case op == opHold:
		return open(view, n[0], n[1], n[2], in.Time, n[3])
	case !found:
		return command(Missing, n[0])
	}
	h := parseRow(row)
	switch {
	case h.status != Pending:
		return command(Closed, uint64(h.status))
	case op == opPay && in.Time >= h.due:
		return command(Late, uint64(h.due))
	case op == opPay:
		return h.pay(view, n[0], n[1])
	case in.Time < h.due:
		return command(Early, uint64(h.due))
	default:
		return h.expire(view, n[0])
	}
}

func open(view ledger.View, id, account, amount uint64, now int64, timeout uint64) []byte {
	row, found := view.Get(Key(account))
	if !found {
		return command(Missing, account)
	}
	balance, due := number(row), now+int64(timeout)
	switch {
	case balance < amount:
		return command(Overdraft, balance)
	case now < 0 || due < now:
		return command(Overflow, timeout)
	}
	view.Put(Key(account), binary.BigEndian.AppendUint64(nil, balance-amount))
	h := hold{account, amount, due, Pending}
	h.put(view, id)
	return command(Done, balance-amount, uint64(due))
}

func (h *hold) pay(view ledger.View, id, to uint64) []byte {
	row, found := view.Get(Key(to))
	if !found {
		return command(Missing, to)
	}
	balance := number(row)
	if balance > math.MaxUint64-h.amount {
		return command(Overflow, balance)
	}
	h.status = Paid
	h.put(view, id)
	view.Put(Key(to), binary.BigEndian.AppendUint64(nil, balance+h.amount))
	return command(Done, h.amount, balance+h.amount)
}

// expire always has an effect: work that is due and refused would be due for ever. What does not
// fit into the account is lost.
func (h *hold) expire(view ledger.View, id uint64) []byte {
	h.status = Expired
	h.put(view, id)
	view.Put(keyNewestDue, binary.BigEndian.AppendUint64(nil, uint64(h.due)))
	row, _ := view.Get(Key(h.account))
	balance := number(row)
	balance += min(h.amount, math.MaxUint64-balance)
	view.Put(Key(h.account), binary.BigEndian.AppendUint64(nil, balance))
	return command(Done, h.amount, balance)
}

// Work implements ledger.Timed: the hold that is due first.
func (WithHolds) Work(state ledger.State) (at int64, command []byte, ok bool, err error) {
	newest, _, err := state.Get(keyNewestDue)
	if err != nil {
		return 0, nil, false, err
	}
	err = state.Range(append([]byte{'d'}, newest...), []byte{'d' + 1}, func(key, value []byte) bool {
		if ok = len(value) > 0; ok {
			at, command = int64(number(key[1:])), Expire(number(key[9:]))
		}
		return !ok
	})
	return at, command, ok, err
}
