package lpa

import (
	"bytes"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// TestServerRefusesClientCertificates sends each bad chain in an otherwise perfect proof.
func TestServerRefusesClientCertificates(t *testing.T) {
	t.Parallel()
	w, cat5 := worldOf(Suite768), worldOf(Suite1024)
	key, leaf, issuers := w.client.Key, w.client.Leaf().Raw, raws(w.issuing.Issuers())
	forged := func(edit func(*tbsCertificate)) [][]byte {
		return append([][]byte{forge(t, w.issuing, leaf, edit)}, issuers...)
	}
	day := 24 * time.Hour
	now := time.Now()

	otherRoot := must(pki.NewRoot("test root", testDomain, pqcrypto.MLDSA87, day*2)) // same name, another key
	foreign := w.principal(otherRoot, service, w.suite.sig, time.Time{}, day)
	otherSet := w.principal(w.issuing, service, pqcrypto.MLDSA87, time.Time{}, day)
	impostor := must(pki.NewRoot("impostor", testDomain, w.suite.sig, time.Hour))
	// Two authorities between leaf and root are one too many even when each signature is right.
	deep := w.principal(w.issuing, service, w.suite.sig, time.Time{}, day)

	for _, tc := range []struct {
		name  string
		chain [][]byte
		key   *pqcrypto.SigningKey
		want  string
		pki   pki.Reason // of the cause, "" if it is not package pki that refuses
	}{
		{"expired", raws(w.principal(w.issuing, service, w.suite.sig, now.Add(-2*time.Hour), time.Hour).Chain), key, ReasonExpired, pki.ReasonExpired},
		{"not yet valid", raws(w.principal(w.issuing, service, w.suite.sig, now.Add(2*time.Hour), time.Hour).Chain), key, ReasonExpired, pki.ReasonNotYetValid},
		{"root of another cluster with the same name", raws(foreign.Chain), foreign.Key, ReasonCertificate, pki.ReasonUnknownRoot},
		{"root of the other suite's cluster", raws(cat5.client.Chain), cat5.client.Key, ReasonCertificate, pki.ReasonUnknownRoot},
		{"issuer missing", [][]byte{leaf}, key, ReasonCertificate, pki.ReasonUnknownRoot},
		{"issuer twice", append([][]byte{leaf}, issuers[0], issuers[0]), key, ReasonFrame, ""},
		{"a leaf as issuer", [][]byte{leaf, w.n1.Leaf().Raw}, key, ReasonCertificate, ""},
		{"authority as leaf", issuers, w.issuing.Key(), ReasonCertificate, pki.ReasonKind},
		{"root as leaf", raws(w.root.Chain()), w.root.Key(), ReasonCertificate, pki.ReasonKind},
		{"KEM certificate as identity", raws(w.n1.KEMChain), key, ReasonCertificate, pki.ReasonKind},
		{"path length", raws(append(deep.Chain[:1:1], w.issuing.Issuers()[0], w.root.Certificate())), deep.Key, ReasonFrame, ""},
		{"ML-DSA-87 in the ML-DSA-65 suite", raws(otherSet.Chain), otherSet.Key, ReasonSuite, ""},
		{"ML-DSA-44", forged(func(c *tbsCertificate) {
			k := must(pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44))
			c.PublicKey.FullBytes = must(pqcrypto.MarshalPublicKeyDER(k.Public()))
		}), key, ReasonCertificate, pki.ReasonAlgorithm},
		{"two URI names", forged(func(c *tbsCertificate) { c.setExtension(oidSAN, names(string(service), string(nodeTwo))) }), key, ReasonCertificate, pki.ReasonName},
		{"no URI name", forged(func(c *tbsCertificate) { c.setExtension(oidSAN, nil) }), key, ReasonCertificate, pki.ReasonName},
		{"empty list of names", forged(func(c *tbsCertificate) { c.setExtension(oidSAN, names()) }), key, ReasonCertificate, ""},
		{"other trust domain", forged(func(c *tbsCertificate) { c.setExtension(oidSAN, names("spiffe://other.example/svc/billing")) }), key, ReasonCertificate, pki.ReasonTrustDomain},
		{"no role", forged((*tbsCertificate).withoutRoles), key, ReasonCertificate, pki.ReasonKeyUsage},
		{"no extended key usage", forged(func(c *tbsCertificate) { c.setExtension(oidExtUsed, nil) }), key, ReasonCertificate, pki.ReasonKeyUsage},
		{"NULL parameters", forged(func(c *tbsCertificate) { c.nullParameters(t) }), key, ReasonCertificate, ""},
		{"trailing byte", append([][]byte{append(bytes.Clone(leaf), 0)}, issuers...), key, ReasonCertificate, pki.ReasonMalformed},
		{"signed by somebody else", append([][]byte{forge(t, impostor, leaf, func(*tbsCertificate) {})}, issuers...), key, ReasonCertificate, pki.ReasonSignature},
		{"not DER", append([][]byte{[]byte("certificate")}, issuers...), key, ReasonCertificate, pki.ReasonMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			identity := &pki.Identity{Chain: w.client.Chain, Key: tc.key}
			evil := &evilClient{cfg: w.config(w.client), server: nodeOne, local: &local{roots: w.pool, identity: identity, chain: tc.chain}}
			var told *HandshakeError
			evil.finished = func(h *clientHalf, m3 []byte, err error) {
				if err == nil {
					told, _ = h.serverFinished(m3).(*HandshakeError) // the type itself
				}
			}
			// A key of another set makes a signature of another size; bring it to size, so that the
			// certificate decides.
			evil.bend = func(h *clientHalf) {
				sign := h.sign
				h.sign = func(context string, m []byte) ([]byte, error) {
					sig, err := sign(context, m)
					return append(sig, make([]byte, w.suite.sigSize)...)[:w.suite.sigSize], err
				}
			}
			err := attackServer(t, w.config(w.n1), evil.attack(t))
			h := wantReason(t, err, tc.want)
			if got := pki.ReasonOf(err); tc.pki != "" && got != tc.pki {
				t.Errorf("the cause is %q (%v), want %q", got, err, tc.pki)
			}
			if _, ok := statusOf(h.Reason); ok && (told == nil || told.Reason != ReasonRefused || told.Refusal != h.Reason) {
				t.Errorf("the server failed with %v, but the client was told %v", h, told)
			}
		})
	}
}

// TestClientRefusesServerCertificates puts each bad pair of certificates into M1. The client must
// not answer.
func TestClientRefusesServerCertificates(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	kem, svid, issuers := w.n1.KEMChain[0].Raw, w.n1.Leaf().Raw, raws(w.issuing.Issuers())
	day, now := 24*time.Hour, time.Now()
	past := w.node(w.issuing, nodeOne, now.Add(-3*time.Hour), time.Hour)
	future := w.node(w.issuing, nodeOne, now.Add(3*time.Hour), time.Hour)
	renewed := w.node(w.issuing, nodeOne, time.Time{}, day) // same name, so only the hash tells its halves from n1's
	expiredKEM := must(w.issuing.IssueKEM(pki.KEMRequest{SVID: w.n1.Leaf(), PublicKey: w.n1.KEMKey.Public(), Validity: time.Hour, Now: now.Add(-3 * time.Hour)})).Raw
	otherRoot := must(pki.NewRoot("test root", testDomain, pqcrypto.MLDSA87, 2*day))
	foreign := w.node(otherRoot, nodeOne, time.Time{}, day)
	otherKEM, _ := w.companion(w.issuing, w.n1.Leaf(), Suite1024.kem, time.Time{}, day)
	otherKey := must(pqcrypto.GenerateSigningKey(Suite1024.sig))
	otherSVID := must(w.issuing.IssueIdentity(pki.IssueRequest{ID: nodeOne, Roles: pki.RolePeer, PublicKey: otherKey.Public(), Validity: day}))
	otherSVIDKEM, _ := w.companion(w.issuing, otherSVID, w.suite.kem, time.Time{}, day)

	for _, tc := range []struct {
		name  string
		certs [][]byte // KEM certificate, identity certificate, issuers
		want  string
		pki   pki.Reason
	}{
		{"another node", [][]byte{w.n2.KEMChain[0].Raw, w.n2.Leaf().Raw, issuers[0]}, ReasonIdentity, ""},
		{"KEM certificate of another node", [][]byte{w.n2.KEMChain[0].Raw, svid, issuers[0]}, ReasonRelated, pki.ReasonRelated},
		{"identity of another node", [][]byte{kem, w.n2.Leaf().Raw, issuers[0]}, ReasonIdentity, ""},
		{"KEM certificate of the identity before", [][]byte{kem, renewed.Leaf().Raw, issuers[0]}, ReasonRelated, pki.ReasonRelated},
		{"swapped", [][]byte{svid, kem, issuers[0]}, ReasonCertificate, pki.ReasonKind},
		{"identity as KEM certificate", [][]byte{svid, svid, issuers[0]}, ReasonCertificate, pki.ReasonKind},
		{"KEM certificate as identity", [][]byte{kem, kem, issuers[0]}, ReasonCertificate, pki.ReasonKind},
		{"authority as identity", [][]byte{kem, issuers[0]}, ReasonCertificate, pki.ReasonKind},
		{"expired", [][]byte{past.KEMChain[0].Raw, past.Leaf().Raw, issuers[0]}, ReasonExpired, pki.ReasonExpired},
		{"not yet valid", [][]byte{future.KEMChain[0].Raw, future.Leaf().Raw, issuers[0]}, ReasonExpired, pki.ReasonNotYetValid},
		{"only the KEM certificate expired", [][]byte{expiredKEM, svid, issuers[0]}, ReasonExpired, pki.ReasonExpired},
		{"root of another cluster", [][]byte{foreign.KEMChain[0].Raw, foreign.Leaf().Raw}, ReasonCertificate, pki.ReasonUnknownRoot},
		{"KEM certificate from the root of another cluster", [][]byte{foreign.KEMChain[0].Raw, svid, issuers[0]}, ReasonCertificate, ""},
		{"issuer missing", [][]byte{kem, svid}, ReasonCertificate, pki.ReasonUnknownRoot},
		{"root sent", [][]byte{kem, svid, issuers[0], w.root.Certificate().Raw}, ReasonFrame, ""},
		{"ML-KEM-1024 in the ML-KEM-768 suite", [][]byte{otherKEM[0].Raw, svid, issuers[0]}, ReasonSuite, ""},
		{"ML-DSA-87 in the ML-DSA-65 suite", [][]byte{otherSVIDKEM[0].Raw, otherSVID.Raw, issuers[0]}, ReasonSuite, ""},
		{"coefficient not below q", [][]byte{forge(t, w.issuing, kem, func(c *tbsCertificate) {
			c.replaceKey(t, func(raw []byte) { raw[0], raw[1] = 0xff, raw[1]|0x0f }) // the first coefficient is 4095, q is 3329
		}), svid, issuers[0]}, ReasonCertificate, ""},
		{"NULL parameters", [][]byte{forge(t, w.issuing, kem, func(c *tbsCertificate) { c.nullParameters(t) }), svid, issuers[0]}, ReasonCertificate, ""},
		{"trailing byte", [][]byte{append(bytes.Clone(kem), 0), svid, issuers[0]}, ReasonCertificate, pki.ReasonMalformed},
		{"KEM certificate with two URI names", [][]byte{forge(t, w.issuing, kem, func(c *tbsCertificate) {
			c.setExtension(oidSAN, names(string(nodeOne), string(nodeTwo)))
		}), svid, issuers[0]}, ReasonCertificate, pki.ReasonName},
		{"KEM certificate without RelatedCertificate", [][]byte{forge(t, w.issuing, kem, func(c *tbsCertificate) {
			c.setExtension([]int{1, 3, 6, 1, 5, 5, 7, 1, 36}, nil)
		}), svid, issuers[0]}, ReasonCertificate, pki.ReasonExtension},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			evil := &evilServer{cfg: w.config(w.n1), m1: func([]byte) []byte {
				return must(newFrame(typeServerIdentity, maxIdentityFrame, appendCertificates(nil, tc.certs)))
			}}
			err := attackClient(t, w.config(w.client), nodeOne, evil.attack(t))
			wantReason(t, err, tc.want)
			if got := pki.ReasonOf(err); tc.pki != "" && got != tc.pki {
				t.Errorf("the cause is %q (%v), want %q", got, err, tc.pki)
			}
		})
	}
}

func TestClockSkew(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	for _, skew := range []time.Duration{-25 * time.Hour, 25 * time.Hour} {
		clock := func() time.Time { return time.Now().Add(skew) }
		client, server := w.config(w.client), w.config(w.n1)
		client.Now = clock
		_, _, cerr, _ := shake(t, client, nodeOne, server)
		wantReason(t, cerr, ReasonExpired)

		client, server = w.config(w.client), w.config(w.n1)
		server.Now = clock
		_, _, cerr, serr := shake(t, client, nodeOne, server)
		wantReason(t, serr, ReasonExpired)
		if h := wantReason(t, cerr, ReasonRefused); h.Refusal != ReasonExpired || h.Temporary() {
			t.Errorf("the client was told %q (temporary: %v), want %q", h.Refusal, h.Temporary(), ReasonExpired)
		}
	}
}

func TestDenyRefusesDuringTheHandshake(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	revoked := errors.New("revoked")

	server := w.config(w.n1)
	server.Deny = func(c *pki.Certificate) error {
		if c.ID == service {
			return revoked
		}
		return nil
	}
	_, _, cerr, serr := shake(t, w.config(w.client), nodeOne, server)
	if h := wantReason(t, serr, ReasonDenied); !errors.Is(serr, revoked) || h.Peer != service {
		t.Errorf("server failed with %v for %q, want the hook's own error for %s", serr, h.Peer, service)
	}
	if h := wantReason(t, cerr, ReasonRefused); h.Refusal != ReasonDenied {
		t.Errorf("the client was told %q, want %q", h.Refusal, ReasonDenied)
	}

	for _, kem := range []bool{false, true} {
		client := w.config(w.client)
		client.Deny = func(c *pki.Certificate) error {
			if c.IsKEM == kem {
				return revoked
			}
			return nil
		}
		_, _, cerr, _ := shake(t, client, nodeOne, w.config(w.n1))
		if wantReason(t, cerr, ReasonDenied); !errors.Is(cerr, revoked) {
			t.Errorf("client failed with %v, want the hook's own error", cerr)
		}
	}
}

// TestStrangerLearnsNothingFromDeny sends a member's certificate without its key: the answer must
// be about the signature.
func TestStrangerLearnsNothingFromDeny(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	server := w.config(w.n1)
	server.Deny = func(*pki.Certificate) error { return errors.New("revoked") }
	key := must(pqcrypto.GenerateSigningKey(w.suite.sig))
	evil := &evilClient{cfg: w.config(w.client), server: nodeOne, local: &local{roots: w.pool, identity: &pki.Identity{Chain: w.client.Chain, Key: key}, chain: raws(w.client.Chain)}}
	wantReason(t, attackServer(t, server, evil.attack(t)), ReasonSignature)
}
