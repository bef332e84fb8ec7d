package settlement_test

import (
	"fmt"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/settlement"
)

// BenchmarkInstructions decides pairs of instructions that settle at once, 500 instructions a block,
// on a store in memory, while others wait for their match or in queues. An operation is a pair.
func BenchmarkInstructions(b *testing.B) {
	for _, waiting := range []int{0, 2_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			d := newDriver(b, scriptStart)
			manyPairs(d, waiting/2, 10, 12, settlement.DateOf(d.time))
			for _, id := range []string{"a", "b"} {
				for _, asset := range []string{"USD", "SEC"} {
					d.must(&settlement.OpenAccount{ID: id + asset, Asset: asset})
				}
			}
			n := 0
			for b.Loop() {
				var entries []ledger.NewEntry
				for ; len(entries) < 500; n++ {
					leg := func(account, asset string) *settlement.Leg {
						return &settlement.Leg{Account: account, Asset: asset, Amount: settlement.NewDecimal(settlement.AmountOf(uint64(1+n%250)), 0)}
					}
					for _, a := range []*settlement.Instruct{
						{ID: fmt.Sprintf("x%d", n), Party: "BANKAXXX", Counterparty: "BANKBXXX", SettlementDate: 20000, Delivers: leg("aSEC", "SEC"), Receives: leg("aUSD", "USD")},
						{ID: fmt.Sprintf("y%d", n), Party: "BANKBXXX", Counterparty: "BANKAXXX", SettlementDate: 20000, Delivers: leg("bUSD", "USD"), Receives: leg("bSEC", "SEC")},
					} {
						body, err := (&settlement.Command{Operator: true, Action: a}).Marshal()
						if err != nil {
							b.Fatal(err)
						}
						entries = append(entries, ledger.NewEntry{Kind: ledger.KindCommand, Body: body})
					}
				}
				block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, d.time, []ledger.Batch{{Principal: operatorID, Entries: entries}})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := d.l.ApplyMany([]ledger.Committed{{RaftIndex: d.l.Head().RaftIndex + 1, RaftTerm: 1, Block: block}}); err != nil {
					b.Fatal(err)
				}
			}
			if s := d.instruction(fmt.Sprintf("y%d", n-1)); s.Status != settlement.Settled {
				b.Fatalf("the last pair is %s", s.Status)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "µs/pair")
		})
	}
}
