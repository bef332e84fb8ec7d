package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
)

// Strings from a ledger, a server or a file system are not trusted with a terminal. Two rules hold:
//
//   - printable and printableWord write a string so that two different strings never look the same
//     to a program that reads the output back. Payloads, keys and names pass through them.
//   - Everything that leaves the process as text passes through onScreen, and everything that
//     leaves it as JSON through marshalLine. Neither lets a control character, invalid UTF-8 or an
//     invisible character pass, wherever the string came from.

// hidden says whether a terminal may show nothing for r, move its cursor, or change the direction
// or the look of other characters.
func hidden(r rune) bool {
	return !unicode.IsPrint(r) || r == utf8.RuneError || r == '\u2800' || // a braille pattern without dots
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// printable writes s as it is, or as a Go string literal if s holds a hidden character, invalid
// UTF-8, or could be taken for something else that printable, keyText, payloadText or summary
// writes.
// strconv.Unquote reverses a literal.
func printable(s string) string {
	first, _ := utf8.DecodeRuneInString(s)
	if s == "" || first == '"' || unicode.Is(unicode.M, first) || strings.HasPrefix(s, " ") || strings.HasSuffix(s, " ") {
		return quoted(s)
	}
	for _, prefix := range []string{base64Prefix, commandPrefix, recordPrefix} {
		if strings.HasPrefix(s, prefix) {
			return quoted(s)
		}
	}
	for _, r := range s {
		if hidden(r) {
			return quoted(s)
		}
	}
	return s
}

// printableWord is printable for a name that stands in a row with others: blanks are quoted too.
func printableWord(s string) string {
	if strings.Contains(s, " ") {
		return quoted(s)
	}
	return printable(s)
}

const (
	// base64Prefix marks bytes that are not UTF-8.
	base64Prefix = "base64:"
	// commandPrefix and recordPrefix mark, in one line, what is no payload.
	commandPrefix = "command: "
	recordPrefix  = "record: "
)

// quoted writes s as a Go string literal in which nothing is hidden.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, n := 0, 0; i < len(s); i += n {
		var r rune
		r, n = utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case hidden(r), i == 0 && unicode.Is(unicode.M, r):
			b.WriteString(escaped(r))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// escaped writes one rune as a Go escape sequence.
func escaped(r rune) string {
	q := strconv.QuoteRuneToASCII(r)
	return q[1 : len(q)-1]
}

// onScreen escapes what is hidden in a text of several lines. Newlines and tabs stay.
func onScreen(text string) string {
	clean := true
	for _, r := range text {
		clean = clean && (r == '\n' || r == '\t' || !hidden(r))
	}
	if clean {
		return text
	}
	var b strings.Builder
	for i, n := 0, 0; i < len(text); i += n {
		var r rune
		r, n = utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r != '\n' && r != '\t' && hidden(r):
			b.WriteString(escaped(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// oneLine is onScreen for a value that has one line: newlines and tabs are escaped too.
func oneLine(s string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(onScreen(s))
}

// marshalLine encodes v as one line of JSON. Hidden characters are escaped, which a JSON decoder
// reverses. A string that is not UTF-8 becomes a Go string literal: the encoder would replace
// bytes by U+FFFD, and the reader could not tell which.
func marshalLine(v any) ([]byte, error) {
	raw, err := json.Marshal(wellFormed(reflect.ValueOf(v)))
	if err != nil {
		return nil, errors.Wrap(err, "encode result")
	}
	var b strings.Builder
	for _, r := range string(raw) {
		switch {
		case !hidden(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return []byte(b.String() + "\n"), nil
}

// wellFormed returns v, or a copy of v in which every string is UTF-8.
func wellFormed(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	if _, ok := v.Interface().(json.Marshaler); ok || !malformed(v) {
		return v.Interface()
	}
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	repair(c)
	return c.Interface()
}

// malformed says whether v holds a string that is not UTF-8.
func malformed(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return !utf8.ValidString(v.String())
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && malformed(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); (f.IsExported() || f.Anonymous) && malformed(v.Field(i)) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return false
		}
		for i := range v.Len() {
			if malformed(v.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if malformed(it.Key()) || malformed(it.Value()) {
				return true
			}
		}
	}
	return false
}

// repair makes the strings of v UTF-8. v is settable, and what v points to is copied first.
func repair(v reflect.Value) {
	if !malformed(v) {
		return
	}
	fresh := func(old reflect.Value) reflect.Value {
		c := reflect.New(old.Type()).Elem()
		c.Set(old)
		repair(c)
		return c
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(quoted(v.String()))
	case reflect.Pointer:
		v.Set(fresh(v.Elem()).Addr())
	case reflect.Interface:
		v.Set(fresh(v.Elem()))
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() || f.Anonymous {
				repair(v.Field(i))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			repair(v.Index(i))
		}
	case reflect.Slice:
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			c.Index(i).Set(fresh(v.Index(i)))
		}
		v.Set(c)
	case reflect.Map:
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			c.SetMapIndex(fresh(it.Key()), fresh(it.Value()))
		}
		v.Set(c)
	}
}
