package reconcile

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// TestCompare runs the scripts of testdata. The commands compare, text, text-all and json compare
// their input and show the report in short or in one of its forms. Their options are tolerance,
// window, pattern, rules, from, to, by-value, mirror and flip. The input has one line for each
// movement ("here"), entry ("there") and transaction of the entry above it ("tx"); "balance" lines
// give opening and closing balance of a side. A line is a day, an amount, and fields by name. The
// output of compare has one line for each line of the report, then the totals that do not agree.
func TestCompare(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			script := parseScript(t, d)
			joined, err := statement.Join([]statement.Statement{script.there})
			if err != nil {
				return err.Error() + "\n"
			}
			report, err := Compare(&script.here, joined, script.options)
			if err != nil {
				return err.Error() + "\n"
			}
			switch d.Cmd {
			case "compare":
				return summary(report)
			case "text", "text-all":
				var b strings.Builder
				if err := report.WriteText(&b, d.Cmd == "text-all"); err != nil {
					t.Fatal(err)
				}
				return b.String()
			case "json":
				b, err := report.JSON()
				if err != nil {
					t.Fatal(err)
				}
				again, err := ParseReport(b)
				if err != nil {
					t.Fatal(err)
				}
				if c, err := again.JSON(); err != nil || !bytes.Equal(b, c) {
					t.Errorf("%s: what was read again gives other bytes (%v):\n%s", d.Pos, err, c)
				}
				return string(b)
			}
			t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
			return ""
		})
	})
}

type script struct {
	here    Book
	there   statement.Statement
	options Options
}

func parseScript(t *testing.T, d *datadriven.TestData) script {
	s := script{options: DefaultOptions()}
	s.there = statement.Statement{Kind: statement.EndOfDay, ID: "S", LastPage: true, Account: "THERE", Currency: "EUR"}
	s.here.Account = "here"
	s.here.Ledger, s.here.Size = "example.org/ledger", 42
	s.there.Source = statement.File{SHA256: strings.Repeat("0a", 32), Bytes: 1234}
	s.there.Sequence = 7
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		return n
	}
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "tolerance":
			s.options.Tolerance = number(arg.Vals[0])
		case "window":
			s.options.Window = number(arg.Vals[0])
		case "pattern":
			s.options.Pattern = regexp.MustCompile(arg.Vals[0])
		case "rules":
			for _, r := range arg.Vals {
				s.options.Rules = append(s.options.Rules, Rule(r))
			}
		case "from":
			s.here.From = day(t, arg.Vals[0])
		case "to":
			s.here.To = day(t, arg.Vals[0])
		case "by-value":
			s.options.ByValueDate = true
		case "mirror":
			s.options.Mirror = true
		case "flip":
			s.options.FlipReversals = true
		default:
			t.Fatalf("%s: unknown option %s", d.Pos, arg.Key)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
		fields := splitFields(line)
		switch fields[0] {
		case "here":
			s.movement(t, fields[1:])
		case "there":
			s.entry(t, fields[1:])
		case "tx":
			s.transaction(t, fields[1:])
		case "balance":
			s.balance(t, fields[1:])
		default:
			t.Fatalf("%s: unknown line %q", d.Pos, line)
		}
	}
	return s
}

// splitFields splits a line at spaces outside of quotation marks.
func splitFields(line string) []string {
	var fields []string
	for i, part := range strings.Split(line, `"`) {
		switch {
		case i%2 == 1:
			fields[len(fields)-1] += part
		default:
			fields = append(fields, strings.Fields(part)...)
		}
	}
	return fields
}

func day(t *testing.T, s string) Day {
	t.Helper()
	if len(s) == 2 {
		s = "2026-11-" + s
	}
	d, err := statement.ParseDay(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func money(t *testing.T, s string) Amount {
	t.Helper()
	a, err := statement.ParseAmount(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (s *script) movement(t *testing.T, fields []string) {
	m := Movement{Index: uint64(len(s.here.Movements) + 1), Day: day(t, fields[0]), Amount: money(t, fields[1]), Currency: "EUR"}
	for _, f := range fields[2:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "e2e":
			m.EndToEndID = value
		case "cred":
			m.CreditorRef = value
		case "instr":
			m.InstructionID = value
		case "id":
			m.TransactionID = value
		case "uetr":
			m.UETR = value
		case "transfer":
			m.TransferID = value
		case "svc":
			m.ServicerRef = value
		case "batch":
			m.Batch = value
		case "text":
			m.Text = value
		case "party":
			m.Counterparty.Name = value
		case "account":
			m.Counterparty.Account = value
		case "ccy":
			m.Currency = value
		case "value":
			m.Value = day(t, value)
		case "pending":
			m.Pending = true
		default:
			t.Fatalf("unknown field %s", f)
		}
	}
	s.here.Movements = append(s.here.Movements, m)
}

func (s *script) entry(t *testing.T, fields []string) {
	e := statement.Entry{Place: fmt.Sprintf("entry %d", len(s.there.Entries)+1), Amount: money(t, fields[1]), Currency: "EUR", Status: statement.Booked}
	if fields[0] != "-" {
		e.Booked = day(t, fields[0])
	}
	var rest []string
	for _, f := range fields[2:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "esvc":
			e.ServicerRef = value
		case "ref":
			e.Ref = value
		case "ccy":
			e.Currency = value
		case "value":
			e.Value = day(t, value)
		case "pending":
			e.Status = statement.Pending
		case "info":
			e.Status = statement.Info
		case "reversal":
			e.Reversal = true
		case "pmt":
			e.Batches = append(e.Batches, statement.Batch{PaymentInfoID: value, Count: -1})
		case "charges":
			charges := money(t, value)
			e.Charges = &charges
		default:
			rest = append(rest, f)
		}
	}
	s.there.Entries = append(s.there.Entries, e)
	if len(rest) > 0 {
		s.transaction(t, append([]string{fields[1]}, rest...))
	}
}

func (s *script) transaction(t *testing.T, fields []string) {
	e := &s.there.Entries[len(s.there.Entries)-1]
	x := statement.Transaction{Place: fmt.Sprintf("%s.%d", e.Place, len(e.Transactions)+1)}
	if fields[0] != "-" {
		a := money(t, fields[0])
		x.Amount = &a
	}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "e2e":
			x.EndToEndID = value
		case "cred":
			x.CreditorRefs = append(x.CreditorRefs, value)
		case "instr":
			x.InstructionID = value
		case "id":
			x.TransactionID = value
		case "uetr":
			x.UETR = value
		case "svc":
			x.ServicerRef = value
		case "pmtinf":
			x.PaymentInfoID = value
		case "text":
			x.Text = append(x.Text, value)
		case "party":
			x.Debtor.Name, x.Creditor.Name = value, value
		case "account":
			x.Debtor.Account, x.Creditor.Account = value, value
		default:
			t.Fatalf("unknown field %s", f)
		}
	}
	e.Transactions = append(e.Transactions, x)
}

// balance reads "here OPENING CLOSING" or "there OPENING CLOSING"; "-" is not known.
func (s *script) balance(t *testing.T, fields []string) {
	known := func(text string) *Amount {
		if text == "-" {
			return nil
		}
		a := money(t, text)
		return &a
	}
	if fields[0] == "here" {
		s.here.Balances = append(s.here.Balances, BookBalance{Currency: "EUR", Opening: known(fields[1]), Closing: known(fields[2])})
		return
	}
	for i, code := range []string{"OPBD", "CLBD"} {
		if a := known(fields[1+i]); a != nil {
			s.there.Balances = append(s.there.Balances, statement.Balance{Code: code, Amount: *a, Currency: "EUR"})
		}
	}
}

// summary returns what a report says in short.
func summary(r *Report) string {
	var b strings.Builder
	for i := range r.Sections {
		s := &r.Sections[i]
		currency := ""
		if len(r.Sections) > 1 {
			currency = s.Currency + " "
		}
		for k := range s.Lines {
			l := &s.Lines[k]
			fmt.Fprintf(&b, "%s%s: %s = %s", currency, l.Class, places(l.Here), places(l.There))
			if l.Rule != "" {
				fmt.Fprintf(&b, " by %s", l.Rule)
			}
			if l.Difference == nil || !l.Difference.IsZero() {
				fmt.Fprintf(&b, ", difference %s", orUnknown(l.Difference))
			}
			if more := l.remarks(); more != "" && l.Class != AmountDiffers {
				fmt.Fprintf(&b, " (%s)", more)
			} else if len(l.Remarks) > 0 {
				fmt.Fprintf(&b, " (%s)", strings.Join(l.Remarks, "; "))
			}
			b.WriteString("\n")
		}
		if s.Bridge != nil && len(s.Bridge.Steps) > 0 {
			fmt.Fprintf(&b, "%sbridge: %s", currency, s.Bridge.Here)
			for _, step := range s.Bridge.Steps {
				fmt.Fprintf(&b, ", %s %s", firstOf(string(step.Class), "opening"), step.Effect)
			}
			fmt.Fprintf(&b, " = %s\n", s.Bridge.There)
		}
		for _, x := range s.Breaks {
			fmt.Fprintf(&b, "%s%s: %s\n", currency, x.Code, x.Text)
		}
	}
	for _, f := range r.Findings {
		if f.Code != statement.BalanceMissing {
			fmt.Fprintf(&b, "finding %s: %s\n", f.Code, f.Text)
		}
	}
	return b.String()
}

func places(items []Item) string {
	if len(items) == 0 {
		return "none"
	}
	var all []string
	for _, i := range items {
		all = append(all, i.Place)
	}
	return strings.Join(all, " + ")
}
