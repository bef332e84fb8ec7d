package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"io"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cockroachdb/errors"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A template is everything that goes into a certificate. The tests fill it with what the product
// never issues.
type template struct {
	serial     []byte // big-endian, positive
	issuer     []byte // DER name
	subject    []byte // DER name
	notBefore  time.Time
	notAfter   time.Time
	spki       []byte
	extensions []extension
	signedWith pqcrypto.SigParams

	rawExtensions []byte // DER in place of extensions; fuzzing only
}

type extension struct {
	oid      asn1.ObjectIdentifier
	critical bool
	value    []byte
}

// randomSerial has 128 random bits (RFC 5280, section 4.1.2.2), the first of them 01 so that it is
// positive and has a fixed length.
func randomSerial() ([]byte, error) {
	serial := make([]byte, 16)
	if _, err := io.ReadFull(rand.Reader, serial); err != nil {
		return nil, errors.Wrap(err, "read random serial number")
	}
	serial[0] = serial[0]&0x3f | 0x40
	return serial, nil
}

// build encodes and signs; sign gets the TBSCertificate.
func (t *template) build(sign func(tbs []byte) ([]byte, error)) ([]byte, error) {
	tbs, err := t.tbs()
	if err != nil {
		return nil, errors.Wrap(err, "encode certificate body")
	}
	sig, err := sign(tbs)
	if err != nil {
		return nil, errors.Wrap(err, "sign certificate")
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		addAlgorithm(b, t.signedWith.OID())
		b.AddASN1BitString(sig)
	})
	return b.Bytes()
}

func (t *template) tbs() ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) }) // v3
		b.AddASN1(cbasn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(t.serial) })
		addAlgorithm(b, t.signedWith.OID())
		b.AddBytes(t.issuer)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, t.notBefore)
			addTime(b, t.notAfter)
		})
		b.AddBytes(t.subject)
		b.AddBytes(t.spki)
		b.AddASN1(cbasn1.Tag(3).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			if t.rawExtensions != nil {
				b.AddBytes(t.rawExtensions)
				return
			}
			b.AddBytes(t.encodeExtensions())
		})
	})
	return b.Bytes()
}

func (t *template) encodeExtensions() []byte {
	return encode(func(b *cryptobyte.Builder) {
		for _, e := range t.extensions {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(e.oid)
				if e.critical {
					b.AddASN1Boolean(true)
				}
				b.AddASN1OctetString(e.value)
			})
		}
	})
}

// addTime follows RFC 5280, section 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050.
func addTime(b *cryptobyte.Builder, t time.Time) {
	t = t.UTC().Truncate(time.Second)
	if t.Year() >= 2050 {
		b.AddASN1GeneralizedTime(t)
		return
	}
	b.AddASN1UTCTime(t)
}

func addAlgorithm(b *cryptobyte.Builder, oid asn1.ObjectIdentifier) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
}

func encode(f func(b *cryptobyte.Builder)) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, f)
	return b.BytesOrPanic()
}

// commonName encodes a distinguished name of one commonName; "" gives the empty name.
func commonName(cn string) []byte {
	return encode(func(b *cryptobyte.Builder) {
		if cn == "" {
			return
		}
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{2, 5, 4, 3})
				b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(cn)) })
			})
		})
	})
}

func uriNames(uris ...string) []byte {
	return encode(func(b *cryptobyte.Builder) {
		for _, u := range uris {
			b.AddASN1(cbasn1.Tag(6).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(u)) })
		}
	})
}

func keyUsages(oids ...asn1.ObjectIdentifier) []byte {
	return encode(func(b *cryptobyte.Builder) {
		for _, oid := range oids {
			b.AddASN1ObjectIdentifier(oid)
		}
	})
}

// basicConstraints encodes cA TRUE; maxPathLen -1 leaves the path length out.
func basicConstraints(maxPathLen int) []byte {
	return encode(func(b *cryptobyte.Builder) {
		b.AddASN1Boolean(true)
		if maxPathLen >= 0 {
			b.AddASN1Int64(int64(maxPathLen))
		}
	})
}

// keyID is method 1 of RFC 7093, section 2: the leftmost 160 bits of the SHA-256 hash of the public
// key bits.
func keyID(raw []byte) []byte {
	h := sha256.Sum256(raw)
	return h[:20]
}

func subjectKeyID(id []byte) extension {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1OctetString(id)
	return extension{oid: oidSubjectKeyID, value: b.BytesOrPanic()}
}

func authorityKeyID(id []byte) extension {
	return extension{oid: oidAuthorityKeyID, value: encode(func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(id) })
	})}
}

func relatedCertificate(svid *Certificate) extension {
	hash := svid.Fingerprint()
	return extension{oid: oidRelated, value: encode(func(b *cryptobyte.Builder) {
		addAlgorithm(b, oidSHA256)
		b.AddASN1OctetString(hash[:])
	})}
}
