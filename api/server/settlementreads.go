package server

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/settlepb"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/settlement"
)

const (
	// pageRows is how many accounts, assets or reservations a page has unless the caller wants fewer.
	pageRows = 500
	// pageEntries is how many entries a page of a statement has unless the caller wants fewer.
	pageEntries = 200
	// pageLooks is how many rows one call looks at for a caller who may see few of them.
	pageLooks = 20_000
)

// bookkeeping is what a read of a settlement ledger works with.
type bookkeeping struct {
	ctx   context.Context
	l     Ledger
	state settlement.Reader // that the read is about
	now   settlement.Reader // the newest one, which says what the caller may read
	all   bool              // the caller may read everything
	who   string
	owned map[string]bool // whether the caller owns an account, of those that were looked up
}

// newBookkeeping is about the newest state, as the node has applied it.
func newBookkeeping(ctx context.Context) *bookkeeping {
	peer := caller(ctx)
	b := &bookkeeping{ctx: ctx, l: backend(ctx).Ledger(), all: peer.Roles.HasAny(pki.RoleReader), who: peer.Principal, owned: make(map[string]bool)}
	b.now = b.l.State()
	b.state = b.now
	return b
}

// books returns the state that a read is about.
func (s *Server) books(ctx context.Context, at *cairnv1.At) (*bookkeeping, error) {
	if err := settles(ctx); err != nil {
		return nil, err
	}
	if err := s.freshen(ctx, at.GetConsistency(), at.GetMinSize()); err != nil {
		return nil, err
	}
	b := newBookkeeping(ctx)
	if at.GetSize() != 0 || at.GetTime() != 0 {
		past, err := s.pastState(ctx, at)
		if err != nil {
			return nil, err
		}
		b.state = past
	}
	return b, nil
}

// pastState returns the state of a past size or time.
func (s *Server) pastState(ctx context.Context, at *cairnv1.At) (ledger.State, error) {
	l, size := backend(ctx).Ledger(), at.GetSize()
	switch now := time.Now(); {
	case size != 0 && at.GetTime() != 0:
		return ledger.State{}, refuse(codes.InvalidArgument, ReasonInvalidArgument, "at: name a size or a time, not both")
	case size != 0:
		if err := s.reach(ctx, size); err != nil {
			return ledger.State{}, err
		}
	case at.GetTime() < 0 || at.GetTime() > now.UnixMicro():
		return ledger.State{}, refuse(codes.OutOfRange, ReasonOutOfRange, fmt.Sprintf("at: the time %s is not over: the node's clock shows %s", clock(at.GetTime()), clock(now.UnixMicro())))
	default:
		var err error
		if size, err = l.SizeAt(at.GetTime()); err != nil {
			return ledger.State{}, err
		}
		if size == 0 {
			return ledger.State{}, refuse(codes.OutOfRange, ReasonOutOfRange, fmt.Sprintf("at: the ledger began after %s", clock(at.GetTime())))
		}
	}
	state, err := l.StateAt(size)
	if errors.Is(err, ledger.ErrStateGone) {
		err = notKept(l, size)
	}
	return state, err
}

func clock(t int64) string { return time.UnixMicro(t).UTC().Format(time.RFC3339Nano) }

// notKept says that the state of a size is not kept any more, and which are.
func notKept(l Ledger, size uint64) error {
	below, above := l.KeptSizes(size)
	nearest := fmt.Sprintf("the nearest one is %d", above)
	if below > 0 {
		nearest = fmt.Sprintf("the nearest ones are %d and %d", below, above)
	}
	return refuse(codes.OutOfRange, ReasonNotKept, fmt.Sprintf("what the ledger knew at size %d is not kept any more. Sizes of the last 25 hours are kept, and those at the ends of UTC days; %s", size, nearest))
}

// mine refuses what is about an account that the caller may not read. To somebody who owns no such
// account it does not say whether there is one.
func (b *bookkeeping) mine(account string) error {
	ok, err := b.sees(account)
	if err != nil {
		return err
	}
	if !ok {
		return refuse(codes.PermissionDenied, ReasonPermissionDenied, fmt.Sprintf("%s owns no account %s; a reader and an operator may read every account", b.who, account))
	}
	return nil
}

// sees reports whether the caller may read an account.
func (b *bookkeeping) sees(account string) (bool, error) {
	if b.all {
		return true, nil
	}
	owned, known := b.owned[account]
	if !known {
		var err error
		if owned, err = settlement.Owns(b.now, b.who, account); err != nil {
			return false, err
		}
		b.owned[account] = owned
	}
	return owned, nil
}

// details returns the details of the accounts that an entry touched and the caller may read.
func (b *bookkeeping) details(d *settlement.Decided) (seen []settlement.Detail, err error) {
	raw, err := b.l.DetailOf(d.Index, d.Leaf)
	if err != nil {
		return nil, err
	}
	details, err := d.Details(raw)
	if err != nil {
		return nil, err
	}
	for i := range details {
		ok, err := b.sees(details[i].Line.Account)
		if err != nil {
			return nil, err
		}
		if ok {
			seen = append(seen, details[i])
		}
	}
	return seen, nil
}

// seesTransfer reports whether the caller may read a transfer: whoever may read one of its accounts.
func (b *bookkeeping) seesTransfer(t *settlement.State) (bool, error) {
	if b.all || t.Debit == "" {
		return b.all, nil
	}
	ok, err := b.sees(t.Debit)
	if err != nil || ok {
		return ok, err
	}
	return b.sees(t.Credit)
}

func unknown(what, id string, size uint64) error {
	return refuse(codes.NotFound, ReasonUnknownID, fmt.Sprintf("no %s %s is known to the ledger as of size %d", what, id, size))
}

// GetAccount implements cairnv1.SettlementServer.
func (s *Server) GetAccount(ctx context.Context, req *cairnv1.GetAccountRequest) (*cairnv1.GetAccountResponse, error) {
	b, err := s.books(ctx, req.GetAt())
	if err != nil {
		return nil, definite(err)
	}
	if err := b.mine(req.GetId()); err != nil {
		return nil, definite(err)
	}
	a, owners, err := settlement.ReadAccount(b.state, req.GetId())
	if errors.Is(err, settlement.ErrUnknown) {
		return nil, unknown("account", req.GetId(), b.state.Size())
	}
	if err != nil {
		return nil, definite(err)
	}
	return &cairnv1.GetAccountResponse{Account: settlepb.Account(a, owners), Size: b.state.Size()}, nil
}

// ListAccounts implements cairnv1.SettlementServer.
func (s *Server) ListAccounts(ctx context.Context, req *cairnv1.ListAccountsRequest) (*cairnv1.ListAccountsResponse, error) {
	b, err := s.books(ctx, req.GetAt())
	if err != nil {
		return nil, definite(err)
	}
	after, err := s.cursors.place(ctx, "accounts", req.GetPage())
	if err != nil {
		return nil, err
	}
	resp := &cairnv1.ListAccountsResponse{Size: b.state.Size()}
	limit, looks := page(req.GetLimit(), pageRows), 0
	var failed error
	err = settlement.Accounts(b.state, after, func(a *settlement.Account) bool {
		if len(resp.Accounts) == limit || looks == pageLooks {
			resp.Next = s.cursors.page(ctx, "accounts", after)
			return false
		}
		looks++
		after = a.ID
		var owners []string
		if owners, failed = settlement.ReadOwners(b.state, a.ID); failed != nil {
			return false
		}
		if ok, err := b.sees(a.ID); err != nil || !ok {
			failed = err
			return err == nil
		}
		resp.Accounts = append(resp.Accounts, settlepb.Account(a, owners))
		return true
	})
	if err = errors.CombineErrors(err, failed); err != nil {
		return nil, definite(err)
	}
	return resp, nil
}

func page(asked uint32, most int) int {
	if asked == 0 || int64(asked) > int64(most) {
		return most
	}
	return int(asked)
}

// ListAssets implements cairnv1.SettlementServer.
func (s *Server) ListAssets(ctx context.Context, req *cairnv1.ListAssetsRequest) (*cairnv1.ListAssetsResponse, error) {
	b, err := s.books(ctx, nil)
	if err != nil {
		return nil, definite(err)
	}
	resp := &cairnv1.ListAssetsResponse{Size: b.state.Size()}
	limit := page(req.GetLimit(), pageRows)
	err = settlement.Assets(b.state, req.GetAfter(), func(a settlement.Asset) bool {
		if resp.More = len(resp.Assets) == limit; resp.More {
			return false
		}
		resp.Assets = append(resp.Assets, &cairnv1.SettlementAsset{Id: a.ID, Scale: uint32(a.Scale), Index: a.Index})
		return true
	})
	if err != nil {
		return nil, definite(err)
	}
	return resp, nil
}

// GetTransfer implements cairnv1.SettlementServer.
func (s *Server) GetTransfer(ctx context.Context, req *cairnv1.GetTransferRequest) (*cairnv1.GetTransferResponse, error) {
	b, err := s.books(ctx, req.GetAt())
	if err != nil {
		return nil, definite(err)
	}
	m, err := b.transfer(req.GetId(), true)
	if err != nil {
		return nil, definite(err)
	}
	return &cairnv1.GetTransferResponse{Transfer: m, Size: b.state.Size()}, nil
}

// ListTransfers implements cairnv1.SettlementServer.
func (s *Server) ListTransfers(ctx context.Context, req *cairnv1.ListTransfersRequest) (*cairnv1.ListTransfersResponse, error) {
	b, err := s.books(ctx, req.GetAt())
	if err != nil {
		return nil, definite(err)
	}
	if err := settlement.CheckID(req.GetPrefix()); err != nil {
		return nil, refuse(codes.InvalidArgument, ReasonInvalidArgument, "prefix: "+err.Error())
	}
	after, err := s.cursors.place(ctx, "transfers", req.GetPage())
	if err != nil {
		return nil, err
	}
	resp := &cairnv1.ListTransfersResponse{Size: b.state.Size()}
	limit, looks := page(req.GetLimit(), pageRows), 0
	var failed error
	err = settlement.Transfers(b.state, req.GetPrefix(), after, func(id string, state *settlement.State) bool {
		if failed = ctx.Err(); failed != nil {
			return false
		}
		if len(resp.Transfers) == limit || looks == pageLooks {
			resp.Next = s.cursors.page(ctx, "transfers", after)
			return false
		}
		looks++
		after = id
		m, err := b.transferMessage(id, state, true)
		if failed = err; err == nil && m != nil {
			resp.Transfers = append(resp.Transfers, m)
		}
		return err == nil
	})
	if err = errors.CombineErrors(err, failed); err != nil {
		return nil, definite(err)
	}
	return resp, nil
}

// transfer returns what became of a transfer or a set, with those transfers of the set that the
// caller may read. Where there is nothing that the caller may read, it refuses.
func (b *bookkeeping) transfer(id string, references bool) (*cairnv1.SettlementTransfer, error) {
	state, err := settlement.ReadTransfer(b.state, id)
	if errors.Is(err, settlement.ErrUnknown) {
		return nil, unknown("transfer", id, b.state.Size())
	}
	if err != nil {
		return nil, err
	}
	m, err := b.transferMessage(id, state, references)
	if err == nil && m == nil {
		err = unknown("transfer", id, b.state.Size())
	}
	return m, err
}

// transferMessage returns a transfer or a set as a message; nil when the caller may not read it.
func (b *bookkeeping) transferMessage(id string, state *settlement.State, references bool) (*cairnv1.SettlementTransfer, error) {
	if state.IsSet() {
		m := settlepb.Transfer(id, state, "", 0)
		for _, member := range state.Members {
			t, err := settlement.ReadTransfer(b.state, member)
			if err != nil {
				return nil, err
			}
			mm, err := b.transferMessage(member, t, references)
			if err != nil {
				return nil, err
			}
			if mm != nil {
				m.Members = append(m.Members, mm)
			}
		}
		if len(m.Members) == 0 && !b.all && !b.asked(state) {
			return nil, nil
		}
		return m, nil
	}
	ok, err := b.seesTransfer(state)
	if err != nil || !ok && !b.asked(state) {
		return nil, err
	}
	asset, scale := "", uint8(0)
	if state.Debit != "" {
		debit, _, err := settlement.ReadAccount(b.state, state.Debit)
		if err != nil {
			return nil, err
		}
		asset, scale = debit.Asset, debit.Scale
	}
	m := settlepb.Transfer(id, state, asset, scale)
	if references {
		leaf, err := b.l.Leaf(state.Index)
		if err != nil {
			return nil, err
		}
		d, err := settlement.ParseLeaf(state.Index, leaf)
		if err != nil {
			return nil, err
		}
		if submit, ok := d.Command.Action.(*settlement.Submit); ok && int(state.Position) < len(submit.Transfers) {
			m.References = settlepb.References(submit.Transfers[state.Position].References)
		}
	}
	return m, nil
}

// asked reports whether the caller itself asked for what a state is about: its rejection is for the
// caller to read, too.
func (b *bookkeeping) asked(state *settlement.State) bool {
	leaf, err := b.l.Leaf(state.Index)
	if err != nil {
		return false
	}
	entry, err := ledger.ParseLeaf(leaf)
	return err == nil && entry.Principal == b.who
}

// ListHolds implements cairnv1.SettlementServer.
func (s *Server) ListHolds(ctx context.Context, req *cairnv1.ListHoldsRequest) (*cairnv1.ListHoldsResponse, error) {
	b, err := s.books(ctx, req.GetAt())
	if err != nil {
		return nil, definite(err)
	}
	var after *settlement.Hold
	place, err := s.cursors.place(ctx, "holds", req.GetPage())
	if err != nil {
		return nil, err
	}
	if place != "" {
		expires, id, _ := strings.Cut(place, " ")
		at, err := strconv.ParseInt(expires, 10, 64)
		if err != nil {
			return nil, definite(err)
		}
		after = &settlement.Hold{ID: id, Expires: at}
	}
	resp := &cairnv1.ListHoldsResponse{Size: b.state.Size()}
	limit, looks := page(req.GetLimit(), pageRows), 0
	var failed error
	last := ""
	err = settlement.Holds(b.state, req.GetExpired(), after, req.GetUntil(), func(h settlement.Hold) bool {
		if len(resp.Holds) == limit || looks == pageLooks {
			resp.Next = s.cursors.page(ctx, "holds", last)
			return false
		}
		looks++
		last = fmt.Sprintf("%d %s", h.Expires, h.ID)
		m, err := b.transferMessage(h.ID, h.State, false)
		if failed = err; err == nil && m != nil {
			resp.Holds = append(resp.Holds, m)
		}
		return err == nil
	})
	if err = errors.CombineErrors(err, failed); err != nil {
		return nil, definite(err)
	}
	return resp, nil
}

// Statement implements cairnv1.SettlementServer.
func (s *Server) Statement(ctx context.Context, req *cairnv1.StatementRequest) (*cairnv1.StatementResponse, error) {
	b, err := s.books(ctx, req.GetAt())
	if err != nil {
		return nil, definite(err)
	}
	if err := b.mine(req.GetAccount()); err != nil {
		return nil, definite(err)
	}
	a, owners, err := settlement.ReadAccount(b.state, req.GetAccount())
	if errors.Is(err, settlement.ErrUnknown) {
		return nil, unknown("account", req.GetAccount(), b.state.Size())
	}
	if err != nil {
		return nil, definite(err)
	}
	resp := &cairnv1.StatementResponse{Size: b.state.Size(), Account: settlepb.Account(a, owners)}
	to, start := req.GetToSize(), req.GetPage()
	if to == 0 {
		to = math.MaxUint64
	}
	if start == 0 || start > a.Last {
		start = a.Last
	}
	limit, looks := page(req.GetLimit(), pageEntries), 0
	var failed error
	if start != a.Last {
		if _, err := settlement.ReadMovement(b.l.Detail, start, a.ID); err != nil {
			return nil, refuse(codes.InvalidArgument, ReasonInvalidArgument, "page: take it from the answer before")
		}
	}
	err = settlement.History(b.l.Detail, a.ID, start, req.GetFromIndex(), func(m *settlement.Movement) bool {
		if failed = ctx.Err(); failed != nil {
			return false
		}
		if looks++; len(resp.Entries) == limit || looks > pageLooks {
			resp.Next = m.Index
			return false
		}
		if m.Index >= to {
			return true
		}
		var e *cairnv1.StatementEntry
		e, failed = b.statementEntry(m, a.ID, a.Scale)
		resp.Entries = append(resp.Entries, e)
		return failed == nil
	})
	if err = errors.CombineErrors(err, failed); err != nil {
		return nil, definite(err)
	}
	return resp, nil
}

// statementEntry returns what an entry did to an account. The leaf is in it when the caller may read
// all that the entry touched. The leaf of the command that opened the account is not: it has the
// account's key.
func (b *bookkeeping) statementEntry(m *settlement.Movement, account string, scale uint8) (*cairnv1.StatementEntry, error) {
	digest := m.Digest()
	line := &m.Detail.Line
	e := &cairnv1.StatementEntry{
		Index: m.Index, Time: m.Entry.Time, Sequence: line.Sequence, Digest: digest[:], Detail: m.Detail.Append(nil),
		Before: settlepb.Balances(&m.Before, scale), After: settlepb.Balances(&line.Balances, scale),
	}
	open, err := b.mayRead(&m.Decided)
	if err != nil {
		return nil, err
	}
	if _, opens := m.Command.Action.(*settlement.OpenAccount); open && !opens {
		e.Leaf = m.Leaf
	}
	for _, id := range m.Transfers() {
		state, err := settlement.ReadTransfer(b.state, id)
		if err != nil {
			return nil, err
		}
		t, err := b.transferMessage(id, state, true)
		if err != nil {
			return nil, err
		}
		if t != nil {
			e.Transfers = append(e.Transfers, concerning(t, account)...)
		}
	}
	e.Instructions, err = b.settledOn(m, account)
	return e, err
}

// concerning returns the transfers among t and its members that debit or credit an account.
func concerning(t *cairnv1.SettlementTransfer, account string) []*cairnv1.SettlementTransfer {
	if t.GetDebit() == account || t.GetCredit() == account {
		return []*cairnv1.SettlementTransfer{t}
	}
	var list []*cairnv1.SettlementTransfer
	for _, m := range t.GetMembers() {
		list = append(list, concerning(m, account)...)
	}
	return list
}
