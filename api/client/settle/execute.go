package settle

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/settlepb"
	"github.com/cairnledger/cairn/settlement"
)

// Client is a client of one settlement ledger. It is safe for concurrent use.
type Client struct{ c *client.Client }

// New returns a client of the ledger that c is a client of.
func New(c *client.Client) *Client { return &Client{c} }

// Outcome is what came of an action.
type Outcome struct {
	Index   uint64
	Time    time.Time // ledger time
	Existed bool      // the same had been decided before: nothing was appended
	Results []settlement.Result
	Moved   []Moved         // for the instructions of Results, in their order
	Lines   []Line          // of the accounts that the caller may read
	Receipt *client.Receipt // with Sealed
}

// Moved is what an entry moved for an instruction, in units of its assets; "" is no such leg, or that
// the result does not speak of what was settled.
type Moved struct{ Delivered, Received string }

// Line is what an account had after the entry, in units of its asset.
type Line struct {
	Account                                                    string
	DebitsPending, DebitsPosted, CreditsPending, CreditsPosted string
	Sequence                                                   uint64
}

// Option is an option of Execute.
type Option func(*options)

type options struct{ sealed bool }

// Sealed has Execute wait until a checkpoint covers the outcomes, and return their receipts,
// verified: the leaf has the action that was asked for, and the outcome that the node told.
func Sealed() Option { return func(o *options) { o.sealed = true } }

// Execute asks for actions, which become entries next to one another, each decided by itself; the
// outcomes are in their order.
//
// Errors: *client.Error, whose IsDefinite says whether the actions may have had an effect;
// *client.VerificationError and *client.ForkError if the answer proves nothing. With reason
// NOT_SEALED the outcomes are returned together with the error.
func (s *Client) Execute(ctx context.Context, actions []settlement.Action, opts ...Option) ([]Outcome, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	req := &cairnv1.ExecuteRequest{Wait: cairnv1.Wait_WAIT_COMMITTED}
	if o.sealed {
		req.Wait, req.KnownSize = cairnv1.Wait_WAIT_SEALED, s.c.KnownSize()
	}
	repeatable := true
	for _, a := range actions {
		m, err := settlepb.Command(a)
		if err == nil {
			_, err = (&settlement.Command{Action: a}).Marshal()
		}
		if err != nil {
			return nil, &client.Error{Code: codes.InvalidArgument, Reason: client.ReasonInvalid, Message: err.Error(), Definite: true}
		}
		req.Commands = append(req.Commands, m)
		repeatable = repeatable && isRepeatable(a)
	}
	resp, node, err := client.OnLeader(ctx, s.c, "execute", repeatable, func(ctx context.Context, conn grpc.ClientConnInterface) (*cairnv1.ExecuteResponse, error) {
		return cairnv1.NewSettlementClient(conn).Execute(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	outcomes, err := s.outcomes(node, resp, actions)
	if err != nil || !o.sealed {
		return outcomes, err
	}
	if resp.GetSealed() == nil {
		return outcomes, &client.Error{Code: codes.Unavailable, Reason: client.ReasonNotSealed, Message: "the actions are decided, but no checkpoint covered them in time", Node: node.Name()}
	}
	return outcomes, s.receipts(ctx, node, req, resp, actions, outcomes)
}

func (s *Client) outcomes(node client.Node, resp *cairnv1.ExecuteResponse, actions []settlement.Action) ([]Outcome, error) {
	bad := func(err error) ([]Outcome, error) {
		return nil, &client.VerificationError{What: "answer to a command", Node: node.Name(), Err: err}
	}
	if len(resp.GetOutcomes()) != len(actions) {
		return bad(errors.Newf("%d outcomes of %d actions", len(resp.GetOutcomes()), len(actions)))
	}
	outcomes := make([]Outcome, len(actions))
	for i, m := range resp.GetOutcomes() {
		o, err := outcomeOf(m)
		if least, most := wantResults(actions[i]); err == nil && (len(o.Results) < least || len(o.Results) > most) {
			err = errors.Newf("%d results of an action that has %d to %d", len(o.Results), least, most)
		}
		if err != nil {
			return bad(err)
		}
		outcomes[i] = o
	}
	return outcomes, nil
}

func outcomeOf(m *cairnv1.CommandOutcome) (Outcome, error) {
	results, err := settlepb.ParseResults(m.GetResults())
	o := Outcome{Index: m.GetIndex(), Time: time.UnixMicro(m.GetTime()), Existed: m.GetExisted(), Results: results}
	for _, r := range m.GetResults() {
		o.Moved = append(o.Moved, Moved{r.GetDelivered(), r.GetReceived()})
	}
	for _, l := range m.GetLines() {
		b := l.GetBalances()
		o.Lines = append(o.Lines, Line{
			l.GetAccount(), b.GetDebitsPending(), b.GetDebitsPosted(), b.GetCreditsPending(), b.GetCreditsPosted(), l.GetSequence(),
		})
	}
	return o, err
}

// wantResults returns how many results an action has: an instruction and a request about one have a
// second result where the counterparty's instruction changed, too.
func wantResults(a settlement.Action) (least, most int) {
	switch a := a.(type) {
	case *settlement.Submit:
		if a.Set == "" {
			return len(a.Transfers), len(a.Transfers)
		}
	case *settlement.Instruct, *settlement.Manage:
		return 1, 2
	}
	return 1, 1
}

// isRepeatable reports whether an action that was decided before does nothing the second time, and
// gets the outcome of the first.
func isRepeatable(a settlement.Action) bool {
	switch a := a.(type) {
	case *settlement.ChangeAccount:
		return false
	case *settlement.Manage:
		return a.Request != ""
	}
	return true
}

// receipts verifies the receipts of outcomes.
func (s *Client) receipts(
	ctx context.Context, node client.Node, req *cairnv1.ExecuteRequest, resp *cairnv1.ExecuteResponse, actions []settlement.Action, outcomes []Outcome,
) error {
	indexes := make([]uint64, len(outcomes))
	for i := range outcomes {
		indexes[i] = outcomes[i].Index
	}
	receipts, err := s.c.Receipts(ctx, node, indexes, resp.GetLeaves(), resp.GetSealed(), req.KnownSize)
	if err != nil {
		return err
	}
	for i, r := range receipts {
		err := s.shows(r, actions[i], &outcomes[i], resp.GetOutcomes()[i].GetLines())
		if err != nil {
			return &client.VerificationError{What: "receipt", Node: node.Name(), Err: errors.Wrapf(err, "entry %d", indexes[i])}
		}
		outcomes[i].Receipt = r
	}
	return nil
}

// shows demands that a leaf holds the action that was asked for, in the caller's name, and the
// outcome that the node told, and that it commits to the lines.
func (s *Client) shows(r *client.Receipt, action settlement.Action, outcome *Outcome, lines []*cairnv1.AccountLine) error {
	d, err := settlement.ParseLeaf(r.Index, r.Extra)
	if err != nil {
		return err
	}
	if p := s.c.Principal(); p != "" && d.Entry.Principal != p {
		return errors.Newf("the leaf names %s as its author", d.Entry.Principal)
	}
	if !sameAction(d.Command.Action, action) {
		return errors.New("the leaf holds another command than the one that was asked for")
	}
	if !slices.Equal(d.Outcome.Results, outcome.Results) {
		return errors.New("the leaf holds another outcome than the node told")
	}
	for _, l := range lines {
		detail, err := settlement.ParseDetail(l.GetDetail())
		if err == nil {
			err = d.Check(&detail)
		}
		if err != nil {
			return err
		}
		proved := settlepb.Line(&detail.Line)
		if proved.Detail = l.GetDetail(); !proto.Equal(proved, l) {
			return errors.Newf("the leaf commits to another line of the account %s than the node told", l.GetAccount())
		}
	}
	return nil
}

// sameAction compares what two actions ask for. The node may have put a digest in the place of the
// message that an action was decoded from, and it makes the key of a new account.
func sameAction(a, b settlement.Action) bool {
	x, errX := (&settlement.Command{Action: bareAction(a)}).Marshal()
	y, errY := (&settlement.Command{Action: bareAction(b)}).Marshal()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func bareAction(a settlement.Action) settlement.Action {
	switch a := a.(type) {
	case *settlement.OpenAccount:
		bare := *a
		bare.Key = settlement.Key{}
		return &bare
	case *settlement.Submit:
		bare := *a
		bare.Source = settlement.Source{}
		return &bare
	case *settlement.Resolve:
		bare := *a
		bare.Source = settlement.Source{}
		return &bare
	case *settlement.Instruct:
		bare := *a
		bare.Source = settlement.Source{}
		return &bare
	}
	return a
}
