package server_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/server"
)

// TestPastReads: an account, a transfer and a statement are read as they were at every size since the
// ledger began. What is not over yet, or not known, is refused, and never answered with nothing.
func TestPastReads(t *testing.T) {
	t.Parallel()
	hosted, a := bank(t)
	n := hosted.Nodes[0]
	ctx := as(within(t), asker, "operator")
	type seen struct{ posted, transfer string }
	history := map[uint64]seen{}
	for i := range 5 {
		if _, err := a.Execute(ctx, &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{pay(fmt.Sprint("p-", i), "1.50")}}); err != nil {
			t.Fatal(err)
		}
		history[n.Ledger().Head().Size] = seen{fmt.Sprintf("%d.%d0", 3*(i+1)/2, 5*((i+1)%2)), fmt.Sprint("p-", i)}
	}
	for size := uint64(1); size <= n.Ledger().Head().Size; size++ {
		want, ends := history[size]
		if !ends {
			continue
		}
		at := &cairnv1.At{Size: size}
		got, err := a.GetAccount(ctx, &cairnv1.GetAccountRequest{Id: "b", At: at})
		if err != nil || got.GetSize() != size || got.GetAccount().GetBalances().GetCreditsPosted() != want.posted {
			t.Errorf("size %d: %v, %v, want %s", size, got, err, want.posted)
		}
		if got, err := a.GetTransfer(ctx, &cairnv1.GetTransferRequest{Id: want.transfer, At: at}); err != nil || got.GetSize() != size {
			t.Errorf("size %d: %v, %v, want %s", size, got, err, want.transfer)
		}
		if st, err := a.Statement(ctx, &cairnv1.StatementRequest{Account: "b", Limit: 1, At: at}); err != nil || st.GetSize() != size || st.GetEntries()[0].GetTransfers()[0].GetId() != want.transfer {
			t.Errorf("size %d: statement %v, %v, want the newest entry to be %s", size, st, err, want.transfer)
		}
		_, err = a.GetTransfer(ctx, &cairnv1.GetTransferRequest{Id: want.transfer, At: &cairnv1.At{Size: size - 2}})
		demand(t, err, codes.NotFound, server.ReasonUnknownID, sure)
	}
	head := n.Ledger().Head()
	now, err := a.GetAccount(ctx, &cairnv1.GetAccountRequest{Id: "b", At: &cairnv1.At{Time: head.Time}})
	if err != nil || now.GetSize() != head.Size {
		t.Errorf("at the newest time: %v, %v", now, err)
	}
	for what, c := range map[string]struct {
		at     *cairnv1.At
		code   codes.Code
		reason string
	}{
		"a size and a time":  {&cairnv1.At{Size: 3, Time: head.Time}, codes.InvalidArgument, server.ReasonInvalidArgument},
		"beyond the ledger":  {&cairnv1.At{Size: head.Size + 1}, codes.NotFound, server.ReasonNotFound},
		"a time to come":     {&cairnv1.At{Time: time.Now().Add(time.Hour).UnixMicro()}, codes.OutOfRange, server.ReasonOutOfRange},
		"before the ledger":  {&cairnv1.At{Time: 1}, codes.OutOfRange, server.ReasonOutOfRange},
		"before the account": {&cairnv1.At{Size: 1}, codes.NotFound, server.ReasonUnknownID},
	} {
		_, err := a.GetAccount(ctx, &cairnv1.GetAccountRequest{Id: "b", At: c.at})
		if err == nil {
			t.Errorf("%s: it is answered", what)
			continue
		}
		demand(t, err, c.code, c.reason, sure)
	}
	// Who was an owner then and is none now reads nothing of the past.
	own := as(within(t), asker, "participant")
	past := &cairnv1.GetAccountRequest{Id: "a", At: &cairnv1.At{Size: head.Size - 2}}
	if _, err := a.GetAccount(own, past); err != nil {
		t.Errorf("an owner reads the past: %v", err)
	}
	if _, err := a.Execute(ctx, &cairnv1.ExecuteRequest{Commands: []*cairnv1.SettlementCommand{{
		Action: &cairnv1.SettlementCommand_ChangeAccount{ChangeAccount: &cairnv1.ChangeAccount{Id: "a", Owners: &cairnv1.OwnerList{}}},
	}}}); err != nil {
		t.Fatal(err)
	}
	_, err = a.GetAccount(own, past)
	demand(t, err, codes.PermissionDenied, server.ReasonPermissionDenied, sure)
}
