package codes

import (
	"math/big"
	"strings"

	"github.com/cockroachdb/errors"
)

// maxDecimal is the longest text of a decimal in bytes: ISO 20022 has 18 digits at most, and a
// few more may be written as zeros.
const maxDecimal = 64

// Decimal is an exact decimal number. The zero value is 0. A Decimal is not changed once made.
type Decimal struct {
	unscaled *big.Int // the digits without the point; nil for 0
	scale    int      // how many of them are behind the point
}

// ParseDecimal reads a decimal as XML Schema writes it (xs:decimal): a sign, digits and a point,
// no exponent, no separators. It takes at most 64 bytes.
func ParseDecimal(s string) (Decimal, error) {
	if len(s) > maxDecimal {
		return Decimal{}, errors.Newf("has %d characters, more than any amount needs: write at most 18 digits", len(s))
	}
	digits, negative := s, false
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		negative = digits[0] == '-'
		digits = digits[1:]
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	if whole+fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return Decimal{}, errors.Newf("is %q, not a decimal number: write digits with a point before the decimals, as in 1234.56", s)
	}
	fraction = strings.TrimRight(fraction, "0")
	n, _ := new(big.Int).SetString(whole+fraction, 10)
	if negative {
		n.Neg(n)
	}
	return Decimal{unscaled: n, scale: len(fraction)}, nil
}

// Scale returns the number of decimals without zeros at the end.
func (d Decimal) Scale() int { return d.scale }

// Digits returns the number of digits without zeros at the ends, at least 1.
func (d Decimal) Digits() int {
	if d.Sign() == 0 {
		return 1
	}
	return max(len(new(big.Int).Abs(d.unscaled).String()), d.scale)
}

// Sign returns -1, 0 or 1.
func (d Decimal) Sign() int {
	if d.unscaled == nil {
		return 0
	}
	return d.unscaled.Sign()
}

// Add returns d + e.
func (d Decimal) Add(e Decimal) Decimal {
	scale := max(d.scale, e.scale)
	sum := new(big.Int).Add(d.at(scale), e.at(scale))
	// Without zeros at the end again.
	ten, rest := big.NewInt(10), new(big.Int)
	for scale > 0 {
		q, r := new(big.Int).QuoRem(sum, ten, rest)
		if r.Sign() != 0 {
			break
		}
		sum, scale = q, scale-1
	}
	return Decimal{unscaled: sum, scale: scale}
}

// Neg returns -d.
func (d Decimal) Neg() Decimal {
	return Decimal{unscaled: new(big.Int).Neg(d.at(d.scale)), scale: d.scale}
}

// Cmp returns -1, 0 or 1 as d is less than, equal to or greater than e.
func (d Decimal) Cmp(e Decimal) int {
	scale := max(d.scale, e.scale)
	return d.at(scale).Cmp(e.at(scale))
}

// at returns the digits of d with the given number of decimals, not less than its own.
func (d Decimal) at(scale int) *big.Int {
	if d.unscaled == nil {
		return new(big.Int)
	}
	return new(big.Int).Mul(d.unscaled, pow10(scale-d.scale))
}

func pow10(n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// String writes d with as many decimals as it has, and no zeros at the end.
func (d Decimal) String() string { return d.Fixed(d.scale) }

// Fixed writes d with the given number of decimals, not less than its own.
func (d Decimal) Fixed(scale int) string {
	scale = max(scale, d.scale)
	s := new(big.Int).Abs(d.at(scale)).String()
	if len(s) <= scale {
		s = strings.Repeat("0", scale-len(s)+1) + s
	}
	if scale > 0 {
		s = s[:len(s)-scale] + "." + s[len(s)-scale:]
	}
	if d.Sign() < 0 {
		s = "-" + s
	}
	return s
}
