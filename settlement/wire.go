package settlement

import (
	"encoding/binary"
	"unicode/utf8"
	"unsafe"

	"github.com/cockroachdb/errors"
)

// The encodings of commands, outcomes and rows. Each is strict: a byte string is either refused or
// encodes back to itself. Integers are big-endian.
//
//	u8 to u64      fixed size
//	amount         1: length n, 0 to 16; n: the number, its first byte not 0
//	decimal        1: scale; amount: the coefficient
//	text           2: length; the bytes
//	id             1: length, 1 to 200; printable ASCII without the space

// MaxID is the largest id, in bytes.
const MaxID = 200

// CheckID says what is wrong with an id of an asset, an account, a transfer, a set or an
// instruction: 1 to 200 bytes of printable ASCII without the space.
func CheckID(id string) error {
	if len(id) == 0 || len(id) > MaxID {
		return errors.Newf("an id of %d bytes; give it 1 to %d", len(id), MaxID)
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' {
			return errors.Newf("id %q: use printable ASCII without spaces", id)
		}
	}
	return nil
}

func appendAmount(b []byte, a Amount) []byte {
	var full [16]byte
	binary.BigEndian.PutUint64(full[:], a.Hi)
	binary.BigEndian.PutUint64(full[8:], a.Lo)
	i := 0
	for i < len(full) && full[i] == 0 {
		i++
	}
	return append(append(b, byte(len(full)-i)), full[i:]...)
}

func appendFixedAmount(b []byte, a Amount) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, a.Hi), a.Lo)
}

func appendDecimal(b []byte, d Decimal) []byte {
	return appendAmount(append(b, d.Scale), d.Coefficient)
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendID(b []byte, id string) []byte { return append(append(b, byte(len(id))), id...) }

func appendU32(b []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(b, n) }

func appendU64(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

// reader parses an encoding. After the first error every method returns zero values. The strings
// that it reads are parts of s, so nothing is allocated for them.
type reader struct {
	s   string
	err error
}

// readerOf returns a reader of a copy of b.
func readerOf(b []byte) reader { return reader{s: string(b)} }

// shared returns b as a string that shares its memory. Nobody may change b as long as the string,
// or a part of it, is in use. So it is for what lives no longer than a Decide: neither the body of
// an entry nor the value of a row changes in that time. TestDecideKeepsNoMemory holds Decide to it.
func shared(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = errors.Newf(format, args...)
	}
	r.s = ""
}

func (r *reader) take(n int) string {
	if len(r.s) < n {
		r.fail("it ends too early")
		return ""
	}
	taken := r.s[:n]
	r.s = r.s[n:]
	return taken
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != "" {
		return b[0]
	}
	return 0
}

func (r *reader) u16() int {
	if b := r.take(2); b != "" {
		return int(b[0])<<8 | int(b[1])
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != "" {
		return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != "" {
		return uint64(b[0])<<56 | uint64(b[1])<<48 | uint64(b[2])<<40 | uint64(b[3])<<32 |
			uint64(b[4])<<24 | uint64(b[5])<<16 | uint64(b[6])<<8 | uint64(b[7])
	}
	return 0
}

func (r *reader) time() int64 {
	t := int64(r.u64())
	if t < 0 {
		r.fail("a time or interval below 0")
	}
	return t
}

func (r *reader) flag(what string) bool {
	n := r.u8()
	if n > 1 {
		r.fail("%s is %d, want 0 or 1", what, n)
	}
	return n == 1
}

func (r *reader) amount() (a Amount) {
	n := int(r.u8())
	if n > 16 {
		r.fail("an amount of %d bytes", n)
	}
	b := r.take(n)
	if len(b) > 0 && b[0] == 0 {
		r.fail("an amount begins with a zero byte")
	}
	for i := range len(b) {
		c := b[i]
		a = Amount{a.Hi<<8 | a.Lo>>56, a.Lo<<8 | uint64(c)}
	}
	return a
}

func (r *reader) fixedAmount() Amount { return Amount{r.u64(), r.u64()} }

func (r *reader) decimal() Decimal {
	scale := r.u8()
	d := Decimal{r.amount(), scale}
	if r.err == nil && (scale > MaxScale || NewDecimal(d.Coefficient, scale) != d) {
		r.fail("a number that is not canonical")
	}
	return d
}

// text reads 0 to limit bytes of UTF-8 without control characters.
func (r *reader) text(limit int) string {
	n := r.u16()
	if n > limit {
		r.fail("a text of %d bytes, at most %d", n, limit)
	}
	s := r.take(n)
	if err := checkText(s, limit); err != nil {
		r.fail("%v", err)
	}
	return s
}

func checkText(s string, limit int) error {
	if len(s) > limit {
		return errors.Newf("a text of %d bytes, at most %d", len(s), limit)
	}
	if !utf8.ValidString(s) {
		return errors.New("a text that is not UTF-8")
	}
	for _, c := range s {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return errors.Newf("a text with the control character %U", c)
		}
	}
	return nil
}

func (r *reader) id() string {
	s := r.optionalID()
	if r.err == nil && s == "" {
		r.fail("an id is empty")
	}
	return s
}

// optionalID reads an id that may be missing, which its length 0 says.
func (r *reader) optionalID() string {
	s := r.take(int(r.u8()))
	if s != "" {
		if err := CheckID(s); err != nil {
			r.fail("%v", err)
		}
	}
	return s
}

func (r *reader) bytes(n int) []byte { return append([]byte(nil), r.take(n)...) }

// end returns what was wrong; what remains is wrong, too.
func (r *reader) end(what string) error {
	if r.err == nil && len(r.s) > 0 {
		r.fail("%d bytes too many", len(r.s))
	}
	if r.err == nil {
		return nil
	}
	return errors.Wrapf(r.err, "%s", what)
}
