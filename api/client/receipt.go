package client

import (
	"bytes"
	"context"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Policy says which log keys and how many cosigners a verifier demands: C2SP tlog-policy.
type Policy = tlog.Policy

// ParsePolicy reads the text of a policy.
func ParsePolicy(text []byte) (*Policy, error) { return tlog.ParsePolicy(text) }

// LoadPolicy reads a policy file.
func LoadPolicy(path string) (*Policy, error) { return tlog.LoadPolicy(path) }

// Receipt is a receipt whose proof and checkpoint were verified against a policy. Only a Client
// made with WithoutVerification returns others. Its Marshal method returns the bytes of a
// .tlog-proof file.
type Receipt struct {
	*tlog.Receipt
	entry StoredEntry
	cp    *tlog.VerifiedCheckpoint
}

// Entry returns the entry that the receipt proves: index, ledger time, principal, key and payload.
func (r *Receipt) Entry() StoredEntry { return r.entry }

// Sealed returns the checkpoint that covers the entry: origin, size and root of the ledger, and who
// cosigned.
func (r *Receipt) Sealed() *tlog.VerifiedCheckpoint { return r.cp }

// VerifyOffline verifies the bytes of a .tlog-proof file. It needs no network and no Client, and
// trusts nothing but the policy: the log's signature, the quorum of cosignatures, and the proof
// that the entry is in the signed tree must all hold. Under *Policies the receipt is judged by the
// policy of its size: one from before a change of members or keys stays valid, and one that was made
// with old keys after it is refused. The error is a *VerificationError.
func VerifyOffline(receipt []byte, policy Verifier) (*Receipt, error) {
	bad := func(err error) (*Receipt, error) { return nil, &VerificationError{What: "receipt", Err: err} }
	if p, ok := policy.(*Policy); policy == nil || ok && p == nil {
		return bad(errors.New("there is no policy to verify it with"))
	}
	parsed, err := tlog.ParseReceipt(receipt)
	if err != nil {
		return bad(err)
	}
	cp, err := policy.Verify(parsed.Checkpoint)
	if err != nil {
		return bad(err)
	}
	r, err := proved(parsed, cp)
	if err != nil {
		return bad(err)
	}
	return r, nil
}

// proved is the only maker of a Receipt. It verifies that the leaf is an entry and is in the tree
// of cp, which the caller has verified against a policy.
func proved(r *tlog.Receipt, cp *tlog.VerifiedCheckpoint) (*Receipt, error) {
	if err := merkle.VerifyInclusion(r.Index, cp.Size, merkle.LeafHash(r.Extra), r.Proof, cp.Root); err != nil {
		return nil, err
	}
	return unproved(r, cp)
}

// unproved is proved without the proof, for WithoutVerification.
func unproved(r *tlog.Receipt, cp *tlog.VerifiedCheckpoint) (*Receipt, error) {
	entry, err := parseStored(r.Index, r.Extra)
	if err != nil {
		return nil, err
	}
	return &Receipt{r, entry, cp}, nil
}

// want says what a receipt that a node shows must be about.
type want struct {
	index uint64
	entry *cairnv1.NewEntry // that this client appended; nil: any entry
}

// receiptOf is the only way from a node's answer to a Receipt: the sealed answer to an append, on a
// stream or not, the receipt fetched after a late seal, and Client.Receipt all pass here. cp is
// verified, and consistent with what is known.
func (c *Client) receiptOf(w want, parsed *tlog.Receipt, cp *Checkpoint) (*Receipt, error) {
	if parsed.Index != w.index {
		return nil, errors.Newf("it is about index %d, not %d", parsed.Index, w.index)
	}
	prove := proved
	if c.opts.unverified {
		prove = unproved
	}
	r, err := prove(parsed, cp.VerifiedCheckpoint)
	if err != nil {
		return nil, err
	}
	if w.entry == nil {
		return r, nil
	}
	same := bytes.Equal(r.entry.Key, w.entry.GetKey()) && bytes.Equal(r.entry.Payload, w.entry.GetPayload())
	if !same || r.entry.Kind != ledger.KindPayload {
		return nil, errors.New("the leaf holds another entry than the one that was appended")
	}
	if c.principal != "" && r.entry.Principal != c.principal {
		return nil, errors.Newf("the leaf names %s as its author", r.entry.Principal)
	}
	return r, nil
}

// fetch asks the nodes for a receipt, and waits until the entry is sealed.
func (c *Client) fetch(ctx context.Context, w want) (*Receipt, error) {
	req := &cairnv1.ReceiptRequest{Index: w.index, Wait: true, KnownSize: c.tracker.knownSize()}
	resp, n, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.ReceiptResponse, error) {
		return n.ledger.Receipt(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	bad := func(err error) error { return &VerificationError{What: "receipt", Node: n.Name, Err: err} }
	parsed, err := tlog.ParseReceipt(resp.Receipt)
	if err != nil {
		return nil, bad(err)
	}
	shown := &cairnv1.SealedCheckpoint{Note: parsed.Checkpoint, Consistency: resp.GetSealed().GetConsistency()}
	cp, err := c.tracker.accept(ctx, n, shown, req.KnownSize)
	if err != nil {
		return nil, err
	}
	r, err := c.receiptOf(w, parsed, cp)
	if err != nil {
		return nil, bad(err)
	}
	return r, nil
}

// Receipt returns the receipt of an entry, verified. It waits until the entry is sealed.
func (c *Client) Receipt(ctx context.Context, index uint64) (*Receipt, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	return c.fetch(ctx, want{index: index})
}

// receipts completes the results of a batch that was committed but not sealed in time. entries are
// what the caller appended. Whatever fails here, the batch is in the ledger: no error of this
// function is definite.
func (c *Client) receipts(ctx context.Context, n *node, entries []*cairnv1.NewEntry, out []Appended) error {
	for i := range out {
		r, err := c.fetch(ctx, want{index: out[i].Index, entry: entries[i]})
		if err != nil {
			return withoutReceipts(errors.Wrapf(err, "the entry is committed at index %d, but there is no receipt yet", out[i].Index), n.Name)
		}
		out[i].Receipt, out[i].Time = r, r.entry.Time
	}
	return nil
}

// withoutReceipts is the error of an append that is committed and got no receipts because of err. A
// receipt that does not verify is not a matter of time: its error stays as it is.
func withoutReceipts(err error, node string) error {
	var fork *ForkError
	var bad *VerificationError
	if errors.As(err, &fork) || errors.As(err, &bad) && !errors.Is(err, ErrNotProved) {
		return err
	}
	return &Error{Code: codes.Unavailable, Reason: ReasonNotSealed, Message: err.Error(), Node: node, cause: err}
}
