package statement

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Kind says which kind of document a statement comes from.
type Kind string

// Kinds of documents.
const (
	// EndOfDay is camt.053: booked entries of a closed period, with both balances.
	EndOfDay Kind = "camt.053"
	// Intraday is camt.052: entries so far, some of them pending. A later report of the same day may
	// repeat entries of an earlier one.
	Intraday Kind = "camt.052"
	// Notification is camt.054: single bookings, no balances.
	Notification Kind = "camt.054"
	// Table is a CSV file.
	Table Kind = "csv"
)

// Statement is one statement, report or notification about one account: one page of it where it
// has several.
type Statement struct {
	Kind    Kind
	Version int    // of the message: 2 to 8; 0 for a table
	Source  File   // the file that it was read from
	Place   string // in the file: "statement 1"

	MessageID string // of the file
	ID        string
	// Sequence is the electronic sequence number, 0 when there is none. A bank numbers the
	// statements of an account without gaps.
	Sequence uint64
	Page     int  // from 1; 0 when the statement says nothing about pages
	LastPage bool // no page follows; true when the statement says nothing about pages
	Created  time.Time
	From, To Day // the period; zero when it is not given

	Account  string // IBAN, or the number by another scheme; without spaces
	Owner    string // name of the owner
	Currency string // of the account, "" when neither account nor entries say it

	Balances []Balance
	Entries  []Entry
	Summary  *Summary // totals that the file states; nil when it states none
}

// File identifies the bytes that a statement was read from.
type File struct {
	SHA256 string `json:"sha256"` // 64 hexadecimal digits
	Bytes  int    `json:"bytes"`
}

func fileOf(raw []byte) File {
	sum := sha256.Sum256(raw)
	return File{SHA256: hex.EncodeToString(sum[:]), Bytes: len(raw)}
}

// Balance is one balance of a statement.
type Balance struct {
	Code string // of the external list: OPBD, CLBD, PRCD, ITBD, …
	// Intermediate is set for a balance at the seam of two pages.
	Intermediate bool
	Amount       Amount // positive when the account is in credit
	Currency     string
	Day          Day
}

// Status says how final an entry is.
type Status string

// Statuses of entries.
const (
	Booked  Status = "booked"
	Pending Status = "pending" // not booked yet
	Info    Status = "info"    // for information: it has no effect on the balance
	Future  Status = "future"  // will be booked on its value date
)

// Entry is one line of a statement: one booking on the account, which may stand for a batch of
// transactions.
type Entry struct {
	Place       string // in the statement: "entry 3" or "line 17"
	Ref         string // NtryRef
	ServicerRef string // AcctSvcrRef
	Amount      Amount // the effect on the account: credits are positive
	Currency    string
	Status      Status
	Booked      Day
	Value       Day
	Reversal    bool   // the entry undoes an earlier one; Amount is the effect of the reversal
	Code        string // bank transaction code: "PMNT-RCDT-ESCT", or the bank's own
	Text        string // additional information
	// Charges is the total that the bank says it deducted, as a positive number; nil when it says
	// nothing.
	Charges *Amount
	// Running is the balance behind the entry, nil where the file has none.
	Running *Amount
	// Batches are the batches that the entry stands for, as far as the bank states them.
	Batches []Batch
	// Transactions are the details: none, one, or those of a batch.
	Transactions []Transaction
}

// Batch is what a bank says about a group of transactions that it booked in one sum.
type Batch struct {
	MessageID     string
	PaymentInfoID string
	Count         int     // NbOfTxs, -1 when it is not given
	Total         *Amount // TtlAmt with the sign of its effect; nil when it is not given
	Currency      string  // of Total
	// First and End delimit the batch's transactions in Entry.Transactions: First ≤ i < End.
	First, End int
}

// Transaction is one transaction of an entry.
type Transaction struct {
	Place string // in the statement
	References
	// Amount is the effect on the account in the currency of the entry. It is nil when the file does
	// not give it in that currency.
	Amount *Amount
	// Text is the unstructured remittance information, line by line, and what the bank added.
	Text             []string
	Debtor, Creditor Party
	ReturnReason     string  // code or text; "" for what is no return
	Charges          *Amount // as in Entry
}

// References are the identifiers that a transaction carries, "" where it has none. They stand as
// the file has them.
type References struct {
	EndToEndID    string // "NOTPROVIDED" where the payer gave none
	InstructionID string
	TransactionID string
	UETR          string
	ServicerRef   string // AcctSvcrRef
	MessageID     string // of the message that carried the payment
	PaymentInfoID string // of the payer's batch
	ClearingRef   string
	MandateID     string
	ChequeNumber  string
	Proprietary   []string
	// CreditorRefs are the structured references of the creditor.
	CreditorRefs []string
}

// Party is one side of a transaction.
type Party struct {
	Name    string
	Account string // IBAN or another number, without spaces
	Agent   string // BIC, or the clearing member id
}

// IsZero says whether nothing is known of the party.
func (p Party) IsZero() bool { return p == Party{} }

// Counterparty returns the other side of the transaction in an entry with this amount. A credit
// comes from the debtor. The reversal of a debit is a credit that comes from the creditor. When the
// file does not name that side, the counterparty is the zero Party.
func (t *Transaction) Counterparty(e *Entry) Party {
	credit := e.Amount.Sign() >= 0
	if t.Amount != nil && !t.Amount.IsZero() {
		credit = t.Amount.Sign() > 0
	}
	if credit != e.Reversal {
		return t.Debtor
	}
	return t.Creditor
}

// Summary is what a statement says about the totals of its entries. Fields that it does not give
// are nil.
type Summary struct {
	Count, CreditCount, DebitCount *int
	Sum                            *Amount // of all entries, each without its sign
	CreditSum, DebitSum            *Amount // without a sign
	Net                            *Amount // credits less debits
}
