package node

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/cockroachdb/errors"
	"go.yaml.in/yaml/v3"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// Config is a node's configuration file, node.yaml. Relative paths are
// relative to the directory of the file. Every key is documented in
// docs/operations.md.
type Config struct {
	// Name is the node's name within the cluster: lower-case letters, digits
	// and dashes. It is the last element of the node's SPIFFE ID and of its
	// cosigner key's name.
	Name string `yaml:"name"`
	// ClusterID tells clusters apart, 16 hexadecimal digits. A data directory
	// belongs to one cluster and one node for ever.
	ClusterID string `yaml:"cluster_id"`
	// Directory names the cluster's own ledger, which lists all others: its origin, as on the first
	// line of its checkpoints.
	Directory string `yaml:"directory"`
	// TrustDomain is the SPIFFE trust domain of all certificates.
	TrustDomain string `yaml:"trust_domain"`
	// Suite is the LPA/1 suite of every connection: default or cat5.
	Suite string `yaml:"suite"`
	// DataDir holds the Raft log, the ledger, the identity and the lock.
	DataDir string `yaml:"data_dir"`
	// Listen holds the addresses that this process listens on.
	Listen Listen `yaml:"listen"`
	// Keys names the files with this node's keys and certificates.
	Keys Keys `yaml:"keys"`
	// Policy is the tlog-policy file that the Verify RPC applies, or from which it derives the policy
	// of another ledger.
	Policy string `yaml:"policy"`
	// Members are the founders of the cluster, whoever came or went later. A node that is not among
	// them has Joined.
	Members []Member `yaml:"members"`
	// Joined is what a node knows that joined the cluster later; zero on a founder.
	Joined Joined `yaml:"joined,omitempty"`
	// Raft holds the timing of the replication.
	Raft Raft `yaml:"raft,omitempty"`
	// Storage bounds what the node keeps on disk and in memory.
	Storage Storage `yaml:"storage,omitempty"`
	// Seal sets how often and with how many cosignatures checkpoints are sealed.
	Seal Seal `yaml:"seal,omitempty"`
	// Clock bounds how far the members' clocks may be apart.
	Clock Clock `yaml:"clock,omitempty"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"log_level,omitempty"`
	// LogFormat is text or json.
	LogFormat string `yaml:"log_format,omitempty"`
	// LogFile is where the log goes; empty: standard error.
	LogFile string `yaml:"log_file,omitempty"`
	// LogFileBytes is how large the file becomes before the next one begins, LogFiles how many
	// of the former ones are kept.
	LogFileBytes int64 `yaml:"log_file_bytes,omitempty"` // 64 MiB
	LogFiles     int   `yaml:"log_files,omitempty"`      // 4
	// AccessLog is refused, or all: successful calls, requests and handshakes are logged, too.
	AccessLog string `yaml:"access_log,omitempty"`

	path string // of the file that the configuration was read from; "" if from none

	// now is the node's wall clock; nil means time.Now. Tests give a node another one.
	now func() time.Time
	// featureLevel is the newest one that the node's program knows; 0 is ledger.FeatureLevel. Tests
	// make a node older or newer with it.
	featureLevel uint32
}

// Listen holds the addresses of one node, host:port each.
type Listen struct {
	API  string `yaml:"api"`  // gRPC over LPA/1, for clients
	Peer string `yaml:"peer"` // Raft over LPA/1, for the other members
	HTTP string `yaml:"http"` // plain HTTP: public read path, health, metrics
	// Probe is a listener of its own for health and metrics; empty: listen.http alone serves them.
	Probe string `yaml:"probe,omitempty"`
}

// Keys names files.
type Keys struct {
	Roots          string `yaml:"roots"`           // root certificates, PEM
	Certificate    string `yaml:"certificate"`     // this node's SVID chain, PEM
	Key            string `yaml:"key"`             // its ML-DSA key, PKCS#8
	KEMCertificate string `yaml:"kem_certificate"` // its ML-KEM companion certificate, PEM
	KEMKey         string `yaml:"kem_key"`         // its ML-KEM key, PKCS#8
	// This replica's ML-DSA-44 cosigner key is in the file Cosigner, PKCS#8, or in a process that
	// listens on the Unix socket Signer (package signer). Exactly one of them is set.
	Cosigner string `yaml:"cosigner,omitempty"`
	Signer   string `yaml:"signer,omitempty"`
	// CosignerNext is a second cosigner key, PKCS#8, while the first one is replaced: the node signs
	// with whichever the policy of a size names, and with both in the hand-over. "" is none.
	CosignerNext string `yaml:"cosigner_next,omitempty"`
	// SignerKey is the key of the process at Signer, a vkey: "" is that of the node's row of members.
	// SignerNext is a second key of that process, as CosignerNext is.
	SignerKey  string `yaml:"signer_key,omitempty"`
	SignerNext string `yaml:"signer_next,omitempty"`
	Sealing    string `yaml:"sealing"`           // this node's X-Wing sealing key, PKCS#8
	LogKey     string `yaml:"log_key"`           // the cluster's ML-DSA-44 log key, sealed to Sealing
	Revoked    string `yaml:"revoked,omitempty"` // revocation lists of the authorities, PEM; "" refuses none
	Deny       string `yaml:"deny,omitempty"`    // certificates that are refused; "" refuses none
}

// Joined is what a node begins with that joined a cluster after it was founded. `cairn member add` writes
// it.
type Joined struct {
	// Self is this node, as the cluster's directory names it.
	Self Member `yaml:"self"`
	// Nodes are the other nodes of the cluster when this one joined, of which it learns who the
	// cluster's nodes are.
	Nodes []Member `yaml:"nodes"`
}

// Member is one node as every node knows it.
type Member struct {
	ID       uint64 `yaml:"id"`       // Raft ID, never 0, never reused
	Name     string `yaml:"name"`     // unique within the cluster
	Peer     string `yaml:"peer"`     // where it accepts peers, host:port
	API      string `yaml:"api"`      // where clients reach it, host:port
	Cosigner string `yaml:"cosigner"` // verifier key of its cosignatures, C2SP vkey
}

// Raft holds the timing. Zero means the default.
type Raft struct {
	Tick      time.Duration `yaml:"tick,omitempty"`      // 10 ms
	Heartbeat time.Duration `yaml:"heartbeat,omitempty"` // 50 ms, a multiple of Tick
	Election  time.Duration `yaml:"election,omitempty"`  // 300 ms: the timeout is drawn from [Election, 2·Election)
	Stall     time.Duration `yaml:"stall,omitempty"`     // 2 s: a leader whose disk stalls longer hands over
}

// Storage bounds disk and memory. Zero means the default.
type Storage struct {
	SegmentBytes int64 `yaml:"segment_bytes,omitempty"` // Raft log segment, 64 MiB
	RetainBytes  int64 `yaml:"retain_bytes,omitempty"`  // Raft log kept for followers that lag, 1 GiB
	CacheBytes   int64 `yaml:"cache_bytes,omitempty"`   // Raft entries kept in memory, 32 MiB
	// LedgerCacheBytes bounds what is kept in memory of the ledgers, of all together; 64 MiB.
	LedgerCacheBytes int64 `yaml:"ledger_cache_bytes,omitempty"`
	QueueBytes       int64 `yaml:"queue_bytes,omitempty"`    // appends of all ledgers that wait for a block, 64 MiB
	MinFreeBytes     int64 `yaml:"min_free_bytes,omitempty"` // below this the node stops cleanly, 256 MiB
	// The node reads all that it holds again every ScrubInterval, 24 h, and at most ScrubBytes of it
	// in a second, 1 MiB.
	ScrubInterval time.Duration `yaml:"scrub_interval,omitempty"`
	ScrubBytes    int64         `yaml:"scrub_bytes,omitempty"`
	// ServeBytes bounds what the other members together take of this node's blocks in a second, 32 MiB.
	ServeBytes int64 `yaml:"serve_bytes,omitempty"`
	// Rebuild says whether the node moves a store that is damaged beyond repair aside and rebuilds it:
	// auto or never. auto.
	Rebuild string `yaml:"rebuild,omitempty"`
	// MaxLedgers bounds the ledgers of the cluster, without the directory: this node, as the
	// directory's leader, creates no further ones. 1000.
	MaxLedgers int64 `yaml:"max_ledgers,omitempty"`
}

// Clock bounds the clocks. Zero means the default.
type Clock struct {
	// MaxOffset: a node whose clock is further from those of a majority does not lead, and a
	// block whose time is further ahead of a node's clock is not stored by it; 10 s.
	MaxOffset time.Duration `yaml:"max_offset,omitempty"`
}

// Seal sets cadence and quorum of sealing. Zero means the default.
type Seal struct {
	Cadence time.Duration `yaml:"cadence,omitempty"` // 50 ms
	// Quorum is how many cosignatures seal a checkpoint: "majority", or a number from a majority of
	// the members to all of them. The same on all nodes, and in the policy.
	Quorum string `yaml:"quorum,omitempty"`
}

var (
	namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	decimal     = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)
)

// maxConfigBytes bounds a node.yaml, and what the node reads of other small files.
const maxConfigBytes = 1 << 20

// LoadConfig reads and checks a node.yaml. Unknown keys are errors, so that a
// misspelt one is not silently ignored.
func LoadConfig(path string) (Config, error) {
	var c Config
	raw, err := wholefile.Read(path, maxConfigBytes)
	if err != nil {
		return c, errors.Wrap(err, "read node configuration")
	}
	// Defaults first: a number that the file sets to 0 stays 0 and is out of its range.
	c.setDefaults()
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return c, errors.Wrapf(err, "parse %s", path)
	}
	if err := checkWritten(&doc); err != nil {
		return c, errors.Wrapf(err, "%s", path)
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil {
		return c, errors.Wrapf(err, "parse %s", path)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return c, errors.Newf("%s holds more than one document", path)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return c, errors.Wrap(err, "find the configuration's directory")
	}
	for _, p := range c.paths() {
		if *p.path != "" && !filepath.IsAbs(*p.path) {
			*p.path = filepath.Join(dir, *p.path)
		}
	}
	c.path = filepath.Join(dir, filepath.Base(path))
	if err := c.Validate(); err != nil {
		return c, errors.Wrapf(err, "%s", path)
	}
	return c, nil
}

func (c *Config) setDefaults() {
	setDefault(&c.Suite, "default")
	setDefault(&c.LogLevel, "info")
	setDefault(&c.Seal.Quorum, "majority")
	setDefault(&c.LogFormat, "text")
	setDefault(&c.AccessLog, "refused")
	setDefault(&c.Storage.Rebuild, "auto")
	c.presetNumbers()
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// configPath is a key of node.yaml that names a file or a directory.
type configPath struct {
	key      string
	path     *string
	optional bool
}

// paths lists all files and directories that the configuration names.
func (c *Config) paths() []configPath {
	return []configPath{
		{"data_dir", &c.DataDir, false}, {"policy", &c.Policy, false}, {"keys.roots", &c.Keys.Roots, false},
		{"keys.certificate", &c.Keys.Certificate, false}, {"keys.key", &c.Keys.Key, false},
		{"keys.kem_certificate", &c.Keys.KEMCertificate, false}, {"keys.kem_key", &c.Keys.KEMKey, false},
		{"keys.cosigner", &c.Keys.Cosigner, true}, {"keys.signer", &c.Keys.Signer, true}, {"keys.cosigner_next", &c.Keys.CosignerNext, true}, {"keys.sealing", &c.Keys.Sealing, false},
		{"keys.log_key", &c.Keys.LogKey, false}, {"keys.deny", &c.Keys.Deny, true}, {"keys.revoked", &c.Keys.Revoked, true}, {"log_file", &c.LogFile, true},
	}
}

// Validate checks what can be checked without opening a file, and names the
// key that is wrong.
func (c *Config) Validate() error {
	if !namePattern.MatchString(c.Name) {
		return errors.Newf("name: %q is not a node name (lower-case letters, digits, dashes)", c.Name)
	}
	if _, err := c.clusterID(); err != nil {
		return err
	}
	if err := directory.CheckOrigin(c.Directory); err != nil {
		return errors.Wrap(err, "directory")
	}
	if c.TrustDomain == "" {
		return errors.New("trust_domain: must be set to the SPIFFE trust domain of the certificates")
	}
	if _, err := lpa.ParseSuite(c.Suite); err != nil {
		return errors.Wrap(err, "suite")
	}
	for _, p := range c.paths() {
		if *p.path == "" && !p.optional {
			return errors.Newf("%s: must be set", p.key)
		}
	}
	if (c.Keys.Cosigner == "") == (c.Keys.Signer == "") {
		return errors.New("keys.cosigner, keys.signer: set one of them, the key file or the socket of the process that holds the key")
	}
	if c.Keys.Signer != "" && c.Keys.CosignerNext != "" || c.Keys.Signer == "" && c.Keys.SignerKey+c.Keys.SignerNext != "" {
		return errors.New("keys.cosigner_next, keys.signer_key, keys.signer_next: the first belongs to keys.cosigner, the others to keys.signer")
	}
	if err := c.validateLogFile(); err != nil {
		return err
	}
	if err := c.validateListen(); err != nil {
		return err
	}
	if err := c.validateMembers(); err != nil {
		return err
	}
	if err := c.validateListenersApart(); err != nil {
		return err
	}
	if err := c.validateNumbers(); err != nil {
		return err
	}
	switch r, s := c.Raft, c.Storage; {
	case r.Heartbeat < r.Tick || r.Heartbeat%r.Tick != 0:
		return errors.Newf("raft.heartbeat: %v is not a multiple of raft.tick (%v)", r.Heartbeat, r.Tick)
	case r.Election < 3*r.Heartbeat:
		return errors.Newf("raft.election: %v is below three heartbeats (%v)", r.Election, r.Heartbeat)
	case r.Stall < r.Election:
		return errors.Newf("raft.stall: %v is below raft.election (%v)", r.Stall, r.Election)
	case s.SegmentBytes > s.RetainBytes:
		return errors.Newf("storage.segment_bytes: %d is above storage.retain_bytes (%d)", s.SegmentBytes, s.RetainBytes)
	}
	for _, w := range []struct {
		key, value string
		words      []string
	}{
		{"log_level", c.LogLevel, []string{"debug", "info", "warn", "error"}},
		{"log_format", c.LogFormat, []string{"text", "json"}},
		{"access_log", c.AccessLog, []string{"refused", "all"}},
		{"storage.rebuild", c.Storage.Rebuild, []string{rebuildAuto, rebuildNever}},
	} {
		if !slices.Contains(w.words, w.value) {
			return errors.Newf("%s: %q is none of %s", w.key, w.value, strings.Join(w.words, ", "))
		}
	}
	return nil
}

func (c *Config) validateMembers() error {
	if len(c.Members) == 0 {
		return errors.New("members: list every voter, this node included")
	}
	if n := len(c.Members); n > directory.MaxNodes {
		return errors.Newf("members: %d voters, at most %d are allowed", n, directory.MaxNodes)
	}
	self, err := c.validateRows("members", c.Members)
	if err != nil {
		return err
	}
	switch {
	case !c.joined() && !self:
		return errors.Newf("members: %q (this node's name) is not among them", c.Name)
	case c.joined() && self:
		return errors.Newf("joined: %q is among the members, the founders of the cluster, and cannot have joined it", c.Name)
	case c.joined():
		if err := c.validateJoined(); err != nil {
			return err
		}
	}
	_, err = c.sealQuorum(len(c.Members))
	return err
}

// joined says that the node is no founder of the cluster.
func (c *Config) joined() bool { return c.Joined.Self != Member{} || len(c.Joined.Nodes) > 0 }

func (c *Config) validateJoined() error {
	if c.Joined.Self.Name != c.Name {
		return errors.Newf("joined.self.name: %q is not this node's name, %s", c.Joined.Self.Name, c.Name)
	}
	for _, m := range c.Members {
		if c.Joined.Self.ID == m.ID {
			return errors.Newf("joined.self.id: %d is that of the member %s", m.ID, m.Name)
		}
	}
	if n := len(c.Joined.Nodes); n > directory.MaxNodes {
		return errors.Newf("joined.nodes: %d nodes, at most %d are allowed", n, directory.MaxNodes)
	}
	_, err := c.validateRows("joined.nodes", append(slices.Clone(c.Joined.Nodes), c.Joined.Self))
	return err
}

// validateRows checks nodes, and says whether this node is among them.
func (c *Config) validateRows(key string, rows []Member) (self bool, err error) {
	ids, names := map[uint64]bool{}, map[string]bool{}
	addresses := map[string]string{} // address -> key
	for i, m := range rows {
		at := fmt.Sprintf("%s[%d]", key, i)
		switch {
		case ids[m.ID]:
			return false, errors.Newf("%s.id: %d is used twice", at, m.ID)
		case !namePattern.MatchString(m.Name):
			return false, errors.Newf("%s.name: %q is not a node name", at, m.Name)
		case names[m.Name]:
			return false, errors.Newf("%s.name: %q is used twice", at, m.Name)
		case m.Cosigner == "":
			return false, errors.Newf("%s.cosigner: must be the verifier key of the member's cosignatures", at)
		}
		for _, a := range []struct{ key, value string }{{at + ".peer", m.Peer}, {at + ".api", m.API}} {
			host, port, err := splitAddress(a.value)
			if err != nil {
				return false, errors.Wrapf(err, "%s: not an address that others can dial", a.key)
			}
			if host == "" {
				return false, errors.Newf("%s: %q is not an address that others can dial: it names no host", a.key, a.value)
			}
			address := net.JoinHostPort(host, port)
			if other := addresses[address]; other != "" {
				return false, errors.Newf("%s: %s is the address of %s already", a.key, a.value, other)
			}
			addresses[address] = a.key
		}
		ids[m.ID], names[m.Name] = true, true
		self = self || m.Name == c.Name
	}
	return self, nil
}

// listeners lists the addresses that the node listens on.
func (c *Config) listeners() []struct{ key, value string } {
	all := []struct{ key, value string }{
		{"listen.api", c.Listen.API}, {"listen.peer", c.Listen.Peer}, {"listen.http", c.Listen.HTTP}, {"listen.probe", c.Listen.Probe},
	}
	if c.Listen.Probe == "" {
		all = all[:3]
	}
	return all
}

// validateListen holds the listening addresses apart: two listeners cannot share one.
func (c *Config) validateListen() error {
	type address struct{ key, host, port string }
	var seen []address
	for _, a := range c.listeners() {
		host, port, err := splitAddress(a.value)
		if err != nil {
			return errors.Wrap(err, a.key)
		}
		for _, o := range seen {
			if port == o.port && (host == o.host || anyHost(host) || anyHost(o.host)) {
				return errors.Newf("%s: %s is in use by %s", a.key, a.value, o.key)
			}
		}
		seen = append(seen, address{a.key, host, port})
	}
	return nil
}

// validateListenersApart refuses a listener on the address of another member. A listener on all
// addresses of the machine may have the port of another member, which may be on another machine.
// The node's own row of members may name its own listeners. All addresses have been parsed before.
func (c *Config) validateListenersApart() error {
	for _, l := range c.listeners() {
		host, port, _ := splitAddress(l.value)
		for i, m := range c.Members {
			if m.Name == c.Name {
				continue
			}
			for _, a := range []struct{ key, value string }{{"peer", m.Peer}, {"api", m.API}} {
				if h, p, _ := splitAddress(a.value); h == host && p == port && !anyHost(host) {
					return errors.Newf("%s: %s is members[%d].%s, the address of another member", l.key, l.value, i, a.key)
				}
			}
		}
	}
	return nil
}

// splitAddress parses host:port. The port is a number: a node's peers and clients name it. Two
// spellings of one address give the same host and port.
func splitAddress(s string) (host, port string, err error) {
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return "", "", errors.Newf("%q contains a blank or a control character", s)
	}
	host, port, err = net.SplitHostPort(s)
	if err != nil {
		return "", "", errors.Newf("%q is not host:port", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", errors.Newf("%q: the port must be 1 to 65535", s)
	}
	if !decimal.MatchString(port) {
		return "", "", errors.Newf("%q: the port must be 1 to 65535 without a leading zero", s)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String(), port, nil
	}
	return strings.ToLower(strings.TrimSuffix(host, ".")), port, nil
}

// anyHost says whether a listener on the host takes connections to every address of the machine.
func anyHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// wallClock is the node's wall clock.
func (c *Config) wallClock() func() time.Time {
	if c.now != nil {
		return c.now
	}
	return time.Now
}

// sealQuorum returns how many cosignatures seal a checkpoint of so many voters.
func (c *Config) sealQuorum(voters int) (int, error) {
	least, most := seal.QuorumRange(voters)
	if c.Seal.Quorum == "majority" {
		return least, nil
	}
	q, err := strconv.Atoi(c.Seal.Quorum)
	if err != nil || !decimal.MatchString(c.Seal.Quorum) || q < least || q > most {
		return 0, errors.Newf("seal.quorum: %q is out of range: must be majority, or a number from %d to %d for %d members", c.Seal.Quorum, least, most, voters)
	}
	return q, nil
}

// Self returns this node's own row.
func (c *Config) Self() Member {
	if c.joined() {
		return c.Joined.Self
	}
	for _, m := range c.Members {
		if m.Name == c.Name {
			return m
		}
	}
	panic("node: configuration was not validated")
}

// Cluster returns the id of the node's cluster.
func (c *Config) Cluster() (pki.ClusterID, error) { return c.clusterID() }

func (c *Config) clusterID() (pki.ClusterID, error) {
	id, err := pki.ParseClusterID(c.ClusterID)
	return id, errors.Wrap(err, "cluster_id")
}

// principal is the SPIFFE ID of this node.
func (c *Config) principal() (pki.ID, error) {
	cluster, err := c.clusterID()
	return pki.NodeID(c.TrustDomain, cluster, c.Name), err
}

// Marshal encodes the configuration as YAML. It refuses one that [Config.Validate] would refuse
// when it is read again.
func (c Config) Marshal() ([]byte, error) {
	complete := c
	complete.setDefaults()
	if err := complete.Validate(); err != nil {
		return nil, err
	}
	return c.encode()
}

func (c *Config) encode() ([]byte, error) {
	out, err := yaml.Marshal(c)
	return out, errors.Wrap(err, "encode node configuration")
}

// Write writes the configuration as YAML with mode 0644; it holds no secret.
func (c *Config) Write(path string) error {
	out, err := c.encode()
	if err != nil {
		return err
	}
	return errors.Wrap(os.WriteFile(path, out, 0o644), "write node configuration")
}
