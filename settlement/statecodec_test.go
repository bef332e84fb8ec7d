package settlement

import (
	"bytes"
	"testing"
)

// FuzzState: the row of an id is refused or encodes back to itself.
func FuzzState(f *testing.F) {
	leg := LegState{"a", "USD", AmountOf(500), AmountOf(7)}
	for _, s := range []*State{
		{kind: kindTransfer, Status: Posted, Debit: "a", Credit: "b", Amount: AmountOf(1)},
		{kind: kindSet, Status: Pending, Members: []string{"t"}, Expires: 5},
		{kind: kindInstruction, Status: Rejected, Reason: InstructionLate, Index: 4},
		{kind: kindInstruction, Status: Unmatched, Index: 4, Expires: 9, Instruction: &Instruction{Party: "A", Counterparty: "B", Delivers: leg, SettlementDate: 20514}},
		{kind: kindInstruction, Status: PartlySettled, Reason: InsufficientFunds, Index: 4, Instruction: &Instruction{
			Party: "A", Counterparty: "B", Delivers: leg, Receives: leg, TradeDate: 20513, SettlementDate: 20514, Common: "c", Priority: 3,
			Partial: true, Held: true, CancelAsked: 9, Match: "i", Waits: "a",
		}},
		{kind: kindRequest, Status: Done, Index: 4},
	} {
		f.Add(s.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseState(b)
		if err != nil {
			return
		}
		if again := s.append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x is %+v, which encodes to %x", b, s, again)
		}
	})
}
