package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
)

const operator = "spiffe://fake.example/svc/op"

func asAdmin(t testing.TB) context.Context { return as(within(t), operator, "admin") }

func newLedger(origin string, parameters ...string) *cairnv1.CreateLedgerRequest {
	r := &cairnv1.CreateLedgerRequest{Origin: origin, Program: "log"}
	for i := 0; i < len(parameters); i += 2 {
		r.Parameters = append(r.Parameters, &cairnv1.Parameter{Name: parameters[i], Value: parameters[i+1]})
	}
	return r
}

// TestCreateLedger: a ledger that was created can be used, is listed and shown; creating it again
// returns it, and creating another one of its name is refused.
func TestCreateLedger(t *testing.T) {
	t.Parallel()
	_, a := start(t, server.Limits{})
	d := cairnv1.NewDirectoryClient(a.conn)
	made, err := d.CreateLedger(asAdmin(t), newLedger(second, "b", "2", "a", "1"))
	if err != nil || !made.Created {
		t.Fatalf("got %v, %v", made, err)
	}
	l := made.Ledger
	if l.Origin != second || l.Program != "log" || l.Creator != operator || l.Time == 0 || l.Group == 0 || l.SealQuorum != 1 || l.FeatureLevel != 1 ||
		len(l.Parameters) != 2 || l.Parameters[0].Name != "a" || len(l.Members) != 1 || l.Members[0].Name != "n1" ||
		!strings.Contains(l.Members[0].Cosigner, "+") || len(l.LogKeys) != 1 || !strings.HasPrefix(l.LogKeys[0], second+"+") {
		t.Errorf("got %v", l)
	}
	again, err := d.CreateLedger(asAdmin(t), newLedger(second, "a", "1", "b", "2"))
	if err != nil || again.Created || !proto.Equal(again.Ledger, l) {
		t.Errorf("created again: %v, %v; want the same ledger", again, err)
	}
	_, err = d.CreateLedger(asAdmin(t), newLedger(second))
	demand(t, err, codes.AlreadyExists, server.ReasonLedgerExists, sure)
	shown, err := d.GetLedger(within(t), &cairnv1.GetLedgerRequest{Origin: second})
	if err != nil || !proto.Equal(shown.Ledger, l) {
		t.Errorf("shown: %v, %v", shown, err)
	}
	list, err := d.ListLedgers(within(t), &cairnv1.ListLedgersRequest{})
	if err != nil || len(list.Ledgers) != 1 || list.More || !proto.Equal(list.Ledgers[0], l) {
		t.Errorf("listed: %v, %v", list, err)
	}
	there := dialAddress(t, a.conn.Target()[len("passthrough:///"):], cairnv1.ForLedger(second))
	if r := mustAppend(t, there, batch("x")); r.Size != 2 {
		t.Errorf("an entry behind the genesis: %v", r)
	}
	// Any ledger of the node says which cluster is meant.
	if list, err := cairnv1.NewDirectoryClient(there.conn).ListLedgers(within(t), &cairnv1.ListLedgersRequest{}); err != nil || len(list.Ledgers) != 1 {
		t.Errorf("listed by a client of the new ledger: %v, %v", list, err)
	}
}

// TestBadLedgers: what no directory could create is refused, definitely.
func TestBadLedgers(t *testing.T) {
	t.Parallel()
	_, a := start(t, server.Limits{})
	d := cairnv1.NewDirectoryClient(a.conn)
	many := newLedger(second)
	for i := range 65 {
		many.Parameters = append(many.Parameters, &cairnv1.Parameter{Name: fmt.Sprintf("%03d", i)})
	}
	otherProgram := newLedger(second)
	otherProgram.Program = "nonsense"
	for name, r := range map[string]*cairnv1.CreateLedgerRequest{
		"nothing": {}, "no origin": newLedger(""), "a long origin": newLedger(strings.Repeat("x", 201)), "a bad origin": newLedger("a b"),
		"no program": {Origin: second}, "another program": otherProgram, "65 parameters": many, "a parameter without a name": newLedger(second, "", "x"),
	} {
		_, err := d.CreateLedger(asAdmin(t), r)
		t.Logf("%s: %v", name, err)
		demand(t, err, codes.InvalidArgument, server.ReasonInvalidArgument, sure)
	}
	c, _ := start(t, server.Limits{})
	_, anything := serve(t, server.Config{Ledger: only(c.Nodes[0]), Directory: saying{}})
	for _, r := range []*cairnv1.CreateLedgerRequest{many, newLedger(strings.Repeat("x", 201)), newLedger("")} {
		_, err := cairnv1.NewDirectoryClient(anything.conn).CreateLedger(asAdmin(t), r) // no matter what the directory takes
		demand(t, err, codes.InvalidArgument, server.ReasonInvalidArgument, sure)
	}
	many.Parameters = many.Parameters[:64]
	if _, err := d.CreateLedger(asAdmin(t), many); err != nil {
		t.Errorf("64 parameters: %v", err)
	}
	for _, origin := range []string{"", "x", strings.Repeat("x", 5000)} {
		_, err := d.GetLedger(within(t), &cairnv1.GetLedgerRequest{Origin: origin})
		demand(t, err, codes.NotFound, server.ReasonUnknownLedger, sure)
	}
}

// saying is a directory that says what a test wants.
type saying struct {
	ledgers []server.LedgerInfo
	err     error
}

func (d saying) Create(context.Context, string, server.NewLedger) (server.LedgerInfo, bool, error) {
	return server.LedgerInfo{}, false, d.err
}
func (d saying) List(context.Context) ([]server.LedgerInfo, error) { return d.ledgers, d.err }
func (d saying) Show(context.Context, string) (server.LedgerInfo, error) {
	return server.LedgerInfo{}, d.err
}

// TestDirectoryOutcomes: a creation whose fate is not known is never called definite, what failed
// before is; a read has no effect in any case.
func TestDirectoryOutcomes(t *testing.T) {
	t.Parallel()
	c, _ := start(t, server.Limits{})
	for _, tc := range []struct {
		err     error
		code    codes.Code
		reason  string
		outcome cairnv1.Outcome
	}{
		{&server.NotLeaderError{LeaderName: "n2", LeaderAddr: "10.0.0.2:1"}, codes.Unavailable, server.ReasonNotLeader, sure},
		{&server.NotLeaderError{}, codes.Unavailable, server.ReasonNoLeader, sure},
		{&server.OverloadedError{RetryAfter: 1}, codes.ResourceExhausted, server.ReasonOverloaded, sure},
		{server.ErrStopped, codes.Unavailable, server.ReasonStopping, sure},
		{errors.Wrap(server.ErrBadLedger, "x"), codes.InvalidArgument, server.ReasonInvalidArgument, sure},
		{errors.Wrap(server.ErrUnknownLedger, "x"), codes.NotFound, server.ReasonUnknownLedger, sure},
		{errors.Wrap(&server.TooManyLedgersError{Most: 3}, "x"), codes.FailedPrecondition, server.ReasonTooManyLedgers, sure},
		{&server.LedgerExistsError{Origin: "o", Why: "w"}, codes.AlreadyExists, server.ReasonLedgerExists, sure},
		{server.ErrIndefinite, codes.Unavailable, server.ReasonOutcomeUnknown, unsure},
		{errors.Mark(context.DeadlineExceeded, server.ErrIndefinite), codes.DeadlineExceeded, server.ReasonOutcomeUnknown, unsure},
		{errors.New("the disk is on fire"), codes.Internal, server.ReasonInternal, unsure},
	} {
		_, a := serve(t, server.Config{Ledger: only(c.Nodes[0]), Directory: saying{err: tc.err}})
		d := cairnv1.NewDirectoryClient(a.conn)
		_, err := d.CreateLedger(asAdmin(t), newLedger(second))
		demand(t, err, tc.code, tc.reason, tc.outcome)
		_, err = d.ListLedgers(within(t), &cairnv1.ListLedgersRequest{})
		demand(t, err, tc.code, tc.reason, sure)
		_, err = d.GetLedger(within(t), &cairnv1.GetLedgerRequest{Origin: second})
		demand(t, err, tc.code, tc.reason, sure)
	}
	_, a := serve(t, server.Config{Ledger: only(c.Nodes[0])})
	d := cairnv1.NewDirectoryClient(a.conn)
	_, err := d.CreateLedger(asAdmin(t), newLedger(second))
	demand(t, err, codes.Unimplemented, server.ReasonUnimplemented, sure)
	_, err = d.ListLedgers(within(t), &cairnv1.ListLedgersRequest{})
	demand(t, err, codes.Unimplemented, server.ReasonUnimplemented, sure)
	_, err = d.GetLedger(within(t), &cairnv1.GetLedgerRequest{Origin: second})
	demand(t, err, codes.Unimplemented, server.ReasonUnimplemented, sure)
}

// TestListingHasPages: 150 ledgers come in three pages, sorted, each once, also when they are the
// largest that there can be.
func TestListingHasPages(t *testing.T) {
	t.Parallel()
	c, _ := start(t, server.Limits{})
	var all []server.LedgerInfo
	for i := range 150 {
		g := ledger.Genesis{Origin: fmt.Sprintf("ledger.example/%03d", (i*7)%150)}
		for id := range 32 {
			g.Members = append(g.Members, ledger.Member{ID: uint64(id + 1), Cosigner: strings.Repeat("k", 8192)})
		}
		all = append(all, server.LedgerInfo{Genesis: g})
	}
	_, a := serve(t, server.Config{Ledger: only(c.Nodes[0]), Directory: saying{ledgers: all}})
	var pages []int
	next, after := 0, ""
	for more := true; more; {
		resp, err := cairnv1.NewDirectoryClient(a.conn).ListLedgers(within(t), &cairnv1.ListLedgersRequest{After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range resp.Ledgers {
			if want := fmt.Sprintf("ledger.example/%03d", next); l.Origin != want {
				t.Fatalf("ledger %d is %s, want %s", next, l.Origin, want)
			}
			next, after = next+1, l.Origin
		}
		pages, more = append(pages, len(resp.Ledgers)), resp.More
	}
	if next != 150 || fmt.Sprint(pages) != "[64 64 22]" {
		t.Errorf("%d ledgers in pages of %v, want 150 in [64 64 22]", next, pages)
	}
	if all[1].Genesis.Origin != "ledger.example/007" {
		t.Errorf("the server has sorted the directory's own list: %s", all[1].Genesis.Origin)
	}
}

// TestWhoMayCreateLedgers: writers may not, and readers see the list.
func TestWhoMayCreateLedgers(t *testing.T) {
	t.Parallel()
	_, a := start(t, server.Limits{})
	d := cairnv1.NewDirectoryClient(a.conn)
	_, err := d.CreateLedger(as(within(t), fakecluster.Principal, "writer"), newLedger(second))
	demand(t, err, codes.PermissionDenied, server.ReasonPermissionDenied, sure)
	reader := as(within(t), fakecluster.Principal, "reader")
	if list, err := d.ListLedgers(reader, &cairnv1.ListLedgersRequest{}); err != nil || len(list.Ledgers) != 0 {
		t.Errorf("a reader: %v, %v", list, err)
	}
	_, err = d.GetLedger(reader, &cairnv1.GetLedgerRequest{Origin: second})
	demand(t, err, codes.NotFound, server.ReasonUnknownLedger, sure)
}
