package settle

import (
	"encoding/binary"
	"math"
	"math/big"
	"regexp"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
)

// entry is a leaf, taken apart.
type entry struct {
	kind      byte
	time      int64
	principal string
	body      []byte
	outcome   []byte
}

const (
	kindPayload = 1
	kindCommand = 2
	kindRecord  = 3
)

func decodeLeaf(leaf []byte) (e entry, err error) {
	d := decoder{b: leaf}
	version, kind, flags, at := d.u8(), d.u8(), d.u8(), d.u64()
	p, k, b := d.u16(), d.u8(), d.u16()
	e = entry{kind: kind, time: int64(at), principal: string(d.take(p))}
	d.take(int(k))
	e.body = d.take(b)
	switch {
	case d.bad != nil:
		return e, errors.Wrap(d.bad, "a leaf")
	case version != 2 || flags != 0 || kind < kindPayload || kind > kindRecord:
		return e, errors.Newf("a leaf of version %d, kind %d, flags %d", version, kind, flags)
	case p == 0 || p > 2048 || k > 128 || len(leaf) > 65_535:
		return e, errors.Newf("a leaf of %d bytes with a principal of %d and a key of %d", len(leaf), p, k)
	}
	e.outcome = d.b
	return e, nil
}

var nodePattern = regexp.MustCompile(`^spiffe://[^/]+/cluster/[0-9a-f]{16}/node/[^/]+$`)

// decoder takes fields off a byte string. After the first thing that is wrong it returns zeros.
type decoder struct {
	b   []byte
	bad error
}

func (d *decoder) wrong(format string, args ...any) {
	if d.bad == nil {
		d.bad = errors.Newf(format, args...)
	}
}

func (d *decoder) take(n int) []byte {
	if d.bad != nil || n > len(d.b) {
		d.wrong("it ends too early")
		return make([]byte, n)
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) u8() byte    { return d.take(1)[0] }
func (d *decoder) u16() int    { return int(binary.BigEndian.Uint16(d.take(2))) }
func (d *decoder) u64() uint64 { return binary.BigEndian.Uint64(d.take(8)) }

func (d *decoder) bit() bool {
	n := d.u8()
	if n > 1 {
		d.wrong("%d where 0 or 1 is wanted", n)
	}
	return n == 1
}

// time is a time or an interval in µs.
func (d *decoder) time() int64 {
	n := d.u64()
	if n > math.MaxInt64 {
		d.wrong("a time below zero")
	}
	return int64(n)
}

func (d *decoder) amount() *big.Int {
	b := d.take(int(min(17, d.u8())))
	if len(b) > 16 || len(b) > 0 && b[0] == 0 && d.bad == nil {
		d.wrong("an amount %x", b)
	}
	return new(big.Int).SetBytes(b)
}

// decimal is coefficient / 10^scale.
type decimal struct {
	coefficient *big.Int
	scale       int
}

var ten = big.NewInt(10)

func (d *decoder) decimal() decimal {
	n := decimal{scale: int(d.u8())}
	n.coefficient = d.amount()
	last := new(big.Int).Mod(n.coefficient, ten)
	if n.scale > 18 || n.scale > 0 && last.Sign() == 0 {
		d.wrong("the decimal %s with scale %d", n.coefficient, n.scale)
	}
	return n
}

func (d *decoder) optionalID() string {
	n := d.u8()
	id := string(d.take(int(n)))
	if n > 200 {
		d.wrong("an id of %d bytes", n)
	}
	for _, c := range []byte(id) {
		if d.bad == nil && (c <= ' ' || c > '~') {
			d.wrong("the id %q", id)
		}
	}
	return id
}

func (d *decoder) id() string {
	id := d.optionalID()
	if id == "" {
		d.wrong("an id of no bytes")
	}
	return id
}

func (d *decoder) text(least, most int) string {
	s := string(d.take(d.u16()))
	if d.bad == nil && (len(s) < least || len(s) > most || !utf8.ValidString(s)) {
		d.wrong("the text %q, want %d to %d bytes of UTF-8", s, least, most)
	}
	for _, c := range s {
		if d.bad == nil && (c < 0x20 || c >= 0x7f && c <= 0x9f) {
			d.wrong("the text %q with a control character", s)
		}
	}
	return s
}

func (d *decoder) owners() (owners []string) {
	n := d.u8()
	if n > 16 {
		d.wrong("%d owners", n)
	}
	for i := range int(n) {
		owners = append(owners, d.text(1, 1024))
		if i > 0 && owners[i] <= owners[i-1] {
			d.wrong("owners that do not ascend")
		}
	}
	return owners
}

// command is a command of any operation; what belongs to other operations is zero.
type command struct {
	op       byte
	operator bool

	id string // of the asset, the account, the set, or what is resolved

	scale int // create asset

	asset  string // open account
	flags  byte
	key    [32]byte
	limit  *decimal // open account; change account, nil: stays
	owners []string
	change byte // change account

	pending    bool // submit
	timeout    int64
	conditions []condition
	rawConds   []byte // as they are encoded
	transfers  []transfer

	void    bool // resolve
	amounts []partial

	instruction *instruction // instruct: as it is given

	of     string // manage: the instruction
	manage byte
}

type condition struct {
	kind   byte
	id     string
	least  decimal
	number uint64
	status byte
}

type transfer struct {
	id, debit, credit, asset, original string
	amount                             decimal
	raw                                []byte // as it is encoded
}

type partial struct {
	id     string
	amount decimal
}

const (
	opCreateAsset   = 1
	opOpenAccount   = 2
	opChangeAccount = 3
	opSubmit        = 4
	opResolve       = 5
	opInstruct      = 6
	opManage        = 7
	opAdvance       = 8
)

func decodeCommand(b []byte) (*command, error) {
	d := &decoder{b: b}
	version := d.u8()
	c := &command{op: d.u8(), operator: d.bit()}
	if version != 1 {
		d.wrong("version %d", version)
	}
	switch c.op {
	case opCreateAsset:
		c.id, c.scale = d.id(), int(d.u8())
		if c.scale > 18 {
			d.wrong("scale %d", c.scale)
		}
	case opOpenAccount:
		c.id, c.asset, c.flags = d.id(), d.id(), d.u8()
		limit := d.decimal()
		c.limit, c.owners = &limit, d.owners()
		c.key = [32]byte(d.take(32))
		if c.flags > 7 || c.flags&3 == 3 || c.flags&3 == 0 && limit.coefficient.Sign() > 0 {
			d.wrong("flags %d with the limit %s", c.flags, limit.coefficient)
		}
	case opChangeAccount:
		c.id, c.change = d.id(), d.u8()
		if c.change == 0 || c.change > 31 || c.change&3 == 3 {
			d.wrong("change %d", c.change)
		}
		if c.change&8 != 0 {
			limit := d.decimal()
			c.limit = &limit
		}
		if c.change&16 != 0 {
			c.owners = d.owners()
		}
	case opSubmit:
		c.decodeSubmit(d)
	case opResolve:
		c.id, c.void = d.id(), d.bit()
		n := int(d.u8())
		if n > 64 || c.void && n > 0 {
			d.wrong("%d amounts, void: %t", n, c.void)
		}
		for i := range n {
			c.amounts = append(c.amounts, partial{d.optionalID(), d.decimal()})
			if i > 0 && c.amounts[i].id <= c.amounts[i-1].id {
				d.wrong("amounts whose ids do not ascend")
			}
		}
		d.source()
	case opInstruct:
		c.decodeInstruct(d)
	case opManage:
		if c.id, c.of, c.manage = d.optionalID(), d.id(), d.u8(); c.manage == 0 || c.manage > 3 {
			d.wrong("the change %d of an instruction", c.manage)
		}
	case opAdvance:
	default:
		d.wrong("operation %d", c.op)
	}
	if len(d.b) > 0 {
		d.wrong("%d bytes too many", len(d.b))
	}
	return c, errors.Wrap(d.bad, "a command")
}

func (c *command) decodeSubmit(d *decoder) {
	c.id, c.pending, c.timeout = d.optionalID(), d.bit(), d.time()
	if c.timeout > 0 && !c.pending {
		d.wrong("a timeout of what is not pending")
	}
	at := d.b
	n := int(d.u8())
	if n > 16 {
		d.wrong("%d conditions", n)
	}
	for range n {
		x := condition{kind: d.u8()}
		switch x.kind {
		case 1:
			x.id, x.least = d.id(), d.decimal()
		case 2:
			x.id, x.number = d.id(), d.u64()
		case 3:
			if x.id, x.status = d.id(), d.u8(); x.status == 0 || x.status > 16 {
				d.wrong("a condition on the status %d", x.status)
			}
		case 4, 5:
			x.number = uint64(d.time())
		default:
			d.wrong("a condition of kind %d", x.kind)
		}
		c.conditions = append(c.conditions, x)
	}
	c.rawConds = at[:len(at)-len(d.b)]
	n = d.u16()
	if most := 256; n == 0 || n > most || c.id != "" && n > 64 {
		d.wrong("%d transfers", n)
	}
	for i := 0; i < n && d.bad == nil; i++ {
		at := d.b
		t := transfer{id: d.id(), debit: d.id(), credit: d.id(), asset: d.optionalID(), amount: d.decimal(), original: d.optionalID()}
		d.references()
		t.raw = at[:len(at)-len(d.b)]
		c.transfers = append(c.transfers, t)
	}
	d.source()
}

func (c *command) decodeInstruct(d *decoder) {
	c.id = d.id()
	at := d.b
	i := &instruction{id: c.id, party: d.text(1, 256), other: d.text(1, 256)}
	which := d.u8()
	if which == 0 || which > 3 {
		d.wrong("the legs %d", which)
	}
	for k, leg := range []**leg{&i.delivers, &i.receives} {
		if which>>k&1 == 1 {
			*leg = newLeg()
			(*leg).account, (*leg).asset = d.id(), d.id()
			i.given[k] = d.decimal()
		}
	}
	i.trade, i.date, i.reference = d.date(), d.date(), d.text(0, 256)
	flags := d.u8()
	i.held, i.partial = flags&1 != 0, flags&2 != 0
	if i.priority = d.u8(); flags > 3 || i.priority > 3 || i.date == 0 {
		d.wrong("flags %d, priority %d, settlement date %d", flags, i.priority, i.date)
	}
	i.expiry = d.time()
	d.references()
	c.instruction, i.content = i, string(at[:len(at)-len(d.b)])
	d.source()
}

// date is a number of days since 1970-01-01; 0 is none.
func (d *decoder) date() uint32 {
	n := binary.BigEndian.Uint32(d.take(4))
	if n > 2_932_896 {
		d.wrong("day %d", n)
	}
	return n
}

func (d *decoder) references() {
	refs, before := int(d.u8()), byte(0)
	if refs > 16 {
		d.wrong("%d references", refs)
	}
	for range refs {
		kind := d.u8()
		if kind == 0 || kind > 16 || kind <= before {
			d.wrong("a reference of kind %d behind %d", kind, before)
		}
		before = kind
		d.text(1, 1000)
	}
}

func (d *decoder) source() {
	switch form := d.u8(); form {
	case 0:
	case 1:
		d.text(1, 64)
		if n := d.u16(); n > 49152 {
			d.wrong("a message of %d bytes", n)
		} else {
			d.take(n)
		}
	case 2:
		d.text(1, 64)
		d.take(8 + 32)
	default:
		d.wrong("a source of form %d", form)
	}
}

// outcome is what the leaf says.
type outcome struct {
	results []result
	touched []touched
}

// touched is an account that an entry touched, with its head behind the entry.
type touched struct {
	account string
	head    [32]byte
}

// result is one result of an outcome, with the fields of the documented table.
type result struct {
	status, reason byte
	id             string
	index          uint64
	member         int
	cause          byte
	// What the entry moved of an instruction; nil with other statuses than settled and
	// partlySettled.
	delivered, received *big.Int
}

// line is what an account has behind an entry. No leaf shows it.
type line struct {
	account        string
	scale          int
	dp, db, cp, cb *big.Int // debits pending and posted, credits pending and posted
	seq, previous  uint64
}

type mapRoot struct {
	root               [32]byte
	accounts, previous uint64
}

func decodeOutcome(b []byte) (*outcome, error) {
	d := &decoder{b: b}
	if version := d.u8(); version != 1 {
		d.wrong("version %d", version)
	}
	o := &outcome{}
	for range d.u16() {
		if d.bad != nil {
			break
		}
		o.results = append(o.results, d.result())
	}
	for range d.u16() {
		if d.bad != nil {
			break
		}
		t := touched{d.id(), [32]byte(d.take(32))}
		if n := len(o.touched); n > 0 && t.account <= o.touched[n-1].account {
			d.wrong("the account %q behind %q", t.account, o.touched[n-1].account)
		}
		o.touched = append(o.touched, t)
	}
	if len(d.b) > 0 {
		d.wrong("%d bytes too many", len(d.b))
	}
	return o, errors.Wrap(d.bad, "an outcome")
}

// lastReason is the highest number of the documented table of reasons.
const lastReason = instructionExpired

func (d *decoder) result() result {
	r := result{status: d.u8(), reason: d.u8(), id: d.optionalID(), index: d.u64(), member: d.u16(), cause: d.u8()}
	if r.status == settled || r.status == partlySettled {
		r.delivered, r.received = d.amount(), d.amount()
	}
	switch {
	case r.status == 0 || r.status > held:
		d.wrong("the status %d", r.status)
	case r.reason > lastReason || r.cause > lastReason:
		d.wrong("the reason %d with the cause %d", r.reason, r.cause)
	case (r.cause != 0) != (r.reason == setMemberRejected):
		d.wrong("the cause %d with the reason %d", r.cause, r.reason)
	case r.member != 0 && r.reason != setMemberRejected && r.reason != conditionFailed:
		d.wrong("the member %d with the reason %d", r.member, r.reason)
	case (r.reason != 0) != (r.status == rejected) && r.status != queued && r.status != partlySettled && r.status != cancelled && r.status != expired:
		d.wrong("the status %d with the reason %d", r.status, r.reason)
	}
	return r
}

// decodeRoot reads a record of the ledger itself. It returns nil for any but one of the map root.
func decodeRoot(e *entry) (*mapRoot, error) {
	if len(e.body) != 2 || e.body[0] != 3 || e.body[1] != 1 {
		if len(e.outcome) > 0 {
			return nil, errors.Newf("a record that is not of the map root has an outcome of %d bytes", len(e.outcome))
		}
		return nil, nil
	}
	d := &decoder{b: e.outcome}
	r := &mapRoot{root: [32]byte(d.take(32)), accounts: d.u64(), previous: d.u64()}
	if len(d.b) > 0 {
		d.wrong("%d bytes too many", len(d.b))
	}
	return r, errors.Wrap(d.bad, "the outcome of a record of the map root")
}

func (o *outcome) encode() []byte {
	b := binary.BigEndian.AppendUint16(o.encodeResults(), uint16(len(o.touched)))
	for _, t := range o.touched {
		b = append(append(append(b, byte(len(t.account))), t.account...), t.head[:]...)
	}
	return b
}

// encodeResults is the part of the outcome that the heads cover.
func (o *outcome) encodeResults() []byte {
	b := []byte{1}
	b = binary.BigEndian.AppendUint16(b, uint16(len(o.results)))
	for _, r := range o.results {
		b = append(b, r.status, r.reason, byte(len(r.id)))
		b = append(b, r.id...)
		b = binary.BigEndian.AppendUint64(b, r.index)
		b = binary.BigEndian.AppendUint16(b, uint16(r.member))
		b = append(b, r.cause)
		if r.status == settled || r.status == partlySettled {
			b = appendAmount(appendAmount(b, r.delivered), r.received)
		}
	}
	return b
}

func (l *line) encode() []byte {
	b := append([]byte{byte(len(l.account))}, l.account...)
	b = append(b, byte(l.scale))
	for _, n := range []*big.Int{l.dp, l.db, l.cp, l.cb} {
		b = appendAmount(b, n)
	}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, l.seq), l.previous)
}

func appendAmount(b []byte, n *big.Int) []byte {
	return append(append(b, byte(len(n.Bytes()))), n.Bytes()...)
}
