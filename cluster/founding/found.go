// Package founding makes a new cluster of the requests of its nodes: certificates, the log key sealed to
// each node, the policy of the first ledger, and the configurations. Everything is files: `node init`
// makes the nodes' data directories.
package founding

import (
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/enrolment"
	"github.com/cairnledger/cairn/cluster/node"
	ledgerseal "github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/pqcrypto/seal"
)

// A Founding describes a new cluster.
type Founding struct {
	// Cluster is its id; 0 draws one.
	Cluster pki.ClusterID
	// Origin is that of its first ledger, after which the directory and the cosigners are named.
	Origin     string
	SealQuorum int // cosignatures that seal a checkpoint; 0 is a majority
	// FirstID is the Raft id of the first node; 0 is 1. A cluster that continues a backup has ids that no
	// member of it ever had.
	FirstID  uint64
	Validity time.Duration
	Now      time.Time // zero means the present
}

// A Founded cluster exists in its files alone: `node init` makes the nodes' data directories.
type Founded struct {
	Cluster pki.ClusterID
	Policy  []byte            // tlog-policy of the first ledger
	LogKey  *tlog.VerifierKey // of the first ledger
	Nodes   []Founder         // as the requests
}

// A Founder is a node of a new cluster.
type Founder struct {
	// Config names the files of Answer and of enrolment.Make, in one directory. Its data directory is data.
	Config node.Config
	// Answer has, besides the certificates, the log key sealed to the node (log.key.sealed), the
	// policy and node.yaml.
	Answer *enrolment.Answer
}

// NewClusterID draws the id of a cluster.
func NewClusterID() pki.ClusterID {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails, says the package
	id[0] |= 0x80           // never zero
	return pki.ClusterID(binary.BigEndian.Uint64(id[:]))
}

// Found signs the requests of all nodes of a new cluster. The nodes have the Raft ids 1, 2, … in
// the order of the requests, or begin with FirstID. Found makes the cluster's log key, seals it to
// each node, and forgets it: from then on the nodes alone have it.
func Found(authority *pki.Authority, requests []*enrolment.Request, f Founding) (*Founded, error) {
	least, most := ledgerseal.QuorumRange(len(requests))
	if f.SealQuorum == 0 {
		f.SealQuorum = least
	}
	if len(requests) == 0 || f.SealQuorum < least || f.SealQuorum > most {
		return nil, errors.Newf("%d cosignatures cannot seal in a cluster of %d nodes: want %d to %d", f.SealQuorum, len(requests), least, most)
	}
	if f.Cluster == 0 {
		f.Cluster = NewClusterID()
	}
	logKey, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	if err != nil {
		return nil, err
	}
	out := &Founded{Cluster: f.Cluster}
	if out.LogKey, err = tlog.NewMLDSA44VerifierKey(f.Origin, logKey.Public()); err != nil {
		return nil, err
	}
	members, cosigners, err := members(requests, f.Origin, max(1, f.FirstID))
	if err != nil {
		return nil, err
	}
	policy, err := tlog.NewPolicy([]*tlog.VerifierKey{out.LogKey}, cosigners, f.SealQuorum)
	if err != nil {
		return nil, err
	}
	out.Policy = policy.Marshal()
	for _, r := range requests {
		n := Founder{Config: config(r, f, authority.Certificate().TrustDomain, members)}
		if n.Answer, err = enrolment.SignFounder(authority, r, f.Cluster, enrolment.Grant{Validity: f.Validity, Now: f.Now}); err != nil {
			return nil, errors.Wrapf(err, "sign %s", r.Name)
		}
		sealed, err := seal.SealKey(r.Sealing, node.LogKeyLabel(n.Config.Directory), logKey)
		if err != nil {
			return nil, errors.Wrapf(err, "seal the log key to %s", r.Name)
		}
		yaml, err := n.Config.Marshal()
		if err != nil {
			return nil, errors.Wrapf(err, "configuration of %s", r.Name)
		}
		n.Answer.Add("log.key.sealed", sealed)
		n.Answer.Add("policy", out.Policy)
		n.Answer.Add("node.yaml", yaml)
		out.Nodes = append(out.Nodes, n)
	}
	return out, nil
}

// members are the rows of node.yaml, and the keys of the policy.
func members(requests []*enrolment.Request, origin string, first uint64) (rows []node.Member, cosigners []*tlog.VerifierKey, err error) {
	for i, r := range requests {
		if !r.Founding() {
			return nil, nil, errors.Newf("%s is no node of a cluster that is to be founded", r.Name)
		}
		if r.Suite != requests[0].Suite {
			return nil, nil, errors.Newf("%s has the suite %s, %s has %s: all nodes of a cluster have the same", r.Name, r.Suite, requests[0].Name, requests[0].Suite)
		}
		key, err := tlog.NewMLDSA44VerifierKey(node.CosignerName(node.DirectoryOf(origin), r.Name), r.Cosigner)
		if err != nil {
			return nil, nil, errors.Wrapf(err, "cosigner of %s", r.Name)
		}
		cosigners = append(cosigners, key)
		rows = append(rows, node.Member{ID: first + uint64(i), Name: r.Name, Peer: r.Peer, API: r.API, Cosigner: key.String()})
	}
	return rows, cosigners, nil
}

func config(r *enrolment.Request, f Founding, trustDomain string, members []node.Member) node.Config {
	return node.Config{
		Name: r.Name, ClusterID: f.Cluster.String(), Directory: node.DirectoryOf(f.Origin), TrustDomain: trustDomain, Suite: r.Suite, DataDir: "data",
		Listen: node.Listen{API: r.API, Peer: r.Peer, HTTP: r.HTTP},
		Keys: node.Keys{
			Roots: "root.crt", Certificate: "node.crt", Key: "node.key", KEMCertificate: "kem.crt", KEMKey: "kem.key",
			Cosigner: "cosigner.key", Sealing: "sealing.key", LogKey: "log.key.sealed",
		},
		Policy: "policy", Members: members, Seal: node.Seal{Quorum: strconv.Itoa(f.SealQuorum)},
	}
}
