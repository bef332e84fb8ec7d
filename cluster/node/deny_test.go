package node

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

func testCertificate(t *testing.T, name string) *pki.Certificate {
	t.Helper()
	root, err := pki.NewRoot("root", "example.org", pqcrypto.MLDSA65, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := root.IssueIdentity(pki.IssueRequest{
		ID: pki.ServiceID("example.org", name), Roles: pki.RoleWriter, PublicKey: key.Public(), Validity: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestDenyList: each kind of line refuses the certificate that it names and no other one.
func TestDenyList(t *testing.T) {
	t.Parallel()
	cert, other := testCertificate(t, "billing"), testCertificate(t, "audit")
	parsed, err := x509.ParseCertificate(cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	serial := cert.SerialNumber.Text(16)
	for _, line := range []string{
		"serial " + serial, "  serial\t00" + strings.ToUpper(serial) + "  # stolen", "id " + string(cert.ID), "key " + hex.EncodeToString(sum[:]) + "\r",
	} {
		d, err := parseDenyList([]byte("# a comment\n\n" + line + "\n"))
		if err != nil || d.size() != 1 {
			t.Fatalf("%q: %v", line, err)
		}
		if err := d.check(cert); err == nil || !strings.Contains(err.Error(), "deny list names") {
			t.Errorf("%q: %v, want a refusal", line, err)
		}
		if err := d.check(other); err != nil {
			t.Errorf("%q: another certificate: %v", line, err)
		}
	}
	for _, bad := range []string{"serial", "serial xyz", "serial -1", "serial 0", "serial 1 2", "id billing", "id http://a/b", "key 00", "name x", "serial " + strings.Repeat("f", 41)} {
		if _, err := parseDenyList([]byte("# one\n" + bad + "\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v, want an error that names line 2", bad, err)
		}
	}
}

// TestDenyListFile: a file that others can write is refused, and so is what is no file.
func TestDenyListFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deny")
	if _, err := loadDenyList(path); err == nil {
		t.Error("an absent file was taken")
	}
	if d, err := loadDenyList(""); err != nil || d.check(testCertificate(t, "x")) != nil {
		t.Errorf("no deny list: %v", err)
	}
	if err := os.WriteFile(path, []byte("serial 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for mode, ok := range map[os.FileMode]bool{0o644: true, 0o600: true, 0o664: false, 0o646: false, 0o622: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := loadDenyList(path); (err == nil) != ok {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		t.Log("level: root, the owner is changed")
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if _, err := loadDenyList(path); err == nil || !strings.Contains(err.Error(), "user 12345 owns it") {
			t.Errorf("another user's file: %v", err)
		}
	}
	if _, err := loadDenyList(filepath.Dir(path)); err == nil {
		t.Error("a directory was taken")
	}
}
