package proof

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/settlement"
)

// transferKind is the first line of the proof of a transfer.
const transferKind = "cairn-transfer-proof v1"

// Transfer proves what was asked under an id and what came of it and, of what was pending, how it
// was resolved. It shows what accounts had afterwards where it has their details, and nothing but
// the id of any other account.
type Transfer struct {
	ID         string
	Asked      *tlog.Receipt
	Resolution *tlog.Receipt // nil: none is shown
	Details    []Detail      // ascending by the receipt and the id of the account
}

// Marshal returns the file.
func (t *Transfer) Marshal() []byte {
	d := document{kind: transferKind, parts: [][]byte{t.Asked.Marshal()}}
	d.add("id", t.ID)
	d.addDetails(t.Details)
	if t.Resolution != nil {
		d.parts = append(d.parts, t.Resolution.Marshal())
	}
	return d.marshal()
}

// ParseTransfer parses the file. It verifies nothing.
func ParseTransfer(b []byte) (*Transfer, error) {
	t, err := parseTransfer(b)
	if err == nil && !bytes.Equal(t.Marshal(), b) {
		err = errNotCanonical
	}
	return t, errors.Wrap(err, "parse the proof of a transfer")
}

func parseTransfer(b []byte) (*Transfer, error) {
	d, err := parseDocument(b, transferKind)
	if err != nil {
		return nil, err
	}
	f := fields{rest: d.fields}
	t := &Transfer{ID: f.next("id"), Details: f.details()}
	if err := f.end(); err != nil {
		return nil, err
	}
	if err := settlement.CheckID(t.ID); err != nil {
		return nil, err
	}
	if n := len(d.parts); n < 1 || n > 2 {
		return nil, errors.Newf("%d parts, want one receipt or two", n)
	}
	if t.Asked, err = tlog.ParseReceipt(d.parts[0]); err != nil {
		return nil, err
	}
	if len(d.parts) == 2 {
		t.Resolution, err = tlog.ParseReceipt(d.parts[1])
	}
	return t, err
}

// VerifiedTransfer is what the proof of a transfer proves.
type VerifiedTransfer struct {
	Checkpoint *tlog.VerifiedCheckpoint // of the newer receipt
	ID         string
	Asked      *settlement.Decided
	Result     settlement.Result // of the transfer or set, when it was asked for
	// Transfers are what was asked for under the id: one transfer, or those of a set.
	Transfers []settlement.Transfer
	// Resolution is the entry that posted, voided or expired what was pending; nil if none is shown.
	// Then it may have been resolved all the same.
	Resolution *settlement.Decided
	Status     settlement.Status // as of the newest entry that is shown
	Shown      []Shown           // what the file shows of accounts
}

// Verify verifies the proof under a policy.
func (t *Transfer) Verify(policy tlog.Verifier) (*VerifiedTransfer, error) {
	v, err := t.verify(policy)
	return v, errors.Wrapf(err, "verify the proof of the transfer %s", t.ID)
}

func (t *Transfer) verify(policy tlog.Verifier) (*VerifiedTransfer, error) {
	v := &VerifiedTransfer{ID: t.ID}
	var err error
	if v.Checkpoint, v.Asked, err = decided(policy, t.Asked); err != nil {
		return nil, err
	}
	if v.Result, v.Transfers, err = asked(v.Asked, t.ID); err != nil {
		return nil, err
	}
	v.Status = v.Result.Status
	if t.Resolution == nil {
		v.Shown, err = shown(t.Details, v.Asked)
		return v, err
	}
	checkpoint, resolution, err := decided(policy, t.Resolution)
	if err != nil {
		return nil, errors.Wrap(err, "resolution")
	}
	if checkpoint.Origin != v.Checkpoint.Origin {
		return nil, errors.Newf("the resolution is of the ledger %s, the transfer of %s", checkpoint.Origin, v.Checkpoint.Origin)
	}
	if v.Status != settlement.Pending {
		return nil, errors.Newf("what was %s cannot be resolved", v.Status)
	}
	if checkpoint.Size > v.Checkpoint.Size {
		v.Checkpoint = checkpoint
	}
	v.Resolution = resolution
	if v.Status, err = resolved(resolution, v.Asked, t.ID); err != nil {
		return nil, err
	}
	v.Shown, err = shown(t.Details, v.Asked, v.Resolution)
	return v, err
}

func decided(policy tlog.Verifier, r *tlog.Receipt) (*tlog.VerifiedCheckpoint, *settlement.Decided, error) {
	checkpoint, err := policy.VerifyReceipt(r)
	if err != nil {
		return nil, nil, err
	}
	d, err := settlement.ParseLeaf(r.Index, r.Extra)
	return checkpoint, d, err
}

// asked returns what an entry asked for under an id, and what came of it.
func asked(d *settlement.Decided, id string) (settlement.Result, []settlement.Transfer, error) {
	submit, ok := d.Command.Action.(*settlement.Submit)
	if !ok {
		return settlement.Result{}, nil, errors.Newf("entry %d asks for no transfer", d.Index)
	}
	if submit.Set == id {
		return d.Outcome.Results[0], submit.Transfers, nil
	}
	i := slices.IndexFunc(submit.Transfers, func(t settlement.Transfer) bool { return t.ID == id })
	switch {
	case i < 0:
		return settlement.Result{}, nil, errors.Newf("entry %d asks for another transfer", d.Index)
	case submit.Set != "":
		return d.Outcome.Results[0], submit.Transfers[i : i+1], nil
	}
	return d.Outcome.Results[i], submit.Transfers[i : i+1], nil
}

// resolved returns what an entry made of the reservation that another one made under an id.
func resolved(d, asked *settlement.Decided, id string) (settlement.Status, error) {
	if set := asked.Command.Action.(*settlement.Submit).Set; set != "" {
		id = set // which its transfers are resolved by
	}
	switch a := d.Command.Action.(type) {
	case *settlement.Resolve:
		r := d.Outcome.Results[0]
		if a.ID == id && r.Index == asked.Index && (r.Status == settlement.Posted || r.Status == settlement.Voided) {
			return r.Status, nil
		}
	case *settlement.Advance:
		for _, r := range d.Outcome.Results {
			if r.ID == id && r.Index == asked.Index && r.Status == settlement.Expired {
				return r.Status, nil
			}
		}
	}
	return 0, errors.Newf("entry %d does not resolve it", d.Index)
}
