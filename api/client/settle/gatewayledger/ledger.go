// Package gatewayledger lets a gateway of package settlement/gateway work on a ledger of a running
// cluster:
//
//	l := gatewayledger.New(settle.New(c), 10*time.Second)
//	g, err := gateway.New(l, gateway.Options{Participant: "BANKDEFF", Rail: "rtgs"})
//
// The package is apart from package settle, so that a client that knows no messages does not carry
// their schemas.
package gatewayledger

import (
	"context"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/gateway"
)

// Ledger is a gateway.Ledger. It is safe for concurrent use.
type Ledger struct {
	s       *settle.Client
	timeout time.Duration // of a call
}

var _ gateway.Ledger = (*Ledger)(nil)

// New returns the ledger that s is a client of. Each call ends after the timeout; 0 leaves that to the
// context and the client.
func New(s *settle.Client, timeout time.Duration) *Ledger { return &Ledger{s, timeout} }

func (l *Ledger) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, l.timeout)
}

// Execute implements gateway.Ledger. An error is one of settle.Client.Execute; it is marked with
// gateway.ErrRefused if the ledger will never take the actions.
func (l *Ledger) Execute(ctx context.Context, actions []settlement.Action) ([]gateway.Decision, error) {
	if len(actions) == 0 {
		return nil, nil
	}
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	outcomes, err := l.s.Execute(ctx, actions)
	if err != nil {
		if refused(err) {
			err = errors.Mark(err, gateway.ErrRefused)
		}
		return nil, err
	}
	decisions := make([]gateway.Decision, len(outcomes))
	for i, o := range outcomes {
		decisions[i] = gateway.Decision{Index: o.Index, Time: o.Time, Existed: o.Existed, Results: o.Results}
	}
	return decisions, nil
}

// refused reports whether an error says that the actions themselves are at fault. A refusal for any
// other reason, such as a role that the caller lacks, is for the operator of the gateway to mend, and
// rejects no message.
func refused(err error) bool {
	var e *client.Error
	if !errors.As(err, &e) || !e.Definite {
		return false
	}
	return slices.Contains(atFault, e.Reason)
}

// atFault are the reasons of package server about what was asked for.
var atFault = []string{client.ReasonInvalid, "ENTRY_TOO_LARGE", "BATCH_TOO_LARGE", "REFUSED"}

// Transfer implements gateway.Ledger.
func (l *Ledger) Transfer(ctx context.Context, id string) (*gateway.Transfer, error) {
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	t, _, err := l.s.Transfer(ctx, id)
	switch {
	case unknown(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return transferOf(t)
}

// Transfers implements gateway.Ledger.
func (l *Ledger) Transfers(ctx context.Context, prefix string) (all []*gateway.Transfer, err error) {
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	err = l.s.Transfers(ctx, prefix, func(t *settle.Transfer) error {
		if len(t.GetMembers()) > 0 {
			return nil // no message asks for a set
		}
		g, err := transferOf(t)
		all = append(all, g)
		return err
	})
	return all, err
}

func transferOf(t *settle.Transfer) (*gateway.Transfer, error) {
	status, err := settlement.ParseStatus(t.GetStatus())
	if err != nil {
		return nil, errors.Wrapf(err, "the transfer %s", t.GetId())
	}
	reason, err := settlement.ParseReason(t.GetReason())
	if err != nil {
		return nil, errors.Wrapf(err, "the transfer %s", t.GetId())
	}
	g := &gateway.Transfer{
		ID: t.GetId(), Status: status, Reason: reason, Index: t.GetIndex(), Resolved: t.GetResolved(),
		Debit: t.GetDebit(), Credit: t.GetCredit(), Asset: t.GetAsset(), Amount: t.GetAmount(), Posted: t.GetPosted(),
	}
	for _, r := range t.GetReferences() {
		kind, err := settlement.ParseReferenceKind(r.GetKind())
		if err != nil {
			return nil, errors.Wrapf(err, "the transfer %s", t.GetId())
		}
		g.References = append(g.References, settlement.Reference{Kind: kind, Value: r.GetValue()})
	}
	return g, nil
}

// Instruction implements gateway.Ledger.
func (l *Ledger) Instruction(ctx context.Context, id string) (*gateway.Instruction, error) {
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	m, _, err := l.s.Instruction(ctx, id)
	if unknown(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	i := &gateway.Instruction{
		ID: m.GetId(), Index: m.GetIndex(), Resolved: m.GetResolved(), Held: m.GetHeld(),
		Delivers: legOf(m.GetSaid().GetDelivers()), Receives: legOf(m.GetSaid().GetReceives()),
	}
	if i.Status, err = settlement.ParseStatus(m.GetStatus()); err == nil {
		i.Reason, err = settlement.ParseReason(m.GetReason())
	}
	if err != nil {
		return nil, errors.Wrapf(err, "read the instruction %s: the node knows more than this program; upgrade it", id)
	}
	return i, nil
}

func legOf(l *cairnv1.InstructionLeg) gateway.InstructionLeg {
	return gateway.InstructionLeg{Account: l.GetAccount(), Amount: l.GetAmount(), Settled: l.GetSettled()}
}

// Settlements implements gateway.Ledger.
func (l *Ledger) Settlements(ctx context.Context, account, id string, from uint64) ([]gateway.Settlement, error) {
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	var list []gateway.Settlement
	_, _, err := l.s.Statement(ctx, account, from, 0, func(e *settle.StatementEntry) error {
		for _, i := range e.GetInstructions() {
			if i.GetId() == id {
				list = append(list, gateway.Settlement{
					Index: e.GetIndex(), Time: time.UnixMicro(e.GetTime()), Delivered: i.GetDelivered(), Received: i.GetReceived(),
				})
			}
		}
		return nil
	})
	slices.Reverse(list) // a statement begins with the newest entry
	return list, err
}

func unknown(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Reason == client.ReasonUnknownID
}
