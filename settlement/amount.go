package settlement

import (
	"math/bits"
	"strings"

	"github.com/cockroachdb/errors"
)

// Amount is a number of minor units of an asset: an unsigned integer of 128 bits. Its zero value is
// nothing. Values are comparable with ==.
type Amount struct{ Hi, Lo uint64 }

// AmountOf returns n minor units.
func AmountOf(n uint64) Amount { return Amount{Lo: n} }

// MaxAmount is the largest amount, 2^128 - 1.
var MaxAmount = Amount{^uint64(0), ^uint64(0)}

// IsZero reports whether a is 0.
func (a Amount) IsZero() bool { return a == Amount{} }

// Cmp returns -1, 0 or 1 as a is less than, equal to or greater than b.
func (a Amount) Cmp(b Amount) int {
	switch {
	case a == b:
		return 0
	case a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo:
		return -1
	}
	return 1
}

// Add returns a + b, and whether the sum fits.
func (a Amount) Add(b Amount) (sum Amount, ok bool) {
	lo, carry := bits.Add64(a.Lo, b.Lo, 0)
	hi, carry := bits.Add64(a.Hi, b.Hi, carry)
	return Amount{hi, lo}, carry == 0
}

// Sub returns a - b, and whether b is at most a.
func (a Amount) Sub(b Amount) (rest Amount, ok bool) {
	lo, borrow := bits.Sub64(a.Lo, b.Lo, 0)
	hi, borrow := bits.Sub64(a.Hi, b.Hi, borrow)
	return Amount{hi, lo}, borrow == 0
}

// mul returns a times n, and whether the product fits.
func (a Amount) mul(n uint64) (Amount, bool) {
	over, hi := bits.Mul64(a.Hi, n)
	carry, lo := bits.Mul64(a.Lo, n)
	hi, c := bits.Add64(hi, carry, 0)
	return Amount{hi, lo}, over == 0 && c == 0
}

// div10 returns a / 10 and a % 10.
func (a Amount) div10() (Amount, uint64) {
	hi, rest := a.Hi/10, a.Hi%10
	lo, rest := bits.Div64(rest, a.Lo, 10)
	return Amount{hi, lo}, rest
}

// Decimal returns the amount as units of an asset with this scale: 1234 with scale 2 is "12.34".
func (a Amount) Decimal(scale uint8) string {
	s := a.String()
	if scale == 0 {
		return s
	}
	if n := int(scale) + 1 - len(s); n > 0 {
		s = strings.Repeat("0", n) + s
	}
	return s[:len(s)-int(scale)] + "." + s[len(s)-int(scale):]
}

// String returns the number of minor units.
func (a Amount) String() string {
	if a.Hi == 0 && a.Lo < 10 {
		return string(rune('0' + a.Lo))
	}
	var b [39]byte
	i := len(b)
	for !a.IsZero() {
		var digit uint64
		a, digit = a.div10()
		i--
		b[i] = byte('0' + digit)
	}
	return string(b[i:])
}

// MaxScale is the largest number of digits behind the decimal point.
const MaxScale = 18

// Decimal is an amount as commands say it: Coefficient · 10^-Scale. The scale of the asset need not
// be known to say it. Invariant: canonical, that is, a coefficient that ends with the digit 0 has
// the scale 0, so equal numbers are equal values.
type Decimal struct {
	Coefficient Amount
	Scale       uint8 // at most MaxScale
}

// NewDecimal returns coefficient · 10^-scale.
func NewDecimal(coefficient Amount, scale uint8) Decimal {
	if coefficient.IsZero() {
		return Decimal{}
	}
	for scale > 0 {
		tenth, digit := coefficient.div10()
		if digit != 0 {
			break
		}
		coefficient, scale = tenth, scale-1
	}
	return Decimal{coefficient, scale}
}

// ParseDecimal parses digits with at most one point between them, such as "12.34". There is no
// sign, no exponent and no separator of thousands.
func ParseDecimal(s string) (Decimal, error) {
	whole, fraction, point := strings.Cut(s, ".")
	if whole == "" || point && fraction == "" || len(s) > 64 {
		return Decimal{}, errors.Newf("amount %q: write digits, with a point before the fraction, as in 12.34", s)
	}
	if fraction = strings.TrimRight(fraction, "0"); len(fraction) > MaxScale {
		return Decimal{}, errors.Newf("amount %q has more than %d digits behind the point", s, MaxScale)
	}
	var n Amount
	for _, c := range []byte(whole + fraction) {
		if c < '0' || c > '9' {
			return Decimal{}, errors.Newf("amount %q: write digits, with a point before the fraction, as in 12.34", s)
		}
		tens, ok := n.mul(10)
		next, fits := tens.Add(AmountOf(uint64(c - '0')))
		if !ok || !fits {
			return Decimal{}, errors.Newf("amount %q is larger than 2^128 - 1 of its smallest digit", s)
		}
		n = next
	}
	return NewDecimal(n, uint8(len(fraction))), nil
}

// String returns the number with as many digits as it has.
func (d Decimal) String() string { return d.Coefficient.Decimal(d.Scale) }

// Minor returns the amount in minor units of an asset. It is not ok when the asset has fewer digits
// than the number, and when it passes MaxAmount.
func (d Decimal) Minor(scale uint8) (a Amount, ok bool) {
	if d.Scale > scale {
		return Amount{}, false
	}
	a, ok = d.Coefficient, true
	for range scale - d.Scale {
		if a, ok = a.mul(10); !ok {
			return Amount{}, false
		}
	}
	return a, true
}
