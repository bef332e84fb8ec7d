package proof

import (
	"bytes"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/settlement"
)

// instructionKind is the first line of the proof of an instruction.
const instructionKind = "cairn-instruction-proof v1"

// Instruction proves what an instruction says and what came of it and, if it has a match, what the
// counterparty instructed.
type Instruction struct {
	ID    string
	Given *tlog.Receipt // of the entry that gave the instruction
	// Match is the receipt of the entry that gave the counterparty's instruction, Last that of the
	// entry that gave the two their last status. Nil: none is shown.
	Match, Last *tlog.Receipt
	Details     []Detail // ascending by the receipt, in the order above, and the id of the account
}

// Marshal returns the file.
func (i *Instruction) Marshal() []byte {
	d := document{kind: instructionKind, parts: [][]byte{i.Given.Marshal()}}
	d.add("id", i.ID)
	for _, r := range []struct {
		name    string
		receipt *tlog.Receipt
	}{{"match", i.Match}, {"last", i.Last}} {
		if r.receipt == nil {
			d.add(r.name, "none")
		} else {
			d.add(r.name, "shown")
			d.parts = append(d.parts, r.receipt.Marshal())
		}
	}
	d.addDetails(i.Details)
	return d.marshal()
}

// ParseInstruction parses the file. It verifies nothing.
func ParseInstruction(b []byte) (*Instruction, error) {
	i, err := parseInstruction(b)
	if err == nil && !bytes.Equal(i.Marshal(), b) {
		err = errNotCanonical
	}
	return i, errors.Wrap(err, "parse the proof of an instruction")
}

func parseInstruction(b []byte) (*Instruction, error) {
	d, err := parseDocument(b, instructionKind)
	if err != nil {
		return nil, err
	}
	f := fields{rest: d.fields}
	i := &Instruction{ID: f.next("id")}
	match, last := f.next("match") == "shown", f.next("last") == "shown"
	i.Details = f.details()
	if err := f.end(); err != nil {
		return nil, err
	}
	if err := settlement.CheckID(i.ID); err != nil {
		return nil, err
	}
	to := []**tlog.Receipt{&i.Given}
	if match {
		to = append(to, &i.Match)
	}
	if last {
		to = append(to, &i.Last)
	}
	if len(d.parts) != len(to) {
		return nil, errors.Newf("%d parts, want %d receipts", len(d.parts), len(to))
	}
	for n := range to {
		if *to[n], err = tlog.ParseReceipt(d.parts[n]); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// VerifiedInstruction is what the proof of an instruction proves.
type VerifiedInstruction struct {
	Checkpoint *tlog.VerifiedCheckpoint // the newest of the receipts
	ID         string
	Given      *settlement.Decided
	Says       *settlement.Instruct
	// Match is the counterparty's instruction, nil if none is shown, and MatchSays what it says.
	Match     *settlement.Decided
	MatchSays *settlement.Instruct
	// Last is the entry that gave the instruction its last status, nil if none is shown. Then it may
	// have another status by now.
	Last *settlement.Decided
	// Result is what the newest entry that is shown says about the instruction.
	Result settlement.Result
	Shown  []Shown // what the file shows of accounts
}

// Verify verifies the proof under a policy.
func (i *Instruction) Verify(policy tlog.Verifier) (*VerifiedInstruction, error) {
	v, err := i.verify(policy)
	if err == nil {
		entries := []*settlement.Decided{v.Given}
		for _, d := range []*settlement.Decided{v.Match, v.Last} {
			if d != nil {
				entries = append(entries, d)
			}
		}
		v.Shown, err = shown(i.Details, entries...)
	}
	return v, errors.Wrapf(err, "verify the proof of the instruction %s", i.ID)
}

func (i *Instruction) verify(policy tlog.Verifier) (*VerifiedInstruction, error) {
	v := &VerifiedInstruction{ID: i.ID}
	read := func(r *tlog.Receipt) (*settlement.Decided, error) {
		checkpoint, d, err := decided(policy, r)
		switch {
		case err != nil:
			return nil, err
		case v.Checkpoint != nil && checkpoint.Origin != v.Checkpoint.Origin:
			return nil, errors.Newf("receipts of the ledgers %s and %s", v.Checkpoint.Origin, checkpoint.Origin)
		case v.Checkpoint == nil || checkpoint.Size > v.Checkpoint.Size:
			v.Checkpoint = checkpoint
		}
		return d, nil
	}
	var err error
	if v.Given, err = read(i.Given); err != nil {
		return nil, err
	}
	var ok bool
	if v.Says, ok = v.Given.Command.Action.(*settlement.Instruct); !ok || v.Says.ID != i.ID {
		return nil, errors.Newf("entry %d does not give the instruction", v.Given.Index)
	}
	v.Result = v.Given.Outcome.Results[0]
	if i.Last != nil {
		if v.Last, err = read(i.Last); err != nil {
			return nil, errors.Wrap(err, "last status")
		}
		if v.Result, ok = resultAbout(v.Last, i.ID); !ok || v.Last.Index < v.Given.Index {
			return nil, errors.Newf("entry %d says nothing about the instruction", v.Last.Index)
		}
		if s := v.Result.Status; s != settlement.Settled && s != settlement.Cancelled && s != settlement.Expired {
			return nil, errors.Newf("entry %d gives the instruction no last status", v.Last.Index)
		}
	}
	if i.Match == nil {
		return v, nil
	}
	if v.Match, err = read(i.Match); err != nil {
		return nil, errors.Wrap(err, "match")
	}
	if v.MatchSays, ok = v.Match.Command.Action.(*settlement.Instruct); !ok || v.Match.Index == v.Given.Index {
		return nil, errors.Newf("entry %d does not give the counterparty's instruction", v.Match.Index)
	}
	// The younger of the two, or the entry of the last status, names the match.
	for _, d := range []*settlement.Decided{v.Last, v.Given, v.Match} {
		if d == nil {
			continue
		}
		if r, found := resultAbout(d, i.ID); found && r.Index == v.Match.Index {
			return v, nil
		}
	}
	return nil, errors.Newf("no entry says that the instruction of entry %d is the match", v.Match.Index)
}

// resultAbout returns what an entry says about an instruction.
func resultAbout(d *settlement.Decided, id string) (settlement.Result, bool) {
	for _, r := range d.Outcome.Results {
		if r.ID == id {
			return r, true
		}
	}
	return settlement.Result{}, false
}
