package reconcile

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// references are the normalised keys of one side by rule. Two sides match by a rule when they share
// a key of it.
type references map[Rule][]string

// maxKeys bounds the keys of one side in one rule.
const maxKeys = 32

func (r references) add(rule Rule, keys ...string) {
	for _, k := range keys {
		if k != "" && len(r[rule]) < maxKeys && !slices.Contains(r[rule], k) {
			r[rule] = append(r[rule], k)
		}
	}
}

// identifiers of payments, of which a payment has at most one each. Two sides that both have one
// and differ in it are two payments.
var identifiers = []Rule{EndToEndID, UETR, TransactionID, InstructionID}

// contradict says whether the two are different payments by their identifiers: they differ in one
// and agree in none. An identifier that a bank has cut agrees with the whole one.
func (r references) contradict(other references) bool {
	differ := false
	for _, rule := range identifiers {
		a, b := r[rule], other[rule]
		if len(a) == 0 || len(b) == 0 {
			continue
		}
		if a[0] == b[0] || isCut(a[0], b[0]) || isCut(b[0], a[0]) {
			return false
		}
		differ = true
	}
	return differ
}

// isCut says whether short is the beginning of long, and long enough not to be so by chance.
func isCut(short, long string) bool {
	const shortest = 10
	return len(short) >= shortest && strings.HasPrefix(long, short)
}

// provided returns a reference without white space at its ends, "" for words that stand for none.
func provided(s string) string {
	s = strings.TrimSpace(s)
	switch strings.ToUpper(s) {
	case "NOTPROVIDED", "NOT PROVIDED", "NOTPROV", "NONREF", "NONE", "N/A", "-":
		return ""
	}
	return s
}

// creditorKey returns the form of a structured creditor reference in which equal references are
// equal: letters in upper case, no spaces, no leading zeros. ISO 11649 wraps a national reference
// into "RF" and two check digits; where they are right, the national reference is the key.
func creditorKey(s string) string {
	s = strings.ToUpper(strings.Join(strings.Fields(s), ""))
	if strings.HasPrefix(s, "RF") && len(s) > 4 && len(s) <= 25 && mod97(s[4:]+s[:4]) == 1 {
		s = s[4:]
	}
	if trimmed := strings.TrimLeft(s, "0"); trimmed != "" {
		s = trimmed
	}
	return provided(s)
}

// mod97 returns the remainder of ISO 7064 for digits and letters, 0 for anything else.
func mod97(s string) int {
	rest := 0
	for _, c := range s {
		switch {
		case c >= '0' && c <= '9':
			rest = (rest*10 + int(c-'0')) % 97
		case c >= 'A' && c <= 'Z':
			rest = (rest*100 + int(c-'A') + 10) % 97
		default:
			return 0
		}
	}
	return rest
}

// found returns what the pattern finds in the texts: its first group, or all of it.
func found(pattern *regexp.Regexp, texts ...string) []string {
	if pattern == nil {
		return nil
	}
	var keys []string
	for _, text := range texts {
		for _, match := range pattern.FindAllStringSubmatch(text, maxKeys) {
			key := match[0]
			if len(match) > 1 {
				key = match[1]
			}
			keys = append(keys, patternKey(key))
		}
	}
	return keys
}

func patternKey(s string) string {
	return strings.ToUpper(strings.Join(strings.Fields(provided(s)), ""))
}

// movementReferences returns the keys of a movement.
func movementReferences(m *Movement, pattern *regexp.Regexp) references {
	r := references{}
	r.add(EndToEndID, provided(m.EndToEndID))
	r.add(CreditorReference, creditorKey(m.CreditorRef))
	r.add(InstructionID, provided(m.InstructionID))
	r.add(TransactionID, provided(m.TransactionID))
	r.add(UETR, strings.ToLower(provided(m.UETR)))
	r.add(TransferID, provided(m.TransferID))
	r.add(ServicerRef, provided(m.ServicerRef))
	r.add(Batch, provided(m.Batch))
	if pattern != nil {
		// A payer writes any of the references that he was given into the text.
		for _, id := range []string{m.TransferID, m.EndToEndID, m.InstructionID, m.TransactionID, m.CreditorRef} {
			r.add(Pattern, patternKey(id))
		}
		r.add(Pattern, found(pattern, m.Text)...)
	}
	return r
}

// itemReferences returns the keys of an entry, or of one of its transactions.
func itemReferences(e *statement.Entry, t *statement.Transaction, pattern *regexp.Regexp) references {
	r := references{}
	own := len(e.Transactions) <= 1 // the references of the entry are those of its only item
	texts := []string{e.Text}
	if t != nil {
		r.add(EndToEndID, provided(t.EndToEndID))
		for _, ref := range t.CreditorRefs {
			r.add(CreditorReference, creditorKey(ref))
		}
		r.add(InstructionID, provided(t.InstructionID))
		r.add(TransactionID, provided(t.TransactionID))
		r.add(UETR, strings.ToLower(provided(t.UETR)))
		r.add(TransferID, provided(t.EndToEndID), provided(t.InstructionID), provided(t.TransactionID), provided(t.ServicerRef))
		for _, ref := range t.Proprietary {
			r.add(TransferID, provided(ref))
		}
		r.add(ServicerRef, provided(t.ServicerRef))
		r.add(Batch, provided(t.PaymentInfoID), provided(t.MessageID))
		texts = append(texts, t.Text...)
		// A bank breaks a long text into lines wherever a line is full.
		texts = append(texts, strings.Join(t.Text, ""), strings.Join(t.Text, " "))
	}
	if own {
		r.add(ServicerRef, provided(e.ServicerRef))
		r.add(TransferID, provided(e.ServicerRef), provided(e.Ref))
		for _, b := range e.Batches {
			r.add(Batch, provided(b.PaymentInfoID), provided(b.MessageID))
		}
	}
	r.add(Pattern, found(pattern, texts...)...)
	return r
}

// wholeReferences returns the keys of an entry that stands for a batch, all under the rule Batch:
// what the ledger may call the sum.
func wholeReferences(e *statement.Entry) references {
	r := references{}
	for _, b := range e.Batches {
		r.add(Batch, provided(b.PaymentInfoID), provided(b.MessageID))
	}
	for i := range e.Transactions {
		r.add(Batch, provided(e.Transactions[i].PaymentInfoID), provided(e.Transactions[i].MessageID))
	}
	r.add(Batch, provided(e.ServicerRef), provided(e.Ref))
	return r
}

// party is a counterparty in the form in which it is compared.
type party struct {
	account string
	words   []string // of the name, in upper case, sorted
}

func partyOf(p statement.Party) party {
	words := strings.FieldsFunc(strings.ToUpper(p.Name), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	slices.Sort(words)
	return party{account: strings.ToUpper(strings.Join(strings.Fields(p.Account), "")), words: slices.Compact(words)}
}

func (p party) known() bool { return p.account != "" || len(p.words) > 0 }

// agrees says whether two counterparties are the same: by their accounts where both have one, else
// by their names. Of two names, all words of the shorter must be in the longer one, since banks
// cut names and add legal forms.
func (p party) agrees(other party) bool {
	if p.account != "" && other.account != "" {
		return p.account == other.account
	}
	short, long := p.words, other.words
	if len(short) > len(long) {
		short, long = long, short
	}
	if len(short) == 0 {
		return false
	}
	for _, w := range short {
		if !slices.Contains(long, w) {
			return false
		}
	}
	return true
}
