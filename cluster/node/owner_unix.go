//go:build unix

package node

import (
	"io/fs"
	"os"
	"syscall"

	"github.com/cockroachdb/errors"
)

// checkOwner refuses a file that somebody other than root and the user of this process can change.
func checkOwner(info fs.FileInfo) error {
	if info.Mode().Perm()&0o022 != 0 {
		return errors.Newf("mode %v lets others write: chmod go-w", info.Mode().Perm())
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the owner is unknown")
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return errors.Newf("user %d owns it: root or the node's user (%d) must", st.Uid, os.Geteuid())
	}
	return nil
}
