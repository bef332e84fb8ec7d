package client_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
)

// TestVerifyOffline: a receipt verifies with nothing but a policy, and shows its entry; nothing
// that was changed does.
func TestVerifyOffline(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 3)
	fill(t, c, 20)
	a := mustAppend(t, c, entry("invoice-17", "the invoice"), client.Sealed())
	raw := a.Receipt.Marshal()
	policy, err := client.LoadPolicy(cluster.WritePolicy())
	must(t, err)
	r, err := client.VerifyOffline(raw, policy)
	must(t, err)
	for what, e := range map[string]client.StoredEntry{"offline": r.Entry(), "from the append": a.Receipt.Entry()} {
		if e.Index != 20 || string(e.Key) != "invoice-17" || string(e.Payload) != "the invoice" || e.Principal != fakecluster.Principal || !e.Time.Equal(a.Time) {
			t.Errorf("%s: got %+v", what, e)
		}
	}
	if cp := r.Sealed(); cp.Origin != fakecluster.Origin || cp.Size != 21 || len(cp.Cosigners) < 2 {
		t.Errorf("sealed: %+v", cp)
	}
	if !bytes.Equal(r.Marshal(), raw) {
		t.Error("the receipt does not marshal to what was read")
	}
	refused := func(what string, raw []byte, policy *client.Policy) {
		t.Helper()
		var v *client.VerificationError
		if r, err := client.VerifyOffline(raw, policy); !errors.As(err, &v) || r != nil {
			t.Errorf("%s: got %v, %v, want a verification error", what, r, err)
		}
	}
	refused("a policy of other keys", raw, fakecluster.NewKeys(t, 3).Policy)
	refused("no policy", raw, nil)
	refused("nothing", nil, policy)
	refused("cut", raw[:len(raw)-1], policy)
	other := *r.Receipt
	other.Index--
	refused("another index", other.Marshal(), policy)
	for what, part := range map[string]string{"entry": "extra ", "proof": "\nindex 20\n", "root": "\n21\n", "signature": "\u2014 " + fakecluster.Origin + " "} {
		at := strings.Index(string(raw), part) + len(part) + 8
		changed := bytes.Clone(raw)
		if changed[at]++; changed[at] > 'z' || changed[at] == ':' || changed[at] == '[' {
			changed[at] = 'A'
		}
		refused("another "+what, changed, policy)
	}
}

func TestLoadPolicy(t *testing.T) {
	t.Parallel()
	garbage := filepath.Join(t.TempDir(), "policy")
	must(t, os.WriteFile(garbage, []byte("log nonsense\n"), 0o600))
	large := filepath.Join(t.TempDir(), "policy")
	must(t, os.WriteFile(large, bytes.Repeat([]byte("#\n"), 1<<20), 0o600))
	for _, path := range []string{garbage, large, filepath.Join(t.TempDir(), "none")} {
		if _, err := client.LoadPolicy(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want an error that names the file", path, err)
		}
	}
}
