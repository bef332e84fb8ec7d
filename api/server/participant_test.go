package server_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
)

// money is a ledger with the program accounts, a genesis and n commands, all of them sealed, and an
// API client of it.
func money(t *testing.T, n int) (*fakecluster.Cluster, api) {
	t.Helper()
	c := fakecluster.New(t, 1, fakecluster.Options{Logf: t.Logf})
	hosted := c.Host("fake.example/money", func(g *ledger.Genesis) {
		g.Program, g.ProgramVersion = accounts.Program{}.Name(), accounts.Program{}.Version()
	})
	for i := range n {
		b := ledger.Batch{Principal: fakecluster.Principal, Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: accounts.Open(uint64(i), 100)}}}
		if r := hosted.Decide(b); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	hosted.SealNow()
	return hosted, dial(t, c.Nodes[0], cairnv1.ForLedger(hosted.Origin))
}

// TestParticipantReadsNoEntries: a participant reads what proves a ledger, and of the entries the
// genesis alone. Whoever may read everything reads the same as ever.
func TestParticipantReadsNoEntries(t *testing.T) {
	t.Parallel()
	_, a := money(t, 3)
	first := func(stream interface {
		Recv() (*cairnv1.RangeResponse, error)
	}, err error) error {
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	calls := map[string]func(ctx context.Context, index uint64) error{
		"Get": func(ctx context.Context, index uint64) error {
			_, err := a.Get(ctx, &cairnv1.GetRequest{Index: index})
			return err
		},
		"InclusionProof": func(ctx context.Context, index uint64) error {
			_, err := a.InclusionProof(ctx, &cairnv1.InclusionProofRequest{Index: index})
			return err
		},
		"Receipt": func(ctx context.Context, index uint64) error {
			_, err := a.Receipt(ctx, &cairnv1.ReceiptRequest{Index: index})
			return err
		},
		"Range": func(ctx context.Context, index uint64) error {
			return first(a.Range(ctx, &cairnv1.RangeRequest{First: index, Limit: 1}))
		},
		"Watch": func(ctx context.Context, index uint64) error {
			stream, err := a.Watch(ctx, &cairnv1.WatchRequest{From: index})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
	}
	// Also where nothing is: a refusal must not tell what there is.
	for _, index := range []uint64{0, 1, 3, 4, 1 << 62, 1<<64 - 1} {
		for method, call := range calls {
			if index < 4 {
				for _, roles := range []string{"reader", "operator", "writer", "admin", "participant,reader"} {
					if err := call(as(within(t), fakecluster.Principal, roles), index); err != nil {
						t.Errorf("%s of entry %d by %s: %v", method, index, roles, err)
					}
				}
			}
			err := call(as(within(t), fakecluster.Principal, "participant"), index)
			if index == 0 && method != "Range" && method != "Watch" {
				if err != nil {
					t.Errorf("%s of the genesis: %v", method, err)
				}
				continue
			}
			if err == nil {
				t.Errorf("%s of entry %d by a participant succeeds", method, index)
				continue
			}
			f := demand(t, err, codes.PermissionDenied, server.ReasonPermissionDenied, sure)
			if f.info.Metadata["needs"] != "reader" || f.info.Metadata["has"] != "participant" || !strings.Contains(err.Error(), "needs the role reader") {
				t.Errorf("%s of entry %d: %v, %v; want a refusal that names the role", method, index, f.info.Metadata, err)
			}
		}
	}
	ctx := as(within(t), fakecluster.Principal, "participant")
	if h, err := a.Head(ctx, &cairnv1.HeadRequest{}); err != nil || h.Size != 4 {
		t.Errorf("Head: %v, %v", h, err)
	}
	if c, err := a.Checkpoint(ctx, &cairnv1.CheckpointRequest{KnownSize: 2}); err != nil || c.Sealed.Size != 4 || len(c.Sealed.Consistency) == 0 {
		t.Errorf("Checkpoint: %v, %v", c, err)
	}
	if p, err := a.ConsistencyProof(ctx, &cairnv1.ConsistencyProofRequest{OldSize: 2}); err != nil || p.NewSize != 4 {
		t.Errorf("ConsistencyProof: %v, %v", p, err)
	}
	if s, err := a.Status(ctx, &cairnv1.StatusRequest{}); err != nil || s.Program != "accounts" || s.ProgramVersion != 1 {
		t.Errorf("Status: %v, %v", s, err)
	}
	r, err := a.Receipt(ctx, &cairnv1.ReceiptRequest{Index: 0})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := a.Verify(ctx, &cairnv1.VerifyRequest{Receipt: r.Receipt}); err != nil || !v.Valid {
		t.Errorf("Verify: %v, %v", v, err)
	}
	for what, err := range map[string]error{
		"Append": func() error { _, err := a.Append(ctx, batch("x")); return err }(),
		"CreateLedger": func() error {
			_, err := cairnv1.NewDirectoryClient(a.conn).CreateLedger(ctx, newLedger(second))
			return err
		}(),
		"ListLedgers": func() error {
			_, err := cairnv1.NewDirectoryClient(a.conn).ListLedgers(ctx, &cairnv1.ListLedgersRequest{})
			return err
		}(),
		"TransferLeadership": func() error {
			_, err := a.TransferLeadership(ctx, &cairnv1.TransferLeadershipRequest{})
			return err
		}(),
	} {
		if err == nil {
			t.Errorf("a participant may call %s", what)
			continue
		}
		demand(t, err, codes.PermissionDenied, server.ReasonPermissionDenied, sure)
	}
}

// TestNoPayloadsForAProgramOfCommands: a payload that the ledger's program does not take is refused
// by any node, the leader or not, and nothing is proposed.
func TestNoPayloadsForAProgramOfCommands(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 2, fakecluster.Options{})
	hosted := c.Host("fake.example/transfers", func(g *ledger.Genesis) {
		g.Program, g.ProgramVersion = fakecluster.Commands{}.Name(), fakecluster.Commands{}.Version()
	})
	for i, n := range c.Nodes {
		a := dial(t, n, cairnv1.ForLedger(hosted.Origin))
		_, err := a.Append(within(t), batch("x"))
		f := demand(t, err, codes.InvalidArgument, server.ReasonRefused, sure)
		if !strings.Contains(err.Error(), hosted.Origin) || !strings.Contains(err.Error(), "takes commands alone") {
			t.Errorf("the refusal does not say why: %v %v", err, f.info)
		}
		stream, err := a.AppendStream(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&cairnv1.AppendStreamRequest{RequestId: 7, Append: batch("x")}); err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if e := got.GetError(); err != nil || e.GetReason() != server.ReasonRefused || e.GetDetail().GetOutcome() != sure {
			t.Errorf("on a stream: %v, %v", got, err)
		}
		if n := hosted.Nodes[i]; len(n.Requests()) != 0 || n.Submitted() != 0 {
			t.Errorf("%s: %d batches reached the ledger", n.Name, len(n.Requests()))
		}
	}
	if size := hosted.Nodes[0].Ledger().Head().Size; size != 1 {
		t.Errorf("the ledger has %d entries, want the genesis alone", size)
	}
}
