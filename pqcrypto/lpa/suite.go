package lpa

import (
	"crypto/tls"
	"strconv"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto"
)

// Suite is one closed choice of every algorithm of the channel. The ALPN token names the suite and
// the protocol version at once, and nothing else is negotiated: two sides with different suites
// never get past the outer TLS handshake.
type Suite struct {
	name  string
	alpn  string
	group tls.CurveID
	kem   pqcrypto.KEMParams
	sig   pqcrypto.SigParams
	// ctSize and sigSize are the exact sizes, in bytes, of the ML-KEM ciphertext and of the ML-DSA
	// signature in M2.
	ctSize  int
	sigSize int
}

var (
	// Suite768 is X25519MLKEM768, ML-KEM-768, ML-DSA-65, SHA-384, AES-256-GCM (NIST category 3).
	Suite768 = &Suite{
		name: "default", alpn: "ledger-lpa1-768", group: tls.X25519MLKEM768,
		kem: pqcrypto.MLKEM768, sig: pqcrypto.MLDSA65, ctSize: 1088, sigSize: 3309,
	}
	// Suite1024 is SecP384r1MLKEM1024, ML-KEM-1024, ML-DSA-87, SHA-384, AES-256-GCM (NIST category
	// 5 parameter sets). The records of the outer TLS stay whatever crypto/tls chooses, usually
	// AES-128-GCM.
	Suite1024 = &Suite{
		name: "cat5", alpn: "ledger-lpa1-1024", group: tls.SecP384r1MLKEM1024,
		kem: pqcrypto.MLKEM1024, sig: pqcrypto.MLDSA87, ctSize: 1568, sigSize: 4627,
	}
)

// ParseSuite returns the suite named "default" or "cat5", the names that configuration files use.
func ParseSuite(name string) (*Suite, error) {
	for _, s := range []*Suite{Suite768, Suite1024} {
		if s.name == name {
			return s, nil
		}
	}
	return nil, errors.Newf("unknown suite %s: want \"default\" or \"cat5\"", strconv.Quote(name))
}

// String returns the suite's name in configuration files.
func (s *Suite) String() string { return s.name }

// ALPN returns the suite's RFC 7301 protocol token.
func (s *Suite) ALPN() string { return s.alpn }

// KEM returns the parameter set that every KEM certificate of the suite must have.
func (s *Suite) KEM() pqcrypto.KEMParams { return s.kem }

// Signature returns the parameter set that every identity certificate of the suite must have.
// Authorities above it may use any set.
func (s *Suite) Signature() pqcrypto.SigParams { return s.sig }
