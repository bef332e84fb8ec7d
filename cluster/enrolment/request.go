package enrolment

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"path"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/pqcrypto/seal"
)

// The request file, version 1: text of the lines below, each a word, a blank and a value, in this
// order. A line whose value is empty is left out. Keys are SubjectPublicKeyInfo in base64.
//
//	cairn request v1
//	kind      node, client or authority
//	name      1 to 63 of [a-zA-Z0-9._-]
//	cluster   16 hexadecimal digits; a node of a cluster that exists
//	suite     default or cat5
//	peer, api, http   host:port; a new node: of a cluster that is to be founded, or that it joins
//	key       ML-DSA, the key that is to be certified
//	kem       ML-KEM; nodes
//	cosigner  ML-DSA-44; a new node
//	sealing   X-Wing; likewise
//	signed          by key, over all lines before, context "cairn request v1"
//	cosigner-signed by cosigner, over the same bytes in the same context
const (
	requestMagic = "cairn request v1"
	maxRequest   = 64 << 10
	maxName      = 63
)

// A Kind is what a request asks a certificate for.
type Kind string

// The kinds.
const (
	Node      Kind = "node"      // an identity with the role peer, and its KEM companion
	Client    Kind = "client"    // an identity
	Authority Kind = "authority" // an issuing authority below the root
)

// A Request is a parsed request whose signatures have been verified. It must not be changed.
type Request struct {
	Kind    Kind
	Name    string
	Cluster pki.ClusterID // 0: the cluster is to be founded, or the kind belongs to none
	Suite   string
	// Peer, API and HTTP are where a new node will listen, host:port; empty for others.
	Peer, API, HTTP string

	Key      *pqcrypto.VerifyingKey
	KEM      *pqcrypto.EncapsulationKey // nodes only
	Cosigner *pqcrypto.VerifyingKey     // new nodes only
	Sealing  *seal.PublicKey            // likewise

	raw []byte
}

// Fingerprint is the SHA-256 hash of the request file. The operator of the authority compares it
// with what the machine showed.
func (r *Request) Fingerprint() [sha256.Size]byte { return sha256.Sum256(r.raw) }

// Founding reports whether the request is one of a node of a cluster that is to be founded.
func (r *Request) Founding() bool { return r.Kind == Node && r.Cosigner != nil && r.Cluster == 0 }

// Joining reports whether the request is one of a new node of a cluster that exists.
func (r *Request) Joining() bool { return r.Kind == Node && r.Cosigner != nil && r.Cluster != 0 }

// field is one line of a request.
type field struct{ word, value string }

// fields are the lines before the signatures.
func (r *Request) fields() ([]field, error) {
	f := []field{{"kind", string(r.Kind)}, {"name", r.Name}}
	if r.Cluster != 0 {
		f = append(f, field{"cluster", r.Cluster.String()})
	}
	f = append(f, field{"suite", r.Suite}, field{"peer", r.Peer}, field{"api", r.API}, field{"http", r.HTTP})
	keys := []struct {
		word    string
		key     any
		present bool
	}{{"key", r.Key, r.Key != nil}, {"kem", r.KEM, r.KEM != nil}, {"cosigner", r.Cosigner, r.Cosigner != nil}, {"sealing", r.Sealing, r.Sealing != nil}}
	for _, k := range keys {
		if !k.present {
			continue
		}
		der, err := pqcrypto.MarshalPublicKeyDER(k.key)
		if err != nil {
			return nil, err
		}
		f = append(f, field{k.word, base64.StdEncoding.EncodeToString(der)})
	}
	return f, nil
}

// statement is what the signatures cover.
func (r *Request) statement() ([]byte, error) {
	fields, err := r.fields()
	if err != nil {
		return nil, err
	}
	return appendLines([]byte(requestMagic+"\n"), fields...), nil
}

func appendLines(b []byte, fields ...field) []byte {
	for _, f := range fields {
		if f.value != "" {
			b = append(b, f.word+" "+f.value+"\n"...)
		}
	}
	return b
}

// ReadFile reads and parses a request file.
func ReadFile(file string) (*Request, error) {
	text, err := wholefile.Read(file, maxRequest)
	if err != nil {
		return nil, errors.Wrap(err, "read request")
	}
	r, err := Parse(text)
	return r, errors.Wrapf(err, "request %s", file)
}

// Parse reads a request, and verifies its signatures. It accepts only the bytes that [Make] writes
// for the same content.
func Parse(text []byte) (*Request, error) {
	if len(text) > maxRequest {
		return nil, errors.Newf("it has %d bytes, at most %d are allowed", len(text), maxRequest)
	}
	rest, ok := strings.CutPrefix(string(text), requestMagic+"\n")
	if !ok {
		return nil, errors.Newf("the first line is not %q: `cairn node keys` and `cairn pki request` write requests", requestMagic)
	}
	r := &Request{raw: bytes.Clone(text)}
	var signed, cosignerSigned []byte
	for line := range strings.Lines(rest) {
		word, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var err error
		switch word {
		case "signed":
			signed, err = base64.StdEncoding.Strict().DecodeString(value)
		case "cosigner-signed":
			cosignerSigned, err = base64.StdEncoding.Strict().DecodeString(value)
		default:
			err = r.set(word, value)
		}
		if err != nil {
			return nil, errors.Wrapf(err, "line %q", word)
		}
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	statement, err := r.statement()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(r.marshal(statement, signed, cosignerSigned), text) {
		return nil, errors.New("a line is repeated, out of order or not in its canonical form")
	}
	if !r.Key.Verify(pqcrypto.ContextRequest, statement, signed) {
		return nil, errors.New("the signature of its key does not verify: it was changed, or the transfer damaged it")
	}
	if r.Cosigner != nil && !r.Cosigner.Verify(pqcrypto.ContextRequest, statement, cosignerSigned) {
		return nil, errors.New("the signature of its cosigner key does not verify: it was changed, or the transfer damaged it")
	}
	return r, nil
}

func (r *Request) marshal(statement, signed, cosignerSigned []byte) []byte {
	return appendLines(bytes.Clone(statement),
		field{"signed", base64.StdEncoding.EncodeToString(signed)},
		field{"cosigner-signed", base64.StdEncoding.EncodeToString(cosignerSigned)})
}

func (r *Request) set(word, value string) (err error) {
	switch word {
	case "kind":
		r.Kind = Kind(value)
	case "name":
		r.Name = value
	case "cluster":
		r.Cluster, err = pki.ParseClusterID(value)
	case "suite":
		r.Suite = value
	case "peer":
		r.Peer = value
	case "api":
		r.API = value
	case "http":
		r.HTTP = value
	case "key":
		r.Key, err = publicKey[*pqcrypto.VerifyingKey](value)
	case "kem":
		r.KEM, err = publicKey[*pqcrypto.EncapsulationKey](value)
	case "cosigner":
		r.Cosigner, err = publicKey[*pqcrypto.VerifyingKey](value)
	case "sealing":
		r.Sealing, err = publicKey[*seal.PublicKey](value)
	default:
		err = errors.New("nothing in a request has this name: is it of a newer version?")
	}
	return err
}

func publicKey[K any](value string) (K, error) {
	var none K
	der, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil {
		return none, err
	}
	key, err := pqcrypto.ParsePublicKeyDER(der)
	if err != nil {
		return none, err
	}
	k, ok := key.(K)
	if !ok {
		return none, errors.Newf("it holds a %T, want a %T", key, none)
	}
	return k, nil
}

// check says what is missing, or does not belong into a request of its kind.
func (r *Request) check() error {
	suite, err := lpa.ParseSuite(r.Suite)
	if err != nil {
		return errors.Wrap(err, "suite")
	}
	if err := checkName(r.Name); err != nil {
		return err
	}
	switch fresh := r.Cosigner != nil || r.Sealing != nil; {
	case r.Kind != Node && r.Kind != Client && r.Kind != Authority:
		return errors.Newf("kind %q is none of node, client and authority", r.Kind)
	case r.Key == nil:
		return errors.New("the key that is to be certified is missing")
	case r.Key.Params() != suite.Signature():
		return errors.Newf("its key is %s, the suite %s has %s", r.Key.Params(), r.Suite, suite.Signature())
	case r.Kind != Node && (r.KEM != nil || fresh || r.Cluster != 0 || r.Peer+r.API+r.HTTP != ""):
		return errors.Newf("a request of the kind %s has one key, and neither cluster nor addresses", r.Kind)
	case r.Kind != Node:
		return nil
	case r.KEM == nil:
		return errors.New("the ML-KEM key is missing")
	case r.KEM.Params() != suite.KEM():
		return errors.Newf("its KEM key is %s, the suite %s has %s", r.KEM.Params(), r.Suite, suite.KEM())
	case fresh && (r.Cosigner == nil || r.Sealing == nil || r.Peer == "" || r.API == "" || r.HTTP == ""):
		return errors.New("a new node has a cosigner key, a sealing key and three addresses")
	case fresh && r.Cosigner.Params() != pqcrypto.MLDSA44:
		return errors.Newf("its cosigner key is %s, want %s", r.Cosigner.Params(), pqcrypto.MLDSA44)
	case !fresh && (r.Cluster == 0 || r.Peer+r.API+r.HTTP != ""):
		return errors.New("a node without a cosigner key belongs to a cluster, and states no addresses")
	}
	return nil
}

// checkName accepts what can be a file's name and the last element of a SPIFFE ID.
func checkName(name string) error {
	if name == "" || len(name) > maxName || path.Base(name) != name || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") {
		return errors.Newf("name %q: want 1 to %d of letters, digits and ._- that do not begin with a dot or a dash", name, maxName)
	}
	_, err := pki.ParseID(string(pki.ServiceID("x", name)))
	return errors.Wrap(err, "name")
}
