package pki

import (
	"bytes"
	"encoding/asn1"
	"testing"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// setExt replaces, adds or (with nil) removes an extension.
func (t *template) setExt(oid asn1.ObjectIdentifier, critical bool, value []byte) {
	var kept []extension
	for _, e := range t.extensions {
		if !e.oid.Equal(oid) {
			kept = append(kept, e)
		}
	}
	if value != nil {
		kept = append(kept, extension{oid, critical, value})
	}
	t.extensions = kept
}

// otherName, dNSName and URI by their tag number.
func generalNames(names ...func(*cryptobyte.Builder)) []byte {
	return encode(func(b *cryptobyte.Builder) {
		for _, n := range names {
			n(b)
		}
	})
}

func generalName(tag uint8, value string) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(tag).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
	}
}

// Everything that the profile of the three kinds excludes. The certificates are well signed: only
// the profile can refuse them.
func TestProfiles(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	id := string(p.svid.ID)
	uri := generalName(6, id)
	weak, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	xwing, err := pqcrypto.NewXWingKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	nullSPKI := func(params pqcrypto.SigParams, raw []byte) []byte {
		return encode(func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(params.OID())
				b.AddBytes([]byte{5, 0})
			})
			b.AddASN1BitString(raw)
		})
	}
	unknown := asn1.ObjectIdentifier{1, 2, 3, 4}
	emptySeq := []byte{0x30, 0}
	identity := func() *template { return identityTemplate(p.svid.ID, RolePeer, p.key.Public()) }
	kem := func() *template { return kemTemplate(p.svid, p.kemKey.Public()) }
	ca := func() *template { return authorityTemplate("some authority", testTD, p.key.Public(), 0) }
	san := func(value []byte) func(*template) {
		return func(tmpl *template) { tmpl.setExt(oidSubjectAltName, true, value) }
	}
	ext := func(oid asn1.ObjectIdentifier, critical bool, value []byte) func(*template) {
		return func(tmpl *template) { tmpl.setExt(oid, critical, value) }
	}
	for _, c := range []struct {
		name string
		tmpl *template
		edit func(*template)
		want Reason
	}{
		{"identity", identity(), nil, ""},
		{"KEM certificate", kem(), nil, ""},
		{"authority", ca(), nil, ""},
		{"identity with a subject name", identity(), func(tmpl *template) { tmpl.subject = commonName("n1") }, ""},
		{"identity with cA absent in basic constraints", identity(), ext(oidBasicConstraints, true, emptySeq), ""},
		{"identity with an unknown extension that is not critical", identity(), ext(unknown, false, emptySeq), ""},
		{"authority with keyCertSign alone", ca(), ext(oidKeyUsage, true, usageCertSign), ""},

		{"two URI names", identity(), san(generalNames(uri, generalName(6, "spiffe://ledger.example/node/n2"))), ReasonName},
		{"the same URI name twice", identity(), san(generalNames(uri, uri)), ReasonName},
		{"no names", identity(), san(emptySeq), ReasonName},
		{"no name extension", identity(), san(nil), ReasonName},
		{"a DNS name", identity(), san(generalNames(generalName(2, "n1.example"))), ReasonName},
		{"a DNS name too", identity(), san(generalNames(uri, generalName(2, "n1.example"))), ReasonName},
		{"an email address too", identity(), san(generalNames(generalName(1, "a@b.example"), uri)), ReasonName},
		{"an https URI", identity(), san(uriNames("https://ledger.example/node/n1")), ReasonName},
		{"a SPIFFE ID without a path", identity(), san(uriNames("spiffe://ledger.example")), ReasonName},
		{"a SPIFFE ID with a port", identity(), san(uriNames("spiffe://ledger.example:1/node/n1")), ReasonName},
		{"a name that is not critical beside an empty subject", identity(), func(tmpl *template) { tmpl.setExt(oidSubjectAltName, false, uriNames(id)) }, ReasonName},
		{"authority with a path in its ID", ca(), san(uriNames(id)), ReasonName},
		{"authority without a name", ca(), san(nil), ReasonName},

		{"identity for ML-DSA-44", identityTemplate(p.svid.ID, RolePeer, weak.Public()), nil, ReasonAlgorithm},
		{"authority for ML-DSA-44", authorityTemplate("weak", testTD, weak.Public(), 0), nil, ReasonAlgorithm},
		{"identity for X-Wing", identity(), func(tmpl *template) { tmpl.spki = mustSPKI(xwing.Public()) }, ReasonAlgorithm},
		{"key with NULL parameters", identity(), func(tmpl *template) { tmpl.spki = nullSPKI(pqcrypto.MLDSA65, p.key.Public().Bytes()) }, ReasonAlgorithm},
		{"key that is too short", identity(), func(tmpl *template) {
			tmpl.spki = encode(func(b *cryptobyte.Builder) {
				addAlgorithm(b, pqcrypto.MLDSA65.OID())
				b.AddASN1BitString(make([]byte, 1951))
			})
		}, ReasonAlgorithm},
		{"KEM key with a coefficient above q", kem(), func(tmpl *template) {
			raw := p.kemKey.Public().Bytes()
			raw[0], raw[1] = 0xff, 0xff
			tmpl.spki = encode(func(b *cryptobyte.Builder) {
				addAlgorithm(b, pqcrypto.MLKEM768.OID())
				b.AddASN1BitString(raw)
			})
		}, ReasonAlgorithm},
		{"authority for ML-KEM", ca(), func(tmpl *template) { tmpl.spki = mustSPKI(p.kemKey.Public()) }, ReasonAlgorithm},

		{"identity that may sign certificates", identity(), ext(oidKeyUsage, true, usageCertAndCRLSign), ReasonKeyUsage},
		{"identity that may sign anything", identity(), ext(oidKeyUsage, true, []byte{3, 2, 2, 0x84}), ReasonKeyUsage},
		{"identity with keyEncipherment", identity(), ext(oidKeyUsage, true, usageKeyEncipherment), ReasonKeyUsage},
		{"identity without key usage", identity(), ext(oidKeyUsage, true, nil), ReasonKeyUsage},
		{"identity with key usage that is not critical", identity(), ext(oidKeyUsage, false, usageDigitalSignature), ReasonKeyUsage},
		{"identity with key usage that is not minimal", identity(), ext(oidKeyUsage, true, []byte{3, 3, 7, 0x80, 0}), ReasonKeyUsage},
		{"KEM certificate with digitalSignature", kem(), ext(oidKeyUsage, true, usageDigitalSignature), ReasonKeyUsage},
		{"KEM certificate with keyAgreement too", kem(), ext(oidKeyUsage, true, []byte{3, 2, 3, 0x28}), ReasonKeyUsage},
		{"KEM certificate without key usage", kem(), ext(oidKeyUsage, true, nil), ReasonKeyUsage},
		{"authority without keyCertSign", ca(), ext(oidKeyUsage, true, []byte{3, 2, 1, 2}), ReasonKeyUsage},
		{"authority with digitalSignature too", ca(), ext(oidKeyUsage, true, []byte{3, 2, 1, 0x86}), ReasonKeyUsage},

		{"identity without a role", identity(), ext(oidExtKeyUsage, false, keyUsages(oidServerAuth, oidClientAuth)), ReasonKeyUsage},
		{"identity with a role alone", identity(), ext(oidExtKeyUsage, false, keyUsages(oidRolePeer)), ReasonKeyUsage},
		{"identity without clientAuth", identity(), ext(oidExtKeyUsage, false, keyUsages(oidServerAuth, oidRolePeer)), ReasonKeyUsage},
		{"identity with serverAuth twice", identity(), ext(oidExtKeyUsage, false, keyUsages(oidServerAuth, oidServerAuth, oidRolePeer)), ReasonKeyUsage},
		{"identity with codeSigning too", identity(), ext(oidExtKeyUsage, false, keyUsages(oidServerAuth, oidClientAuth, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}, oidRolePeer)), ReasonKeyUsage},
		{"identity with KEM authentication", identity(), ext(oidExtKeyUsage, false, keyUsages(oidServerAuth, oidClientAuth, oidRolePeer, oidKEMAuth)), ReasonKeyUsage},
		{"identity with an unknown role", identity(), ext(oidExtKeyUsage, false, keyUsages(oidServerAuth, oidClientAuth, oidRolePeer, arcOID(99))), ReasonKeyUsage},
		{"identity without extended key usage", identity(), ext(oidExtKeyUsage, false, nil), ReasonKeyUsage},
		{"KEM certificate with a role", kem(), ext(oidExtKeyUsage, false, keyUsages(oidKEMAuth, oidRolePeer)), ReasonKeyUsage},
		{"KEM certificate with serverAuth", kem(), ext(oidExtKeyUsage, false, keyUsages(oidServerAuth, oidKEMAuth)), ReasonKeyUsage},
		{"KEM certificate without extended key usage", kem(), ext(oidExtKeyUsage, false, nil), ReasonKeyUsage},
		{"authority with a role", ca(), ext(oidExtKeyUsage, false, keyUsages(oidRolePeer)), ReasonKeyUsage},

		{"unknown critical extension", identity(), ext(unknown, true, emptySeq), ReasonExtension},
		{"critical name constraints", identity(), ext(asn1.ObjectIdentifier{2, 5, 29, 30}, true, encode(func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { generalName(6, "example.com")(b) })
			})
		})), ReasonExtension},
		{"extension twice", identity(), func(tmpl *template) { tmpl.extensions = append(tmpl.extensions, tmpl.extensions[0]) }, ReasonMalformed},
		{"authority with basic constraints that are not critical", ca(), ext(oidBasicConstraints, false, basicConstraints(0)), ReasonExtension},
		{"authority without subject key identifier", ca(), ext(oidSubjectKeyID, false, nil), ReasonExtension},
		{"identity without authority key identifier", identity(), ext(oidAuthorityKeyID, false, nil), ReasonExtension},
		{"identity with a related certificate", identity(), ext(oidRelated, false, relatedCertificate(p.svid).value), ReasonExtension},
		{"KEM certificate without a related certificate", kem(), ext(oidRelated, false, nil), ReasonExtension},
		{"KEM certificate related by SHA-384", kem(), ext(oidRelated, false, encode(func(b *cryptobyte.Builder) {
			addAlgorithm(b, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2})
			b.AddASN1OctetString(make([]byte, 48))
		})), ReasonExtension},
		{"KEM certificate related by SHA3-256", kem(), ext(oidRelated, false, encode(func(b *cryptobyte.Builder) {
			addAlgorithm(b, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 8})
			b.AddASN1OctetString(make([]byte, 32))
		})), ReasonExtension},
		{"KEM certificate related by a short hash", kem(), ext(oidRelated, false, encode(func(b *cryptobyte.Builder) {
			addAlgorithm(b, oidSHA256)
			b.AddASN1OctetString(make([]byte, 31))
		})), ReasonExtension},
		{"KEM certificate related by garbage", kem(), ext(oidRelated, false, []byte{1, 2, 3}), ReasonExtension},

		{"negative serial number", identity(), func(tmpl *template) { tmpl.serial = []byte{0x80} }, ReasonMalformed},
		{"serial number zero", identity(), func(tmpl *template) { tmpl.serial = []byte{0} }, ReasonMalformed},
		{"serial number of 21 bytes", identity(), func(tmpl *template) { tmpl.serial = bytes.Repeat([]byte{1}, 21) }, ReasonMalformed},
		{"serial number that is not minimal", identity(), func(tmpl *template) { tmpl.serial = []byte{0, 1} }, ReasonMalformed},
		{"validity that ends before it begins", identity(), func(tmpl *template) { tmpl.notAfter = tmpl.notBefore.Add(-time.Hour) }, ReasonMalformed},
		{"authority without a subject", ca(), func(tmpl *template) {
			tmpl.subject = commonName("")
			tmpl.setExt(oidSubjectAltName, true, uriNames(idScheme+testTD))
		}, ReasonMalformed},
		{"empty issuer", identity(), func(tmpl *template) { tmpl.issuer = commonName("") }, ReasonMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			der := p.root.forge(t, c.tmpl, c.edit)
			cert, err := ParseCertificate(der)
			wantReason(t, err, c.want)
			if (cert != nil) != (c.want == "") {
				t.Errorf("got a certificate: %v, want one: %v", cert != nil, c.want == "")
			}
		})
	}
}

// What the builder cannot make: damage in the outer layers.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	good := p.svid.Raw
	sigOID := encode(func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(pqcrypto.MLDSA87.OID()) })
	outer := bytes.LastIndex(good, sigOID)
	wrap := func(alg []byte, more ...byte) []byte {
		return encode(func(b *cryptobyte.Builder) {
			b.AddBytes(p.svid.tbs)
			b.AddBytes(alg)
			b.AddASN1BitString(p.svid.signature)
			b.AddBytes(more)
		})
	}
	algorithm := func(oid asn1.ObjectIdentifier, params ...byte) []byte {
		return encode(func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid)
			b.AddBytes(params)
		})
	}
	if !bytes.Equal(wrap(sigOID), good) || outer < 0 {
		t.Fatal("the test does not rebuild the certificate")
	}
	withTBS := func(from, to []byte) []byte {
		tbs := bytes.Replace(p.svid.tbs, from, to, 1)
		if len(from) != len(to) {
			t.Fatal("replacement has another length")
		}
		return encode(func(b *cryptobyte.Builder) {
			b.AddBytes(tbs)
			b.AddBytes(sigOID)
			b.AddASN1BitString(p.svid.signature)
		})
	}
	for _, c := range []struct {
		name string
		der  []byte
		want Reason
	}{
		{"empty", nil, ReasonMalformed},
		{"trailing byte", append(bytes.Clone(good), 0), ReasonMalformed},
		{"trailing byte inside", wrap(sigOID, 5, 0), ReasonMalformed},
		{"truncated", good[:len(good)-1], ReasonMalformed},
		{"too large", make([]byte, MaxCertificateSize+1), ReasonMalformed},
		{"signature algorithm with NULL", wrap(algorithm(pqcrypto.MLDSA87.OID(), 5, 0)), ReasonAlgorithm},
		{"signature algorithm ML-DSA-44", wrap(algorithm(pqcrypto.MLDSA44.OID())), ReasonAlgorithm},
		{"signature algorithm Ed25519", wrap(algorithm(asn1.ObjectIdentifier{1, 3, 101, 112})), ReasonAlgorithm},
		{"signature algorithms that differ", withTBS(sigOID, algorithm(pqcrypto.MLDSA65.OID())), ReasonAlgorithm},
		{"signature of another length", wrap(algorithm(pqcrypto.MLDSA65.OID())), ReasonMalformed},
		{"version 2", withTBS([]byte{0xa0, 3, 2, 1, 2}, []byte{0xa0, 3, 2, 1, 1}), ReasonMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert, err := ParseCertificate(c.der)
			wantReason(t, err, c.want)
			if cert != nil {
				t.Error("got a certificate")
			}
		})
	}
}

// No byte of a certificate can change without the path being refused.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	p := getPKI(t)
	step := 41
	if testing.Short() {
		step = 401
	}
	for i := 0; i < len(p.svid.Raw); i += step {
		der := bytes.Clone(p.svid.Raw)
		der[i] ^= 1 << (i % 8)
		if _, err := p.pool.VerifyIdentity([][]byte{der}, testNow); ReasonOf(err) == "" {
			t.Errorf("byte %d changed: got error %v, want a refusal with a reason", i, err)
		}
	}
}

func FuzzParseCertificate(f *testing.F) {
	p := getPKI(f)
	for _, c := range []*Certificate{p.svid, p.kem, p.root.Certificate(), p.issuing.Certificate()} {
		f.Add(c.Raw)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := ParseCertificate(der)
		if err != nil {
			if ReasonOf(err) == "" {
				t.Fatalf("error without a reason: %v", err)
			}
			return
		}
		if !bytes.Equal(c.Raw, der) || c.TrustDomain == "" || (c.VerifyingKey() == nil) != c.IsKEM || (c.ID == "") != c.IsCA || (c.Roles == 0) != (c.IsCA || c.IsKEM) {
			t.Fatalf("inconsistent certificate %+v", c)
		}
		// Whatever parses is refused unless the root signed it.
		if leaf, err := p.pool.VerifyIdentity([][]byte{der}, testNow); err == nil && !leaf.Equal(p.svid) {
			t.Fatalf("accepted a certificate that nobody issued: %x", der)
		}
	})
}

// Names and extensions are where a certificate's structure is, and a hundredth of its bytes. This
// target leaves the mutations to them.
func FuzzCertificateExtensions(f *testing.F) {
	p := getPKI(f)
	signature := make([]byte, pqcrypto.MLDSA65.SignatureSize())
	for i, tmpl := range []*template{
		identityTemplate(p.svid.ID, RolePeer, p.key.Public()), kemTemplate(p.svid, p.kemKey.Public()), authorityTemplate("authority", testTD, p.key.Public(), 1),
	} {
		p.root.forge(f, tmpl, nil)
		f.Add(tmpl.encodeExtensions(), tmpl.subject, i == 1)
	}
	f.Fuzz(func(t *testing.T, extensions, subject []byte, kem bool) {
		tmpl := identityTemplate(p.svid.ID, RolePeer, p.key.Public())
		if kem {
			tmpl.spki = mustSPKI(p.kemKey.Public())
		}
		tmpl.serial, tmpl.signedWith = []byte{1}, pqcrypto.MLDSA65
		tmpl.notBefore, tmpl.notAfter, tmpl.issuer, tmpl.subject = testNow, testNow, commonName("issuer"), subject
		tmpl.rawExtensions = extensions
		der, err := tmpl.build(func([]byte) ([]byte, error) { return signature, nil })
		if err != nil {
			return
		}
		c, err := ParseCertificate(der)
		if err != nil {
			if ReasonOf(err) == "" {
				t.Fatalf("error without a reason: %v", err)
			}
			return
		}
		if c.IsKEM != kem || c.TrustDomain == "" || (c.ID == "") != c.IsCA || (c.Roles == 0) != (c.IsCA || c.IsKEM) || (c.related != nil) != kem {
			t.Fatalf("inconsistent certificate %+v", c)
		}
		if _, err := p.pool.VerifyIdentity([][]byte{der}, testNow); err == nil {
			t.Fatalf("accepted a certificate that nobody signed: %x", der)
		}
	})
}

// TestRolesInCertificates: every role has an identifier of its own under the arc that
// docs/operations.md gives, and a certificate has the roles that it was issued with and no others.
func TestRolesInCertificates(t *testing.T) {
	t.Parallel()
	const under = "1.2.840.113556.1.8000.2554.27826.29994.8722.17591.43862.6710635.2991645.1."
	p := getPKI(t)
	for role, number := range map[Role]string{RolePeer: "1", RoleWriter: "2", RoleReader: "3", RoleAdmin: "4", RoleParticipant: "6", RoleOperator: "7"} {
		if got := role.OID().String(); got != under+number {
			t.Errorf("%s is %s, want %s", role, got, under+number)
		}
	}
	for roles := Role(1); roles <= allRoles; roles++ {
		c, err := p.root.IssueIdentity(IssueRequest{ID: p.svid.ID, Roles: roles, PublicKey: p.key.Public(), Validity: time.Hour, Now: testNow})
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseCertificate(c.Raw)
		if err != nil || back.Roles != roles {
			t.Errorf("issued with %q: %v, %v", roles, back, err)
		}
	}
}
