package tlog

import (
	"encoding/binary"
	"math"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto"
)

// A Cosigner signs checkpoints with ML-DSA-44: C2SP tlog-cosignature, type
// 0x06. The log's own line is made by one as well, whose name is the origin. It
// signs whatever it is given: that a root is right, and never contradicts one
// signed before, is for the caller to ensure. Safe for concurrent use.
type Cosigner struct {
	key *pqcrypto.SigningKey
	pub *VerifierKey
}

// NewCosigner returns the cosigner with this name and key, which must be an
// ML-DSA-44 key.
func NewCosigner(name string, key *pqcrypto.SigningKey) (*Cosigner, error) {
	pub, err := NewMLDSA44VerifierKey(name, key.Public())
	if err != nil {
		return nil, errors.Wrap(err, "make cosigner")
	}
	return &Cosigner{key: key, pub: pub}, nil
}

// Key returns the key that verifies the cosigner's lines.
func (c *Cosigner) Key() *VerifierKey { return c.pub }

// Cosign returns a signature line for the checkpoint. The timestamp is in
// seconds since the Unix epoch; 0 makes no statement about time. The signature
// is verified before it is returned, so that a fault while signing leaks nothing.
func (c *Cosigner) Cosign(cp Checkpoint, timestamp uint64) (Signature, error) {
	if err := cp.Validate(); err != nil {
		return Signature{}, errors.Wrapf(err, "cosign as %s", c.pub.name)
	}
	if timestamp > math.MaxInt64 {
		return Signature{}, errors.Newf("cosign as %s: timestamp %d is larger than %d", c.pub.name, timestamp, uint64(math.MaxInt64))
	}
	raw, err := c.key.SignStandard(cp.cosignedMessage(c.pub.name, timestamp))
	if err != nil {
		return Signature{}, errors.Wrapf(err, "cosign as %s", c.pub.name)
	}
	data := binary.BigEndian.AppendUint64(make([]byte, 0, timestampSize+len(raw)), timestamp)
	sig := Signature{Name: c.pub.name, KeyID: c.pub.id, Data: append(data, raw...)}
	if _, err := c.pub.VerifyCheckpoint(cp, sig); err != nil {
		return Signature{}, errors.Wrapf(err, "cosign as %s: signature just made does not verify", c.pub.name)
	}
	return sig, nil
}
