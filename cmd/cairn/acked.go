package main

import (
	"crypto/sha256"
	"sync"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger"
)

// acked remembers what the ledger has acknowledged: each of these entries must
// be at its index for ever. Safe for concurrent use.
type acked struct {
	mu      sync.Mutex
	digests map[uint64][sha256.Size]byte // of key and payload, by index
}

func newAcked() *acked { return &acked{digests: map[uint64][sha256.Size]byte{}} }

func entryDigest(key, payload []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte{byte(len(key))})
	h.Write(key)
	h.Write(payload)
	return [sha256.Size]byte(h.Sum(nil))
}

// add records an acknowledgement. Two entries at one index are an error.
func (a *acked) add(index uint64, e client.Entry) error {
	digest := entryDigest(e.Key, e.Payload)
	a.mu.Lock()
	defer a.mu.Unlock()
	if have, ok := a.digests[index]; ok && have != digest {
		return failf(exitRefused, "", "index %d was acknowledged for two different entries", index)
	}
	a.digests[index] = digest
	return nil
}

func (a *acked) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.digests)
}

// checker goes through a replica's entries in order and counts the acknowledged
// ones. It also wants no key to be there twice: a retry must not append again.
type checker struct {
	acked *acked
	found int
	keys  map[string]uint64
}

func (a *acked) checker() *checker { return &checker{acked: a, keys: map[string]uint64{}} }

func (c *checker) leaf(index uint64, leaf []byte) error {
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		return err
	}
	if first, ok := c.keys[string(e.Key)]; ok && len(e.Key) > 0 {
		return errors.Newf("its key %q is at index %d already: appended twice", e.Key, first)
	}
	c.keys[string(e.Key)] = index
	c.acked.mu.Lock()
	want, ok := c.acked.digests[index]
	c.acked.mu.Unlock()
	if !ok {
		return nil // its writer was not told: it may be there or not
	}
	if entryDigest(e.Key, e.Body) != want {
		return errors.New("another entry was acknowledged at this index")
	}
	c.found++
	return nil
}
