package pki

import (
	"bytes"
	"encoding/pem"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
)

const (
	certificatePEM = "CERTIFICATE" // RFC 7468, section 5
	// maxPEMFile bounds a file of certificates in bytes: a few dozen roots.
	maxPEMFile = 1 << 20
)

// MarshalPEM encodes certificates as PEM, in the order given; a chain starts with its leaf.
func MarshalPEM(certs ...*Certificate) []byte {
	var out bytes.Buffer
	for _, c := range certs {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: certificatePEM, Bytes: c.Raw}))
	}
	return out.Bytes()
}

// ParseCertificatesPEM reads at least one certificate. Text around the blocks is ignored, other
// kinds of blocks are an error.
func ParseCertificatesPEM(text []byte) ([]*Certificate, error) {
	if len(text) > maxPEMFile {
		return nil, refuse(ReasonMalformed, "certificates have %d bytes, at most %d are allowed", len(text), maxPEMFile)
	}
	var certs []*Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if block.Type != certificatePEM {
			return nil, refuse(ReasonMalformed, "PEM block %d is %q, want %q", len(certs)+1, block.Type, certificatePEM)
		}
		c, err := ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.Wrapf(err, "parse certificate %d", len(certs)+1)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, refuse(ReasonMalformed, "no PEM block %q found", certificatePEM)
	}
	return certs, nil
}

// ReadCertificates reads a PEM file of certificates.
func ReadCertificates(path string) ([]*Certificate, error) {
	text, err := wholefile.Read(path, maxPEMFile)
	if err != nil {
		return nil, errors.Wrap(err, "read certificate file")
	}
	certs, err := ParseCertificatesPEM(text)
	return certs, errors.Wrapf(err, "read %s", path)
}
