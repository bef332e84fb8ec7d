package codes

import (
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
)

// checks are values that a check takes, and values that it refuses with a part of what it says.
var checks = []struct {
	name  string
	check func(string) error
	good  []string
	bad   map[string]string
}{
	{"IBAN", IBAN,
		[]string{"DE89370400440532013000", "GB29NWBK60161331926819", "CH9300762011623852957", "FR1420041010050500013M02606",
			"NO9386011117947", "MT84MALT011000012345MTLCAST001S", "BE68539007547034", "BR1800360305000010009795493C1",
			"EG380019000500000000263180002", "BI4210000100010000332045181", "LC55HEMM000100010012001200023015"},
		map[string]string{
			"":                         "not an IBAN",
			"DE89 3704 0044 0532 0130": "without spaces",
			"de89370400440532013000":   "not an IBAN",
			"DE8":                      "not an IBAN",
			"DEX9370400440532013000":   "not an IBAN",
			"DE88370400440532013000":   "check digits 88 do not fit",
			"DE89370400440532013001":   "check digits 89 do not fit",
			"DE8937040044053201300":    "has 21 characters; an IBAN of DE has 22",
			"DE893704004405320130000":  "has 23 characters; an IBAN of DE has 22",
			"DE8937040044053201300é":   "not an IBAN",
			"US64SVBKUS6S3300958879":   "does not list US",
		}},
	{"BIC", BIC,
		[]string{"DEUTDEFF", "DEUTDEFF500", "BNPAFRPPXXX", "1234DE56"},
		map[string]string{"": "not a BIC", "DEUTDEF": "not a BIC", "DEUTDEFF5": "not a BIC", "deutdeff": "not a BIC",
			"DEUT12FF": "not a BIC", "DEUTDEFF50é": "not a BIC"}},
	{"LEI", LEI,
		[]string{"529900T8BM49AURSDO55", "5493001KJTIIGC8Y1R12", "7LTWFZYICNSX8D621K86"},
		map[string]string{"": "not an LEI", "529900T8BM49AURSDO5": "not an LEI", "529900T8BM49AURSDO54": "check digits 54",
			"529900t8BM49AURSDO55": "not an LEI", "529900T8BM49AURSDO5A": "not an LEI"}},
	{"ISIN", ISIN,
		[]string{"US0378331005", "DE000BAY0017", "AU0000XVGZA3", "GB0002634946", "CH0038863350", "XS2010028699"},
		map[string]string{"": "not an ISIN", "US0378331006": "check digit 6 does not fit", "US0373831005": "check digit 5",
			"U10378331005": "not an ISIN", "us0378331005": "not an ISIN", "US037833100A": "not an ISIN"}},
	{"ABA", ABA,
		[]string{"021000021", "011401533", "091000019"},
		map[string]string{"": "write 9 digits", "02100002": "write 9 digits", "021000022": "check digit 2 does not fit",
			"012000021": "check digit", "000000000": "check digit", "02100002A": "write 9 digits"}},
	{"UETR", UETR,
		[]string{"97ed4827-7b6f-4491-a06f-b548d5a7512d", "00000000-0000-4000-8000-000000000000"},
		map[string]string{"": "not a UETR", "97ED4827-7b6f-4491-a06f-b548d5a7512d": "lower case",
			"97ed4827-7b6f-1491-a06f-b548d5a7512d": "version 4", "97ed4827-7b6f-4491-706f-b548d5a7512d": "not a UETR",
			"97ed48277b6f4491a06fb548d5a7512d": "not a UETR", "97ed4827-7b6f-4491-a06f-b548d5a7512g": "not a UETR",
			"97ed4827-7b6f-4491-a06f-b548d5a7512d0": "not a UETR"}},
	{"decimal", func(s string) error { _, err := ParseDecimal(s); return err },
		[]string{"0", "1", "1.", ".5", "+1.50", "-3", "000123.4500", "123456789012345678.12345678901234567"},
		map[string]string{"": "not a decimal", ".": "not a decimal", "-": "not a decimal", "1,5": "not a decimal",
			"1 000": "not a decimal", "1e3": "not a decimal", "0x1": "not a decimal", "1.2.3": "not a decimal", "--1": "not a decimal",
			"1_0": "not a decimal", "١": "not a decimal", strings.Repeat("1", 65): "65 characters"}},
	{"date", func(s string) error { _, err := ParseDate(s); return err },
		[]string{"2026-11-30", "2024-02-29", "2026-11-30Z", "2026-11-30+01:00", "2026-11-30-14:00"},
		map[string]string{"": "not a date", "2026-02-29": "a day that exists", "2026-13-01": "not a date", "30.11.2026": "not a date",
			"2026-11-30T00:00:00": "not a date", "2026-1-3": "not a date", "20261130": "not a date", "2026-11-30+15:00": "not a date",
			"0000-01-01": "not a date", "2026-11-30+1:00": "not a date"}},
	{"time", func(s string) error { _, _, err := ParseDateTime(s); return err },
		[]string{"2026-11-30T12:00:00", "2026-11-30T12:00:00Z", "2026-11-30T12:00:00.123456789012+05:30", "2026-11-30T24:00:00"},
		map[string]string{"": "not a date and time", "2026-11-30": "not a date and time", "2026-11-30 12:00:00": "not a date and time",
			"2026-11-30T25:00:00": "not", "2026-11-30T12:60:00": "not", "2026-11-30T12:00:00.": "not", "2026-11-30T12:00:00z": "not",
			"2026-11-30T12:00": "not", "2026-11-30T24:00:01": "not", "2026-11-30T24:00:00.5": "not", "2026-11-30T12:00:00+14:01": "not"}},
}

func TestChecks(t *testing.T) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			for _, s := range c.good {
				if err := c.check(s); err != nil {
					t.Errorf("%q is refused: %v", s, err)
				}
			}
			for s, want := range c.bad {
				err := c.check(s)
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%q: got %v, want …%s…", s, err, want)
				} else if !strings.Contains(err.Error(), ": ") {
					t.Errorf("%q: %v does not say what to do", s, err)
				}
			}
		})
	}
}

// TestOneCharacterOff: the check digits notice every single wrong digit.
func TestOneCharacterOff(t *testing.T) {
	for _, c := range []struct {
		name, value string
		check       func(string) error
	}{
		{"IBAN", "DE89370400440532013000", IBAN},
		{"LEI", "529900T8BM49AURSDO55", LEI},
		{"ISIN", "US0378331005", ISIN},
		{"ABA", "021000021", ABA},
	} {
		for i := range len(c.value) {
			if !isDigit(c.value[i]) {
				continue
			}
			for d := byte('0'); d <= '9'; d++ {
				wrong := c.value[:i] + string(d) + c.value[i+1:]
				if err := c.check(wrong); (err == nil) != (wrong == c.value) {
					t.Errorf("%s %s: %v", c.name, wrong, err)
				}
			}
		}
	}
}

func TestUnlistedCountry(t *testing.T) {
	if err := IBAN("US64SVBKUS6S3300958879"); !errors.Is(err, ErrUnlistedCountry) {
		t.Errorf("got %v, want ErrUnlistedCountry", err)
	}
	if err := IBAN("US65SVBKUS6S3300958879"); errors.Is(err, ErrUnlistedCountry) || err == nil {
		t.Errorf("wrong check digits come before the country: %v", err)
	}
}

func TestCurrency(t *testing.T) {
	for code, scale := range map[string]int{"EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4, "XAU": NoScale, "ISK": 0, "HUF": 2, "MGA": 2, "XCG": 2} {
		if c, found := LookupCurrency(code); !found || c.Scale != scale || c.Withdrawn || c.Code != code {
			t.Errorf("%s is %+v, %v; want scale %d", code, c, found, scale)
		}
	}
	if c, found := LookupCurrency("HRK"); !found || !c.Withdrawn {
		t.Errorf("HRK is %+v, %v; want a withdrawn one", c, found)
	}
	for _, code := range []string{"", "eur", "EURO", "ZZZ"} {
		if _, found := LookupCurrency(code); found {
			t.Errorf("%q is a currency", code)
		}
	}
	// List one of ISO 4217, as published in January 2026, has 178 codes.
	active := 0
	for _, c := range currencies {
		if !c.Withdrawn {
			active++
		}
	}
	if active != 178 {
		t.Errorf("there are %d active codes, want 178", active)
	}
}

func TestDecimal(t *testing.T) {
	parse := func(s string) Decimal {
		t.Helper()
		d, err := ParseDecimal(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct {
		in, out       string
		scale, digits int
	}{
		{"0", "0", 0, 1}, {"000", "0", 0, 1}, {"-0.00", "0", 0, 1}, {"1.50", "1.5", 1, 2}, {".05", "0.05", 2, 2}, {"-.5", "-0.5", 1, 1},
		{"+0012.3400", "12.34", 2, 4}, {"100", "100", 0, 3},
	} {
		d := parse(c.in)
		if d.String() != c.out || d.Scale() != c.scale || d.Digits() != c.digits {
			t.Errorf("%s is %s with %d decimals and %d digits, want %s, %d, %d", c.in, d, d.Scale(), d.Digits(), c.out, c.scale, c.digits)
		}
	}
	for _, c := range []struct{ a, b, sum string }{
		{"1.1", "2.25", "3.35"}, {"0.5", "0.5", "1"}, {"-1", "0.75", "-0.25"}, {"99999999999999999999", "0.01", "99999999999999999999.01"},
	} {
		if got := parse(c.a).Add(parse(c.b)); got.String() != c.sum || got.Cmp(parse(c.sum)) != 0 || got.Scale() != parse(c.sum).Scale() {
			t.Errorf("%s + %s = %s, want %s", c.a, c.b, got, c.sum)
		}
	}
	var zero Decimal
	if zero.String() != "0" || zero.Add(parse("2.5")).String() != "2.5" || zero.Neg().Sign() != 0 || zero.Cmp(parse("0.0")) != 0 {
		t.Error("the zero value is not 0")
	}
	if parse("1.10").Cmp(parse("1.1")) != 0 || parse("1.09").Cmp(parse("1.1")) >= 0 || parse("-2").Cmp(parse("1")) >= 0 {
		t.Error("Cmp is wrong")
	}
	if got := parse("12.3").Fixed(2); got != "12.30" {
		t.Errorf("12.3 with two decimals is %s", got)
	}
	if got := parse("12.345").Neg().Fixed(2); got != "-12.345" {
		t.Errorf("Fixed cuts decimals off: %s", got)
	}
}

func TestParseDateTime(t *testing.T) {
	for in, want := range map[string]string{
		"2026-11-30T12:00:00+05:30":        "2026-11-30T06:30:00Z",
		"2026-11-30T12:00:00-14:00":        "2026-12-01T02:00:00Z",
		"2026-11-30T24:00:00":              "2026-12-01T00:00:00Z",
		"2026-11-30T12:00:00.5Z":           "2026-11-30T12:00:00.5Z",
		"2026-11-30T12:00:00.123456789999": "2026-11-30T12:00:00.123456789Z",
	} {
		got, zoned, err := ParseDateTime(in)
		if err != nil || got.Format("2006-01-02T15:04:05.999999999Z07:00") != want {
			t.Errorf("%s is %s, %v; want %s", in, got, err, want)
		}
		if wantZone := strings.ContainsAny(in[19:], "Z+-"); zoned != wantZone {
			t.Errorf("%s: zoned is %v", in, zoned)
		}
	}
}
