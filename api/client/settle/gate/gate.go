// Package gate lets a gateway of ISO 20022 messages (package settlement/gateway) work on a ledger of
// a cluster, through package api/client/settle:
//
//	g, err := gateway.New(gate.Ledger(settle.New(c), 10*time.Second), gateway.Options{Participant: "BANKDEFF", Rail: "rtgs"})
//
// It stands apart so that whoever settles without messages does not link what reads them.
package gate

import (
	"context"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/gateway"
)

// Ledger returns the ledger that s is a client of, as a gateway sees it. Each call ends after the
// timeout; 0 leaves that to the context and the client.
func Ledger(s *settle.Client, timeout time.Duration) gateway.Ledger { return remote{s, timeout} }

type remote struct {
	s       *settle.Client
	timeout time.Duration
}

func (r remote) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, r.timeout)
}

// Execute implements gateway.Ledger.
func (r remote) Execute(ctx context.Context, actions []settlement.Action) ([]gateway.Decision, error) {
	if len(actions) == 0 {
		return nil, nil
	}
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	outcomes, err := r.s.Execute(ctx, actions)
	if err != nil {
		return nil, refused(err)
	}
	decisions := make([]gateway.Decision, len(outcomes))
	for i := range outcomes {
		o := &outcomes[i]
		decisions[i] = gateway.Decision{Index: o.Index, Time: o.Time, Existed: o.Existed, Results: o.Results}
	}
	return decisions, nil
}

// refused marks the error of a request that the node does not take as it is, and never will. Every
// other error says nothing about the actions, or leaves open what came of them.
func refused(err error) error {
	var e *client.Error
	if errors.As(err, &e) && e.Definite && e.Code == codes.InvalidArgument {
		return errors.Mark(err, gateway.ErrRefused)
	}
	return err
}

// Transfer implements gateway.Ledger.
func (r remote) Transfer(ctx context.Context, id string) (*gateway.Transfer, error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	m, _, err := r.s.Transfer(ctx, id)
	if unknown(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := &gateway.Transfer{
		ID: m.GetId(), Index: m.GetIndex(), Resolved: m.GetResolved(), Debit: m.GetDebit(), Credit: m.GetCredit(),
		Asset: m.GetAsset(), Amount: m.GetAmount(), Posted: m.GetPosted(),
	}
	if t.Status, err = settlement.ParseStatus(m.GetStatus()); err == nil {
		t.Reason, err = settlement.ParseReason(m.GetReason())
	}
	if err != nil {
		return nil, errors.Wrapf(err, "read the transfer %s: the node knows more than this program; upgrade it", id)
	}
	for _, ref := range m.GetReferences() {
		if kind, err := settlement.ParseReferenceKind(ref.GetKind()); err == nil {
			t.References = append(t.References, settlement.Reference{Kind: kind, Value: ref.GetValue()})
		}
	}
	return t, nil
}

func unknown(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Reason == client.ReasonUnknownID
}
