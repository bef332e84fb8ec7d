package statement

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// camtLimits bound a document. A bank's statement of a busy account has a million entries less
// often than it has none.
var camtLimits = xmltree.Limits{Bytes: MaxFile, Depth: 64, Elements: 3_000_000, Attributes: 600_000}

// Oldest and newest version of the messages that are read.
const (
	oldestVersion = 2
	newestVersion = 8
)

// camtName finds the message in a namespace name. ISO's namespaces end with it; some banks put
// it into one of their own.
var camtName = regexp.MustCompile(`camt\.(05[234])\.001\.(\d\d)$`)

// camtRoots are the elements of a message and of a statement in it, by kind.
var camtRoots = map[Kind]struct{ message, statement, title, page string }{
	EndOfDay:     {"BkToCstmrStmt", "Stmt", "statement", "StmtPgntn"},
	Intraday:     {"BkToCstmrAcctRpt", "Rpt", "report", "RptPgntn"},
	Notification: {"BkToCstmrDbtCdtNtfctn", "Ntfctn", "notification", "NtfctnPgntn"},
}

// ReadCAMT returns the statements of a camt.053, camt.052 or camt.054 message in the versions 02 to
// 08, in the order of the file. The message may stand in an envelope. Several messages in one
// envelope are read one after the other.
func ReadCAMT(raw []byte) ([]Statement, error) {
	root, err := xmltree.Parse(raw, camtLimits)
	if err != nil {
		return nil, err
	}
	documents := findDocuments(root)
	if len(documents) == 0 {
		return nil, errors.Newf("no element Document in a namespace of camt.053, camt.052 or camt.054: the file begins with %s in the namespace %s",
			quote(root.Name), quote(root.Space))
	}
	var all []Statement
	for _, d := range documents {
		statements, err := readDocument(d, fileOf(raw))
		if err != nil {
			return nil, err
		}
		all = append(all, statements...)
	}
	return all, nil
}

// findDocuments returns the outermost elements Document whose namespace names a camt message.
func findDocuments(root *xmltree.Element) []*xmltree.Element {
	if root.Name == "Document" && camtName.MatchString(root.Space) {
		return []*xmltree.Element{root}
	}
	var found []*xmltree.Element
	for _, c := range root.Children {
		found = append(found, findDocuments(c)...)
	}
	return found
}

func readDocument(doc *xmltree.Element, file File) ([]Statement, error) {
	name := camtName.FindStringSubmatch(doc.Space)
	kind := Kind("camt." + name[1])
	version, err := strconv.Atoi(name[2])
	if err != nil || version < oldestVersion || version > newestVersion {
		return nil, errors.Newf("%s.001.%s is not read: versions %02d to %02d are", kind, name[2], oldestVersion, newestVersion)
	}
	roots := camtRoots[kind]
	message := doc.Child(roots.message)
	if message == nil {
		return nil, errors.Newf("line %d: the Document is %s by its namespace, but has no element %s", doc.Line, kind, roots.message)
	}
	header := message.Child("GrpHdr")
	var all []Statement
	for i, e := range message.All(roots.statement) {
		p := parser{s: Statement{
			Kind: kind, Version: version, Source: file, LastPage: true,
			Place:     fmt.Sprintf("%s %d", roots.title, i+1),
			MessageID: text(header.Child("MsgId")),
		}}
		p.page(header.Child("MsgPgntn"))
		p.statement(e, roots.page)
		if p.err != nil {
			return nil, errors.Wrapf(p.err, "%s %s", kind, p.s.Place)
		}
		if p.s.Created.IsZero() {
			p.s.Created, _ = parseTime(text(header.Child("CreDtTm")))
		}
		all = append(all, p.s)
	}
	return all, nil
}

// text returns the text of an element, "" for nil.
func text(e *xmltree.Element) string { return Clean(e.String()) }

// parser reads one statement. It keeps the first error and goes on, so that its methods need no
// second result.
type parser struct {
	s   Statement
	err error
}

func (p *parser) fail(e *xmltree.Element, format string, args ...any) {
	if p.err == nil {
		p.err = errors.Newf("line %d, %s: %s", e.Line, e.Name, fmt.Sprintf(format, args...))
	}
}

func (p *parser) page(e *xmltree.Element) {
	if e == nil {
		return
	}
	n, err := strconv.Atoi(text(e.Child("PgNb")))
	if err != nil || n < 1 {
		p.fail(e, "the page number %s is no number from 1", quote(text(e.Child("PgNb"))))
		return
	}
	p.s.Page, p.s.LastPage = n, p.flag(e.Child("LastPgInd"))
}

func (p *parser) statement(e *xmltree.Element, pagination string) {
	s := &p.s
	s.ID = text(e.Child("Id"))
	p.page(e.Child(pagination))
	if n := e.Child("ElctrncSeqNb"); n != nil {
		// xs:decimal: some banks write 12.0.
		whole, _, _ := strings.Cut(text(n), ".")
		sequence, err := strconv.ParseUint(whole, 10, 64)
		if err != nil {
			p.fail(n, "%s is no sequence number", quote(text(n)))
		}
		s.Sequence = sequence
	}
	if t := e.Child("CreDtTm"); t != nil {
		s.Created = p.time(t)
	}
	s.From, s.To = p.period(e.Child("FrToDt"))
	account := e.Child("Acct")
	s.Account = accountOf(account)
	s.Currency = text(account.Child("Ccy"))
	s.Owner = text(account.At("Ownr", "Nm"))
	for _, b := range e.All("Bal") {
		p.balance(b)
	}
	for i, n := range e.All("Ntry") {
		p.entry(n, fmt.Sprintf("entry %d", i+1))
	}
	if err := s.checkCurrencies(); err != nil && p.err == nil {
		p.err = err
	}
	if p.err != nil {
		return
	}
	if s.Currency == "" {
		s.Currency = s.onlyCurrency()
	}
	p.summary(e.Child("TxsSummry"))
}

// onlyCurrency returns the currency that all balances and entries have, "" when they differ.
func (s *Statement) onlyCurrency() string {
	if all := s.Currencies(); len(all) == 1 {
		return all[0]
	}
	return ""
}

// accountOf returns the IBAN, or the identifier by another scheme, of an account.
func accountOf(account *xmltree.Element) string {
	id := account.Child("Id")
	for _, e := range []*xmltree.Element{id.Child("IBAN"), id.At("Othr", "Id"), id.Child("BBAN"), id.Child("UPIC"), account.At("Prxy", "Id")} {
		if s := noSpaces(text(e)); s != "" {
			return s
		}
	}
	return ""
}

func noSpaces(s string) string { return strings.Join(strings.Fields(s), "") }

func (p *parser) balance(e *xmltree.Element) {
	b := Balance{Code: code(e.At("Tp", "CdOrPrtry")), Day: p.day(e.Child("Dt"))}
	b.Intermediate = code(e.At("Tp", "SubTp")) == "INTM"
	b.Amount, b.Currency = p.signed(e, "Amt")
	p.s.Balances = append(p.s.Balances, b)
}

// code returns the Cd, or else the Prtry, of a choice.
func code(choice *xmltree.Element) string {
	if c := text(choice.Child("Cd")); c != "" {
		return c
	}
	if c := text(choice.Child("Prtry")); c != "" {
		return c
	}
	return text(choice.At("Prtry", "Id"))
}

// signed returns the amount in the child with that name, with the sign of the child CdtDbtInd.
func (p *parser) signed(e *xmltree.Element, name string) (Amount, string) {
	amount, currency := p.amount(e, name)
	switch indicator := e.Child("CdtDbtInd"); text(indicator) {
	case "CRDT":
	case "DBIT":
		amount = amount.Neg()
	default:
		p.fail(e, "CdtDbtInd is %s: it must be CRDT or DBIT", quote(text(indicator)))
	}
	return amount, currency
}

// amount returns the amount without a sign in the child with that name, and its currency.
func (p *parser) amount(e *xmltree.Element, name string) (Amount, string) {
	child := e.Child(name)
	if child == nil {
		p.fail(e, "there is no %s", name)
		return Amount{}, ""
	}
	currency, _ := child.Attr("Ccy")
	if currency = Clean(currency); currency == "" || len(currency) > maxCurrency {
		p.fail(child, "the attribute Ccy is %s: it must name the currency, such as EUR", quote(currency))
	}
	return p.decimal(child), currency
}

// maxCurrency bounds the code of a currency or another asset. ISO 4217 has three letters.
const maxCurrency = 12

// decimal returns the number in e, which must not be negative.
func (p *parser) decimal(e *xmltree.Element) Amount {
	amount, err := ParseAmount(text(e))
	switch {
	case err != nil:
		p.fail(e, "%v", err)
	case amount.Sign() < 0:
		p.fail(e, "the amount %s is negative: the sign belongs into CdtDbtInd", amount)
	}
	return amount
}

func (p *parser) flag(e *xmltree.Element) bool {
	switch s := text(e); s {
	case "true", "1":
		return true
	case "false", "0", "":
		return false
	default:
		p.fail(e, "%s is neither true nor false", quote(s))
		return false
	}
}

func (p *parser) count(e *xmltree.Element) int {
	n, err := strconv.Atoi(text(e))
	if err != nil || n < 0 {
		p.fail(e, "%s is no number of entries", quote(text(e)))
		return 0
	}
	return n
}

// day returns the date in a choice of Dt and DtTm, in the time zone in which it is written.
func (p *parser) day(e *xmltree.Element) Day {
	if e == nil {
		return 0
	}
	if d := e.Child("Dt"); d != nil {
		return p.date(d)
	}
	if t := e.Child("DtTm"); t != nil {
		return DayOf(p.time(t))
	}
	return 0
}

func (p *parser) date(e *xmltree.Element) Day {
	s := text(e)
	if len(s) > len(dayLayout) { // xs:date may have an offset from UTC: "2026-11-30+01:00"
		s = s[:len(dayLayout)]
	}
	d, err := ParseDay(s)
	if err != nil {
		p.fail(e, "%v", err)
	}
	return d
}

func (p *parser) time(e *xmltree.Element) time.Time {
	t, err := parseTime(text(e))
	if err != nil {
		p.fail(e, "%s is no date and time: write it as 2006-01-02T15:04:05 with or without an offset", quote(text(e)))
	}
	return t
}

// parseTime reads xs:dateTime. A time without an offset is taken as it stands, in UTC.
func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Parse("2006-01-02T15:04:05", s)
}

func (p *parser) period(e *xmltree.Element) (from, to Day) {
	if e == nil {
		return 0, 0
	}
	if t := e.Child("FrDtTm"); t != nil {
		from = DayOf(p.time(t))
	}
	if t := e.Child("ToDtTm"); t != nil {
		to = DayOf(p.time(t))
	}
	return from, to
}
