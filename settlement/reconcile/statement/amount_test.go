package statement

import (
	"math/big"
	"strings"
	"testing"
	"testing/quick"
	"time"
)

func TestParseAmount(t *testing.T) {
	for _, c := range []struct{ in, out, key string }{
		{"0", "0", "0"},
		{"-0.00", "0.00", "0"},
		{"12.50", "12.50", "12.5"},
		{"+12.5", "12.5", "12.5"},
		{".5", "0.5", "0.5"},
		{"5.", "5", "5"},
		{"-0.05", "-0.05", "-0.05"},
		{"1200", "1200", "1200"},
		{"340282366920938463463374607431768211455", "340282366920938463463374607431768211455", "340282366920938463463374607431768211455"},
	} {
		a, err := ParseAmount(c.in)
		if err != nil || a.String() != c.out || a.Key() != c.key {
			t.Errorf("ParseAmount(%q) = %s with key %s, %v; want %s with key %s", c.in, a, a.Key(), err, c.out, c.key)
		}
	}
	for _, bad := range []string{"", "-", ".", "1,5", "1e5", "0x1", " 1", "1 ", "1.2.3", "--1", "+-1", "१", "NaN",
		strings.Repeat("9", 81), "0." + strings.Repeat("1", 39)} {
		if a, err := ParseAmount(bad); err == nil {
			t.Errorf("ParseAmount(%q) = %s, want an error", bad, a)
		}
	}
}

// The arithmetic agrees with that of rational numbers.
func TestAmountArithmetic(t *testing.T) {
	rat := func(a Amount) *big.Rat {
		r, ok := new(big.Rat).SetString(a.String())
		if !ok {
			t.Fatalf("%s is no number", a)
		}
		return r
	}
	property := func(x, y int64, sx, sy uint8) bool {
		a, b := NewAmount(x, int(sx)%(MaxScale+1)), NewAmount(y, int(sy)%(MaxScale+1))
		ra, rb := rat(a), rat(b)
		return rat(a.Add(b)).Cmp(new(big.Rat).Add(ra, rb)) == 0 &&
			rat(a.Sub(b)).Cmp(new(big.Rat).Sub(ra, rb)) == 0 &&
			a.Cmp(b) == ra.Cmp(rb) && a.Sign() == ra.Sign() &&
			(a.Key() == b.Key()) == a.Equal(b) &&
			rat(a.WithScale(20)).Cmp(ra) == 0
	}
	if err := quick.Check(property, nil); err != nil {
		t.Error(err)
	}
	if a := Amount128(true, 1<<63, 5, 2); a.String() != "-1701411834604692317316873037158841057.33" {
		t.Errorf("Amount128 gives %s", a)
	}
}

func TestDay(t *testing.T) {
	property := func(n uint32) bool {
		d := Day(n%3_652_057) + 2 // to 9999-12-31
		parsed, err := ParseDay(d.String())
		return err == nil && parsed == d && DayOf(d.Time().Add(time.Hour)) == d && d.Time().AddDate(0, 0, 1).Equal((d + 1).Time())
	}
	if err := quick.Check(property, nil); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "2026-13-01", "2026-02-30", "0000-01-01", "0001-01-01", "26-01-01", "2026-1-1"} {
		if d, err := ParseDay(bad); err == nil {
			t.Errorf("ParseDay(%q) = %s, want an error", bad, d)
		}
	}
}
