package settlement

import (
	"time"

	"github.com/cockroachdb/errors"
)

// Date is a day of the calendar, in days since 1970-01-01. 0 is no date.
type Date uint32

// MaxDate is the last date, 9999-12-31.
const MaxDate Date = 2_932_896

const (
	dateFormat  = "2006-01-02"
	secondsADay = 24 * 60 * 60
)

// ParseDate parses a date from 1970-01-02 to 9999-12-31, such as "2027-03-15".
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(dateFormat, s)
	if err != nil || t.Unix() < secondsADay {
		return 0, errors.Newf("date %q: write a day since 1970-01-02 as YYYY-MM-DD", s)
	}
	return Date(t.Unix() / secondsADay), nil
}

// DateOf returns the date in UTC of a ledger time in µs since the Unix epoch; 0 for a time before
// 1970-01-02 or after MaxDate.
func DateOf(micros int64) Date {
	if d := micros / (secondsADay * 1e6); micros >= 0 && d <= int64(MaxDate) {
		return Date(d)
	}
	return 0
}

// Begin returns the ledger time at which the date begins in UTC, in µs since the Unix epoch.
func (d Date) Begin() int64 { return int64(d) * secondsADay * 1e6 }

// String returns the date as YYYY-MM-DD, "" for no date.
func (d Date) String() string {
	if d == 0 {
		return ""
	}
	return time.Unix(int64(d)*secondsADay, 0).UTC().Format(dateFormat)
}
