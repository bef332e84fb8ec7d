package reconcile

import (
	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// Format names the layout of a report in JSON. It changes when a field changes its meaning.
const Format = "cairn-reconciliation/1"

// Class is what became of a movement or an item.
type Class string

// Classes of lines. All but Matched and Unconfirmed are breaks.
const (
	Matched       Class = "matched"
	MissingHere   Class = "missing_here"   // the statement has it, the ledger does not
	MissingThere  Class = "missing_there"  // the ledger has it, the statement does not
	AmountDiffers Class = "amount_differs" // a reference joins them, and their amounts differ
	Duplicate     Class = "duplicate"      // a second time on one side, once on the other
	Late          Class = "late"           // booked more days apart than the tolerance
	StatusDiffers Class = "status_differs" // booked on one side, pending on the other
	Unconfirmed   Class = "pending"        // pending on one side, nothing on the other yet
)

// Classes returns all classes in the order of reports: breaks first.
func Classes() []Class {
	return []Class{MissingHere, MissingThere, AmountDiffers, Duplicate, StatusDiffers, Late, Unconfirmed, Matched}
}

// Break says whether a line of the class is a break: something that a person has to clear up.
func (c Class) Break() bool { return c != Matched && c != Unconfirmed }

// Report is the result of a comparison. It has no clock and no name of a machine in it.
type Report struct {
	Format  string `json:"format"`
	Ledger  string `json:"ledger,omitempty"`
	Account string `json:"account"`
	Size    uint64 `json:"size,omitempty"` // of the ledger
	From    Day    `json:"from,omitempty"`
	To      Day    `json:"to,omitempty"`
	// There is the account as the statement names it, and its owner.
	There      string              `json:"statement_account,omitempty"`
	Owner      string              `json:"statement_owner,omitempty"`
	Statements []StatementRef      `json:"statements"`
	Settings   Settings            `json:"settings"`
	Summary    Summary             `json:"summary"`
	Findings   []statement.Finding `json:"findings"`
	Sections   []Section           `json:"sections"` // one for each currency, in the order of the alphabet
}

// StatementRef identifies a statement that was compared.
type StatementRef struct {
	Kind     statement.Kind `json:"kind"`
	ID       string         `json:"id,omitempty"`
	Sequence uint64         `json:"sequence,omitempty"`
	Page     int            `json:"page,omitempty"`
	File     statement.File `json:"file"`
}

// Settings are the Options as the report shows them.
type Settings struct {
	Tolerance     int    `json:"tolerance_days"`
	Window        int    `json:"window_days"`
	ByValueDate   bool   `json:"by_value_date,omitempty"`
	Pattern       string `json:"pattern,omitempty"`
	Rules         []Rule `json:"rules"`
	Mirror        bool   `json:"mirror,omitempty"`
	FlipReversals bool   `json:"flip_reversals,omitempty"`
}

// Summary counts what the report holds.
type Summary struct {
	Breaks int `json:"breaks"` // the sum of the next three
	// LineBreaks are lines of the classes that are breaks, TotalBreaks balances and totals that do
	// not agree, and FindingBreaks what the statements contradict themselves in.
	LineBreaks    int          `json:"line_breaks"`
	TotalBreaks   int          `json:"total_breaks"`
	FindingBreaks int          `json:"finding_breaks"`
	Classes       []ClassCount `json:"classes"` // all classes, in the order of Classes
}

// ClassCount is the number of lines of a class.
type ClassCount struct {
	Class Class `json:"class"`
	Lines int   `json:"lines"`
}

// Section is the comparison in one currency.
type Section struct {
	Currency string       `json:"currency"`
	Here     Totals       `json:"here"`
	There    Totals       `json:"there"`
	Bridge   *Bridge      `json:"bridge"` // nil when a closing balance is not known
	Breaks   []TotalBreak `json:"breaks"`
	// Lines are all matches and all that was not matched: the breaks by class, then the rest, each
	// in the order of days.
	Lines []Line `json:"lines"`
}

// Totals are the balances and sums of one side. Of the ledger they cover the period, of the
// statement its booked entries.
type Totals struct {
	Opening     *Amount `json:"opening"` // nil when it is not known
	CreditCount int     `json:"credit_count"`
	Credits     Amount  `json:"credits"`
	DebitCount  int     `json:"debit_count"`
	Debits      Amount  `json:"debits"`   // with their sign: at most 0
	Computed    *Amount `json:"computed"` // opening, credits and debits together; nil without an opening
	Closing     *Amount `json:"closing"`  // as it is stated; nil when it is not known
}

// TotalBreak is a balance that does not agree.
type TotalBreak struct {
	Code       string `json:"code"` // one of the constants below
	Text       string `json:"text"`
	Difference Amount `json:"difference"`
}

// Codes of total breaks.
const (
	OpeningDiffers = "opening_differs" // there less here
	SumBreakHere   = "sum_here"        // stated closing balance less opening balance and movements
	SumBreakThere  = "sum_there"       // the same on the statement
	// Unexplained is what the lines leave of the difference of the closing balances where an opening
	// balance is not known.
	Unexplained = "unexplained"
)

// Bridge leads from the ledger's closing balance to the statement's.
type Bridge struct {
	Here        Amount       `json:"here"` // closing balance, computed where none is stated
	Steps       []BridgeStep `json:"steps"`
	There       Amount       `json:"there"`
	Unexplained Amount       `json:"unexplained"` // There less Here less all steps
}

// BridgeStep is what the lines of one class add to the difference.
type BridgeStep struct {
	Class  Class  `json:"class,omitempty"` // "" for the difference of the opening balances
	Lines  int    `json:"lines"`
	Effect Amount `json:"effect"`
}

// Line is one match, or something that was not matched.
type Line struct {
	Class Class  `json:"class"`
	Rule  Rule   `json:"rule,omitempty"` // by which it was matched
	Here  []Item `json:"here"`           // of the ledger, none for what is missing here
	There []Item `json:"there"`
	// Difference is the sum there less the sum here. For a side that has nothing the sum is 0. nil
	// when the statement does not give the amount.
	Difference *Amount `json:"difference"`
	// Effect is what the line adds to the difference of the closing balances: like Difference, but of
	// booked amounts of the period only.
	Effect Amount `json:"effect"`
	// Days is how many days later the statement has it than the ledger, negative when it is earlier.
	Days int `json:"days,omitempty"`
	// DuplicateOf names the place of what it repeats.
	DuplicateOf string   `json:"duplicate_of,omitempty"`
	Remarks     []string `json:"remarks,omitempty"`
}

// Item is a movement, an entry, or a transaction of an entry.
type Item struct {
	Place        string  `json:"place"`
	Index        *uint64 `json:"index,omitempty"` // of the ledger's entry
	Day          Day     `json:"day,omitempty"`
	Value        Day     `json:"value,omitempty"`
	Amount       *Amount `json:"amount"` // nil when the statement does not give it
	Pending      bool    `json:"pending,omitempty"`
	Reversal     bool    `json:"reversal,omitempty"`
	Reference    string  `json:"reference,omitempty"` // the first that it has, in the order of the rules
	Counterparty string  `json:"counterparty,omitempty"`
	Text         string  `json:"text,omitempty"`
}

// Breaks returns the number of breaks: 0 means that ledger and statement agree.
func (r *Report) Breaks() int { return r.Summary.Breaks }
