package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
)

// numbers are those in the names of files.
var numbers = regexp.MustCompile(`\b\d{4,}\b`)

// documentedFile is a row of the table "Files of a node" in docs/operations.md.
type documentedFile struct {
	path string
	// says is what the log says last when the node stops; "" when the node makes it good by itself.
	says string
}

// documentedFiles reads the table.
func documentedFiles(t *testing.T) (files []documentedFile) {
	t.Helper()
	page := string(readFile(t, filepath.Join("..", "docs", "operations.md")))
	_, page, _ = strings.Cut(page, "\n## Files of a node\n")
	page, _, _ = strings.Cut(page, "\n## ")
	quoted := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(page) {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 || !strings.HasPrefix(line, "| `") {
			continue
		}
		says := ""
		if !strings.HasPrefix(cells[2], "by itself") {
			says = quoted.FindStringSubmatch(cells[2])[1]
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[0], -1) {
			files = append(files, documentedFile{m[1], says})
		}
	}
	return files
}

// TestFilesOfANode: what docs/operations.md says of each file of a node that is gone or damaged at a
// start. Either the node is ready without a hand, or the end of its log says what to do, and that
// helps.
func TestFilesOfANode(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	cl := dial(t, c, "writer")
	for i := range 100 {
		if _, err := cl.Append(t.Context(), client.Entry{Key: fmt.Appendf(nil, "%d", i), Payload: []byte("small")}, client.Sealed()); err != nil {
			t.Fatal(err)
		}
	}
	files := documentedFiles(t)
	if len(files) < 15 {
		t.Fatalf("docs/operations.md has %d files of a node", len(files))
	}
	documented := map[string]bool{}
	for _, f := range files {
		documented[numbers.ReplaceAllString(f.path, "*")] = true
	}
	stop := func() {
		t.Helper()
		if err := c.Stop(t.Context(), "n1"); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	skipped := 0
	err := filepath.WalkDir(c.NodeDir("n1"), func(path string, d os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(c.NodeDir("n1"), path); err == nil && !d.IsDir() && !documented[numbers.ReplaceAllString(rel, "*")] {
			t.Errorf("docs/operations.md does not say what helps when %s is damaged", rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		for what, damage := range map[string]func(path string, good []byte) error{
			"gone": func(path string, _ []byte) error { return os.Remove(path) },
			"damaged": func(path string, good []byte) error {
				if len(good) == 0 {
					return nil
				}
				bad := append([]byte(nil), good...)
				used := bytes.TrimRight(bad, "\x00") // logs are filled with zeros ahead
				bad[len(used)*2/5] ^= 4
				return os.WriteFile(path, bad, 0o600)
			},
		} {
			path := filepath.Join(c.NodeDir("n1"), f.path)
			if same, _ := filepath.Glob(numbers.ReplaceAllString(path, "*")); len(same) > 0 && strings.Contains(path, "/ledger/") {
				path = same[0]
			}
			good, err := os.ReadFile(path)
			if errors.Is(err, os.ErrNotExist) && f.says == "" { // Badger has no use for it now
				skipped++
				continue
			}
			if err == nil {
				err = damage(path, good)
			}
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err = c.Start(ctx, "n1")
			cancel()
			switch {
			case f.says == "" && err != nil:
				t.Fatalf("%s is %s: %v", f.path, what, err)
			case f.says != "" && err == nil:
				t.Errorf("%s is %s, and the node is ready", f.path, what)
			case f.says != "":
				lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
				if last := lines[len(lines)-1]; !strings.Contains(last, f.says) {
					t.Errorf("%s is %s: the log ends with\n%s\nwant %q", f.path, what, last, f.says)
				}
				if err := os.WriteFile(path, good, 0o600); err != nil {
					t.Fatal(err)
				}
				start(t, c, "n1")
			}
			if status, _ := bundle(t, c, "n1"); status != 404 && status != 200 {
				t.Errorf("%s was %s: n1 answers %d", f.path, what, status)
			}
			stop()
		}
	}
	if skipped > 4 {
		t.Errorf("%d times there was no file", skipped)
	}
}
