package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/api/client/settle/gatewayledger"
	"github.com/cairnledger/cairn/settlement/gateway"
)

// messages carries out pacs.008 messages, --batch transfers at a time and --pack of them a message. A
// request is over when every message is answered by its pacs.002.
func (w *worker) messages(ctx context.Context) {
	g, err := gateway.New(gatewayledger.New(settle.New(w.c), 0), gateway.Options{Participant: "BENCHXXX", Rail: "bench"})
	for n := w.batch(ctx); n > 0; n = w.batch(ctx) {
		var in []gateway.Incoming
		for left := n; left > 0; left -= w.b.opts.Pack {
			in = append(in, gateway.Incoming{Raw: w.message(min(left, w.b.opts.Pack)), Received: time.Now()})
		}
		start := w.due(ctx)
		var answers []*gateway.Answer
		if err == nil {
			answers, err = g.AnswerAll(ctx, in)
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = allCarriedOut(answers)
		}
		w.done(start, n, err)
		if err != nil {
			pauseAfterError(ctx)
			err = nil
		}
	}
}

// message makes a pacs.008 of so many transfers between random accounts.
func (w *worker) message(n int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"><FIToFICstmrCdtTrf><GrpHdr><MsgId>%032x</MsgId>`+
		`<CreDtTm>2026-11-30T11:00:00Z</CreDtTm><NbOfTxs>%d</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf>`+
		`<InstgAgt><FinInstnId><BICFI>COBADEFFXXX</BICFI></FinInstnId></InstgAgt><InstdAgt><FinInstnId><BICFI>BNPAFRPPXXX</BICFI></FinInstnId></InstdAgt></GrpHdr>`, w.rng.Uint64(), n)
	for i := range n {
		from, to := w.rng.IntN(w.b.opts.Accounts), w.rng.IntN(w.b.opts.Accounts-1)
		if to >= from {
			to++
		}
		cents := 1 + w.rng.Uint64N(1_000_000)
		fmt.Fprintf(&b, `<CdtTrfTxInf><PmtId><InstrId>I-%[1]d</InstrId><EndToEndId>E-%[1]d</EndToEndId><TxId>T-%[1]d</TxId></PmtId>`+
			`<IntrBkSttlmAmt Ccy="USD">%[2]d.%02[3]d</IntrBkSttlmAmt><IntrBkSttlmDt>2026-11-30</IntrBkSttlmDt><ChrgBr>SHAR</ChrgBr><Dbtr><Nm>Debtor</Nm></Dbtr>`+
			`<DbtrAcct><Id><Othr><Id>%[4]s</Id></Othr></Id></DbtrAcct><DbtrAgt><FinInstnId><BICFI>COBADEFFXXX</BICFI></FinInstnId></DbtrAgt>`+
			`<CdtrAgt><FinInstnId><BICFI>BNPAFRPPXXX</BICFI></FinInstnId></CdtrAgt><Cdtr><Nm>Creditor</Nm></Cdtr>`+
			`<CdtrAcct><Id><Othr><Id>%[5]s</Id></Othr></Id></CdtrAcct><RmtInf><Ustrd>invoice %[1]d</Ustrd></RmtInf></CdtTrfTxInf>`,
			i, cents/100, cents%100, benchAccount(from), benchAccount(to))
	}
	b.WriteString(`</FIToFICstmrCdtTrf></Document>`)
	return []byte(b.String())
}

func allCarriedOut(answers []*gateway.Answer) error {
	for _, a := range answers {
		for _, i := range a.Items {
			if i.Code != "ACSC" || i.Repeated {
				return errors.Newf("a transaction was %s (%s: %s)", i.Code, i.Name, i.Text)
			}
		}
		if len(a.Items) == 0 {
			return errors.Newf("a message got the answer %.200s", a.Reply)
		}
	}
	return nil
}
