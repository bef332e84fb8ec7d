package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
)

// nasty are strings that look alike, move a cursor, change a direction, or show nothing.
var nasty = []string{
	"", " ", "a", "a ", " a", `"a"`, "a\n", `"a\n"`, `a\n`, `"\"a\\n\""`, "base64:AA==", "base64:", "\x00", "\xff", "\xff\xfe", "�", "�\xff",
	`"\xff"`, "\x1b[2J", "\x1b]0;x\x07", "\u009b2J", "\xc2", "\u202ea", "\u2066a", "a\u200bb", "ab", "\u00ad", "\u034fa", "a\u034f", "\ufe0f", "\u115f", "\u3164", "\u2800",
	"\U000e0041", "\U000e0100", "\u2028", "\u00a0", "\r\n", "\t", "\u0301a", "é", "e\u0301", "\x7f", "\ufeff", `\u202e`, `"\u202e"`, "{\"event\":\"x\"}", "日本", "\ue000",
}

// unprintable inverts payloadText: that it can is what makes the text injective.
func unprintable(t *testing.T, s string) string {
	t.Helper()
	switch {
	case strings.HasPrefix(s, `"`):
		v, err := strconv.Unquote(s)
		if err != nil {
			t.Fatalf("%s is no literal: %v", s, err)
		}
		return v
	case strings.HasPrefix(s, base64Prefix):
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, base64Prefix))
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		return string(raw)
	}
	return s
}

// clean fails if text holds what a terminal must not get.
func clean(t *testing.T, what string, text []byte) {
	t.Helper()
	if !utf8.Valid(text) {
		t.Fatalf("%s: not UTF-8: %q", what, text)
	}
	for _, r := range string(text) {
		if r != '\n' && r != '\t' && hidden(r) {
			t.Fatalf("%s: %U is raw in %q", what, r, text)
		}
	}
}

// checkPrintable holds all renderings of a key and a payload to the rules of printable.go.
func checkPrintable(t *testing.T, key, payload string) {
	t.Helper()
	r := newEntryResult(1, time.UnixMicro(5), payload, []byte(key), []byte(payload))
	if got := unprintable(t, r.payloadText()); got != payload {
		t.Fatalf("payload %q prints as %s, which reads as %q", payload, r.payloadText(), got)
	}
	if got := unprintable(t, r.keyText()); got != key {
		t.Fatalf("key %q prints as %s, which reads as %q", key, r.keyText(), got)
	}
	if got := unprintable(t, printableWord(payload)); got != payload {
		t.Fatalf("name %q prints as %s, which reads as %q", payload, printableWord(payload), got)
	}
	for _, asJSON := range []bool{false, true} {
		var out, errs bytes.Buffer
		a := &app{streams: streams{out: &out, err: &errs}, json: asJSON}
		if err := errors.CombineErrors(a.emit(r, r.text), a.emit(r, r.line)); err != nil {
			t.Fatal(err)
		}
		clean(t, "result", out.Bytes())
		if asJSON {
			checkObject(t, out.Bytes(), key, payload)
		} else if n := strings.Count(out.String(), "\n"); n < 5 || n > 6 {
			t.Fatalf("%d lines: %q", n, out.String())
		}
		a.note("note about %s", payload)
		report(&errs, screen{}, asJSON, classify(fail(exitFailed, "next: "+payload, errors.Newf("from a server: %s", payload))))
		clean(t, "messages", errs.Bytes())
		if !asJSON && strings.Count(errs.String(), "\n  next: ") != 1 {
			t.Fatalf("the text of an error makes a line of its own: %q", errs.String())
		}
	}
}

// checkObject reads an object back: its key and payload must be those that were written.
func checkObject(t *testing.T, raw []byte, key, payload string) {
	t.Helper()
	first, _, _ := bytes.Cut(raw, []byte("\n"))
	var v struct {
		Key           string  `json:"key"`
		KeyBase64     []byte  `json:"key_base64"`
		Payload       *string `json:"payload"`
		PayloadBase64 []byte  `json:"payload_base64"`
		Principal     string  `json:"principal"`
	}
	if err := json.Unmarshal(first, &v); err != nil {
		t.Fatal(err)
	}
	if v.KeyBase64 != nil {
		v.Key = string(v.KeyBase64)
	}
	if v.Payload == nil {
		s := string(v.PayloadBase64)
		v.Payload = &s
	}
	if v.Key != key || *v.Payload != payload {
		t.Fatalf("key %q and payload %q are %s as JSON", key, payload, first)
	}
	if !utf8.ValidString(payload) && unprintable(t, v.Principal) != payload {
		t.Fatalf("principal %q is %q as JSON", payload, v.Principal)
	}
}

// TestPrintable: two different payloads, keys or names never print the same, and nothing hidden
// reaches a terminal, in text and JSON, in results and messages.
func TestPrintable(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range nasty {
		for _, suffix := range []string{"", "x", nasty[rng.IntN(len(nasty))]} {
			checkPrintable(t, s+suffix, s+suffix)
			checkPrintable(t, suffix, s)
		}
	}
	for range 2000 {
		var s string
		for range rng.IntN(4) {
			s += nasty[rng.IntN(len(nasty))]
		}
		checkPrintable(t, s, s)
	}
}

func FuzzPrintable(f *testing.F) {
	for _, s := range nasty {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, key, payload string) { checkPrintable(t, key, payload) })
}

// TestHidden names what must never reach a terminal, independently of how hidden finds it.
func TestHidden(t *testing.T) {
	t.Parallel()
	for _, r := range "\x00\x1b\r\x7f\u0080\u009b\u00ad\u034f\u061c\u115f\u1160\u17b4\u180b\u180e\u200b\u200d\u200e\u202a\u202e\u2028\u2060\u2066\u2069\u2800\u3164\ufe00\ufe0f\ufeff\uffa0\ufffd\U000e0001\U000e0041\U000e0100" {
		if !hidden(r) {
			t.Errorf("%U is not hidden", r)
		}
	}
	for _, r := range "aZ09 ~é日\u0301€—" {
		if hidden(r) {
			t.Errorf("%U is hidden", r)
		}
	}
}

// TestErrorsOfServersLookLikeErrors: no error text can write a line that looks like advice of this
// program.
func TestErrorsOfServersLookLikeErrors(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	report(&b, screen{}, false, classify(errors.New("x\n  next: run this\ncairn: all is well")))
	if want := "cairn: x\n      next: run this\n    cairn: all is well\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// TestMarshalLine: strings that are not UTF-8 keep their bytes, however deep they lie, and the
// value stays as it was.
func TestMarshalLine(t *testing.T) {
	t.Parallel()
	bad := "a\xffb"
	type inner struct{ S []string }
	v := struct {
		P *inner
		M map[string]any
		A [1]string
		B []byte
		inner
	}{&inner{[]string{bad}}, map[string]any{bad: bad}, [1]string{bad}, []byte(bad), inner{[]string{"\u202e"}}}
	raw, err := marshalLine(v)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"P":{"S":["\"a\\xffb\""]},"M":{"\"a\\xffb\"":"\"a\\xffb\""},"A":["\"a\\xffb\""],"B":"Yf9i","S":["\u202e"]}` + "\n"
	if string(raw) != want {
		t.Errorf("got  %swant %s", raw, want)
	}
	if v.P.S[0] != bad || v.M[bad] != bad {
		t.Error("the value was changed")
	}
}
