package enrolment

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

func wanted(i int) Wanted {
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", 7000+10*i+port) }
	return Wanted{Kind: Node, Name: fmt.Sprintf("n%d", i), Suite: "default", Peer: at(1), API: at(2), HTTP: at(3)}
}

// joins is wanted for a node that joins a cluster.
func joins(i int) Wanted {
	w := wanted(i)
	w.Cluster = 0xab
	return w
}

func mustMake(t testing.TB, w Wanted) (*Made, *Request) {
	t.Helper()
	made, err := Make(w)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Parse(made.Request)
	if err != nil {
		t.Fatal(err)
	}
	return made, r
}

func newRoot(t testing.TB) *pki.Authority {
	t.Helper()
	root, err := pki.NewRoot("test root", "ledger.example", pqcrypto.MLDSA65, 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestRequestsRefused: every change of a request is refused, and so is a request that is not signed
// by all keys that it must be signed by.
func TestRequestsRefused(t *testing.T) {
	t.Parallel()
	made, _ := mustMake(t, wanted(1))
	other, _ := mustMake(t, wanted(1))
	client, _ := mustMake(t, Wanted{Kind: Client, Name: "c", Suite: "default"})
	line := func(m *Made, word string) string {
		for l := range strings.Lines(string(m.Request)) {
			if strings.HasPrefix(l, word+" ") {
				return l
			}
		}
		t.Fatalf("no line %q", word)
		return ""
	}
	swap := func(word string) string {
		return strings.Replace(string(made.Request), line(made, word), line(other, word), 1)
	}
	text := string(made.Request)
	for name, bad := range map[string]string{
		"empty":                            "",
		"another magic":                    strings.Replace(text, "v1", "v2", 1),
		"another name":                     strings.Replace(text, "name n1", "name n2", 1),
		"another address":                  strings.Replace(text, "127.0.0.1:7011", "127.0.0.1:7911", 1),
		"another key":                      swap("key"),
		"another KEM key":                  swap("kem"),
		"another cosigner":                 swap("cosigner"),
		"another sealing key":              swap("sealing"),
		"another signature":                swap("signed"),
		"another cosigner signature":       swap("cosigner-signed"),
		"no signature":                     strings.Replace(text, line(made, "signed"), "", 1),
		"no cosigner signature":            strings.Replace(text, line(made, "cosigner-signed"), "", 1),
		"no KEM key":                       strings.Replace(text, line(made, "kem"), "", 1),
		"no cosigner":                      strings.Replace(text, line(made, "cosigner"), "", 1),
		"no sealing key":                   strings.Replace(text, line(made, "sealing"), "", 1),
		"no address":                       strings.Replace(text, line(made, "http"), "", 1),
		"a line twice":                     strings.Replace(text, "name n1\n", "name n1\nname n1\n", 1),
		"two lines exchanged":              strings.Replace(text, "kind node\nname n1\n", "name n1\nkind node\n", 1),
		"an unknown line":                  strings.Replace(text, "suite default\n", "suite default\nfavour please\n", 1),
		"another suite":                    strings.Replace(text, "suite default", "suite cat5", 1),
		"no end of line":                   strings.TrimSuffix(text, "\n"),
		"text behind":                      text + "\n",
		"an unknown kind":                  strings.Replace(text, "kind node", "kind king", 1),
		"a client with a node's keys":      strings.Replace(text, "kind node", "kind client", 1),
		"a client as an authority":         strings.Replace(string(client.Request), "kind client", "kind authority", 1),
		"a client as a node":               strings.Replace(string(client.Request), "kind client", "kind node", 1),
		"the cosigner key as the main one": strings.Replace(text, line(made, "key"), "key"+strings.TrimPrefix(line(made, "cosigner"), "cosigner"), 1),
		"too long":                         text + strings.Repeat("x", maxRequest),
	} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%s: the request is accepted", name)
		}
	}
}

// TestIncompleteRefused: a request that lacks a part is refused although its keys sign it.
func TestIncompleteRefused(t *testing.T) {
	t.Parallel()
	made, _ := mustMake(t, wanted(1))
	for name, spoil := range map[string]func(*Request){
		"no sealing key": func(r *Request) { r.Sealing = nil },
		"no KEM key":     func(r *Request) { r.KEM = nil },
		"no API address": func(r *Request) { r.API = "" },
		"no cosigner":    func(r *Request) { r.Cosigner = nil },
		"an authority":   func(r *Request) { r.Kind = Authority },
	} {
		r, err := Parse(made.Request)
		if err != nil {
			t.Fatal(err)
		}
		spoil(r)
		statement, err := r.statement()
		if err != nil {
			t.Fatal(err)
		}
		sign := func(i int) []byte {
			sig, err := made.Keys[i].Key.(*pqcrypto.SigningKey).Sign(pqcrypto.ContextRequest, statement)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}
		if _, err := Parse(r.marshal(statement, sign(0), sign(2))); err == nil || strings.Contains(err.Error(), "does not verify") {
			t.Errorf("%s: %v, want a refusal for what it lacks", name, err)
		}
	}
}

// TestWantedRefused: keys are made for what can be certified, and for nothing else.
func TestWantedRefused(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]Wanted{
		"no name":             {Kind: Client, Suite: "default"},
		"a path":              {Kind: Client, Name: "a/b", Suite: "default"},
		"the parent":          {Kind: Client, Name: "..", Suite: "default"},
		"hidden":              {Kind: Client, Name: ".a", Suite: "default"},
		"a flag":              {Kind: Client, Name: "-a", Suite: "default"},
		"a blank":             {Kind: Authority, Name: "a b", Suite: "default"},
		"a line":              {Kind: Authority, Name: "a\nb", Suite: "default"},
		"long":                {Kind: Client, Name: strings.Repeat("a", 64), Suite: "default"},
		"no suite":            {Kind: Client, Name: "a"},
		"no kind":             {Name: "a", Suite: "default"},
		"a client's cluster":  {Kind: Client, Name: "a", Suite: "default", Cluster: 1},
		"no addresses":        {Kind: Node, Name: "n1", Suite: "default"},
		"a renewed address":   {Kind: Node, Name: "n1", Suite: "default", Cluster: 1, Peer: "127.0.0.1:1"},
		"an address's line":   {Kind: Node, Name: "n1", Suite: "default", Peer: "a\nsuite cat5", API: "b", HTTP: "c"},
		"an authority's peer": {Kind: Authority, Name: "a", Suite: "default", Peer: "127.0.0.1:1"},
	} {
		if _, err := Make(w); err == nil {
			t.Errorf("%s: keys are made", name)
		}
	}
}

// TestGrants: what the authority does not sign.
func TestGrants(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	_, founder := mustMake(t, wanted(1))
	_, renewed := mustMake(t, Wanted{Kind: Node, Name: "n1", Cluster: 0xab, Suite: "default"})
	_, client := mustMake(t, Wanted{Kind: Client, Name: "c", Suite: "default"})
	hour := Grant{Validity: time.Hour}
	writer := Grant{Validity: time.Hour, Roles: pki.RoleWriter}
	if a, err := Sign(root, renewed, hour); err != nil || a.Certificates[0].ID != pki.NodeID("ledger.example", 0xab, "n1") || len(a.Certificates) != 2 {
		t.Errorf("a renewal: %+v, %v", a, err)
	}
	_, joining := mustMake(t, joins(4))
	if a, err := Sign(root, joining, hour); err != nil || a.Certificates[0].ID != pki.NodeID("ledger.example", 0xab, "n4") || joining.Founding() || !joining.Joining() || renewed.Joining() {
		t.Errorf("a new node of a cluster: %+v, %v", a, err)
	}
	if a, err := Sign(root, client, writer); err != nil || a.Certificates[0].Roles != pki.RoleWriter || len(a.Certificates) != 1 {
		t.Errorf("a client: %+v, %v", a, err)
	}
	for name, refused := range map[string]func() error{
		"a founder alone":       func() error { _, err := Sign(root, founder, hour); return err },
		"a client without role": func() error { _, err := Sign(root, client, hour); return err },
		"a node with a role":    func() error { _, err := Sign(root, renewed, writer); return err },
		"beyond the root's":     func() error { _, err := Sign(root, renewed, Grant{Validity: 2000 * time.Hour}); return err },
	} {
		if err := refused(); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

// FuzzParse: whatever is accepted is what Make writes for the same content, and nothing panics.
func FuzzParse(f *testing.F) {
	for _, w := range []Wanted{wanted(1), {Kind: Client, Name: "c", Suite: "default"}, {Kind: Node, Name: "n1", Cluster: 1, Suite: "default"}, joins(4)} {
		made, _ := mustMake(f, w)
		f.Add(made.Request)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		statement, err := r.statement()
		if err != nil || !bytes.HasPrefix(text, statement) {
			t.Errorf("accepted %q, whose statement would be %q, %v", text, statement, err)
		}
	})
}
