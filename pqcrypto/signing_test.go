package pqcrypto

import (
	"bytes"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cairnledger/cairn/pqcrypto/internal/kat"
	"github.com/cockroachdb/errors"
)

var allSigParams = []SigParams{MLDSA44, MLDSA65, MLDSA87}

func mustSigningKey(t testing.TB, p SigParams, seed byte) *SigningKey {
	t.Helper()
	k, err := NewSigningKey(p, bytes.Repeat([]byte{seed}, SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The digest of C2SP/CCTV ML-DSA/accumulated: seeds come from SHAKE128 of nothing, and all public
// keys and deterministic signatures of the empty message go into another SHAKE128.
func TestAccumulatedVectors(t *testing.T) {
	t.Parallel()
	want := map[SigParams]string{
		MLDSA44: "d51148e1f9f4fa1a723a6cf42e25f2a99eb5c1b378b3d2dbbd561b1203beeae4",
		MLDSA65: "8358a1843220194417cadbc2651295cd8fc65125b5a5c1a239a16dc8b57ca199",
		MLDSA87: "8c3ad714777622b8f21ce31bb35f71394f23bc0fcf3c78ace5d608990f3b061b",
	}
	for _, p := range allSigParams {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			source, sum := sha3.NewSHAKE128(), sha3.NewSHAKE128()
			seed := make([]byte, SeedSize)
			for range 100 {
				_, _ = source.Read(seed)
				k, err := NewSigningKey(p, seed)
				if err != nil {
					t.Fatal(err)
				}
				sig, err := kat.Sign(k, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				parsed, err := ParseVerifyingKey(p, k.Public().Bytes())
				if err != nil {
					t.Fatal(err)
				}
				if !parsed.VerifyStandard(nil, sig) {
					t.Fatalf("signature of seed %x does not verify", seed)
				}
				_, _ = sum.Write(parsed.Bytes())
				_, _ = sum.Write(sig)
			}
			digest := make([]byte, 32)
			_, _ = sum.Read(digest)
			if got := hex.EncodeToString(digest); got != want[p] {
				t.Errorf("digest is %s, want %s", got, want[p])
			}
		})
	}
}

func TestSignAndVerify(t *testing.T) {
	t.Parallel()
	for _, p := range allSigParams {
		k, other := mustSigningKey(t, p, 1), mustSigningKey(t, p, 2)
		msg := []byte("a statement")
		sig, err := k.Sign(ContextLPAClientAuth, msg)
		if err != nil {
			t.Fatal(err)
		}
		standard, err := k.SignStandard(msg)
		if err != nil {
			t.Fatal(err)
		}
		if len(sig) != p.SignatureSize() || len(k.Public().Bytes()) != p.PublicKeySize() {
			t.Errorf("%s: sizes are %d and %d, want %d and %d", p, len(sig), len(k.Public().Bytes()), p.SignatureSize(), p.PublicKeySize())
		}
		flipped := bytes.Clone(sig)
		flipped[len(flipped)/2] ^= 1
		reserved, err := kat.Sign(k, []byte(ContextLPAServerAuth), msg)
		if err != nil {
			t.Fatal(err)
		}
		pub := k.Public()
		for name, c := range map[string]struct{ got, want bool }{
			"good":                         {pub.Verify(ContextLPAClientAuth, msg, sig), true},
			"good standard":                {pub.VerifyStandard(msg, standard), true},
			"other message":                {pub.Verify(ContextLPAClientAuth, []byte("another"), sig), false},
			"other key":                    {other.Public().Verify(ContextLPAClientAuth, msg, sig), false},
			"flipped bit":                  {pub.Verify(ContextLPAClientAuth, msg, flipped), false},
			"short":                        {pub.Verify(ContextLPAClientAuth, msg, sig[1:]), false},
			"long":                         {pub.Verify(ContextLPAClientAuth, msg, append(bytes.Clone(sig), 0)), false},
			"empty":                        {pub.Verify(ContextLPAClientAuth, msg, nil), false},
			"context where none is wanted": {pub.VerifyStandard(msg, sig), false},
			"no context where one is":      {pub.Verify(ContextLPAClientAuth, msg, standard), false},
			"empty context":                {pub.Verify("", msg, standard), false},
			"reserved context":             {pub.Verify(ContextLPAServerAuth, msg, reserved), false},
			"reserved context, raw":        {kat.Verify(pub, []byte(ContextLPAServerAuth), msg, reserved), true},
			"context too long":             {kat.Verify(pub, make([]byte, 256), msg, sig), false},
		} {
			if c.got != c.want {
				t.Errorf("%s, %s: Verify is %v, want %v", p, name, c.got, c.want)
			}
		}
	}
}

func TestSigningIsHedged(t *testing.T) {
	t.Parallel()
	k := mustSigningKey(t, MLDSA65, 1)
	for name, sign := range map[string]func() ([]byte, error){
		"Sign":         func() ([]byte, error) { return k.Sign(ContextLPAClientAuth, []byte("m")) },
		"SignStandard": func() ([]byte, error) { return k.SignStandard([]byte("m")) },
	} {
		a, err := sign()
		if err != nil {
			t.Fatal(err)
		}
		b, err := sign()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(a, b) {
			t.Errorf("%s gave the same signature twice, want fresh randomness in each", name)
		}
	}
}

func TestSignRefusesContexts(t *testing.T) {
	t.Parallel()
	k := mustSigningKey(t, MLDSA44, 1)
	for _, context := range []string{"", "ledger", ContextLPAClientAuth + " ", ContextLPAServerAuth, strings.Repeat("x", 256)} {
		if sig, err := k.Sign(context, nil); sig != nil || !errors.Is(err, ErrContext) {
			t.Errorf("Sign with context %q: got %d bytes and error %v, want ErrContext", context, len(sig), err)
		}
	}
}

func TestContextTable(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, c := range Contexts() {
		if c.Context == "" || len(c.Context) > 255 || seen[c.Context] || c.Statement == "" {
			t.Errorf("row %+v is empty, too long, without a statement, or there twice", c)
		}
		seen[c.Context] = true
	}
}

func TestKeysFromBadInput(t *testing.T) {
	t.Parallel()
	for _, p := range append(allSigParams, 0, 4) {
		for _, n := range []int{0, 31, 33, 64} {
			if k, err := NewSigningKey(p, make([]byte, n)); err == nil || k != nil {
				t.Errorf("NewSigningKey(%s, %d bytes) took it", p, n)
			}
		}
		for _, n := range []int{0, p.PublicKeySize() - 1, p.PublicKeySize() + 1} {
			if k, err := ParseVerifyingKey(p, make([]byte, max(n, 0))); err == nil || k != nil {
				t.Errorf("ParseVerifyingKey(%s, %d bytes) took it", p, n)
			}
		}
	}
	if _, err := GenerateSigningKey(0); err == nil {
		t.Error("GenerateSigningKey(0) made a key")
	}
}

func TestPrivateKeysNeverPrint(t *testing.T) {
	t.Parallel()
	dk, err := GenerateDecapsulationKey(MLKEM768)
	if err != nil {
		t.Fatal(err)
	}
	xk, err := GenerateXWingKey()
	if err != nil {
		t.Fatal(err)
	}
	type private interface {
		Seed() []byte
		fmt.Formatter
	}
	sk := mustSigningKey(t, MLDSA65, 0xa7)
	for _, k := range []private{sk, dk, xk} {
		asJSON, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		printed := string(asJSON)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			printed += fmt.Sprintf(verb, k) + fmt.Sprintf(verb, struct{ K any }{k})
		}
		seed := k.Seed()
		for _, secret := range []string{hex.EncodeToString(seed[:4]), strings.ToUpper(hex.EncodeToString(seed[:4])), fmt.Sprint(seed[:4])[1:8], string(seed[:4])} {
			if strings.Contains(printed, secret) {
				t.Errorf("%T prints its seed: %.200s", k, printed)
			}
		}
		if !strings.Contains(printed, "redacted") {
			t.Errorf("%T prints as %.200s, want a redaction", k, printed)
		}
	}
}

func TestKeyCacheIsBoundedAndShared(t *testing.T) {
	t.Parallel()
	c := newKeyCache(3)
	e := make([]*expandedKey, 5)
	for i := range e {
		e[i] = &expandedKey{}
		c.put(cacheID{byte(i)}, e[i])
		c.get(cacheID{0}) // stays the most recently used
	}
	if c.len() != 3 {
		t.Errorf("cache holds %d keys, want 3", c.len())
	}
	for i, want := range []bool{true, false, false, true, true} {
		if got := c.get(cacheID{byte(i)}); (got == e[i]) != want || (got != nil) != want {
			t.Errorf("key %d is in the cache: %v, want %v", i, got != nil, want)
		}
	}

	k := mustSigningKey(t, MLDSA65, 77)
	a, _ := ParseVerifyingKey(MLDSA65, k.Public().Bytes())
	b, _ := ParseVerifyingKey(MLDSA65, k.Public().Bytes())
	if a.expanded.Load() != nil {
		t.Error("parsing expanded the key, want that to wait for the first verification")
	}
	if a.expand() != b.expand() {
		t.Error("two parsed copies of one key have two expanded forms, want one from the cache")
	}
}

func TestVerifyConcurrently(t *testing.T) {
	t.Parallel()
	k := mustSigningKey(t, MLDSA44, 3)
	sig, err := k.SignStandard([]byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	pub, _ := ParseVerifyingKey(MLDSA44, k.Public().Bytes())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if !pub.VerifyStandard([]byte("m"), sig) {
				t.Error("good signature does not verify")
			}
		})
	}
	wg.Wait()
}

func BenchmarkVerify65(b *testing.B) {
	k := mustSigningKey(b, MLDSA65, 1)
	sig, err := k.SignStandard([]byte("m"))
	if err != nil {
		b.Fatal(err)
	}
	raw := k.Public().Bytes()
	b.Run("parsed", func(b *testing.B) {
		for b.Loop() {
			k.Public().VerifyStandard([]byte("m"), sig)
		}
	})
	b.Run("parse+cache", func(b *testing.B) {
		for b.Loop() {
			pub, _ := ParseVerifyingKey(MLDSA65, raw)
			pub.VerifyStandard([]byte("m"), sig)
		}
	})
	b.Run("parse+expand", func(b *testing.B) {
		for b.Loop() {
			expandPublic(MLDSA65, raw)
			k.Public().VerifyStandard([]byte("m"), sig)
		}
	})
}
