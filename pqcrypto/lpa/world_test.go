package lpa

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

const (
	testDomain  = "ledger.example"
	testCluster = 0xc1
)

var (
	nodeOne = pki.NodeID(testDomain, testCluster, "n1")
	nodeTwo = pki.NodeID(testDomain, testCluster, "n2")
	service = pki.ServiceID(testDomain, "billing")
)

// world is one cluster's certificates. Roots are ML-DSA-87, leaves come from an issuing authority,
// so that every handshake validates a path of three.
type world struct {
	suite   *Suite
	root    *pki.Authority
	issuing *pki.Authority
	pool    *pki.Pool
	n1, n2  *pki.Identity
	client  *pki.Identity
}

var worlds = map[*Suite]func() *world{
	Suite768:  sync.OnceValue(func() *world { return newWorld(Suite768) }),
	Suite1024: sync.OnceValue(func() *world { return newWorld(Suite1024) }),
}

// worldOf returns the shared world of a suite. It is read-only.
func worldOf(s *Suite) *world { return worlds[s]() }

func bothSuites(t *testing.T, f func(t *testing.T, w *world)) {
	for _, s := range []*Suite{Suite768, Suite1024} {
		t.Run(s.String(), func(t *testing.T) { f(t, worldOf(s)) })
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newWorld(s *Suite) *world {
	w := &world{suite: s}
	w.root = must(pki.NewRoot("test root", testDomain, pqcrypto.MLDSA87, 48*time.Hour))
	w.issuing = must(w.root.NewIssuing("test issuing", s.sig, 47*time.Hour))
	w.pool = must(pki.NewPool(w.root.Certificate()))
	w.n1 = w.node(w.issuing, nodeOne, time.Time{}, 24*time.Hour)
	w.n2 = w.node(w.issuing, nodeTwo, time.Time{}, 24*time.Hour)
	w.client = w.principal(w.issuing, service, s.sig, time.Time{}, 24*time.Hour)
	return w
}

// principal makes an identity without KEM half.
func (w *world) principal(a *pki.Authority, id pki.ID, params pqcrypto.SigParams, now time.Time, validity time.Duration) *pki.Identity {
	key := must(pqcrypto.GenerateSigningKey(params))
	cert := must(a.IssueIdentity(pki.IssueRequest{
		ID: id, Roles: pki.RoleWriter, PublicKey: key.Public(), Validity: validity, Now: now,
	}))
	return &pki.Identity{Chain: append([]*pki.Certificate{cert}, a.Issuers()...), Key: key}
}

// node makes an identity with KEM half.
func (w *world) node(a *pki.Authority, id pki.ID, now time.Time, validity time.Duration) *pki.Identity {
	key := must(pqcrypto.GenerateSigningKey(w.suite.sig))
	cert := must(a.IssueIdentity(pki.IssueRequest{
		ID: id, Roles: pki.RolePeer, PublicKey: key.Public(), Validity: validity, Now: now,
	}))
	i := &pki.Identity{Chain: append([]*pki.Certificate{cert}, a.Issuers()...), Key: key}
	i.KEMChain, i.KEMKey = w.companion(a, cert, w.suite.kem, now, validity)
	return i
}

func (w *world) companion(a *pki.Authority, svid *pki.Certificate, p pqcrypto.KEMParams, now time.Time, validity time.Duration) ([]*pki.Certificate, *pqcrypto.DecapsulationKey) {
	dk := must(pqcrypto.GenerateDecapsulationKey(p))
	kem := must(a.IssueKEM(pki.KEMRequest{SVID: svid, PublicKey: dk.Public(), Validity: validity, Now: now}))
	return append([]*pki.Certificate{kem}, a.Issuers()...), dk
}

func (w *world) config(i *pki.Identity) *Config {
	return &Config{Suite: w.suite, Identity: i, Roots: w.pool}
}

// tbsCertificate is enough of RFC 5280 to issue certificates that package pki refuses to issue.
type tbsCertificate struct {
	Version    int `asn1:"explicit,default:0,tag:0"`
	Serial     *big.Int
	Algorithm  pkix.AlgorithmIdentifier
	Issuer     asn1.RawValue
	Validity   struct{ NotBefore, NotAfter time.Time }
	Subject    asn1.RawValue
	PublicKey  asn1.RawValue
	Extensions []pkix.Extension `asn1:"explicit,tag:3"`
}

var (
	oidSAN     = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidExtUsed = asn1.ObjectIdentifier{2, 5, 29, 37}
)

// forge changes a good certificate and lets the authority sign the result.
func forge(t testing.TB, a *pki.Authority, good []byte, edit func(*tbsCertificate)) []byte {
	t.Helper()
	var outer struct {
		TBS       tbsCertificate
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if rest, err := asn1.Unmarshal(good, &outer); err != nil || len(rest) != 0 {
		t.Fatalf("forge: %v, %d bytes left", err, len(rest))
	}
	edit(&outer.TBS)
	tbs := must(asn1.Marshal(outer.TBS))
	sig := must(a.Key().SignStandard(tbs))
	return must(asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, outer.Algorithm, asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}}))
}

// setExtension replaces the value of an extension; nil removes it.
func (c *tbsCertificate) setExtension(oid asn1.ObjectIdentifier, value []byte) {
	var out []pkix.Extension
	for _, e := range c.Extensions {
		if e.Id.Equal(oid) {
			if value == nil {
				continue
			}
			e.Value = value
		}
		out = append(out, e)
	}
	c.Extensions = out
}

// names encodes a SubjectAltName of URIs.
func names(uris ...string) []byte {
	var values []asn1.RawValue
	for _, u := range uris {
		values = append(values, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(u)})
	}
	return must(asn1.Marshal(values))
}

// withoutRoles removes the private usages.
func (c *tbsCertificate) withoutRoles() {
	c.setExtension(oidExtUsed, must(asn1.Marshal([]asn1.ObjectIdentifier{
		{1, 3, 6, 1, 5, 5, 7, 3, 1}, {1, 3, 6, 1, 5, 5, 7, 3, 2},
	})))
}

// nullParameters makes the key's AlgorithmIdentifier carry NULL, as older encoders did.
func (c *tbsCertificate) nullParameters(t testing.TB) {
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.PublicKey.FullBytes, &spki); err != nil {
		t.Fatal(err)
	}
	spki.Algorithm.Parameters = asn1.NullRawValue
	c.PublicKey = asn1.RawValue{FullBytes: must(asn1.Marshal(spki))}
}

// replaceKey puts other key bytes of the same length into the SubjectPublicKeyInfo.
func (c *tbsCertificate) replaceKey(t testing.TB, edit func(raw []byte)) {
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.PublicKey.FullBytes, &spki); err != nil {
		t.Fatal(err)
	}
	spki.Key.Bytes = bytes.Clone(spki.Key.Bytes)
	edit(spki.Key.Bytes)
	c.PublicKey = asn1.RawValue{FullBytes: must(asn1.Marshal(spki))}
}

// raws returns the DER of a chain.
func raws(chain []*pki.Certificate) [][]byte {
	var out [][]byte
	for _, c := range chain {
		out = append(out, c.Raw)
	}
	return out
}
