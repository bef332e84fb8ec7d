package mldsa

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/internal/kat"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

var pairs = []struct {
	ours   pqcrypto.SigParams
	theirs mldsa.Parameters
}{
	{pqcrypto.MLDSA44, mldsa.MLDSA44()},
	{pqcrypto.MLDSA65, mldsa.MLDSA65()},
	{pqcrypto.MLDSA87, mldsa.MLDSA87()},
}

// For many seeds, messages and contexts: the same key, the same deterministic signature bit for
// bit, and each verifies what the other signed, hedged or not, and refuses it with another context.
func TestFilippoAgrees(t *testing.T) {
	const rounds = 40
	for _, pair := range pairs {
		t.Run(pair.ours.String(), func(t *testing.T) {
			t.Parallel()
			var random [32]byte
			copy(random[:], "cairn interop "+pair.ours.String())
			source := rand.NewChaCha8(random)
			for round := range rounds {
				seed := make([]byte, 32)
				source.Read(seed)
				msg := make([]byte, source.Uint64()%2000)
				source.Read(msg)
				context := make([]byte, []uint64{0, 1, 255, source.Uint64() % 256}[round%4])
				source.Read(context)
				where := fmt.Sprintf("round %d, seed %x, context of %d bytes, message of %d", round, seed, len(context), len(msg))

				ours, err := pqcrypto.NewSigningKey(pair.ours, seed)
				if err != nil {
					t.Fatal(err)
				}
				theirs, err := mldsa.NewPrivateKey(pair.theirs, seed)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(ours.Public().Bytes(), theirs.PublicKey().Bytes()) {
					t.Fatalf("%s: public keys differ", where)
				}
				opts, otherOpts := &mldsa.Options{Context: string(context)}, &mldsa.Options{Context: string(context) + "x"}
				if len(context) == 255 {
					otherOpts.Context = string(context[1:])
				}

				sig, err := kat.Sign(ours, context, msg)
				if err != nil {
					t.Fatal(err)
				}
				theirSig, err := theirs.SignDeterministic(msg, opts)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(sig, theirSig) {
					t.Fatalf("%s: deterministic signatures differ", where)
				}
				hedged, err := theirs.Sign(nil, msg, opts)
				if err != nil {
					t.Fatal(err)
				}
				parsed, err := pqcrypto.ParseVerifyingKey(pair.ours, theirs.PublicKey().Bytes())
				if err != nil {
					t.Fatal(err)
				}
				theirPublic, err := mldsa.NewPublicKey(pair.theirs, ours.Public().Bytes())
				if err != nil {
					t.Fatal(err)
				}
				if !kat.Verify(parsed, context, msg, hedged) || kat.Verify(parsed, []byte(otherOpts.Context), msg, hedged) {
					t.Fatalf("%s: we don't verify their hedged signature with its context, or do with another", where)
				}
				if err := mldsa.Verify(theirPublic, msg, sig, opts); err != nil {
					t.Fatalf("%s: they don't verify ours: %v", where, err)
				}
				if mldsa.Verify(theirPublic, msg, sig, otherOpts) == nil {
					t.Fatalf("%s: they verify ours with another context", where)
				}
			}
		})
	}
}

// The signing that the product uses: hedged, with the contexts of the table or with none.
func TestFilippoVerifiesProductSignatures(t *testing.T) {
	t.Parallel()
	for _, pair := range pairs {
		key, err := pqcrypto.GenerateSigningKey(pair.ours)
		if err != nil {
			t.Fatal(err)
		}
		pub, err := mldsa.NewPublicKey(pair.theirs, key.Public().Bytes())
		if err != nil {
			t.Fatal(err)
		}
		msg := []byte("a statement")
		for _, c := range pqcrypto.Contexts() {
			if c.Reserved {
				continue
			}
			sig, err := key.Sign(c.Context, msg)
			if err != nil {
				t.Fatal(err)
			}
			if err := mldsa.Verify(pub, msg, sig, &mldsa.Options{Context: c.Context}); err != nil {
				t.Errorf("%s, context %q: %v", pair.ours, c.Context, err)
			}
			if mldsa.Verify(pub, msg, sig, nil) == nil {
				t.Errorf("%s, context %q: verifies without its context", pair.ours, c.Context)
			}
		}
		sig, err := key.SignStandard(msg)
		if err != nil {
			t.Fatal(err)
		}
		if err := mldsa.Verify(pub, msg, sig, nil); err != nil {
			t.Errorf("%s, no context: %v", pair.ours, err)
		}
	}
}

// Keys in DER both ways: PKCS#8 and SubjectPublicKeyInfo are the same bytes.
func TestFilippoKeyEncodings(t *testing.T) {
	t.Parallel()
	for _, pair := range pairs {
		key, err := pqcrypto.GenerateSigningKey(pair.ours)
		if err != nil {
			t.Fatal(err)
		}
		private, err := pqcrypto.MarshalPrivateKeyDER(key)
		if err != nil {
			t.Fatal(err)
		}
		public, err := pqcrypto.MarshalPublicKeyDER(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := mldsax509.ParsePKCS8PrivateKey(private)
		if err != nil {
			t.Fatalf("%s: they don't read our private key: %v", pair.ours, err)
		}
		if got, err := mldsax509.MarshalPKCS8PrivateKey(theirs); err != nil || !bytes.Equal(got, private) {
			t.Errorf("%s: their PKCS#8 is %x (%v), ours %x", pair.ours, got, err, private)
		}
		theirPublic, err := mldsax509.ParsePKIXPublicKey(public)
		if err != nil {
			t.Fatalf("%s: they don't read our public key: %v", pair.ours, err)
		}
		if got, err := mldsax509.MarshalPKIXPublicKey(theirPublic); err != nil || !bytes.Equal(got, public) {
			t.Errorf("%s: their SubjectPublicKeyInfo differs (%v)", pair.ours, err)
		}
	}
}

// Every signature in an issued hierarchy verifies with the issuer's key as crypto/x509 and
// filippo.io/mldsa/x509 see them.
func TestFilippoVerifiesCertificates(t *testing.T) {
	t.Parallel()
	root, err := pki.NewRoot("root", "ledger.example", pqcrypto.MLDSA87, 10*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	issuing, err := root.NewIssuing("issuing", pqcrypto.MLDSA65, 5*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
	if err != nil {
		t.Fatal(err)
	}
	kemKey, err := pqcrypto.GenerateDecapsulationKey(pqcrypto.MLKEM768)
	if err != nil {
		t.Fatal(err)
	}
	svid, err := issuing.IssueIdentity(pki.IssueRequest{ID: pki.NodeID("ledger.example", 0xc1, "n1"), Roles: pki.RolePeer, PublicKey: key.Public(), Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	kem, err := issuing.IssueKEM(pki.KEMRequest{SVID: svid, PublicKey: kemKey.Public(), Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name            string
		subject, issuer *pki.Certificate
	}{
		{"root", root.Certificate(), root.Certificate()},
		{"issuing authority", issuing.Certificate(), root.Certificate()},
		{"identity", svid, issuing.Certificate()},
		{"KEM certificate", kem, issuing.Certificate()},
	} {
		subject, err := x509.ParseCertificate(c.subject.Raw)
		if err != nil {
			t.Fatal(err)
		}
		issuer, err := x509.ParseCertificate(c.issuer.Raw)
		if err != nil {
			t.Fatal(err)
		}
		pub, err := mldsax509.ParsePKIXPublicKey(issuer.RawSubjectPublicKeyInfo)
		if err != nil {
			t.Fatalf("%s: read the issuer's key: %v", c.name, err)
		}
		if err := mldsa.Verify(pub.(*mldsa.PublicKey), subject.RawTBSCertificate, subject.Signature, nil); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		flipped := bytes.Clone(subject.RawTBSCertificate)
		flipped[len(flipped)/2] ^= 1
		if mldsa.Verify(pub.(*mldsa.PublicKey), flipped, subject.Signature, nil) == nil {
			t.Errorf("%s: verifies with a flipped bit", c.name)
		}
	}
}
