package pki

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cockroachdb/errors"
)

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	weak, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	if err != nil {
		t.Fatal(err)
	}
	good := IssueRequest{ID: p.svid.ID, Roles: RoleWriter, PublicKey: p.key.Public(), Validity: time.Hour, Now: testNow}
	for name, c := range map[string]struct {
		edit func(*IssueRequest)
		want Reason
	}{
		"nothing wrong":          {func(*IssueRequest) {}, ""},
		"no ID":                  {func(r *IssueRequest) { r.ID = "" }, ReasonIssueRequest},
		"malformed ID":           {func(r *IssueRequest) { r.ID = NodeID(testTD, testCluster, "a b") }, ReasonIssueRequest},
		"other trust domain":     {func(r *IssueRequest) { r.ID = NodeID("other.example", testCluster, "n1") }, ReasonTrustDomain},
		"no roles":               {func(r *IssueRequest) { r.Roles = 0 }, ReasonIssueRequest},
		"unknown role":           {func(r *IssueRequest) { r.Roles = 0x80 | RolePeer }, ReasonIssueRequest},
		"no key":                 {func(r *IssueRequest) { r.PublicKey = nil }, ReasonIssueRequest},
		"ML-DSA-44":              {func(r *IssueRequest) { r.PublicKey = weak.Public() }, ReasonIssueRequest},
		"no validity":            {func(r *IssueRequest) { r.Validity = 0 }, ReasonIssueRequest},
		"longer than the issuer": {func(r *IssueRequest) { r.Validity = 1001 * time.Hour }, ReasonIssueRequest},
	} {
		t.Run(name, func(t *testing.T) {
			r := good
			c.edit(&r)
			cert, err := p.root.IssueIdentity(r)
			wantReason(t, err, c.want)
			if (cert != nil) != (c.want == "") {
				t.Errorf("got a certificate: %v", cert != nil)
			}
		})
	}
	for name, r := range map[string]KEMRequest{
		"no identity":               {PublicKey: p.kemKey.Public(), Validity: time.Hour},
		"authority as identity":     {SVID: p.root.Certificate(), PublicKey: p.kemKey.Public(), Validity: time.Hour},
		"KEM companion as identity": {SVID: p.kem, PublicKey: p.kemKey.Public(), Validity: time.Hour},
		"no key":                    {SVID: p.svid, Validity: time.Hour},
	} {
		r.Now = testNow
		if _, err := p.root.IssueKEM(r); ReasonOf(err) != ReasonIssueRequest {
			t.Errorf("KEM request with %s gives %v, want reason %q", name, err, ReasonIssueRequest)
		}
	}
	_, err = p.issuing.NewIssuing("below", pqcrypto.MLDSA65, time.Hour)
	wantReason(t, err, ReasonPathLength)
	for name, f := range map[string]func() (*Authority, error){
		"no name": func() (*Authority, error) { return NewRoot("", testTD, pqcrypto.MLDSA87, time.Hour) },
		"long name": func() (*Authority, error) {
			return NewRoot(strings.Repeat("x", 65), testTD, pqcrypto.MLDSA87, time.Hour)
		},
		"bad trust domain": func() (*Authority, error) { return NewRoot("root", "Ledger Example", pqcrypto.MLDSA87, time.Hour) },
		"weak key":         func() (*Authority, error) { return NewRoot("root", testTD, pqcrypto.MLDSA44, time.Hour) },
	} {
		if _, err := f(); ReasonOf(err) != ReasonIssueRequest {
			t.Errorf("root with %s gives %v, want reason %q", name, err, ReasonIssueRequest)
		}
	}
}

func TestIssuedCertificate(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	if got, want := p.svid.NotBefore, testNow.Add(-skew); !got.Equal(want) {
		t.Errorf("validity begins %v, want %v", got, want)
	}
	if got, want := p.svid.NotAfter, testNow.Add(100*time.Hour); !got.Equal(want) {
		t.Errorf("validity ends %v, want %v", got, want)
	}
	if p.svid.SerialNumber.Cmp(p.kem.SerialNumber) == 0 || p.svid.SerialNumber.BitLen() < 120 {
		t.Errorf("serial numbers %x and %x are equal or short", p.svid.SerialNumber, p.kem.SerialNumber)
	}
	if c := p.issuing.Certificate(); c.MaxPathLen != 0 || !c.IsCA || c.TrustDomain != testTD || c.ID != "" {
		t.Errorf("issuing authority is %+v", c)
	}
	if c := p.root.Certificate(); c.MaxPathLen != 1 || c.SignedWith != pqcrypto.MLDSA87 {
		t.Errorf("root is %+v", c)
	}
	if got := p.issuing.Issuers(); len(got) != 1 || !got[0].Equal(p.issuing.Certificate()) {
		t.Errorf("issuers of a leaf below the issuing authority are %d certificates, want that authority", len(got))
	}
	if got := p.root.Issuers(); len(got) != 0 {
		t.Errorf("issuers of a leaf below the root are %d certificates, want none", len(got))
	}
	// Beyond 2049 the time has another type.
	c, err := newRoot("late", testTD, pqcrypto.MLDSA65, testNow, 30*365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if y := c.Certificate().NotAfter.Year(); y < 2050 {
		t.Errorf("validity ends in %d, want beyond 2049", y)
	}
}

type identityFiles struct{ cert, key, kemCert, kemKey string }

func writeIdentity(t *testing.T, p *testPKI) identityFiles {
	t.Helper()
	dir := t.TempDir()
	f := identityFiles{filepath.Join(dir, "id.pem"), filepath.Join(dir, "id.key"), filepath.Join(dir, "kem.pem"), filepath.Join(dir, "kem.key")}
	write := func(path string, certs ...*Certificate) {
		if err := os.WriteFile(path, MarshalPEM(certs...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(f.cert, p.svidBelow, p.issuing.Certificate())
	write(f.kemCert, p.kemBelow, p.issuing.Certificate())
	for path, key := range map[string]any{f.key: p.key, f.kemKey: p.kemKey} {
		if err := pqcrypto.WriteKeyFile(path, key); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestLoadIdentity(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	f := writeIdentity(t, p)
	server, err := LoadIdentity(f.cert, f.key, f.kemCert, f.kemKey)
	if err != nil {
		t.Fatal(err)
	}
	if len(server.Chain) != 2 || len(server.KEMChain) != 2 || !bytes.Equal(server.KEMKey.Seed(), p.kemKey.Seed()) || server.Leaf().ID != p.svid.ID {
		t.Errorf("server identity is %+v", server)
	}
	client, err := LoadIdentity(f.cert, f.key, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if client.KEMChain != nil || client.KEMKey != nil || client.Leaf().ID != p.svid.ID {
		t.Errorf("client identity is %+v", client)
	}

	dir := t.TempDir()
	otherKey, otherKEM, authorityOnly, unrelated := filepath.Join(dir, "other.key"), filepath.Join(dir, "otherkem.key"), filepath.Join(dir, "ca.pem"), filepath.Join(dir, "unrelated.pem")
	sk, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
	if err != nil {
		t.Fatal(err)
	}
	dk, err := pqcrypto.GenerateDecapsulationKey(pqcrypto.MLKEM768)
	if err != nil {
		t.Fatal(err)
	}
	for path, key := range map[string]any{otherKey: sk, otherKEM: dk} {
		if err := pqcrypto.WriteKeyFile(path, key); err != nil {
			t.Fatal(err)
		}
	}
	for path, c := range map[string]*Certificate{authorityOnly: p.root.Certificate(), unrelated: p.kem} {
		if err := os.WriteFile(path, MarshalPEM(c), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		f    identityFiles
		want Reason
	}{
		"another key":               {identityFiles{f.cert, otherKey, "", ""}, ReasonKeyMismatch},
		"KEM key as identity key":   {identityFiles{f.cert, f.kemKey, "", ""}, ReasonKeyMismatch},
		"identity key as KEM key":   {identityFiles{f.cert, f.key, f.kemCert, f.key}, ReasonKeyMismatch},
		"another KEM key":           {identityFiles{f.cert, f.key, f.kemCert, otherKEM}, ReasonKeyMismatch},
		"KEM certificate alone":     {identityFiles{f.cert, f.key, f.kemCert, ""}, ReasonChain},
		"KEM key alone":             {identityFiles{f.cert, f.key, "", f.kemKey}, ReasonChain},
		"authority as identity":     {identityFiles{authorityOnly, f.key, "", ""}, ReasonKind},
		"KEM certificate first":     {identityFiles{f.kemCert, f.key, "", ""}, ReasonKind},
		"identity as KEM":           {identityFiles{f.cert, f.key, f.cert, f.kemKey}, ReasonKind},
		"unrelated KEM certificate": {identityFiles{f.cert, f.key, unrelated, f.kemKey}, ReasonRelated},
		"key file as certificate":   {identityFiles{f.key, f.key, "", ""}, ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := LoadIdentity(c.f.cert, c.f.key, c.f.kemCert, c.f.kemKey)
			wantReason(t, err, c.want)
			if id != nil {
				t.Error("got an identity")
			}
		})
	}
	if _, err := LoadIdentity(filepath.Join(dir, "missing"), f.key, "", ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file gives %v", err)
	}
}

func TestLoadAuthorityAndPool(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	dir := t.TempDir()
	cert, key, other := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key"), filepath.Join(dir, "other.key")
	if err := os.WriteFile(cert, MarshalPEM(p.issuing.Chain()...), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, k := range map[string]any{key: p.issuing.Key(), other: p.key} {
		if err := pqcrypto.WriteKeyFile(path, k); err != nil {
			t.Fatal(err)
		}
	}
	a, err := LoadAuthority(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.IssueIdentity(IssueRequest{ID: ServiceID(testTD, "app"), Roles: RoleWriter, PublicKey: p.key.Public(), Validity: time.Hour, Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.pool.VerifyIdentity(raws(append([]*Certificate{leaf}, a.Issuers()...)...), testNow); err != nil {
		t.Errorf("leaf of a loaded authority: %v", err)
	}
	_, err = LoadAuthority(cert, other)
	wantReason(t, err, ReasonKeyMismatch)

	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, append([]byte("# the root\n"), MarshalPEM(p.root.Certificate())...), 0o644); err != nil {
		t.Fatal(err)
	}
	pool, err := LoadPool(roots)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.VerifyIdentity(raws(p.svid), testNow); err != nil {
		t.Errorf("loaded pool: %v", err)
	}
	_, err = LoadPool(cert)
	wantReason(t, err, ReasonChain)
	_, err = LoadPool(key)
	wantReason(t, err, ReasonMalformed)
	if _, err := ParseCertificatesPEM(nil); ReasonOf(err) != ReasonMalformed {
		t.Errorf("no certificates give %v", err)
	}
	if _, err := ParseCertificatesPEM(make([]byte, maxPEMFile+1)); ReasonOf(err) != ReasonMalformed {
		t.Errorf("a huge file gives %v", err)
	}
}
