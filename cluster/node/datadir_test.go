package node

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// create makes an initialised directory.
func create(t *testing.T, path string) {
	t.Helper()
	d, err := createDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.adopt(testIdentity, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
}

var testIdentity = identity{cluster: 0xabc, node: 1, name: "n1", directory: "example.org/ledger"}

func TestDataDir(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data")
	if _, err := openDataDir(path, testIdentity); !errors.Is(err, ErrNotInitialised) {
		t.Errorf("an absent directory: %v, want ErrNotInitialised", err)
	}
	create(t, path)
	if _, err := createDataDir(path); !errors.Is(err, ErrInitialised) {
		t.Errorf("made twice: %v, want ErrInitialised", err)
	}
	d, err := openDataDir(path, testIdentity)
	if err != nil {
		t.Fatal(err)
	}
	first := d.incarnation
	if _, err := openDataDir(path, testIdentity); !errors.Is(err, ErrLocked) {
		t.Errorf("a second process: %v, want ErrLocked", err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*identity){
		"cluster":   func(id *identity) { id.cluster++ },
		"node":      func(id *identity) { id.node++ },
		"name":      func(id *identity) { id.name = "n2" },
		"directory": func(id *identity) { id.directory = "example.org/other" },
	} {
		id := testIdentity
		change(&id)
		if _, err := openDataDir(path, id); !errors.Is(err, ErrForeignData) {
			t.Errorf("another %s: %v, want ErrForeignData", name, err)
		}
	}
	d, err = openDataDir(path, testIdentity)
	if err != nil {
		t.Fatalf("open again: %v", err)
	}
	if d.incarnation != first || first == (transport.Incarnation{}) {
		t.Errorf("the incarnation is %s, then %s", first, d.incarnation)
	}
	d.close()
	again := filepath.Join(t.TempDir(), "data")
	create(t, again)
	d, err = openDataDir(again, testIdentity)
	if err != nil {
		t.Fatal(err)
	}
	if d.incarnation == first {
		t.Error("two directories have one incarnation")
	}
	d.close()
}

// TestIdentityFromMembers: an identity that is damaged or gone is written again from what MEMBERS
// holds, unless that is of another node.
func TestIdentityFromMembers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data")
	d, err := createDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	members := []formation.Member{{ID: 1, Name: "n1"}, {ID: 2, Name: "n2"}}
	if err := d.adopt(testIdentity, formation.New(testIdentity.cluster, 1, d.incarnation, members).Marshal()); err != nil {
		t.Fatal(err)
	}
	want := d.incarnation
	d.close()
	file := filepath.Join(path, identityFile)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []func() error{
		func() error { return os.Remove(file) },
		func() error { return os.WriteFile(file, good[1:], 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		other := testIdentity
		other.node = 2
		if _, err := openDataDir(path, other); !errors.Is(err, ErrForeignData) {
			t.Errorf("as another node: %v, want ErrForeignData", err)
		}
		d, err := openDataDir(path, testIdentity)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(file); d.incarnation != want || d.lost == nil || err != nil || string(raw) != string(good) {
			t.Errorf("incarnation %s, want %s; lost: %v; the file is\n%s%v", d.incarnation, want, d.lost, raw, err)
		}
		d.close()
	}
}

func TestDataDirDamagedIdentity(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data")
	create(t, path)
	file := filepath.Join(path, identityFile)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		damaged := append([]byte(nil), raw...)
		damaged[i] ^= 1
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if d, err := openDataDir(path, testIdentity); err == nil {
			d.close()
			t.Errorf("byte %d flipped: the directory opened", i)
		}
	}
	// Data without an identity are nobody's.
	for _, f := range []string{file, filepath.Join(path, membersFile)} {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(path, walDir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openDataDir(path, testIdentity); !errors.Is(err, ErrForeignData) {
		t.Errorf("data without identity: %v, want ErrForeignData", err)
	}
}
