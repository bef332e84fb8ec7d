package settlement

import (
	"sync"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// Program implements ledger.Program, ledger.Parsing, ledger.Mapped, ledger.Detailed and
// ledger.Timed. It takes commands alone.
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

// Parse implements ledger.Parsing. The command shares the body's memory.
func (Program) Parse(kind ledger.Kind, body []byte) (parsed any, maxOutcome int, err error) {
	if kind != ledger.KindCommand {
		return nil, 0, errors.Newf("the program settlement takes commands alone, not a %s", kind)
	}
	c, err := parseCommand(shared(body))
	if err != nil {
		return nil, 0, err
	}
	return c, c.MaxOutcome(), nil
}

// MaxOutcome returns the largest outcome in bytes that the command can have.
func (c *Command) MaxOutcome() int { return outcomeHeader + c.Action.maxOutcome() }

func (a *CreateAsset) maxOutcome() int { return resultSize }

func (a *OpenAccount) maxOutcome() int { return resultSize + touchedSize + len(a.ID) }

func (a *ChangeAccount) maxOutcome() int { return resultSize + touchedSize + len(a.ID) }

func (a *Submit) maxOutcome() int {
	n := len(a.Transfers) * (resultSize + 2*touchedSize)
	for i := range a.Transfers {
		n += len(a.Transfers[i].Debit) + len(a.Transfers[i].Credit)
	}
	return n
}

func (a *Resolve) maxOutcome() int { return resultSize + 2*MaxSet*(touchedSize+MaxID) }

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

// steps has steps for the next entries, so that their room is used again. Nothing of an entry is
// left in them.
var steps = sync.Pool{New: func() any { return new(step) }}

// reset forgets the entry. It keeps no memory of the entry's, nor of the view's.
func (s *step) reset() {
	s.accounts.reset()
	s.states.reset()
	clear(s.timers)
	clear(s.out.Results)
	*s = step{
		accounts: s.accounts, states: s.states, timers: s.timers[:0], keyRoom: s.keyRoom[:0], value: s.value[:0],
		out: Outcome{Results: s.out.Results[:0]},
	}
}

// Decide implements ledger.Program.
func (Program) Decide(view ledger.View, in *ledger.Input) []byte {
	c, parsed := in.Parsed.(*Command)
	if !parsed {
		var err error
		if c, err = parseCommand(shared(in.Body)); err != nil {
			panic(err) // MaxOutcome has parsed it
		}
	}
	s := steps.Get().(*step)
	s.view, s.in, s.command = view, in, c
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
	outcome := s.finish()
	s.reset() // not after a panic: then the step is dropped
	steps.Put(s)
	return outcome
}

// MapPrefix implements ledger.Mapped.
func (Program) MapPrefix() []byte { return mapPrefix }
