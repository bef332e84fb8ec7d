package schema

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cairnledger/cairn/settlement/iso20022/codes"
)

// whitespace is what XML Schema collapses around numbers, dates and booleans, and keeps in text.
const whitespace = " \t\r\n"

// problem says what is wrong with a text and what to do, as a sentence without its subject, or "".
func (v *value) problem(s string) string {
	switch v.base {
	case "text":
		n := utf8.RuneCountInString(s)
		switch {
		case n < v.min:
			return "is empty: fill it in or leave the element out"
		case n > v.max:
			return fmt.Sprintf("has %d characters; at most %d are allowed: shorten it", n, v.max)
		}
	case "like":
		if !v.like.MatchString(s) {
			return fmt.Sprintf("is %.60q, which does not have the form %s: correct it", s, v.form())
		}
	case "code":
		if !slices.Contains(v.codes, s) {
			return fmt.Sprintf("is %.60q, which is none of %s: choose one of them", s, strings.Join(v.codes, ", "))
		}
	case "decimal":
		return v.decimalProblem(strings.Trim(s, whitespace))
	case "boolean":
		switch strings.Trim(s, whitespace) {
		case "true", "false", "1", "0":
		default:
			return fmt.Sprintf("is %.60q: write true or false", s)
		}
	case "date":
		if _, err := codes.ParseDate(strings.Trim(s, whitespace)); err != nil {
			return err.Error()
		}
	case "datetime":
		if _, _, err := codes.ParseDateTime(strings.Trim(s, whitespace)); err != nil {
			return err.Error()
		}
	case "time":
		if err := codes.Time(strings.Trim(s, whitespace)); err != nil {
			return err.Error()
		}
	case "base64":
		b, err := base64.StdEncoding.Strict().DecodeString(strings.Join(strings.Fields(s), ""))
		if err != nil || len(b) < v.min || len(b) > v.max {
			return fmt.Sprintf("is not %d to %d bytes in base64: correct it", v.min, v.max)
		}
	}
	return ""
}

func (v *value) decimalProblem(s string) string {
	d, err := codes.ParseDecimal(s)
	if err != nil {
		return err.Error()
	}
	switch {
	case v.unsigned && d.Sign() < 0:
		return fmt.Sprintf("is %s, which is negative: write an amount of zero or more", s)
	case d.Scale() > v.fraction:
		return fmt.Sprintf("is %s, with %d decimals; at most %d are allowed: write no more", s, d.Scale(), v.fraction)
	case d.Digits() > v.digits:
		return fmt.Sprintf("is %s, with %d digits; at most %d are allowed: correct it", s, d.Digits(), v.digits)
	}
	return ""
}

// form writes the pattern without the repetition that published patterns have: {3,3} is {3}.
func (v *value) form() string {
	s := strings.TrimSuffix(strings.TrimPrefix(v.like.String(), "^(?:"), ")$")
	return repetition.ReplaceAllStringFunc(s, func(r string) string {
		from, to, _ := strings.Cut(strings.Trim(r, "{}"), ",")
		if from == to {
			return "{" + from + "}"
		}
		return r
	})
}
