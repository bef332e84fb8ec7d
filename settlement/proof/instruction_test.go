package proof_test

import (
	"testing"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/proof"
)

// instruct makes an instruction that delivers or receives 5 dollars.
func (b *bank) instruct(id, party, other string, delivers, receives string) *settlement.Instruct {
	i := &settlement.Instruct{ID: id, Party: "PARTY-" + party, Counterparty: "PARTY-" + other, SettlementDate: settlement.DateOf(b.time)}
	leg := &settlement.Leg{Account: party, Asset: "USD", Amount: amount(500)}
	if delivers != "" {
		i.Delivers = leg
	} else {
		i.Receives = leg
	}
	return i
}

// TestInstructions: what both sides instructed and what came of it, and nothing else.
func TestInstructions(t *testing.T) {
	b := newBank(t)
	b.do(&settlement.CreateAsset{ID: "USD", Scale: 2})
	for _, id := range []string{"a", "b", "c"} {
		b.do(&settlement.OpenAccount{ID: id, Asset: "USD", Owners: []string{"PARTY-" + id}})
	}
	at := map[string]uint64{}
	for _, i := range []*settlement.Instruct{
		b.instruct("i-a", "a", "b", "a", ""), b.instruct("i-b", "b", "a", "", "b"),
		b.instruct("j-a", "a", "c", "a", ""), b.instruct("j-c", "c", "a", "", "c"), b.instruct("open", "a", "b", "a", ""),
	} {
		at[i.ID] = b.l.Head().Size
		b.do(i)
	}
	make := func(id string, match, last string) *proof.Instruction {
		p := &proof.Instruction{ID: id, Given: b.receipt(at[id])}
		if match != "" {
			p.Match = b.receipt(at[match])
		}
		if last != "" {
			p.Last = b.receipt(at[last])
		}
		return p
	}
	for name, c := range map[string]struct {
		p    *proof.Instruction
		want settlement.Status
	}{
		"the older, whole":   {make("i-a", "i-b", "i-b"), settlement.Settled},
		"the younger, whole": {make("i-b", "i-a", "i-b"), settlement.Settled},
		"without the match":  {make("i-a", "", "i-b"), settlement.Settled},
		"the beginning":      {make("i-a", "", ""), settlement.Unmatched},
		"open":               {make("open", "", ""), settlement.Unmatched},
	} {
		v, err := proof.Verify(c.p.Marshal(), b.policy)
		if err != nil || v.Instruction.Result.Status != c.want || (v.Instruction.MatchSays != nil) != (c.p.Match != nil) {
			t.Errorf("%s: %+v, %v, want %s", name, v.Instruction, err, c.want)
		}
	}
	other := make("i-a", "i-b", "i-b")
	other.ID = "i-b"
	alone := make("i-a", "", "")
	alone.ID = "open"
	for name, p := range map[string]*proof.Instruction{
		"another id":                    alone,
		"another's match":               make("i-a", "j-c", "i-b"),
		"itself as the match":           make("i-a", "i-a", "i-b"),
		"the last status of others":     make("i-a", "", "j-c"),
		"an entry that is not the last": make("open", "", "open"),
		"another instruction":           other,
	} {
		if v, err := proof.Verify(p.Marshal(), b.policy); err == nil {
			t.Errorf("%s is proved: %+v", name, v.Instruction)
		}
	}
}
