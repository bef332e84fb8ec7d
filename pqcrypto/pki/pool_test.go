package pki

import (
	"bytes"
	"encoding/asn1"
	"testing"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
)

func TestGoodPaths(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	root, issuing := p.root.Certificate(), p.issuing.Certificate()
	for name, chain := range map[string][][]byte{
		"root left out":               raws(p.svid),
		"root included":               raws(p.svid, root),
		"two levels, root left out":   raws(p.svidBelow, issuing),
		"two levels, root included":   raws(p.svidBelow, issuing, root),
		"forged, nothing out of line": {p.root.forge(t, identityTemplate(p.svid.ID, RolePeer, p.key.Public()), nil)},
	} {
		c, err := p.pool.VerifyIdentity(chain, testNow)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.ID != NodeID(testTD, testCluster, "n1") || !c.Roles.Has(RolePeer) || c.Roles.Has(RoleWriter) || !c.VerifyingKey().Equal(p.key.Public()) || c.IsCA || c.IsKEM {
			t.Errorf("%s: got %+v", name, c)
		}
	}
	for name, c := range map[string]struct {
		chain [][]byte
		svid  *Certificate
	}{
		"with its identity":    {raws(p.kem), p.svid},
		"without its identity": {raws(p.kem, root), nil},
		"two levels":           {raws(p.kemBelow, issuing), p.svidBelow},
	} {
		kem, err := p.pool.VerifyKEM(c.chain, c.svid, testNow)
		if err != nil {
			t.Errorf("KEM certificate %s: %v", name, err)
			continue
		}
		if kem.ID != p.svid.ID || kem.Roles != 0 || !kem.EncapsulationKey().Equal(p.kemKey.Public()) || !kem.IsKEM {
			t.Errorf("KEM certificate %s: got %+v", name, kem)
		}
	}
	// The first and the last second count as valid.
	for _, now := range []time.Time{p.svid.NotBefore, p.svid.NotAfter} {
		_, err := p.pool.VerifyIdentity(raws(p.svid), now)
		wantReason(t, err, "")
	}
}

// Every chain that must not be accepted as an identity, and why.
func TestBadIdentityPaths(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	root, issuing := p.root.Certificate(), p.issuing.Certificate()
	id, pub := p.svid.ID, p.key.Public()

	// Another hierarchy for the same trust domain with the same names, one for another trust
	// domain, and a root that claims it while it is signed by nobody else.
	sameNames, err := newRoot("test root", testTD, pqcrypto.MLDSA87, testNow, 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	otherTD, err := newRoot("other root", "other.example", pqcrypto.MLDSA65, testNow, 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	bothPool, err := NewPool(root, otherTD.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	foreignSVID, err := sameNames.IssueIdentity(IssueRequest{ID: id, Roles: RolePeer, PublicKey: pub, Validity: time.Hour, Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	otherSVID, err := otherTD.IssueIdentity(IssueRequest{ID: NodeID("other.example", testCluster, "n1"), Roles: RolePeer, PublicKey: pub, Validity: time.Hour, Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	flip := func(der []byte, fromEnd int) []byte {
		der = bytes.Clone(der)
		der[len(der)-fromEnd] ^= 1
		return der
	}
	// As root key holder, a second issuing authority below the first, which has path length 0.
	lower := &Authority{key: p.key}
	lowerCert, err := ParseCertificate(p.issuing.forge(t, authorityTemplate("lower", testTD, p.key.Public(), -1), nil))
	if err != nil {
		t.Fatal(err)
	}
	lower.chain = []*Certificate{lowerCert}
	belowLower := lower.forge(t, identityTemplate(id, RolePeer, pub), nil)
	// The holder of an identity certificate issues with it.
	misused := &Authority{chain: []*Certificate{p.svid}, key: p.key}
	misusedCert := misused.forge(t, identityTemplate(id, RoleAdmin, pub), func(tmpl *template) { tmpl.issuer = commonName("x") })
	// A root that allows no authority below it.
	tightKey, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
	if err != nil {
		t.Fatal(err)
	}
	tight := &Authority{key: tightKey}
	if tightCert, err := tight.issue(authorityTemplate("tight", testTD, tightKey.Public(), 0), testNow, 100*time.Hour); err != nil {
		t.Fatal(err)
	} else {
		tight.chain = []*Certificate{tightCert}
	}
	tightPool, err := NewPool(tight.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	belowTight, err := ParseCertificate(tight.forge(t, authorityTemplate("below tight", testTD, p.key.Public(), -1), nil))
	if err != nil {
		t.Fatal(err)
	}
	leafBelowTight := (&Authority{chain: []*Certificate{belowTight}, key: p.key}).forge(t, identityTemplate(id, RolePeer, pub), nil)
	// A leaf in another trust domain than its issuer, and an authority in another than its root.
	strayLeaf := p.root.forge(t, identityTemplate(NodeID("other.example", testCluster, "n1"), RolePeer, pub), nil)
	strayCA, err := ParseCertificate(p.root.forge(t, authorityTemplate("stray", "other.example", p.key.Public(), 0), nil))
	if err != nil {
		t.Fatal(err)
	}
	belowStray := (&Authority{chain: []*Certificate{strayCA}, key: p.key}).forge(t, identityTemplate(NodeID("other.example", testCluster, "n1"), RolePeer, pub), nil)
	shortIssuing, err := p.root.newIssuing("short", pqcrypto.MLDSA65, testNow, 5*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	belowShort := shortIssuing.forge(t, identityTemplate(id, RolePeer, pub), func(tmpl *template) { tmpl.notAfter = testNow.Add(50 * time.Hour) })

	for _, c := range []struct {
		name  string
		pool  *Pool
		chain [][]byte
		now   time.Time
		want  Reason
	}{
		{"nothing", p.pool, nil, testNow, ReasonChain},
		{"too many", p.pool, raws(p.svidBelow, issuing, root, root), testNow, ReasonChain},
		{"too deep", p.pool, [][]byte{belowLower, lowerCert.Raw, issuing.Raw}, testNow, ReasonChain},
		{"expired", p.pool, raws(p.svid), p.svid.NotAfter.Add(time.Second), ReasonExpired},
		{"not yet valid", p.pool, raws(p.svid), p.svid.NotBefore.Add(-time.Second), ReasonNotYetValid},
		{"issuing authority expired", p.pool, [][]byte{belowShort, shortIssuing.Certificate().Raw}, testNow.Add(20 * time.Hour), ReasonExpired},
		{"root expired", p.pool, [][]byte{p.root.forge(t, identityTemplate(id, RolePeer, pub), func(tmpl *template) { tmpl.notAfter = testNow.Add(5000 * time.Hour) })},
			testNow.Add(2000 * time.Hour), ReasonExpired},
		{"root as leaf", p.pool, raws(root), testNow, ReasonKind},
		{"issuing authority as leaf", p.pool, raws(issuing, root), testNow, ReasonKind},
		{"leaf as authority", p.pool, [][]byte{misusedCert, p.svid.Raw}, testNow, ReasonKind},
		{"leaf as authority, root included", p.pool, [][]byte{misusedCert, p.svid.Raw, root.Raw}, testNow, ReasonKind},
		{"KEM certificate as authority", p.pool, raws(p.svid, p.kem), testNow, ReasonKind},
		{"KEM certificate as identity", p.pool, raws(p.kem), testNow, ReasonKind},
		{"path length of the root", tightPool, [][]byte{leafBelowTight, belowTight.Raw}, testNow, ReasonPathLength},
		{"unknown root", p.pool, raws(otherSVID), testNow, ReasonUnknownRoot},
		{"unknown root included", p.pool, raws(otherSVID, otherTD.Certificate()), testNow, ReasonUnknownRoot},
		{"unknown root with the same name", p.pool, raws(foreignSVID), testNow, ReasonUnknownRoot},
		{"unknown root with the same name, included", p.pool, raws(foreignSVID, sameNames.Certificate()), testNow, ReasonUnknownRoot},
		{"foreign leaf before the known root", p.pool, raws(foreignSVID, root), testNow, ReasonChain},
		{"issuing authority left out", p.pool, raws(p.svidBelow), testNow, ReasonUnknownRoot},
		{"issuing authority replaced by the root", p.pool, raws(p.svidBelow, root), testNow, ReasonChain},
		{"wrong order", p.pool, raws(issuing, p.svidBelow), testNow, ReasonUnknownRoot},
		{"certificate that doesn't belong", p.pool, raws(p.svid, issuing), testNow, ReasonChain},
		{"leaf twice", p.pool, raws(p.svid, p.svid), testNow, ReasonKind},
		{"leaf in another trust domain than its root", bothPool, [][]byte{strayLeaf}, testNow, ReasonTrustDomain},
		{"authority in another trust domain than its root", bothPool, [][]byte{belowStray, strayCA.Raw}, testNow, ReasonTrustDomain},
		{"flipped bit in the signature", p.pool, [][]byte{flip(p.svid.Raw, 100)}, testNow, ReasonSignature},
		{"flipped bit in the key", p.pool, [][]byte{flip(p.svid.Raw, pqcrypto.MLDSA87.SignatureSize()+1000)}, testNow, ReasonSignature},
		{"flipped bit in the authority's signature", p.pool, [][]byte{p.svidBelow.Raw, flip(issuing.Raw, 100)}, testNow, ReasonSignature},
		{"signature with a context", p.pool, [][]byte{signedOtherwise(t, p, func(tbs []byte) ([]byte, error) {
			return p.root.key.Sign(pqcrypto.ContextLPAClientAuth, tbs)
		})}, testNow, ReasonSignature},
		{"signed by the subject", p.pool, [][]byte{p.root.forge(t, identityTemplate(id, RolePeer, pub), nil), issuing.Raw}, testNow, ReasonChain},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaf, err := c.pool.VerifyIdentity(c.chain, c.now)
			wantReason(t, err, c.want)
			if leaf != nil {
				t.Errorf("a refused chain came back with a certificate of %s", leaf.ID)
			}
		})
	}
	// The other pool takes what belongs to it, so that the refusals above are not for another
	// reason.
	if _, err := bothPool.VerifyIdentity(raws(otherSVID), testNow); err != nil {
		t.Error(err)
	}
	if c, err := p.pool.VerifyKEM(raws(p.svid), nil, testNow); ReasonOf(err) != ReasonKind || c != nil {
		t.Errorf("identity as KEM certificate gives %v, want reason %q", err, ReasonKind)
	}
}

// signedOtherwise is an identity of the shared root with a signature of the caller's choice.
func signedOtherwise(t *testing.T, p *testPKI, sign func([]byte) ([]byte, error)) []byte {
	t.Helper()
	tmpl := identityTemplate(p.svid.ID, RolePeer, p.key.Public())
	p.root.forge(t, tmpl, nil)
	der, err := tmpl.build(sign)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// A signature of another parameter set than the issuer's key must be refused before it is looked
// at.
func TestSignatureOfAnotherParameterSet(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	tmpl := identityTemplate(p.svid.ID, RolePeer, p.key.Public())
	p.root.forge(t, tmpl, nil)
	tmpl.signedWith = pqcrypto.MLDSA65
	der, err := tmpl.build(p.key.SignStandard)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.pool.VerifyIdentity([][]byte{der}, testNow)
	wantReason(t, err, ReasonAlgorithm)
}

func TestRelatedCertificate(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	again, err := p.root.IssueIdentity(IssueRequest{ID: p.svid.ID, Roles: RolePeer, PublicKey: p.key.Public(), Validity: time.Hour, Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.root.IssueIdentity(IssueRequest{ID: NodeID(testTD, testCluster, "n2"), Roles: RolePeer, PublicKey: p.key.Public(), Validity: time.Hour, Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		svid *Certificate
		want Reason
	}{
		"its own identity":                          {p.svid, ""},
		"renewed identity of the same key and name": {again, ReasonRelated},
		"identity of another name":                  {other, ReasonRelated},
		"identity by the issuing authority":         {p.svidBelow, ReasonRelated},
		"an authority":                              {p.root.Certificate(), ReasonKind},
		"itself":                                    {p.kem, ReasonKind},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.pool.VerifyKEM(raws(p.kem), c.svid, testNow)
			wantReason(t, err, c.want)
		})
	}
	// Same hash, another name.
	stray := p.root.forge(t, kemTemplate(p.svid, p.kemKey.Public()), func(tmpl *template) {
		for i, e := range tmpl.extensions {
			if e.oid.Equal(oidSubjectAltName) {
				tmpl.extensions[i].value = uriNames(string(NodeID(testTD, testCluster, "n9")))
			}
		}
	})
	_, err = p.pool.VerifyKEM([][]byte{stray}, p.svid, testNow)
	wantReason(t, err, ReasonRelated)
}

func TestNewPoolRefuses(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	_, err := NewPool()
	wantReason(t, err, ReasonUnknownRoot)
	_, err = NewPool(p.root.Certificate(), p.svid)
	wantReason(t, err, ReasonKind)
	_, err = NewPool(p.issuing.Certificate())
	wantReason(t, err, ReasonChain)
	damaged := bytes.Clone(p.root.Certificate().Raw)
	damaged[len(damaged)-10] ^= 1
	c, err := ParseCertificate(damaged)
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewPool(c)
	wantReason(t, err, ReasonSignature)
	pool, err := NewPool(p.root.Certificate(), p.root.Certificate())
	if err != nil || len(pool.Roots()) != 1 {
		t.Errorf("the same root twice gives %v, want a pool of one", err)
	}
}

// The arc stays below 2^31 in every component, or crypto/x509 and with it every Go program would
// refuse our certificates.
func TestArcIsReadableByGo(t *testing.T) {
	t.Parallel()
	for _, oid := range []asn1.ObjectIdentifier{RolePeer.OID(), RoleAdmin.OID(), oidKEMAuth} {
		for _, n := range oid {
			if int64(n) >= 1<<31 {
				t.Errorf("%s has a component that crypto/x509 does not read", oid)
			}
		}
	}
}
