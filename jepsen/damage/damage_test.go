package damage

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/node"
)

// TestMain lets the test binary stand in for the program: called as "node --config FILE" it runs a
// node.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "node" {
		os.Exit(runNode(os.Args[3]))
	}
	os.Exit(m.Run())
}

func runNode(file string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	c, err := node.LoadConfig(file)
	if err != nil {
		err = errors.Mark(err, node.ErrConfig)
	} else {
		err = node.Run(ctx, c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		if errors.Is(err, node.ErrConfig) {
			fmt.Fprintln(os.Stderr, "  next:", node.FilesAdvice)
		}
		return 1
	}
	return 0
}

// TestDamage is the short form of `make damage`: a few trials of each kind, and some of the store
// alone, which has to come back without a hand.
func TestDamage(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		kind  Kind
		under string
	}{{Pages, ""}, {Delete, ""}, {Flip, ""}, {Truncate, ""}, {Pages, "data/ledger"}, {Delete, "data/ledger"}} {
		t.Run(string(x.kind)+" "+x.under, func(t *testing.T) {
			r, err := Run(t.Context(), Options{
				Dir: filepath.Join(t.TempDir(), "c"), Executable: exe, Kind: x.kind, Under: x.under, Trials: 3, Seed: 1, Entries: 600,
				Patience: 2 * time.Minute, Progress: func(s string) { t.Log(s) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if x.under != "" && r.Told > 0 {
				t.Errorf("%s, want that all came back without a hand", r)
			}
		})
	}
}

// TestStrikes: every kind changes what it says it changes, and nothing else.
func TestStrikes(t *testing.T) {
	content := map[string][]byte{}
	for _, name := range []string{"node.yaml", "data/IDENTITY", "data/wal/0000000000000001.wal", "data/ledger/000001.sst"} {
		content[name] = bytes.Repeat([]byte(name), 1000)
	}
	for _, kind := range Kinds {
		for seed := range uint64(20) {
			dir := t.TempDir()
			for name, b := range content {
				path := filepath.Join(dir, name)
				if err := errors.CombineErrors(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			what, err := strike(rand.New(rand.NewPCG(seed, 1)), kind, dir, "")
			if err != nil {
				t.Fatal(err)
			}
			changed := 0
			for name, b := range content {
				if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, b) {
					changed++
				}
			}
			if changed != 1 {
				t.Errorf("%s, seed %d: %d files are changed: %s", kind, seed, changed, what)
			}
		}
	}
}

// TestClasses: every file of a node has a class.
func TestClasses(t *testing.T) {
	for path, want := range map[string]string{
		"data/wal/0000000000000001.wal": "log", "data/ledger/000001.sst": "tables", "data/ledger/00001.mem": "memtables", "data/ledger/000001.vlog": "values",
		"data/ledger/MANIFEST": "store", "data/IDENTITY": "identity", "data/LOCK": "locks", "data/wal/LOCK": "locks", "node.yaml": "configuration",
		"kem.crt": "keys", "log.key.sealed": "keys", "log": "records", "data/else": "",
	} {
		if got := ClassOf(path); got != want {
			t.Errorf("%s is of class %q, want %q", path, got, want)
		}
	}
}
