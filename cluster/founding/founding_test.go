package founding

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/cluster/enrolment"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/pqcrypto/seal"
)

func wanted(i int) enrolment.Wanted {
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", 7000+10*i+port) }
	return enrolment.Wanted{Kind: enrolment.Node, Name: fmt.Sprintf("n%d", i), Suite: "default", Peer: at(1), API: at(2), HTTP: at(3)}
}

func mustMake(t testing.TB, w enrolment.Wanted) (*enrolment.Made, *enrolment.Request) {
	t.Helper()
	made, err := enrolment.Make(w)
	if err != nil {
		t.Fatal(err)
	}
	r, err := enrolment.Parse(made.Request)
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
func privateParts(t *testing.T, made *enrolment.Made) (parts [][]byte) {
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
	var all []*enrolment.Made
	var requests []*enrolment.Request
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

// TestNotFounded: requests that make no cluster.
func TestNotFounded(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	_, founder := mustMake(t, wanted(1))
	_, big := mustMake(t, func() enrolment.Wanted { w := wanted(2); w.Suite = "cat5"; return w }())
	_, renewed := mustMake(t, enrolment.Wanted{Kind: enrolment.Node, Name: "n1", Cluster: 0xab, Suite: "default"})
	for name, refused := range map[string]func() error{
		"two suites": func() error {
			_, err := Found(root, []*enrolment.Request{founder, big}, Founding{Origin: "o/l", Validity: time.Hour})
			return err
		},
		"a node that exists": func() error {
			_, err := Found(root, []*enrolment.Request{founder, renewed}, Founding{Origin: "o/l", Validity: time.Hour})
			return err
		},
		"one address twice": func() error {
			_, r := mustMake(t, func() enrolment.Wanted { w := wanted(1); w.Name = "n2"; return w }())
			_, err := Found(root, []*enrolment.Request{founder, r}, Founding{Origin: "o/l", Validity: time.Hour})
			return err
		},
		"a quorum below a majority": func() error {
			_, r := mustMake(t, wanted(2))
			_, err := Found(root, []*enrolment.Request{founder, r}, Founding{Origin: "o/l", SealQuorum: 1, Validity: time.Hour})
			return err
		},
		"nobody": func() error { _, err := Found(root, nil, Founding{Origin: "o/l", Validity: time.Hour}); return err },
	} {
		if err := refused(); err == nil {
			t.Errorf("%s: founded", name)
		}
	}
}
