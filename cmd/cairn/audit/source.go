package audit

import (
	"context"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// What a source says about a file that it does not have.
var (
	// ErrMissing: the source does not have the file. For a tile or a bundle, which the ledger's
	// size demands, that is a finding. A source without a checkpoint has nothing that can be
	// audited.
	ErrMissing = errors.New("missing")
	// ErrEmpty: the source has no checkpoint, because its ledger has no entries yet.
	ErrEmpty = errors.New("the ledger is empty")
	// ErrNotSealed: the source has no checkpoint yet, although its ledger has entries.
	ErrNotSealed = errors.New("the ledger has entries, but no checkpoint yet")
)

// Source serves one ledger in the shape of C2SP tlog-tiles. Its methods are
// called from several goroutines. Any other error than those above ends the audit.
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

func (f files) Checkpoint(ctx context.Context) ([]byte, error) { return f(ctx, checkpointPath) }

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

// either returns the partial file, or the full one that has replaced it.
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

// limitOf bounds what is read for a path, in bytes: the largest file that can stand there.
func limitOf(path string) int {
	switch {
	case path == checkpointPath:
		return tlog.MaxNoteSize
	case strings.HasPrefix(path, entriesPrefix):
		return merkle.EntryBundleWidth * (2 + merkle.MaxEntrySize)
	default:
		return merkle.TileWidth * merkle.HashSize
	}
}

const (
	checkpointPath = "checkpoint"
	entriesPrefix  = "tile/entries/"
)

// readBounded reads the file that stands at a path.
func readBounded(r io.Reader, path string) ([]byte, error) {
	limit := limitOf(path)
	raw, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(raw) > limit {
		err = errors.Newf("it is larger than %d bytes, which no such file of a ledger is", limit)
	}
	return raw, err
}

// Dir returns a source that reads a directory laid out as in C2SP tlog-tiles:
// checkpoint, tile/0/000, tile/entries/000, and so on.
func Dir(dir string) Source {
	return files(func(_ context.Context, path string) ([]byte, error) {
		f, err := wholefile.Open(filepath.Join(dir, filepath.FromSlash(path)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrMissing
		}
		if err != nil {
			return nil, errors.Wrap(err, "open file")
		}
		defer f.Close()
		raw, err := readBounded(f, path)
		return raw, errors.Wrapf(err, "read %s", path)
	})
}
