package settlement

import "github.com/cockroachdb/errors"

// Status is what became of a transfer, a set or an instruction, or what came of a command.
type Status uint8

// The statuses.
const (
	// Done: the command did what it asked for: an asset or an account was created or changed.
	Done Status = 1
	// Posted: the amounts are booked. Nothing reverses that; a return is another transfer.
	Posted Status = 2
	// Pending: the amounts are reserved.
	Pending Status = 3
	// Voided: what was reserved was released by a command.
	Voided Status = 4
	// Expired: what was reserved was released because its time was over.
	Expired Status = 5
	// Rejected: nothing was changed, and the id is used. The reason says why.
	Rejected Status = 6
	// Exists: the same was asked for before; the entry named says what came of it.
	Exists Status = 7
	// Conflict: something else was asked for under this id before, by the entry named.
	Conflict Status = 8

	// Unmatched: the instruction waits for the counterparty's.
	Unmatched Status = 9
	// Matched: the instruction waits for its settlement date.
	Matched Status = 10
	// Queued: the instruction waits for an account. The reason says what stands against it.
	Queued Status = 11
	// Settled: all legs are booked. Nothing reverses that.
	Settled Status = 12
	// PartlySettled: a part of the legs is booked, and the rest waits for an account.
	PartlySettled Status = 13
	// Cancelled: the instruction does not settle any more. What was settled before stays.
	Cancelled Status = 14
	// CancelRequested: one side has asked to cancel an instruction that has a match.
	CancelRequested Status = 15
	// Held: the instruction has a match, and one of the two is on hold.
	Held Status = 16
)

var statusNames = [...]string{
	Done: "done", Posted: "posted", Pending: "pending", Voided: "voided", Expired: "expired", Rejected: "rejected", Exists: "exists",
	Conflict: "conflict", Unmatched: "unmatched", Matched: "matched", Queued: "queued", Settled: "settled", PartlySettled: "partly_settled",
	Cancelled: "cancelled", CancelRequested: "cancel_requested", Held: "held",
}

// String returns the status in one word.
func (s Status) String() string {
	if int(s) < len(statusNames) && statusNames[s] != "" {
		return statusNames[s]
	}
	return "unknown"
}

// ParseStatus returns the status of this name.
func ParseStatus(name string) (Status, error) {
	for s, n := range statusNames {
		if n == name && n != "" {
			return Status(s), nil
		}
	}
	return 0, errors.Newf("no status is called %q; one is pending, another posted", name)
}

// Reason is why a command was rejected. Its numbers and names never change.
type Reason uint8

// The reasons.
const (
	NoReason            Reason = 0
	AssetUnknown        Reason = 1
	AccountUnknown      Reason = 2
	DebitUnknown        Reason = 3
	CreditUnknown       Reason = 4
	NotPermitted        Reason = 5
	SameAccount         Reason = 6
	AssetsDiffer        Reason = 7
	AssetMismatch       Reason = 8
	AmountZero          Reason = 9
	AmountScale         Reason = 10
	AmountOverflow      Reason = 11
	DebitClosed         Reason = 12
	CreditClosed        Reason = 13
	DebitFrozen         Reason = 14
	CreditFrozen        Reason = 15
	InsufficientFunds   Reason = 16
	LimitExceeded       Reason = 17
	CreditLimitExceeded Reason = 18
	ConditionFailed     Reason = 19
	IDUsed              Reason = 20
	OriginalUnknown     Reason = 21
	OriginalNotPosted   Reason = 22
	OriginalDiffers     Reason = 23
	ReturnExceeds       Reason = 24
	PendingUnknown      Reason = 25
	NotPending          Reason = 26
	AlreadyPosted       Reason = 27
	AlreadyVoided       Reason = 28
	AlreadyExpired      Reason = 29
	ExceedsPending      Reason = 30
	MemberOfSet         Reason = 31
	NotInSet            Reason = 32
	AccountPending      Reason = 33
	BalanceLeft         Reason = 34
	AccountClosed       Reason = 35
	NoLimit             Reason = 36
	NotTheLeader        Reason = 37
	SetMemberRejected   Reason = 38
	TimeOverflow        Reason = 39
	IDTwice             Reason = 40
	InstructionUnknown  Reason = 41
	InstructionFinal    Reason = 42
	InstructionHeld     Reason = 43
	InstructionNotHeld  Reason = 44
	InstructionLegs     Reason = 45
	InstructionLate     Reason = 46
	PartyNotOwner       Reason = 47
	BehindQueue         Reason = 48
	InstructionExpired  Reason = 49
	endOfReasons               = 50
)

// reasonInfo is what the documents and the messages say about a reason.
type reasonInfo struct {
	name string
	iso  string // ISO 20022 ExternalStatusReason1Code
	text string // what to do
}

var reasons = [endOfReasons]reasonInfo{
	AssetUnknown:        {"asset_unknown", "AM11", "no asset has this id; an operator creates it first"},
	AccountUnknown:      {"account_unknown", "AC01", "no account has this id; an operator opens it first"},
	DebitUnknown:        {"debit_account_unknown", "AC02", "the account to debit does not exist; an operator opens it first"},
	CreditUnknown:       {"credit_account_unknown", "AC03", "the account to credit does not exist; check its id"},
	NotPermitted:        {"not_permitted", "AG01", "the caller owns no such account to debit; an owner or an operator has to ask"},
	SameAccount:         {"same_account", "AG01", "the account to debit is the account to credit; name two accounts"},
	AssetsDiffer:        {"assets_differ", "AM03", "the two accounts hold different assets; use two transfers in a set to exchange them"},
	AssetMismatch:       {"asset_mismatch", "AM11", "the transfer names another asset than its accounts hold"},
	AmountZero:          {"amount_zero", "AM01", "the amount is zero; to release a reservation, void it"},
	AmountScale:         {"amount_scale", "AM12", "the amount has more digits behind the point than the asset"},
	AmountOverflow:      {"amount_overflow", "AM02", "the amount, or a balance with it, passes 2^128 - 1 minor units"},
	DebitClosed:         {"debit_account_closed", "AC05", "the account to debit is closed"},
	CreditClosed:        {"credit_account_closed", "AC07", "the account to credit is closed"},
	DebitFrozen:         {"debit_account_frozen", "AC06", "the account to debit is frozen; an operator unfreezes it"},
	CreditFrozen:        {"credit_account_frozen", "AC06", "the account to credit is frozen; an operator unfreezes it"},
	InsufficientFunds:   {"insufficient_funds", "AM04", "the account to debit has less available; reservations count"},
	LimitExceeded:       {"limit_exceeded", "AM14", "the account to debit would pass its limit; reservations count"},
	CreditLimitExceeded: {"credit_limit_exceeded", "AM14", "the account to credit would hold more credits than it may; reservations count"},
	ConditionFailed:     {"condition_failed", "NARR", "a condition of the command does not hold; the outcome says which"},
	IDUsed:              {"id_used", "AM05", "a transfer of the set has an id that is used already"},
	OriginalUnknown:     {"original_unknown", "RF01", "the transfer to return does not exist"},
	OriginalNotPosted:   {"original_not_posted", "RF01", "the transfer to return is not posted; void it instead if it is pending"},
	OriginalDiffers:     {"original_differs", "AG01", "a return goes from the credit account of the original transfer to its debit account"},
	ReturnExceeds:       {"return_exceeds_original", "AM09", "the returns would exceed what the original transfer posted"},
	PendingUnknown:      {"pending_unknown", "RF01", "no transfer or set has this id"},
	NotPending:          {"not_pending", "AG01", "the transfer was never pending: there is nothing to post or to void"},
	AlreadyPosted:       {"already_posted", "AM05", "it has been posted, with other amounts or before this void"},
	AlreadyVoided:       {"already_voided", "AG01", "it has been voided"},
	AlreadyExpired:      {"already_expired", "AB03", "its reservation has expired"},
	ExceedsPending:      {"exceeds_pending", "AM09", "more is to be posted than was reserved"},
	MemberOfSet:         {"member_of_set", "AG01", "the transfer belongs to a set: post or void the set by its id"},
	NotInSet:            {"not_in_set", "RF01", "an amount names a transfer that is not in the set"},
	AccountPending:      {"account_has_pending", "AG01", "something is pending on the account; post or void it before you close the account"},
	BalanceLeft:         {"balance_left", "AG01", "the account has a balance; move it before you close the account"},
	AccountClosed:       {"account_closed", "AC04", "the account is closed for ever"},
	NoLimit:             {"no_limit", "AG01", "the account limits neither its debits nor its credits, so a limit has no meaning"},
	NotTheLeader:        {"not_the_leader", "AG01", "this command is made by the nodes of the ledger alone"},
	SetMemberRejected:   {"set_member_rejected", "NARR", "a transfer of the set cannot be made, so none is; the outcome says which and why"},
	TimeOverflow:        {"time_overflow", "DT01", "the timeout ends beyond the last representable time"},
	IDTwice:             {"id_twice", "AM05", "two transfers of the set have one id, or one has the id of the set"},
	InstructionUnknown:  {"instruction_unknown", "RF01", "no instruction has this id"},
	InstructionFinal:    {"instruction_final", "AG01", "the instruction is settled, cancelled, expired or rejected; nothing about it changes any more"},
	InstructionHeld:     {"instruction_held", "AG01", "the instruction is on hold already"},
	InstructionNotHeld:  {"instruction_not_held", "AG01", "the instruction is not on hold, so there is nothing to release"},
	InstructionLegs:     {"instruction_legs", "AM03", "the instruction delivers the asset that it receives; name two assets, or one leg alone"},
	InstructionLate:     {"instruction_late", "DT01", "the instruction expires before it can settle; let it expire later, or never"},
	PartyNotOwner:       {"party_not_owner", "AG01", "the party is no owner of an account of the instruction; an operator adds its name to the owners"},
	BehindQueue:         {"behind_queue", "NARR", "instructions that waited for the account before are tried first; this one follows by itself"},
	InstructionExpired:  {"instruction_expired", "AB03", "the time of the instruction, or of its match, was over before all of it was settled"},
}

// String returns the reason's name, "" for none.
func (r Reason) String() string {
	if r == NoReason {
		return ""
	}
	if int(r) < len(reasons) && reasons[r].name != "" {
		return reasons[r].name
	}
	return "unknown"
}

// ParseReason returns the reason of this name; "" is NoReason.
func ParseReason(name string) (Reason, error) {
	for r := range reasons {
		if reasons[r].name == name {
			return Reason(r), nil
		}
	}
	return 0, errors.Newf("no reason is called %q", name)
}

// ISO returns the ISO 20022 ExternalStatusReason1Code of the reason, "" for none.
func (r Reason) ISO() string {
	if int(r) < len(reasons) {
		return reasons[r].iso
	}
	return ""
}

// Text says what the reason means and what to do.
func (r Reason) Text() string {
	if int(r) < len(reasons) {
		return reasons[r].text
	}
	return ""
}

// Reasons are all of them, ascending.
func Reasons() []Reason {
	all := make([]Reason, 0, endOfReasons)
	for r := Reason(1); r < endOfReasons; r++ {
		all = append(all, r)
	}
	return all
}
