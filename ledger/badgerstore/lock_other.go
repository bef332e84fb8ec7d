//go:build !unix

package badgerstore

import "github.com/cockroachdb/errors"

// lockShared fails: Badger has no read-only mode on this system.
func lockShared(string) (unlock func(), err error) {
	return nil, errors.New("stores cannot be inspected on this system: copy the data directory to a Linux machine")
}
