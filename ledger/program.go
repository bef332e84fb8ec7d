package ledger

import (
	"fmt"
	"iter"

	"sync/atomic"

	"github.com/cockroachdb/errors"
)

// Program decides the entries of a ledger: it gives each entry an outcome and keeps state. Every
// replica runs it on the same entries, in the same order, and must get the same outcomes and state.
// So a program is a pure function of its arguments: it has no clock but the entry's time, no
// randomness, no iteration over maps, no I/O, and nothing that it remembers between two calls but
// the rows of its View. docs/programs.md tells how to write one; ledger/programtest tests one.
//
// One Program may decide the entries of several ledgers, and of one ledger several times over:
// after a stop, entries are decided again.
type Program interface {
	// Name names the program, in 1 to 64 bytes. A store that one program wrote is refused to
	// others.
	Name() string
	// Version tells apart programs of one name that decide differently.
	Version() uint32
	// MaxOutcome returns the largest outcome in bytes that an entry of this kind and body can have,
	// whatever the state. An error says that the program does not understand the body: a batch with
	// such an entry has no effect. It is called before an entry is proposed, too, by any goroutine.
	MaxOutcome(kind Kind, body []byte) (int, error)
	// Decide returns the outcome of an entry whose body MaxOutcome understands. It reads the state
	// as the entries before left it and puts what changes. The ledger keeps the outcome. A panic
	// refuses the batch of the entry (RefusedPanic).
	Decide(view View, in *Input) (outcome []byte)
}

// Parsing is a Program that takes the body of an entry apart once for both methods: Decide finds in
// Input.Parsed what Parse has returned.
type Parsing interface {
	Program
	// Parse is MaxOutcome, and returns the parsed body, too. What it returns may alias the body.
	Parse(kind Kind, body []byte) (parsed any, maxOutcome int, err error)
}

// Input is an entry that a Program decides. Its slices alias the block: a program neither changes
// nor keeps them.
type Input struct {
	// Genesis is that of the ledger: origin and parameters are for the program to read. It is nil
	// when entry 0 is no genesis. A program does not change it.
	Genesis *Genesis
	// Restored is the newest record with which the ledger was restored; nil when it never was. Members
	// of the genesis are none of the cluster that keeps it since. A program does not change it.
	Restored             *Restoration
	Level                uint32 // the ledger's feature level, as the entries before left it
	Index                uint64
	Kind                 Kind  // KindPayload or KindCommand
	Time                 int64 // ledger time, µs since the Unix epoch
	Principal, Key, Body []byte
	// Parsed is what the Parse of a Parsing program returned for Kind and Body; nil for others.
	Parsed any
	// Encoded is the whole entry as it is encoded, the beginning of its leaf.
	Encoded []byte
}

// Restoration is what a program is told about the record with which its ledger was restored.
type Restoration struct {
	Index uint64 // of the record
	// Members are those that keep the ledger from there on.
	Members []Member
}

// View is a program's state while it decides one entry: rows of a key and a value, ordered by key,
// as the entries before, in the same batch too, left them. The slices that a View returns must not
// be changed, and not be kept beyond Decide. A View is used by the goroutine of Decide alone.
//
// Where the store cannot be read, or a limit is passed, a method does not return; what Decide does
// about that has no effect.
type View interface {
	// Get returns the value of a row, which may be empty, and whether there is such a row.
	Get(key []byte) (value []byte, found bool)
	// Range returns the rows with from <= key < to in ascending order of keys; an empty to means to
	// the end. Put must not be called while it runs.
	Range(from, to []byte) iter.Seq2[[]byte, []byte]
	// Put writes a row; there is no deletion. It copies key and value.
	Put(key, value []byte)
	// Keep adds to the detail of the entry (Detailed). It copies what it is given.
	Keep(detail []byte)
}

// Detailed is a Program that keeps a detail of an entry: bytes that explain the outcome and stand in
// no leaf, so that they can be shown to some readers of the leaf alone. The ledger stores the detail
// beside the outcome (Ledger.Detail), and a replica that decides the entry again keeps it again. A
// detail must prove itself: the outcome commits to it, by hashes for example.
type Detailed interface {
	Program
	// CheckDetail reports whether a detail is the one of the entry with this index and leaf. It is
	// asked whenever a detail is read, by any goroutine.
	CheckDetail(index uint64, leaf, detail []byte) error
}

// What a program may write. A batch that passes a limit is refused (RefusedWrites).
const (
	// MaxStateKey is the largest key of a row, in bytes; the smallest has one.
	MaxStateKey = 4096
	// MaxStateValue is the largest value of a row, in bytes. It stays below the size at which
	// Badger moves values out of its tree, from where nothing is ever removed.
	MaxStateValue = 20 << 10
	// MaxBlockWrites is the largest sum of the keys and values that the entries of one block put,
	// in bytes.
	MaxBlockWrites = 16 << 20
	// DetailFactor bounds the detail of an entry: it has at most so many times the bytes that
	// MaxOutcome says of the outcome.
	DetailFactor = 5
	// MaxBlockDetails is the largest sum of the details in a block, in bytes. The block of an honest
	// leader never passes it: the MaxOutcome of its entries add up to at most MaxBatchSize.
	MaxBlockDetails = DetailFactor * MaxBatchSize

	maxProgramName = 64
)

// Log is the program of a ledger that only records: it takes payloads, gives no outcomes and has no
// state.
type Log struct{}

// Name implements Program.
func (Log) Name() string { return "log" }

// Version implements Program.
func (Log) Version() uint32 { return 1 }

// MaxOutcome implements Program.
func (Log) MaxOutcome(kind Kind, _ []byte) (int, error) {
	if kind != KindPayload {
		return 0, errors.Newf("the program log takes payloads alone, not a %s", kind)
	}
	return 0, nil
}

// Decide implements Program.
func (Log) Decide(View, *Input) []byte { return nil }

// maxOutcome asks the program about an entry.
func maxOutcome(p Program, kind Kind, body []byte) (int, error) {
	if kind == KindRecord {
		return 0, errors.New("this ledger takes no records from callers")
	}
	return p.MaxOutcome(kind, body)
}

// parse is maxOutcome for an entry that is decided next.
func parse(p Program, kind Kind, body []byte) (parsed any, most int, err error) {
	if parsing, ok := p.(Parsing); ok && kind != KindRecord {
		return parsing.Parse(kind, body)
	}
	most, err = maxOutcome(p, kind, body)
	return nil, most, err
}

// RefuseReason is why a batch of a good block was refused by what the program made of it, in one
// word for metrics.
type RefuseReason string

// The reasons for which a batch is refused on account of the program. Each is a function of the
// blocks before, so every replica refuses the same batches.
const (
	// RefusedNotUnderstood: Program.MaxOutcome does not understand an entry.
	RefusedNotUnderstood RefuseReason = "not_understood"
	// RefusedPolicy: a record of the policies came too late, or is none that the policies in force
	// let follow. It has nothing to do with the program.
	RefusedPolicy RefuseReason = "policy"
	// RefusedTooLarge: a leaf could pass MaxLeafSize, or the outcomes of the block pass
	// MaxBlockOutcomes, or its details MaxBlockDetails.
	RefusedTooLarge RefuseReason = "too_large"
	// RefusedOutcome: an outcome or a detail is longer than Program.MaxOutcome allows. The program
	// has a bug.
	RefusedOutcome RefuseReason = "outcome"
	// RefusedWrites: a row passes a limit, or the rows of the block do, or a program that is not
	// Detailed kept a detail. The program has a bug.
	RefusedWrites RefuseReason = "writes"
	// RefusedPanic: Program.MaxOutcome or Decide panicked. The program has a bug.
	RefusedPanic RefuseReason = "panic"
)

// RefuseReasons are all of them.
var RefuseReasons = []RefuseReason{RefusedNotUnderstood, RefusedPolicy, RefusedTooLarge, RefusedOutcome, RefusedWrites, RefusedPanic}

// RefusedError refuses a whole batch, definitely: the program cannot decide one of its entries.
type RefusedError struct {
	Reason RefuseReason
	Entry  int // position in the batch
	Err    error
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("entry %d of the batch is refused (%s): %v", e.Entry, e.Reason, e.Err)
}

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// refused counts the refused batches since Open, those of a replay included.
type refused struct {
	notUnderstood, policy, tooLarge, outcome, writes, panicked atomic.Uint64
	// stack is of the newest panic.
	stack atomic.Pointer[string]
}

func (r *refused) counter(reason RefuseReason) *atomic.Uint64 {
	switch reason {
	case RefusedNotUnderstood:
		return &r.notUnderstood
	case RefusedPolicy:
		return &r.policy
	case RefusedTooLarge:
		return &r.tooLarge
	case RefusedOutcome:
		return &r.outcome
	case RefusedWrites:
		return &r.writes
	default:
		return &r.panicked
	}
}

// Refused returns how many batches have been refused for this reason since Open.
func (l *Ledger) Refused(r RefuseReason) uint64 { return l.refused.counter(r).Load() }

// ProgramPanic returns the newest panic of the program with its stack, "" when there is none.
func (l *Ledger) ProgramPanic() string {
	if s := l.refused.stack.Load(); s != nil {
		return *s
	}
	return ""
}

// Program returns the ledger's program.
func (l *Ledger) Program() Program { return l.program }
