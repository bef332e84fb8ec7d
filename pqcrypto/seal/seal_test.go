package seal

import (
	"bytes"
	stdhpke "crypto/hpke"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cockroachdb/errors"
)

func newKey(t testing.TB) *PrivateKey {
	t.Helper()
	k, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func logKey(t testing.TB) *pqcrypto.SigningKey {
	t.Helper()
	k, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, bytes.Repeat([]byte{0xa7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	k, other := newKey(t), newKey(t)
	for _, n := range []int{0, 1, 54, 100_000} {
		plaintext := bytes.Repeat([]byte{7}, n)
		sealed, err := Seal(k.Public(), []byte("info"), []byte("aad"), plaintext)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != n+Overhead {
			t.Errorf("sealed message has %d bytes, want %d", len(sealed), n+Overhead)
		}
		if got, err := k.Open([]byte("info"), []byte("aad"), sealed); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("Open gave %d bytes and %v, want the %d bytes", len(got), err, n)
		}
		again, _ := Seal(k.Public(), []byte("info"), []byte("aad"), plaintext)
		if bytes.Equal(sealed[:EncapsulatedKeySize], again[:EncapsulatedKeySize]) {
			t.Error("two sealed messages have the same encapsulated key")
		}
	}
	sealed, err := Seal(k.Public(), []byte("info"), []byte("aad"), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another key":  func() ([]byte, error) { return other.Open([]byte("info"), []byte("aad"), sealed) },
		"another info": func() ([]byte, error) { return k.Open([]byte("inf0"), []byte("aad"), sealed) },
		"another aad":  func() ([]byte, error) { return k.Open([]byte("info"), nil, sealed) },
		"empty":        func() ([]byte, error) { return k.Open([]byte("info"), []byte("aad"), nil) },
		"short":        func() ([]byte, error) { return k.Open([]byte("info"), []byte("aad"), sealed[:Overhead-1]) },
		"truncated":    func() ([]byte, error) { return k.Open([]byte("info"), []byte("aad"), sealed[:len(sealed)-1]) },
	} {
		if got, err := open(); !errors.Is(err, ErrOpen) || got != nil {
			t.Errorf("%s: got %q and %v, want ErrOpen", name, got, err)
		}
	}
	for i := 0; i < len(sealed); i += 37 {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := k.Open([]byte("info"), []byte("aad"), bad); !errors.Is(err, ErrOpen) {
			t.Errorf("byte %d flipped: got %v, want ErrOpen", i, err)
		}
	}
}

// Go's own HPKE opens what we seal, and the reverse, with nothing but the key's seed and public
// bytes.
func TestInteroperatesWithStandardLibrary(t *testing.T) {
	t.Parallel()
	info, secret := []byte("info"), []byte("a secret")
	kem, kdf, aead := stdhpke.MLKEM768X25519(), stdhpke.HKDFSHA256(), stdhpke.AES256GCM()

	ours := newKey(t)
	theirPrivate, err := kem.NewPrivateKey(ours.Key().Seed())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(theirPrivate.PublicKey().Bytes(), ours.Public().Bytes()) {
		t.Error("the same seed gives another public key")
	}
	theirPublic, err := kem.NewPublicKey(ours.Public().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := Seal(ours.Public(), info, nil, secret)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := stdhpke.Open(theirPrivate, kdf, aead, info, sealed); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("crypto/hpke opened ours to %q and %v, want %q", got, err, secret)
	}
	theirs, err := stdhpke.Seal(theirPublic, kdf, aead, info, secret)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ours.Open(info, nil, theirs); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("we opened crypto/hpke's to %q and %v, want %q", got, err, secret)
	}

	// The sealed key file, as an auditor's program would open it from the description of the
	// format.
	file, err := SealKey(ours.Public(), "log key", logKey(t))
	if err != nil {
		t.Fatal(err)
	}
	labelEnd := 48 + int(binary.BigEndian.Uint16(file[10:12]))
	message := file[labelEnd : labelEnd+int(binary.BigEndian.Uint32(file[12:16]))]
	recipient, err := stdhpke.NewRecipient(message[:1120], theirPrivate, kdf, aead, []byte("cairn sealed key v1\x00log key"))
	if err != nil {
		t.Fatal(err)
	}
	der, err := recipient.Open(file[:labelEnd], message[1120:])
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := pqcrypto.MarshalPrivateKeyDER(logKey(t)); !bytes.Equal(der, want) {
		t.Errorf("the sealed file holds %x, want %x", der, want)
	}
}

func TestSealedKeyFile(t *testing.T) {
	t.Parallel()
	k, other, key := newKey(t), newKey(t), logKey(t)
	const label = "log key of ledger.example/log for n1"
	file, err := SealKey(k.Public(), label, key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenKey(k, label, file)
	if err != nil {
		t.Fatal(err)
	}
	if sk, ok := got.(*pqcrypto.SigningKey); !ok || !bytes.Equal(sk.Seed(), key.Seed()) {
		t.Errorf("opened to %v, want the key that was sealed", got)
	}
	if bytes.Contains(file, key.Seed()) {
		t.Error("the file holds the seed in the clear")
	}
	info, err := Verify(file)
	if err != nil || info.Label != label || info.Recipient != k.Public().Fingerprint() || info.Version != 1 {
		t.Errorf("Verify gave %+v and %v", info, err)
	}
	var dump strings.Builder
	if err := Dump(&dump, file); err != nil || !strings.Contains(dump.String(), label) {
		t.Errorf("Dump wrote %q and gave %v", dump.String(), err)
	}
	if _, err := OpenKey(k, "log key of ledger.example/log for n2", file); !errors.Is(err, ErrLabel) {
		t.Errorf("another label gives %v, want ErrLabel", err)
	}
	if _, err := OpenKey(other, label, file); !errors.Is(err, ErrRecipient) {
		t.Errorf("another sealing key gives %v, want ErrRecipient", err)
	}

	fix := func(file []byte) []byte { // a correct checksum over a changed body
		body := file[:len(file)-4]
		return binary.BigEndian.AppendUint32(bytes.Clone(body), crc32.Checksum(body, castagnoli))
	}
	edit := func(f func([]byte)) []byte {
		b := bytes.Clone(file)
		f(b)
		return fix(b)
	}
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"empty":             {nil, ErrFormat},
		"magic":             {edit(func(b []byte) { b[7] = ' ' }), ErrFormat},
		"version 2":         {edit(func(b []byte) { b[8] = 2 }), ErrFormat},
		"content 2":         {edit(func(b []byte) { b[9] = 2 }), ErrFormat},
		"label longer":      {edit(func(b []byte) { b[11]++ }), ErrFormat},
		"label empty":       {edit(func(b []byte) { b[10], b[11] = 0, 0 }), ErrFormat},
		"message longer":    {edit(func(b []byte) { b[15]++ }), ErrFormat},
		"message enormous":  {edit(func(b []byte) { b[12] = 0xff }), ErrFormat},
		"label unprintable": {edit(func(b []byte) { b[48] = 0x1b }), ErrFormat},
		"label not UTF-8":   {edit(func(b []byte) { b[48] = 0xff }), ErrFormat},
		"trailing byte":     {fix(append(bytes.Clone(file), 0)), ErrFormat},
		"too large":         {append(bytes.Clone(file), make([]byte, maxSealedFile)...), ErrFormat},
		"recipient":         {edit(func(b []byte) { b[16] ^= 1 }), ErrRecipient},
		"label changed":     {edit(func(b []byte) { b[48] = 'L' }), ErrLabel},
		"message changed":   {edit(func(b []byte) { b[len(b)-10] ^= 1 }), ErrOpen},
		"encapsulated key":  {edit(func(b []byte) { b[48+len(label)] ^= 1 }), ErrOpen},
	} {
		if got, err := OpenKey(k, label, c.file); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: got %v and %v, want %v", name, got, err, c.want)
		}
	}
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 0x10
		if _, err := Verify(bad); !errors.Is(err, ErrFormat) {
			t.Fatalf("byte %d flipped: Verify gave %v, want ErrFormat", i, err)
		}
		if _, err := Verify(file[:i]); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut to %d bytes: Verify gave %v, want ErrFormat", i, err)
		}
	}
	// A file for the right recipient with another label, relabelled to ours: the label is bound by
	// HPKE.
	foreign, err := SealKey(k.Public(), "x"+label[1:], key)
	if err != nil {
		t.Fatal(err)
	}
	foreign[48] = label[0]
	if _, err := OpenKey(k, label, fix(foreign)); !errors.Is(err, ErrOpen) {
		t.Errorf("relabelled file gives %v, want ErrOpen", err)
	}
}

func TestSealKeyRefuses(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	for _, label := range []string{"", strings.Repeat("x", maxLabel+1), "a\nb", "a\x00b", "\xff"} {
		if _, err := SealKey(k.Public(), label, logKey(t)); !errors.Is(err, ErrFormat) {
			t.Errorf("label %.20q gives %v, want ErrFormat", label, err)
		}
	}
	if _, err := SealKey(k.Public(), "label", "not a key"); err == nil {
		t.Error("sealed a string as key")
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := newKey(t)
	keyPath, sealedPath := filepath.Join(dir, "sealing.key"), filepath.Join(dir, "log.sealed")
	if err := pqcrypto.WriteKeyFile(keyPath, k.Key()); err != nil {
		t.Fatal(err)
	}
	if err := WriteKeyFile(sealedPath, k.Public(), "log key", logKey(t)); err != nil {
		t.Fatal(err)
	}
	loaded, err := ReadKeyFile(keyPath)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenKeyFile(loaded, "log key", sealedPath)
	if err != nil || !bytes.Equal(got.(*pqcrypto.SigningKey).Seed(), logKey(t).Seed()) {
		t.Errorf("OpenKeyFile gave %v and %v", got, err)
	}
	if err := WriteKeyFile(sealedPath, k.Public(), "log key", logKey(t)); !errors.Is(err, os.ErrExist) {
		t.Errorf("writing over a sealed key gives %v, want os.ErrExist", err)
	}
	wrong := filepath.Join(dir, "mldsa.key")
	if err := pqcrypto.WriteKeyFile(wrong, logKey(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeyFile(wrong); err == nil {
		t.Error("took an ML-DSA key as sealing key")
	}
	if _, err := OpenKeyFile(k, "log key", filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file gives %v", err)
	}
	if s := loaded.String(); !strings.Contains(s, "redacted") {
		t.Errorf("sealing key prints as %q", s)
	}
}

func FuzzSealedKeyFile(f *testing.F) {
	xk, err := pqcrypto.NewXWingKey(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	k, err := NewPrivateKey(xk)
	if err != nil {
		f.Fatal(err)
	}
	good, err := SealKey(k.Public(), "log key", logKey(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, file []byte) {
		// The checksum would keep the fuzzer out.
		if n := len(file) - fileChecksum; n >= 0 {
			file = binary.BigEndian.AppendUint32(bytes.Clone(file[:n]), crc32.Checksum(file[:n], castagnoli))
		}
		info, err := Verify(file)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error is not ErrFormat: %v", err)
			}
			return
		}
		if got := fileHeader + len(info.Label) + info.Sealed + fileChecksum; got != len(file) {
			t.Fatalf("fields give %d bytes, the file has %d", got, len(file))
		}
		if got, err := OpenKey(k, info.Label, file); err == nil {
			if sk, ok := got.(*pqcrypto.SigningKey); !ok || !bytes.Equal(sk.Seed(), logKey(t).Seed()) {
				t.Fatalf("opened a file that was never sealed: %x", file)
			}
		}
	})
}
