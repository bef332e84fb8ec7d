package report

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/errors"
)

// rawFile is a file beside the report.
type rawFile struct {
	Path string
	Link string // relative, escaped
	Size string
}

const (
	maxFiles     = 200
	maxFileDepth = 3 // folders
)

// listFiles lists what lies beside the report, in the order of names. more is how
// many files there are beyond maxFiles; deeper folders count as one entry.
func listFiles(dir string) (files []rawFile, more int, err error) {
	err = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // went away meanwhile
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || rel == "." || rel == pageName || strings.HasPrefix(rel, pageName+".") {
			return err
		}
		rel = filepath.ToSlash(rel)
		deep := strings.Count(rel, "/") >= maxFileDepth
		if e.IsDir() && !deep {
			return nil
		}
		if len(files) >= maxFiles {
			more++
		} else {
			f := rawFile{Path: rel, Link: link(rel), Size: "folder"}
			if info, err := e.Info(); err == nil && !e.IsDir() {
				f.Size = fileSize(info.Size())
			}
			files = append(files, f)
		}
		if e.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return files, more, errors.Wrap(err, "list files beside the report")
}

// link makes a relative link that cannot be taken for an absolute one.
func link(rel string) string {
	return "./" + (&url.URL{Path: path.Clean(rel)}).EscapedPath()
}

func fileSize(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return digits(float64(n)/1e3) + " kB"
	case n < 1e9:
		return digits(float64(n)/1e6) + " MB"
	}
	return digits(float64(n)/1e9) + " GB"
}
