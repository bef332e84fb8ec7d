//go:build !unix

package signer

import (
	"os"

	"github.com/cockroachdb/errors"
)

func lock(string) (*os.File, error) {
	return nil, errors.New("a signer does not run on this platform")
}
