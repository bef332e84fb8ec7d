package enrolment

import (
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// A Grant is what the authority's operator decides about a request.
type Grant struct {
	Roles    pki.Role // of a client; 0 for the other kinds
	Validity time.Duration
	Now      time.Time // zero means the present
}

// An Answer is what goes back to the machine. None of its files is secret.
type Answer struct {
	Name         string
	Certificates []*pki.Certificate // the identity or authority first, then a node's KEM certificate
	Files        []File
}

// A File of an answer.
type File struct {
	Name string
	Data []byte
}

// Add adds a file.
func (a *Answer) Add(name string, data []byte) { a.Files = append(a.Files, File{name, data}) }

// Sign issues the certificates that a request asks for, with those of their issuers below the root,
// and adds the root. A node's files are node.crt and kem.crt, those of the other kinds NAME.crt;
// the root is in root.crt.
func Sign(authority *pki.Authority, r *Request, g Grant) (*Answer, error) {
	if r.Founding() {
		return nil, errors.Newf("%s is a node of a cluster that is to be founded: all its nodes are signed at the same time", r.Name)
	}
	return sign(authority, r, r.Cluster, g)
}

// SignFounder is Sign for a node of a cluster that is to be founded.
func SignFounder(authority *pki.Authority, r *Request, cluster pki.ClusterID, g Grant) (*Answer, error) {
	return sign(authority, r, cluster, g)
}

func sign(authority *pki.Authority, r *Request, cluster pki.ClusterID, g Grant) (*Answer, error) {
	own := authority.Certificate()
	if (r.Kind == Client) != (g.Roles != 0) {
		return nil, errors.Newf("roles are granted to clients, and to nobody else: %s is of the kind %s", r.Name, r.Kind)
	}
	a := &Answer{Name: r.Name}
	chain := authority.Chain()
	root := chain[len(chain)-1]
	if r.Kind == Authority {
		c, err := authority.IssueAuthority(pki.AuthorityRequest{Name: r.Name, PublicKey: r.Key, Validity: g.Validity, Now: g.Now})
		if err != nil {
			return nil, err
		}
		a.Certificates = []*pki.Certificate{c}
		a.Add(r.Name+".crt", pki.MarshalPEM(append([]*pki.Certificate{c}, chain...)...))
		a.Add("root.crt", pki.MarshalPEM(root))
		return a, nil
	}
	name, roles, id := r.Name+".crt", g.Roles, pki.ServiceID(own.TrustDomain, r.Name)
	if r.Kind == Node {
		name, roles, id = "node.crt", pki.RolePeer, pki.NodeID(own.TrustDomain, cluster, r.Name)
	}
	svid, err := authority.IssueIdentity(pki.IssueRequest{ID: id, Roles: roles, PublicKey: r.Key, Validity: g.Validity, Now: g.Now})
	if err != nil {
		return nil, err
	}
	below := func(leaf *pki.Certificate) []byte {
		return pki.MarshalPEM(append([]*pki.Certificate{leaf}, authority.Issuers()...)...)
	}
	a.Certificates = []*pki.Certificate{svid}
	a.Add(name, below(svid))
	if r.Kind == Node {
		kem, err := authority.IssueKEM(pki.KEMRequest{SVID: svid, PublicKey: r.KEM, Validity: g.Validity, Now: g.Now})
		if err != nil {
			return nil, err
		}
		a.Certificates = append(a.Certificates, kem)
		a.Add("kem.crt", below(kem))
	}
	a.Add("root.crt", pki.MarshalPEM(root))
	return a, nil
}
