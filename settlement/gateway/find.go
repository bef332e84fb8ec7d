package gateway

import (
	"context"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
)

// Find returns what became of a transaction of an earlier message, without asking for anything. The
// message is named by its identification, and the transaction by its TxId, InstrId, EndToEndId or, of
// a return, RtrId; an instruction of sese.023 by its TxId twice. Nil is a transaction that the ledger
// does not know, or that the caller may not read.
func (g *Gateway) Find(ctx context.Context, message, transaction string) (*Item, error) {
	original := iso20022.Original{MessageID: message, InstructionID: transaction, EndToEndID: transaction, TransactionID: transaction}
	ids := g.options.candidates(&iso20022.Message{}, &original)
	original.MessageName = "pacs.004"
	ids = append(ids, g.options.candidates(&iso20022.Message{}, &original)...)
	found, err := g.first(ctx, transaction, ids)
	if found != nil || err != nil {
		return found, err
	}
	return g.instruction(ctx, iso20022.Identity{
		Participant: g.options.Participant, Rail: g.options.Rail, Type: "sese.023", Message: message, Transaction: "TxId=" + transaction,
	})
}

// FindAll returns what became of each transaction that a message asks for or is about, in its order,
// without asking for anything. Nil is a transaction that is not known. An error is one of Decode, or
// of the ledger.
func (g *Gateway) FindAll(ctx context.Context, raw []byte) (*iso20022.Message, []*Item, error) {
	m, err := iso20022.Decode(raw)
	if err != nil {
		return nil, nil, err
	}
	e := &exchange{g: g, m: m}
	identities := m.Identify(g.options.Participant, g.options.Rail)
	if m.Securities != nil {
		found, err := g.instruction(ctx, identities[0])
		return m, []*Item{found}, err
	}
	items := make([]*Item, len(m.Transactions))
	for i := range m.Transactions {
		ids := []string{identities[i].Key()}
		if e.about() {
			ids = g.options.candidates(m, &m.Transactions[i].Original)
		}
		if items[i], err = g.first(ctx, identities[i].Transaction, ids); err != nil {
			return m, nil, err
		}
	}
	return m, items, nil
}

// instruction returns what became of an instruction.
func (g *Gateway) instruction(ctx context.Context, id iso20022.Identity) (*Item, error) {
	state, err := g.ledger.Instruction(ctx, id.Key())
	if state == nil {
		return nil, err
	}
	i := &Item{Transaction: id.Transaction, ID: state.ID, Index: state.Resolved, Decided: true, Code: statePending}
	switch state.Status {
	case settlement.Unmatched:
		i.Code = stateUnmatched
	case settlement.Settled:
		i.Code = stateSettled
	case settlement.Cancelled, settlement.Expired:
		i.Code = stateCancelled
	case settlement.Rejected:
		i.Code = stateRejected
	}
	if r := state.Reason; r != settlement.NoReason {
		i.Reason, i.Name, i.Text = secOther, r.String(), r.Text()
	}
	return i, nil
}

// first returns what became of the first transfer among ids that the ledger knows.
func (g *Gateway) first(ctx context.Context, name string, ids []string) (*Item, error) {
	for _, id := range ids {
		t, err := g.ledger.Transfer(ctx, id)
		if err != nil {
			return nil, err
		}
		if t != nil {
			it := &item{name: name}
			it.show(t)
			shown := it.shown()
			return &shown, nil
		}
	}
	return nil, nil
}
