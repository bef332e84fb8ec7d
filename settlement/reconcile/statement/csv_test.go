package statement_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

func mapping(t *testing.T, yaml string) *statement.Mapping {
	t.Helper()
	m, err := statement.ReadMapping([]byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// lines returns the entries of a table, one a line.
func lines(statements []statement.Statement) string {
	var b strings.Builder
	for i := range statements {
		s := &statements[i]
		fmt.Fprintf(&b, "%s %s", s.Account, s.Currency)
		for _, x := range s.Balances {
			fmt.Fprintf(&b, " %s=%s", x.Code, x.Amount)
		}
		b.WriteString("\n")
		for k := range s.Entries {
			e := &s.Entries[k]
			x := &e.Transactions[0]
			p := x.Counterparty(e)
			fmt.Fprintf(&b, "%s: %s %s %s %s %s", e.Place, e.Booked, e.Value, e.Amount, e.Currency, e.Status)
			for _, more := range append([]string{x.EndToEndID, strings.Join(x.CreditorRefs, "+"), e.ServicerRef, p.Name, p.Account, strings.Join(x.Text, "|")}, "") {
				if more != "" {
					b.WriteString(" " + more)
				}
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func TestReadCSV(t *testing.T) {
	for _, c := range []struct{ name, mapping, table, want string }{
		{
			"signed, in the simplest form",
			"currency: EUR\ncolumns: {booked: date, amount: amount}",
			"date,amount\n2026-11-30,12.50\n2026-11-30,-3\n",
			" EUR\nline 2: 2026-11-30  12.50 EUR booked\nline 3: 2026-11-30  -3 EUR booked\n",
		},
		{
			"German, with a preamble, running balances and totals at the end",
			`
account: DE89 3704 0044 0532 0130 00
currency: EUR
delimiter: ";"
encoding: windows-1252
skip: 2
skip_undated: true
newest_first: true
dates: DD.MM.YYYY
decimal: ","
thousands: "."
columns:
  booked: Buchungstag
  value: Valuta
  amount: Betrag
  balance: Saldo
  counterparty: Empf\u00e4nger
  text: [Zweck 1, Zweck 2]
`,
			"Umsatzliste\r\n\r\nBuchungstag;Valuta;Empf\xe4nger;Zweck 1;Zweck 2;Betrag;Saldo\r\n" +
				"30.11.2026;01.12.2026;M\xfcller;Rechnung;\x80 17;-1.234,50;\"8.765,50\"\r\n" +
				"29.11.2026;29.11.2026;;a;;10.000,00;10.000,00\r\n;;;;Summe;8.765,50;\r\n",
			"DE89370400440532013000 EUR OPBD=0.00 CLBD=8765.50\n" +
				"line 5: 2026-11-29 2026-11-29 10000.00 EUR booked a\n" +
				"line 4: 2026-11-30 2026-12-01 -1234.50 EUR booked Müller Rechnung|€ 17\n",
		},
		{
			"two columns of amounts, by numbers, Swiss separators",
			"currency: CHF\nheader: false\ndates: D.M.YY\nthousands: \"'\"\nsign: columns\ncolumns: {booked: 1, debit: 2, credit: 3, end_to_end_id: 4}",
			"1.2.26,1'000.00,0.00,E1\n1.2.26,,5.00,E2\n1.2.26,-7,,\n",
			" CHF\nline 1: 2026-02-01  -1000.00 CHF booked E1\nline 2: 2026-02-01  5.00 CHF booked E2\nline 3: 2026-02-01  -7 CHF booked\n",
		},
		{
			"an indicator, several accounts and currencies, pending",
			"sign: indicator\ncredit: [H]\ndebit: [S]\npending: [vorgemerkt]\nopening: \"\"\ncolumns: {booked: d, amount: a, indicator: i, account: k, currency: c, status: s, creditor_ref: r, servicer_ref: n, counterparty_account: g}",
			"k,d,a,i,c,s,r,n,g\nA 1,2026-11-30,1,H,EUR,gebucht,RF18 5390 0754 7034,N1,DE1\nB,2026-11-30,2,S,USD,,,N2,\nA1,2026-11-30,3,s,EUR,Vorgemerkt,,,\n",
			"A1 EUR\nline 2: 2026-11-30  1 EUR booked RF18 5390 0754 7034 N1 DE1\nline 4: 2026-11-30  -3 EUR pending\nB USD\nline 3: 2026-11-30  -2 USD booked N2\n",
		},
		{
			"a card statement, with balances of the mapping",
			"account: card\ncurrency: EUR\nsign: inverted\nopening: \"-100\"\nclosing: \"-112.50\"\ncolumns: {booked: d, amount: a}",
			"\xef\xbb\xbfd,a\n2026-11-30,12.50\n\n",
			"card EUR OPBD=-100 CLBD=-112.50\nline 2: 2026-11-30  -12.50 EUR booked\n",
		},
		{
			"no entries",
			"account: a\ncurrency: EUR\nopening: \"1\"\nclosing: \"1\"\ncolumns: {booked: d, amount: a}",
			"d,a\n",
			"a EUR OPBD=1 CLBD=1\n",
		},
		{
			"signs behind the number and the minus of typographers",
			"currency: EUR\ncolumns: {booked: d, amount: a}",
			"d,a\n2026-11-30,12.50-\n2026-11-30,\u22123\n2026-11-30,4+\n2026-11-30,- 5\n",
			" EUR\nline 2: 2026-11-30  -12.50 EUR booked\nline 3: 2026-11-30  -3 EUR booked\nline 4: 2026-11-30  4 EUR booked\nline 5: 2026-11-30  -5 EUR booked\n",
		},
		{
			"quoted lines count as the file has them; control characters do not reach the screen",
			"currency: EUR\ncolumns: {booked: d, amount: a, text: t}",
			"d,a,t\n2026-11-30,1,\"two\nlines\"\n2026-11-30,2,\x1b[31mred\u202e\n",
			" EUR\nline 2: 2026-11-30  1 EUR booked two lines\nline 4: 2026-11-30  2 EUR booked [31mred\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			statements, err := statement.Read([]byte(c.table), mapping(t, strings.ReplaceAll(c.mapping, `\u00e4`, "ä")))
			if err != nil {
				t.Fatal(err)
			}
			if got := lines(statements); got != c.want {
				t.Errorf("read\n%s\nwant\n%s", got, c.want)
			}
			for i := range statements {
				for _, f := range statements[i].Check() {
					if f.Break {
						t.Errorf("finding %+v", f)
					}
				}
			}
		})
	}
}

func TestReadCSVRefuses(t *testing.T) {
	simple := "currency: EUR\ncolumns: {booked: d, amount: a}\n"
	for _, c := range []struct{ name, mapping, table, want string }{
		{"empty", simple, "", "the file is empty"},
		{"column", simple, "d,b\n", `there is no column "a": the header has "d, b"`},
		{"two columns", simple, "d,a,a\n", `there are two columns "a"`},
		{"date", simple, "d,a\n30.11.2026,1\n", `line 2: booking date: "30.11.2026" is not a date as the mapping describes it`},
		{"no date", simple, "d,a\n2026-11-30,1\n,2\n", `line 3: booking date: ""`},
		{"amount", simple, "d,a\n2026-11-30,1.234,50\n2026-11-30,\"1,5\"\n", `line 3: column a: "1,5" is not an amount`},
		{"short row", simple, "d,a\n2026-11-30\n", `line 2: column a: "" is not an amount`},
		{"encoding", simple, "d,a\n2026-11-30,\xff\n", "the file is not UTF-8: set encoding in the mapping"},
		{"quotes", simple, "d,a\n\"2026-11-30,1\n", "line 2: the row is no CSV"},
		{"thousands", simple + "thousands: \".\"\ndecimal: \",\"\n", "d,a\n2026-11-30,12.50\n", "there are not three digits behind a separator of thousands"},
		{"thousands in front", simple + "thousands: \".\"\ndecimal: \",\"\n", "d,a\n2026-11-30,1234.500\n", "there are not three digits"},
		{"skipped", simple + "skip: 5\n", "a\nb\n", "the mapping skips 5 lines, and the file has fewer"},
		{"indicator", "currency: EUR\nsign: indicator\ncolumns: {booked: d, amount: a, indicator: i}", "d,a,i\n2026-11-30,1,X\n", `column i is "X", which is neither a credit nor a debit`},
		{"indicator and sign", "currency: EUR\nsign: indicator\ncolumns: {booked: d, amount: a, indicator: i}", "d,a,i\n2026-11-30,-1,C\n", "is negative although a column says what is a debit"},
		{"both", "currency: EUR\nsign: columns\ncolumns: {booked: d, credit: c, debit: b}", "d,c,b\n2026-11-30,1,1\n", "both c and b have an amount"},
		{"neither", "currency: EUR\nsign: columns\ncolumns: {booked: d, credit: c, debit: b}", "d,c,b\n2026-11-30,,\n", "neither c nor b has an amount"},
		{"currencies", "columns: {booked: d, amount: a, currency: c}", "d,a,c\n" + many(51), "the statement has 51 currencies"},
		{"currency", "columns: {booked: d, amount: a, currency: c}", "d,a,c\n2026-11-30,1,\n", `the currency is ""`},
		{"balances of two accounts", "opening: \"1\"\ncurrency: EUR\ncolumns: {booked: d, amount: a, account: k}", "d,a,k\n2026-11-30,1,x\n2026-11-30,1,y\n", "the table has several accounts, and the mapping has balances"},
	} {
		_, err := statement.Read([]byte(c.table), mapping(t, c.mapping))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want one with %q", c.name, err, c.want)
		}
	}
	if _, err := statement.Read([]byte("d,a\n"), nil); err == nil || !strings.Contains(err.Error(), "needs a mapping") {
		t.Errorf("without a mapping the error is %v", err)
	}
}

func TestReadMappingRefuses(t *testing.T) {
	for _, c := range []struct{ yaml, want string }{
		{"", "the mapping is empty"},
		{"columns: {booked: d, amount: a}", "the mapping names no currency"},
		{"currency: EUR", "the mapping names no column booked"},
		{"currency: EUR\ncolumns: {booked: d}", "with sign signed the mapping must name the column amount"},
		{"currency: EUR\nsign: columns\ncolumns: {booked: d, credit: c}", "with sign columns the mapping must name the column debit"},
		{"currency: EUR\nsign: indicator\ncolumns: {booked: d, amount: a}", "the column indicator"},
		{"currency: EUR\nsign: up\ncolumns: {booked: d, amount: a}", `sign is "up"`},
		{"currency: EUR\nclumns: {booked: d}", "field clumns not found"},
		{"currency: EUR\ndelimiter: ab\ncolumns: {booked: d, amount: a}", `delimiter is "ab"`},
		{"currency: EUR\ndelimiter: '\"'\ncolumns: {booked: d, amount: a}", "no quotation mark"},
		{"currency: EUR\ndecimal: ;\ncolumns: {booked: d, amount: a}", `decimal is ";"`},
		{"currency: EUR\nthousands: .\ncolumns: {booked: d, amount: a}", `thousands is "."`},
		{"currency: EUR\nencoding: utf-7\ncolumns: {booked: d, amount: a}", `encoding is "utf-7"`},
		{"currency: EUR\nskip: -1\ncolumns: {booked: d, amount: a}", "skip is -1"},
		{"currency: EUR\ndates: MM/YY\ncolumns: {booked: d, amount: a}", `dates is "MM/YY"`},
		{"currency: EUR\ndates: DD.MM.YYYY Uhr\ncolumns: {booked: d, amount: a}", "dates is"},
		{"currency: EUR\ndates: DD.MM.YYYY.MM\ncolumns: {booked: d, amount: a}", "dates is"},
		{"currency: EUR\nopening: 1.000,00\ncolumns: {booked: d, amount: a}", "opening or closing balance"},
		{"currency: EUR\ncolumns: {booked: d, amount: a}\n---\na: b", "more than one YAML document"},
		{"currency: [", "read the mapping"},
		{strings.Repeat("# long\n", 10_000), "at most 65536 are read"},
	} {
		_, err := statement.ReadMapping([]byte(c.yaml))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: the error is %v, want one with %q", c.yaml, err, c.want)
		}
	}
	if m := mapping(t, "currency: EUR\ndates: YYYY-MM-DDThh:mm:ss\ndelimiter: \"\\\\t\"\ncolumns: {booked: d, amount: a}"); m == nil {
		t.Error("no mapping")
	}
}

// many returns rows in as many currencies.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "2026-11-30,1,C%d\n", i)
	}
	return b.String()
}
