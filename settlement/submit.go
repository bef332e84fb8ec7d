package settlement

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cockroachdb/errors"
)

// Submit asks for transfers.
type Submit struct {
	// Set is the id of an atomic set: all transfers are made, or none, and a pending set is posted
	// and voided by this id. "" means that every transfer is judged by itself.
	Set string
	// Pending reserves the amounts; Resolve posts or voids them.
	Pending bool
	// Timeout is after how long the reservation expires, in µs of ledger time; 0 is never. It is 0
	// unless Pending.
	Timeout int64
	// Conditions must all hold before the first transfer; otherwise none is made.
	Conditions []Condition
	Transfers  []Transfer // 1 to MaxTransfers; 1 to MaxSet in a set
	Source     Source
}

const (
	// MaxTransfers is how many transfers one command carries. What limits it earlier is the size of
	// the leaf.
	MaxTransfers = 256
	// MaxConditions is how many conditions one command has.
	MaxConditions = 16
	// MaxReferences is how many references a transfer or an instruction has.
	MaxReferences = 16
	// MaxReference is the longest reference, in bytes.
	MaxReference = 1000
)

// Transfer moves an amount from one account to another.
type Transfer struct {
	ID     string
	Debit  string // the account that pays
	Credit string // the account that is paid
	Asset  string // the asset of both accounts; "" leaves it to them
	Amount Decimal
	// Original is the transfer that this one returns, from its credit account to its debit account;
	// "" for an ordinary transfer. Returns never exceed what was posted.
	Original   string
	References []Reference // ascending by kind, each kind once
}

// Reference is something that the ledger records with a transfer and gives back: it decides
// nothing.
type Reference struct {
	Kind  ReferenceKind
	Value string // 1 to MaxReference bytes of UTF-8 without control characters
}

// ReferenceKind says what a reference is.
type ReferenceKind uint8

// The kinds of references, most of them fields of ISO 20022 messages.
const (
	EndToEndID        ReferenceKind = 1
	InstructionID     ReferenceKind = 2
	TransactionID     ReferenceKind = 3
	UETR              ReferenceKind = 4
	MessageID         ReferenceKind = 5
	Participant       ReferenceKind = 6
	Rail              ReferenceKind = 7
	CreditorReference ReferenceKind = 8
	Remittance        ReferenceKind = 9
	Purpose           ReferenceKind = 10
	DebtorName        ReferenceKind = 11
	CreditorName      ReferenceKind = 12
	ValueDate         ReferenceKind = 13
	ReturnReason      ReferenceKind = 14
	Note              ReferenceKind = 15
	// Fingerprint is a hash of what a message said about the transaction, in hexadecimal: a retry
	// repeats it, and another transaction under the same id does not.
	Fingerprint ReferenceKind = 16
)

var referenceNames = [...]string{
	EndToEndID: "end_to_end_id", InstructionID: "instruction_id", TransactionID: "transaction_id", UETR: "uetr", MessageID: "message_id",
	Participant: "participant", Rail: "rail", CreditorReference: "creditor_reference", Remittance: "remittance", Purpose: "purpose",
	DebtorName: "debtor_name", CreditorName: "creditor_name", ValueDate: "value_date", ReturnReason: "return_reason", Note: "note",
	Fingerprint: "fingerprint",
}

// String returns the name of the kind.
func (k ReferenceKind) String() string {
	if int(k) < len(referenceNames) && referenceNames[k] != "" {
		return referenceNames[k]
	}
	return "unknown"
}

// ParseReferenceKind returns the kind of this name.
func ParseReferenceKind(name string) (ReferenceKind, error) {
	for k, n := range referenceNames {
		if n == name && n != "" {
			return ReferenceKind(k), nil
		}
	}
	return 0, errors.Newf("no reference is called %q; one is end_to_end_id, another note", name)
}

// References returns references in the order that a transfer has them in.
func References(values map[ReferenceKind]string) []Reference {
	var refs []Reference
	for k := range referenceNames {
		if v, ok := values[ReferenceKind(k)]; ok {
			refs = append(refs, Reference{ReferenceKind(k), v})
		}
	}
	return refs
}

// SourceForm says what a command holds of the message that it was decoded from.
type SourceForm uint8

// The forms of a source.
const (
	NoSource     SourceForm = 0
	RawSource    SourceForm = 1 // the message itself
	DigestSource SourceForm = 2 // its SHA-256 and length, where it does not fit
)

// Source is the message that a command was decoded from. It decides nothing: an audit decodes it
// again and compares.
type Source struct {
	Form   SourceForm
	Type   string // such as pacs.008.001.08
	Raw    []byte // RawSource
	Digest Digest
	Size   uint64 // DigestSource: bytes of the message
}

// MaxRawSource is the largest message that a command holds, in bytes.
const MaxRawSource = 48 << 10

const maxSourceType = 64

// ConditionKind is the kind of a condition.
type ConditionKind uint8

// The kinds of conditions.
const (
	// BalanceAtLeast: what the account has available is at least Amount.
	BalanceAtLeast ConditionKind = 1
	// AccountVersion: the account was touched by exactly Number entries.
	AccountVersion ConditionKind = 2
	// EntryState: the transfer or set ID has the status State.
	EntryState ConditionKind = 3
	// NotBefore: the ledger time is at least Number, in µs since the Unix epoch.
	NotBefore ConditionKind = 4
	// Deadline: the ledger time is at most Number.
	Deadline ConditionKind = 5
)

// Condition is something that must hold when a command is decided.
type Condition struct {
	Kind   ConditionKind
	ID     string  // BalanceAtLeast, AccountVersion: account; EntryState: transfer or set
	Amount Decimal // BalanceAtLeast
	State  Status  // EntryState
	Number uint64  // AccountVersion, NotBefore, Deadline
}

// Op implements Action.
func (*Submit) Op() Op { return OpSubmit }

func (a *Submit) encode(b []byte) []byte {
	b = appendID(b, a.Set)
	b = appendU64(append(b, boolByte(a.Pending)), uint64(a.Timeout))
	b = append(b, byte(len(a.Conditions)))
	for i := range a.Conditions {
		b = a.Conditions[i].encode(b)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.Transfers)))
	for i := range a.Transfers {
		b = a.Transfers[i].encode(b)
	}
	return a.Source.encode(b)
}

func (a *Submit) decode(r *reader) {
	a.Set, a.Pending, a.Timeout = r.optionalID(), r.flag("pending"), r.time()
	for range r.u8() {
		var c Condition
		c.decode(r)
		a.Conditions = append(a.Conditions, c)
	}
	n := r.u16()
	if n > MaxTransfers {
		r.fail("%d transfers, at most %d", n, MaxTransfers)
		return
	}
	a.Transfers = make([]Transfer, n)
	for i := range a.Transfers {
		a.Transfers[i].decode(r)
	}
	a.Source.decode(r)
}

func (a *Submit) check() error {
	switch n := len(a.Transfers); {
	case n == 0:
		return errors.New("no transfer")
	case n > MaxTransfers:
		return errors.Newf("%d transfers; at most %d", n, MaxTransfers)
	case a.Set != "" && n > MaxSet:
		return errors.Newf("%d transfers; a set has at most %d", n, MaxSet)
	case a.Set != "" && CheckID(a.Set) != nil:
		return errors.Wrap(CheckID(a.Set), "set")
	case a.Timeout < 0 || a.Timeout > 0 && !a.Pending:
		return errors.New("only a pending transfer has a timeout, and it is not negative")
	case len(a.Conditions) > MaxConditions:
		return errors.Newf("%d conditions; at most %d", len(a.Conditions), MaxConditions)
	}
	for i := range a.Conditions {
		if err := a.Conditions[i].check(); err != nil {
			return errors.Wrapf(err, "condition %d", i)
		}
	}
	for i := range a.Transfers {
		if err := a.Transfers[i].check(); err != nil {
			return errors.Wrapf(err, "transfer %d", i)
		}
	}
	return a.Source.check()
}

// digest is what a repetition of transfer i must repeat, its principal included. The source does
// not belong to it: a message may be written again in another way. A transfer of a set is another
// one than the same transfer by itself: it is made, posted and voided with the set alone.
func (a *Submit) digest(principal []byte, i int) Digest {
	var room [512]byte
	b := a.digestHead(room[:0], principal, 1)
	if a.Set != "" {
		b = appendID(a.digestHead(room[:0], principal, 3), a.Set)
	}
	return sha256.Sum256(a.Transfers[i].encode(b))
}

// setDigest is what a repetition of the set must repeat.
func (a *Submit) setDigest(principal []byte) Digest {
	b := a.digestHead(make([]byte, 0, 512), principal, 2)
	for i := range a.Transfers {
		b = a.Transfers[i].encode(b)
	}
	return sha256.Sum256(b)
}

func (a *Submit) digestHead(b, principal []byte, what byte) []byte {
	b = append(binary.BigEndian.AppendUint16(append(b, what), uint16(len(principal))), principal...)
	b = appendU64(append(b, boolByte(a.Pending)), uint64(a.Timeout))
	b = append(b, byte(len(a.Conditions)))
	for i := range a.Conditions {
		b = a.Conditions[i].encode(b)
	}
	return b
}

func (t *Transfer) encode(b []byte) []byte {
	b = appendID(appendID(appendID(appendID(b, t.ID), t.Debit), t.Credit), t.Asset)
	b = appendID(appendDecimal(b, t.Amount), t.Original)
	return appendReferences(b, t.References)
}

func (t *Transfer) decode(r *reader) {
	t.ID, t.Debit, t.Credit, t.Asset = r.id(), r.id(), r.id(), r.optionalID()
	t.Amount, t.Original = r.decimal(), r.optionalID()
	t.References = r.references()
}

func (t *Transfer) check() error {
	for _, f := range []struct{ name, id string }{{"id", t.ID}, {"debit", t.Debit}, {"credit", t.Credit}} {
		if err := CheckID(f.id); err != nil {
			return errors.Wrap(err, f.name)
		}
	}
	for _, f := range []struct{ name, id string }{{"asset", t.Asset}, {"original", t.Original}} {
		if f.id != "" && CheckID(f.id) != nil {
			return errors.Wrap(CheckID(f.id), f.name)
		}
	}
	return checkReferences(t.References)
}

// Reference returns the reference of a kind, "" when there is none.
func (t *Transfer) Reference(k ReferenceKind) string { return referenceOf(t.References, k) }

func referenceOf(refs []Reference, k ReferenceKind) string {
	for _, r := range refs {
		if r.Kind == k {
			return r.Value
		}
	}
	return ""
}

func appendReferences(b []byte, refs []Reference) []byte {
	b = append(b, byte(len(refs)))
	for _, ref := range refs {
		b = appendText(append(b, byte(ref.Kind)), ref.Value)
	}
	return b
}

func (r *reader) references() []Reference {
	var refs []Reference
	for range r.u8() {
		refs = append(refs, Reference{ReferenceKind(r.u8()), r.text(MaxReference)})
	}
	return refs
}

func checkReferences(refs []Reference) error {
	if len(refs) > MaxReferences {
		return errors.Newf("%d references; at most %d", len(refs), MaxReferences)
	}
	for i, ref := range refs {
		switch {
		case ref.Kind.String() == "unknown":
			return errors.Newf("a reference of the unknown kind %d", ref.Kind)
		case i > 0 && refs[i-1].Kind >= ref.Kind:
			return errors.New("the references do not ascend by kind, or a kind stands twice")
		case ref.Value == "":
			return errors.Newf("the reference %s is empty", ref.Kind)
		}
		if err := checkText(ref.Value, MaxReference); err != nil {
			return errors.Wrapf(err, "reference %s", ref.Kind)
		}
	}
	return nil
}

func (s *Source) encode(b []byte) []byte {
	b = append(b, byte(s.Form))
	switch s.Form {
	case RawSource:
		b = binary.BigEndian.AppendUint16(appendText(b, s.Type), uint16(len(s.Raw)))
		b = append(b, s.Raw...)
	case DigestSource:
		b = append(appendU64(appendText(b, s.Type), s.Size), s.Digest[:]...)
	}
	return b
}

func (s *Source) decode(r *reader) {
	switch s.Form = SourceForm(r.u8()); s.Form {
	case NoSource:
	case RawSource:
		s.Type = r.text(maxSourceType)
		s.Raw = r.bytes(r.u16())
	case DigestSource:
		s.Type, s.Size = r.text(maxSourceType), r.u64()
		copy(s.Digest[:], r.take(len(s.Digest)))
	default:
		r.fail("a source of form %d", s.Form)
	}
}

func (s *Source) check() error {
	if s.Form == NoSource {
		return nil
	}
	if s.Type == "" {
		return errors.New("a source without the type of the message")
	}
	if s.Form == RawSource && len(s.Raw) > MaxRawSource {
		return errors.Newf("a message of %d bytes; above %d give its digest", len(s.Raw), MaxRawSource)
	}
	return checkText(s.Type, maxSourceType)
}

// NewSource returns the source of a message: the message itself when there is room for it in the
// command, else its digest.
func NewSource(messageType string, raw []byte, room int) Source {
	if len(raw) <= min(room, MaxRawSource) {
		return Source{Form: RawSource, Type: messageType, Raw: raw}
	}
	return Source{Form: DigestSource, Type: messageType, Digest: sha256.Sum256(raw), Size: uint64(len(raw))}
}

func (c *Condition) encode(b []byte) []byte {
	b = append(b, byte(c.Kind))
	switch c.Kind {
	case BalanceAtLeast:
		return appendDecimal(appendID(b, c.ID), c.Amount)
	case AccountVersion:
		return appendU64(appendID(b, c.ID), c.Number)
	case EntryState:
		return append(appendID(b, c.ID), byte(c.State))
	default:
		return appendU64(b, c.Number)
	}
}

func (c *Condition) decode(r *reader) {
	switch c.Kind = ConditionKind(r.u8()); c.Kind {
	case BalanceAtLeast:
		c.ID, c.Amount = r.id(), r.decimal()
	case AccountVersion:
		c.ID, c.Number = r.id(), r.u64()
	case EntryState:
		c.ID, c.State = r.id(), Status(r.u8())
	case NotBefore, Deadline:
		c.Number = uint64(r.time())
	default:
		r.fail("a condition of the unknown kind %d", c.Kind)
	}
}

func (c *Condition) check() error {
	switch c.Kind {
	case BalanceAtLeast, AccountVersion:
		return CheckID(c.ID)
	case EntryState:
		if c.State.String() == "unknown" {
			return errors.Newf("a condition on the unknown status %d", c.State)
		}
		return CheckID(c.ID)
	case NotBefore, Deadline:
		if int64(c.Number) < 0 {
			return errors.New("a condition on a time before 1970")
		}
		return nil
	}
	return errors.Newf("a condition of the unknown kind %d", c.Kind)
}

// Digest is a SHA-256.
type Digest [sha256.Size]byte
