package client_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/api/client"
)

const goodProfile = `origin: example.org/ledger
trust_domain: example.org
cluster_id: 00000000000000ab
suite: cat5
roots: pki/roots.pem
certificate: pki/writer.pem
key: /abs/writer.key
policy: policy
state: writer.state
endpoints:
  - name: n1
    address: 127.0.0.1:4001
  - {name: n2, address: "[::1]:4002"}
`

func load(t *testing.T, text string) (client.Profile, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "profile.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := client.LoadProfile(path)
	return p, path, err
}

func TestLoadProfile(t *testing.T) {
	p, path, err := load(t, goodProfile)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	want := client.Profile{
		Origin: "example.org/ledger", TrustDomain: "example.org", ClusterID: "00000000000000ab", Suite: "cat5", Roots: dir + "/pki/roots.pem", Certificate: dir + "/pki/writer.pem",
		Key: "/abs/writer.key", Policy: dir + "/policy", State: dir + "/writer.state",
		Endpoints: []client.Endpoint{{Name: "n1", Address: "127.0.0.1:4001"}, {Name: "n2", Address: "[::1]:4002"}},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v, want %+v", p, want)
	}
	if err := p.Write(path); err != nil {
		t.Fatal(err)
	}
	if again, err := client.LoadProfile(path); err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("written and read again: %+v, %v", again, err)
	}
}

func TestLoadProfileErrors(t *testing.T) {
	without := func(line string) string { return strings.Replace(goodProfile, line+"\n", "", 1) }
	for _, tc := range []struct{ name, text, says string }{
		{"empty", "", "is empty"},
		{"not YAML", "a: [", "parse profile"},
		{"unknown key", goodProfile + "polcy: x\n", "polcy"},
		{"key twice", goodProfile + "origin: x\n", "already defined"},
		{"wrong type", strings.Replace(goodProfile, "n1", "[1]", 1), "cannot unmarshal"},
		{"two documents", goodProfile + "---\na: b\n", "more than one document"},
		{"too large", goodProfile + strings.Repeat("# comment\n", 200_000), "larger than"},
		{"no origin", without("origin: example.org/ledger"), "origin is missing"},
		{"no policy", without("policy: policy"), "policy is missing"},
		{"no key", without("key: /abs/writer.key"), "key is missing"},
		{"no endpoints", goodProfile[:strings.Index(goodProfile, "endpoints")], "endpoints is missing"},
		{"no port", strings.Replace(goodProfile, ":4001", "", 1), "endpoints[0].address"},
		{"port 0", strings.Replace(goodProfile, ":4001", ":0", 1), "endpoints[0].address"},
		{"a port too large", strings.Replace(goodProfile, ":4001", ":65536", 1), "endpoints[0].address"},
		{"name twice", strings.Replace(goodProfile, "n2", "n1", 1), "is there twice"},
		{"bad name", strings.Replace(goodProfile, "n2", "a/b", 1), "endpoints[1].name"},
	} {
		_, path, err := load(t, tc.text)
		if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), path) && tc.name != "missing" {
			t.Errorf("%s: got %v, want an error with the file's name and %q", tc.name, err, tc.says)
		}
	}
	if _, err := client.LoadProfile(filepath.Join(t.TempDir(), "none.yaml")); !os.IsNotExist(rootCause(err)) {
		t.Errorf("a missing file: %v", err)
	}
}

func rootCause(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || os.IsNotExist(err) {
			return err
		}
		err = u.Unwrap()
	}
}
