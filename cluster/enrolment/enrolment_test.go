package enrolment

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/pqcrypto/seal"
)

func wanted(i int) Wanted {
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", 7000+10*i+port) }
	return Wanted{Kind: Node, Name: fmt.Sprintf("n%d", i), Suite: "default", Peer: at(1), API: at(2), HTTP: at(3)}
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

// privateParts are byte strings that nothing but a key file may hold.
func privateParts(t *testing.T, made *Made) (parts [][]byte) {
	t.Helper()
	for _, k := range made.Keys {
		text, err := pqcrypto.MarshalPrivateKeyPEM(k.Key)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "-----") {
				parts = append(parts, []byte(strings.TrimSpace(line)))
			}
		}
		parts = append(parts, k.Key.(interface{ Seed() []byte }).Seed())
	}
	return parts
}

// TestFounding: three machines and an authority make a cluster. Each node's files belong together,
// and nothing that travels holds a private key.
func TestFounding(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	var all []*Made
	var requests []*Request
	for i := range 3 {
		made, r := mustMake(t, wanted(i+1))
		all, requests = append(all, made), append(requests, r)
	}
	founded, err := Found(root, requests, Founding{Origin: "example.org/ledger", Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	policy, err := tlog.ParsePolicy(founded.Policy)
	if err != nil {
		t.Fatal(err)
	}
	if k, n := policy.Threshold(); k != 2 || n != 3 {
		t.Errorf("the policy demands %d of %d cosignatures, want 2 of 3", k, n)
	}
	pool, err := pki.NewPool(root.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	var travelled []byte
	for i, n := range founded.Nodes {
		made := all[i]
		travelled = append(travelled, made.Request...)
		files := map[string][]byte{}
		for _, f := range n.Answer.Files {
			files[f.Name] = f.Data
			travelled = append(travelled, f.Data...)
		}
		keys := map[string]any{}
		for _, k := range made.Keys {
			keys[k.Name] = k.Key
		}
		svid, kem := n.Answer.Certificates[0], n.Answer.Certificates[1]
		if want := pki.NodeID("ledger.example", founded.Cluster, requests[i].Name); svid.ID != want || svid.Roles != pki.RolePeer {
			t.Errorf("node %d: the certificate is for %s with the roles %s, want %s and peer", i+1, svid.ID, svid.Roles, want)
		}
		if _, err := pki.NewIdentity([]*pki.Certificate{svid}, keys["node.key"].(*pqcrypto.SigningKey), []*pki.Certificate{kem}, keys["kem.key"].(*pqcrypto.DecapsulationKey)); err != nil {
			t.Errorf("node %d: keys and certificates do not belong together: %v", i+1, err)
		}
		if _, err := pool.VerifyIdentity([][]byte{svid.Raw}, time.Now()); err != nil {
			t.Errorf("node %d: %v", i+1, err)
		}
		sealing, err := seal.NewPrivateKey(keys["sealing.key"].(*pqcrypto.XWingPrivateKey))
		if err != nil {
			t.Fatal(err)
		}
		opened, err := seal.OpenKey(sealing, node.LogKeyLabel("example.org/ledger/directory"), files["log.key.sealed"])
		if err != nil {
			t.Fatalf("node %d does not open its log key: %v", i+1, err)
		}
		logKey := opened.(*pqcrypto.SigningKey)
		if vkey, err := tlog.NewMLDSA44VerifierKey("example.org/ledger", logKey.Public()); err != nil || vkey.String() != founded.LogKey.String() {
			t.Errorf("node %d has another log key than the policy, %v", i+1, err)
		}
		if bytes.Contains(travelled, logKey.Seed()) {
			t.Errorf("node %d: the log key travels in the clear", i+1)
		}
		own := n.Config.Members[i]
		cosigner, err := tlog.NewMLDSA44VerifierKey("example.org/ledger/"+own.Name, keys["cosigner.key"].(*pqcrypto.SigningKey).Public())
		if err != nil || own.Cosigner != cosigner.String() || own.ID != uint64(i+1) {
			t.Errorf("node %d: members has the row %+v, %v", i+1, own, err)
		}
		for _, secret := range privateParts(t, made) {
			if bytes.Contains(travelled, secret) {
				t.Errorf("node %d: a private key travels: %q", i+1, secret)
			}
		}
	}
	// Somebody else's sealed log key is of no use to a node.
	sealing, err := seal.NewPrivateKey(all[0].Keys[3].Key.(*pqcrypto.XWingPrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range founded.Nodes[1].Answer.Files {
		if f.Name == "log.key.sealed" {
			if _, err := seal.OpenKey(sealing, node.LogKeyLabel("example.org/ledger/directory"), f.Data); err == nil {
				t.Error("node 1 opens the log key that is sealed to node 2")
			}
		}
	}
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
		"a cluster":      func(r *Request) { r.Cluster = 1 },
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
	_, big := mustMake(t, func() Wanted { w := wanted(2); w.Suite = "cat5"; return w }())
	_, renewed := mustMake(t, Wanted{Kind: Node, Name: "n1", Cluster: 0xab, Suite: "default"})
	_, client := mustMake(t, Wanted{Kind: Client, Name: "c", Suite: "default"})
	hour := Grant{Validity: time.Hour}
	writer := Grant{Validity: time.Hour, Roles: pki.RoleWriter}
	if a, err := Sign(root, renewed, hour); err != nil || a.Certificates[0].ID != pki.NodeID("ledger.example", 0xab, "n1") || len(a.Certificates) != 2 {
		t.Errorf("a renewal: %+v, %v", a, err)
	}
	if a, err := Sign(root, client, writer); err != nil || a.Certificates[0].Roles != pki.RoleWriter || len(a.Certificates) != 1 {
		t.Errorf("a client: %+v, %v", a, err)
	}
	for name, refused := range map[string]func() error{
		"a founder alone":       func() error { _, err := Sign(root, founder, hour); return err },
		"a client without role": func() error { _, err := Sign(root, client, hour); return err },
		"a node with a role":    func() error { _, err := Sign(root, renewed, writer); return err },
		"two suites": func() error {
			_, err := Found(root, []*Request{founder, big}, Founding{Origin: "o/l", Validity: time.Hour})
			return err
		},
		"a node that exists": func() error {
			_, err := Found(root, []*Request{founder, renewed}, Founding{Origin: "o/l", Validity: time.Hour})
			return err
		},
		"one address twice": func() error {
			_, r := mustMake(t, func() Wanted { w := wanted(1); w.Name = "n2"; return w }())
			_, err := Found(root, []*Request{founder, r}, Founding{Origin: "o/l", Validity: time.Hour})
			return err
		},
		"a quorum below a majority": func() error {
			_, r := mustMake(t, wanted(2))
			_, err := Found(root, []*Request{founder, r}, Founding{Origin: "o/l", SealQuorum: 1, Validity: time.Hour})
			return err
		},
		"nobody":            func() error { _, err := Found(root, nil, Founding{Origin: "o/l", Validity: time.Hour}); return err },
		"beyond the root's": func() error { _, err := Sign(root, renewed, Grant{Validity: 2000 * time.Hour}); return err },
	} {
		if err := refused(); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

// FuzzParse: whatever is accepted is what Make writes for the same content, and nothing panics.
func FuzzParse(f *testing.F) {
	for _, w := range []Wanted{wanted(1), {Kind: Client, Name: "c", Suite: "default"}, {Kind: Node, Name: "n1", Cluster: 1, Suite: "default"}} {
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
