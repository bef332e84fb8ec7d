package audit

import (
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// ErrMissing says that a source has not got a file that the ledger's size
// demands. It is a finding, unlike a source that does not answer.
var ErrMissing = errors.New("missing")

// Source serves one ledger in the shape of C2SP tlog-tiles. Its methods are
// called from several goroutines. An error that is not ErrMissing ends the audit.
type Source interface {
	// Checkpoint returns the newest signed checkpoint.
	Checkpoint(ctx context.Context) ([]byte, error)
	// Tile returns the bytes of a hash tile, or more of it than width. ok is
	// false if the source serves no tiles at all.
	Tile(ctx context.Context, level uint8, index uint64, width int) (raw []byte, ok bool, err error)
	// Entries returns the bytes of an entry bundle of exactly width entries.
	Entries(ctx context.Context, index uint64, width int) ([]byte, error)
}

// files is a source that finds everything by its path.
type files func(ctx context.Context, path string) ([]byte, error)

func (f files) Checkpoint(ctx context.Context) ([]byte, error) { return f(ctx, "checkpoint") }

func (f files) Tile(ctx context.Context, level uint8, index uint64, width int) ([]byte, bool, error) {
	raw, err := f.either(ctx, merkle.TilePath(level, index, width), merkle.TilePath(level, index, merkle.TileWidth))
	return raw, true, err
}

func (f files) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	full := merkle.EntriesPath(index, merkle.EntryBundleWidth)
	path := merkle.EntriesPath(index, width)
	raw, err := f(ctx, path)
	if width == merkle.EntryBundleWidth || !errors.Is(err, ErrMissing) {
		return raw, err
	}
	if raw, err = f(ctx, full); err != nil {
		return nil, err
	}
	return firstEntries(raw, width), nil
}

// either returns the partial file, or the full one that replaced it since.
func (f files) either(ctx context.Context, path, full string) ([]byte, error) {
	raw, err := f(ctx, path)
	if path != full && errors.Is(err, ErrMissing) {
		if whole, err := f(ctx, full); err == nil {
			return whole, nil
		}
	}
	return raw, err
}

// firstEntries cuts a bundle after n entries; one that is shorter is returned as
// it is, to be reported by who parses it.
func firstEntries(raw []byte, n int) []byte {
	at := 0
	for range n {
		if at+2 > len(raw) {
			return raw
		}
		at += 2 + int(raw[at])<<8 + int(raw[at+1])
	}
	if at > len(raw) {
		return raw
	}
	return raw[:at]
}

// maxFile bounds what is read for one path: a full bundle of the largest entries.
const maxFile = merkle.EntryBundleWidth * (2 + merkle.MaxEntrySize)

func readBounded(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = errors.Newf("larger than %d bytes", maxFile)
	}
	return raw, err
}

// Dir returns a source that reads a directory laid out as in C2SP tlog-tiles:
// checkpoint, tile/0/000, tile/entries/000, and so on.
func Dir(dir string) Source {
	return files(func(_ context.Context, path string) ([]byte, error) {
		f, err := os.Open(filepath.Join(dir, filepath.FromSlash(path)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrMissing
		}
		if err != nil {
			return nil, errors.Wrap(err, "open file")
		}
		defer f.Close()
		raw, err := readBounded(f)
		return raw, errors.Wrapf(err, "read %s", path)
	})
}

// httpAttempts is how often a request is tried when the server does not answer.
const httpAttempts = 4

// HTTP returns a source that reads from a base URL. Requests that the server
// cannot answer at the moment are repeated.
func HTTP(base string, client *http.Client) (Source, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.Newf("%q is not an http or https URL", base)
	}
	base = strings.TrimRight(base, "/") + "/"
	return files(func(ctx context.Context, path string) ([]byte, error) {
		var last error
		for try := range httpAttempts {
			if try > 0 {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(time.Duration(try*try) * 100 * time.Millisecond):
				}
			}
			raw, again, err := get(ctx, client, base+path)
			if err == nil || !again {
				return raw, err
			}
			last = err
		}
		return nil, last
	}), nil
}

func get(ctx context.Context, client *http.Client, url string) (raw []byte, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, false, errors.Wrap(err, "make request")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, ctx.Err() == nil, errors.Wrap(err, "fetch")
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusOK:
		raw, err := readBounded(resp.Body)
		return raw, err != nil && ctx.Err() == nil, errors.Wrapf(err, "fetch %s", url)
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone:
		return nil, false, ErrMissing
	default:
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		err := errors.Newf("fetch %s: %s: %s", url, resp.Status, strings.TrimSpace(string(text)))
		return nil, resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests, err
	}
}

// saver passes on what another source serves and keeps a copy in a directory.
type saver struct {
	Source
	dir string
}

// Save returns a source that writes everything it reads from src into dir, in
// the layout that Dir reads. Run adds the tiles that src does not serve, and reads
// everything, so that a copy is always whole.
func Save(src Source, dir string) Source { return &saver{Source: src, dir: dir} }

// keep writes a tile that was computed because the source serves none.
func (s *saver) keep(level uint8, index uint64, hashes []merkle.Hash) error {
	return s.write(merkle.TilePath(level, index, len(hashes)), merkle.AppendTile(nil, hashes))
}

func (s *saver) Checkpoint(ctx context.Context) ([]byte, error) {
	raw, err := s.Source.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	return raw, s.write("checkpoint", raw)
}

func (s *saver) Tile(ctx context.Context, level uint8, index uint64, width int) ([]byte, bool, error) {
	raw, ok, err := s.Source.Tile(ctx, level, index, width)
	if err != nil || !ok {
		return raw, ok, err
	}
	if want := width * merkle.HashSize; len(raw) > want {
		raw = raw[:want]
	}
	return raw, true, s.write(merkle.TilePath(level, index, width), raw)
}

func (s *saver) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	raw, err := s.Source.Entries(ctx, index, width)
	if err != nil {
		return nil, err
	}
	return raw, s.write(merkle.EntriesPath(index, width), raw)
}

func (s *saver) write(path string, raw []byte) error {
	to := filepath.Join(s.dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return errors.Wrap(err, "save a copy")
	}
	return errors.Wrap(os.WriteFile(to, raw, 0o644), "save a copy")
}
