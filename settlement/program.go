package settlement

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// Program implements ledger.Program, ledger.Parsing, ledger.Mapped and ledger.Timed. It takes
// commands alone.
type Program struct{}

// ProgramName is the name of the program in a ledger's genesis.
const ProgramName = "settlement"

// Name implements ledger.Program.
func (Program) Name() string { return ProgramName }

// Version implements ledger.Program.
func (Program) Version() uint32 { return 1 }

// maxAdvance is the largest outcome of an Advance, in bytes, its header not counted: work stops
// before it.
const maxAdvance = 48 << 10

// MaxOutcome implements ledger.Program.
func (p Program) MaxOutcome(kind ledger.Kind, body []byte) (int, error) {
	_, most, err := p.Parse(kind, body)
	return most, err
}

// Parse implements ledger.Parsing.
func (Program) Parse(kind ledger.Kind, body []byte) (parsed any, maxOutcome int, err error) {
	if kind != ledger.KindCommand {
		return nil, 0, errors.Newf("the program settlement takes commands alone, not a %s", kind)
	}
	c, err := ParseCommand(body)
	if err != nil {
		return nil, 0, err
	}
	return c, c.MaxOutcome(), nil
}

// MaxOutcome returns the largest outcome in bytes that the command can have.
func (c *Command) MaxOutcome() int { return outcomeHeader + c.Action.maxOutcome() }

const maxLine = lineSize + MaxID

func (a *CreateAsset) maxOutcome() int { return resultSize }

func (a *OpenAccount) maxOutcome() int { return resultSize + lineSize + len(a.ID) }

func (a *ChangeAccount) maxOutcome() int { return resultSize + lineSize + len(a.ID) }

func (a *Submit) maxOutcome() int {
	n := len(a.Transfers) * (resultSize + 2*lineSize)
	for i := range a.Transfers {
		n += len(a.Transfers[i].Debit) + len(a.Transfers[i].Credit)
	}
	return n
}

func (a *Resolve) maxOutcome() int { return resultSize + 2*MaxSet*maxLine }

func (a *Advance) maxOutcome() int { return maxAdvance }

// step decides one entry.
type step struct {
	view    ledger.View
	in      *ledger.Input
	command *Command

	// accounts and states are those that were read or made, in the order of their first use. What
	// changed is written when the entry is decided.
	accounts list[Account]
	states   list[State]
	timers   []timer // to be set
	out      Outcome

	// advancing says that the entry is an Advance, and tries how many instructions it may still try.
	advancing bool
	tries     int

	keyRoom, value []byte // room for a key and for a value
}

// Decide implements ledger.Program.
func (Program) Decide(view ledger.View, in *ledger.Input) []byte {
	c, parsed := in.Parsed.(*Command)
	if !parsed {
		var err error
		if c, err = ParseCommand(in.Body); err != nil {
			panic(err) // MaxOutcome has parsed it
		}
	}
	s := &step{view: view, in: in, command: c}
	switch a := c.Action.(type) {
	case *CreateAsset:
		s.createAsset(a)
	case *OpenAccount:
		s.openAccount(a)
	case *ChangeAccount:
		s.changeAccount(a)
	case *Submit:
		s.submit(a)
	case *Resolve:
		s.resolve(a)
	case *Instruct:
		s.instruct(a)
	case *Manage:
		s.manage(a)
	case *Advance:
		s.advance()
	}
	return s.finish()
}

// MapPrefix implements ledger.Mapped.
func (Program) MapPrefix() []byte { return mapPrefix }

// MapRecord implements ledger.Mapped.
func (Program) MapRecord(value []byte) []byte { return value }
