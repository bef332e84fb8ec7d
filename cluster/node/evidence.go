package node

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// writeEvidence writes a contradiction into a directory, readable by all since it holds no secret,
// and returns the file's path. The file's name follows from the content, so the same evidence is
// one file. It returns "" for no evidence.
func writeEvidence(dir string, c *tlog.Contradiction, comments ...string) (string, error) {
	if c == nil {
		return "", nil
	}
	sum := sha256.Sum256(c.Marshal())
	path := filepath.Join(dir, "contradiction-"+hex.EncodeToString(sum[:6])+".txt")
	comments = append(comments, "cairn evidence FILE verifies this file: it needs the policy and no network.")
	return path, errors.Wrap(wholefile.WriteSync(path, c.Marshal(comments...), 0o644), "write evidence")
}

// withEvidence adds to a reason to stop where the evidence is.
func withEvidence(reason error, path string, err error) error {
	switch {
	case err != nil:
		return errors.CombineErrors(reason, err)
	case path == "":
		return reason
	}
	return errors.Wrapf(reason, "evidence in %s (cairn evidence FILE names the keys)", path)
}

// keyNames lists names of keys in a sentence.
func keyNames(names []string) string { return strings.Join(names, ", ") }
