//go:build unix

package signer

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

const origin = "example.org/a ledger"

// newDir is a signer's directory, and the key.
func newDir(t *testing.T) (string, *tlog.VerifierKey) {
	t.Helper()
	dir := t.TempDir()
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	if err != nil {
		t.Fatal(err)
	}
	if err := pqcrypto.WriteKeyFile(filepath.Join(dir, keyFile), key); err != nil {
		t.Fatal(err)
	}
	vkey, err := Init(dir, "example.org/n1")
	if err != nil {
		t.Fatal(err)
	}
	return dir, vkey
}

func open(t *testing.T, dir string) *Signer {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func checkpoint(of string, size uint64, root byte) tlog.Checkpoint {
	return tlog.Checkpoint{Origin: of, Size: size, Root: merkle.Hash{root}}
}

// with is a signer, and which of its keys is to sign.
type with struct {
	*Signer
	key *tlog.VerifierKey
}

func (w with) Cosign(cp tlog.Checkpoint, timestamp uint64) (tlog.Signature, error) {
	return w.Signer.Cosign(w.key.KeyID(), cp, timestamp)
}

// cosigns wants a signature that verifies, or a contradiction.
func cosigns(t *testing.T, by interface {
	Cosign(tlog.Checkpoint, uint64) (tlog.Signature, error)
}, key *tlog.VerifierKey, cp tlog.Checkpoint, want bool) {
	t.Helper()
	sig, err := by.Cosign(cp, 1_900_000_000)
	if !want {
		if !errors.Is(err, ErrContradiction) {
			t.Errorf("size %d, root %x of %s: got %v, want a contradiction", cp.Size, cp.Root[0], cp.Origin, err)
		}
		return
	}
	if err == nil {
		_, err = key.VerifyCheckpoint(cp, sig)
	}
	if err != nil {
		t.Errorf("size %d, root %x of %s: %v, want a signature", cp.Size, cp.Root[0], cp.Origin, err)
	}
}

// TestNeverTwoRoots: before and after a restart, no signature contradicts a former one, and ledgers
// do not disturb each other.
func TestNeverTwoRoots(t *testing.T) {
	t.Parallel()
	dir, key := newDir(t)
	s := open(t, dir)
	cosigns(t, with{s, key}, key, checkpoint(origin, 7, 1), true)
	cosigns(t, with{s, key}, key, checkpoint(origin, 7, 1), true) // once more
	cosigns(t, with{s, key}, key, checkpoint(origin, 7, 2), false)
	cosigns(t, with{s, key}, key, checkpoint(origin, 6, 1), false)
	cosigns(t, with{s, key}, key, checkpoint("example.org/b", 3, 9), true)
	cosigns(t, with{s, key}, key, checkpoint(origin, 9, 3), true)
	cosigns(t, with{s, key}, key, checkpoint(origin, 7, 1), false)
	if _, err := Open(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("a second signer on the directory: %v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Cosign(key.KeyID(), checkpoint(origin, 20, 1), 1); err == nil {
		t.Error("a closed signer signs")
	}
	again := open(t, dir)
	if n := again.Ledgers(); n != 2 {
		t.Errorf("after a restart the signer remembers %d ledgers, want 2", n)
	}
	cosigns(t, with{again, key}, key, checkpoint(origin, 9, 4), false)
	cosigns(t, with{again, key}, key, checkpoint(origin, 8, 3), false)
	cosigns(t, with{again, key}, key, checkpoint("example.org/b", 3, 8), false)
	cosigns(t, with{again, key}, key, checkpoint("example.org/b", 3, 9), true)
	cosigns(t, with{again, key}, key, checkpoint(origin, 9, 3), true)
	cosigns(t, with{again, key}, key, checkpoint(origin, 10, 5), true)
}

// TestTwoKeys: while a key is replaced the signer signs with both, and what it signed with one binds
// the other, across restarts and when the second key has become the only one.
func TestTwoKeys(t *testing.T) {
	t.Parallel()
	dir, key := newDir(t)
	secret, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	if err != nil {
		t.Fatal(err)
	}
	if err := pqcrypto.WriteKeyFile(filepath.Join(dir, nextFile), secret); err != nil {
		t.Fatal(err)
	}
	next, err := tlog.NewMLDSA44VerifierKey(key.Name(), secret.Public())
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	if keys := s.Keys(); len(keys) != 2 || keys[0].String() != key.String() || keys[1].String() != next.String() {
		t.Fatalf("the signer has the keys %v", keys)
	}
	socket := filepath.Join(t.TempDir(), "s")
	stop := serve(t, s, socket)
	first, second := NewClient(socket, key), NewClient(socket, next)
	for _, c := range []*Client{first, second} {
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
	}
	cosigns(t, first, key, checkpoint(origin, 7, 1), true)
	cosigns(t, second, next, checkpoint(origin, 7, 2), false)
	cosigns(t, second, next, checkpoint(origin, 6, 1), false)
	cosigns(t, second, next, checkpoint(origin, 7, 1), true)
	cosigns(t, second, next, checkpoint(origin, 9, 3), true)
	cosigns(t, first, key, checkpoint(origin, 8, 2), false)
	stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, nextFile), filepath.Join(dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	cosigns(t, with{again, next}, next, checkpoint(origin, 9, 4), false)
	cosigns(t, with{again, next}, next, checkpoint(origin, 9, 3), true)
	if _, err := again.Cosign(key.KeyID(), checkpoint(origin, 10, 1), 1); err == nil {
		t.Error("the signer signs with a key that it does not have any more")
	}
	cosigns(t, with{again, next}, next, checkpoint(origin, 10, 2), true)
}

// TestMemoryFirst: nothing is signed that could not be written, and nothing afterwards either.
func TestMemoryFirst(t *testing.T) {
	t.Parallel()
	dir, key := newDir(t)
	s := open(t, dir)
	cosigns(t, with{s, key}, key, checkpoint(origin, 1, 1), true)
	s.dir = filepath.Join(dir, "gone")
	for size := range uint64(3) {
		if _, err := s.Cosign(key.KeyID(), checkpoint(origin, 2+size, 1), 1); err == nil || !strings.Contains(err.Error(), "stopped signing") {
			t.Errorf("after a failed write: %v, want that the signer has stopped", err)
		}
	}
}

// TestDamagedMemory: a signer that cannot read what it signed does not start, and a directory is
// made a signer's once.
func TestDamagedMemory(t *testing.T) {
	t.Parallel()
	dir, key := newDir(t)
	if _, err := Init(dir, "example.org/n1"); !errors.Is(err, ErrInitialised) {
		t.Errorf("a second Init: %v, want ErrInitialised", err)
	}
	s := open(t, dir)
	cosigns(t, with{s, key}, key, checkpoint(origin, 7, 1), true)
	cosigns(t, with{s, key}, key, checkpoint("example.org/b", 7, 1), true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, memoryName(origin))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(filepath.Join(dir, memoryName("example.org/b")))
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"empty": "", "cut": string(good[:len(good)-2]), "longer": string(good) + "\n", "another ledger's": string(other),
		"another size": strings.Replace(string(good), "size 7", "size 6", 1),
	}
	for i := range good {
		flipped := []byte(string(good))
		flipped[i] ^= 1
		bad[fmt.Sprintf("bit of byte %d", i)] = string(flipped)
	}
	for name, text := range bad {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(dir); err == nil {
			t.Errorf("%s: the signer starts", name)
			_ = s.Close()
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: the error does not name the file: %v", name, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, nameFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrNotInitialised) {
		t.Errorf("without its name: %v, want ErrNotInitialised", err)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(dir, "example.org/n1"); !errors.Is(err, ErrInitialised) {
		t.Errorf("Init over a memory: %v, want ErrInitialised", err)
	}
}

// serve runs a signer on a socket until stop is called.
func serve(t *testing.T, s *Signer, socket string) (stop func()) {
	t.Helper()
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

// TestOverTheSocket: the client gets signatures and contradictions, notices a signer that is gone
// and one that is back, and refuses one with another key.
func TestOverTheSocket(t *testing.T) {
	t.Parallel()
	dir, key := newDir(t)
	socket := filepath.Join(t.TempDir(), "s")
	c := NewClient(socket, key)
	if err := c.Check(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a signer: %v, want ErrUnavailable", err)
	}
	s := open(t, dir)
	stop := serve(t, s, socket)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket has mode %v, %v; want 0660", info.Mode(), err)
	}
	if _, err := Listen(socket); err == nil {
		t.Error("two processes listen on one socket")
	}
	time.Sleep(pause)
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	cosigns(t, c, key, checkpoint(origin, 7, 1), true)
	cosigns(t, c, key, checkpoint(origin, 7, 2), false)
	cosigns(t, c, key, checkpoint(origin, 6, 1), false)
	if _, err := c.Cosign(tlog.Checkpoint{Origin: "a\nb", Size: 1}, 1); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("a malformed checkpoint: %v, want a refusal", err)
	}
	for name, body := range map[string]string{
		"nothing": "", "no JSON": "x", "a short root": `{"origin":"a","size":1,"root":"AAAA"}`, "too long": `{"origin":"` + strings.Repeat("a", maxBody) + `"}`,
		"a large size": `{"origin":"a","size":18446744073709551615,"root":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`,
	} {
		resp, err := c.http.Post("http://signer"+cosignPath, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", name, resp.StatusCode)
		}
	}
	if n := s.Ledgers(); n != 1 {
		t.Errorf("the signer remembers %d ledgers after malformed requests, want 1", n)
	}
	_, other := newDir(t)
	stranger := NewClient(socket, other)
	if err := stranger.Check(); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("a signer with another key: %v, want a refusal", err)
	}
	if _, err := stranger.Cosign(checkpoint(origin, 8, 1), 1); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("a signature of another key: %v, want a refusal", err)
	}

	stop()
	if _, err := c.Cosign(checkpoint(origin, 9, 1), 1); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after the signer ended: %v, want ErrUnavailable", err)
	}
	if since, err := c.Failing(); err == nil || time.Since(since) > time.Minute {
		t.Errorf("failing since %v: %v", since, err)
	}
	serve(t, s, socket)
	time.Sleep(2 * pause)
	cosigns(t, c, key, checkpoint(origin, 9, 1), true)
	if _, err := c.Failing(); err != nil {
		t.Errorf("after the signer is back: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(filepath.Join(dir, "file")); err == nil {
		t.Error("a file that is no socket is replaced")
	}
}
