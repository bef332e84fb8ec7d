package badgerstore

import (
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"
)

// logHeader is the size in bytes of the header of Badger's logs, those of memtables and of values:
// the number of a data key, 0 for none, and an IV.
const logHeader = 20

// finishLogs gives logs without a byte the header of an empty one. A process that dies between
// creating a log and giving it a size leaves such a file behind, and Badger refuses to open it.
// Nothing was ever written to it.
func finishLogs(dir string) error {
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return errors.Wrap(err, "list logs")
		}
		for _, file := range files {
			info, err := os.Stat(file)
			if err == nil && info.Size() == 0 {
				err = os.Truncate(file, logHeader)
			}
			if err != nil {
				return errors.Wrap(err, "finish a log that a crash left empty")
			}
		}
	}
	return nil
}
