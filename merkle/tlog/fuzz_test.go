package tlog

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seed adds the golden file as a seed.
func seed(f *testing.F, name string) []byte {
	f.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	return b
}

// FuzzParseNote: a note that is accepted is written as it was read.
func FuzzParseNote(f *testing.F) {
	seed(f, "checkpoint")
	f.Add([]byte(poem))
	f.Add([]byte(sofa))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNote(b)
		if err != nil {
			return
		}
		if got := n.Marshal(); !bytes.Equal(got, b) {
			t.Fatalf("%q becomes %q", b, got)
		}
		if c, err := ParseCheckpointText(n.Text); err == nil && c.Text() != n.Text {
			t.Fatalf("%q becomes %q", n.Text, c.Text())
		}
	})
}

// FuzzParseReceipt: a receipt that is accepted is written as it was read, and
// one that verifies says what the golden receipt says.
func FuzzParseReceipt(f *testing.F) {
	seed(f, "entry.tlog-proof")
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra QUE=\nindex 5\n\n" + sofa))
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\n" + sofa))
	policyFile, err := os.ReadFile(filepath.Join("testdata", "policy"))
	if err != nil {
		f.Fatal(err)
	}
	p, err := ParsePolicy(policyFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReceipt(b)
		if err != nil {
			return
		}
		if got := r.Marshal(); !bytes.Equal(got, b) {
			t.Fatalf("%q becomes %q", b, got)
		}
		if v, err := p.VerifyReceipt(r); err == nil && (string(r.Extra) != "entry 21" || r.Index != 21 || v.Size != 37) {
			t.Fatalf("accepted entry %q at %d of %d", r.Extra, r.Index, v.Size)
		}
	})
}

// FuzzParsePolicy: a policy that is accepted stays the same when it is written
// and read again, and verifying under it does not panic.
func FuzzParsePolicy(f *testing.F) {
	policyFile := seed(f, "policy")
	checkpoint, err := os.ReadFile(filepath.Join("testdata", "checkpoint"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.ReplaceAll(policyFile, []byte("cosigners 2"), []byte("cosigners all")))
	f.Add([]byte("log " + fooKey + " url\nquorum none\n"))
	f.Add([]byte("# comment\n\t\nquorum  none\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePolicy(b)
		if err != nil {
			return
		}
		text := p.String()
		again, err := ParsePolicy([]byte(text))
		if err != nil || again.String() != text {
			t.Fatalf("policy does not survive: %v\n%s", err, text)
		}
		_, _ = p.Verify(checkpoint)
	})
}

// FuzzParseVerifierKey: a key that is accepted is written as it was read.
func FuzzParseVerifierKey(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "log.vkey"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(strings.TrimSpace(string(b)))
	f.Add(fooKey)
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseVerifierKey(s)
		if err == nil && k.String() != s {
			t.Fatalf("%q becomes %q", s, k)
		}
	})
}
