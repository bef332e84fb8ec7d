package pqcrypto

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
)

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "node.key")
	k := mustSigningKey(t, MLDSA65, 9)
	if err := WriteKeyFile(path, k); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %04o, want 0600", info.Mode().Perm())
	}
	back, err := ReadKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.(*SigningKey).Seed(), k.Seed()) {
		t.Error("read another key than was written")
	}
	if err := WriteKeyFile(path, mustSigningKey(t, MLDSA65, 10)); !errors.Is(err, os.ErrExist) {
		t.Errorf("writing over a key gives %v, want os.ErrExist", err)
	}
	if back, err = ReadKeyFile(path); err != nil || !bytes.Equal(back.(*SigningKey).Seed(), k.Seed()) {
		t.Errorf("the refused write changed the file: %v", err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o610, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKeyFile(path); !errors.Is(err, ErrKeyFileMode) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o gives %v, want ErrKeyFileMode and what to do", mode, err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKeyFile(path); err != nil {
			t.Errorf("mode %04o gives %v", mode, err)
		}
	}
}

func TestKeyFileErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if _, err := ReadKeyFile(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file gives %v, want os.ErrNotExist", err)
	}
	if _, err := ReadKeyFile(dir); err == nil {
		t.Error("read a directory as key file")
	}
	if k, err := ReadKeyFile(write("garbage", []byte("garbage"))); err == nil || k != nil || !strings.Contains(err.Error(), "garbage") {
		t.Errorf("garbage gives %v and %v, want an error that names the file", k, err)
	}
	if _, err := ReadKeyFile(write("huge", make([]byte, maxKeyPEM+1))); err == nil {
		t.Error("read a huge key file")
	}
	if err := WriteKeyFile(filepath.Join(dir, "no", "such", "dir"), mustSigningKey(t, MLDSA44, 1)); err == nil {
		t.Error("wrote into a missing directory")
	}
	if err := WriteKeyFile(filepath.Join(dir, "new"), 7); err == nil {
		t.Error("wrote a number as key")
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); !os.IsNotExist(err) {
		t.Error("a failed write left a file")
	}
}
