package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// site is the directory of a cluster that was made and not started, and its node n1, which has read
// its files.
type site struct {
	t       *testing.T
	cluster *local.Cluster
	node    *node.Prepared
	good    map[string]string // what the files held before somebody changed them
}

func newSite(t *testing.T, change func(*node.Config)) *site {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Create(local.Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 3, Executable: exe})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, cluster: c, good: map[string]string{}}
	s.configure(change)
	clear(s.good)
	cfg, err := node.LoadConfig(s.path("node.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if s.node, err = node.Prepare(cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

// path is that of one of n1's files.
func (s *site) path(name string) string { return filepath.Join(s.cluster.NodeDir("n1"), name) }

func (s *site) read(name string) string {
	s.t.Helper()
	raw, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(raw)
}

// write changes one of n1's files until restore.
func (s *site) write(name, content string) {
	s.t.Helper()
	if _, known := s.good[name]; !known {
		s.good[name] = s.read(name)
	}
	if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) restore() {
	s.t.Helper()
	for name, content := range s.good {
		s.write(name, content)
	}
	clear(s.good)
}

// configure changes n1's node.yaml.
func (s *site) configure(change func(*node.Config)) {
	s.t.Helper()
	cfg, err := node.LoadConfig(s.path("node.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	change(&cfg)
	s.write("node.yaml", s.read("node.yaml")) // remembered
	if err := cfg.Write(s.path("node.yaml")); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) authority() *pki.Authority {
	s.t.Helper()
	dir := filepath.Join(s.cluster.Dir(), "pki")
	a, err := pki.LoadAuthority(filepath.Join(dir, "root.crt"), filepath.Join(dir, "root.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// identity gives n1 new keys: a certificate of one authority and the companion certificate of
// another one.
func (s *site) identity(by, kemBy *pki.Authority, sig pqcrypto.SigParams, kem pqcrypto.KEMParams) {
	s.t.Helper()
	must := func(err error) {
		if err != nil {
			s.t.Helper()
			s.t.Fatal(err)
		}
	}
	cfg, err := node.LoadConfig(s.path("node.yaml"))
	must(err)
	cluster, err := pki.ParseClusterID(cfg.ClusterID)
	must(err)
	key, err := pqcrypto.GenerateSigningKey(sig)
	must(err)
	svid, err := by.IssueIdentity(pki.IssueRequest{
		ID: pki.NodeID(local.TrustDomain, cluster, "n1"), Roles: pki.RolePeer, PublicKey: key.Public(), Validity: time.Hour})
	must(err)
	kemKey, err := pqcrypto.GenerateDecapsulationKey(kem)
	must(err)
	companion, err := kemBy.IssueKEM(pki.KEMRequest{SVID: svid, PublicKey: kemKey.Public(), Validity: time.Hour})
	must(err)
	dir := s.t.TempDir()
	must(pqcrypto.WriteKeyFile(filepath.Join(dir, "node.key"), key))
	must(pqcrypto.WriteKeyFile(filepath.Join(dir, "kem.key"), kemKey))
	must(os.WriteFile(filepath.Join(dir, "node.crt"), pki.MarshalPEM(svid), 0o600))
	must(os.WriteFile(filepath.Join(dir, "kem.crt"), pki.MarshalPEM(companion), 0o600))
	for _, name := range []string{"node.key", "kem.key", "node.crt", "kem.crt"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		must(err)
		s.write(name, string(raw))
	}
}

// TestReloadIsAllOrNothing: one file that is wrong leaves everything as it was, however much beside
// it is new and right.
func TestReloadIsAllOrNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *node.Config) {
		c.Keys.Deny = filepath.Join(filepath.Dir(c.DataDir), "deny")
		if err := os.WriteFile(c.Keys.Deny, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	stranger, err := pki.NewRoot("stranger", local.TrustDomain, pqcrypto.MLDSA65, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ours := s.authority()
	// allNew is a change of everything that a reload takes over.
	allNew := func() {
		t.Helper()
		s.configure(func(c *node.Config) { c.LogLevel, c.AccessLog = "debug", "all" })
		s.write("deny", "serial 17\n")
		s.identity(ours, ours, pqcrypto.MLDSA65, pqcrypto.MLKEM768)
	}
	before := s.node.InForce()
	for _, x := range []struct {
		name, want string
		spoil      func()
	}{
		{"a key that is misspelt", "node.yaml", func() { s.write("node.yaml", s.read("node.yaml")+"\nlog_levle: info\n") }},
		{"a value out of range", "log_files", func() { s.configure(func(c *node.Config) { c.LogFiles = -1 }) }},
		{"roots that are none", "keys.roots", func() { s.write("../pki/root.crt", "garbage") }},
		{"roots that are not the certificate's", "keys.certificate", func() { s.write("../pki/root.crt", string(pki.MarshalPEM(stranger.Certificate()))) }},
		{"a certificate of another root", "keys.certificate", func() { s.identity(stranger, ours, pqcrypto.MLDSA65, pqcrypto.MLKEM768) }},
		{"a companion certificate of another root", "keys.certificate", func() { s.identity(ours, stranger, pqcrypto.MLDSA65, pqcrypto.MLKEM768) }},
		{"keys of the other suite", "", func() { s.identity(ours, ours, pqcrypto.MLDSA87, pqcrypto.MLKEM1024) }},
		{"half of a pair", "identity", func() { s.write("kem.key", s.good["kem.key"]) }},
		{"a line of the deny list", "line 2", func() { s.write("deny", "serial 1\nserial x\n") }},
		{"no deny list", "keys.deny", func() {
			s.write("deny", "")
			if err := os.Remove(s.path("deny")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		allNew()
		x.spoil()
		if err := s.node.Reload(); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: the reload says %v, want an error with %q", x.name, err, x.want)
		}
		if now := s.node.InForce(); now != before {
			t.Errorf("%s: in force is now %+v, and was %+v", x.name, now, before)
		}
		s.restore()
	}
	allNew()
	if err := s.node.Reload(); err != nil {
		t.Fatal(err)
	}
	if now := s.node.InForce(); now.Serial == before.Serial || now.Denied != 1 || now.Level != "DEBUG" || !now.AllAccess {
		t.Errorf("after a reload in force is %+v, and was %+v", now, before)
	}
}

// TestReloadNamesWhatNeedsARestart: what a reload does not take over is named, key by key; what it
// takes over is not.
func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(*node.Config) {})
	configure := func(change func(*node.Config)) func() { return func() { s.configure(change) } }
	longer := func(name string) func() { return func() { s.write(name, s.read(name)+"\n") } }
	for _, x := range []struct {
		want   string
		change func()
	}{
		{"", func() {}},
		{"", configure(func(c *node.Config) { c.LogLevel, c.AccessLog = "debug", "all" })},
		{"listen.http", configure(func(c *node.Config) { c.Listen.HTTP = "127.0.0.1:1" })},
		{"members", configure(func(c *node.Config) { c.Members[1].API = "127.0.0.1:1" })},
		{"raft.stall", configure(func(c *node.Config) { c.Raft.Stall++ })},
		{"storage.retain_bytes", configure(func(c *node.Config) { c.Storage.RetainBytes++ })},
		{"clock.max_offset", configure(func(c *node.Config) { c.Clock.MaxOffset++ })},
		{"seal.cadence", configure(func(c *node.Config) { c.Seal.Cadence++ })},
		{"log_format log_files", configure(func(c *node.Config) { c.LogFormat, c.LogFiles = "json", 7 })},
		{"keys.cosigner (the file)", longer("cosigner.key")},
		{"keys.sealing (the file)", longer("sealing.key")},
		{"keys.log_key (the file)", longer("log.key.sealed")},
		{"policy (the file)", longer("../policy")},
	} {
		before := len(s.read("log"))
		x.change()
		if err := s.node.Reload(); err != nil {
			t.Errorf("%q: %v", x.want, err)
		}
		said := s.read("log")[before:]
		want := fmt.Sprintf("keys=%s\n", x.want)
		if strings.Contains(x.want, " ") {
			want = fmt.Sprintf("keys=%q\n", x.want)
		}
		if named := strings.Contains(said, "only after a restart"); named != (x.want != "") || named && !strings.HasSuffix(said, want) {
			t.Errorf("the log says\n%swant a line about %q", said, x.want)
		}
		s.restore()
	}
}
