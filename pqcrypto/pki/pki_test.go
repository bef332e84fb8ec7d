package pki

import (
	"sync"
	"testing"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
)

const (
	testTD                = "ledger.example"
	testCluster ClusterID = 0xc1
)

// testNow is the clock of all path tests.
var testNow = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// testPKI is a complete hierarchy: a root, an issuing authority below it, a server's identity and
// KEM certificate issued by each of them.
type testPKI struct {
	root, issuing *Authority
	pool          *Pool

	key    *pqcrypto.SigningKey
	kemKey *pqcrypto.DecapsulationKey

	svid, kem           *Certificate // by the root
	svidBelow, kemBelow *Certificate // by the issuing authority
}

var sharedPKI = sync.OnceValues(func() (*testPKI, error) {
	p := &testPKI{}
	var err error
	do := func(f func() error) {
		if err == nil {
			err = f()
		}
	}
	id := NodeID(testTD, testCluster, "n1")
	do(func() (err error) {
		p.root, err = newRoot("test root", testTD, pqcrypto.MLDSA87, testNow, 1000*time.Hour)
		return err
	})
	do(func() (err error) {
		p.issuing, err = p.root.newIssuing("test issuing", pqcrypto.MLDSA65, testNow, 500*time.Hour)
		return err
	})
	do(func() (err error) { p.pool, err = NewPool(p.root.Certificate()); return err })
	do(func() (err error) { p.key, err = pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65); return err })
	do(func() (err error) { p.kemKey, err = pqcrypto.GenerateDecapsulationKey(pqcrypto.MLKEM768); return err })
	issue := func(a *Authority, svid, kem **Certificate) {
		do(func() (err error) {
			*svid, err = a.IssueIdentity(IssueRequest{ID: id, Roles: RolePeer | RoleReader, PublicKey: p.key.Public(), Validity: 100 * time.Hour, Now: testNow})
			return err
		})
		do(func() (err error) {
			*kem, err = a.IssueKEM(KEMRequest{SVID: *svid, PublicKey: p.kemKey.Public(), Validity: 100 * time.Hour, Now: testNow})
			return err
		})
	}
	issue(p.root, &p.svid, &p.kem)
	if err == nil {
		issue(p.issuing, &p.svidBelow, &p.kemBelow)
	}
	return p, err
})

func getPKI(t testing.TB) *testPKI {
	t.Helper()
	p, err := sharedPKI()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func raws(certs ...*Certificate) [][]byte {
	var out [][]byte
	for _, c := range certs {
		out = append(out, c.Raw)
	}
	return out
}

func wantReason(t *testing.T, err error, want Reason) {
	t.Helper()
	if got := ReasonOf(err); got != want || (want == "" && err != nil) {
		t.Errorf("got reason %q (error: %v), want %q", got, err, want)
	}
}

// forge signs a template as the authority without any check; edit changes the template first.
func (a *Authority) forge(t testing.TB, tmpl *template, edit func(*template)) []byte {
	t.Helper()
	own := a.Certificate()
	tmpl.serial, tmpl.signedWith = []byte{1}, a.key.Params()
	tmpl.notBefore, tmpl.notAfter = testNow.Add(-time.Hour), testNow.Add(time.Hour)
	tmpl.issuer = own.rawSubject
	tmpl.extensions = append(tmpl.extensions, authorityKeyID(own.subjectKeyID))
	if edit != nil {
		edit(tmpl)
	}
	der, err := tmpl.build(a.key.SignStandard)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
