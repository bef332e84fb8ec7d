package zoo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/errors"
)

// Apply returns the files that the bug changes, by name, as they are with it. root
// is the module's directory. An error says which text does not occur exactly once.
func (b *Bug) Apply(root string) (map[string][]byte, error) {
	texts := map[string]string{}
	for i, e := range b.Edits {
		text, ok := texts[e.File]
		if !ok {
			raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.File)))
			if err != nil {
				return nil, errors.Wrapf(err, "apply %s", b.Name)
			}
			text = "\n" + string(raw)
		}
		if n := strings.Count(text, "\n"+e.Old); n != 1 {
			return nil, errors.Newf("apply %s: the text of replacement %d occurs %d times in %s, want once:\n%s", b.Name, i+1, n, e.File, e.Old)
		}
		texts[e.File] = strings.Replace(text, "\n"+e.Old, "\n"+e.New, 1)
	}
	out := map[string][]byte{}
	for file, text := range texts {
		out[file] = []byte(text[1:])
	}
	return out, nil
}

// Overlay writes the changed files to dir. It returns them by the names of the files
// in whose place they are to be compiled. root is the module's directory; "" looks
// for it from the working directory up.
func (b *Bug) Overlay(root, dir string) (map[string]string, error) {
	if root == "" {
		var err error
		if root, err = moduleRoot(); err != nil {
			return nil, err
		}
	}
	changed, err := b.Apply(root)
	if err != nil {
		return nil, err
	}
	overlay := map[string]string{}
	for file, text := range changed {
		// One flat directory: names only have to differ.
		to := filepath.Join(dir, fmt.Sprintf("%d-%s", len(overlay), filepath.Base(file)))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return nil, errors.Wrapf(err, "write overlay of %s", b.Name)
		}
		overlay[filepath.Join(root, filepath.FromSlash(file))] = to
	}
	return overlay, nil
}
