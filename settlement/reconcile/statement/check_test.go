package statement_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
	"github.com/cairnledger/cairn/settlement/reconcile/statement/statementtest"
)

func amount(t *testing.T, s string) statement.Amount {
	t.Helper()
	a, err := statement.ParseAmount(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// codes returns the findings as "code" or "code!" for a break, each with its text.
func codes(findings []statement.Finding) string {
	var all []string
	for _, f := range findings {
		mark := ""
		if f.Break {
			mark = "!"
		}
		all = append(all, f.Code+mark)
	}
	return strings.Join(all, " ")
}

func bal(code, amount, indicator string) string {
	return `<Bal><Tp><CdOrPrtry><Cd>` + code + `</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">` + amount + `</Amt><CdtDbtInd>` + indicator + `</CdtDbtInd><Dt><Dt>2026-11-30</Dt></Dt></Bal>`
}

// Each contradiction in a statement is named once.
func TestCheck(t *testing.T) {
	balances := bal("OPBD", "100.00", "CRDT") + bal("CLBD", "110.00", "CRDT")
	ten := entry("10.00", "CRDT", "")
	for _, c := range []struct {
		name, want, text string
		parts            []string
	}{
		{"in order", "", "", []string{balances, ten}},
		{"an entry is missing", "balance!", "the difference is 10.00 EUR", []string{balances}},
		{"overdrawn", "", "", []string{bal("OPBD", "5", "DBIT"), bal("CLBD", "5", "CRDT"), ten}},
		{"pending entries do not count", "", "", []string{balances, ten, strings.Replace(ten, "BOOK", "PDNG", 1)}},
		{"no closing balance", "balance_missing!", "there is no closing balance", []string{bal("OPBD", "100", "CRDT"), ten}},
		{"no opening balance", "balance_missing!", "there is no opening balance", []string{bal("CLBD", "100", "CRDT"), ten}},
		{"available balances alone", "", "", []string{bal("OPAV", "100", "CRDT"), bal("CLAV", "110", "CRDT"), ten}},
		{"available balances beside booked ones", "", "", []string{balances, bal("CLAV", "90", "CRDT"), ten}},
		{"previous closing balance", "", "", []string{bal("PRCD", "100", "CRDT"), bal("CLBD", "110", "CRDT"), ten}},
		{"previous closing balance differs", "opening_differs!", "is 99 EUR", []string{balances, bal("PRCD", "99", "CRDT"), ten}},
		{"middle page in two interim balances", "", "", []string{bal("ITBD", "100", "CRDT"), bal("ITBD", "110", "CRDT"), ten}},
		{"first page", "", "", []string{bal("OPBD", "100", "CRDT"), bal("ITBD", "110", "CRDT"), ten}},
		{"last page", "balance!", "", []string{bal("ITBD", "100", "CRDT"), bal("CLBD", "111", "CRDT"), ten}},
		{"count", "summary!", "the summary counts 2 entries, and there are 1", []string{balances, "<TxsSummry><TtlNtries><NbOfNtries>2</NbOfNtries></TtlNtries></TxsSummry>", ten}},
		{"net", "summary!", "10.01 for credits less debits", []string{balances, "<TxsSummry><TtlNtries><TtlNetNtry><Amt>10.01</Amt><CdtDbtInd>CRDT</CdtDbtInd></TtlNetNtry></TtlNtries></TxsSummry>", ten}},
		{"debits", "summary! summary!", "the summary counts 1 debits, and there are 0", []string{balances, "<TxsSummry><TtlDbtNtries><NbOfNtries>1</NbOfNtries><Sum>3</Sum></TtlDbtNtries></TxsSummry>", ten}},
		{"the summary of a page may be that of the statement", "", "", []string{"<StmtPgntn><PgNb>1</PgNb><LastPgInd>false</LastPgInd></StmtPgntn>", balances, "<TxsSummry><TtlNtries><NbOfNtries>2</NbOfNtries></TtlNtries></TxsSummry>", ten}},
		{"sign of reversals", "summary! reversal_sign", "the other sign", []string{balances, "<TxsSummry><TtlNtries><TtlNetNtry><Amt>10</Amt><CdtDbtInd>DBIT</CdtDbtInd></TtlNetNtry></TtlNtries></TxsSummry>", entry("10.00", "CRDT", "<RvslInd>true</RvslInd>")}},
		{"batch count", "batch!", "3 transactions by its number and 2", []string{balances, entry("10.00", "CRDT", batch("<NbOfTxs>3</NbOfTxs>", "4", "6"))}},
		{"batch in one sum", "", "", []string{balances, entry("10.00", "CRDT", "<NtryDtls><Btch><NbOfTxs>3</NbOfTxs></Btch></NtryDtls>")}},
		{"batch in one sum, which is repeated as its transaction", "", "", []string{balances, entry("10.00", "CRDT", batch("<NbOfTxs>3</NbOfTxs>", "10"))}},
		{"batch of the other direction", "batch!", "a total of 10 EUR, and the entry is -10 EUR", []string{bal("OPBD", "10", "CRDT"), bal("CLBD", "0", "CRDT"), entry("10", "DBIT", `<NtryDtls><Btch><TtlAmt Ccy="EUR">10</TtlAmt><CdtDbtInd>CRDT</CdtDbtInd></Btch></NtryDtls>`)}},
		{"batch total", "batch! batch!", "a total of 11 EUR, and its transactions add up to 10 EUR", []string{balances, entry("10.00", "CRDT", batch(`<NbOfTxs>2</NbOfTxs><TtlAmt Ccy="EUR">11</TtlAmt>`, "4", "6"))}},
		{"transactions", "entry_sum!", "add up to 11 EUR, and the entry is 10.00 EUR", []string{balances, entry("10.00", "CRDT", batch("", "4", "7"))}},
		{"transactions before charges", "entry_sum!", "the bank states charges of 1", []string{balances, entry("10.00", "CRDT", `<Chrgs><Rcrd><Amt Ccy="EUR">1</Amt></Rcrd></Chrgs>`+batch("", "4", "7"))}},
	} {
		findings := read(t, message(c.parts...)).Check()
		if got := codes(findings); got != c.want {
			t.Errorf("%s: the findings are %q, want %q: %+v", c.name, got, c.want, findings)
		} else if c.text != "" && !strings.Contains(findings[0].Text+findings[len(findings)-1].Text, c.text) {
			t.Errorf("%s: no finding says %q: %+v", c.name, c.text, findings)
		}
	}
}

func batch(information string, amounts ...string) string {
	s := "<NtryDtls>"
	if information != "" {
		s += "<Btch>" + information + "</Btch>"
	}
	for _, a := range amounts {
		s += `<TxDtls><Amt Ccy="EUR">` + a + `</Amt><CdtDbtInd>CRDT</CdtDbtInd></TxDtls>`
	}
	return s + "</NtryDtls>"
}

func TestRunningBalances(t *testing.T) {
	m := mapping(t, "currency: EUR\ncolumns: {booked: d, amount: a, balance: b}")
	read := func(table string) []statement.Finding {
		statements, err := statement.ReadCSV([]byte(table), m)
		if err != nil {
			t.Fatal(err)
		}
		return statements[0].Check()
	}
	if got := codes(read("d,a,b\n2026-11-30,1,11\n2026-11-30,2,\n2026-11-30,3,16\n")); got != "" {
		t.Errorf("a table in order has the findings %s", got)
	}
	if got := codes(read("d,a,b\n2026-11-30,1,11\n2026-11-30,3,16\n2026-11-30,1,17\n")); got != "balance! running_balance!" {
		t.Errorf("with a row missing the findings are %s", got)
	}
}

func TestFlipReversals(t *testing.T) {
	s := read(t, message(entry("10.00", "CRDT", "<RvslInd>true</RvslInd>"+batch(`<TtlAmt Ccy="EUR">10</TtlAmt>`, "4", "6")), entry("1", "DBIT", "")))
	s.FlipReversals()
	if s.Entries[0].Amount.String() != "-10.00" || s.Entries[0].Transactions[1].Amount.String() != "-6" || s.Entries[1].Amount.String() != "-1" {
		t.Errorf("entries %+v", s.Entries)
	}
	for _, f := range s.Check() {
		if f.Code != statement.BalanceMissing {
			t.Errorf("finding %+v", f)
		}
	}
}

// pages returns one statement on three pages.
func pages(t *testing.T, kind statement.Kind) []statement.Statement {
	s := statementtest.Random(rand.New(rand.NewPCG(3, 3)), kind, 8)
	s.Summary = nil
	var all []statement.Statement
	balance := s.Balances[0].Amount
	n := (len(s.Entries) + 2) / 3
	if n == 0 {
		t.Fatal("the statement has no entries")
	}
	for page := 1; page <= 3; page++ {
		p := s
		p.Page, p.LastPage, p.ID, p.Sequence = page, page == 3, "PAGED", 7
		p.Entries = s.Entries[min(len(s.Entries), n*(page-1)):min(len(s.Entries), n*page)]
		opening, closing := "OIBD", "ITBD"
		if page == 1 {
			opening = "OPBD"
		}
		if page == 3 {
			closing = "CLBD"
		}
		p.Balances = []statement.Balance{{Code: opening, Amount: balance, Currency: "EUR", Day: s.From}}
		balance = balance.Add(p.BookedSum("EUR"))
		p.Balances = append(p.Balances, statement.Balance{Code: closing, Amount: balance, Currency: "EUR", Day: s.From})
		all = append(all, p)
	}
	return all
}

func join(t *testing.T, statements ...statement.Statement) *statement.Joined {
	t.Helper()
	j, err := statement.Join(statements)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// Pages in any order give one statement, and each contradiction between them is named.
func TestJoinPages(t *testing.T) {
	all := pages(t, statement.EndOfDay)
	want := fmt.Sprintf("%+v", join(t, all...))
	if f := join(t, all...).Findings; len(f) > 0 {
		t.Fatalf("pages in order have the findings %+v", f)
	}
	for seed := range uint64(20) {
		shuffled := slices.Clone(all)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(shuffled), func(i, k int) { shuffled[i], shuffled[k] = shuffled[k], shuffled[i] })
		if j := join(t, shuffled...); len(j.Entries) != len(all[0].Entries)+len(all[1].Entries)+len(all[2].Entries) || len(j.Findings) > 0 || j.Statements[1].Page != 2 {
			t.Fatalf("order %d: %+v\nwant %s", seed, j, want)
		}
	}
	changed := all[1]
	changed.Balances = slices.Clone(changed.Balances)
	changed.Balances[0].Amount = changed.Balances[0].Amount.Add(amount(t, "0.01"))
	for _, c := range []struct {
		name, want string
		statements []statement.Statement
	}{
		{"a page twice", "repeated", []statement.Statement{all[0], all[1], all[1], all[2]}},
		{"no page 2", "gap! gap!", []statement.Statement{all[0], all[2]}},
		{"no page 1", "gap!", all[1:]},
		{"no last page", "gap!", all[:2]},
		{"balances at the seam", "balance! gap!", []statement.Statement{all[0], changed, all[2]}},
		{"two versions of a page", "versions! balance! gap!", []statement.Statement{all[0], all[1], changed, all[2]}},
	} {
		if got := codes(join(t, c.statements...).Findings); got != c.want {
			t.Errorf("%s: the findings are %q, want %q: %+v", c.name, got, c.want, join(t, c.statements...).Findings)
		}
	}
}

// Statements of several days follow on from one another.
func TestJoinDays(t *testing.T) {
	day := func(n int, opening, closing string) statement.Statement {
		d, err := statement.ParseDay(fmt.Sprintf("2026-11-%02d", n))
		if err != nil {
			t.Fatal(err)
		}
		o, c := amount(t, opening), amount(t, closing)
		return statement.Statement{Kind: statement.EndOfDay, ID: fmt.Sprint(n), Sequence: uint64(n), LastPage: true, From: d, To: d, Currency: "EUR",
			Balances: []statement.Balance{{Code: "OPBD", Amount: o, Currency: "EUR"}, {Code: "CLBD", Amount: c, Currency: "EUR"}},
			Entries:  []statement.Entry{{Place: "entry 1", Amount: c.Sub(o), Currency: "EUR", Status: statement.Booked, Booked: d}}}
	}
	j := join(t, day(3, "20", "30"), day(1, "0", "10"), day(2, "10", "20"))
	if len(j.Findings) > 0 || j.Statements[0].ID != "1" || j.Entries[2].Place != "3, entry 1" {
		t.Errorf("three days: %+v", j)
	}
	if got := codes(join(t, day(1, "0", "10"), day(3, "20", "30")).Findings); got != "gap! gap!" {
		t.Errorf("with a day missing the findings are %s", got)
	}
	if got := codes(join(t, day(1, "0", "10"), day(2, "11", "20")).Findings); got != "gap!" {
		t.Errorf("with another opening balance the findings are %s", got)
	}
}

// Of reports that repeat entries the last one counts.
func TestJoinReports(t *testing.T) {
	first := statementtest.Random(rand.New(rand.NewPCG(4, 4)), statement.Intraday, 8)
	first.ID, first.Summary = "R1", nil
	first.Entries = []statement.Entry{
		{Place: "entry 1", ServicerRef: "A", Amount: amount(t, "5"), Currency: "EUR", Status: statement.Pending},
		{Place: "entry 2", ServicerRef: "B", Amount: amount(t, "5"), Currency: "EUR", Status: statement.Booked},
		{Place: "entry 3", ServicerRef: "B", Amount: amount(t, "5"), Currency: "EUR", Status: statement.Booked},
	}
	second := first
	second.ID, second.Created = "R2", first.Created.Add(1)
	second.Entries = slices.Clone(first.Entries[:2])
	second.Entries[0].Status = statement.Booked
	second.Balances = []statement.Balance{first.Balances[0], {Code: "ITBD", Amount: first.Balances[0].Amount.Add(amount(t, "10")), Currency: "EUR"}}
	first.Balances = []statement.Balance{first.Balances[0], {Code: "ITBD", Amount: first.Balances[0].Amount.Add(amount(t, "10")), Currency: "EUR"}}
	j := join(t, second, first)
	if codes(j.Findings) != "repeated" || len(j.Entries) != 3 || j.Entries[0].Status != statement.Booked {
		t.Errorf("entries %+v, findings %+v", j.Entries, j.Findings)
	}
}

// A camt.054 gives a batch its transactions.
func TestJoinDetails(t *testing.T) {
	s := read(t, message(bal("OPBD", "0", "CRDT"), bal("CLBD", "20.00", "CRDT"),
		entry("10.00", "CRDT", "<AcctSvcrRef>A</AcctSvcrRef><NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch></NtryDtls>"), entry("10.00", "CRDT", "<AcctSvcrRef>B</AcctSvcrRef>")))
	notification := strings.NewReplacer("BkToCstmrStmt", "BkToCstmrDbtCdtNtfctn", "Stmt>", "Ntfctn>", "camt.053", "camt.054").
		Replace(message(entry("10.00", "CRDT", "<AcctSvcrRef>A</AcctSvcrRef>"+batch("<NbOfTxs>2</NbOfTxs>", "4", "6")), entry("11.00", "CRDT", "<AcctSvcrRef>B</AcctSvcrRef>"+batch("", "4", "7"))))
	j := join(t, *s, *read(t, notification))
	if codes(j.Findings) != "details" || len(j.Entries) != 2 || len(j.Entries[0].Transactions) != 2 || len(j.Entries[1].Transactions) != 0 {
		t.Errorf("entries %+v, findings %+v", j.Entries, j.Findings)
	}
	if got := j.Entries[0].Transactions[1].Place; got != "entry 1, transaction 2 of the camt.054" {
		t.Errorf("place %q", got)
	}
	if flipped, err := j.FlipReversals(); err != nil || len(flipped.Entries[0].Transactions) != 2 || flipped.Statements[0].Entries[0].Transactions != nil {
		t.Errorf("with the other sign of reversals: %+v, %v", flipped, err)
	}
	if alone := join(t, *read(t, notification)); len(alone.Entries) != 2 {
		t.Errorf("a notification alone has %d entries", len(alone.Entries))
	}
}

func TestJoinRefuses(t *testing.T) {
	s := *read(t, message())
	other := s
	other.Account = "X"
	report := s
	report.Kind = statement.Intraday
	for _, c := range []struct {
		statements []statement.Statement
		want       string
	}{
		{nil, "there is no statement"},
		{[]statement.Statement{s, other}, "the statements are about 2 accounts: choose one of FI2112345600000785, X"},
		{[]statement.Statement{s, report}, "give only one kind"},
	} {
		if _, err := statement.Join(c.statements); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("the error is %v, want one with %q", err, c.want)
		}
	}
	if got := statement.Select([]statement.Statement{s, other}, "fi21 1234 5600 0007 85"); len(got) != 1 {
		t.Errorf("%d statements are selected", len(got))
	}
}
