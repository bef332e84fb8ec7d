package proof

import (
	"bytes"
	"crypto/sha256"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/accountmap"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/settlement"
)

// accountKind is the first line of the proof of an account.
const accountKind = "cairn-account-proof v1"

// Account proves what an account had as of a size, or that there was no such account. It is
// complete: no entry below the size that touches the account is missing in it.
type Account struct {
	ID string
	// Record is the record of the account; nil when there is no such account.
	Record []byte
	Map    accountmap.Proof
	// Root is the receipt of the record that publishes the root of the map (ledger.MapRoot). The
	// size that the proof is about is its index + 1.
	Root *tlog.Receipt
}

// Marshal returns the file.
func (a *Account) Marshal() []byte {
	d := document{kind: accountKind, parts: [][]byte{a.Root.Marshal()}}
	d.add("account", a.ID)
	if a.Record == nil {
		d.add("record", "none")
	} else {
		d.addBytes("record", a.Record)
	}
	d.addBytes("map", a.Map.Append(nil))
	return d.marshal()
}

// ParseAccount parses the file. It verifies nothing.
func ParseAccount(b []byte) (*Account, error) {
	a, err := parseAccount(b)
	if err == nil && !bytes.Equal(a.Marshal(), b) {
		err = errNotCanonical
	}
	return a, errors.Wrap(err, "parse the proof of an account")
}

func parseAccount(b []byte) (*Account, error) {
	d, err := parseDocument(b, accountKind)
	if err != nil {
		return nil, err
	}
	f := fields{rest: d.fields}
	a := &Account{ID: f.next("account")}
	if f.is("record") && f.rest[0].value == "none" {
		f.next("record")
	} else if a.Record = f.bytes("record"); len(a.Record) == 0 {
		f.fail("an empty record")
	}
	path := f.bytes("map")
	if err := f.end(); err != nil {
		return nil, err
	}
	if err := settlement.CheckID(a.ID); err != nil {
		return nil, err
	}
	if a.Map, err = accountmap.ParseProof(path); err != nil {
		return nil, err
	}
	if len(d.parts) != 1 {
		return nil, errors.Newf("%d parts, want one receipt", len(d.parts))
	}
	a.Root, err = tlog.ParseReceipt(d.parts[0])
	return a, err
}

// VerifiedAccount is what the proof of an account proves.
type VerifiedAccount struct {
	Checkpoint *tlog.VerifiedCheckpoint // its origin is the ledger
	ID         string
	Size       uint64 // the state is what the entries below it left
	Time       int64  // ledger time of the last of them, µs since the Unix epoch
	Accounts   uint64 // how many accounts the ledger had
	// Account is nil when the ledger had no such account.
	Account *settlement.Account
}

// Verify verifies the proof under a policy.
func (a *Account) Verify(policy tlog.Verifier) (*VerifiedAccount, error) {
	v, err := a.verify(policy)
	return v, errors.Wrapf(err, "verify the proof of the account %s", a.ID)
}

func (a *Account) verify(policy tlog.Verifier) (*VerifiedAccount, error) {
	checkpoint, err := policy.VerifyReceipt(a.Root)
	if err != nil {
		return nil, err
	}
	entry, err := ledger.ParseLeaf(a.Root.Extra)
	if err != nil {
		return nil, errors.Wrapf(err, "entry %d", a.Root.Index)
	}
	root, err := ledger.ParseMapRoot(a.Root.Index, &entry)
	if err != nil {
		return nil, err
	}
	record, present, err := a.Map.Verify(root.Root, accountmap.KeyOf(checkpoint.Origin, []byte(a.ID)))
	if err != nil {
		return nil, err
	}
	v := &VerifiedAccount{Checkpoint: checkpoint, ID: a.ID, Size: root.Index + 1, Time: entry.Time, Accounts: root.Accounts}
	switch {
	case present && a.Record == nil:
		return nil, errors.New("the map has the account, and the file does not show its record")
	case !present && a.Record != nil:
		return nil, errors.New("the map has no such account, and the file shows a record")
	case !present:
		return v, nil
	case sha256.Sum256(a.Record) != record:
		return nil, errors.New("the record is not the one that the map has")
	}
	if v.Account, err = settlement.ParseAccount(a.Record); err != nil {
		return nil, err
	}
	if v.Account.ID != a.ID {
		return nil, errors.Newf("the record is that of the account %s", v.Account.ID)
	}
	return v, nil
}
