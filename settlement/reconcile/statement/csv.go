package statement

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// encodings of tables by name. UTF-8 is checked instead of converted.
var encodings = map[string]encoding.Encoding{
	"utf-8":        unicode.UTF8,
	"windows-1252": charmap.Windows1252,
	"iso-8859-1":   charmap.ISO8859_1,
	"iso-8859-15":  charmap.ISO8859_15,
}

// maxColumns is the largest number of columns of a table.
const maxColumns = 1000

// ReadCSV returns the statements of a table: one for each account, in the order in which the table
// names them.
func ReadCSV(raw []byte, m *Mapping) ([]Statement, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if len(raw) > MaxFile {
		return nil, errors.Newf("the file has %d bytes: at most %d are read; split it by days", len(raw), MaxFile)
	}
	t := table{m: m, file: fileOf(raw)}
	if err := t.open(raw); err != nil {
		return nil, err
	}
	for {
		row, err := t.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = t.row(row)
		}
		if err != nil {
			return nil, errors.Wrapf(err, "line %d", t.line)
		}
	}
	if len(t.statements) == 0 && m.Account != "" {
		t.statement(m.Account) // a day without entries still has its balances
	}
	return t.finish()
}

// table reads a CSV file row by row.
type table struct {
	m          *Mapping
	file       File
	reader     *csv.Reader
	line       int // of the newest row in the file, from 1
	skipped    int // lines before the first row
	layout     string
	columns    map[string]int // positions by the names that the mapping uses
	statements []*Statement
	byAccount  map[string]*Statement
}

// open converts the bytes, skips what stands in front of the header and finds the columns.
func (t *table) open(raw []byte) error {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if name := t.m.encoding(); name == "utf-8" {
		if !utf8.Valid(raw) {
			return errors.New("the file is not UTF-8: set encoding in the mapping, such as windows-1252")
		}
	} else {
		converted, err := encodings[name].NewDecoder().Bytes(raw)
		if err != nil {
			return errors.Wrapf(err, "convert the file from %s", name)
		}
		raw = converted
	}
	for range t.m.Skip {
		end := bytes.IndexByte(raw, '\n')
		if end < 0 {
			return errors.Newf("the mapping skips %d lines, and the file has fewer", t.m.Skip)
		}
		raw = raw[end+1:]
		t.skipped++
	}
	t.reader = csv.NewReader(bytes.NewReader(raw))
	t.reader.Comma = t.m.delimiter()
	t.reader.FieldsPerRecord = -1
	t.reader.ReuseRecord = true
	t.byAccount = make(map[string]*Statement)
	layout, err := dateLayout(t.m.Dates)
	if err != nil {
		return err
	}
	t.layout = layout
	var header []string
	if t.m.header() {
		header, err = t.next()
		if errors.Is(err, io.EOF) {
			return errors.New("the file is empty: it must have a row that names the columns")
		}
		if err != nil {
			return errors.Wrap(err, "read the header")
		}
	}
	return t.find(header)
}

// next returns the next row. It is valid until the next call.
func (t *table) next() ([]string, error) {
	row, err := t.reader.Read()
	if err != nil {
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			t.line = t.skipped + syntax.Line
			return nil, errors.Newf("the row is no CSV: %v; compare delimiter in the mapping", syntax.Err)
		}
		return nil, err
	}
	line, _ := t.reader.FieldPos(0)
	t.line = t.skipped + line
	if len(row) > maxColumns {
		return nil, errors.Newf("the row has %d columns: at most %d are read", len(row), maxColumns)
	}
	return row, nil
}

// find sets the positions of the columns that the mapping names.
func (t *table) find(header []string) error {
	titles := make([]string, len(header))
	for i, h := range header {
		titles[i] = Clean(h)
	}
	c := t.m.Columns
	t.columns = make(map[string]int)
	for _, name := range append([]string{c.Booked, c.Value, c.Amount, c.Credit, c.Debit, c.Indicator, c.Balance,
		c.Currency, c.Account, c.Status, c.Reversal, c.Code, c.Ref, c.EndToEndID, c.InstructionID, c.TransactionID, c.UETR,
		c.ServicerRef, c.MessageID, c.PaymentInfoID, c.CreditorRef, c.Counterparty, c.CounterpartyAccount,
		c.CounterpartyAgent}, c.Text...) {
		if name == "" {
			continue
		}
		if !t.m.header() {
			n, err := strconv.Atoi(name)
			if err != nil || n < 1 || n > maxColumns {
				return errors.Newf("column %s is no number from 1: without a header columns are named by their numbers", quote(name))
			}
			t.columns[name] = n - 1
			continue
		}
		at := slices.Index(titles, Clean(name))
		if at < 0 {
			return errors.Newf("there is no column %s: the header has %s", quote(name), quote(strings.Join(titles, ", ")))
		}
		if slices.Contains(titles[at+1:], Clean(name)) {
			return errors.Newf("there are two columns %s: set header to false, skip the header and name columns by their numbers", quote(name))
		}
		t.columns[name] = at
	}
	return nil
}

// row adds the entry of one row to the statement of its account.
func (t *table) row(row []string) error {
	if !slices.ContainsFunc(row, func(s string) bool { return Clean(s) != "" }) {
		return nil
	}
	get := func(name string) string {
		if at, found := t.columns[name]; found && at < len(row) {
			return Clean(row[at])
		}
		return ""
	}
	c, m := &t.m.Columns, t.m
	booked := get(c.Booked)
	if booked == "" && m.SkipUndated {
		return nil
	}
	e := Entry{
		Place: fmt.Sprintf("line %d", t.line), Status: Booked, Currency: m.Currency,
		Ref: get(c.Ref), ServicerRef: get(c.ServicerRef), Code: get(c.Code),
		Reversal: c.Reversal != "" && oneOf(get(c.Reversal), m.ReversalValues, "true", "yes", "y", "1", "x"),
	}
	var err error
	if e.Booked, err = parseDay(booked, t.layout); err != nil {
		return errors.Wrap(err, "booking date")
	}
	if value := get(c.Value); value != "" {
		if e.Value, err = parseDay(value, t.layout); err != nil {
			return errors.Wrap(err, "value date")
		}
	}
	if e.Amount, err = t.amount(get); err != nil {
		return err
	}
	if currency := get(c.Currency); currency != "" {
		e.Currency = currency
	}
	if e.Currency == "" || len(e.Currency) > maxCurrency {
		return errors.Newf("the currency is %s: the row must name it, or the mapping", quote(e.Currency))
	}
	if oneOf(get(c.Status), m.PendingValues) {
		e.Status = Pending
	}
	if balance := get(c.Balance); balance != "" {
		running, err := m.parseAmount(balance)
		if err != nil {
			return errors.Wrap(err, "balance")
		}
		e.Running = &running
	}
	e.Transactions = []Transaction{t.transaction(get, &e)}
	account := m.Account
	if a := noSpaces(get(c.Account)); a != "" {
		account = a
	}
	s := t.statement(account)
	s.Entries = append(s.Entries, e)
	return nil
}

// amount returns the effect of the row on the account.
func (t *table) amount(get func(string) string) (Amount, error) {
	c, m := &t.m.Columns, t.m
	parse := func(column string) (Amount, error) {
		amount, err := m.parseAmount(get(column))
		return amount, errors.Wrapf(err, "column %s", column)
	}
	switch m.sign() {
	case InColumns:
		credit, debit := get(c.Credit), get(c.Debit)
		if credit == "" && debit == "" {
			return Amount{}, errors.Newf("neither %s nor %s has an amount", c.Credit, c.Debit)
		}
		// Some banks fill the other column with 0, and some write debits with a minus.
		var amount Amount
		if credit != "" {
			a, err := parse(c.Credit)
			if err != nil {
				return Amount{}, err
			}
			amount = a
		}
		if debit != "" {
			d, err := parse(c.Debit)
			if err != nil {
				return Amount{}, err
			}
			if !d.IsZero() && !amount.IsZero() {
				return Amount{}, errors.Newf("both %s and %s have an amount: a row must be a credit or a debit", c.Credit, c.Debit)
			}
			amount = amount.Sub(d.Abs())
		}
		return amount, nil
	case Indicator:
		amount, err := parse(c.Amount)
		if err != nil {
			return Amount{}, err
		}
		if amount.Sign() < 0 {
			return Amount{}, errors.Newf("the amount %s is negative although a column says what is a debit: compare sign in the mapping", amount)
		}
		indicator := get(c.Indicator)
		switch {
		case oneOf(indicator, m.Credit, "CRDT", "C", "CR", "+"):
			return amount, nil
		case oneOf(indicator, m.Debit, "DBIT", "D", "DR", "-"):
			return amount.Neg(), nil
		}
		return Amount{}, errors.Newf("column %s is %s, which is neither a credit nor a debit: list it under credit or debit in the mapping",
			c.Indicator, quote(indicator))
	case Inverted:
		amount, err := parse(c.Amount)
		return amount.Neg(), err
	}
	return parse(c.Amount)
}

func (t *table) transaction(get func(string) string, e *Entry) Transaction {
	c := &t.m.Columns
	amount := e.Amount
	tx := Transaction{
		Place:  e.Place,
		Amount: &amount,
		References: References{
			EndToEndID: get(c.EndToEndID), InstructionID: get(c.InstructionID), TransactionID: get(c.TransactionID),
			UETR: get(c.UETR), MessageID: get(c.MessageID), PaymentInfoID: get(c.PaymentInfoID),
		},
	}
	if ref := get(c.CreditorRef); ref != "" {
		tx.CreditorRefs = []string{ref}
	}
	for _, column := range c.Text {
		if s := get(column); s != "" {
			tx.Text = append(tx.Text, s)
		}
	}
	other := Party{Name: get(c.Counterparty), Account: noSpaces(get(c.CounterpartyAccount)), Agent: get(c.CounterpartyAgent)}
	// A table names the other side, whichever it is.
	if (e.Amount.Sign() >= 0) != e.Reversal {
		tx.Debtor = other
	} else {
		tx.Creditor = other
	}
	return tx
}

// statement returns the statement of an account, a new one where there is none yet.
func (t *table) statement(account string) *Statement {
	if s := t.byAccount[account]; s != nil {
		return s
	}
	s := &Statement{
		Kind: Table, Source: t.file, LastPage: true, Account: noSpaces(account), Currency: t.m.Currency,
		Place: fmt.Sprintf("table %d", len(t.statements)+1),
	}
	t.byAccount[account] = s
	t.statements = append(t.statements, s)
	return s
}

// finish puts the rows into the order of time and adds the balances.
func (t *table) finish() ([]Statement, error) {
	var all []Statement
	for _, s := range t.statements {
		if err := s.checkCurrencies(); err != nil {
			return nil, err
		}
		if t.m.NewestFirst {
			slices.Reverse(s.Entries)
		}
		if s.Currency == "" {
			s.Currency = s.onlyCurrency()
		}
		s.runningBalances()
		for _, b := range []struct{ code, text string }{{"OPBD", t.m.Opening}, {"CLBD", t.m.Closing}} {
			if b.text == "" {
				continue
			}
			if len(t.statements) > 1 {
				return nil, errors.New("the table has several accounts, and the mapping has balances: use a column balance, or split the table by account")
			}
			amount, err := t.m.parseAmount(b.text)
			if err != nil {
				return nil, err
			}
			s.Balances = append(s.Balances, Balance{Code: b.code, Amount: amount, Currency: s.Currency})
		}
		all = append(all, *s)
	}
	return all, nil
}

// runningBalances makes the opening and the closing balance of every currency out of the balances
// of its first and its last booked row.
func (s *Statement) runningBalances() {
	for _, currency := range s.Currencies() {
		var first, last *Entry
		for i := range s.Entries {
			if e := &s.Entries[i]; e.Currency == currency && e.Status == Booked {
				if first == nil {
					first = e
				}
				last = e
			}
		}
		if first == nil || first.Running == nil || last.Running == nil {
			continue
		}
		s.Balances = append(s.Balances,
			Balance{Code: "OPBD", Amount: first.Running.Sub(first.Amount), Currency: currency, Day: first.Booked},
			Balance{Code: "CLBD", Amount: *last.Running, Currency: currency, Day: last.Booked})
	}
}
