package settlement

import (
	"github.com/cockroachdb/errors"
)

// Op is the kind of a command.
type Op uint8

// The kinds of commands. Advance is proposed by the ledger's leader alone.
const (
	OpCreateAsset   Op = 1
	OpOpenAccount   Op = 2
	OpChangeAccount Op = 3
	OpSubmit        Op = 4
	OpResolve       Op = 5
	OpInstruct      Op = 6
	OpManage        Op = 7
	OpAdvance       Op = 8
)

var opNames = [...]string{
	OpCreateAsset: "create_asset", OpOpenAccount: "open_account", OpChangeAccount: "change_account", OpSubmit: "submit",
	OpResolve: "resolve", OpInstruct: "instruct", OpManage: "manage", OpAdvance: "advance",
}

// String returns the name of the kind.
func (o Op) String() string {
	if int(o) < len(opNames) && opNames[o] != "" {
		return opNames[o]
	}
	return "unknown"
}

// Command is the body of an entry of a settlement ledger.
type Command struct {
	// Operator says that the caller had the role operator. The node that received the command sets
	// it from the caller's certificate, whatever the caller wrote.
	Operator bool
	Action   Action
}

// Action is what a command asks for: *CreateAsset, *OpenAccount, *ChangeAccount, *Submit, *Resolve,
// *Instruct, *Manage or *Advance.
type Action interface {
	Op() Op
	encode(b []byte) []byte
	decode(r *reader)
	// check says what the wire can carry and no command may say.
	check() error
	// maxOutcome is the largest outcome in bytes, without its header.
	maxOutcome() int
}

// SourceOf returns the source of an action, nil when actions of its kind have none.
func SourceOf(a Action) *Source {
	switch a := a.(type) {
	case *Submit:
		return &a.Source
	case *Resolve:
		return &a.Source
	case *Instruct:
		return &a.Source
	}
	return nil
}

const (
	commandVersion = 1
	commandHeader  = 3 // version, operation, by whom
)

// Marshal returns the command's encoding; an error says which field of it is wrong.
func (c *Command) Marshal() ([]byte, error) {
	if c.Action == nil {
		return nil, errors.New("a command without an action")
	}
	if err := c.Action.check(); err != nil {
		return nil, errors.Wrapf(err, "%s", c.Action.Op())
	}
	b := []byte{commandVersion, byte(c.Action.Op()), 0}
	if c.Operator {
		b[2] = 1
	}
	return c.Action.encode(b), nil
}

// ParseCommand parses a command. Every byte string is either refused or encodes back to itself.
func ParseCommand(b []byte) (*Command, error) { return parseCommand(string(b)) }

func parseCommand(s string) (*Command, error) {
	r := reader{s: s}
	if v := r.u8(); r.err == nil && v != commandVersion {
		return nil, errors.Newf("a command of settlement of version %d, this program knows version %d", v, commandVersion)
	}
	op := Op(r.u8())
	c := &Command{Operator: r.flag("the operator's mark")}
	switch op {
	case OpCreateAsset:
		c.Action = new(CreateAsset)
	case OpOpenAccount:
		c.Action = new(OpenAccount)
	case OpChangeAccount:
		c.Action = new(ChangeAccount)
	case OpSubmit:
		c.Action = new(Submit)
	case OpResolve:
		c.Action = new(Resolve)
	case OpInstruct:
		c.Action = new(Instruct)
	case OpManage:
		c.Action = new(Manage)
	case OpAdvance:
		c.Action = new(Advance)
	default:
		return nil, errors.Newf("no command of settlement: %d bytes, operation %d", len(s), op)
	}
	c.Action.decode(&r)
	if err := r.end(op.String()); err != nil {
		return nil, err
	}
	if err := c.Action.check(); err != nil {
		return nil, errors.Wrapf(err, "%s", op)
	}
	return c, nil
}

// CreateAsset creates an asset: a currency, a security or anything else that is counted.
type CreateAsset struct {
	ID    string // ISO 4217 code, ISIN or a name of the operator's
	Scale uint8  // digits behind the decimal point, at most MaxScale
}

// Op implements Action.
func (*CreateAsset) Op() Op { return OpCreateAsset }

func (a *CreateAsset) encode(b []byte) []byte { return append(appendID(b, a.ID), a.Scale) }

func (a *CreateAsset) decode(r *reader) { a.ID, a.Scale = r.id(), r.u8() }

func (a *CreateAsset) check() error {
	if err := CheckID(a.ID); err != nil {
		return err
	}
	if a.Scale > MaxScale {
		return errors.Newf("a scale of %d; at most %d", a.Scale, MaxScale)
	}
	return nil
}

// Flags are properties of an account.
type Flags uint8

// The flags of an account.
const (
	// DebitsLimited: pending and posted debits must not exceed posted credits and the limit.
	DebitsLimited Flags = 1 << iota
	// CreditsLimited: pending and posted credits must not exceed posted debits and the limit.
	CreditsLimited
	// Frozen: the account takes no transfer; what was reserved before can be posted and voided.
	Frozen
	// Closed: the account takes no transfer, for ever.
	Closed

	allFlags     = DebitsLimited | CreditsLimited | Frozen | Closed
	flagsAtStart = DebitsLimited | CreditsLimited | Frozen
)

// Has reports whether all flags of g are set.
func (f Flags) Has(g Flags) bool { return f&g == g }

const (
	// MaxOwners is how many principals may own an account.
	MaxOwners = 16
	// MaxOwner is the longest name of an owner, in bytes.
	MaxOwner = 1024
)

// OpenAccount opens an account.
type OpenAccount struct {
	ID     string
	Asset  string
	Flags  Flags    // DebitsLimited, CreditsLimited (not both), Frozen
	Limit  Decimal  // how far the limited side may exceed the other; 0 without one of the flags
	Owners []string // principals who may debit the account and read it; ascending
	Key    Key      // random; the node that takes the command makes one where there is none
}

// Op implements Action.
func (*OpenAccount) Op() Op { return OpOpenAccount }

func (a *OpenAccount) encode(b []byte) []byte {
	b = appendDecimal(append(appendID(appendID(b, a.ID), a.Asset), byte(a.Flags)), a.Limit)
	return append(appendOwners(b, a.Owners), a.Key[:]...)
}

func (a *OpenAccount) decode(r *reader) {
	a.ID, a.Asset, a.Flags, a.Limit = r.id(), r.id(), Flags(r.u8()), r.decimal()
	a.Owners = r.owners()
	copy(a.Key[:], r.take(len(a.Key)))
}

func (a *OpenAccount) check() error {
	switch {
	case CheckID(a.ID) != nil:
		return errors.Wrap(CheckID(a.ID), "account")
	case CheckID(a.Asset) != nil:
		return errors.Wrap(CheckID(a.Asset), "asset")
	case a.Flags&^flagsAtStart != 0:
		return errors.Newf("the flags %#x are not those of a new account", uint8(a.Flags))
	case a.Flags.Has(DebitsLimited | CreditsLimited):
		return errors.New("an account limits its debits or its credits, not both")
	case !a.Limit.Coefficient.IsZero() && a.Flags&(DebitsLimited|CreditsLimited) == 0:
		return errors.New("a limit needs an account that limits its debits or its credits")
	}
	return checkOwners(a.Owners)
}

func appendOwners(b []byte, owners []string) []byte {
	b = append(b, byte(len(owners)))
	for _, o := range owners {
		b = appendText(b, o)
	}
	return b
}

func (r *reader) owners() []string {
	var owners []string
	for range r.u8() {
		owners = append(owners, r.text(MaxOwner))
	}
	return owners
}

func checkOwners(owners []string) error {
	if len(owners) > MaxOwners {
		return errors.Newf("%d owners; at most %d", len(owners), MaxOwners)
	}
	for i, o := range owners {
		if o == "" {
			return errors.New("an owner without a name")
		}
		if err := checkText(o, MaxOwner); err != nil {
			return errors.Wrap(err, "owner")
		}
		if i > 0 && owners[i-1] >= o {
			return errors.New("the owners do not ascend, or one stands twice")
		}
	}
	return nil
}

// ChangeAccount changes what an operator may change about an account. What is nil stays.
type ChangeAccount struct {
	ID     string
	Frozen *bool
	Close  bool     // for ever; refused while something is pending or a balance is left
	Limit  *Decimal // refused without one of the flags DebitsLimited and CreditsLimited
	Owners []string // replaces the owners when SetOwners
	// SetOwners: Owners counts, also when it is empty.
	SetOwners bool
}

// Op implements Action.
func (*ChangeAccount) Op() Op { return OpChangeAccount }

const (
	changeFrozen = 1 << iota
	changeThawed
	changeClose
	changeLimit
	changeOwners
	allChanges = 1<<iota - 1
)

func (a *ChangeAccount) encode(b []byte) []byte {
	b = appendID(b, a.ID)
	at := len(b)
	b = append(b, 0)
	if a.Frozen != nil {
		b[at] |= changeThawed
		if *a.Frozen {
			b[at] ^= changeThawed | changeFrozen
		}
	}
	if a.Close {
		b[at] |= changeClose
	}
	if a.Limit != nil {
		b[at] |= changeLimit
		b = appendDecimal(b, *a.Limit)
	}
	if a.SetOwners {
		b[at] |= changeOwners
		b = appendOwners(b, a.Owners)
	}
	return b
}

func (a *ChangeAccount) decode(r *reader) {
	a.ID = r.id()
	what := r.u8()
	if what == 0 || what&^allChanges != 0 || what&(changeFrozen|changeThawed) == changeFrozen|changeThawed {
		r.fail("the changes %#x", what)
	}
	if what&(changeFrozen|changeThawed) != 0 {
		frozen := what&changeFrozen != 0
		a.Frozen = &frozen
	}
	a.Close = what&changeClose != 0
	if what&changeLimit != 0 {
		limit := r.decimal()
		a.Limit = &limit
	}
	if a.SetOwners = what&changeOwners != 0; a.SetOwners {
		a.Owners = r.owners()
	}
}

func (a *ChangeAccount) check() error {
	if err := CheckID(a.ID); err != nil {
		return err
	}
	if a.Frozen == nil && !a.Close && a.Limit == nil && !a.SetOwners {
		return errors.New("nothing is to be changed")
	}
	if !a.SetOwners && len(a.Owners) > 0 {
		return errors.New("owners without SetOwners")
	}
	return checkOwners(a.Owners)
}

// Resolve posts or voids what is pending: a transfer, or all transfers of a set by the set's id.
type Resolve struct {
	ID   string // of the transfer or of the set
	Void bool
	// Amounts says how much is posted where that is less than what was reserved; the rest is
	// released. It is empty for a void.
	Amounts []Partial
	Source  Source // the message that it was decoded from
}

// Partial is what is posted of one transfer.
type Partial struct {
	ID     string // of the transfer of the set; "" when Resolve.ID is a transfer
	Amount Decimal
}

// MaxSet is how many transfers a set has at most.
const MaxSet = 64

// Op implements Action.
func (*Resolve) Op() Op { return OpResolve }

func (a *Resolve) encode(b []byte) []byte {
	b = append(appendID(b, a.ID), boolByte(a.Void), byte(len(a.Amounts)))
	for _, p := range a.Amounts {
		b = appendDecimal(appendID(b, p.ID), p.Amount)
	}
	return a.Source.encode(b)
}

func (a *Resolve) decode(r *reader) {
	a.ID, a.Void = r.id(), r.flag("void")
	for range r.u8() {
		a.Amounts = append(a.Amounts, Partial{r.optionalID(), r.decimal()})
	}
	a.Source.decode(r)
}

func (a *Resolve) check() error {
	if err := CheckID(a.ID); err != nil {
		return err
	}
	if a.Void && len(a.Amounts) > 0 {
		return errors.New("a void releases all of it and takes no amount")
	}
	if len(a.Amounts) > MaxSet {
		return errors.Newf("%d amounts; a set has at most %d transfers", len(a.Amounts), MaxSet)
	}
	for i, p := range a.Amounts {
		if p.ID != "" && CheckID(p.ID) != nil {
			return CheckID(p.ID)
		}
		if i > 0 && a.Amounts[i-1].ID >= p.ID {
			return errors.New("the ids of the amounts do not ascend, or one stands twice")
		}
	}
	return a.Source.check()
}

// Advance does work that is due at the entry's time: it lets holds expire and retries instructions.
// The ledger's leader proposes it; from others it has no effect.
type Advance struct{}

// Op implements Action.
func (*Advance) Op() Op { return OpAdvance }

func (*Advance) encode(b []byte) []byte { return b }

func (*Advance) decode(*reader) {}

func (*Advance) check() error { return nil }

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
