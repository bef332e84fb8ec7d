package ledger

import (
	"runtime/debug"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// Timed is a Program with work that no caller asks for: something is due once ledger time has
// reached a moment, for example the expiry of a hold.
//
// The replica that leads asks Work after every block that it has applied, when it begins to lead,
// and when the work is due. It proposes the command then, as a batch of its own: one entry of
// KindCommand without a key, whose principal is the node. At most one such proposal of a ledger is
// under way. Nobody is asked on behalf of a ledger without blocks whose work is not due.
//
// What Decide owes to such a command (ledger/programtest tests it):
//
//   - It does nothing, and puts no row, unless Input.ByNode says that a node proposed it.
//   - It does nothing, and puts no row, when Input.Time is before the moment at which the work is
//     due. The leader's clock decides when the command is proposed, and that clock may be wrong.
//     The entry's time alone decides what the command does.
//   - It does nothing, and puts no row, when the work was done or withdrawn meanwhile. Work saw a
//     state that entries under way may have changed.
//   - Otherwise it puts a row. A command that is due and puts no row is proposed again, with pauses
//     of up to a minute, as long as Work asks for it.
type Timed interface {
	Program
	// Work returns the command that is to be proposed once ledger time has reached at, in µs since
	// the Unix epoch, or ok false when there is none. It is a pure function of the rows of state,
	// of bounded cost, and is called by any goroutine, one call at a time for each ledger. Work
	// that needs several commands is asked for command by command. The error is that of state.
	Work(state State) (at int64, command []byte, ok bool, err error)
}

// Work is what a Timed program has to have done.
type Work struct {
	At      int64 // ledger time at which it is due, µs since the Unix epoch
	Command []byte
}

// Work asks the program for its next work as of the newest state; ok is false when it has none, or
// is not Timed. A panic of the program is an error. Other errors are those of State.
func (l *Ledger) Work() (w Work, ok bool, err error) {
	p, timed := l.program.(Timed)
	if !timed {
		return Work{}, false, nil
	}
	defer func() {
		if r := recover(); r != nil {
			w, ok, err = Work{}, false, errors.Newf("the program %s panicked when it was asked for work: %v\n%s", p.Name(), r, debug.Stack())
		}
	}()
	at, command, ok, err := p.Work(l.State())
	if err != nil || !ok {
		return Work{}, false, err
	}
	return Work{At: at, Command: command}, true, nil
}

// ByNode reports whether a node of the cluster proposed the entry in its own name: its principal is
// that of a node. The API refuses entries of callers with such a principal, so an entry of that
// kind is the leader's own.
func (in *Input) ByNode() bool { return pki.ID(in.Principal).IsNode() }
