//go:build !unix

package backup

import (
	"os"

	"github.com/cockroachdb/errors"
)

func lock(string) (*os.File, error) {
	return nil, errors.New("backups are not made on this platform")
}
