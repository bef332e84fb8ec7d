package gateway

import (
	"fmt"
	"slices"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
)

// originals looks for the transfers that the items are about, and then goes on. It tries one
// candidate of each item after the other. A transfer that contradicts what the message says about
// the original is not taken: nothing is returned, cancelled or posted on a guess.
func (e *exchange) originals(then func() step) step {
	for _, it := range e.items {
		if e.m.Type() != "pacs.004" {
			it.id = "" // the message itself makes no transfer
		}
		if it.problem == nil {
			it.candidates = e.g.options.candidates(e.m, &it.tx.Original)
		}
	}
	return e.lookUp(then)
}

func (e *exchange) lookUp(then func() step) step {
	var reads []string
	for _, it := range e.items {
		if it.original == nil && len(it.candidates) > 0 && !slices.Contains(reads, it.candidates[0]) {
			reads = append(reads, it.candidates[0])
		}
	}
	if len(reads) == 0 {
		return then()
	}
	return step{reads: reads, then: func(f *facts) step {
		for _, it := range e.items {
			if it.original != nil || len(it.candidates) == 0 {
				continue
			}
			id := it.candidates[0]
			it.candidates = it.candidates[1:]
			t := f.transfers[id]
			if t == nil {
				continue
			}
			if it.problem = contradiction(&it.tx.Original, t); it.problem == nil {
				it.original = t
			}
			it.candidates = nil
		}
		return e.lookUp(then)
	}}
}

// candidates returns the ids that the transfer of an original transaction may have, the most likely
// one first.
func (o *Options) candidates(m *iso20022.Message, original *iso20022.Original) []string {
	if original.MessageID == "" {
		return nil
	}
	var ids []string
	for _, kind := range kindsOf(original) {
		for _, participant := range o.participants(m) {
			for _, transaction := range transactionsOf(kind, original) {
				id := iso20022.Identity{Participant: participant, Rail: o.Rail, Type: kind, Message: original.MessageID, Transaction: transaction}
				ids = append(ids, id.Key())
			}
		}
	}
	return ids
}

// transactionsOf returns how an original transaction may be named in its own message.
func transactionsOf(kind string, o *iso20022.Original) []string {
	names := []struct{ kind, value string }{{"TxId=", o.TransactionID}, {"InstrId=", o.InstructionID}, {"EndToEndId=", o.EndToEndID}}
	if kind == "pacs.004" {
		names = names[:1]
		names[0].kind = "OwnId=" // a return is named by RtrId, which reports give as OrgnlTxId
	}
	var all []string
	for _, n := range names {
		if n.value != "" && n.value != "NOTPROVIDED" {
			all = append(all, n.kind+n.value)
		}
	}
	return all
}

// contradiction says what a message says otherwise about an original than the ledger.
func contradiction(o *iso20022.Original, t *Transfer) *problem {
	for _, f := range []struct {
		name, said string
		kind       settlement.ReferenceKind
	}{
		{"OrgnlUETR", o.UETR, settlement.UETR}, {"OrgnlEndToEndId", o.EndToEndID, settlement.EndToEndID},
		{"OrgnlInstrId", o.InstructionID, settlement.InstructionID}, {"OrgnlTxId", o.TransactionID, settlement.TransactionID},
	} {
		if has := t.reference(f.kind); f.said != "" && has != "" && clean(f.said) != has {
			return differs(f.name, f.said, has)
		}
	}
	if o.Settlement.Value == "" || t.Asset == "" {
		return nil
	}
	said, err := settlement.ParseDecimal(o.Settlement.Value)
	has, err2 := settlement.ParseDecimal(t.Amount)
	if err != nil || err2 != nil || said != has || o.Settlement.Currency != t.Asset {
		return differs("OrgnlIntrBkSttlmAmt", o.Settlement.Value+" "+o.Settlement.Currency, t.Amount+" "+t.Asset)
	}
	return nil
}

func differs(name, said, has string) *problem {
	return &problem{codeReference, "original_contradicts", fmt.Sprintf("%s is %.40s, but the transaction of this identification has %.40s: correct the message", name, said, has)}
}
