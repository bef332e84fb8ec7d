package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
)

const (
	isin     = "DE000BAY0017"
	bankName = "spiffe://example.org/svc/bank"
)

// sese is one side of a delivery that a test instructs.
type sese struct {
	id, movement, date, quantity, amount, more string
}

// raw makes the message. A delivers to B; each has a safekeeping account and a cash account.
func (s sese) raw() []byte {
	own, payment, side := "A", "FREE", ""
	if s.movement == "RECE" {
		own = "B"
	}
	if s.amount != "" {
		payment = "APMT"
		side = fmt.Sprintf(`<SttlmAmt><Amt Ccy="EUR">%s</Amt><CdtDbtInd>%s</CdtDbtInd></SttlmAmt>`, s.amount, map[string]string{"DELI": "CRDT", "RECE": "DBIT"}[s.movement])
	}
	if s.date == "" {
		s.date = "2026-11-30"
	}
	return []byte(fmt.Sprintf(`<Document xmlns="urn:iso:std:iso:20022:tech:xsd:sese.023.001.12"><SctiesSttlmTxInstr><TxId>%s</TxId>`+
		`<SttlmTpAndAddtlParams><SctiesMvmntTp>%s</SctiesMvmntTp><Pmt>%s</Pmt><CmonId>C-1</CmonId></SttlmTpAndAddtlParams>%s`+
		`<TradDtls><TradDt><Dt><Dt>2026-11-26</Dt></Dt></TradDt><SttlmDt><Dt><Dt>%s</Dt></Dt></SttlmDt></TradDtls><FinInstrmId><ISIN>%s</ISIN></FinInstrmId>`+
		`<QtyAndAcctDtls><SttlmQty><Qty><Unit>%s</Unit></Qty></SttlmQty><SfkpgAcct><Id>%s-SAFE</Id></SfkpgAcct><CshAcct><Prtry>%s-CASH</Prtry></CshAcct></QtyAndAcctDtls>`+
		`<SttlmParams><SctiesTxTp><Cd>TRAD</Cd></SctiesTxTp><PrtlSttlmInd>PART</PrtlSttlmInd></SttlmParams>`+
		`<DlvrgSttlmPties><Pty1><Id><AnyBIC>AAAADEFFXXX</AnyBIC></Id></Pty1></DlvrgSttlmPties><RcvgSttlmPties><Pty1><Id><AnyBIC>BBBBDEFF</AnyBIC></Id></Pty1></RcvgSttlmPties>`+
		`%s</SctiesSttlmTxInstr></Document>`, s.id, s.movement, payment, s.more, s.date, isin, s.quantity, own, own, side))
}

// exchangeBooks returns a ledger on which A has 100 shares and B so much cash.
func exchangeBooks(t *testing.T, cash string) *books {
	t.Helper()
	b := newBooks(t)
	b.do(&settlement.CreateAsset{ID: isin}, &settlement.CreateAsset{ID: "EUR", Scale: 2},
		&settlement.OpenAccount{ID: "issuer", Asset: isin}, &settlement.OpenAccount{ID: "world", Asset: "EUR"})
	for _, side := range []struct{ name, bic string }{{"A", "AAAADEFF"}, {"B", "BBBBDEFF"}} {
		b.do(&settlement.OpenAccount{ID: side.name + "-SAFE/" + isin, Asset: isin, Flags: settlement.DebitsLimited, Owners: []string{side.bic, bankName}},
			&settlement.OpenAccount{ID: side.name + "-CASH", Asset: "EUR", Flags: settlement.DebitsLimited, Owners: []string{side.bic, bankName}})
	}
	b.pay("issuer", "A-SAFE/"+isin, "100")
	if cash != "0" {
		b.pay("world", "B-CASH", cash)
	}
	return b
}

// pay makes a transfer that has to be posted.
func (b *books) pay(from, to, amount string) {
	b.t.Helper()
	d, err := settlement.ParseDecimal(amount)
	if err != nil {
		b.t.Fatal(err)
	}
	b.do(&settlement.Submit{Transfers: []settlement.Transfer{{ID: fmt.Sprintf("pay-%d", b.entries), Debit: from, Credit: to, Amount: d}}})
}

// follow returns what Follow says, each notice in a line: what it is, quantity, previous and remaining
// quantity, and amount.
func follow(t *testing.T, b *books, raw []byte, from Followed) (string, Followed, bool) {
	t.Helper()
	g, err := New(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	notices, to, final, err := g.Follow(t.Context(), raw, from, noon)
	if err != nil {
		t.Fatal(err)
	}
	again, _, _, err := g.Follow(t.Context(), raw, from, noon)
	if err != nil || fmt.Sprint(again) != fmt.Sprint(notices) {
		t.Errorf("following again from the same place gives other notices: %v", err)
	}
	var all []string
	for _, n := range notices {
		words := []string{n.Definition[:8]}
		for _, name := range []string{"PrtlSttlm", "SttldQty>\n        <Qty>\n          <Unit", "PrevslySttldQty>\n        <Unit", "RmngToBeSttldQty>\n        <Unit", `Amt Ccy="EUR"`, "Cd>\n            <Cd"} {
			if _, rest, found := strings.Cut(string(n.Reply), "<"+name+">"); found {
				value, _, _ := strings.Cut(rest, "<")
				words = append(words, value)
			}
		}
		all = append(all, strings.Join(words, " "))
	}
	return strings.Join(all, ", "), to, final
}

// TestSecurities: two instructions match and settle; each is answered and confirmed, once.
func TestSecurities(t *testing.T) {
	b := exchangeBooks(t, "5000")
	deliver, receive := sese{id: "D-1", movement: "DELI", quantity: "100", amount: "5000.00"}.raw(), sese{id: "R-1", movement: "RECE", quantity: "100", amount: "5000"}.raw()
	first := send(t, b, opts, deliver)
	wantSays(t, first, "done sese.024.001.13 Umtchd")
	if !strings.Contains(string(first.Reply), "<Umtchd>") || !strings.Contains(string(first.Reply), "CMIS") || first.Follow != "COBADEFFXXX/rtgs/sese.023/D-1/TxId=D-1" {
		t.Errorf("the answer, to be followed as %q, is\n%s", first.Follow, first.Reply)
	}
	if says, _, final := follow(t, b, deliver, Followed{}); says != "" || final {
		t.Errorf("before it has settled: %q, final %v", says, final)
	}
	wantSays(t, send(t, b, opts, receive), "done sese.024.001.13 Settled")
	for _, raw := range [][]byte{deliver, receive} {
		says, to, final := follow(t, b, raw, Followed{})
		if says != "sese.025 100 5000.00" || !final {
			t.Errorf("the confirmation says %q, final %v", says, final)
		}
		if says, _, final := follow(t, b, raw, to); says != "" || !final {
			t.Errorf("it is confirmed again: %q", says)
		}
	}
	if b.balance("B-SAFE/"+isin) != "100" || b.balance("A-CASH") != "5000.00" {
		t.Errorf("the accounts have %s and %s", b.balance("B-SAFE/"+isin), b.balance("A-CASH"))
	}
	// The same again has the first answer, in another envelope too, and moves nothing; another one under
	// the identification is refused.
	entries := b.entries
	again := send(t, b, opts, deliver)
	wantSays(t, again, "done sese.024.001.13 Umtchd/again")
	if string(again.Reply) != string(first.Reply) || b.entries != entries {
		t.Errorf("%d entries more; the answer is\n%s", b.entries-entries, again.Reply)
	}
	other := send(t, b, opts, sese{id: "D-1", movement: "DELI", quantity: "99", amount: "5000"}.raw())
	wantSays(t, other, "rejected sese.024.001.13 Rjctd/REFE/conflict")
	if other.Follow != "" {
		t.Error("a rejected message is followed")
	}
	g, err := New(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, items, err := g.FindAll(t.Context(), deliver); err != nil || foundWords(items[0]) != "Settled" {
		t.Errorf("it is found as %v: %v", items, err)
	}
	if i, err := g.Find(t.Context(), "R-1", "R-1"); err != nil || foundWords(i) != "Settled" {
		t.Errorf("it is found as %v: %v", i, err)
	}
}

// TestFollowNeedsEverything: while the ledger does not show all that has settled, nothing is final; and
// what was configured for accounts meanwhile does not matter.
func TestFollowNeedsEverything(t *testing.T) {
	b := exchangeBooks(t, "5000")
	raw := sese{id: "D-1", movement: "DELI", quantity: "100", amount: "5000"}.raw()
	send(t, b, opts, raw)
	send(t, b, opts, sese{id: "R-1", movement: "RECE", quantity: "100", amount: "5000"}.raw())
	o := opts
	o.Accounts = map[string]string{"A-SAFE": "another", "A-CASH": "another"}
	g, err := New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	b.forgetful = true
	if notices, _, final, err := g.Follow(t.Context(), raw, Followed{}, noon); err == nil || final || len(notices) > 0 {
		t.Errorf("%d notices, final %v: %v", len(notices), final, err)
	}
	b.forgetful = false
	if notices, _, final, err := g.Follow(t.Context(), raw, Followed{}, noon); err != nil || !final || len(notices) != 1 {
		t.Errorf("%d notices, final %v: %v", len(notices), final, err)
	}
}

// TestSecuritiesInParts: every part is confirmed by itself, with what was before and what is left,
// however often in between it is asked.
func TestSecuritiesInParts(t *testing.T) {
	for _, patience := range []int{1, 3} { // asked after every part, or once at the end
		b := exchangeBooks(t, "1000")
		raw := sese{id: "D-1", movement: "DELI", quantity: "100", amount: "5000"}.raw()
		wantSays(t, send(t, b, opts, raw), "done sese.024.001.13 Umtchd")
		wantSays(t, send(t, b, opts, sese{id: "R-1", movement: "RECE", quantity: "100", amount: "5000"}.raw()), "done sese.024.001.13 Pdg")
		var from Followed
		var all []string
		final := false
		for part := range 3 {
			if part > 0 {
				b.pay("world", "B-CASH", "2000")
				b.advance()
			}
			if (part+1)%patience != 0 {
				continue
			}
			var says string
			says, from, final = follow(t, b, raw, from)
			all = append(all, says)
			reads := b.statements
			if says, _, _ := follow(t, b, raw, from); says != "" || b.statements != reads {
				t.Errorf("nothing new, and %q after %d reads of the account", says, b.statements-reads)
			}
		}
		want := "sese.025 PAIN 20 0 80 1000.00, sese.025 PAIN 40 20 40 2000.00, sese.025 PARC 40 60 0 2000.00"
		if got := strings.Join(all, ", "); got != want || !final {
			t.Errorf("the confirmations say %q, final %v; want %q", got, final, want)
		}
	}
}

// TestSecuritiesWait: what an instruction waits for is told when it changes, and once.
func TestSecuritiesWait(t *testing.T) {
	b := exchangeBooks(t, "0")
	raw := sese{id: "D-1", movement: "DELI", quantity: "100", amount: "5000"}.raw()
	from := Followed{State: send(t, b, opts, raw).State}
	held := sese{id: "R-1", movement: "RECE", quantity: "100", amount: "5000"}.raw()
	held = []byte(strings.Replace(string(held), "<SttlmParams>", "<SttlmParams><HldInd><Ind>true</Ind></HldInd>", 1))
	id := func(name string) string { return "COBADEFFXXX/rtgs/sese.023/" + name + "/TxId=" + name }
	g, err := New(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	for _, c := range []struct {
		what string
		do   func()
		late time.Duration
		want string // file name of what is told, and words in it
	}{
		{"nothing", func() {}, 0, ""},
		{"matched, the other side on hold", func() { send(t, b, opts, held) }, 0, "1-held Pdg PRCY"},
		{"nothing", func() {}, 0, ""},
		{"both on hold", func() { b.do(&settlement.Manage{ID: id("D-1"), Change: settlement.ManageHold}) }, 0, "2-held Pdg PREA"},
		{"released", func() {
			b.do(&settlement.Manage{ID: id("D-1"), Change: settlement.ManageRelease}, &settlement.Manage{ID: id("R-1"), Change: settlement.ManageRelease})
		}, 0, "3-queued Pdg OTHR insufficient_funds"},
		{"the end of the settlement date", func() {}, 0, ""},
		{"the day after", func() {}, day, "4-queued Flng OTHR insufficient_funds"},
		{"nothing", func() {}, day, ""},
		{"a part", func() { b.pay("world", "B-CASH", "2000"); b.advance() }, day, "sese.025 5-partly_settled Flng OTHR insufficient_funds"},
		{"the rest", func() { b.pay("world", "B-CASH", "3000"); b.advance() }, day, "sese.025"},
	} {
		c.do()
		notices, to, _, err := g.Follow(t.Context(), raw, from, noon.Add(c.late))
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		from = to
		text := ""
		for _, n := range notices {
			if n.State == "" {
				text += n.Definition[:8] + " "
			} else {
				text += n.State + " " + string(n.Reply)
			}
		}
		if (text == "") != (c.want == "") {
			t.Errorf("%s: %d notices, want %q: %s", c.what, len(notices), c.want, text)
		}
		for _, word := range strings.Fields(c.want) {
			if !strings.Contains(text, word) {
				t.Errorf("%s: %q is not told: %s", c.what, word, text)
			}
		}
	}
	if from.Settled != "100" {
		t.Errorf("it has followed %+v", from)
	}
}

// TestSecuritiesEnd: what does not settle any more is told.
func TestSecuritiesEnd(t *testing.T) {
	b := exchangeBooks(t, "0")
	raw := sese{id: "D-1", movement: "DELI", quantity: "100"}.raw()
	wantSays(t, send(t, b, opts, raw), "done sese.024.001.13 Umtchd")
	b.do(&settlement.Manage{ID: "COBADEFFXXX/rtgs/sese.023/D-1/TxId=D-1", Change: settlement.ManageCancel})
	says, to, final := follow(t, b, raw, Followed{})
	if says != "sese.024 CANI" || !final {
		t.Errorf("it says %q, final %v", says, final)
	}
	if to.Last == 0 {
		t.Error("it does not say how far it has followed")
	}
}

// TestSecuritiesRules: what a message says, and what comes of it.
func TestSecuritiesRules(t *testing.T) {
	ok := sese{id: "D-1", movement: "DELI", quantity: "100", amount: "5000"}
	change := func(old, new string) []byte {
		raw := string(ok.raw())
		if strings.Count(raw, old) == 0 {
			t.Fatalf("the message has no %q", old)
		}
		return []byte(strings.Replace(raw, old, new, 1))
	}
	linked := ok
	linked.more = `<Lnkgs><PrcgPos><Cd>AFTE</Cd></PrcgPos><Ref><SctiesSttlmTxId>D-0</SctiesSttlmTxId></Ref></Lnkgs>`
	told := linked
	told.more = strings.Replace(linked.more, "AFTE", "INFO", 1)
	for _, c := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"in order", ok.raw(), "done sese.024.001.13 Umtchd"},
		{"an unknown account", change("A-SAFE", "X-SAFE"), "rejected sese.024.001.13 Rjctd/SAFE/debit_account_unknown"},
		{"an unknown cash account", change("A-CASH", "X-CASH"), "rejected sese.024.001.13 Rjctd/CASH/credit_account_unknown"},
		{"a fraction of a share", change("<Unit>100", "<Unit>100.5"), "rejected sese.024.001.13 Rjctd/OTHR/amount_scale"},
		{"a link that decides", linked.raw(), "rejected sese.024.001.13 Rjctd/LINK/link"},
		{"a link that informs", told.raw(), "done sese.024.001.13 Umtchd"},
		{"no date", change("<SttlmDt><Dt><Dt>2026-11-30</Dt></Dt>", "<SttlmDt><DtCd><Cd>OPEN</Cd></DtCd>"), "rejected sese.024.001.13 Rjctd/DDAT/settlement_date"},
		{"no own party", change("<DlvrgSttlmPties><Pty1><Id><AnyBIC>AAAADEFFXXX</AnyBIC></Id></Pty1></DlvrgSttlmPties>", ""), "rejected sese.024.001.13 Rjctd/DEPT/party_missing"},
		{"a wrong ISIN", change(isin, "DE000BAY0018"), "rejected sese.024.001.13"},
	} {
		if a := send(t, exchangeBooks(t, "0"), opts, c.raw); says(a) != c.want {
			t.Errorf("%s: %s, want %s\n%s", c.name, says(a), c.want, a.Reply)
		} else if a.Rejected && !strings.Contains(string(a.Reply), "<Rjctd>") {
			t.Errorf("%s: the answer is\n%s", c.name, a.Reply)
		}
	}
	// The ledger decides for whom a participant may instruct.
	bank := exchangeBooks(t, "0").as(bankName)
	wantSays(t, send(t, bank, opts, change("AAAADEFFXXX", "AAAADEFF001")), "rejected sese.024.001.13 Rjctd/DEPT/party_not_owner")
	wantSays(t, send(t, bank, opts, sese{id: "D-2", movement: "DELI", quantity: "1"}.raw()), "done sese.024.001.13 Umtchd")
	wantSays(t, send(t, bank.as("spiffe://example.org/svc/thief"), opts, sese{id: "D-3", movement: "DELI", quantity: "1"}.raw()), "rejected sese.024.001.13 Rjctd/OTHR/not_permitted")
	in, p := opts.instruct(decoded(t, change("<SttlmParams>", "<SttlmParams><HldInd><Ind>true</Ind></HldInd><Prty><Nmrc>0002</Nmrc></Prty>")), "x")
	if p != nil || !in.Held || !in.Partial || in.Priority != 2 || in.Party != "AAAADEFF" || in.Counterparty != "BBBBDEFF" || in.Common != "C-1" ||
		in.TradeDate.String() != "2026-11-26" || in.SettlementDate.String() != "2026-11-30" || in.Delivers.Asset != isin || in.Receives.Account != "A-CASH" {
		t.Errorf("the instruction is %+v: %v", in, p)
	}
	o := opts
	o.Accounts = map[string]string{"A-SAFE/" + isin: "one", "A-SAFE": "other", "AAAADEFF/EUR": "cash"}
	in, _ = o.instruct(decoded(t, change("<CshAcct><Prtry>A-CASH</Prtry></CshAcct>", "")), "x")
	if in.Delivers.Account != "one" || in.Receives.Account != "cash" {
		t.Errorf("the configured accounts are %s and %s", in.Delivers.Account, in.Receives.Account)
	}
}

func decoded(t *testing.T, raw []byte) *iso20022.Message {
	t.Helper()
	m, err := iso20022.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSecuritiesAudit: an instruction that says something else than its message is named.
func TestSecuritiesAudit(t *testing.T) {
	b := exchangeBooks(t, "0")
	send(t, b, opts, sese{id: "D-1", movement: "DELI", quantity: "100", amount: "5000"}.raw())
	for _, c := range []struct {
		change func(in *settlement.Instruct)
		want   string
	}{
		{func(*settlement.Instruct) {}, ""},
		{func(in *settlement.Instruct) { in.Delivers.Amount.Coefficient.Lo++ }, "delivers"},
		{func(in *settlement.Instruct) { in.Receives.Account = "thief" }, "receives"},
		{func(in *settlement.Instruct) { in.Receives = nil }, "receives"},
		{func(in *settlement.Instruct) { in.Counterparty = "THIEF" }, "counterparty"},
		{func(in *settlement.Instruct) { in.ID += "x" }, "id"},
		{func(in *settlement.Instruct) { in.SettlementDate++ }, "settlement_date"},
		{func(in *settlement.Instruct) { in.Held = true }, "held"},
		{func(in *settlement.Instruct) { in.Expires = 1 }, "expires"},
	} {
		command := b.leaf(b.l.Head().Size - 1).Command
		c.change(command.Action.(*settlement.Instruct))
		audit := NewAudit(Options{}, nil)
		got := ""
		for _, d := range audit.Check(1, command) {
			got += d.Field
		}
		if got != c.want || audit.Compared != 1 {
			t.Errorf("differences in %q, want %q", got, c.want)
		}
	}
}
