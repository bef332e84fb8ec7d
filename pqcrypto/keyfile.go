package pqcrypto

import (
	"bytes"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/cockroachdb/errors"
)

const (
	privateKeyPEM = "PRIVATE KEY" // RFC 7468, section 10: the label that OpenSSL and all others read
	publicKeyPEM  = "PUBLIC KEY"  // RFC 7468, section 13

	maxKeyPEM = 16 << 10
)

// MarshalPrivateKeyPEM encodes a *SigningKey, *DecapsulationKey or *XWingPrivateKey as a PKCS#8
// "PRIVATE KEY" block.
func MarshalPrivateKeyPEM(k any) ([]byte, error) {
	der, err := MarshalPrivateKeyDER(k)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: privateKeyPEM, Bytes: der}), nil
}

// ParsePrivateKeyPEM reads one "PRIVATE KEY" block and nothing else; see [ParsePrivateKeyDER].
func ParsePrivateKeyPEM(text []byte) (any, error) {
	der, err := onePEM(text, privateKeyPEM)
	if err != nil {
		return nil, err
	}
	return ParsePrivateKeyDER(der)
}

// MarshalPublicKeyPEM encodes a public key as a "PUBLIC KEY" block.
func MarshalPublicKeyPEM(k any) ([]byte, error) {
	der, err := MarshalPublicKeyDER(k)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicKeyPEM, Bytes: der}), nil
}

// ParsePublicKeyPEM reads one "PUBLIC KEY" block and nothing else; see [ParsePublicKeyDER].
func ParsePublicKeyPEM(text []byte) (any, error) {
	der, err := onePEM(text, publicKeyPEM)
	if err != nil {
		return nil, err
	}
	return ParsePublicKeyDER(der)
}

// onePEM insists on exactly one block of one label, without headers and without other text than
// white space around it.
func onePEM(text []byte, label string) ([]byte, error) {
	if len(text) > maxKeyPEM {
		return nil, errors.Newf("%s file has %d bytes, at most %d are allowed", label, len(text), maxKeyPEM)
	}
	text = bytes.TrimSpace(text)
	if !bytes.HasPrefix(text, []byte("-----BEGIN ")) {
		return nil, errors.Newf("no PEM block %q found", label)
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errors.Newf("malformed PEM block, want %q", label)
	}
	if block.Type != label {
		return nil, errors.Newf("PEM block is %q, want %q", block.Type, label)
	}
	if len(block.Headers) != 0 {
		return nil, errors.Newf("PEM block %q has headers, they are not supported", label)
	}
	if len(bytes.TrimSpace(rest)) != 0 {
		return nil, errors.Newf("text after the PEM block %q", label)
	}
	return block.Bytes, nil
}

// WriteKeyFile stores a private key as PEM in a new file of mode 0600 and syncs it. It never
// overwrites: an existing path gives an error that is [os.ErrExist].
func WriteKeyFile(path string, k any) error {
	text, err := MarshalPrivateKeyPEM(k)
	if err != nil {
		return err
	}
	return WriteSecretFile(path, text)
}

// WriteSecretFile creates path exclusively with mode 0600, writes data, and syncs the file and its
// directory. On an error after the creation it removes the file.
func WriteSecretFile(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return errors.Wrap(err, "create secret file")
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(path)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return errors.Wrap(err, "write secret file")
	}
	if err := f.Sync(); err != nil {
		return errors.Wrap(err, "sync secret file")
	}
	if err := f.Close(); err != nil {
		return errors.Wrap(err, "close secret file")
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return errors.Wrap(err, "open directory of secret file")
	}
	defer d.Close()
	return errors.Wrap(d.Sync(), "sync directory of secret file")
}

// ReadKeyFile reads a private key that [WriteKeyFile] or another tool stored. A file that its group
// or others can access gives [ErrKeyFileMode].
func ReadKeyFile(path string) (any, error) {
	text, err := ReadSecretFile(path, maxKeyPEM)
	if err != nil {
		return nil, err
	}
	k, err := ParsePrivateKeyPEM(text)
	return k, errors.Wrapf(err, "parse key file %s", path)
}

// ErrKeyFileMode is returned for a secret that is stored where others can get at it.
var ErrKeyFileMode = errors.New("secret file is accessible to others than its owner")

// ReadSecretFile reads a regular file of at most limit bytes that nobody but its owner can access.
// It refuses a pipe before it opens it, because opening a pipe waits for a writer.
func ReadSecretFile(path string, limit int64) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errors.Newf("secret file %s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Wrap(err, "open secret file")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Wrap(err, "look at secret file")
	}
	if !info.Mode().IsRegular() {
		return nil, errors.Newf("secret file %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, errors.Wrapf(ErrKeyFileMode, "%s has mode %04o; run: chmod 600 %s", path, mode, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, errors.Wrap(err, "read secret file")
	}
	if int64(len(data)) > limit {
		return nil, errors.Newf("secret file %s is larger than %d bytes", path, limit)
	}
	return data, nil
}
