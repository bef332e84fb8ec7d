package proof

import (
	"bytes"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle/tlog"
)

// Is reports whether a file begins as a proof of this package does.
func Is(b []byte) bool {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return string(line) == accountKind || string(line) == transferKind || string(line) == statementKind || string(line) == instructionKind
}

// Verified is what a proof proves: one of the four.
type Verified struct {
	Account     *VerifiedAccount
	Transfer    *VerifiedTransfer
	Instruction *VerifiedInstruction
	Statement   *VerifiedStatement
}

// Verify parses and verifies a proof of any kind under a policy.
func Verify(b []byte, policy tlog.Verifier) (v Verified, err error) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	switch string(line) {
	case accountKind:
		var a *Account
		if a, err = ParseAccount(b); err == nil {
			v.Account, err = a.Verify(policy)
		}
	case transferKind:
		var t *Transfer
		if t, err = ParseTransfer(b); err == nil {
			v.Transfer, err = t.Verify(policy)
		}
	case instructionKind:
		var i *Instruction
		if i, err = ParseInstruction(b); err == nil {
			v.Instruction, err = i.Verify(policy)
		}
	case statementKind:
		var s *Statement
		if s, err = ParseStatement(b); err == nil {
			v.Statement, err = s.Verify(policy)
		}
	default:
		err = errors.Newf("no proof begins with %.40q", line)
	}
	return v, err
}

// Checkpoint returns the newest checkpoint of the proof.
func (v *Verified) Checkpoint() *tlog.VerifiedCheckpoint {
	switch {
	case v.Account != nil:
		return v.Account.Checkpoint
	case v.Transfer != nil:
		return v.Transfer.Checkpoint
	case v.Instruction != nil:
		return v.Instruction.Checkpoint
	}
	return v.Statement.Closing.Checkpoint
}
