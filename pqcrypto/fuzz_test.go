package pqcrypto

import (
	"bytes"
	"testing"
)

// What parses must encode to something that parses to the same key.
func FuzzParsePrivateKeyPEM(f *testing.F) {
	dk, err := NewDecapsulationKey(MLKEM768, sequentialSeed(KEMSeedSize))
	if err != nil {
		f.Fatal(err)
	}
	xk, err := NewXWingKey(sequentialSeed(SeedSize))
	if err != nil {
		f.Fatal(err)
	}
	for _, k := range []any{mustSigningKey(f, MLDSA44, 1), mustSigningKey(f, MLDSA87, 1), dk, xk} {
		text, err := MarshalPrivateKeyPEM(k)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParsePrivateKeyPEM(text)
		if err != nil {
			return
		}
		once, err := MarshalPrivateKeyPEM(k)
		if err != nil {
			t.Fatalf("key that parsed does not encode: %v", err)
		}
		again, err := ParsePrivateKeyPEM(once)
		if err != nil {
			t.Fatalf("encoded key does not parse: %v", err)
		}
		if twice, _ := MarshalPrivateKeyPEM(again); !bytes.Equal(once, twice) {
			t.Fatalf("encodings differ:\n%s\n%s", once, twice)
		}
	})
}

// DER is canonical: what parses must encode to the very same bytes.
func FuzzParsePublicKeyDER(f *testing.F) {
	dk := mustDecapsulationKey(f, MLKEM768, 1)
	for _, k := range []any{mustSigningKey(f, MLDSA44, 1).Public(), dk.Public()} {
		der, err := MarshalPublicKeyDER(k)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		k, err := ParsePublicKeyDER(der)
		if err != nil {
			return
		}
		if again, err := MarshalPublicKeyDER(k); err != nil || !bytes.Equal(again, der) {
			t.Fatalf("encoding differs from what was parsed (%v):\n%x\n%x", err, der, again)
		}
	})
}
