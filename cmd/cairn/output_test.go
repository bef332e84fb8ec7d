package main

import (
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	t.Parallel()
	tab := newTable("node", "size", "note").alignRight(1)
	tab.row("n1", "7", "")
	tab.row("größer", "1,234", "x")
	b := newPage(screen{})
	tab.write(b)
	want := "node     size  note\nn1          7\ngrößer  1,234  x\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{count(0), "0"}, {count(999), "999"}, {count(1000), "1,000"}, {count(uint64(1<<64 - 1)), "18,446,744,073,709,551,615"},
		{count(1234567.4), "1,234,567"}, {count(-1000), "-1,000"},
		{bytesString(1023), "1023 B"}, {bytesString(1536), "1.5 KiB"}, {bytesString(3 << 40), "3.0 TiB"},
		{latencyString(250 * time.Microsecond), "250 µs"}, {latencyString(1500 * time.Microsecond), "1.50 ms"},
		{latencyString(99 * time.Millisecond), "99.0 ms"}, {latencyString(2 * time.Second), "2.00 s"},
		{plural(1, "entry", "entries"), "1 entry"}, {plural(2000, "entry", "entries"), "2,000 entries"},
		{timeString(0), "-"}, {timeString(1), "1970-01-01T00:00:00.000001Z"},
		{printable("a b"), "a b"}, {printableWord("a b"), `"a b"`}, {printable("a\nb"), `"a\nb"`}, {printable("\x1b[2J"), `"\x1b[2J"`},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestEntryResult(t *testing.T) {
	t.Parallel()
	r := newEntryResult(3, time.UnixMicro(5), "spiffe://cairn.local/svc/writer", []byte{0xff}, []byte{})
	if r.KeyBase64 != "/w==" || r.Payload == nil || *r.Payload != "" || r.PayloadBase64 != nil {
		t.Errorf("got %+v", r)
	}
	b := newPage(screen{})
	r.line(b)
	if got := b.String(); !strings.Contains(got, "svc/writer") || !strings.HasPrefix(got, "       3  ") {
		t.Errorf("line %q", got)
	}
	r = newEntryResult(0, time.UnixMicro(5), "p", nil, []byte{0, 0xfe})
	if r.Payload != nil || *r.PayloadBase64 != "AP4=" {
		t.Errorf("got %+v", r)
	}
}

func TestParseIndex(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]uint64{"0": 0, "17": 17, "9223372036854775807": 1<<63 - 1} {
		if got, err := parseIndex("INDEX", s); err != nil || got != want {
			t.Errorf("%s: got %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "-1", "+1", "1.0", "0x1", " 1", "9223372036854775808", "99999999999999999999"} {
		if _, err := parseIndex("INDEX", s); err == nil || classify(err).code != exitUsage {
			t.Errorf("%q: got %v, want a usage error", s, err)
		}
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("A", 43) + "="
	receipt := "c2sp.org/tlog-proof@v1\nextra " + strings.Repeat("x", 100) + "\nindex 3\n" + strings.Repeat(hash+"\n", 5) + "\norigin\n4\n" + hash + "\n\n— k s\n"
	got := excerpt(receipt)
	if strings.Count(got, hash) != 3 || !strings.Contains(got, "(3 more hashes)") || strings.Contains(got, strings.Repeat("x", 70)) {
		t.Errorf("got\n%s", got)
	}
}
