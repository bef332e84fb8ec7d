package signer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	nextFile = "cosigner-next.key" // a second key, while the first one is replaced; absent as a rule
	nameFile = "SIGNER"            // the cosigner's name; its presence says that the directory is a signer's
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

// Signer signs checkpoints with the keys of its directory. It is safe for concurrent use.
type Signer struct {
	dir       string
	lock      *os.File
	cosigners []*tlog.Cosigner // one, or two while the first one is replaced

	mu struct {
		sync.Mutex
		// newest is the newest checkpoint of each ledger. Invariant: what is in it is on disk; no
		// signature has left for a larger size, or for another root of the same size, by any key that
		// the directory has or had: a replica signs one root for a size, with whatever keys.
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
	c, err := readCosigner(dir, keyFile, name)
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

func readCosigner(dir, file, name string) (*tlog.Cosigner, error) {
	key, err := pqcrypto.ReadKeyFile(filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	k, ok := key.(*pqcrypto.SigningKey)
	if !ok {
		return nil, errors.Newf("%s holds a %T, want an ML-DSA-44 signing key", filepath.Join(dir, file), key)
	}
	return tlog.NewCosigner(name, k)
}

// Open reads the keys and the memory of a directory that Init made, and locks it.
func Open(dir string) (*Signer, error) {
	name, err := wholefile.Read(filepath.Join(dir, nameFile), maxMemory)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.Wrap(ErrNotInitialised, dir)
	}
	if err != nil {
		return nil, errors.Wrap(err, "read the signer's name")
	}
	s := &Signer{dir: dir}
	for _, file := range []string{keyFile, nextFile} {
		c, err := readCosigner(dir, file, strings.TrimSuffix(string(name), "\n"))
		if file == nextFile && errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		s.cosigners = append(s.cosigners, c)
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

// Keys returns the keys that verify the signatures: that of cosigner.key first, then the one of
// cosigner-next.key, if there is one.
func (s *Signer) Keys() (keys []*tlog.VerifierKey) {
	for _, c := range s.cosigners {
		keys = append(keys, c.Key())
	}
	return keys
}

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

// Cosign signs a checkpoint with the key of this id, unless the signature would contradict a former
// one, by whichever key. The timestamp is in seconds since the Unix epoch. After a write of the
// memory has failed, nothing is signed any more.
func (s *Signer) Cosign(key uint32, cp tlog.Checkpoint, timestamp uint64) (tlog.Signature, error) {
	i := slices.IndexFunc(s.cosigners, func(c *tlog.Cosigner) bool { return c.Key().KeyID() == key })
	if i < 0 {
		return tlog.Signature{}, errors.Newf("this signer has no key with the id %08x", key)
	}
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
	return s.cosigners[i].Cosign(cp, timestamp)
}
