package badgerstore

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cairnledger/cairn/ledger"
)

// TestCrashWhileALogIsCreated: the process died after it had created a memtable's file, or one of
// the value log, and before it had given it a size.
func TestCrashWhileALogIsCreated(t *testing.T) {
	for _, pattern := range []string{"%05d.mem", "%06d.vlog"} {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s,first=%t", pattern[len(pattern)-4:], first), func(t *testing.T) {
				dir := t.TempDir()
				o := Options{Dir: dir, ValueThreshold: 100}
				number := 1
				want := map[string]string{}
				if !first {
					s, err := Open(o)
					if err != nil {
						t.Fatal(err)
					}
					want["group-1-small"], want["group-1-large"] = "v", string(make([]byte, 1000))
					for key, value := range want {
						if err := s.Commit(1, []ledger.Pair{{Key: []byte(key), Value: []byte(value)}}); err != nil {
							t.Fatal(err)
						}
					}
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					number = 99
				}
				file := filepath.Join(dir, fmt.Sprintf(pattern, number))
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					s, err := Open(o)
					if err != nil {
						t.Fatal(err)
					}
					for key, value := range want {
						if v, err := s.Get([]byte(key)); err != nil || string(v) != value {
							t.Errorf("%s: got %d bytes, %v, want %d", key, len(v), err, len(value))
						}
					}
					want[fmt.Sprint("group-1-", number)] = string(make([]byte, 500))
					if err := s.Commit(2, []ledger.Pair{{Key: fmt.Append(nil, "group-1-", number), Value: make([]byte, 500)}}); err != nil {
						t.Error(err)
					}
					number++
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}
