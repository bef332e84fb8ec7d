package settlement

import (
	"crypto/sha256"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// The rows of the program's state begin with one of these.
const (
	rowAccount  = 'a' // id: Account. These rows are what the map of accounts commits to
	rowAsset    = 'c' // id: scale and index
	rowOwners   = 'o' // id of the account: its owners; no row, or an empty one: none
	rowTransfer = 't' // id: what became of a transfer, a set or an instruction
	rowTimer    = 'x' // time, id: what is due then; an empty value: nothing any more
	rowCursor   = 'X' // the first timer that may be live

	rowOpen       = 'i' // chain of the instructions that are not final
	rowList       = 'm' // name of a list: chain of instructions that wait for their match
	rowQueue      = 'q' // id of an account: its queue
	rowWaiting    = 'w' // id of an account, 0, rank: chain of those in its queue
	rowAllWaiting = 'W' // how many pairs wait in queues
	rowDue        = 'y' // time, kind, id: what is due about instructions; an empty value: nothing
	rowDueCursor  = 'Y' // the first of them that may be live
)

// MapPrefix is what the keys of the rows that the map commits to begin with.
var mapPrefix = []byte{rowAccount}

func rowKey(kind byte, id string) []byte {
	return append(append(make([]byte, 0, 1+len(id)), kind), id...)
}

// Account is the record of an account: what the map of accounts commits to.
type Account struct {
	ID       string
	Asset    string
	Scale    uint8 // of the asset
	Flags    Flags
	Limit    Amount
	Balances Balances
	Sequence uint64 // how many entries have touched the account
	Last     uint64 // index of the last one of them
	// Head chains the entries that touched the account, the opening included (Detail.Next). It
	// begins with 32 zero bytes. So a statement that leaves out an entry, or invents one, does not
	// lead from one head to the other.
	Head merkle.Hash

	// key stands behind the record in the row, and no encoding of the record has it.
	key Key
}

const accountVersion = 1

// Marshal returns the record's encoding.
func (a *Account) Marshal() []byte {
	return a.append(make([]byte, 0, 2+len(a.ID)+1+len(a.Asset)+2+5*16+8+8+merkle.HashSize))
}

func (a *Account) append(b []byte) []byte {
	b = append(appendID(appendID(append(b, accountVersion), a.ID), a.Asset), a.Scale, byte(a.Flags))
	for _, n := range []Amount{a.Limit, a.Balances.DebitsPending, a.Balances.DebitsPosted, a.Balances.CreditsPending, a.Balances.CreditsPosted} {
		b = appendFixedAmount(b, n)
	}
	return append(appendU64(appendU64(b, a.Sequence), a.Last), a.Head[:]...)
}

// ParseAccount parses the record of an account. Every byte string is either refused or encodes back
// to itself.
func ParseAccount(b []byte) (*Account, error) {
	a := new(Account)
	if err := a.parse(string(b)); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Account) parse(record string) error {
	r := reader{s: record}
	if v := r.u8(); r.err == nil && v != accountVersion {
		return errors.Newf("an account of version %d, this program knows version %d", v, accountVersion)
	}
	*a = Account{ID: r.id(), Asset: r.id(), Scale: r.u8(), Flags: Flags(r.u8()), Limit: r.fixedAmount()}
	a.Balances = Balances{r.fixedAmount(), r.fixedAmount(), r.fixedAmount(), r.fixedAmount()}
	a.Sequence, a.Last = r.u64(), r.u64()
	copy(a.Head[:], r.take(merkle.HashSize))
	if r.err == nil && (a.Flags&^allFlags != 0 || a.Scale > MaxScale) {
		r.fail("the flags %#x and the scale %d", uint8(a.Flags), a.Scale)
	}
	return r.end("record of an account")
}

// appendRow appends the value of the account's row: the record and the key.
func (a *Account) appendRow(b []byte) []byte { return append(a.append(b), a.key[:]...) }

// parseAccountRow parses the value of an account's row.
func parseAccountRow(b []byte) (*Account, error) {
	a := new(Account)
	if err := a.parseRow(string(b)); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Account) parseRow(row string) error {
	at := recordLen(len(row))
	if err := a.parse(row[:at]); err != nil {
		return err
	}
	copy(a.key[:], row[at:])
	return nil
}

// recordLen returns the length of the record in an account's row of n bytes.
func recordLen(n int) int { return max(0, n-len(Key{})) }

// MapRecord implements ledger.Mapped.
func (Program) MapRecord(value []byte) []byte { return value[:recordLen(len(value))] }

// extend chains an entry to the head, and returns what shows it. digest is Decided.Digest of the
// entry.
func (a *Account) extend(index uint64, digest [sha256.Size]byte) (d Detail) {
	previous := a.Last
	if a.Sequence == 0 {
		previous = index
	}
	d = Detail{a.Head, a.key.blind(index), Line{a.ID, a.Scale, a.Balances, a.Sequence + 1, previous}}
	a.Head, a.Last, a.Sequence = d.Next(index, digest), index, d.Line.Sequence
	return d
}

// Posted returns what the account owes or is owed: posted credits less posted debits. negative says
// that there are more debits.
func (s Balances) Posted() (amount Amount, negative bool) {
	return difference(s.CreditsPosted, s.DebitsPosted)
}

// Available returns what may be debited: posted credits and the limit less posted and pending
// debits, of an account that limits its debits; without the limit otherwise. negative says that the
// debits are more.
func (a *Account) Available() (amount Amount, negative bool) {
	debits, _ := a.Balances.DebitsPosted.Add(a.Balances.DebitsPending)
	credits := a.Balances.CreditsPosted
	if a.Flags.Has(DebitsLimited) {
		credits = credits.addCapped(a.Limit)
	}
	return difference(credits, debits)
}

// addCapped returns a + b, or MaxAmount where that does not fit.
func (a Amount) addCapped(b Amount) Amount {
	if sum, ok := a.Add(b); ok {
		return sum
	}
	return MaxAmount
}

func difference(a, b Amount) (amount Amount, negative bool) {
	if d, ok := a.Sub(b); ok {
		return d, false
	}
	d, _ := b.Sub(a)
	return d, true
}

// asset is the row of an asset.
type asset struct {
	scale uint8
	index uint64 // of the entry that created it
}

func (a asset) marshal() []byte { return appendU64([]byte{a.scale}, a.index) }

func parseAsset(b []byte) (asset, error) {
	r := readerOf(b)
	a := asset{r.u8(), r.u64()}
	return a, r.end("row of an asset")
}

// rowKind is what the row of an id speaks of.
type rowKind uint8

const (
	kindTransfer rowKind = 1
	kindSet      rowKind = 2
	kindMember   rowKind = 3 // a transfer of a set

	kindInstruction rowKind = 4
	kindRequest     rowKind = 5 // to manage an instruction
)

// transfers reports whether the row is of a transfer or a set.
func (k rowKind) transfers() bool { return k == kindTransfer || k == kindSet || k == kindMember }

// State is what the ledger knows of an id: of a transfer, a set, an instruction or a request to
// manage one.
type State struct {
	kind rowKind
	// Status is Posted, Pending, Voided, Expired or Rejected; of an instruction Unmatched, Matched,
	// Held, Queued, PartlySettled, Settled, Cancelled, Expired or Rejected; of a request Done or
	// Rejected.
	Status   Status
	Reason   Reason // of Rejected; of an instruction also why it waits, or why the ledger ended it
	Index    uint64 // of the entry that used the id first
	Position uint16 // which transfer of that entry it is
	// Resolved is the index of the entry that posted, voided or let expire what was pending, or that
	// gave an instruction its last status; else Index.
	Resolved uint64
	Expires  int64 // ledger time in µs; 0: never
	Digest   Digest

	// Of a transfer that was not rejected.
	Debit, Credit string
	Amount        Amount // reserved, or posted without having been reserved
	Posted        Amount
	Returned      Amount // by other transfers, what is only reserved for a return included
	Original      string // what the transfer returns
	Set           string // of a member

	// Of a set: the ids of its transfers, in their order.
	Members []string

	// Of an instruction that was not rejected.
	Instruction *Instruction
}

const stateVersion = 1

func (s *State) append(b []byte) []byte {
	b = append(b, stateVersion, byte(s.kind), byte(s.Status), byte(s.Reason))
	b = appendU64(b, s.Index)
	b = append(b, byte(s.Position>>8), byte(s.Position))
	b = append(appendU64(appendU64(b, s.Resolved), uint64(s.Expires)), s.Digest[:]...)
	if s.Status == Rejected {
		return b
	}
	switch s.kind {
	case kindTransfer, kindMember:
		b = appendID(appendID(b, s.Debit), s.Credit)
		b = appendAmount(appendAmount(appendAmount(b, s.Amount), s.Posted), s.Returned)
		b = appendID(b, s.Original)
		if s.kind == kindMember {
			b = appendID(b, s.Set)
		}
	case kindSet:
		b = append(b, byte(len(s.Members)))
		for _, id := range s.Members {
			b = appendID(b, id)
		}
	case kindInstruction:
		b = s.Instruction.encode(b)
	}
	return b
}

func parseState(b []byte) (*State, error) {
	s := new(State)
	return s, s.parse(string(b))
}

func (s *State) parse(row string) error {
	r := reader{s: row}
	if v := r.u8(); r.err == nil && v != stateVersion {
		return errors.Newf("the row of an id of version %d, this program knows version %d", v, stateVersion)
	}
	*s = State{kind: rowKind(r.u8()), Status: Status(r.u8()), Reason: Reason(r.u8()), Index: r.u64(), Position: uint16(r.u16()), Resolved: r.u64(), Expires: r.time()}
	copy(s.Digest[:], r.take(len(s.Digest)))
	if s.Status == Rejected {
		return r.end("row of an id")
	}
	switch s.kind {
	case kindTransfer, kindMember:
		s.Debit, s.Credit = r.id(), r.id()
		s.Amount, s.Posted, s.Returned = r.amount(), r.amount(), r.amount()
		s.Original = r.optionalID()
		if s.kind == kindMember {
			s.Set = r.id()
		}
	case kindSet:
		for range r.u8() {
			s.Members = append(s.Members, r.id())
		}
	case kindInstruction:
		s.Instruction = new(Instruction)
		s.Instruction.decode(&r)
	case kindRequest:
	default:
		r.fail("a row of kind %d", s.kind)
	}
	return r.end("row of an id")
}

func marshalOwners(owners []string) []byte {
	if len(owners) == 0 {
		return nil
	}
	return appendOwners(nil, owners)
}

func parseOwners(b []byte) ([]string, error) {
	if len(b) == 0 {
		return nil, nil
	}
	r := readerOf(b)
	owners := r.owners()
	return owners, r.end("owners of an account")
}

func (s *Balances) debits() Amount {
	sum, _ := s.DebitsPosted.Add(s.DebitsPending)
	return sum
}

func (s *Balances) credits() Amount {
	sum, _ := s.CreditsPosted.Add(s.CreditsPending)
	return sum
}
