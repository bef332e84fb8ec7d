package codes

import (
	"strings"
	"time"

	"github.com/cockroachdb/errors"
)

// ParseDate reads a date as XML Schema writes it (xs:date), with a year of four digits. A time
// zone behind it is allowed and not kept. The result is midnight UTC.
func ParseDate(s string) (time.Time, error) {
	day, zone := s, ""
	if len(s) > len(time.DateOnly) {
		day, zone = s[:len(time.DateOnly)], s[len(time.DateOnly):]
	}
	t, err := time.Parse(time.DateOnly, day)
	if err != nil || !validZone(zone) || t.Year() == 0 {
		return time.Time{}, errors.Newf("is %q, not a date: write YYYY-MM-DD with a day that exists", s)
	}
	return t, nil
}

// ParseDateTime reads a date and time as XML Schema writes it (xs:dateTime), with a year of four
// digits. A time without a zone counts as UTC, and zoned says so. Fractions beyond nanoseconds are
// cut off.
func ParseDateTime(s string) (t time.Time, zoned bool, err error) {
	const layout = "2006-01-02T15:04:05"
	bad := errors.Newf("is %q, not a date and time: write YYYY-MM-DDThh:mm:ss with Z or a zone such as +01:00", s)
	if len(s) < len(layout) {
		return time.Time{}, false, bad
	}
	clock, rest := s[:len(layout)], s[len(layout):]
	var nanos time.Duration
	if fraction, found := strings.CutPrefix(rest, "."); found {
		n := 0
		for n < len(fraction) && isDigit(fraction[n]) {
			n++
		}
		if n == 0 {
			return time.Time{}, false, bad
		}
		for i := range min(n, 9) {
			nanos = nanos*10 + time.Duration(fraction[i]-'0')
		}
		for i := n; i < 9; i++ {
			nanos *= 10
		}
		rest = fraction[n:]
	}
	endOfDay := strings.HasSuffix(clock, "T24:00:00") && nanos == 0
	if endOfDay {
		clock = clock[:11] + "00:00:00"
	}
	t, parseErr := time.Parse(layout, clock)
	if parseErr != nil || !validZone(rest) || t.Year() == 0 {
		return time.Time{}, false, bad
	}
	if endOfDay {
		t = t.AddDate(0, 0, 1)
	}
	return t.Add(nanos - zoneOffset(rest)), rest != "", nil
}

// validZone says whether s is "", "Z" or an offset of at most 14 hours.
func validZone(s string) bool {
	if s == "" || s == "Z" {
		return true
	}
	if len(s) != 6 || s[0] != '+' && s[0] != '-' || s[3] != ':' || !digits(s[1:3]) || !digits(s[4:]) {
		return false
	}
	return s[4:] < "60" && (s[1:3] < "14" || s[1:] == "14:00")
}

// zoneOffset returns the offset of a valid zone.
func zoneOffset(s string) time.Duration {
	if len(s) != 6 {
		return 0
	}
	number := func(s string) time.Duration { return time.Duration(s[0]-'0')*10 + time.Duration(s[1]-'0') }
	d := number(s[1:3])*time.Hour + number(s[4:])*time.Minute
	if s[0] == '-' {
		return -d
	}
	return d
}

// Time checks a time of day as XML Schema writes it (xs:time).
func Time(s string) error {
	if _, _, err := ParseDateTime("2000-01-01T" + s); err != nil {
		return errors.Newf("is %q, not a time: write hh:mm:ss with Z or a zone such as +01:00", s)
	}
	return nil
}
