//go:build unix

package pqcrypto

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSecretFileOnAFullDisk: a secret that could not be written whole leaves no file behind. A
// process whose files may have ten bytes stands in for a full disk.
func TestSecretFileOnAFullDisk(t *testing.T) {
	const variable = "SECRET_FILE_ON_A_FULL_DISK"
	if path := os.Getenv(variable); path != "" {
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 10, Max: 10}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Skip(err)
		}
		if err := WriteSecretFile(path, make([]byte, 100)); err == nil {
			t.Error("100 bytes were written although 10 fit")
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the file of the failed write: %v, want none", err)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSecretFileOnAFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+filepath.Join(t.TempDir(), "secret"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "SKIP") {
		t.Skipf("the size of files cannot be limited:\n%s", out)
	}
}

// TestSecretFileIsRegular: a pipe, a directory and a device are refused without waiting for what
// they might deliver.
func TestSecretFileIsRegular(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, filepath.Dir(pipe), os.DevNull} {
		if b, err := ReadSecretFile(path, 100); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("read %s: %d bytes, %v, want it refused as no regular file", path, len(b), err)
		}
	}
}
