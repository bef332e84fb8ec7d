package gateway

import (
	"cmp"
	"strings"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
)

// problem is why a transaction is not asked for at the ledger, or why it was not carried out.
type problem struct {
	code string // of an external code set of ISO 20022; "" when name says it
	name string // stable word in snake_case
	text string // one sentence that says what to do
}

// Codes of ExternalStatusReason1Code that the gateway gives by itself.
const (
	codeDebtorAccount   = "AC02"
	codeCreditorAccount = "AC03"
	codeDuplicate       = "AM05"
	codeAmount          = "AM12"
	codeFutureDate      = "DT04"
	codeMissing         = "CH21"
	codeFile            = "FF01"
	codeNarrative       = "NARR"
	codeReference       = "RF01"
)

// sides returns the accounts of the ledger that a payment debits and credits.
func (o *Options) sides(m *iso20022.Message, t *iso20022.Transaction) (debit, credit string, p *problem) {
	currency := t.Settlement.Currency
	switch {
	case m.Type() == "pacs.009":
		debit = o.institution(t.Debtor, t.DebtorAccount, currency)
		credit = o.institution(t.Creditor, t.CreditorAccount, currency)
	case o.BetweenAgents:
		debit = o.institution(cmp.Or(t.Instructing, t.DebtorAgent), iso20022.Account{}, currency)
		credit = o.institution(cmp.Or(t.Instructed, t.CreditorAgent), iso20022.Account{}, currency)
	default:
		debit = o.mapped(t.DebtorAccount.ID(), currency)
		credit = o.mapped(t.CreditorAccount.ID(), currency)
	}
	if p := checkAccount(debit, codeDebtorAccount, "debit"); p != nil {
		return "", "", p
	}
	return debit, credit, checkAccount(credit, codeCreditorAccount, "credit")
}

// institution returns the account of an institution: the one that is configured for it, else the one
// that the message gives, else the one whose id is the institution's.
func (o *Options) institution(p iso20022.Party, a iso20022.Account, currency string) string {
	for _, id := range []string{p.BIC, p.ClearingID, p.LEI, p.Other} {
		if account, found := o.configured(id, currency); found {
			return account
		}
	}
	if id := a.ID(); id != "" {
		return o.mapped(id, currency)
	}
	return p.ID()
}

// mapped returns the account that is configured for an account number, else the number itself.
func (o *Options) mapped(number, currency string) string {
	if account, found := o.configured(number, currency); found {
		return account
	}
	return number
}

// configured looks up an account number or BIC, for the currency first. A BIC of 8 characters and
// the one with XXX behind it are the same.
func (o *Options) configured(number, currency string) (account string, found bool) {
	if number == "" {
		return "", false
	}
	names := []string{number}
	if short, primary := strings.CutSuffix(number, "XXX"); primary && len(number) == 11 {
		names = append(names, short)
	} else if len(number) == 8 {
		names = append(names, number+"XXX")
	}
	for _, suffix := range []string{"/" + currency, ""} {
		for _, name := range names {
			if account, found = o.Accounts[name+suffix]; found {
				return account, true
			}
		}
	}
	return "", false
}

func checkAccount(id, code, side string) *problem {
	if id == "" {
		return &problem{code, "account_missing", "the message names no account to " + side + ": add it, or configure an account for the agent"}
	}
	if err := settlement.CheckID(id); err != nil {
		return &problem{code, "account_id", "the account to " + side + " can be none of the ledger (" + err.Error() + "): configure an account for it"}
	}
	return nil
}
