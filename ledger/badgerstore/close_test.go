package badgerstore_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cairnledger/cairn/ledger"
)

// TestReadsDuringClose: a stream that is still reading when the node stops gets an error. Badger
// unmaps its files, so a read that Close did not wait for would end the process.
func TestReadsDuringClose(t *testing.T) {
	t.Parallel()
	for range 4 {
		s := openStore(t, t.TempDir(), 64<<10)
		key := func(i int) []byte { return binary.BigEndian.AppendUint64([]byte("group..1b"), uint64(i)) }
		const keys = 400
		for i := range keys {
			if err := s.Commit(uint64(i+1), []ledger.Pair{{Key: key(i), Value: make([]byte, 1024)}}); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for r := range 4 {
			wg.Go(func() {
				for i := r; ; i++ {
					_, err := s.Get(key(i % keys))
					if err == nil {
						_, err = s.Seek(key(i%keys), key(0)[:9])
					}
					if err != nil {
						if !errors.Is(err, ledger.ErrClosed) {
							t.Errorf("read during Close: %v, want ledger.ErrClosed", err)
						}
						return
					}
				}
			})
		}
		time.Sleep(2 * time.Millisecond)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if err := s.Commit(keys+1, []ledger.Pair{{Key: key(0), Value: []byte{1}}}); !errors.Is(err, ledger.ErrClosed) {
			t.Fatalf("commit after Close: %v, want ledger.ErrClosed", err)
		}
	}
}

// TestFailedSyncIsFinal: the kernel reports a failed write once, so a second attempt that succeeds
// proves nothing.
func TestFailedSyncIsFinal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openStore(t, dir, 64<<10)
	defer func() {
		if err := s.Close(); err == nil {
			t.Error("Close calls durable what could not be synced")
		}
	}()
	// Something that cannot be opened for syncing stands in for a disk that cannot write.
	obstacle := filepath.Join(dir, "000099.vlog")
	if err := os.Mkdir(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	var failed error
	for version, deadline := uint64(1), time.Now().Add(10*time.Second); failed == nil; version++ {
		if time.Now().After(deadline) {
			t.Fatal("no memtable was written: the test shows nothing")
		}
		pair := ledger.Pair{Key: fmt.Appendf(nil, "group..1b%08d", version), Value: make([]byte, 2048)}
		if err := s.Commit(version, []ledger.Pair{pair}); err != nil {
			t.Fatal(err)
		}
		_, failed = s.Flushed()
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	if token, err := s.Flushed(); err == nil {
		t.Fatalf("after a failed sync everything up to token %d is called durable", token)
	}
	if err := s.Commit(1<<40, []ledger.Pair{{Key: []byte("group..1b"), Value: []byte{1}}}); err == nil {
		t.Fatal("the store takes commits after a failed sync")
	}
}
