package statement

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"
)

// Joined is what all statements, pages and reports about one account say together.
type Joined struct {
	Account string
	Owner   string
	// Statements are those that count, in the order of time, pages behind one another. Their entries
	// are those of Entries.
	Statements []Statement
	// Entries are the entries of all statements. Those that a later report repeats are there once.
	Entries []Entry
	// Findings are those of each statement and those between them.
	Findings []Finding

	titles        []string    // of Statements, each another
	notifications []Statement // that only add transactions
}

// Select returns the statements about an account, which is written with or without spaces.
func Select(statements []Statement, account string) []Statement {
	account = noSpaces(account)
	var selected []Statement
	for _, s := range statements {
		if strings.EqualFold(s.Account, account) {
			selected = append(selected, s)
		}
	}
	return selected
}

// Accounts returns the accounts of the statements in the order of the alphabet.
func Accounts(statements []Statement) []string {
	var accounts []string
	for _, s := range statements {
		accounts = append(accounts, s.Account)
	}
	slices.Sort(accounts)
	return slices.Compact(accounts)
}

// Join puts the statements about one account together. The result does not depend on the order in
// which they are given. camt.054 notifications only add the transactions of batches, unless there
// is nothing else. It is an error to give statements about several accounts, or both camt.052
// reports and camt.053 statements, because they have the same entries.
func Join(statements []Statement) (*Joined, error) {
	if len(statements) == 0 {
		return nil, errors.New("there is no statement")
	}
	if accounts := Accounts(statements); len(accounts) > 1 {
		return nil, errors.Newf("the statements are about %d accounts: choose one of %s", len(accounts), strings.Join(accounts, ", "))
	}
	statements = slices.Clone(statements)
	j := &Joined{Account: statements[0].Account}
	kinds := map[Kind]bool{}
	for _, s := range statements {
		kinds[s.Kind] = true
	}
	if kinds[Intraday] && (kinds[EndOfDay] || kinds[Table]) || kinds[EndOfDay] && kinds[Table] {
		return nil, errors.New("reports during the day (camt.052), statements (camt.053) and tables of one account have the same entries: give only one kind")
	}
	if kinds[Notification] && len(kinds) > 1 {
		for _, s := range statements {
			if s.Kind == Notification {
				j.notifications = append(j.notifications, s)
			}
		}
		statements = slices.DeleteFunc(statements, func(s Statement) bool { return s.Kind == Notification })
	}
	j.order(statements)
	j.name()
	for i := range j.Statements {
		s := &j.Statements[i]
		if j.Owner == "" {
			j.Owner = s.Owner
		}
		j.Findings = append(j.Findings, j.named(i, s.Check())...)
	}
	j.chain()
	j.collect()
	j.detail()
	return j, nil
}

// FlipReversals joins the same statements with the other sign of reversals; see
// Statement.FlipReversals.
func (j *Joined) FlipReversals() (*Joined, error) {
	var flipped []Statement
	for _, s := range slices.Concat(j.Statements, j.notifications) {
		s.Entries = slices.Clone(s.Entries)
		for k := range s.Entries {
			e := &s.Entries[k]
			e.Transactions, e.Batches = slices.Clone(e.Transactions), slices.Clone(e.Batches)
		}
		s.FlipReversals()
		flipped = append(flipped, s)
	}
	return Join(flipped)
}

// named adds the statement to the places of its findings where there are several statements.
func (j *Joined) named(i int, findings []Finding) []Finding {
	for k := range findings {
		if f := &findings[k]; f.Place == j.Statements[i].Place {
			f.Place = j.titles[i]
		} else {
			f.Place = j.place(i, f.Place)
		}
	}
	return findings
}

// place returns a place in a statement that is unique among the statements.
func (j *Joined) place(i int, place string) string {
	if len(j.Statements) < 2 {
		return place
	}
	return j.titles[i] + ", " + place
}

// name sets the titles: short where that tells the statements apart.
func (j *Joined) name() {
	seen := map[string]int{}
	j.titles = nil
	for i := range j.Statements {
		title := j.Statements[i].title()
		seen[title]++
		if n := seen[title]; n > 1 {
			title = fmt.Sprintf("%s (%d)", title, n)
		}
		j.titles = append(j.titles, title)
	}
}

// title names a statement for people.
func (s *Statement) title() string {
	var parts []string
	if s.ID != "" {
		parts = append(parts, s.ID)
	}
	if s.Sequence > 0 && s.ID == "" {
		parts = append(parts, fmt.Sprintf("number %d", s.Sequence))
	}
	if s.Page > 0 {
		parts = append(parts, fmt.Sprintf("page %d", s.Page))
	}
	if len(parts) == 0 {
		return string(s.Kind) + " " + s.Source.SHA256[:min(8, len(s.Source.SHA256))]
	}
	return strings.Join(parts, " ")
}

// key is what the pages of one statement share.
func (s *Statement) key() string {
	return fmt.Sprintf("%s\x00%s\x00%d", s.Kind, s.ID, s.Sequence)
}

// content returns the hash of what a statement says, wherever it was read from.
func (s *Statement) content() string {
	c := *s
	c.Source, c.Place, c.MessageID = File{}, "", ""
	c.Created = c.Created.UTC()
	c.Entries = slices.Clone(s.Entries)
	for i := range c.Entries {
		e := &c.Entries[i]
		e.Place = ""
		e.Transactions = slices.Clone(e.Transactions)
		for k := range e.Transactions {
			e.Transactions[k].Place = ""
		}
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("statement: encode a statement: %v", err)) // it has only strings and numbers
	}
	sum := sha256.Sum256(encoded)
	return string(sum[:])
}

// day returns the first day that a statement is about.
func (s *Statement) day() Day {
	first := s.From
	if first == 0 {
		for i := range s.Entries {
			if d := s.Entries[i].Booked; d != 0 && (first == 0 || d < first) {
				first = d
			}
		}
	}
	if first == 0 {
		for _, b := range s.Balances {
			if b.Day > first {
				first = b.Day
			}
		}
	}
	return first
}

// order sets Statements: sorted by time, with the pages of one statement together, and without
// repetitions.
func (j *Joined) order(statements []Statement) {
	type ranked struct {
		s       Statement
		content string
		day     Day // the first of all pages
	}
	var all []ranked
	first := map[string]Day{}
	for _, s := range statements {
		r := ranked{s: s, content: s.content(), day: s.day()}
		if d, seen := first[s.key()]; !seen || r.day != 0 && (d == 0 || r.day < d) {
			first[s.key()] = r.day
		}
		all = append(all, r)
	}
	for i := range all {
		all[i].day = first[all[i].s.key()]
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		return cmp.Or(
			cmp.Compare(a.day, b.day), cmp.Compare(a.s.Sequence, b.s.Sequence), cmp.Compare(a.s.key(), b.s.key()),
			cmp.Compare(a.s.Page, b.s.Page), a.s.Created.Compare(b.s.Created), cmp.Compare(a.content, b.content),
			cmp.Compare(a.s.Source.SHA256, b.s.Source.SHA256), cmp.Compare(a.s.Place, b.s.Place))
	})
	for i := range all {
		r := &all[i]
		if i > 0 && r.content == all[i-1].content {
			j.Findings = append(j.Findings, Finding{Code: Repeated, Place: r.s.title(), Text: "the statement was given more than once: it counts once"})
			continue
		}
		if n := len(j.Statements); n > 0 {
			if before := &j.Statements[n-1]; before.key() == r.s.key() && before.Page == r.s.Page && (r.s.ID != "" || r.s.Sequence > 0) {
				j.Findings = append(j.Findings, Finding{Code: Versions, Place: r.s.title(), Break: true,
					Text: "two statements have this name and different content: both count; take out the one that does not hold"})
			}
		}
		j.Statements = append(j.Statements, r.s)
	}
}

// chain looks for statements and pages that are missing between two others. Reports during the day
// overlap, so that they are not looked at.
func (j *Joined) chain() {
	gap := func(s *Statement, format string, args ...any) {
		j.Findings = append(j.Findings, Finding{Code: Gap, Place: s.title(), Break: true, Text: fmt.Sprintf(format, args...)})
	}
	for i := range j.Statements {
		s := &j.Statements[i]
		if s.Kind == Intraday || s.Kind == Notification {
			continue
		}
		var before, after *Statement
		if i > 0 {
			before = &j.Statements[i-1]
		}
		if i+1 < len(j.Statements) {
			after = &j.Statements[i+1]
		}
		samePages := before != nil && before.key() == s.key()
		if s.Page > 1 && (!samePages || before.Page != s.Page-1) && !(samePages && before.Page == s.Page) {
			gap(s, "page %d is missing in front of it", s.Page-1)
		}
		if !s.LastPage && (after == nil || after.key() != s.key()) {
			gap(s, "page %d is missing behind it", s.Page+1)
		}
		if before == nil || samePages && before.Page == s.Page {
			continue
		}
		if before.Sequence > 0 && s.Sequence > before.Sequence+1 {
			gap(s, "the statement before it has the number %d: %d statements are missing between them", before.Sequence, s.Sequence-before.Sequence-1)
		}
		for _, currency := range s.Currencies() {
			closing, closed := before.Closing(currency)
			opening, opened := s.Opening(currency)
			if closed && opened && !closing.Amount.Equal(opening.Amount) {
				gap(s, "it opens with %s %s, and %s before it closes with %s %s", opening.Amount, currency, before.title(), closing.Amount, currency)
			}
		}
	}
}

// collect sets Entries. A report during the day may repeat an entry of an earlier one, pending at
// first and booked later: the later one counts. What makes them one entry is the reference of the
// account's keeper with the amount.
func (j *Joined) collect() {
	type identity struct{ ref, amount, currency string }
	type position struct{ statement, entry int }
	last := map[identity]position{}
	repeated := 0
	for i := range j.Statements {
		s := &j.Statements[i]
		for k := range s.Entries {
			e := s.Entries[k]
			e.Place = j.place(i, e.Place)
			e.Transactions = slices.Clone(e.Transactions)
			for n := range e.Transactions {
				e.Transactions[n].Place = j.place(i, e.Transactions[n].Place)
			}
			if id := (identity{e.ServicerRef, e.Amount.Key(), e.Currency}); s.Kind == Intraday && e.ServicerRef != "" {
				if at, found := last[id]; found && at.statement != i {
					j.Entries[at.entry] = e
					last[id] = position{i, at.entry}
					repeated++
					continue
				}
				last[id] = position{i, len(j.Entries)}
			}
			j.Entries = append(j.Entries, e)
		}
	}
	if repeated > 0 {
		j.Findings = append(j.Findings, Finding{Code: Repeated,
			Text: fmt.Sprintf("%d entries of earlier reports stand in later ones again: each counts once, as the last report has it", repeated)})
	}
}

// detail gives entries without transactions of their own those that a camt.054 has for them. The
// reference of the account's keeper and the amount say which entry it is.
func (j *Joined) detail() {
	notifications := j.notifications
	type identity struct{ ref, amount, currency string }
	details := map[identity]*Entry{}
	ambiguous := map[identity]bool{}
	for i := range notifications {
		for k := range notifications[i].Entries {
			e := &notifications[i].Entries[k]
			id := identity{e.ServicerRef, e.Amount.Key(), e.Currency}
			if e.ServicerRef == "" || len(e.Transactions) == 0 {
				continue
			}
			if other := details[id]; other != nil && len(other.Transactions) != len(e.Transactions) {
				ambiguous[id] = true
			}
			if details[id] == nil {
				details[id] = e
			}
		}
	}
	for i := range j.Entries {
		e := &j.Entries[i]
		id := identity{e.ServicerRef, e.Amount.Key(), e.Currency}
		d := details[id]
		if d == nil || ambiguous[id] || len(e.Transactions) > 1 || len(d.Transactions) < len(e.Transactions) {
			continue
		}
		e.Transactions = slices.Clone(d.Transactions)
		for n := range e.Transactions {
			e.Transactions[n].Place = fmt.Sprintf("%s, transaction %d of the camt.054", e.Place, n+1)
		}
		if len(d.Batches) > 0 {
			e.Batches = d.Batches
		}
		j.Findings = append(j.Findings, Finding{Code: Details, Place: e.Place,
			Text: fmt.Sprintf("a camt.054 has the %d transactions of the entry", len(d.Transactions))})
	}
}
