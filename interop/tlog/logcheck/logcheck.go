// Package logcheck has Tessera's fsck verify a whole log: it fetches the
// checkpoint and every entry bundle, computes the tree anew, and compares every
// tile and the root with what the log serves.
//
// Beside what fsck does on its own, a failure is always an error: its library
// panics on some malformed bundles, and waits for ever when all of its workers
// met a wrong tile.
package logcheck

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

// Options says what to check.
type Options struct {
	// URL is the log's prefix, with the scheme http, https or file.
	URL string
	// VerifierKey is the log's encoded key; white space around it is ignored.
	VerifierKey string
	// Stall is how long the check may go without any progress; 30 s when zero.
	Stall time.Duration
}

// workers is how many resources are fetched at a time. The library loses one
// with each tile that is wrong, and one wrong entry makes a tile of every level
// wrong, so there are more of them than levels.
const workers = 16

// requestTimeout is how long one resource may take.
const requestTimeout = 30 * time.Second

// Result is what was verified.
type Result struct {
	Checkpoint []byte // the signed note
	Resources  int64  // how many entry bundles and tiles were fetched
}

// Run verifies the log. Its error is nil only if all of it is right.
func Run(ctx context.Context, o Options) (*Result, error) {
	verifier, err := fnote.NewVerifier(strings.TrimSpace(o.VerifierKey))
	if err != nil {
		return nil, fmt.Errorf("parse verifier key: %w", err)
	}
	if o.Stall == 0 {
		o.Stall = 30 * time.Second
	}
	from, err := open(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- check(ctx, verifier, from) }()

	before := int64(-1)
	for {
		select {
		case err := <-done:
			if err != nil {
				return nil, fmt.Errorf("fsck: %w", errors.Join(err, from.failure()))
			}
			return &Result{Checkpoint: from.checkpoint, Resources: from.fetched.Load()}, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("fsck: %w", errors.Join(ctx.Err(), from.failure()))
		case <-time.After(o.Stall):
			now := from.fetched.Load()
			if now == before {
				stalled := fmt.Errorf("no progress for %s: many resources are wrong or not served", o.Stall)
				return nil, fmt.Errorf("fsck: %w", errors.Join(stalled, from.failure()))
			}
			before = now
		}
	}
}

func check(ctx context.Context, verifier note.Verifier, from *source) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return fsck.New(verifier.Name(), verifier, from, leafHashes, fsck.Opts{N: workers}).Check(ctx)
}

// leafHashes hashes the entries of a bundle.
func leafHashes(bundle []byte) ([][]byte, error) {
	var b api.EntryBundle
	if err := b.UnmarshalText(bundle); err != nil {
		return nil, fmt.Errorf("parse entry bundle: %w", err)
	}
	hashes := make([][]byte, len(b.Entries))
	for i, e := range b.Entries {
		hashes[i] = rfc6962.DefaultHasher.HashLeaf(e)
	}
	return hashes, nil
}

// source fetches a log's resources for fsck, counts them, and remembers the
// first that failed.
type source struct {
	from       fsck.Fetcher
	fetched    atomic.Int64
	checkpoint []byte // written once, before anything else is fetched

	mu struct {
		sync.Mutex
		failure error
	}
}

func open(o Options) (*source, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("parse URL: %w", err)
	}
	switch u.Scheme {
	case "file":
		return &source{from: client.FileFetcher{Root: u.Path}}, nil
	case "http", "https":
		if !strings.HasSuffix(u.Path, "/") {
			u.Path += "/" // paths are resolved relative to the prefix
		}
		f, err := client.NewHTTPFetcher(u, &http.Client{
			Timeout:   requestTimeout,
			Transport: &http.Transport{MaxIdleConnsPerHost: 2 * workers},
		})
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", o.URL, err)
		}
		return &source{from: f}, nil
	}
	return nil, fmt.Errorf("parse URL: scheme of %q is not http, https or file", o.URL)
}

func (s *source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.failure
}

func (s *source) count(b []byte, err error) ([]byte, error) {
	s.fetched.Add(1)
	if err != nil {
		s.mu.Lock()
		if s.mu.failure == nil {
			s.mu.failure = err
		}
		s.mu.Unlock()
	}
	return b, err
}

// ReadCheckpoint implements fsck.Fetcher.
func (s *source) ReadCheckpoint(ctx context.Context) ([]byte, error) {
	b, err := s.from.ReadCheckpoint(ctx)
	s.checkpoint = b
	return b, err
}

// ReadTile implements fsck.Fetcher.
func (s *source) ReadTile(ctx context.Context, level, index uint64, width uint8) ([]byte, error) {
	return s.count(s.from.ReadTile(ctx, level, index, width))
}

// ReadEntryBundle implements fsck.Fetcher.
func (s *source) ReadEntryBundle(ctx context.Context, index uint64, width uint8) ([]byte, error) {
	return s.count(s.from.ReadEntryBundle(ctx, index, width))
}
