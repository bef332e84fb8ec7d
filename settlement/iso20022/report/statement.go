package report

import (
	"strconv"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/codes"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// Types of balances (ExternalBalanceType1Code).
const (
	OpeningBooked    = "OPBD" // at the start of a statement: the closing balance of the one before
	ClosingBooked    = "CLBD" // at the end of a statement
	PreviouslyClosed = "PRCD" // the closing balance of the statement before, with its date
	InterimBooked    = "ITBD" // at the end of a page that is not the last, or within a day
	OpeningInterim   = "OIBD" // at the start of a page that is not the first
	OpeningAvailable = "OPAV" // what the owner may dispose of at the start
	ClosingAvailable = "CLAV" // what the owner may dispose of
	InterimAvailable = "ITAV" // the same within a day
)

// Sides of entries and balances.
const (
	Credit = "CRDT"
	Debit  = "DBIT"
)

// Statuses of entries (ExternalEntryStatus1Code).
const (
	Booked       = "BOOK"
	PendingEntry = "PDNG" // in camt.052 alone
)

// Statement is what happened on an account: a camt.053 (statement of a day), camt.052 (report
// within a day) or camt.054 (notification).
type Statement struct {
	ID       string // of the statement; its pages share it
	Created  string
	Page     int    // from 1, or 0 for a statement in one piece; Pages sets it
	LastPage bool   // where Page is not 0
	Sequence uint64 // ElctrncSeqNb: without a gap from one statement of the account to the next; 0 for none
	From, To string // the period, as times

	Account     iso20022.Account // with its currency, which is that of all amounts
	AccountName string
	Owner       iso20022.Party
	Servicer    iso20022.Party

	Balances    []Balance // of camt.053 and camt.052
	Entries     []Entry
	Information string // at most 500 characters
}

// Balance is a balance of an account.
type Balance struct {
	Type   string // OPBD, CLBD, …
	Amount string // decimal, "-" before a debit balance
	Date   string // a date or a date and time
}

// Entry is one movement of an account, or several that were booked as one.
type Entry struct {
	Reference         string // NtryRef
	Amount            string // decimal without a sign
	Side              string // CRDT or DBIT
	Reversal          bool   // undoes an entry before: a reversal with CRDT undoes a debit
	Status            string // BOOK or PDNG
	Booked            string // BookgDt, a date or a date and time: it decides about the statement
	Value             string // ValDt, a date or a date and time
	ServicerReference string // AcctSvcrRef, such as the index in a ledger
	Code              BankCode
	BatchID           string // MsgId of the batch behind it, "" for none
	Details           []Detail
	Information       string // at most 500 characters
}

// BankCode is a bank transaction code: of ISO 20022, as in PMNT, RCDT, ESCT, or a proprietary one.
type BankCode struct {
	Domain, Family, SubFamily string
	Proprietary, Issuer       string
}

// Detail is one transaction behind an entry.
type Detail struct {
	MessageID, ServicerReference, InstructionID, EndToEndID, UETR, TransactionID, ClearingReference string

	Proprietary                    []Reference // such as the leaf of a ledger
	Amount                         string      // decimal without a sign; required where an entry has several details
	Side                           string      // CRDT or DBIT; that of the entry for ""
	Debtor, Creditor               iso20022.Party
	DebtorAccount, CreditorAccount iso20022.Account
	DebtorAgent, CreditorAgent     iso20022.Party
	Purpose                        string
	Remittance                     []string
	CreditorReference              string
	ReturnReason                   iso20022.Reason // of a return
	Information                    string          // at most 500 characters
}

// Reference is a reference of a kind that ISO 20022 does not know.
type Reference struct{ Type, Value string }

// kind is what the three messages name differently.
type kind struct {
	definition, element, pagination, information string
}

var (
	camt052 = kind{"camt.052.001.08", "Rpt", "RptPgntn", "AddtlRptInf"}
	camt053 = kind{"camt.053.001.08", "Stmt", "StmtPgntn", "AddtlStmtInf"}
	camt054 = kind{"camt.054.001.08", "Ntfctn", "NtfctnPgntn", "AddtlNtfctnInf"}
)

// EncodeStatement writes a camt.053.001.08 with a message identification and creation time of its
// own. It refuses a statement that does not add up, or whose balances are not those that its place
// among the pages wants: OPBD and CLBD; of the first page OPBD and ITBD, of the last OIBD and
// CLBD, of those between OIBD and ITBD. Entries have to be booked.
func EncodeStatement(messageID, created string, s Statement) ([]byte, error) {
	for i, e := range s.Entries {
		if e.Status != Booked {
			return nil, errors.Newf("entry %d has the status %s: a statement holds booked entries alone, report others in camt.052", i+1, e.Status)
		}
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.encode(camt053, messageID, created)
}

// EncodeReport writes a camt.052.001.08: a report within a day, with pending entries too. Where it
// has an opening and a closing balance, they have to fit its booked entries.
func EncodeReport(messageID, created string, s Statement) ([]byte, error) {
	if err := s.addsUp([]string{OpeningBooked, OpeningInterim}, []string{ClosingBooked, InterimBooked}); err != nil {
		return nil, err
	}
	return s.encode(camt052, messageID, created)
}

// EncodeNotification writes a camt.054.001.08: single debits and credits, without balances.
func EncodeNotification(messageID, created string, s Statement) ([]byte, error) {
	if len(s.Balances) > 0 {
		return nil, errors.New("a notification has no balances: leave them out")
	}
	return s.encode(camt054, messageID, created)
}

// balance returns the balance of a type.
func (s *Statement) balance(types ...string) (b Balance, d codes.Decimal, found bool, err error) {
	for _, t := range types {
		for _, b := range s.Balances {
			if b.Type == t {
				d, err := codes.ParseDecimal(b.Amount)
				return b, d, true, errors.Wrapf(err, "the balance %s", t)
			}
		}
	}
	return Balance{}, codes.Decimal{}, false, nil
}

// check refuses a statement that lacks a balance, has one that does not belong to its page, or does
// not add up.
func (s *Statement) check() error {
	opening, closing := OpeningBooked, ClosingBooked
	if s.Page > 1 {
		opening = OpeningInterim
	}
	if s.Page > 0 && !s.LastPage {
		closing = InterimBooked
	}
	counts := map[string]int{}
	for _, b := range s.Balances {
		counts[b.Type]++
	}
	for _, t := range []string{OpeningBooked, ClosingBooked, OpeningInterim, InterimBooked} {
		want := 0
		if t == opening || t == closing {
			want = 1
		}
		if counts[t] != want {
			return errors.Newf("page %d of the statement has %d balances %s, and has to have %d: give %s and %s", s.Page, counts[t], t, want, opening, closing)
		}
	}
	if before, d, found, err := s.balance(PreviouslyClosed); found {
		_, o, _, err2 := s.balance(opening)
		if err := errors.CombineErrors(err, err2); err != nil {
			return err
		}
		if opening == OpeningBooked && d.Cmp(o) != 0 {
			return errors.Newf("the balance PRCD is %s, but OPBD is %s: a statement opens with the balance that the one before closed with", before.Amount, o)
		}
	}
	return s.addsUp([]string{opening}, []string{closing})
}

// addsUp compares an opening and a closing balance with the booked entries between them.
func (s *Statement) addsUp(openings, closings []string) error {
	opening, sum, found, err := s.balance(openings...)
	closing, end, found2, err2 := s.balance(closings...)
	if err := errors.CombineErrors(err, err2); err != nil || !found || !found2 {
		return err
	}
	for i, e := range s.Entries {
		if e.Status != Booked {
			continue
		}
		d, err := e.signed()
		if err != nil {
			return indexed(err, "entry %d", i+1)
		}
		sum = sum.Add(d)
	}
	if sum.Cmp(end) != 0 {
		return errors.Newf("the balance %s of %s and the booked entries give %s, but %s is %s: correct the balances or the entries",
			opening.Type, opening.Amount, sum, closing.Type, closing.Amount)
	}
	return nil
}

// signed returns the amount of an entry, negative for a debit.
func (e *Entry) signed() (codes.Decimal, error) {
	d, err := codes.ParseDecimal(e.Amount)
	switch {
	case err != nil:
		return d, err
	case d.Sign() < 0:
		return d, errors.Newf("the amount is %s: write it without a sign and give the side", e.Amount)
	case e.Side == Debit:
		return d.Neg(), nil
	case e.Side != Credit:
		return d, errors.Newf("the side is %q: write %s or %s", e.Side, Credit, Debit)
	}
	return d, nil
}

// Pages cuts a statement into pages of at most so many entries, at least one page. The first opens
// with the statement's own opening balances and the last closes with its closing balances; where
// one page ends and the next begins, both have the balance between them, ITBD and OIBD, with the
// date of the closing balance. A statement that does not add up is an error.
func (s Statement) Pages(entries int) ([]Statement, error) {
	if entries < 1 {
		return nil, errors.Newf("pages of %d entries: allow at least one", entries)
	}
	if s.Page != 0 {
		return nil, errors.New("the statement is a page already: cut the whole statement")
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	_, running, _, err := s.balance(OpeningBooked)
	if err != nil {
		return nil, err
	}
	closing, _, _, _ := s.balance(ClosingBooked)
	scale := s.scale()
	var first, last []Balance
	for _, b := range s.Balances {
		if b.Type == OpeningBooked || b.Type == PreviouslyClosed || b.Type == OpeningAvailable {
			first = append(first, b)
		} else {
			last = append(last, b)
		}
	}
	count := max(1, (len(s.Entries)+entries-1)/entries)
	pages := make([]Statement, count)
	for i := range pages {
		page := &pages[i]
		*page = s
		page.Page, page.LastPage = i+1, i == count-1
		page.Entries = s.Entries[i*entries : min(len(s.Entries), (i+1)*entries)]
		page.Balances = nil
		if i == 0 {
			page.Balances = append(page.Balances, first...)
		} else {
			page.Balances = append(page.Balances, Balance{Type: OpeningInterim, Amount: running.Fixed(scale), Date: closing.Date})
		}
		for k := range page.Entries {
			d, err := page.Entries[k].signed()
			if err != nil {
				return nil, err
			}
			running = running.Add(d)
		}
		if page.LastPage {
			page.Balances = append(page.Balances, last...)
		} else {
			page.Balances = append(page.Balances, Balance{Type: InterimBooked, Amount: running.Fixed(scale), Date: closing.Date})
		}
	}
	return pages, nil
}

// scale returns the number of decimals of the account's currency, 0 for an unknown one.
func (s *Statement) scale() int {
	c, _ := codes.LookupCurrency(s.Account.Currency)
	return max(0, c.Scale)
}

// encode writes one of the three messages.
func (s *Statement) encode(k kind, messageID, created string) ([]byte, error) {
	body := newDocument(k.definition)
	head := body.Add("GrpHdr")
	head.AddText("MsgId", messageID)
	head.AddText("CreDtTm", created)
	e := body.Add(k.element)
	e.AddText("Id", s.ID)
	if s.Page > 0 {
		p := e.Add(k.pagination)
		p.AddText("PgNb", strconv.Itoa(s.Page))
		p.AddText("LastPgInd", strconv.FormatBool(s.LastPage))
	}
	if s.Sequence > 0 {
		e.AddText("ElctrncSeqNb", strconv.FormatUint(s.Sequence, 10))
	}
	e.AddText("CreDtTm", s.Created)
	inside(e, "FrToDt", func(e *xmltree.Element) {
		e.AddText("FrDtTm", s.From)
		e.AddText("ToDtTm", s.To)
	})
	a := e.Add("Acct")
	account(a, s.Account)
	a.AddText("Nm", s.AccountName)
	party(a, "Ownr", s.Owner)
	agent(a, "Svcr", s.Servicer)
	for _, b := range s.Balances {
		if err := s.writeBalance(e, b); err != nil {
			return nil, err
		}
	}
	if err := s.summary(e); err != nil {
		return nil, err
	}
	for i := range s.Entries {
		if err := s.entry(e.Add("Ntry"), &s.Entries[i]); err != nil {
			return nil, indexed(err, "entry %d", i+1)
		}
	}
	e.AddText(k.information, s.Information)
	return encode(k.definition, body)
}

// writeBalance writes a balance without a sign and with its side. Zero is a credit.
func (s *Statement) writeBalance(parent *xmltree.Element, b Balance) error {
	d, err := codes.ParseDecimal(b.Amount)
	if err != nil {
		return errors.Wrapf(err, "the balance %s", b.Type)
	}
	side := Credit
	if d.Sign() < 0 {
		side, d = Debit, d.Neg()
	}
	e := parent.Add("Bal")
	code(e.Add("Tp").Add("CdOrPrtry"), b.Type, 4)
	amount(e, "Amt", iso20022.Amount{Value: d.Fixed(s.scale()), Currency: s.Account.Currency})
	e.AddText("CdtDbtInd", side)
	dateOrTime(e, "Dt", b.Date)
	return nil
}
