package mldsa

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"slices"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/internal/kat"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// hexBytes is a JSON string of hexadecimal digits.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type vectors struct {
	NumberOfTests int
	TestGroups    []struct {
		PublicKey       hexBytes
		PublicKeyDer    hexBytes
		PrivateSeed     hexBytes
		PrivateKeyPkcs8 hexBytes
		Tests           []vector
	}
}

type vector struct {
	TcID    int
	Comment string
	Flags   []string
	Result  string

	Msg, Ctx, Sig, Mu *hexBytes // nil when absent
	Rnd               *hexBytes

	Seed, Ek, Dk, C, K, M hexBytes
}

func (v *vector) valid() bool { return v.Result == "valid" }

func bytesOf(h *hexBytes) []byte {
	if h == nil {
		return nil
	}
	return *h
}

func load(t *testing.T, name string) *vectors {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	v := &vectors{}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range v.TestGroups {
		n += len(g.Tests)
	}
	if n == 0 || n != v.NumberOfTests {
		t.Fatalf("%s has %d tests and says %d", name, n, v.NumberOfTests)
	}
	return v
}

var signatureSets = map[string]pqcrypto.SigParams{"44": pqcrypto.MLDSA44, "65": pqcrypto.MLDSA65, "87": pqcrypto.MLDSA87}

func TestWycheproofVerify(t *testing.T) {
	for set, p := range signatureSets {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			v := load(t, "mldsa_"+set+"_verify_test.json")
			for _, g := range v.TestGroups {
				key, err := pqcrypto.ParseVerifyingKey(p, g.PublicKey)
				if err == nil && len(g.PublicKeyDer) > 0 {
					fromDER, err := pqcrypto.ParsePublicKeyDER(g.PublicKeyDer)
					if err != nil {
						t.Errorf("read the group's public key: %v", err)
					} else if !key.Equal(fromDER.(*pqcrypto.VerifyingKey)) {
						t.Error("the group's public key is another in DER")
					}
				}
				for _, c := range g.Tests {
					got := err == nil && kat.Verify(key, bytesOf(c.Ctx), bytesOf(c.Msg), bytesOf(c.Sig))
					if got != c.valid() {
						t.Errorf("test %d (%s, %v): verified %v, want %v", c.TcID, c.Comment, c.Flags, got, c.valid())
					}
					if c.Ctx == nil && err == nil && key.VerifyStandard(bytesOf(c.Msg), bytesOf(c.Sig)) != c.valid() {
						t.Errorf("test %d (%s, %v): VerifyStandard is not %v", c.TcID, c.Comment, c.Flags, c.valid())
					}
				}
			}
			t.Logf("%d tests", v.NumberOfTests)
		})
	}
}

func TestWycheproofSignSeed(t *testing.T) {
	for set, p := range signatureSets {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			v := load(t, "mldsa_"+set+"_sign_seed_test.json")
			signed, verified, skipped, read := 0, 0, 0, 0
			for _, g := range v.TestGroups {
				key, keyErr := pqcrypto.NewSigningKey(p, g.PrivateSeed)
				if keyErr == nil {
					if !bytes.Equal(key.Public().Bytes(), g.PublicKey) {
						t.Errorf("seed %x gives another public key", g.PrivateSeed)
					}
					if len(g.PrivateKeyPkcs8) == 0 {
						// not given
					} else if fromDER, err := pqcrypto.ParsePrivateKeyDER(g.PrivateKeyPkcs8); err != nil {
						t.Errorf("read PKCS#8 of seed %x: %v", g.PrivateSeed, err)
					} else if !bytes.Equal(fromDER.(*pqcrypto.SigningKey).Seed(), g.PrivateSeed) {
						t.Errorf("PKCS#8 of seed %x holds another", g.PrivateSeed)
					} else {
						read++
					}
				}
				for _, c := range g.Tests {
					switch {
					case c.Msg == nil && c.valid():
						skipped++ // signs an external µ, which we don't offer
						continue
					case slices.Contains(c.Flags, "Randomized"):
						// Its randomness cannot be chosen through our API; what it gives must
						// verify.
						if keyErr != nil || !kat.Verify(key.Public(), bytesOf(c.Ctx), bytesOf(c.Msg), bytesOf(c.Sig)) {
							t.Errorf("test %d (%s, %v): does not verify", c.TcID, c.Comment, c.Flags)
						}
						verified++
						continue
					}
					var sig []byte
					err := keyErr
					if err == nil {
						sig, err = kat.Sign(key, bytesOf(c.Ctx), bytesOf(c.Msg))
					}
					if (err == nil) != c.valid() {
						t.Errorf("test %d (%s, %v): error is %v, want valid: %v", c.TcID, c.Comment, c.Flags, err, c.valid())
					} else if c.valid() && !bytes.Equal(sig, bytesOf(c.Sig)) {
						t.Errorf("test %d (%s, %v): another signature", c.TcID, c.Comment, c.Flags)
					}
					signed++
				}
			}
			t.Logf("%d signed and compared, %d verified, %d skipped (external µ) of %d; %d PKCS#8 keys", signed, verified, skipped, v.NumberOfTests, read)
			if signed < 60 || read == 0 {
				t.Errorf("only %d tests compare signatures and %d keys are in PKCS#8, want at least 60 and 1", signed, read)
			}
		})
	}
}

var kemSets = map[string]pqcrypto.KEMParams{"768": pqcrypto.MLKEM768, "1024": pqcrypto.MLKEM1024}

func TestWycheproofDecapsulate(t *testing.T) {
	for set, p := range kemSets {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			v := load(t, "mlkem_"+set+"_test.json")
			for _, g := range v.TestGroups {
				for _, c := range g.Tests {
					key, err := pqcrypto.NewDecapsulationKey(p, c.Seed)
					var ss []byte
					if err == nil {
						if !bytes.Equal(key.Public().Bytes(), c.Ek) && c.valid() {
							t.Errorf("test %d (%s): seed gives another public key", c.TcID, c.Comment)
						}
						ss, err = key.Decapsulate(c.C)
					}
					if got := err == nil && bytes.Equal(ss, c.K); got != c.valid() {
						t.Errorf("test %d (%s, %v): agrees %v (%v), want %v", c.TcID, c.Comment, c.Flags, got, err, c.valid())
					}
				}
			}
			t.Logf("%d tests", v.NumberOfTests)
		})
	}
}

func TestWycheproofEncapsulate(t *testing.T) {
	for set, p := range kemSets {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			v := load(t, "mlkem_"+set+"_encaps_test.json")
			for _, g := range v.TestGroups {
				for _, c := range g.Tests {
					key, err := pqcrypto.ParseEncapsulationKey(p, c.Ek)
					var ct, ss []byte
					if err == nil {
						ct, ss, err = key.EncapsulateDeterministic(c.M)
					}
					if got := err == nil && bytes.Equal(ct, c.C) && bytes.Equal(ss, c.K); got != c.valid() {
						t.Errorf("test %d (%s, %v): agrees %v (%v), want %v", c.TcID, c.Comment, c.Flags, got, err, c.valid())
					}
					if !c.valid() && err == nil {
						t.Errorf("test %d (%s, %v): no error", c.TcID, c.Comment, c.Flags)
					}
				}
			}
			t.Logf("%d tests", v.NumberOfTests)
		})
	}
}

// The expanded private key goes through the check of PKCS#8 files that hold both forms: they must
// load, and must not with a flipped bit.
func TestWycheproofKeyGen(t *testing.T) {
	for set, p := range kemSets {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			v := load(t, "mlkem_"+set+"_keygen_seed_test.json")
			for _, g := range v.TestGroups {
				for _, c := range g.Tests {
					key, err := pqcrypto.NewDecapsulationKey(p, c.Seed)
					if err != nil {
						t.Fatal(err)
					}
					if got := bytes.Equal(key.Public().Bytes(), c.Ek); got != c.valid() {
						t.Errorf("test %d (%s): public key agrees %v, want %v", c.TcID, c.Comment, got, c.valid())
					}
					if _, err := pqcrypto.ParsePrivateKeyDER(bothForms(p, c.Seed, c.Dk)); (err == nil) != c.valid() {
						t.Errorf("test %d (%s): load seed and expanded key: %v", c.TcID, c.Comment, err)
					}
					c.Dk[len(c.Dk)/2] ^= 1
					if _, err := pqcrypto.ParsePrivateKeyDER(bothForms(p, c.Seed, c.Dk)); err == nil {
						t.Errorf("test %d (%s): took a flipped expanded key", c.TcID, c.Comment)
					}
				}
			}
			t.Logf("%d tests", v.NumberOfTests)
		})
	}
}

func bothForms(p pqcrypto.KEMParams, seed, expanded []byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(p.OID()) })
		b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1OctetString(seed)
				b.AddASN1OctetString(expanded)
			})
		})
	})
	return b.BytesOrPanic()
}
