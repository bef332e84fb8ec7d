package reconcile

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/rivo/uniseg"
)

// words names the classes for people.
var words = map[Class]string{
	Matched:       "matched",
	MissingHere:   "not in the ledger",
	MissingThere:  "not on the statement",
	AmountDiffers: "amounts differ",
	Duplicate:     "duplicate",
	Late:          "late",
	StatusDiffers: "status differs",
	Unconfirmed:   "pending on one side",
}

// Words returns the class in words: "not in the ledger".
func (c Class) Words() string {
	if w := words[c]; w != "" {
		return w
	}
	return string(c)
}

// Verdict returns the result in one sentence.
func (r *Report) Verdict() string {
	switch n := r.Breaks(); n {
	case 0:
		return "Ledger and statement agree."
	case 1:
		return "There is 1 break."
	default:
		return fmt.Sprintf("There are %d breaks.", n)
	}
}

// period returns the period in words.
func (r *Report) period() string {
	switch {
	case r.From != 0 && r.To != 0:
		return fmt.Sprintf("%s to %s", r.From, r.To)
	case r.From != 0:
		return fmt.Sprintf("from %s", r.From)
	case r.To != 0:
		return fmt.Sprintf("until %s", r.To)
	}
	return "all"
}

// WriteText writes the report as aligned tables. Matches are counted; with all they are listed as
// well.
func (r *Report) WriteText(w io.Writer, all bool) error {
	out := bufio.NewWriter(w)
	head := &table{}
	head.row("Account", r.Account)
	if r.Ledger != "" {
		head.row("Ledger", r.Ledger)
	}
	if r.Size > 0 {
		head.row("Size", fmt.Sprint(r.Size))
	}
	head.row("Period", r.period())
	there := r.There
	if r.Owner != "" {
		there += ", " + r.Owner
	}
	head.row("Statement", there)
	for _, s := range r.Statements {
		head.row("", s.words())
	}
	head.row("Tolerance", days(r.Settings.Tolerance))
	head.row("Verdict", r.Verdict())
	head.write(out, "")
	for i := range r.Sections {
		r.Sections[i].writeText(out, all)
	}
	if len(r.Findings) > 0 {
		fmt.Fprintf(out, "\nAbout the statements\n")
		t := &table{}
		for _, f := range r.Findings {
			mark := ""
			if f.Break {
				mark = "break"
			}
			t.row(mark, f.Code, firstOf(f.Place, "all"), f.Text)
		}
		t.write(out, "  ")
	}
	return out.Flush()
}

func (s StatementRef) words() string {
	parts := []string{string(s.Kind)}
	if s.ID != "" {
		parts = append(parts, s.ID)
	}
	if s.Sequence > 0 {
		parts = append(parts, fmt.Sprintf("number %d", s.Sequence))
	}
	if s.Page > 0 {
		parts = append(parts, fmt.Sprintf("page %d", s.Page))
	}
	if s.File.SHA256 != "" {
		parts = append(parts, "SHA-256 "+s.File.SHA256)
	}
	return strings.Join(parts, ", ")
}

func days(n int) string {
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}

func (s *Section) writeText(out *bufio.Writer, all bool) {
	fmt.Fprintf(out, "\n%s\n", s.Currency)
	t := &table{right: 1<<1 | 1<<2 | 1<<3}
	for _, row := range s.totalRows() {
		t.row(row...)
	}
	t.write(out, "  ")
	if s.Bridge != nil && len(s.Bridge.Steps) > 0 {
		fmt.Fprintf(out, "\n  From the ledger's closing balance to the statement's\n")
		t := &table{right: 1 << 1}
		for _, row := range s.bridgeRows() {
			t.row(row...)
		}
		t.write(out, "  ")
	}
	for _, b := range s.Breaks {
		fmt.Fprintf(out, "\n  Break: %s; the difference is %s\n", b.Text, b.Difference)
	}
	for _, c := range Classes() {
		lines := s.of(c)
		if len(lines) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n  %s: %d\n", upperFirst(c.Words()), len(lines))
		if c == Matched && !all {
			continue
		}
		t := &table{right: 1<<3 | 1<<4, header: true}
		t.row("in the ledger", "on the statement", "day", "ledger", "statement", "matched by", "reference", "counterparty", "remarks")
		for _, l := range lines {
			for _, row := range l.rows() {
				t.row(row...)
			}
		}
		t.write(out, "    ")
	}
}

// totalRows returns the table of balances and sums.
func (s *Section) totalRows() [][]string {
	difference := func(here, there *Amount) string {
		if here == nil || there == nil {
			return ""
		}
		return there.Sub(*here).String()
	}
	row := func(name string, here, there *Amount) []string {
		return []string{name, orUnknown(here), orUnknown(there), difference(here, there)}
	}
	count := func(name string, here, there int) []string {
		return []string{name, strconv.Itoa(here), strconv.Itoa(there), strconv.Itoa(there - here)}
	}
	return [][]string{
		{"", "ledger", "statement", "difference"},
		row("opening balance", s.Here.Opening, s.There.Opening),
		count("number of credits", s.Here.CreditCount, s.There.CreditCount),
		row("credits", &s.Here.Credits, &s.There.Credits),
		count("number of debits", s.Here.DebitCount, s.There.DebitCount),
		row("debits", &s.Here.Debits, &s.There.Debits),
		row("opening balance, credits and debits", s.Here.Computed, s.There.Computed),
		row("closing balance, stated", s.Here.Closing, s.There.Closing),
	}
}

// bridgeRows returns the way from one closing balance to the other.
func (s *Section) bridgeRows() [][]string {
	rows := [][]string{{"closing balance of the ledger", s.Bridge.Here.String()}}
	for _, step := range s.Bridge.Steps {
		name := "difference of the opening balances"
		if step.Class != "" {
			name = fmt.Sprintf("%s (%d)", step.Class.Words(), step.Lines)
		}
		if step.Class == Matched {
			name = fmt.Sprintf("matched with another period (%d)", step.Lines)
		}
		rows = append(rows, []string{name, step.Effect.String()})
	}
	if !s.Bridge.Unexplained.IsZero() {
		rows = append(rows, []string{"not explained", s.Bridge.Unexplained.String()})
	}
	return append(rows, []string{"closing balance of the statement", s.Bridge.There.String()})
}

func orUnknown(a *Amount) string {
	if a == nil {
		return "not stated"
	}
	return a.String()
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// of returns the lines of a class in their order.
func (s *Section) of(c Class) []Line {
	var lines []Line
	for _, l := range s.Lines {
		if l.Class == c {
			lines = append(lines, l)
		}
	}
	return lines
}

// rows returns a line as rows of the table: one, or as many as the longer side has items.
func (l *Line) rows() [][]string {
	var rows [][]string
	for i := range max(len(l.Here), len(l.There)) {
		row := make([]string, 9)
		if i < len(l.There) {
			t := l.There[i]
			row[1], row[2], row[4], row[6], row[7] = t.Place, t.Day.String(), orUnknown(t.Amount), t.Reference, t.Counterparty
		}
		if i < len(l.Here) {
			h := l.Here[i]
			row[0], row[3] = h.Place, orUnknown(h.Amount)
			row[2], row[6], row[7] = firstOf(row[2], h.Day.String()), firstOf(row[6], h.Reference), firstOf(row[7], h.Counterparty)
		}
		if i == 0 {
			row[5] = strings.ReplaceAll(string(l.Rule), "_", " ")
			row[8] = l.remarks()
		}
		rows = append(rows, row)
	}
	return rows
}

// remarks returns everything that the columns do not say.
func (l *Line) remarks() string {
	var parts []string
	if l.DuplicateOf != "" {
		parts = append(parts, "repeats "+l.DuplicateOf)
	}
	if l.Class == AmountDiffers && l.Difference != nil {
		parts = append(parts, "difference "+l.Difference.String())
	}
	switch {
	case l.Days > 0:
		parts = append(parts, days(l.Days)+" after the ledger")
	case l.Days < 0:
		parts = append(parts, days(-l.Days)+" before the ledger")
	}
	return strings.Join(append(parts, l.Remarks...), "; ")
}

// table aligns columns by how many columns of a terminal their texts take.
type table struct {
	right  uint // bit i: column i is aligned to the right
	header bool // the first row names the columns: those without anything below it are left out
	cells  [][]string
}

func (t *table) row(cells ...string) { t.cells = append(t.cells, cells) }

func (t *table) write(out *bufio.Writer, indent string) {
	var widths []int
	for k, row := range t.cells {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if k > 0 || !t.header {
				widths[i] = max(widths[i], uniseg.StringWidth(cell))
			}
		}
	}
	if t.header {
		for i, cell := range t.cells[0] {
			if widths[i] > 0 {
				widths[i] = max(widths[i], uniseg.StringWidth(cell))
			}
		}
	}
	for _, row := range t.cells {
		var line strings.Builder
		line.WriteString(indent)
		for i, cell := range row {
			if widths[i] == 0 {
				continue
			}
			pad := strings.Repeat(" ", widths[i]-uniseg.StringWidth(cell))
			if t.right>>i&1 == 1 {
				line.WriteString(pad + cell + "  ")
			} else {
				line.WriteString(cell + pad + "  ")
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}
