package local

import (
	"io"
	"os"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
)

func sameFile(a, b string) (bool, error) {
	sa, err := os.Stat(a)
	if err != nil {
		return false, errors.Wrap(err, "find the binary")
	}
	sb, err := os.Stat(b)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, errors.Wrap(err, "find the installed binary")
	}
	return os.SameFile(sa, sb), nil
}

func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return errors.Wrap(err, "open file to copy")
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return errors.Wrap(err, "create copy")
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return errors.Wrap(err, "copy file")
	}
	return errors.Wrap(out.Close(), "copy file")
}

// writeFile writes a file so that a reader sees the old one or the new one.
func writeFile(path string, data []byte, mode os.FileMode) error {
	return errors.Wrap(wholefile.Write(path, data, mode), "write file")
}
