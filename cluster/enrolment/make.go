package enrolment

import (
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/pqcrypto/seal"
)

// Wanted says for what keys are made.
type Wanted struct {
	Kind  Kind
	Name  string
	Suite string // LPA/1 suite: default or cat5
	// Cluster is that of the node; 0 when it is to be founded.
	Cluster pki.ClusterID
	// Peer, API and HTTP are the addresses of a new node. Without them the node exists: it gets a new
	// identity and KEM key, and has the other keys already.
	Peer, API, HTTP string
}

// Made are fresh private keys, and the request for them.
type Made struct {
	Keys    []KeyFile
	Request []byte
}

// A KeyFile is a private key and the name of its file, for [pqcrypto.WriteKeyFile].
type KeyFile struct {
	Name string
	Key  any
}

// Make makes the private keys that a machine needs, and the request for their certificates. It
// writes no file. A node's key files are node.key, kem.key, cosigner.key and sealing.key, those of
// the other kinds NAME.key.
func Make(w Wanted) (*Made, error) {
	suite, err := lpa.ParseSuite(w.Suite)
	if err != nil {
		return nil, err
	}
	key, err := pqcrypto.GenerateSigningKey(suite.Signature())
	if err != nil {
		return nil, err
	}
	m := &Made{}
	r := &Request{Kind: w.Kind, Name: w.Name, Cluster: w.Cluster, Suite: w.Suite, Peer: w.Peer, API: w.API, HTTP: w.HTTP, Key: key.Public()}
	if w.Kind != Node {
		m.add(w.Name+".key", key)
		return m.request(r, key, nil)
	}
	kem, err := pqcrypto.GenerateDecapsulationKey(suite.KEM())
	if err != nil {
		return nil, err
	}
	r.KEM = kem.Public()
	m.add("node.key", key)
	m.add("kem.key", kem)
	if w.Cluster != 0 && w.Peer == "" {
		return m.request(r, key, nil)
	}
	cosigner, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	if err != nil {
		return nil, err
	}
	sealing, err := seal.GenerateKey()
	if err != nil {
		return nil, err
	}
	r.Cosigner, r.Sealing = cosigner.Public(), sealing.Public()
	m.add("cosigner.key", cosigner)
	m.add("sealing.key", sealing.Key())
	return m.request(r, key, cosigner)
}

func (m *Made) add(name string, key any) { m.Keys = append(m.Keys, KeyFile{name, key}) }

// request signs the request and reads it as the authority will.
func (m *Made) request(r *Request, key, cosigner *pqcrypto.SigningKey) (*Made, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	statement, err := r.statement()
	if err != nil {
		return nil, err
	}
	signed, err := key.Sign(pqcrypto.ContextRequest, statement)
	if err != nil {
		return nil, err
	}
	var cosignerSigned []byte
	if cosigner != nil {
		if cosignerSigned, err = cosigner.Sign(pqcrypto.ContextRequest, statement); err != nil {
			return nil, err
		}
	}
	m.Request = r.marshal(statement, signed, cosignerSigned)
	_, err = Parse(m.Request)
	return m, err
}
