package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// TestEvidence: the command names the key that signed both histories, and refuses a file that
// proves nothing.
func TestEvidence(t *testing.T) {
	t.Parallel()
	const origin = "example.org/ledger"
	var keys []*tlog.Cosigner
	var public []*tlog.VerifierKey
	for _, name := range []string{origin, origin + "/n1", origin + "/n2", origin + "/n3"} {
		key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tlog.NewCosigner(name, key)
		if err != nil {
			t.Fatal(err)
		}
		keys, public = append(keys, c), append(public, c.Key())
	}
	policy, err := tlog.NewPolicy(public[:1], public[1:], 2)
	if err != nil {
		t.Fatal(err)
	}
	note := func(root merkle.Hash, by ...int) []byte {
		cp := tlog.Checkpoint{Origin: origin, Size: 7, Root: root}
		n := tlog.Note{Text: cp.Text()}
		for _, k := range by {
			sig, err := keys[k].Cosign(cp, 1)
			if err != nil {
				t.Fatal(err)
			}
			n.Signatures = append(n.Signatures, sig)
		}
		return n.Marshal()
	}
	one, two := merkle.LeafHash([]byte("one")), merkle.LeafHash([]byte("two"))
	file := filepath.Join(t.TempDir(), "contradiction.txt")
	read := func(c tlog.Contradiction) (*evidenceResult, error) {
		if err := os.WriteFile(file, c.Marshal("a comment"), 0o644); err != nil {
			t.Fatal(err)
		}
		return (&app{}).readEvidence(context.Background(), &verifier{Policy: policy}, file)
	}
	r, err := read(tlog.Contradiction{Smaller: note(one, 0, 1, 2), Larger: note(two, 0, 1, 3), Root: two})
	if err != nil {
		t.Fatal(err)
	}
	text := rendered(80, func(p *page) { printEvidence(p, r) })
	for _, want := range []string{"proved: two histories of " + origin, "both by", origin + "/n1\n", "7, sealed", one.String(), two.String()} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	if len(r.Both) != 1 || r.Both[0] != origin+"/n1" {
		t.Errorf("signed by %v, want n1", r.Both)
	}
	var f *failure
	if _, err := read(tlog.Contradiction{Smaller: note(one, 0, 1, 2), Larger: note(one, 0, 1, 3), Root: one}); !errors.As(err, &f) || f.code != exitRefused {
		t.Errorf("no contradiction: %v, want exit code %d", err, exitRefused)
	}
	if err := os.WriteFile(file, []byte("no evidence\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (&app{}).readEvidence(context.Background(), &verifier{Policy: policy}, file); !errors.As(err, &f) || f.code != exitRefused {
		t.Errorf("another file: %v, want exit code %d", err, exitRefused)
	}
}
