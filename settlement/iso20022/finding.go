package iso20022

import (
	"fmt"
	"strings"
)

// Severity says what a finding means for the message.
type Severity int

const (
	// Error means that the message, or the transaction, is not to be carried out.
	Error Severity = iota
	// Warning means that it may be carried out and that its sender should know.
	Warning
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Finding is something that is wrong with a message.
type Finding struct {
	Severity Severity
	Rule     string // which check, in snake_case; docs/iso20022.md lists them; stable
	Code     string // external status reason code of ISO 20022 (ExternalStatusReason1Code), "" for none
	Path     string // of the element, as in "/Document/FIToFICstmrCdtTrf/GrpHdr/NbOfTxs"; "" without one
	Line     int    // from 1
	Column   int    // in bytes, from 1
	// Transaction is the index in Message.Transactions, or -1 where the finding is about the whole
	// message.
	Transaction int
	Text        string // one sentence, the last part of which says what to do
}

// String returns the finding on one line.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", f.Severity, f.Rule)
	if f.Code != "" {
		fmt.Fprintf(&b, " %s", f.Code)
	}
	fmt.Fprintf(&b, " %d:%d", f.Line, f.Column)
	if f.Path != "" {
		fmt.Fprintf(&b, " %s", f.Path)
	}
	fmt.Fprintf(&b, ": %s", f.Text)
	return b.String()
}

// Rejected says whether a message is not to be carried out at all: a finding of severity Error is
// about the whole of it.
func Rejected(findings []Finding) bool {
	for _, f := range findings {
		if f.Severity == Error && f.Transaction < 0 {
			return true
		}
	}
	return false
}

// RejectedTransaction returns the first finding of severity Error about the transaction with this
// index, and whether there is one.
func RejectedTransaction(findings []Finding, index int) (Finding, bool) {
	for _, f := range findings {
		if f.Severity == Error && f.Transaction == index {
			return f, true
		}
	}
	return Finding{}, false
}

// Refused is the error of Decode: a message that cannot be read without guessing.
type Refused struct{ Finding }

// Error returns the place and the sentence.
func (r *Refused) Error() string {
	where := fmt.Sprintf("line %d, column %d", r.Line, r.Column)
	if r.Path != "" {
		where = r.Path + " (" + where + ")"
	}
	return where + ": " + r.Text
}
