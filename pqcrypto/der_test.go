package pqcrypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// sequentialSeed is the seed of all examples of RFC 9881, appendix C, and RFC 9935, appendix C: 00
// 01 02 …
func sequentialSeed(n int) []byte {
	seed := make([]byte, n)
	for i := range seed {
		seed[i] = byte(i)
	}
	return seed
}

func expandedOf(t testing.TB, k any) []byte {
	t.Helper()
	switch k := k.(type) {
	case *SigningKey:
		switch k.params {
		case MLDSA44:
			return k.k44.Bytes()
		case MLDSA65:
			return k.k65.Bytes()
		}
		return k.k87.Bytes()
	case *DecapsulationKey:
		raw, err := k.key.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	t.Fatalf("no expanded form of %T", k)
	return nil
}

// pkcs8 encodes a private key with any content.
func pkcs8(version int64, algorithm func(*cryptobyte.Builder), private []byte, more ...byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(version)
		b.AddASN1(cbasn1.SEQUENCE, algorithm)
		b.AddASN1OctetString(private)
		b.AddBytes(more)
	})
	return b.BytesOrPanic()
}

func algorithm(oid asn1.ObjectIdentifier, params ...byte) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddBytes(params)
	}
}

func tlv(tag byte, value []byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.Tag(tag), func(b *cryptobyte.Builder) { b.AddBytes(value) })
	return b.BytesOrPanic()
}

func bothForms(seed, expanded []byte) []byte {
	return tlv(0x30, append(tlv(0x04, seed), tlv(0x04, expanded)...))
}

func sha(der []byte) string {
	h := sha256.Sum256(der)
	return hex.EncodeToString(h[:])
}

// TestExampleKeys compares with SHA-256 hashes of the DER of the example keys of RFC 9881 (private
// keys, three forms) and of public keys that OpenSSL 4.0 derives.
func TestExampleKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                  string
		params                any
		seed, both, exp, spki string
	}{
		{"ML-DSA-44", MLDSA44, "c823cb6a31172daa8af670a22c0f049af972bf1cb39a4a95971aa8c0c659dff4", "e355e29f28e537fcf3aff28354016415146d7f801a57136c241bb6e9addfaa30",
			"35cb529103b3a9ed502fecb438a671ff11bb05fb4afa99301d06240883a74106", "837832708c5236d951581f1fddf2b79991b3424a0486d16da1ddad0fd69701be"},
		{"ML-DSA-65", MLDSA65, "af965903772933b6acc59764f335fcad9b5c61cdab2b368eabf224e7c29e31ac", "5259463f8ec68e21b8c179a7e49dba184fd24280080bd5bb78af94d7a2a0ac81",
			"fae10810e47ed4b41851065b40bb60547e816ebf31b0738b4ed4af57337706ec", "b8b62131bfbe84433efb2273d7f5b87f7a22854a2cfd366fc2aead86d837c52d"},
		{"ML-DSA-87", MLDSA87, "72cc4260a8d3d7622801ea98636123866d00e236d5f77221039c862325e02754", "c71913419ea426e99da06330e3b06b2ab47448f1aff520479358e3cb71f5c1d6",
			"8e2e40f141d1d6788d074de4124a744ee3106697ae6c01faccf855510079ecb3", "07e57c4f14dbad1267f621ec3777b4e2e6c4fbc4c22fbb87510ff8e0b3c6a642"},
		{"ML-KEM-768", MLKEM768, "67d4dc57d8f9e28816f4a3495abc48dd416b0da9bd1e1de4716ad0883b9ad6b8", "", "", "c23e23dd3d485a9256cda09358a4a286e00b373db10761eadf99f710649ca31c"},
		{"ML-KEM-1024", MLKEM1024, "2c19d9d89d8c36ffb9eab0f3bb18dd90a47aaca3653bede67953173514d61234", "", "", "d2b7480ae006a14b37c1e8a8e45ea39022e32a9b1a7b90d594c84d869c6ac420"},
	} {
		var k, pub any
		var seed []byte
		var oid asn1.ObjectIdentifier
		var err error
		switch p := c.params.(type) {
		case SigParams:
			seed, oid = sequentialSeed(SeedSize), p.OID()
			var sk *SigningKey
			if sk, err = NewSigningKey(p, seed); err == nil {
				k, pub = sk, sk.Public()
			}
		case KEMParams:
			seed, oid = sequentialSeed(KEMSeedSize), p.OID()
			var dk *DecapsulationKey
			if dk, err = NewDecapsulationKey(p, seed); err == nil {
				k, pub = dk, dk.Public()
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		seedDER, err := MarshalPrivateKeyDER(k)
		if err != nil {
			t.Fatal(err)
		}
		spki, err := MarshalPublicKeyDER(pub)
		if err != nil {
			t.Fatal(err)
		}
		expanded := expandedOf(t, k)
		both := pkcs8(0, algorithm(oid), bothForms(seed, expanded))
		only := pkcs8(0, algorithm(oid), tlv(0x04, expanded))
		for form, want := range map[string]struct{ got, want string }{
			"seed": {sha(seedDER), c.seed}, "both": {sha(both), c.both}, "expanded": {sha(only), c.exp}, "public": {sha(spki), c.spki},
		} {
			if want.want != "" && want.got != want.want {
				t.Errorf("%s: hash of the %s form is %s, want %s", c.name, form, want.got, want.want)
			}
		}
		for form, der := range map[string][]byte{"seed": seedDER, "both": both} {
			got, err := ParsePrivateKeyDER(der)
			if err != nil {
				t.Errorf("%s: parse %s form: %v", c.name, form, err)
				continue
			}
			if again, _ := MarshalPrivateKeyDER(got); !bytes.Equal(again, seedDER) {
				t.Errorf("%s: parsing the %s form gives another key", c.name, form)
			}
		}
		if _, err := ParsePrivateKeyDER(only); !errors.Is(err, ErrExpandedOnly) {
			t.Errorf("%s: expanded form alone gives %v, want ErrExpandedOnly", c.name, err)
		}
		for _, i := range []int{0, len(expanded) / 2, len(expanded) - 1} {
			bad := bytes.Clone(expanded)
			bad[i] ^= 1
			if k, err := ParsePrivateKeyDER(pkcs8(0, algorithm(oid), bothForms(seed, bad))); !errors.Is(err, ErrInconsistentKey) || k != nil {
				t.Errorf("%s: both forms with byte %d of the expanded one flipped give %v, want ErrInconsistentKey", c.name, i, err)
			}
		}
		if _, err := ParsePrivateKeyDER(pkcs8(0, algorithm(oid), bothForms(seed, expanded[1:]))); !errors.Is(err, ErrInconsistentKey) {
			t.Errorf("%s: both forms with a short expanded one give %v, want ErrInconsistentKey", c.name, err)
		}
		back, err := ParsePublicKeyDER(spki)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := MarshalPublicKeyDER(back); !bytes.Equal(again, spki) {
			t.Errorf("%s: public key does not round-trip", c.name)
		}
	}
}

// The example of draft-connolly-cfrg-xwing-kem, appendix D: the seed stands in the OCTET STRING as
// it is.
func TestXWingPrivateKeyDER(t *testing.T) {
	t.Parallel()
	k, err := NewXWingKey(sequentialSeed(SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	text, err := MarshalPrivateKeyPEM(k)
	if err != nil {
		t.Fatal(err)
	}
	want := "-----BEGIN PRIVATE KEY-----\nMDQCAQAwDQYLKwYBBAGD5i2ByHoEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZ\nGhscHR4f\n-----END PRIVATE KEY-----\n"
	if string(text) != want {
		t.Errorf("got\n%swant\n%s", text, want)
	}
	back, err := ParsePrivateKeyPEM(text)
	if err != nil {
		t.Fatal(err)
	}
	if x, ok := back.(*XWingPrivateKey); !ok || !x.Public().Equal(k.Public()) {
		t.Errorf("key does not round-trip, got %T", back)
	}
	spki, _ := MarshalPublicKeyDER(k.Public())
	if pub, err := ParsePublicKeyDER(spki); err != nil || !k.Public().Equal(pub.(*XWingPublicKey)) {
		t.Errorf("public key does not round-trip: %v", err)
	}
}

func TestPrivateKeyDERRefuses(t *testing.T) {
	t.Parallel()
	oid := MLDSA65.OID()
	seed := tlv(0x80, sequentialSeed(32))
	null := []byte{0x05, 0x00}
	good := pkcs8(0, algorithm(oid), seed)
	if _, err := ParsePrivateKeyDER(good); err != nil {
		t.Fatal(err)
	}
	indefinite := append([]byte{0x30, 0x80}, good[2:]...)
	for name, der := range map[string][]byte{
		"empty":                 {},
		"NULL parameters":       pkcs8(0, algorithm(oid, null...), seed),
		"trailing byte":         append(bytes.Clone(good), 0),
		"trailing byte inside":  pkcs8(0, algorithm(oid), append(bytes.Clone(seed), 0)),
		"version 1":             pkcs8(1, algorithm(oid), seed),
		"attributes":            pkcs8(0, algorithm(oid), seed, 0xa0, 0x00),
		"seed too short":        pkcs8(0, algorithm(oid), tlv(0x80, sequentialSeed(31))),
		"seed too long":         pkcs8(0, algorithm(oid), tlv(0x80, sequentialSeed(33))),
		"seed of a KEM":         pkcs8(0, algorithm(oid), tlv(0x80, sequentialSeed(64))),
		"bare seed":             pkcs8(0, algorithm(oid), sequentialSeed(32)),
		"constructed seed":      pkcs8(0, algorithm(oid), tlv(0xa0, sequentialSeed(32))),
		"unknown algorithm":     pkcs8(0, algorithm(asn1.ObjectIdentifier{1, 3, 101, 112}), tlv(0x04, sequentialSeed(32))),
		"ML-KEM-512":            pkcs8(0, algorithm(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 1}), tlv(0x80, sequentialSeed(64))),
		"HashML-DSA-65":         pkcs8(0, algorithm(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 33}), seed),
		"indefinite length":     indefinite,
		"non-minimal length":    append([]byte{0x30, 0x81}, good[1:]...),
		"truncated":             good[:len(good)-1],
		"X-Wing seed too short": pkcs8(0, algorithm(oidXWing), sequentialSeed(31)),
		"X-Wing with a tag":     pkcs8(0, algorithm(oidXWing), seed),
		"too large":             make([]byte, maxKeyDER+1),
	} {
		if k, err := ParsePrivateKeyDER(der); err == nil || k != nil {
			t.Errorf("%s: got %v and error %v, want a refusal", name, k, err)
		}
	}
}

func TestPublicKeyDERRefuses(t *testing.T) {
	t.Parallel()
	spki := func(alg func(*cryptobyte.Builder), bits []byte, more ...byte) []byte {
		b := cryptobyte.NewBuilder(nil)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, alg)
			b.AddASN1(cbasn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes(bits) })
			b.AddBytes(more)
		})
		return b.BytesOrPanic()
	}
	raw := mustSigningKey(t, MLDSA44, 1).Public().Bytes()
	bits := append([]byte{0}, raw...)
	good := spki(algorithm(MLDSA44.OID()), bits)
	if _, err := ParsePublicKeyDER(good); err != nil {
		t.Fatal(err)
	}
	unused := bytes.Clone(bits)
	unused[0], unused[len(unused)-1] = 1, 0
	for name, der := range map[string][]byte{
		"empty":               {},
		"NULL parameters":     spki(algorithm(MLDSA44.OID(), 5, 0), bits),
		"trailing byte":       append(bytes.Clone(good), 0),
		"trailing inside":     spki(algorithm(MLDSA44.OID()), bits, 0),
		"unused bits":         spki(algorithm(MLDSA44.OID()), unused),
		"wrong parameter set": spki(algorithm(MLDSA65.OID()), bits),
		"short key":           spki(algorithm(MLDSA44.OID()), bits[:len(bits)-1]),
		"unknown algorithm":   spki(algorithm(asn1.ObjectIdentifier{1, 3, 101, 112}), bits),
		"truncated":           good[:len(good)-1],
		"too large":           make([]byte, maxKeyDER+1),
	} {
		if k, err := ParsePublicKeyDER(der); err == nil || k != nil {
			t.Errorf("%s: got %v and error %v, want a refusal", name, k, err)
		}
	}
}

func TestPEMRefuses(t *testing.T) {
	t.Parallel()
	text, err := MarshalPrivateKeyPEM(mustSigningKey(t, MLDSA65, 1))
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	if _, err := ParsePrivateKeyPEM([]byte("\n " + good + " \r\n")); err != nil {
		t.Errorf("white space around the block: %v", err)
	}
	block, _ := pem.Decode(text)
	for name, text := range map[string]string{
		"empty":        "",
		"no block":     "hello",
		"own label":    strings.ReplaceAll(good, "PRIVATE KEY", "ML-DSA-65 PRIVATE KEY"),
		"public label": strings.ReplaceAll(good, "PRIVATE KEY", "PUBLIC KEY"),
		"two blocks":   good + good,
		"text before":  "hello\n" + good,
		"text behind":  good + "hello",
		"headers":      string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: block.Bytes})),
		"encrypted":    strings.ReplaceAll(good, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
		"truncated":    good[:len(good)-10],
		"too large":    good + strings.Repeat("\n", maxKeyPEM),
	} {
		if k, err := ParsePrivateKeyPEM([]byte(text)); err == nil || k != nil {
			t.Errorf("%s: got %v and error %v, want a refusal", name, k, err)
		}
	}
	pub, err := MarshalPublicKeyPEM(mustSigningKey(t, MLDSA65, 1).Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParsePublicKeyPEM(pub); err != nil {
		t.Errorf("public key: %v", err)
	}
	if _, err := ParsePublicKeyPEM(text); err == nil {
		t.Error("took a private key as public key")
	}
	for _, k := range []any{nil, 7, mustSigningKey(t, MLDSA44, 1).Public()} {
		if _, err := MarshalPrivateKeyPEM(k); err == nil {
			t.Errorf("encoded a %T as private key", k)
		}
	}
	if _, err := MarshalPublicKeyDER(mustSigningKey(t, MLDSA44, 1)); err == nil {
		t.Error("encoded a private key as public key")
	}
}
