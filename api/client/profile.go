package client

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"
	"go.yaml.in/yaml/v3"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// Profile says how to reach a ledger and what to believe about it. A profile is a YAML file. See
// ForLedger for the other ledgers of the cluster.
// Relative paths in it are relative to the file's folder.
type Profile struct {
	Origin      string     `yaml:"origin"`            // name of the ledger, as in its checkpoints
	TrustDomain string     `yaml:"trust_domain"`      // of the nodes' SPIFFE IDs
	ClusterID   string     `yaml:"cluster_id"`        // of the nodes' SPIFFE IDs: 16 hexadecimal digits
	Suite       string     `yaml:"suite,omitempty"`   // "default" (or empty) or "cat5"
	Roots       string     `yaml:"roots"`             // file: PEM certificates that the nodes' certificates lead to
	Revoked     string     `yaml:"revoked,omitempty"` // file: revocation lists that the nodes' certificates must pass, PEM; "" = none
	Certificate string     `yaml:"certificate"`       // file: this client's certificate chain, PEM
	Key         string     `yaml:"key"`               // file: its private key, PEM, mode 0600
	Policy      string     `yaml:"policy"`            // file: C2SP tlog-policy that receipts must satisfy
	State       string     `yaml:"state,omitempty"`   // file: newest verified checkpoint, written by the client; "" = keep it in memory only
	Endpoints   []Endpoint `yaml:"endpoints"`         // the nodes
}

// ForLedger returns the profile for another ledger of the same cluster. Origin is replaced, and so
// is State, since a state file is of one ledger: it becomes STATE.ORIGIN, with the origin escaped
// as in a URL's path, "/" as "%2F", or replaced by its SHA-256 in hexadecimal if it would be longer
// than 120 bytes. The policy stays: Dial derives that of the other ledger from it.
func (p Profile) ForLedger(origin string) Profile {
	if origin == p.Origin {
		return p
	}
	p.Origin = origin
	if p.State != "" {
		escaped := url.PathEscape(origin)
		if len(escaped) > maxEscaped {
			escaped = fmt.Sprintf("%x", sha256.Sum256([]byte(origin)))
		}
		p.State += "." + escaped
	}
	return p
}

// maxEscaped leaves room for the rest of a file's name: most file systems allow 255 bytes.
const maxEscaped = 120

// Endpoint is one node.
type Endpoint struct {
	Name    string `yaml:"name"`    // as in its certificate
	Address string `yaml:"address"` // host:port of its API
}

// maxProfileBytes bounds what LoadProfile reads.
const maxProfileBytes = 1 << 20

// maxEndpoints bounds the nodes of a profile, and of those learnt from leader hints.
const maxEndpoints = 64

// LoadProfile reads a profile. Unknown keys and missing values are errors that name the file and
// the key.
func LoadProfile(path string) (Profile, error) {
	var p Profile
	raw, err := wholefile.Read(path, maxProfileBytes)
	if err != nil {
		return p, errors.Wrap(err, "read profile")
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&p); err != nil {
		if errors.Is(err, io.EOF) {
			return p, errors.Newf("profile %s is empty", path)
		}
		return p, errors.Wrapf(err, "parse profile %s", path)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return p, errors.Newf("profile %s holds more than one document", path)
	}
	dir := filepath.Dir(path)
	for _, file := range []*string{&p.Roots, &p.Revoked, &p.Certificate, &p.Key, &p.Policy, &p.State} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(dir, *file)
		}
	}
	return p, errors.Wrapf(p.Validate(), "profile %s", path)
}

// Validate reports the first value that is missing or malformed.
func (p *Profile) Validate() error {
	required := []struct{ key, value string }{
		{"origin", p.Origin}, {"trust_domain", p.TrustDomain}, {"cluster_id", p.ClusterID}, {"roots", p.Roots},
		{"certificate", p.Certificate}, {"key", p.Key}, {"policy", p.Policy},
	}
	for _, r := range required {
		if r.value == "" {
			return errors.Newf("%s is missing", r.key)
		}
	}
	if _, err := pki.ParseClusterID(p.ClusterID); err != nil {
		return errors.Wrap(err, "cluster_id")
	}
	return validateEndpoints(p.Endpoints)
}

func validateEndpoints(endpoints []Endpoint) error {
	if len(endpoints) == 0 {
		return errors.New("endpoints is missing: name at least one node")
	}
	if len(endpoints) > maxEndpoints {
		return errors.Newf("endpoints: %d nodes, at most %d are allowed", len(endpoints), maxEndpoints)
	}
	names := map[string]bool{}
	for i, e := range endpoints {
		if e.Name == "" || strings.ContainsAny(e.Name, " /\t\n") {
			return errors.Newf("endpoints[%d].name: %q is not a node name", i, e.Name)
		}
		if names[e.Name] {
			return errors.Newf("endpoints[%d].name: %q is there twice", i, e.Name)
		}
		names[e.Name] = true
		host, port, err := net.SplitHostPort(e.Address)
		if err != nil || host == "" {
			return errors.Newf("endpoints[%d].address: %q is not host:port", i, e.Address)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.Newf("endpoints[%d].address: %q: the port must be 1 to 65535", i, e.Address)
		}
	}
	return nil
}

// Write stores the profile at path. The file holds no secret, only paths.
func (p Profile) Write(path string) error {
	raw, err := yaml.Marshal(p)
	if err != nil {
		return errors.Wrap(err, "encode profile")
	}
	return errors.Wrap(wholefile.WriteSync(path, raw, 0o644), "write profile")
}
