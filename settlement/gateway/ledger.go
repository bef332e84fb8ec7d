package gateway

import (
	"context"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement"
)

// Ledger is what the gateway needs of a settlement ledger. Its methods are safe to repeat: an id is
// decided once.
type Ledger interface {
	// Execute asks for actions, each an entry of its own, in this order, and returns what came of
	// each, in the same order. ErrRefused says that the ledger did not take the actions and never
	// will. After any other error the caller repeats the call.
	Execute(ctx context.Context, actions []settlement.Action) ([]Decision, error)
	// Transfer returns what became of a transfer; nil when the ledger knows none of this id that the
	// caller may read.
	Transfer(ctx context.Context, id string) (*Transfer, error)
	// Transfers returns what became of the transfers whose ids begin with prefix, of those that the
	// caller may read, ascending by id.
	Transfers(ctx context.Context, prefix string) ([]*Transfer, error)
	// Instruction returns what became of an instruction; nil when the ledger knows none of this id that
	// the caller may read.
	Instruction(ctx context.Context, id string) (*Instruction, error)
	// Settlements returns the entries from an index on that settled an instruction which has a leg on
	// the account, the oldest first.
	Settlements(ctx context.Context, account, id string, from uint64) ([]Settlement, error)
}

// ErrRefused marks an error of Ledger.Execute: the actions are malformed or too large. Nothing was
// appended, and asking again gives the same error.
var ErrRefused = errors.New("the ledger does not take it")

// Decision is what came of an action.
type Decision struct {
	Index   uint64
	Time    time.Time // ledger time
	Existed bool      // the action had been decided before; Index and the rest are of the first time
	Results []settlement.Result

	refused error // the ledger did not take the action
}

// Transfer is what became of a transfer.
type Transfer struct {
	ID            string
	Status        settlement.Status
	Reason        settlement.Reason
	Index         uint64 // of the entry that asked for it
	Resolved      uint64 // of the entry that gave it its status
	Debit, Credit string // accounts; "" of a rejected transfer
	Asset         string
	Amount        string // what was reserved or posted at once
	Posted        string
	References    []settlement.Reference
}

// reference returns the reference of a kind, "" when there is none.
func (t *Transfer) reference(k settlement.ReferenceKind) string {
	for _, r := range t.References {
		if r.Kind == k {
			return r.Value
		}
	}
	return ""
}
