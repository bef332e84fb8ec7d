package signer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// The files of a signer's directory, besides those of its memory.
const (
	keyFile  = "cosigner.key"
	nameFile = "SIGNER" // the cosigner's name; its presence says that the directory is a signer's
	lockFile = "LOCK"
)

var (
	// ErrNotInitialised says that a directory is not a signer's.
	ErrNotInitialised = errors.New("not a signer's directory")
	// ErrInitialised says that a directory is a signer's already.
	ErrInitialised = errors.New("the directory is a signer's already")
	// ErrLocked says that another process signs with the directory.
	ErrLocked = errors.New("another process signs with this directory")
	// ErrContradiction is matched when a signature would contradict one that the signer has given.
	ErrContradiction = errors.New("the signature would contradict a former one")
)

// Signer signs checkpoints with the key of its directory. It is safe for concurrent use.
type Signer struct {
	dir      string
	lock     *os.File
	cosigner *tlog.Cosigner

	mu struct {
		sync.Mutex
		// newest is the newest checkpoint of each ledger. Invariant: what is in it is on disk; no
		// signature has left for a larger size, or for another root of the same size.
		newest map[string]signed
		// broken is why the memory may differ from the disk; nothing is signed any more.
		broken error
	}
}

// Init makes a directory that holds the key file cosigner.key a signer's. name is the cosigner's, as
// in members[].cosigner of node.yaml. It is done once: a signer that begins anew has forgotten what
// it signed.
func Init(dir, name string) (*tlog.VerifierKey, error) {
	path := filepath.Join(dir, nameFile)
	if _, err := os.Lstat(path); err == nil {
		return nil, errors.Wrap(ErrInitialised, dir)
	}
	c, err := readCosigner(dir, name)
	if err != nil {
		return nil, err
	}
	memory, err := recall(dir)
	if err == nil && len(memory) > 0 {
		err = errors.Wrapf(ErrInitialised, "%s remembers signatures", dir)
	}
	if err != nil {
		return nil, err
	}
	return c.Key(), errors.Wrap(wholefile.WriteSync(path, []byte(name+"\n"), 0o644), "make the signer's directory")
}

func readCosigner(dir, name string) (*tlog.Cosigner, error) {
	key, err := pqcrypto.ReadKeyFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	k, ok := key.(*pqcrypto.SigningKey)
	if !ok {
		return nil, errors.Newf("%s holds a %T, want an ML-DSA-44 signing key", filepath.Join(dir, keyFile), key)
	}
	return tlog.NewCosigner(name, k)
}

// Open reads the key and the memory of a directory that Init made, and locks it.
func Open(dir string) (*Signer, error) {
	name, err := wholefile.Read(filepath.Join(dir, nameFile), maxMemory)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.Wrap(ErrNotInitialised, dir)
	}
	if err != nil {
		return nil, errors.Wrap(err, "read the signer's name")
	}
	s := &Signer{dir: dir}
	if s.cosigner, err = readCosigner(dir, strings.TrimSuffix(string(name), "\n")); err != nil {
		return nil, err
	}
	if s.lock, err = lock(filepath.Join(dir, lockFile)); err != nil {
		return nil, err
	}
	if s.mu.newest, err = recall(dir); err != nil {
		return nil, errors.CombineErrors(err, s.Close())
	}
	return s, nil
}

// Close unlocks the directory. Nothing is signed afterwards.
func (s *Signer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.broken == nil {
		s.mu.broken = errors.New("the signer is closed")
	}
	return s.lock.Close()
}

// Key returns the key that verifies the signatures.
func (s *Signer) Key() *tlog.VerifierKey { return s.cosigner.Key() }

// Ledgers returns of how many ledgers the signer has signed checkpoints.
func (s *Signer) Ledgers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.newest)
}

// contradictionError names what the signer has signed.
type contradictionError struct{ asked, former signed }

func (e *contradictionError) Error() string {
	if e.asked.size == e.former.size {
		return fmt.Sprintf("this signer has signed root %s for size %d of %s, and does not sign root %s", e.former.root, e.former.size, e.asked.origin, e.asked.root)
	}
	return fmt.Sprintf("this signer has signed size %d of %s, and does not sign size %d", e.former.size, e.asked.origin, e.asked.size)
}

// Is makes every contradictionError match ErrContradiction.
func (e *contradictionError) Is(target error) bool { return target == ErrContradiction }

// Cosign signs a checkpoint, unless the signature would contradict a former one. The timestamp is in
// seconds since the Unix epoch. After a write of the memory has failed, nothing is signed any more.
func (s *Signer) Cosign(cp tlog.Checkpoint, timestamp uint64) (tlog.Signature, error) {
	if err := cp.Validate(); err != nil {
		return tlog.Signature{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.broken != nil {
		return tlog.Signature{}, s.mu.broken
	}
	next, former := signed{cp.Origin, cp.Size, cp.Root}, s.mu.newest[cp.Origin]
	if next.size < former.size || next.size == former.size && former.origin != "" && next.root != former.root {
		return tlog.Signature{}, errors.WithStack(&contradictionError{asked: next, former: former})
	}
	if next != former {
		if err := remember(s.dir, next); err != nil {
			s.mu.broken = errors.Wrap(err, "the signer has stopped signing")
			return tlog.Signature{}, s.mu.broken
		}
		s.mu.newest[cp.Origin] = next
	}
	return s.cosigner.Cosign(cp, timestamp)
}
