package pqcrypto

import (
	"bytes"
	"testing"
)

var allKEMParams = []KEMParams{MLKEM768, MLKEM1024}

func mustDecapsulationKey(t testing.TB, p KEMParams, seed byte) *DecapsulationKey {
	t.Helper()
	k, err := NewDecapsulationKey(p, bytes.Repeat([]byte{seed}, KEMSeedSize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestEncapsulateAndDecapsulate(t *testing.T) {
	t.Parallel()
	for _, p := range allKEMParams {
		k, other := mustDecapsulationKey(t, p, 1), mustDecapsulationKey(t, p, 2)
		ek, err := ParseEncapsulationKey(p, k.Public().Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !ek.Equal(k.Public()) || ek.Equal(other.Public()) {
			t.Errorf("%s: Equal is wrong", p)
		}
		ct, ss, err := ek.Encapsulate()
		if err != nil {
			t.Fatal(err)
		}
		if len(ct) != p.CiphertextSize() || len(ss) != SharedKeySize {
			t.Errorf("%s: sizes are %d and %d, want %d and %d", p, len(ct), len(ss), p.CiphertextSize(), SharedKeySize)
		}
		if got, err := k.Decapsulate(ct); err != nil || !bytes.Equal(got, ss) {
			t.Errorf("%s: Decapsulate gave %x and %v, want %x", p, got, err, ss)
		}
		if got, err := other.Decapsulate(ct); err != nil || bytes.Equal(got, ss) {
			t.Errorf("%s: another key's Decapsulate gave %x and %v, want another secret and no error", p, got, err)
		}
		for _, n := range []int{0, len(ct) - 1, len(ct) + 1} {
			if _, err := k.Decapsulate(make([]byte, n)); err == nil {
				t.Errorf("%s: Decapsulate took a ciphertext of %d bytes", p, n)
			}
		}
		ct2, ss2, _ := ek.Encapsulate()
		if bytes.Equal(ct, ct2) || bytes.Equal(ss, ss2) {
			t.Errorf("%s: Encapsulate gave the same twice", p)
		}
		ct3, _, err := ek.EncapsulateDeterministic(make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		if ct4, _, _ := ek.EncapsulateDeterministic(make([]byte, 32)); !bytes.Equal(ct3, ct4) {
			t.Errorf("%s: EncapsulateDeterministic gave two ciphertexts", p)
		}
		if _, _, err := ek.EncapsulateDeterministic(make([]byte, 31)); err == nil {
			t.Errorf("%s: EncapsulateDeterministic took 31 bytes of randomness", p)
		}
	}
}

func TestKEMKeysFromBadInput(t *testing.T) {
	t.Parallel()
	for _, p := range append(allKEMParams, 0, 3) {
		for _, n := range []int{0, 32, 63, 65} {
			if k, err := NewDecapsulationKey(p, make([]byte, n)); err == nil || k != nil {
				t.Errorf("NewDecapsulationKey(%s, %d bytes) took it", p, n)
			}
		}
		for _, n := range []int{0, p.EncapsulationKeySize() - 1, p.EncapsulationKeySize() + 1} {
			if k, err := ParseEncapsulationKey(p, make([]byte, max(n, 0))); err == nil || k != nil {
				t.Errorf("ParseEncapsulationKey(%s, %d bytes) took it", p, n)
			}
		}
	}
	// 0xd01 = q, the smallest coefficient that is not reduced (FIPS 203, section 7.2), as the first
	// of 12 bits each, little-endian.
	for _, p := range allKEMParams {
		raw := mustDecapsulationKey(t, p, 1).Public().Bytes()
		raw[0], raw[1] = 0x01, raw[1]&0xf0|0x0d
		if _, err := ParseEncapsulationKey(p, raw); err == nil {
			t.Errorf("%s: took a key with the coefficient q", p)
		}
		raw[0] = 0x00 // q-1
		if _, err := ParseEncapsulationKey(p, raw); err != nil {
			t.Errorf("%s: refused a key with the coefficient q-1: %v", p, err)
		}
	}
	bad := make([]byte, XWingPublicKeySize)
	bad[0], bad[1] = 0x01, 0x0d
	if _, err := ParseXWingPublicKey(bad); err == nil {
		t.Error("took an X-Wing key with the coefficient q")
	}
	if _, err := NewXWingKey(make([]byte, 33)); err == nil {
		t.Error("took an X-Wing seed of 33 bytes")
	}
}
