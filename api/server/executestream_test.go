package server_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
)

// bank is a settlement ledger with the asset EUR and the accounts "a" and "b", of which "a" may be
// debited without a limit and belongs to the asker. The client is a participant.
func bank(t *testing.T) (*fakecluster.Cluster, cairnv1.SettlementClient) {
	t.Helper()
	c := fakecluster.New(t, 1, fakecluster.Options{Logf: t.Logf})
	hosted := c.Host("fake.example/bank", func(g *ledger.Genesis) {
		g.Program, g.ProgramVersion = settlement.Program{}.Name(), settlement.Program{}.Version()
	})
	a := cairnv1.NewSettlementClient(dial(t, c.Nodes[0], cairnv1.ForLedger(hosted.Origin)).conn)
	_, err := a.Execute(as(within(t), fakecluster.Principal, "operator"), &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{
		{Action: &cairnv1.SettlementCommand_CreateAsset{CreateAsset: &cairnv1.CreateAsset{Id: "EUR", Scale: 2}}},
		{Action: &cairnv1.SettlementCommand_OpenAccount{OpenAccount: &cairnv1.OpenAccount{Id: "a", Asset: "EUR", Owners: []string{asker}}}},
		{Action: &cairnv1.SettlementCommand_OpenAccount{OpenAccount: &cairnv1.OpenAccount{Id: "b", Asset: "EUR"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return hosted, a
}

// pay is the command that transfers an amount from "a" to "b".
func pay(id, amount string) *cairnv1.SettlementCommand {
	return &cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_Submit{Submit: &cairnv1.SubmitTransfers{
		Transfers: []*cairnv1.Transfer{{Id: id, Debit: "a", Credit: "b", Amount: amount}},
	}}}
}

// TestExecuteStream: requests of one stream are answered each by itself, whatever became of the
// others, with what came of every command. What was decided before is not appended again.
func TestExecuteStream(t *testing.T) {
	t.Parallel()
	hosted, a := bank(t)
	n := hosted.Nodes[0]
	before := n.Ledger().Head().Size
	stream, err := a.ExecuteStream(as(within(t), asker, "participant"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(id uint64, wait cairnv1.Wait, commands ...*cairnv1.SettlementCommand) {
		t.Helper()
		if err := stream.Send(&cairnv1.ExecuteStreamRequest{RequestId: id, Execute: &cairnv1.ExecuteRequest{Commands: commands, Wait: wait}}); err != nil {
			t.Fatal(err)
		}
	}
	answers := map[uint64]*cairnv1.ExecuteStreamResponse{}
	hear := func(many int) {
		t.Helper()
		for range many {
			got, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			answers[got.GetRequestId()] = got
		}
	}
	ask(1, cairnv1.Wait_WAIT_COMMITTED, pay("t-1", "12.34"), pay("t-2", "1"))
	ask(2, cairnv1.Wait_WAIT_COMMITTED, pay("t-3", "no number"))
	ask(3, cairnv1.Wait_WAIT_SEALED, pay("t-4", "5"))
	ask(4, cairnv1.Wait_WAIT_COMMITTED)
	hear(4)
	size := n.Ledger().Head().Size
	// Everything in this one is known: nothing is proposed, and the receipts are of the first time.
	ask(5, cairnv1.Wait_WAIT_SEALED, pay("t-2", "1"), pay("t-1", "12.34"))
	hear(1)
	if now := n.Ledger().Head().Size; size != before+5 || now != size {
		t.Errorf("the ledger grew from %d to %d and then to %d, want 3 commands and 2 records of the map root once", before, size, now)
	}
	for id, reason := range map[uint64]string{2: server.ReasonInvalidArgument, 4: server.ReasonInvalidArgument} {
		if e := answers[id].GetError(); e.GetReason() != reason || e.GetDetail().GetOutcome() != sure {
			t.Errorf("request %d: %v, want %s", id, answers[id], reason)
		}
	}
	for id, want := range map[uint64][]struct {
		index   uint64
		existed bool
	}{1: {{before, false}, {before + 1, false}}, 3: {{before + 3, false}}, 5: {{before + 1, true}, {before, true}}} {
		r := answers[id].GetResponse()
		if len(r.GetOutcomes()) != len(want) {
			t.Errorf("request %d: %v", id, answers[id])
			continue
		}
		sealed := id != 1
		if (r.GetSealed() != nil) != sealed || sealed && len(r.GetLeaves()) != len(want) {
			t.Errorf("request %d: %d leaves, sealed %v", id, len(r.GetLeaves()), r.GetSealed())
		}
		for i, o := range r.GetOutcomes() {
			if o.GetIndex() != want[i].index || o.GetExisted() != want[i].existed || o.GetResults()[0].GetStatus() != "posted" || len(o.GetLines()) != 1 {
				t.Errorf("request %d: command %d: %v, want index %d, existed %v, posted", id, i, o, want[i].index, want[i].existed)
			}
			if sealed {
				if e, err := ledger.ParseLeaf(r.GetLeaves()[i].GetLeaf()); err != nil || e.Kind != ledger.KindCommand || e.Principal != asker {
					t.Errorf("request %d: leaf %d: %+v, %v", id, i, e, err)
				}
			}
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream goes on")
	}
}

// TestExecuteNeedsTheProgram: a call of the service for another ledger than one of the program is
// refused, on a stream too, and so is one without the role.
func TestExecuteNeedsTheProgram(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	s := cairnv1.NewSettlementClient(a.conn)
	first := func(ctx context.Context) error {
		stream, err := s.ExecuteStream(ctx)
		if err != nil {
			return err
		}
		// What is wrong with a stream that is refused at once is said by Recv.
		_ = stream.Send(&cairnv1.ExecuteStreamRequest{RequestId: 1, Execute: &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{pay("t-1", "1")}}})
		got, err := stream.Recv()
		if e := got.GetError(); e.GetReason() == server.ReasonWrongProgram && e.GetDetail().GetOutcome() == sure {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("got %v", got)
		}
		return err
	}
	if err := first(as(within(t), asker, "participant")); err != nil {
		t.Errorf("on a stream: %v", err)
	}
	_, err := s.Execute(as(within(t), asker, "participant"), &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{pay("t-1", "1")}})
	demand(t, err, codes.FailedPrecondition, server.ReasonWrongProgram, sure)
	for _, roles := range []string{"reader", "writer", "peer"} {
		demand(t, first(as(within(t), asker, roles)), codes.PermissionDenied, server.ReasonPermissionDenied, sure)
	}
	if len(c.Nodes[0].Requests()) != 0 {
		t.Error("something reached the ledger")
	}
}

// inline is a backend that calls done before Submit returns, as one may.
type inline struct{ *fakecluster.Node }

func (n inline) Submit(ctx context.Context, b ledger.Batch, done func(ledger.Result, error)) {
	done(n.Append(ctx, b))
}

// TestStreamDoesNotWaitInACallback: a batch that waits for its receipt holds up no other batch of
// the stream.
func TestStreamDoesNotWaitInACallback(t *testing.T) {
	t.Parallel()
	c, _ := start(t, server.Limits{})
	c.SealByHand()
	_, a := serve(t, server.Config{Ledger: only(inline{c.Nodes[0]}), Limits: server.Limits{SealWait: 15 * time.Second}})
	stream, err := a.AppendStream(within(t))
	if err != nil {
		t.Fatal(err)
	}
	sealed := batch("waits")
	sealed.Wait = cairnv1.Wait_WAIT_SEALED
	for id, req := range []*cairnv1.AppendRequest{sealed, batch("goes on")} {
		if err := stream.Send(&cairnv1.AppendStreamRequest{RequestId: uint64(id), Append: req}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := stream.Recv(); err != nil || got.GetRequestId() != 1 || got.GetResponse().GetSize() != 2 {
		t.Fatalf("the first answer is %v, %v; want that of the batch that does not wait", got, err)
	}
	c.SealNow()
	if got, err := stream.Recv(); err != nil || got.GetRequestId() != 0 || got.GetResponse().GetSealed().GetSize() != 2 {
		t.Errorf("the second answer is %v, %v; want that of the batch with its receipt", got, err)
	}
}

// TestExecuteIsBounded: a small request with very many parts is refused by name, alone and on a
// stream, which goes on.
func TestExecuteIsBounded(t *testing.T) {
	t.Parallel()
	hosted, a := bank(t)
	before := len(hosted.Nodes[0].Requests())
	ctx := as(within(t), asker, "participant")
	many := &cairnv1.ExecuteRequest{Commands: make([]*cairnv1.SettlementCommand, 200_000)}
	for i := range many.Commands {
		many.Commands[i] = &cairnv1.SettlementCommand{}
	}
	deep := &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{pay("t-1", "1")}}
	submit := deep.Commands[0].GetSubmit()
	for range 200_000 {
		submit.Transfers = append(submit.Transfers, &cairnv1.Transfer{})
	}
	stream, err := a.ExecuteStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, req := range []*cairnv1.ExecuteRequest{many, deep} {
		_, err := a.Execute(ctx, req)
		demand(t, err, codes.InvalidArgument, server.ReasonBatchTooLarge, sure)
		if err := stream.Send(&cairnv1.ExecuteStreamRequest{RequestId: uint64(i + 1), Execute: req}); err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if err != nil || got.GetRequestId() != uint64(i+1) || got.GetError().GetReason() != server.ReasonBatchTooLarge {
			t.Fatalf("on a stream: %v, %v", got, err)
		}
	}
	if err := stream.Send(&cairnv1.ExecuteStreamRequest{RequestId: 3, Execute: &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{pay("t-1", "1")}}}); err != nil {
		t.Fatal(err)
	}
	if got, err := stream.Recv(); err != nil || got.GetResponse().GetOutcomes()[0].GetResults()[0].GetStatus() != "posted" {
		t.Errorf("afterwards: %v, %v", got, err)
	}
	if now := len(hosted.Nodes[0].Requests()); now != before+1 {
		t.Errorf("%d requests reached the ledger, want one", now-before)
	}
}
