package settlepb

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/settlement"
)

func leg1(t *testing.T, account, asset, amount string) *settlement.Leg {
	t.Helper()
	d, err := settlement.ParseDecimal(amount)
	if err != nil {
		t.Fatal(err)
	}
	return &settlement.Leg{Account: account, Asset: asset, Amount: d}
}

// TestInstructionsThereAndBack: what a message says about an instruction is what the action says.
func TestInstructionsThereAndBack(t *testing.T) {
	t.Parallel()
	full := &settlement.Instruct{
		ID: "i-1", Party: "A", Counterparty: "B", Delivers: leg1(t, "a", "EUR", "12.34"), Receives: leg1(t, "b", "X", "7"),
		TradeDate: 20000, SettlementDate: 20002, Common: "c", Held: true, Partial: true, Priority: 3, Expires: 17,
		References: settlement.References(map[settlement.ReferenceKind]string{settlement.Note: "n", settlement.EndToEndID: "e"}),
		Source:     settlement.NewSource("sese.023.001.07", []byte("<x/>"), 100),
	}
	for _, a := range []settlement.Action{
		full,
		&settlement.Instruct{ID: "i-2", Party: "A", Counterparty: "B", Receives: leg1(t, "b", "X", "7"), SettlementDate: 1},
		&settlement.Instruct{ID: "i-3", Party: "A", Counterparty: "B", Delivers: leg1(t, "b", "X", "7"), SettlementDate: 1, Source: settlement.NewSource("x", []byte("y"), 0)},
		&settlement.Manage{ID: "i-1", Change: settlement.ManageHold},
		&settlement.Manage{ID: "i-1", Request: "r", Change: settlement.ManageRelease},
		&settlement.Manage{ID: "i-1", Change: settlement.ManageCancel},
	} {
		m, err := Command(a)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Action(m)
		if err != nil || !reflect.DeepEqual(back, a) {
			t.Errorf("%+v is %+v as a message, and that is %+v, %v", a, m, back, err)
		}
	}
}

// TestBadInstructions: what no instruction can say is refused with the name of the field.
func TestBadInstructions(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]func(*cairnv1.Instruct){
		"priority 4; at most 3": func(m *cairnv1.Instruct) { m.Priority = 4 },
		"priority 259":          func(m *cairnv1.Instruct) { m.Priority = 259 },
		"delivers":              func(m *cairnv1.Instruct) { m.Delivers.Amount = "-1" },
		"receives":              func(m *cairnv1.Instruct) { m.Receives.Amount = "" },
		"trade_date":            func(m *cairnv1.Instruct) { m.TradeDate = "2027-02-30" },
		"settlement_date":       func(m *cairnv1.Instruct) { m.SettlementDate = "" },
		"nonsense":              func(m *cairnv1.Instruct) { m.References = []*cairnv1.Reference{{Kind: "nonsense"}} },
		"32 bytes":              func(m *cairnv1.Instruct) { m.Source = &cairnv1.MessageSource{Digest: []byte{1}} },
	} {
		m := Instruct(&settlement.Instruct{ID: "i", Delivers: leg1(t, "a", "EUR", "1"), Receives: leg1(t, "b", "X", "7"), TradeDate: 1, SettlementDate: 2})
		change(m)
		_, err := Action(&cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_Instruct{Instruct: m}})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "instruct: ") {
			t.Errorf("%v, want an error about %q", err, says)
		}
	}
	_, err := Action(&cairnv1.SettlementCommand{Action: &cairnv1.SettlementCommand_Manage{Manage: &cairnv1.ManageInstruction{Id: "i", Change: "forget"}}})
	if err == nil || !strings.Contains(err.Error(), "hold, release or cancel") {
		t.Errorf("%v, want an error with the names of the changes", err)
	}
}

// TestMovedIsRead: the minor units of a result are the same after they were units of an asset.
func TestMovedIsRead(t *testing.T) {
	t.Parallel()
	both := &settlement.Instruction{Delivers: settlement.LegState{Account: "a"}, Receives: settlement.LegState{Account: "b"}}
	for _, scales := range []Scales{{0, 18}, {18, 0}, {2, 3}} {
		for _, n := range []settlement.Amount{{}, settlement.AmountOf(1), settlement.AmountOf(1230), settlement.MaxAmount} {
			r := settlement.Result{Status: settlement.Settled, Delivered: n, Received: settlement.AmountOf(100)}
			m := Results([]settlement.Result{r})
			m[0].Delivered, m[0].Received = Moved(&r, both, scales)
			back, err := ParseResults(m)
			if err != nil || back[0] != r {
				t.Errorf("%+v is %v, and that is %+v, %v", r, m[0], back, err)
			}
		}
	}
	delivered, received := Moved(&settlement.Result{}, &settlement.Instruction{}, Scales{})
	if delivered != "" || received != "" {
		t.Errorf("%q and %q of an instruction without legs", delivered, received)
	}
	for _, bad := range []string{"x", "1.", "-1", "0.1234567890123456789", strings.Repeat("9", 60)} {
		if _, err := ParseResults([]*cairnv1.SettlementResult{{Status: "settled", Delivered: bad}}); err == nil {
			t.Errorf("%q is read as an amount", bad)
		}
	}
}
