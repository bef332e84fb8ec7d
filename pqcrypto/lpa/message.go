package lpa

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// maxIssuers is how many authorities may stand between a leaf and its root, which itself is never
// sent.
const maxIssuers = pki.MaxChain - 2

// status is the verdict of M3. It is authenticated by the MAC, so a client can believe a refusal.
type status byte

const (
	statusAccepted status = iota
	statusCertificate
	statusExpired
	statusSuite
	statusSignature
	statusDenied
	statusEnd // first unassigned value
)

// statusReasons maps a refusal on the wire to the reason word that the server recorded for it.
var statusReasons = [statusEnd]string{
	statusAccepted:    "",
	statusCertificate: ReasonCertificate,
	statusExpired:     ReasonExpired,
	statusSuite:       ReasonSuite,
	statusSignature:   ReasonSignature,
	statusDenied:      ReasonDenied,
}

// statusOf returns the status that tells a client about a refusal with the given reason; ok is
// false for reasons that are never told, because nothing authenticated has happened yet.
func statusOf(reason string) (s status, ok bool) {
	for s := statusAccepted + 1; s < statusEnd; s++ {
		if statusReasons[s] == reason {
			return s, true
		}
	}
	return 0, false
}

// appendCertificates encodes count(1) and then, for each certificate, length(3, big endian) ‖ DER.
func appendCertificates(dst []byte, certs [][]byte) []byte {
	dst = append(dst, byte(len(certs)))
	for _, der := range certs {
		dst = append(dst, byte(len(der)>>16), byte(len(der)>>8), byte(len(der)))
		dst = append(dst, der...)
	}
	return dst
}

// parseCertificates decodes between minimum and maximum certificates and returns what follows them.
// The results alias b.
func parseCertificates(b []byte, minimum, maximum int) (certs [][]byte, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errors.New("parse certificate list: empty")
	}
	n := int(b[0])
	if n < minimum || n > maximum {
		return nil, nil, errors.Newf("parse certificate list: %d certificates, want %d to %d", n, minimum, maximum)
	}
	b = b[1:]
	certs = make([][]byte, 0, n)
	for i := range n {
		if len(b) < 3 {
			return nil, nil, errors.Newf("parse certificate %d of %d: truncated length", i+1, n)
		}
		size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		b = b[3:]
		if size == 0 || size > len(b) {
			return nil, nil, errors.Newf("parse certificate %d of %d: length %d, %d bytes left", i+1, n, size, len(b))
		}
		certs = append(certs, b[:size:size])
		b = b[size:]
	}
	return certs, b, nil
}

// serverIdentity is the body of M1. Both leaves have the same issuers: a node's two certificates
// are issued together.
type serverIdentity struct {
	kem     []byte
	svid    []byte
	issuers [][]byte
}

func (m *serverIdentity) marshal() []byte {
	return appendCertificates(nil, append([][]byte{m.kem, m.svid}, m.issuers...))
}

func parseServerIdentity(body []byte) (*serverIdentity, error) {
	certs, rest, err := parseCertificates(body, 2, 2+maxIssuers)
	if err != nil {
		return nil, fail(ReasonFrame, errors.Wrap(err, "parse M1"))
	}
	if len(rest) != 0 {
		return nil, fail(ReasonFrame, errors.Newf("parse M1: %d trailing bytes", len(rest)))
	}
	return &serverIdentity{kem: certs[0], svid: certs[1], issuers: certs[2:]}, nil
}

// chain returns leaf ‖ issuers, the form in which a path is validated.
func (m *serverIdentity) chain(leaf []byte) [][]byte {
	return append([][]byte{leaf}, m.issuers...)
}

// splitClientProof cuts the body of M2 into the ML-KEM ciphertext and the sealed proof.
func splitClientProof(s *Suite, body []byte) (ct, sealed []byte, err error) {
	// The smallest proof: one certificate of one byte, a signature and the GCM tag.
	if shortest := s.ctSize + 1 + 3 + 1 + s.sigSize + gcmTag; len(body) < shortest {
		return nil, nil, fail(ReasonFrame, errors.Newf("parse M2: body of %d bytes, want at least %d", len(body), shortest))
	}
	return body[:s.ctSize:s.ctSize], body[s.ctSize:], nil
}

// clientProof is the plaintext inside M2.
type clientProof struct {
	chain     [][]byte
	encoded   []byte // the chain as it was encoded: the bytes that the signature covers
	signature []byte
}

func parseClientProof(s *Suite, plaintext []byte) (*clientProof, error) {
	chain, rest, err := parseCertificates(plaintext, 1, 1+maxIssuers)
	if err != nil {
		return nil, fail(ReasonFrame, errors.Wrap(err, "parse M2"))
	}
	if len(rest) != s.sigSize {
		return nil, fail(ReasonFrame, errors.Newf("parse M2: signature of %d bytes, want %d", len(rest), s.sigSize))
	}
	return &clientProof{chain: chain, encoded: plaintext[:len(plaintext)-len(rest)], signature: rest}, nil
}

// serverFinished is the body of M3: status(1) ‖ mac(48).
type serverFinished struct {
	status status
	mac    []byte
}

func (m *serverFinished) marshal() []byte { return append([]byte{byte(m.status)}, m.mac...) }

func parseServerFinished(body []byte) (*serverFinished, error) {
	if len(body) != 1+macSize {
		return nil, fail(ReasonFrame, errors.Newf("parse M3: body of %d bytes, want %d", len(body), 1+macSize))
	}
	return &serverFinished{status: status(body[0]), mac: body[1:]}, nil
}
