package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"slices"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/pqcrypto"
)

const (
	revocationPEM = "X509 CRL" // RFC 7468, section 6
	// maxRevocationFile bounds a file of revocation lists in bytes: some hundred thousand entries.
	maxRevocationFile = 16 << 20
)

var oidCRLNumber = asn1.ObjectIdentifier{2, 5, 29, 20}

// A RevocationList names the serial numbers of certificates that one authority has revoked: a CRL of
// RFC 5280, section 5, version 2, complete, without extensions of its entries, signed as RFC 9881
// says. It must not be changed.
type RevocationList struct {
	Raw        []byte // complete DER
	Issuer     string // distinguished name of the authority
	Number     uint64 // grows with every list of the authority
	ThisUpdate time.Time
	// NextUpdate is when the authority has issued another list at the latest. A list remains in force
	// afterwards.
	NextUpdate time.Time
	Serials    []*big.Int // ascending, no duplicates

	signedWith     pqcrypto.SigParams
	tbs, signature []byte
	rawIssuer      []byte
	authorityKeyID []byte
}

// A RevocationRequest asks for a revocation list.
type RevocationRequest struct {
	Number   uint64     // greater than that of every list before
	Serials  []*big.Int // all revoked certificates of the authority, those of the list before included
	Validity time.Duration
	Now      time.Time // zero means the present
}

// IssueRevocationList issues a list of what the authority has revoked.
func (a *Authority) IssueRevocationList(r RevocationRequest) (*RevocationList, error) {
	own := a.Certificate()
	switch {
	case r.Number == 0 || r.Number > 1<<63-1:
		return nil, refuse(ReasonIssueRequest, "number %d of a revocation list is out of range", r.Number)
	case r.Validity < time.Second:
		return nil, refuse(ReasonIssueRequest, "validity %v is too short", r.Validity)
	}
	if r.Now.IsZero() {
		r.Now = time.Now()
	}
	serials := slices.Clone(r.Serials)
	slices.SortFunc(serials, (*big.Int).Cmp)
	serials = slices.CompactFunc(serials, func(a, b *big.Int) bool { return a.Cmp(b) == 0 })
	tbs := encode(func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1) // v2
		addAlgorithm(b, a.key.Params().OID())
		b.AddBytes(own.rawSubject)
		addTime(b, r.Now)
		addTime(b, r.Now.Add(r.Validity))
		if len(serials) > 0 { // absent when there are none
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, serial := range serials {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1BigInt(serial)
						addTime(b, r.Now)
					})
				}
			})
		}
		b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			number := cryptobyte.NewBuilder(nil)
			number.AddASN1Int64(int64(r.Number))
			t := template{extensions: []extension{authorityKeyID(own.subjectKeyID), {oid: oidCRLNumber, value: number.BytesOrPanic()}}}
			b.AddBytes(t.encodeExtensions())
		})
	})
	sig, err := a.key.SignStandard(tbs)
	if err != nil {
		return nil, errors.Wrap(err, "sign revocation list")
	}
	l, err := ParseRevocationList(encode(func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		addAlgorithm(b, a.key.Params().OID())
		b.AddASN1BitString(sig)
	}))
	if err == nil {
		err = l.checkSignature(own)
	}
	return l, errors.Wrap(err, "check issued revocation list")
}

// ParseRevocationList reads one DER list and checks its form, and not its signature: that is the job
// of [Pool.WithRevocations].
func ParseRevocationList(der []byte) (*RevocationList, error) {
	std, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, refuse(ReasonMalformed, "%v", err)
	}
	l := &RevocationList{
		Raw: bytes.Clone(der), Issuer: std.Issuer.String(), ThisUpdate: std.ThisUpdate, NextUpdate: std.NextUpdate,
		tbs: std.RawTBSRevocationList, signature: std.Signature, rawIssuer: std.RawIssuer, authorityKeyID: std.AuthorityKeyId,
	}
	if std.Number == nil || std.Number.Sign() <= 0 || !std.Number.IsInt64() {
		return nil, refuse(ReasonExtension, "the number of a revocation list is missing or out of range")
	}
	if l.Number = std.Number.Uint64(); len(l.authorityKeyID) == 0 {
		return nil, refuse(ReasonExtension, "authority key identifier is missing")
	}
	if l.NextUpdate.Before(l.ThisUpdate) {
		return nil, refuse(ReasonMalformed, "a revocation list ends before it begins, or has no end")
	}
	for _, e := range std.Extensions {
		if !e.Id.Equal(oidCRLNumber) && !e.Id.Equal(oidAuthorityKeyID) {
			return nil, refuse(ReasonExtension, "a revocation list has the extension %s", e.Id)
		}
	}
	for _, e := range std.RevokedCertificateEntries {
		// An entry for another issuer, or one that takes a certificate off the list, would say so in
		// an extension.
		if len(e.Extensions) > 0 {
			return nil, refuse(ReasonExtension, "the entry of serial number %x has extensions", e.SerialNumber)
		}
		if n := len(l.Serials); n > 0 && l.Serials[n-1].Cmp(e.SerialNumber) >= 0 {
			return nil, refuse(ReasonMalformed, "serial numbers of a revocation list are not ascending")
		}
		l.Serials = append(l.Serials, e.SerialNumber)
	}
	return l, l.readAlgorithms()
}

// readAlgorithms reads what crypto/x509 keeps to itself, and is stricter about it.
func (l *RevocationList) readAlgorithms() error {
	input := cryptobyte.String(l.Raw)
	var list, tbs cryptobyte.String
	if !input.ReadASN1(&list, cbasn1.SEQUENCE) || !input.Empty() || !list.ReadASN1(&tbs, cbasn1.SEQUENCE) || !tbs.SkipASN1(cbasn1.INTEGER) {
		return refuse(ReasonMalformed, "not a revocation list of version 2, or trailing bytes")
	}
	inner, err := readSignatureAlgorithm(&tbs)
	if err != nil {
		return err
	}
	outer, err := readSignatureAlgorithm(&list)
	if err != nil {
		return err
	}
	if inner != outer {
		return refuse(ReasonAlgorithm, "signature algorithm is %s inside and %s outside", inner, outer)
	}
	l.signedWith = outer
	return nil
}

// issuedBy reports whether the list claims to be the authority's.
func (l *RevocationList) issuedBy(authority *Certificate) bool {
	return bytes.Equal(l.rawIssuer, authority.rawSubject) && bytes.Equal(l.authorityKeyID, authority.subjectKeyID)
}

func (l *RevocationList) checkSignature(authority *Certificate) error {
	key := authority.VerifyingKey()
	switch {
	case !authority.IsCA || !authority.crlSign:
		return refuse(ReasonKeyUsage, "%s may not sign revocation lists", authority.name())
	case l.signedWith != key.Params():
		return refuse(ReasonAlgorithm, "revocation list of %s is signed with %s, the authority's key is %s", l.Issuer, l.signedWith, key.Params())
	case !key.VerifyStandard(l.tbs, l.signature):
		return refuse(ReasonSignature, "signature of the revocation list of %s does not verify", l.Issuer)
	}
	return nil
}

// IssuedBy checks that the list is an authority's own.
func (l *RevocationList) IssuedBy(authority *Certificate) error {
	if !l.issuedBy(authority) {
		return refuse(ReasonChain, "revocation list is of %s, not of %s", l.Issuer, authority.name())
	}
	return l.checkSignature(authority)
}

// Revocations are the content of a file: lists, and the issuing authorities that signed them.
type Revocations struct {
	Lists       []*RevocationList
	Authorities []*Certificate
}

// MarshalPEM encodes the file.
func (r *Revocations) MarshalPEM() []byte {
	out := MarshalPEM(r.Authorities...)
	for _, l := range r.Lists {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: revocationPEM, Bytes: l.Raw})...)
	}
	return out
}

// ParseRevocationsPEM reads revocation lists, at least one, and certificates of authorities. Text
// around the blocks is ignored, other kinds of blocks are an error.
func ParseRevocationsPEM(text []byte) (*Revocations, error) {
	r := &Revocations{}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		switch block.Type {
		case revocationPEM:
			l, err := ParseRevocationList(block.Bytes)
			if err != nil {
				return nil, errors.Wrapf(err, "parse revocation list %d", len(r.Lists)+1)
			}
			r.Lists = append(r.Lists, l)
		case certificatePEM:
			c, err := ParseCertificate(block.Bytes)
			if err == nil && !c.IsCA {
				err = refuse(ReasonKind, "%s is no authority", c.name())
			}
			if err != nil {
				return nil, errors.Wrapf(err, "parse certificate %d", len(r.Authorities)+1)
			}
			r.Authorities = append(r.Authorities, c)
		default:
			return nil, refuse(ReasonMalformed, "PEM block is %q, want %q or %q", block.Type, revocationPEM, certificatePEM)
		}
	}
	if len(r.Lists) == 0 {
		return nil, refuse(ReasonMalformed, "no PEM block %q found", revocationPEM)
	}
	return r, nil
}

// ReadRevocations reads a PEM file of revocation lists.
func ReadRevocations(path string) (*Revocations, error) {
	text, err := wholefile.Read(path, maxRevocationFile)
	if err != nil {
		return nil, errors.Wrap(err, "read revocation lists")
	}
	r, err := ParseRevocationsPEM(text)
	return r, errors.Wrapf(err, "read %s", path)
}

// authorityName tells authorities apart: subject and key identifier.
type authorityName struct{ subject, keyID string }

func nameOf(authority *Certificate) authorityName {
	return authorityName{string(authority.rawSubject), string(authority.subjectKeyID)}
}

// revoked are the lists that a pool goes by.
type revoked struct {
	lists   []*RevocationList
	serials map[authorityName]map[string]bool // decimal
}

// WithRevocations returns a pool that refuses what the lists name, on every certificate of a path
// below the root. Each list must be signed by a root of the pool, or by an authority of r that a root
// has issued; there is one list of an authority at most. Whether the authority or the list has ended
// doesn't matter: what is revoked stays revoked.
func (p *Pool) WithRevocations(r *Revocations) (*Pool, error) {
	out := &Pool{roots: p.roots, revoked: revoked{serials: map[authorityName]map[string]bool{}}}
	authorities := p.Roots()
	for _, c := range r.Authorities {
		if _, known := p.known(c); known {
			continue
		}
		root, err := p.findRoot(c)
		if err != nil {
			return nil, err
		}
		if err := checkSignature(c, root); err != nil {
			return nil, err
		}
		authorities = append(authorities, c)
	}
	for _, l := range r.Lists {
		i := slices.IndexFunc(authorities, l.issuedBy)
		if i < 0 {
			return nil, refuse(ReasonUnknownRoot, "revocation list of %s: the authority is no known root, and its certificate is not beside the list", l.Issuer)
		}
		if err := l.checkSignature(authorities[i]); err != nil {
			return nil, err
		}
		name := nameOf(authorities[i])
		if out.revoked.serials[name] != nil {
			return nil, refuse(ReasonMalformed, "there are two revocation lists of %s", l.Issuer)
		}
		out.revoked.serials[name] = map[string]bool{}
		for _, serial := range l.Serials {
			out.revoked.serials[name][serial.String()] = true
		}
		out.revoked.lists = append(out.revoked.lists, l)
	}
	return out, nil
}

func (p *Pool) known(c *Certificate) (*Certificate, bool) {
	for _, r := range p.roots {
		if r.Equal(c) {
			return r, true
		}
	}
	return nil, false
}

// RevocationLists returns the lists that the pool goes by.
func (p *Pool) RevocationLists() []*RevocationList { return slices.Clone(p.revoked.lists) }

// CheckNotOlder says which list of the pool is missing from a pool that is to take its place, or has
// a smaller number there, or another content under the same number. Whoever can bring back an older
// list brings back what was revoked since.
func (p *Pool) CheckNotOlder(next *Pool) error {
	for _, l := range p.revoked.lists {
		i := slices.IndexFunc(next.revoked.lists, func(o *RevocationList) bool {
			return bytes.Equal(o.rawIssuer, l.rawIssuer) && bytes.Equal(o.authorityKeyID, l.authorityKeyID)
		})
		if i < 0 {
			return errors.Newf("the revocation list of %s, number %d, is in force and missing now", l.Issuer, l.Number)
		}
		if o := next.revoked.lists[i]; o.Number < l.Number || o.Number == l.Number && !bytes.Equal(o.Raw, l.Raw) {
			return errors.Newf("the revocation list of %s has the number %d, the one in force has %d", l.Issuer, o.Number, l.Number)
		}
	}
	return nil
}

// check refuses what the lists name. path starts with the leaf and ends with the root.
func (r revoked) check(path []*Certificate) error {
	for i, c := range path[:len(path)-1] {
		if r.serials[nameOf(path[i+1])][c.SerialNumber.String()] {
			return refuse(ReasonRevoked, "%s, serial number %x, is revoked by %s", c.name(), c.SerialNumber, path[i+1].name())
		}
	}
	return nil
}
