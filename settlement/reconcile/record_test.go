package reconcile

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// reportOf returns the report of n movements of which the last is missing there.
func reportOf(t *testing.T, n int) *Report {
	t.Helper()
	book, joined := many(t, n, shapes["identifiers"])
	joined.Entries = joined.Entries[:n-1]
	book.Ledger, book.Account = "example.org/ledger", "nostro"
	report, err := Compare(book, joined, DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// A record is bounded, holds the report when there is room, and knows its report again.
func TestRecord(t *testing.T) {
	for _, c := range []struct {
		movements int
		full      bool
	}{{2, true}, {60, true}, {400, false}, {3_000, false}} {
		report := reportOf(t, c.movements)
		raw, err := report.Record()
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > MaxRecord {
			t.Fatalf("%d movements: the record has %d bytes, at most %d are allowed", c.movements, len(raw), MaxRecord)
		}
		record, err := ParseRecord(raw)
		if err != nil {
			t.Fatal(err)
		}
		if (record.Full != nil) != c.full || record.Summary.Breaks != report.Breaks() || record.Account != "nostro" || len(record.Files) != 1 {
			t.Errorf("%d movements: the record of %d bytes is %+v", c.movements, len(raw), record.Summary)
		}
		full, err := report.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := record.Check(full); err != nil {
			t.Errorf("%d movements: %v", c.movements, err)
		}
		changed := bytes.Replace(full, []byte(`"missing_there"`), []byte(`"matched"`), 1)
		if err := record.Check(changed); err == nil || !strings.Contains(err.Error(), "another report, or it was changed") {
			t.Errorf("%d movements: a changed report is taken: %v", c.movements, err)
		}
		if record.Full != nil {
			inside, err := ParseReport(record.Full)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := inside.JSON(); err != nil || record.Check(again) != nil {
				t.Errorf("%d movements: the report inside the record is another: %v", c.movements, err)
			}
		}
	}
}

// Many files, many currencies and long names do not make a record too large.
func TestRecordIsBoundedWhateverIsInIt(t *testing.T) {
	long := strings.Repeat("é", 40_000)
	report := reportOf(t, 2)
	report.Account, report.Ledger, report.There = long, long, long
	for i := range 3_000 {
		report.Statements = append(report.Statements, StatementRef{ID: fmt.Sprint(i), File: statement.File{SHA256: strings.Repeat("a", 64)}})
		one := statement.NewAmount(1, 2)
		report.Sections = append(report.Sections, Section{Currency: fmt.Sprint("C", i), Here: Totals{Closing: &one}})
	}
	raw, err := report.Record()
	if err != nil {
		t.Fatal(err)
	}
	record, err := ParseRecord(raw)
	if err != nil || len(raw) > MaxRecord {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	if record.Statements != 3_001 || record.Files != nil || record.Balances != nil || len(record.Account) > maxName+len("…") {
		t.Errorf("record %+v", record)
	}
}

func TestParseRefusesOtherFormats(t *testing.T) {
	if _, err := ParseRecord([]byte(`{"format":"cairn-reconciliation-record/2"}`)); err == nil || !strings.Contains(err.Error(), "this version reads") {
		t.Errorf("record: %v", err)
	}
	if _, err := ParseReport([]byte(`{"format":"cairn-reconciliation/2"}`)); err == nil || !strings.Contains(err.Error(), "this version reads") {
		t.Errorf("report: %v", err)
	}
	if _, err := ParseReport([]byte(`{"format":"cairn-reconciliation/1","breaks":0}`)); err == nil {
		t.Error("a report with an unknown field is read")
	}
}

// A page shows everything, needs nothing from outside, and no text of a statement becomes part of
// its structure.
func TestHTML(t *testing.T) {
	book, joined := many(t, 30, func(i int, m *Movement, e *statement.Entry, x *statement.Transaction) {
		m.EndToEndID, x.EndToEndID = fmt.Sprint("E", i), fmt.Sprint("E", i)
		x.Debtor.Name = `<script>alert(1)</script>"'`
		x.Text = []string{"</table><img src=http://example.org/x>"}
	})
	joined.Entries = joined.Entries[1:]
	joined.Entries[3].Amount = joined.Entries[3].Amount.Add(statement.NewAmount(1, 2))
	report, err := Compare(book, joined, DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := report.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, forbidden := range []string{"<script", "<img", "<link", "src=", "href=", "url(", "@import"} {
		// The text of the statement is there, escaped.
		if strings.Contains(strings.ReplaceAll(page, "&lt;img src=http", ""), forbidden) {
			t.Errorf("the page has %q", forbidden)
		}
	}
	for _, want := range []string{"There are 2 breaks.", "Not on the statement", "Amounts differ", "&lt;script&gt;alert(1)", "E29", "default-src &#39;none&#39;"} {
		if !strings.Contains(page, want) && !strings.Contains(page, strings.ReplaceAll(want, "&#39;", "'")) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, tag := range []string{"table", "tbody", "tr", "td", "div", "details"} {
		if opened, closed := strings.Count(page, "<"+tag+">")+strings.Count(page, "<"+tag+" "), strings.Count(page, "</"+tag+">"); opened != closed {
			t.Errorf("<%s> is opened %d times and closed %d times", tag, opened, closed)
		}
	}
	var again bytes.Buffer
	if err := report.WriteHTML(&again); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("the page is not the same a second time: %v", err)
	}
}
