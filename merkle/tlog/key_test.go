package tlog

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/pqcrypto"
)

// The example of C2SP signed-note, "Verifier keys".
const fooKey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"

func TestPublishedVerifierKey(t *testing.T) {
	t.Parallel()
	k, err := ParseVerifierKey(fooKey)
	if err != nil {
		t.Fatal(err)
	}
	if k.Name() != "example.com/foo" || k.KeyID() != 0x530d903a || k.Type() != Ed25519 || k.String() != fooKey {
		t.Errorf("parsed %s: name %s, id %08x, type %s", k, k.Name(), k.KeyID(), k.Type())
	}
	n, err := ParseNote([]byte("This is an example message.\n\n" +
		"— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !k.Signed(n.Signatures[0]) || !ed25519.Verify(k.ed25519, []byte(n.Text), n.Signatures[0].Data) {
		t.Error("the published key does not verify the published note")
	}
}

func TestVerifierKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	mldsa := testCosigner(t, "node", 1).Key().String()
	encode := func(b ...byte) string { return base64.StdEncoding.EncodeToString(b) }
	for _, tt := range []struct{ name, key, want string }{
		{"good", fooKey, ""},
		{"good ML-DSA-44", mldsa, ""},
		{"empty", "", "plus signs"},
		{"no key", "name+530d903a", "plus signs"},
		{"no name", "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "key name is empty"},
		{"space in name", "a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "holds ' '"},
		{"tab in name", "a\tb+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", `holds '\t'`},
		{"name not UTF-8", "a\xff+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "not UTF-8"},
		{"another name", "x" + fooKey, "want"},
		{"another key id", strings.Replace(fooKey, "530d903a", "530d903b", 1), "key id of example.com/foo"},
		{"key id in upper case", strings.Replace(fooKey, "530d903a", "530D903A", 1), "want 530d903a"},
		{"long key id", strings.Replace(fooKey, "530d903a", "0530d903a", 1), "want 530d903a"},
		{"another type", strings.Replace(fooKey, "+AekyeR", "+BOkyeR", 1), "key id of example.com/foo"},
		{"short Ed25519", "n+00000000+" + encode(1, 2, 3), "2 bytes, want 32"},
		{"short ML-DSA-44", "n+00000000+" + encode(6, 2, 3), "1312"},
		{"no type", "n+00000000+", "is empty"},
		{"ECDSA", "n+00000000+" + encode(2, 2, 3), "signature type 0x02, which is not supported"},
		{"trailing newline", fooKey + "\n", "line break"},
		{"not base64", fooKey + "%", "decode base64"},
		{"too long", strings.Repeat("n", 5000), "at most"},
	} {
		k, err := ParseVerifierKey(tt.key)
		wantError(t, tt.name, err, tt.want)
		if err == nil && k.String() != tt.key {
			t.Errorf("%s: String: %s", tt.name, k)
		}
	}
}

func TestCosign(t *testing.T) {
	t.Parallel()
	c := testCosigner(t, "ledger.example/n1", 3)
	cp := Checkpoint{Origin: "ledger.example", Size: 5, Root: merkle.LeafHash(nil)}
	for _, timestamp := range []uint64{0, 1, 1_700_000_000, math.MaxInt64} {
		sig, err := c.Cosign(cp, timestamp)
		if err != nil {
			t.Fatal(err)
		}
		if len(sig.Data) != 8+2420 {
			t.Fatalf("cosignature of %d bytes, want 2428", len(sig.Data))
		}
		got, err := c.Key().VerifyCheckpoint(cp, sig)
		if err != nil || got != timestamp {
			t.Errorf("timestamp %d, %v; want %d", got, err, timestamp)
		}
	}
	sig, err := c.Cosign(cp, 7)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(cp *Checkpoint, s *Signature)) (Checkpoint, Signature) {
		cp, s := cp, sig
		s.Data = bytes.Clone(s.Data)
		f(&cp, &s)
		return cp, s
	}
	for name, f := range map[string]func(cp *Checkpoint, s *Signature){
		"another origin":    func(cp *Checkpoint, _ *Signature) { cp.Origin = "ledger.example2" },
		"another size":      func(cp *Checkpoint, _ *Signature) { cp.Size++ },
		"another root":      func(cp *Checkpoint, _ *Signature) { cp.Root[0] ^= 1 },
		"another timestamp": func(_ *Checkpoint, s *Signature) { s.Data[7]++ },
		"huge timestamp":    func(_ *Checkpoint, s *Signature) { s.Data[0] |= 0x80 },
		"another signature": func(_ *Checkpoint, s *Signature) { s.Data[1000] ^= 1 },
		"short":             func(_ *Checkpoint, s *Signature) { s.Data = s.Data[:len(s.Data)-1] },
		"long":              func(_ *Checkpoint, s *Signature) { s.Data = append(s.Data, 0) },
		"empty":             func(_ *Checkpoint, s *Signature) { s.Data = nil },
		"another name":      func(_ *Checkpoint, s *Signature) { s.Name = "ledger.example/n2" },
		"another key id":    func(_ *Checkpoint, s *Signature) { s.KeyID++ },
	} {
		cp, s := change(f)
		if _, err := c.Key().VerifyCheckpoint(cp, s); !errors.Is(err, ErrBadSignature) {
			t.Errorf("%s: error %v, want ErrBadSignature", name, err)
		}
	}
	// C2SP tlog-cosignature bounds the timestamp, even of a valid signature.
	raw, err := c.key.SignStandard(cp.cosignedMessage(c.Key().Name(), math.MaxInt64+1))
	if err != nil {
		t.Fatal(err)
	}
	late := sig
	late.Data = append(binary.BigEndian.AppendUint64(nil, math.MaxInt64+1), raw...)
	_, err = c.Key().VerifyCheckpoint(cp, late)
	wantError(t, "signed timestamp beyond 2^63-1", err, "timestamp 9223372036854775808 is larger")
	_, err = c.Cosign(cp, math.MaxInt64+1)
	wantError(t, "cosigning beyond 2^63-1", err, "cosign as ledger.example/n1: timestamp 9223372036854775808 is larger")

	// A cosignature says who made it: the same key under another name is another cosigner.
	other := testCosigner(t, "ledger.example/n2", 3)
	s := sig
	s.Name, s.KeyID = other.Key().Name(), other.Key().KeyID()
	if _, err := other.Key().VerifyCheckpoint(cp, s); err == nil {
		t.Error("a cosignature was accepted under another name")
	}

	for name, bad := range map[string]Checkpoint{
		"no origin":   {Size: 1},
		"line break":  {Origin: "a\nb", Size: 1},
		"long origin": {Origin: strings.Repeat("o", 256), Size: 1},
		"huge":        {Origin: "o", Size: merkle.MaxSize + 1},
		"empty tree":  {Origin: "o", Size: 0},
	} {
		if _, err := c.Cosign(bad, 1); err == nil {
			t.Errorf("%s: cosigned", name)
		}
		if _, err := c.Key().VerifyCheckpoint(bad, sig); err == nil {
			t.Errorf("%s: verified", name)
		}
	}
}

func TestCosignerKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	key65, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewCosigner("n", key65)
	wantError(t, "ML-DSA-65", err, "want ML-DSA-44")
	key44, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "a b", "a+b", "a\nb", strings.Repeat("n", 256), "\xff"} {
		if _, err := NewCosigner(name, key44); err == nil {
			t.Errorf("made a cosigner named %q", name)
		}
	}
}

// ed25519Key makes a verifier key and a function that signs with it.
func ed25519Key(t testing.TB, name string, typ KeyType, number byte) (*VerifierKey, func(Checkpoint, uint64) Signature) {
	t.Helper()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{number}, ed25519.SeedSize))
	public := private.Public().(ed25519.PublicKey)
	id := keyID(name, typ, public)
	material := base64.StdEncoding.EncodeToString(append([]byte{byte(typ)}, public...))
	k, err := ParseVerifierKey(name + "+" + formatKeyID(id) + "+" + material)
	if err != nil {
		t.Fatal(err)
	}
	return k, func(c Checkpoint, timestamp uint64) Signature {
		if typ == Ed25519 {
			return Signature{Name: name, KeyID: id, Data: ed25519.Sign(private, []byte(c.Text()))}
		}
		message := "cosignature/v1\ntime " + strconv.FormatUint(timestamp, 10) + "\n" + c.Text()
		data := binary.BigEndian.AppendUint64(nil, timestamp)
		return Signature{Name: name, KeyID: id, Data: append(data, ed25519.Sign(private, []byte(message))...)}
	}
}

func TestEd25519(t *testing.T) {
	t.Parallel()
	cp := Checkpoint{Origin: "log.example", Size: 5, Root: merkle.LeafHash(nil)}
	other := cp
	other.Size++
	for _, typ := range []KeyType{Ed25519, Ed25519Cosignature} {
		k, sign := ed25519Key(t, "log.example", typ, 9)
		want := uint64(1_700_000_000)
		sig := sign(cp, want)
		if typ == Ed25519 {
			want = 0
		}
		if got, err := k.VerifyCheckpoint(cp, sig); err != nil || got != want {
			t.Errorf("%s: timestamp %d, %v; want %d", typ, got, err, want)
		}
		if _, err := k.VerifyCheckpoint(other, sig); !errors.Is(err, ErrBadSignature) {
			t.Errorf("%s: another checkpoint: %v, want ErrBadSignature", typ, err)
		}
		sig.Data = sig.Data[1:]
		if _, err := k.VerifyCheckpoint(cp, sig); !errors.Is(err, ErrBadSignature) {
			t.Errorf("%s: short signature: %v, want ErrBadSignature", typ, err)
		}
	}
}

// TestEqualKeys: two keys are equal if and only if their encodings are.
func TestEqualKeys(t *testing.T) {
	t.Parallel()
	foo, err := ParseVerifierKey(fooKey)
	if err != nil {
		t.Fatal(err)
	}
	keys := []*VerifierKey{foo, testCosigner(t, "a", 1).Key(), testCosigner(t, "b", 1).Key(), testCosigner(t, "a", 2).Key()}
	for i, a := range keys {
		for j, b := range keys {
			same, err := ParseVerifierKey(b.String())
			if err != nil || a.Equal(same) != (i == j) {
				t.Errorf("keys %d and %d: equal is %t, %v", i, j, a.Equal(same), err)
			}
		}
	}
	other := *keys[1]
	other.raw = bytes.Clone(other.raw)
	other.raw[0] ^= 1 // with the same id
	if other.Equal(keys[1]) {
		t.Error("keys with different bytes are equal")
	}
	other = *keys[1]
	other.name += "x" // with the same id
	if other.Equal(keys[1]) {
		t.Error("keys with different names are equal")
	}
}
