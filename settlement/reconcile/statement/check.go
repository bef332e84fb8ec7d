package statement

import "fmt"

// Finding is something about a statement, or about what statements say together, that a person
// should know.
type Finding struct {
	Code  string `json:"code"`            // stable: one of the constants
	Place string `json:"place,omitempty"` // where in which file
	Text  string `json:"text"`            // a sentence
	// Break is set when the statements contradict themselves or leave something out.
	Break bool `json:"break"`
}

// Codes of findings.
const (
	BalanceBreak   = "balance"         // opening balance and entries do not give the closing balance
	BalanceMissing = "balance_missing" // no opening or no closing balance
	OpeningDiffers = "opening_differs" // two opening balances that are not equal
	SummaryBreak   = "summary"         // the stated totals are not those of the entries
	BatchBreak     = "batch"           // count or total of a batch are not those of its transactions
	EntrySum       = "entry_sum"       // the transactions of an entry do not add up to it
	Gap            = "gap"             // a statement or a page is missing between two
	Repeated       = "repeated"        // the same statement, page or entry a second time
	Versions       = "versions"        // two statements with one number and different content
	RunningBreak   = "running_balance" // the balance behind a row is not the one before it plus the row
	ReversalSign   = "reversal_sign"   // reversals seem to have the sign of what they undo
	Details        = "details"         // the transactions of an entry come from a camt.054
)

// Check compares the statement with itself. It returns nothing for a statement that is in order.
func (s *Statement) Check() []Finding {
	c := checker{s: s}
	c.balances()
	c.running()
	if s.Page <= 1 && s.LastPage {
		// A page may state the totals of the page or of the statement: nothing says which.
		c.summary()
	}
	for i := range s.Entries {
		c.entry(&s.Entries[i])
	}
	return c.findings
}

type checker struct {
	s        *Statement
	findings []Finding
}

func (c *checker) add(code, place string, isBreak bool, format string, args ...any) {
	c.findings = append(c.findings, Finding{Code: code, Place: place, Break: isBreak, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) balances() {
	if c.s.Kind == Notification {
		return
	}
	for _, currency := range c.s.Currencies() {
		opening, haveOpening := c.s.Opening(currency)
		closing, haveClosing := c.s.Closing(currency)
		if previous, ok := c.s.balance(currency, "PRCD"); ok && haveOpening && !previous.Amount.Equal(opening.Amount) {
			c.add(OpeningDiffers, c.s.Place, true, "the opening balance is %s %s, and the previous closing balance is %s %s",
				opening.Amount, currency, previous.Amount, currency)
		}
		if !haveOpening || !haveClosing {
			// A camt.053 must give both. A report during the day and a table need not.
			c.add(BalanceMissing, c.s.Place, c.s.Kind == EndOfDay && currency == c.s.Currency,
				"%s in %s: opening balance plus entries cannot be compared with the closing balance", missing(haveOpening, haveClosing), currency)
			continue
		}
		sum := c.s.BookedSum(currency)
		if want := opening.Amount.Add(sum); !want.Equal(closing.Amount) {
			c.add(BalanceBreak, c.s.Place, true, "opening balance %s %s and booked entries of %s %s give %s %s, but the closing balance is %s %s: the difference is %s %s",
				opening.Amount, currency, sum, currency, want, currency, closing.Amount, currency, closing.Amount.Sub(want), currency)
		}
	}
}

// running compares each running balance with the one before it.
func (c *checker) running() {
	before := map[string]Amount{}
	for i := range c.s.Entries {
		e := &c.s.Entries[i]
		if e.Status != Booked {
			continue
		}
		previous, have := before[e.Currency]
		if e.Running == nil {
			if have {
				before[e.Currency] = previous.Add(e.Amount)
			}
			continue
		}
		if want := previous.Add(e.Amount); have && !want.Equal(*e.Running) {
			c.add(RunningBreak, e.Place, true, "the balance behind the entry is %s %s, and the one before it plus the entry is %s %s: a row is missing or out of order",
				*e.Running, e.Currency, want, e.Currency)
		}
		before[e.Currency] = *e.Running
	}
}

func missing(haveOpening, haveClosing bool) string {
	switch {
	case haveOpening:
		return "there is no closing balance"
	case haveClosing:
		return "there is no opening balance"
	}
	return "there is neither an opening nor a closing balance"
}

func (c *checker) summary() {
	stated := c.s.Summary
	if stated == nil {
		return
	}
	var creditCount, debitCount int
	var creditSum, debitSum, reversed Amount
	for i := range c.s.Entries {
		e := &c.s.Entries[i]
		if e.Reversal {
			reversed = reversed.Add(e.Amount)
		}
		if e.Amount.Sign() < 0 {
			debitCount++
			debitSum = debitSum.Sub(e.Amount)
		} else {
			creditCount++
			creditSum = creditSum.Add(e.Amount)
		}
	}
	count := func(what string, stated *int, counted int) {
		if stated != nil && *stated != counted {
			c.add(SummaryBreak, c.s.Place, true, "the summary counts %d %s, and there are %d", *stated, what, counted)
		}
	}
	sum := func(what string, stated *Amount, added Amount) {
		if stated != nil && !stated.Equal(added) {
			c.add(SummaryBreak, c.s.Place, true, "the summary says %s for %s, and they are %s", *stated, what, added)
		}
	}
	count("entries", stated.Count, creditCount+debitCount)
	count("credits", stated.CreditCount, creditCount)
	count("debits", stated.DebitCount, debitCount)
	sum("all entries without their signs", stated.Sum, creditSum.Add(debitSum))
	sum("the credits", stated.CreditSum, creditSum)
	sum("the debits", stated.DebitSum, debitSum)
	net := creditSum.Sub(debitSum)
	sum("credits less debits", stated.Net, net)
	if stated.Net != nil && !stated.Net.Equal(net) && stated.Net.Equal(net.Sub(reversed).Sub(reversed)) {
		c.add(ReversalSign, c.s.Place, false, "the net total would be right if reversals had the other sign: this keeper of the account seems to give them the sign of what they undo")
	}
}

func (c *checker) entry(e *Entry) {
	for _, b := range e.Batches {
		n := b.End - b.First
		// A bank may book a batch in one sum and leave its transactions to a camt.054. Some banks
		// then repeat the sum as the only transaction.
		if n > 1 && b.Count >= 0 && b.Count != n {
			c.add(BatchBreak, e.Place, true, "the batch has %d transactions by its number and %d in the file", b.Count, n)
		}
		if b.Total == nil || b.Currency != e.Currency {
			continue
		}
		sum, known := sumOf(e.Transactions[b.First:b.End])
		if n > 0 && known && !sum.Equal(*b.Total) {
			c.add(BatchBreak, e.Place, true, "the batch has a total of %s %s, and its transactions add up to %s %s", *b.Total, e.Currency, sum, e.Currency)
		}
		if len(e.Batches) == 1 && !b.Total.Equal(e.Amount) {
			c.add(BatchBreak, e.Place, true, "the batch has a total of %s %s, and the entry is %s %s%s", *b.Total, e.Currency, e.Amount, e.Currency, e.charges())
		}
	}
	// With one transaction the entry is the amount: a transaction before charges differs from it.
	if len(e.Transactions) < 2 {
		return
	}
	if sum, known := sumOf(e.Transactions); known && !sum.Equal(e.Amount) {
		c.add(EntrySum, e.Place, true, "the transactions of the entry add up to %s %s, and the entry is %s %s%s", sum, e.Currency, e.Amount, e.Currency, e.charges())
	}
}

func (e *Entry) charges() string {
	if e.Charges == nil || e.Charges.IsZero() {
		return ""
	}
	return fmt.Sprintf("; the bank states charges of %s", *e.Charges)
}

// sumOf returns the sum of the transactions, and false when one of them has no amount.
func sumOf(transactions []Transaction) (sum Amount, known bool) {
	for i := range transactions {
		if transactions[i].Amount == nil {
			return Amount{}, false
		}
		sum = sum.Add(*transactions[i].Amount)
	}
	return sum, true
}
