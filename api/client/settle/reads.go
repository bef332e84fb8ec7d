package settle

import (
	"context"
	"slices"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/proof"
)

// What a node says about accounts and transfers. It is the word of an authenticated node; package
// settlement/proof has what proves the same.
type (
	Account        = cairnv1.SettlementAccount
	Asset          = cairnv1.SettlementAsset
	Transfer       = cairnv1.SettlementTransfer
	Instruction    = cairnv1.SettlementInstruction
	StatementEntry = cairnv1.StatementEntry
)

// ask sends a read to some node.
func ask[Req, Resp any](ctx context.Context, s *Client, req Req, call func(cairnv1.SettlementClient, context.Context, Req, ...grpc.CallOption) (Resp, error)) (Resp, error) {
	resp, _, err := client.OnAny(ctx, s.c, func(ctx context.Context, conn grpc.ClientConnInterface) (Resp, error) {
		return call(cairnv1.NewSettlementClient(conn), ctx, req)
	})
	return resp, err
}

// At says which state a read is about: what the entries below a size left, or those up to a ledger
// time, µs since the Unix epoch. The zero value is the newest. The states of 25 hours are kept, and
// those at the ends of UTC days; the reason of the error is NOT_KEPT for another one. A size within
// a block is rounded down.
type At struct {
	Size uint64
	Time int64
}

// past returns the message about the state that a call names at most once.
func past(at []At) *cairnv1.At {
	if len(at) == 0 || at[0] == (At{}) {
		return nil
	}
	return &cairnv1.At{Size: at[0].Size, Time: at[0].Time}
}

// pinned is for the pages of a past state behind the first one, whose size is given.
func pinned(at *cairnv1.At, size uint64) *cairnv1.At {
	if at == nil {
		return nil
	}
	return &cairnv1.At{Size: size}
}

// Account returns an account as of a state, and the size of the ledger that it is as of. The reason
// of the error is UNKNOWN_ID if there is no such account.
func (s *Client) Account(ctx context.Context, id string, at ...At) (*Account, uint64, error) {
	resp, err := ask(ctx, s, &cairnv1.GetAccountRequest{Id: id, At: past(at)}, cairnv1.SettlementClient.GetAccount)
	return resp.GetAccount(), resp.GetSize(), err
}

// Accounts calls each with the accounts that the caller may read, ascending by id.
func (s *Client) Accounts(ctx context.Context, each func(*Account) error, at ...At) error {
	req := &cairnv1.ListAccountsRequest{At: past(at)}
	for {
		resp, err := ask(ctx, s, req, cairnv1.SettlementClient.ListAccounts)
		if err != nil {
			return err
		}
		for _, a := range resp.GetAccounts() {
			if err := each(a); err != nil {
				return err
			}
		}
		if resp.GetNext() == "" {
			return nil
		}
		req.Page, req.At = resp.GetNext(), pinned(req.At, resp.GetSize())
	}
}

// Assets calls each with the assets, ascending by id.
func (s *Client) Assets(ctx context.Context, each func(*Asset) error) error {
	req := &cairnv1.ListAssetsRequest{}
	for {
		resp, err := ask(ctx, s, req, cairnv1.SettlementClient.ListAssets)
		if err != nil {
			return err
		}
		for _, a := range resp.GetAssets() {
			if err := each(a); err != nil {
				return err
			}
			req.After = a.GetId()
		}
		if !resp.GetMore() || len(resp.GetAssets()) == 0 {
			return nil
		}
	}
}

// Transfer returns what became of a transfer or a set, and the size of the ledger that it is as of.
// The reason of the error is UNKNOWN_ID if there is none, or none that the caller may read.
func (s *Client) Transfer(ctx context.Context, id string, at ...At) (*Transfer, uint64, error) {
	resp, err := ask(ctx, s, &cairnv1.GetTransferRequest{Id: id, At: past(at)}, cairnv1.SettlementClient.GetTransfer)
	return resp.GetTransfer(), resp.GetSize(), err
}

// Transfers calls each with the transfers and sets whose ids begin with a prefix of at least one
// byte, of those that the caller may read, ascending by id.
func (s *Client) Transfers(ctx context.Context, prefix string, each func(*Transfer) error, at ...At) error {
	req := &cairnv1.ListTransfersRequest{Prefix: prefix, At: past(at)}
	for {
		resp, err := ask(ctx, s, req, cairnv1.SettlementClient.ListTransfers)
		if err != nil {
			return err
		}
		for _, t := range resp.GetTransfers() {
			if err := each(t); err != nil {
				return err
			}
		}
		if resp.GetNext() == "" {
			return nil
		}
		req.Page, req.At = resp.GetNext(), pinned(req.At, resp.GetSize())
	}
}

// Outcome returns what came of the command at an index, with what the accounts that the caller may
// read have after it. Its results are missing when the caller may not read all that the entry
// touched. The reason of the error is UNKNOWN_ID if there is no command at the index that touched an
// account which the caller may read.
func (s *Client) Outcome(ctx context.Context, index uint64) (Outcome, error) {
	resp, err := ask(ctx, s, &cairnv1.GetOutcomeRequest{Index: index}, cairnv1.SettlementClient.GetOutcome)
	if err != nil {
		return Outcome{}, err
	}
	return outcomeOf(resp.GetOutcome())
}

// Holds calls each with the reservations that are pending, or with those that expired, in the order
// of their times: those that end before until, in µs of ledger time; 0 is all.
func (s *Client) Holds(ctx context.Context, expired bool, until int64, each func(*Transfer) error, at ...At) error {
	req := &cairnv1.ListHoldsRequest{Expired: expired, Until: until, At: past(at)}
	for {
		resp, err := ask(ctx, s, req, cairnv1.SettlementClient.ListHolds)
		if err != nil {
			return err
		}
		for _, t := range resp.GetHolds() {
			if err := each(t); err != nil {
				return err
			}
		}
		if resp.GetNext() == "" {
			return nil
		}
		req.Page, req.At = resp.GetNext(), pinned(req.At, resp.GetSize())
	}
}

// Instruction returns what became of an instruction, and the size of the ledger that it is as of.
// The reason of the error is UNKNOWN_ID if there is none, or none that the caller may read.
func (s *Client) Instruction(ctx context.Context, id string, at ...At) (*Instruction, uint64, error) {
	resp, err := ask(ctx, s, &cairnv1.GetInstructionRequest{Id: id, At: past(at)}, cairnv1.SettlementClient.GetInstruction)
	return resp.GetInstruction(), resp.GetSize(), err
}

// Instructions calls each with the instructions that are not final, in the order in which they were
// given: those of a status alone, such as "queued"; "" is all.
func (s *Client) Instructions(ctx context.Context, status string, each func(*Instruction) error) error {
	req := &cairnv1.ListInstructionsRequest{Status: status}
	for {
		resp, err := ask(ctx, s, req, cairnv1.SettlementClient.ListInstructions)
		if err != nil {
			return err
		}
		for _, i := range resp.GetInstructions() {
			if err := each(i); err != nil {
				return err
			}
		}
		if resp.GetNext() == "" {
			return nil
		}
		req.Page = resp.GetNext()
	}
}

// Statement calls each with the entries that touched an account, the newest first: those below
// toSize (0: the newest) and from fromIndex on, as of a state. It returns the account and the size
// that it is as of.
func (s *Client) Statement(ctx context.Context, account string, fromIndex, toSize uint64, each func(*StatementEntry) error, at ...At) (*Account, uint64, error) {
	req := &cairnv1.StatementRequest{Account: account, FromIndex: fromIndex, ToSize: toSize, At: past(at)}
	var first *cairnv1.StatementResponse
	for {
		resp, err := ask(ctx, s, req, cairnv1.SettlementClient.Statement)
		if err != nil {
			return nil, 0, err
		}
		if first == nil {
			first = resp
		}
		for _, e := range resp.GetEntries() {
			if err := each(e); err != nil {
				return nil, 0, err
			}
		}
		if next := resp.GetNext(); next == 0 || req.Page != 0 && next >= req.Page {
			return first.GetAccount(), first.GetSize(), nil
		}
		req.Page, req.At = resp.GetNext(), pinned(req.At, first.GetSize())
	}
}

// ProveAccount returns the file that proves an account as of a size at most atSize (0: the newest),
// or that there was no such account, and the size that it is as of. The file is not verified:
// package settlement/proof does that, with the policy.
func (s *Client) ProveAccount(ctx context.Context, id string, atSize uint64) ([]byte, uint64, error) {
	resp, err := ask(ctx, s, &cairnv1.ProveAccountRequest{Account: id, AtSize: atSize}, cairnv1.SettlementClient.ProveAccount)
	return resp.GetProof(), resp.GetSize(), err
}

// ProveStatement returns the file that proves every entry which touched an account between two
// sizes, and what the account had after each: from a size at most fromSize (0: from the beginning of
// the account) to one at most toSize (0: the newest). The leaves of entries that the caller may not
// read are not in it. The file is not verified: package settlement/proof does that, with the policy.
func (s *Client) ProveStatement(ctx context.Context, account string, fromSize, toSize uint64) ([]byte, error) {
	st := &proof.Statement{}
	first := uint64(0)
	get := func(at uint64) (*proof.Account, uint64, error) {
		raw, size, err := s.ProveAccount(ctx, account, at)
		if err != nil {
			return nil, 0, err
		}
		a, err := proof.ParseAccount(raw)
		return a, size, err
	}
	var err error
	if fromSize > 0 {
		if st.Opening, first, err = get(fromSize); err != nil {
			return nil, errors.Wrap(err, "prove the account at the beginning")
		}
	}
	var end uint64
	if st.Closing, end, err = get(toSize); err != nil {
		return nil, errors.Wrap(err, "prove the account at the end")
	}
	if st.Closing.Record == nil || end <= first {
		return st.Marshal(), nil // no entry; of sizes in the wrong order verification says so
	}
	bytes := 0
	_, _, err = s.Statement(ctx, account, first, end, func(e *StatementEntry) error {
		if bytes += 4 * (len(e.GetLeaf()) + len(e.GetDetail())) / 3; bytes > proof.MaxSize/2 {
			return errors.Newf("the statement is larger than %d MiB: choose sizes that are closer together", proof.MaxSize/2>>20)
		}
		entry := proof.StatementEntry{Index: e.GetIndex(), Detail: e.GetDetail()}
		copy(entry.Digest[:], e.GetDigest())
		if leaf := e.GetLeaf(); len(leaf) > 0 {
			d, err := settlement.ParseLeaf(entry.Index, leaf)
			if err != nil {
				return err
			}
			entry.Covered = d.Covered()
		}
		st.Entries = append(st.Entries, entry)
		return nil
	})
	slices.Reverse(st.Entries)
	return st.Marshal(), errors.Wrap(err, "read the entries of the account")
}

// ProveInstruction returns the file that proves an instruction, the counterparty's and what came of
// them, as far as the caller may read it. It is not verified.
func (s *Client) ProveInstruction(ctx context.Context, id string) ([]byte, error) {
	resp, err := ask(ctx, s, &cairnv1.ProveInstructionRequest{Id: id}, cairnv1.SettlementClient.ProveInstruction)
	return resp.GetProof(), err
}

// ProveTransfer returns the file that proves what became of a transfer or a set. It is not verified.
func (s *Client) ProveTransfer(ctx context.Context, id string) ([]byte, error) {
	resp, err := ask(ctx, s, &cairnv1.ProveTransferRequest{Id: id}, cairnv1.SettlementClient.ProveTransfer)
	return resp.GetProof(), err
}
