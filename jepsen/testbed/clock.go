package testbed

import (
	"context"
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/errors"
)

// BuildNode compiles the program that the nodes run, into dir. overlay maps files to
// what is compiled in their place; nil for none. With clocks, every node's wall clock
// can be moved; that compiles the standard library anew.
func BuildNode(ctx context.Context, dir string, overlay map[string]string, clocks bool) (path string, err error) {
	path = filepath.Join(dir, "cairn")
	if clocks {
		moved, err := skewOverlay(ctx, dir)
		if err != nil {
			return "", err
		}
		maps.Copy(moved, overlay)
		overlay = moved
	}
	return path, Build(ctx, "github.com/cairnledger/cairn/cmd/cairn", path, overlay)
}

// clock is the file that holds the offset of one node's wall clock.
type clock string

func newClock(nodeDir string) (clock, error) {
	c := clock(filepath.Join(nodeDir, clockName))
	return c, errors.Wrap(os.WriteFile(string(c), make([]byte, 8), 0o644), "make clock")
}

// set moves the clock. A single write of eight bytes: a reader that has the file
// mapped sees the old offset or the new one.
func (c clock) set(offset time.Duration) error {
	f, err := os.OpenFile(string(c), os.O_WRONLY, 0)
	if err != nil {
		return errors.Wrap(err, "set clock")
	}
	defer f.Close()
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(offset)), 0)
	return errors.Wrap(err, "set clock")
}
