package statement

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"go.yaml.in/yaml/v3"
)

// Mapping says how to read a CSV file. It is written as a small YAML file; docs/reconciliation.md
// has one to start from.
type Mapping struct {
	// Account and Currency hold for rows without a column of their own.
	Account  string `yaml:"account"`
	Currency string `yaml:"currency"`

	Delimiter string `yaml:"delimiter"` // one character, "," by default
	Encoding  string `yaml:"encoding"`  // utf-8 by default, windows-1252, iso-8859-1 or iso-8859-15
	Skip      int    `yaml:"skip"`      // lines in front of the header
	// Header says that the first row that is not skipped names the columns; true by default.
	// Without a header, columns are named by their numbers from 1.
	Header *bool `yaml:"header"`
	// SkipUndated skips rows without a booking date, such as totals at the end. By default such a
	// row is an error.
	SkipUndated bool `yaml:"skip_undated"`
	// NewestFirst says that the rows go back in time. It matters for running balances.
	NewestFirst bool `yaml:"newest_first"`

	// Dates is how dates are written, from YYYY, YY, MM, M, DD, D, hh, mm and ss; YYYY-MM-DD by
	// default.
	Dates     string `yaml:"dates"`
	Decimal   string `yaml:"decimal"`   // "." by default, or ","
	Thousands string `yaml:"thousands"` // none by default

	Sign Sign `yaml:"sign"` // signed by default
	// Credit and Debit are the values of the column indicator: CRDT, C, CR, + and DBIT, D, DR, -
	// by default.
	Credit []string `yaml:"credit"`
	Debit  []string `yaml:"debit"`
	// PendingValues are the values of the column status of entries that are not booked.
	PendingValues []string `yaml:"pending"`
	// ReversalValues are the values of the column reversal that mean yes: true, yes, 1 and x by
	// default.
	ReversalValues []string `yaml:"reversal"`

	// Opening and Closing are the balances, written like the amounts, where no column has running
	// balances.
	Opening string `yaml:"opening"`
	Closing string `yaml:"closing"`

	Columns Columns `yaml:"columns"`
}

// Sign is how a table tells credits from debits.
type Sign string

// Ways to tell credits from debits.
const (
	Signed    Sign = "signed"    // amount is negative for a debit
	Inverted  Sign = "inverted"  // amount is negative for a credit, as on some card statements
	InColumns Sign = "columns"   // columns credit and debit
	Indicator Sign = "indicator" // amount without a sign, and a column indicator
)

// Columns name the columns of a table. Booked is needed, and the columns of the sign convention;
// any other may be left out.
type Columns struct {
	Booked string `yaml:"booked"` // booking date
	Value  string `yaml:"value"`  // value date

	Amount    string `yaml:"amount"`
	Credit    string `yaml:"credit"`
	Debit     string `yaml:"debit"`
	Indicator string `yaml:"indicator"`
	Balance   string `yaml:"balance"` // running balance behind the row
	Currency  string `yaml:"currency"`
	Account   string `yaml:"account"`
	Status    string `yaml:"status"`
	Reversal  string `yaml:"reversal"`
	Code      string `yaml:"code"`
	Ref       string `yaml:"ref"` // number of the row in the statement

	EndToEndID    string `yaml:"end_to_end_id"`
	InstructionID string `yaml:"instruction_id"`
	TransactionID string `yaml:"transaction_id"`
	UETR          string `yaml:"uetr"`
	ServicerRef   string `yaml:"servicer_ref"`
	MessageID     string `yaml:"message_id"`
	PaymentInfoID string `yaml:"payment_info_id"`
	CreditorRef   string `yaml:"creditor_ref"`

	Counterparty        string `yaml:"counterparty"`
	CounterpartyAccount string `yaml:"counterparty_account"`
	CounterpartyAgent   string `yaml:"counterparty_agent"`

	Text Names `yaml:"text"` // one column or a list
}

// Names is one name or a list of names in YAML.
type Names []string

// UnmarshalYAML reads a scalar or a list of scalars.
func (n *Names) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*n = Names{node.Value}
		return nil
	}
	var list []string
	if err := node.Decode(&list); err != nil {
		return err
	}
	*n = list
	return nil
}

// maxMapping is the largest mapping file in bytes.
const maxMapping = 64 << 10

// ReadMapping reads a mapping from YAML. A name that a mapping does not have is an error, and so is
// a convention that its columns do not fit.
func ReadMapping(raw []byte) (*Mapping, error) {
	if len(raw) > maxMapping {
		return nil, errors.Newf("the mapping has %d bytes: at most %d are read", len(raw), maxMapping)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	decoder.KnownFields(true)
	var m Mapping
	if err := decoder.Decode(&m); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the mapping is empty: it must at least name the columns booked and amount")
		}
		return nil, errors.Wrap(err, "read the mapping")
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the mapping has more than one YAML document: keep the first")
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return &m, nil
}

// Validate says what is wrong with a mapping; nil when nothing is.
func (m *Mapping) Validate() error {
	if m.Delimiter != "" && len([]rune(m.Delimiter)) != 1 && m.Delimiter != `\t` {
		return errors.Newf("delimiter is %s: it must be one character, such as \";\" or \"\\t\"", quote(m.Delimiter))
	}
	if d := m.delimiter(); d == '"' || d == '\r' || d == '\n' || d == 0xFFFD {
		return errors.Newf("delimiter is %s: it must be no quotation mark and no end of a line", quote(m.Delimiter))
	}
	if m.Decimal != "" && m.Decimal != "." && m.Decimal != "," {
		return errors.Newf("decimal is %s: it must be \".\" or \",\"", quote(m.Decimal))
	}
	if len([]rune(m.Thousands)) > 1 || m.Thousands != "" && (m.Thousands == m.decimal() || strings.ContainsAny(m.Thousands, "0123456789+-")) {
		return errors.Newf("thousands is %s: it must be one character, no digit, no sign and not the decimal separator", quote(m.Thousands))
	}
	if m.Skip < 0 {
		return errors.Newf("skip is %d: it must not be negative", m.Skip)
	}
	if encodings[m.encoding()] == nil {
		return errors.Newf("encoding is %s: it must be utf-8, windows-1252, iso-8859-1 or iso-8859-15", quote(m.Encoding))
	}
	if _, err := dateLayout(m.Dates); err != nil {
		return err
	}
	if len(m.Currency) > maxCurrency {
		return errors.Newf("currency is %s: it must name the currency, such as EUR", quote(m.Currency))
	}
	if m.Currency == "" && m.Columns.Currency == "" {
		return errors.New("the mapping names no currency: set currency, or the column currency")
	}
	for _, b := range []string{m.Opening, m.Closing} {
		if b != "" {
			if _, err := m.parseAmount(b); err != nil {
				return errors.Wrap(err, "opening or closing balance")
			}
		}
	}
	return m.validateColumns()
}

func (m *Mapping) validateColumns() error {
	c := m.Columns
	if c.Booked == "" {
		return errors.New("the mapping names no column booked: it must name the one with the booking date")
	}
	need := func(names ...string) error {
		for i := 0; i < len(names); i += 2 {
			if names[i+1] == "" {
				return errors.Newf("with sign %s the mapping must name the column %s", m.sign(), names[i])
			}
		}
		return nil
	}
	switch m.sign() {
	case Signed, Inverted:
		return need("amount", c.Amount)
	case InColumns:
		return need("credit", c.Credit, "debit", c.Debit)
	case Indicator:
		return need("amount", c.Amount, "indicator", c.Indicator)
	}
	return errors.Newf("sign is %s: it must be signed, inverted, columns or indicator", quote(string(m.Sign)))
}

func (m *Mapping) delimiter() rune {
	switch m.Delimiter {
	case "":
		return ','
	case `\t`:
		return '\t'
	}
	return []rune(m.Delimiter)[0]
}

func (m *Mapping) decimal() string {
	if m.Decimal == "" {
		return "."
	}
	return m.Decimal
}

func (m *Mapping) encoding() string {
	if m.Encoding == "" {
		return "utf-8"
	}
	return strings.ToLower(m.Encoding)
}

func (m *Mapping) sign() Sign {
	if m.Sign == "" {
		return Signed
	}
	return m.Sign
}

func (m *Mapping) header() bool { return m.Header == nil || *m.Header }

// oneOf says whether s is one of the values, or of the defaults where there are none. Case does not
// matter.
func oneOf(s string, values []string, defaults ...string) bool {
	if len(values) == 0 {
		values = defaults
	}
	return slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, s) })
}

// dateTokens are what Mapping.Dates is made of, the longer ones first, with Go's layout.
var dateTokens = []struct{ token, layout string }{
	{"YYYY", "2006"}, {"YY", "06"}, {"MM", "01"}, {"M", "1"}, {"DD", "02"}, {"D", "2"},
	{"hh", "15"}, {"mm", "04"}, {"ss", "05"},
}

// dateLayout returns Go's layout for dates that are written like s.
func dateLayout(s string) (string, error) {
	if s == "" {
		return dayLayout, nil
	}
	wrong := errors.Newf("dates is %s: write it with YYYY or YY, MM or M, DD or D and separators, such as DD.MM.YYYY", quote(s))
	var layout strings.Builder
	seen := map[byte]bool{}
next:
	for rest := s; rest != ""; {
		for _, t := range dateTokens {
			if strings.HasPrefix(rest, t.token) {
				if seen[t.token[0]] {
					return "", wrong
				}
				seen[t.token[0]] = true
				layout.WriteString(t.layout)
				rest = rest[len(t.token):]
				continue next
			}
		}
		if c := rest[0]; c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' && c != 'T' || c >= 'a' && c <= 'z' || c >= 0x80 {
			return "", wrong
		}
		layout.WriteByte(rest[0])
		rest = rest[1:]
	}
	if !seen['Y'] || !seen['M'] || !seen['D'] {
		return "", wrong
	}
	return layout.String(), nil
}

// parseDay reads a date that is written with the layout.
func parseDay(s, layout string) (Day, error) {
	t, err := time.Parse(layout, s)
	if err != nil || DayOf(t) == 0 {
		return 0, errors.Newf("%s is not a date as the mapping describes it: compare with dates", quote(s))
	}
	return DayOf(t), nil
}

// parseAmount reads an amount with the separators of the mapping. The sign may stand in front or
// behind. Separators of thousands must stand between groups of three digits, so that a decimal
// point that the mapping takes for one is found.
func (m *Mapping) parseAmount(s string) (Amount, error) {
	wrong := func(why string) (Amount, error) {
		return Amount{}, errors.Newf("%s is not an amount as the mapping describes it: %s", quote(s), why)
	}
	digits := strings.ReplaceAll(Clean(s), "\u2212", "-")
	if rest, found := strings.CutSuffix(digits, "-"); found {
		digits = "-" + rest
	} else if rest, found := strings.CutSuffix(digits, "+"); found {
		digits = rest
	}
	sign := ""
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		sign, digits = digits[:1], strings.TrimSpace(digits[1:])
	}
	whole, fraction, point := strings.Cut(digits, m.decimal())
	if m.Thousands != "" {
		groups := strings.Split(whole, m.Thousands)
		for i, g := range groups {
			if i > 0 && len(g) != 3 || i == 0 && len(groups) > 1 && (len(g) < 1 || len(g) > 3) {
				return wrong("there are not three digits behind a separator of thousands; compare decimal and thousands")
			}
		}
		whole = strings.Join(groups, "")
	}
	number := whole
	if point {
		number += "." + fraction
	}
	amount, err := ParseAmount(sign + number)
	if err != nil {
		return wrong("compare decimal and thousands")
	}
	return amount, nil
}
