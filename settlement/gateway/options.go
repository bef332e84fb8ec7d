package gateway

import (
	"bytes"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/cockroachdb/errors"
	"go.yaml.in/yaml/v3"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/codes"
)

// Options are what the gateway knows beyond the messages.
type Options struct {
	// Participant is who sends the messages, and Rail is where they come from. Both are part of every
	// identity: to change them makes every message a new one. 1 to 100 characters.
	Participant string `yaml:"participant"`
	Rail        string `yaml:"rail"`
	// Others are participants whose payments a message may be about: a return comes from another
	// participant than the payment. The gateway looks for an original under Participant, then under
	// these, then under the instructed and the instructing agent of the message.
	Others []string `yaml:"others"`
	// Accounts names the ledger's account for an account number or a BIC of a message, or for one of
	// them and a currency, as in "DEUTDEFF/EUR". What is not in it is the id of an account itself.
	Accounts map[string]string `yaml:"accounts"`
	// BetweenAgents: pacs.008 moves money between the accounts of the instructing and the instructed
	// agent, not between those of debtor and creditor.
	BetweenAgents bool `yaml:"between_agents"`
	// Reserve: transfers of pacs.008 and pacs.009 are reserved, and pacs.002 posts or voids them.
	// ReserveFor is after how long a reservation expires; 0 is never.
	Reserve    bool          `yaml:"reserve"`
	ReserveFor time.Duration `yaml:"reserve_for"`
	// BusinessDate has settlement dates compared: "today" is the day in UTC on which the message came,
	// otherwise a date as in "2026-11-30". An earlier date is rejected, and so is a later one, because
	// the ledger settles at once. "" rejects only a date that has begun nowhere on earth.
	BusinessDate string `yaml:"business_date"`
	// CutOff is the time of the day in UTC, as in "17:00", at which the settlement of BusinessDate ends.
	// "" is none.
	CutOff string `yaml:"cut_off"`
	// MaxAge is how old the creation time of a message may be when it comes; 0 is any age.
	MaxAge time.Duration `yaml:"max_age"`
}

// DefaultRail is the rail where nothing else is said.
const DefaultRail = "iso20022"

// maxName is the longest participant or rail, in bytes.
const maxName = 100

// ReadOptions reads options from YAML, whose keys are those of the fields of Options. An unknown key
// is an error.
func ReadOptions(raw []byte) (Options, error) {
	var o Options
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&o); err != nil && !errors.Is(err, io.EOF) {
		return Options{}, errors.Wrap(err, "read the options of the gateway")
	}
	return o, nil
}

// Check says what is wrong with options.
func (o *Options) Check() error {
	names := []struct{ what, name string }{{"participant", o.Participant}, {"rail", o.Rail}}
	for _, other := range o.Others {
		names = append(names, struct{ what, name string }{"other participant", other})
	}
	for _, n := range names {
		if n.name == "" || len(n.name) > maxName || strings.ContainsFunc(n.name, unicode.IsControl) {
			return errors.Newf("the %s %q: give it 1 to %d bytes without control characters", n.what, n.name, maxName)
		}
	}
	for from, to := range o.Accounts {
		if err := settlement.CheckID(to); from == "" || err != nil {
			return errors.Newf("the account %q for %q: name an account of the ledger, 1 to %d printable ASCII characters without a space", to, from, settlement.MaxID)
		}
	}
	switch {
	case o.ReserveFor < 0 || o.ReserveFor > 0 && !o.Reserve:
		return errors.New("a time after which reservations expire needs reservations, and is not negative")
	case o.ReserveFor%time.Microsecond != 0:
		return errors.Newf("reservations expire after %s: the ledger counts microseconds", o.ReserveFor)
	case o.MaxAge < 0:
		return errors.Newf("a message may have an age of %s: give a positive duration, or 0 for any age", o.MaxAge)
	case o.CutOff != "" && o.BusinessDate == "":
		return errors.New("a cut-off needs a business date: give one, or today")
	}
	if o.BusinessDate != "" && o.BusinessDate != Today {
		if _, err := codes.ParseDate(o.BusinessDate); err != nil {
			return errors.Newf("the business date %q: write a date as in 2026-11-30, or %s", o.BusinessDate, Today)
		}
	}
	if _, err := o.cutOff(time.Time{}); err != nil {
		return errors.Newf("the cut-off %q: write a time as in 17:00", o.CutOff)
	}
	return nil
}

// Rules are what the options say about when a message may come. Check has found nothing wrong with
// them.
func (o *Options) Rules(received time.Time) iso20022.Rules {
	cutOff, _ := o.cutOff(received)
	return iso20022.Rules{Now: received, MaxAge: o.MaxAge, Today: o.date(received), CutOff: cutOff}
}

// Today is the business date on which a message comes.
const Today = "today"

// date returns the business date of a message that came at this time, "" for none.
func (o *Options) date(received time.Time) string {
	if o.BusinessDate == Today {
		return received.UTC().Format(time.DateOnly)
	}
	return o.BusinessDate
}

// eastmost is how far the earliest time zone is ahead of UTC.
const eastmost = 14 * time.Hour

// latest returns the last settlement date of a payment that came at this time: the business date, and
// without one the date that has begun somewhere on earth; "" when the time is not known. The ledger
// settles at once, so a payment of a later date has to come later.
func (o *Options) latest(received time.Time) string {
	if date := o.date(received); date != "" || received.IsZero() {
		return date
	}
	return received.UTC().Add(eastmost).Format(time.DateOnly)
}

// cutOff returns the cut-off of the day of a time, the zero value for none.
func (o *Options) cutOff(day time.Time) (time.Time, error) {
	if o.CutOff == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse("15:04", o.CutOff)
	if err != nil {
		return t, err
	}
	day = day.UTC()
	return time.Date(day.Year(), day.Month(), day.Day(), t.Hour(), t.Minute(), 0, 0, time.UTC), nil
}
