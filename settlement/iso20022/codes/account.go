package codes

import (
	"strings"

	"github.com/cockroachdb/errors"
)

// ErrUnlistedCountry says that the IBAN registry, as this package knows it, has no such country.
// The country may have joined since.
var ErrUnlistedCountry = errors.New("the IBAN registry does not list the country")

// ibanLength is the length of an IBAN by country: the registry of ISO 13616, release 100.
var ibanLength = func() map[string]int {
	all := make(map[string]int, 110)
	for length, countries := range map[int]string{
		15: "NO",
		16: "BE",
		18: "DK FI FK FO GL NL SD",
		19: "MK SI",
		20: "AT BA EE KZ LT LU MN XK",
		21: "CH HR LI LV",
		22: "BG BH CR DE GB GE IE ME RS VA",
		23: "AE GI IL IQ OM SO TL",
		24: "AD CZ ES MD PK RO SA SE SK TN VG",
		25: "LY PT ST",
		26: "IS TR",
		27: "BI DJ FR GR IT MC MR SM",
		28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
		29: "BR EG PS QA UA",
		30: "JO KW MU YE",
		31: "MT SC",
		32: "LC",
		33: "RU",
	} {
		for country := range strings.FieldsSeq(countries) {
			all[country] = length
		}
	}
	return all
}()

// IBAN checks an international bank account number in its electronic form, without spaces: shape,
// check digits and the length of its country.
func IBAN(s string) error {
	if len(s) < 5 || len(s) > 34 || !upper(s[:2]) || !digits(s[2:4]) || !alphanumeric(s[4:]) {
		return errors.Newf("is %q, not an IBAN: write two letters, two digits and the account number, without spaces", s)
	}
	length, listed := ibanLength[s[:2]]
	if listed && len(s) != length {
		return errors.Newf("is %q, which has %d characters; an IBAN of %s has %d: correct the account number", s, len(s), s[:2], length)
	}
	if mod97(s[4:]+s[:4]) != 1 {
		return errors.Newf("is %q, whose check digits %s do not fit: correct the account number", s, s[2:4])
	}
	if !listed {
		return errors.Mark(errors.Newf("is %q, and the IBAN registry does not list %s: make sure that the country has IBANs", s, s[:2]),
			ErrUnlistedCountry)
	}
	return nil
}

// mod97 returns the remainder of ISO 7064, MOD 97-10, with A as 10 and so on to Z as 35. Letters
// count the same in either case.
func mod97(s string) int {
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			n = (n*10 + int(c-'0')) % 97
		default:
			n = (n*100 + int(c|0x20-'a') + 10) % 97
		}
	}
	return n
}

func every(s string, ok func(c byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isLower(c byte) bool { return c >= 'a' && c <= 'z' }

func digits(s string) bool { return every(s, isDigit) }
func upper(s string) bool  { return every(s, isUpper) }

func upperOrDigits(s string) bool {
	return every(s, func(c byte) bool { return isUpper(c) || isDigit(c) })
}

func alphanumeric(s string) bool {
	return every(s, func(c byte) bool { return isUpper(c) || isLower(c) || isDigit(c) })
}
