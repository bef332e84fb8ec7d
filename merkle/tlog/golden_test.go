package tlog

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew (signatures are randomised, so they change)")

// golden returns a file of testdata, which -update replaces by want.
func golden(t *testing.T, name string, want []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGoldenFiles: files of every text format, written once, are still read,
// verified and written the same. Keys come from seeds, so the verifier key and
// the policy are also made anew and compared.
func TestGoldenFiles(t *testing.T) {
	l := newTestLedger(t, 3)
	r := l.receipt(t, 21, 2)

	vkey := golden(t, "log.vkey", []byte(l.log.Key().String()+"\n"))
	if got := l.log.Key().String() + "\n"; got != string(vkey) {
		t.Errorf("log.vkey: made %s", got)
	}
	k, err := ParseVerifierKey(string(vkey[:len(vkey)-1]))
	if err != nil {
		t.Fatal(err)
	}

	policyFile := golden(t, "policy", l.policy(t, 2).Marshal())
	p, err := ParsePolicy(policyFile)
	if err != nil {
		t.Fatal(err)
	}
	if p.String() != string(policyFile) || l.policy(t, 2).String() != string(policyFile) {
		t.Errorf("policy: made %s", l.policy(t, 2))
	}

	checkpoint := golden(t, "checkpoint", r.Checkpoint)
	v, err := p.Verify(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if v.Checkpoint != l.checkpoint() || v.LogKey.String() != k.String() || len(v.Cosigners) != 2 {
		t.Errorf("checkpoint: verified %+v", v)
	}
	n, err := ParseNote(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if string(n.Marshal()) != string(checkpoint) || n.Text != l.checkpoint().Text() {
		t.Error("checkpoint: is written in another way")
	}

	receiptFile := golden(t, "entry.tlog-proof", r.Marshal())
	got, err := ParseReceipt(receiptFile)
	if err != nil {
		t.Fatal(err)
	}
	if v, err = p.VerifyReceipt(got); err != nil {
		t.Fatal(err)
	}
	if string(got.Extra) != "entry 21" || got.Index != 21 || v.Size != 37 || string(got.Marshal()) != string(receiptFile) {
		t.Errorf("entry.tlog-proof: entry %q at %d of %d", got.Extra, got.Index, v.Size)
	}
}
