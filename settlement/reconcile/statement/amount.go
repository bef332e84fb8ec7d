package statement

import (
	"math/big"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"
)

// MaxScale is the largest number of decimal places of an Amount.
const MaxScale = 38

// maxDigits bounds what ParseAmount reads. An unsigned 128-bit number has at most 39 digits.
const maxDigits = 80

// Amount is an exact decimal number with a sign: units × 10^-scale. The zero value is 0 without
// decimal places. An Amount is immutable and may be copied; compare with Cmp, never with ==.
type Amount struct {
	// units is never changed once the Amount exists, so copies may share it. nil is 0.
	units *big.Int
	scale uint8
}

// NewAmount returns units × 10^-scale. It panics when scale is above MaxScale.
func NewAmount(units int64, scale int) Amount { return fromBig(big.NewInt(units), scale) }

// Amount128 returns an amount of (high × 2^64 + low) minor units, negative when neg is set. It
// panics when scale is above MaxScale.
func Amount128(neg bool, high, low uint64, scale int) Amount {
	units := new(big.Int).SetUint64(high)
	units.Lsh(units, 64).Or(units, new(big.Int).SetUint64(low))
	if neg {
		units.Neg(units)
	}
	return fromBig(units, scale)
}

// fromBig takes units over.
func fromBig(units *big.Int, scale int) Amount {
	if scale < 0 || scale > MaxScale {
		panic("statement: scale " + strconv.Itoa(scale) + " of an amount is not between 0 and " + strconv.Itoa(MaxScale))
	}
	return Amount{units: units, scale: uint8(scale)}
}

// ParseAmount reads a decimal number with a point and an optional sign: "12", "-12.50", "+.5".
// Exponents, separators of thousands and spaces are errors.
func ParseAmount(s string) (Amount, error) {
	digits, neg := s, false
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		neg = digits[0] == '-'
		digits = digits[1:]
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	digits = whole + fraction
	switch {
	case digits == "" || strings.Trim(digits, "0123456789") != "":
		return Amount{}, errors.Newf("%s is no amount: write digits with a point before the decimal places, such as 12.50", quote(s))
	case len(digits) > maxDigits:
		return Amount{}, errors.Newf("an amount of %d digits is too long: %d are allowed", len(digits), maxDigits)
	case len(fraction) > MaxScale:
		return Amount{}, errors.Newf("an amount with %d decimal places is too exact: %d are allowed", len(fraction), MaxScale)
	}
	units, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return Amount{}, errors.AssertionFailedf("digits %q are no number", digits)
	}
	if neg {
		units.Neg(units)
	}
	return fromBig(units, len(fraction)), nil
}

// quote returns s in quotation marks, cut to a length that fits into a sentence.
func quote(s string) string {
	const longest = 60
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return strconv.Quote(s)
}

var (
	zero = new(big.Int)
	ten  = big.NewInt(10)
)

func (a Amount) big() *big.Int {
	if a.units == nil {
		return zero
	}
	return a.units
}

// at returns the units of a at a scale that is not below its own. The result may be shared.
func (a Amount) at(scale uint8) *big.Int {
	if scale == a.scale {
		return a.big()
	}
	factor := new(big.Int).Exp(ten, big.NewInt(int64(scale-a.scale)), nil)
	return factor.Mul(factor, a.big())
}

// Add returns a + b with the decimal places of the one that has more.
func (a Amount) Add(b Amount) Amount {
	scale := max(a.scale, b.scale)
	return Amount{units: new(big.Int).Add(a.at(scale), b.at(scale)), scale: scale}
}

// Sub returns a − b with the decimal places of the one that has more.
func (a Amount) Sub(b Amount) Amount { return a.Add(b.Neg()) }

// Neg returns −a.
func (a Amount) Neg() Amount { return Amount{units: new(big.Int).Neg(a.big()), scale: a.scale} }

// Abs returns a without its sign.
func (a Amount) Abs() Amount {
	if a.Sign() < 0 {
		return a.Neg()
	}
	return a
}

// Cmp returns -1, 0 or 1 as a is less than, equal to or greater than b: 1 and 1.00 are equal.
func (a Amount) Cmp(b Amount) int {
	scale := max(a.scale, b.scale)
	return a.at(scale).Cmp(b.at(scale))
}

// Equal says whether a and b are the same number: 1 and 1.00 are.
func (a Amount) Equal(b Amount) bool { return a.Cmp(b) == 0 }

// Sign returns -1, 0 or 1.
func (a Amount) Sign() int { return a.big().Sign() }

// IsZero says whether a is 0.
func (a Amount) IsZero() bool { return a.Sign() == 0 }

// Scale returns the number of decimal places.
func (a Amount) Scale() int { return int(a.scale) }

// WithScale returns the same number with at least so many decimal places, at most MaxScale.
func (a Amount) WithScale(scale int) Amount {
	if scale = min(scale, MaxScale); scale <= int(a.scale) {
		return a
	}
	return Amount{units: a.at(uint8(scale)), scale: uint8(scale)}
}

// Key returns the one shortest text of the number, the same for 1 and 1.00: what equal amounts
// share in a map.
func (a Amount) Key() string {
	s := a.String()
	if a.scale > 0 {
		s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// String returns the number with all its decimal places: "-12.50". Zero has no sign.
func (a Amount) String() string {
	s := new(big.Int).Abs(a.big()).String()
	if n := int(a.scale); n > 0 {
		if len(s) <= n {
			s = strings.Repeat("0", n-len(s)+1) + s
		}
		s = s[:len(s)-n] + "." + s[len(s)-n:]
	}
	if a.Sign() < 0 {
		s = "-" + s
	}
	return s
}

// MarshalText returns String: an Amount is a string in JSON.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is ParseAmount.
func (a *Amount) UnmarshalText(text []byte) error {
	parsed, err := ParseAmount(string(text))
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}
