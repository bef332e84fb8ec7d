package statement

import (
	"time"

	"github.com/cockroachdb/errors"
)

// Day is a date of the calendar from 2 January of the year 1 to the year 9999: the number of days
// since 31 December of the year 0. The zero value is no date.
type Day int32

// unixDay is 1 January 1970.
const unixDay Day = 719163

// dayLayout is ISO 8601, as xs:date without an offset.
const dayLayout = "2006-01-02"

// DayOf returns the date that a clock in t's own zone shows. It is zero for the zero time.
func DayOf(t time.Time) Day {
	if t.IsZero() {
		return 0
	}
	year, month, day := t.Date()
	if year < 1 || year > 9999 {
		return 0
	}
	// Midnights are whole days away from the epoch, on both sides of it: the division is exact.
	return unixDay + Day(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix()/secondsOfDay)
}

const secondsOfDay = 24 * 60 * 60

// ParseDay reads "2006-01-02".
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(dayLayout, s)
	if err != nil || DayOf(t) == 0 {
		return 0, errors.Newf("%s is no date: write it as 2006-01-02", quote(s))
	}
	return DayOf(t), nil
}

// Time returns midnight of the day in UTC, the zero time for no date.
func (d Day) Time() time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Unix(int64(d-unixDay)*secondsOfDay, 0).UTC()
}

// String returns "2006-01-02", and "" for no date.
func (d Day) String() string {
	if d == 0 {
		return ""
	}
	return d.Time().Format(dayLayout)
}

// MarshalText returns String.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDay; an empty text is no date.
func (d *Day) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = 0
		return nil
	}
	parsed, err := ParseDay(string(text))
	*d = parsed
	return err
}
