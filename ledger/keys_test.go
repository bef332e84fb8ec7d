package ledger

import (
	"encoding/hex"
	"testing"
)

// TestKeyDigest: the digest is SHA-256(u16 length of principal ‖ principal ‖ key). The expected
// value was computed with another program. The length keeps principal and key apart: without it two
// writers would share a key.
func TestKeyDigest(t *testing.T) {
	t.Parallel()
	got := keyDigest([]byte("spiffe://example.org/svc/a"), []byte("invoice-17"))
	if want := "b9ff12dfa80baeec79304006f81acd6dac478643168421e25475cfbd8b5222ed"; hex.EncodeToString(got[:]) != want {
		t.Errorf("digest %x, want %s", got, want)
	}
	short := keyDigest([]byte("spiffe://example.org/svc/a"), []byte("bc"))
	long := keyDigest([]byte("spiffe://example.org/svc/ab"), []byte("c"))
	if short == long {
		t.Errorf("the keys of two principals have one digest, %x", short)
	}
}
