package cluster_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// hangup sends SIGHUP to a node, waits for one more line of its log with the words, and returns
// that line.
func hangup(t *testing.T, c *local.Cluster, name, words string) string {
	t.Helper()
	lines := func() (found []string) {
		for _, line := range strings.Split(string(readFile(t, c.LogPath(name))), "\n") {
			if strings.Contains(line, words) {
				found = append(found, line)
			}
		}
		return found
	}
	before := len(lines())
	all, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			if err := syscall.Kill(s.PID, syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if now := lines(); len(now) > before {
			return now[len(now)-1]
		}
		if time.Now().After(deadline) {
			t.Fatalf("after SIGHUP the log of %s does not say %q", name, words)
		}
	}
}

// channelOf is the channel of a profile's client.
func channelOf(t *testing.T, c *local.Cluster, profile string) *lpa.Config {
	t.Helper()
	p, err := client.LoadProfile(c.Profile(profile))
	if err != nil {
		t.Fatal(err)
	}
	id, err := pki.LoadIdentity(p.Certificate, p.Key, "", "")
	if err != nil {
		t.Fatal(err)
	}
	roots, err := pki.LoadPool(p.Roots)
	if err != nil {
		t.Fatal(err)
	}
	return &lpa.Config{Suite: lpa.Suite768, Identity: id, Roots: roots}
}

// shownSerial connects to a node's address as the client of a profile and returns the serial
// number that the node shows.
func shownSerial(t *testing.T, c *local.Cluster, address, name string) string {
	t.Helper()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn, err := channelOf(t, c, "writer").Client(t.Context(), raw, pki.NodeID(local.TrustDomain, clusterOf(t, c), name))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.Peer().SerialNumber.Text(16)
}

// reissue puts new keys and certificates of a node in the place of the old ones, and returns the
// new serial number.
func reissue(t *testing.T, c *local.Cluster, authority *pki.Authority, name string) string {
	t.Helper()
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
	if err != nil {
		t.Fatal(err)
	}
	svid, err := authority.IssueIdentity(pki.IssueRequest{
		ID: pki.NodeID(local.TrustDomain, clusterOf(t, c), name), Roles: pki.RolePeer, PublicKey: key.Public(), Validity: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	kemKey, err := pqcrypto.GenerateDecapsulationKey(pqcrypto.MLKEM768)
	if err != nil {
		t.Fatal(err)
	}
	kem, err := authority.IssueKEM(pki.KEMRequest{SVID: svid, PublicKey: kemKey.Public(), Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	dir := c.NodeDir(name)
	for file, cert := range map[string]*pki.Certificate{"node.crt": svid, "kem.crt": kem} {
		if err := os.WriteFile(filepath.Join(dir, file), pki.MarshalPEM(cert), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for file, k := range map[string]any{"node.key": key, "kem.key": kemKey} {
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
		if err := writeKey(filepath.Join(dir, file), k); err != nil {
			t.Fatal(err)
		}
	}
	return svid.SerialNumber.Text(16)
}

func writeKey(path string, k any) error {
	switch k := k.(type) {
	case *pqcrypto.SigningKey:
		return pqcrypto.WriteKeyFile(path, k)
	case *pqcrypto.DecapsulationKey:
		return pqcrypto.WriteKeyFile(path, k)
	}
	return fmt.Errorf("no key: %T", k)
}

// TestHangupReloads: SIGHUP gives new connections the new certificate, on both authenticated
// ports, without an election and without an error for a client that is connected. A file that is
// wrong changes nothing. A deny list closes what is open.
func TestHangupReloads(t *testing.T) {
	c := startCluster(t, 3, func(cfg *node.Config) {
		cfg.Keys.Deny = filepath.Join(filepath.Dir(cfg.DataDir), "deny")
		if err := os.WriteFile(cfg.Keys.Deny, []byte("# nobody\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	authority, err := pki.LoadAuthority(filepath.Join(c.Dir(), "pki", "root.crt"), filepath.Join(c.Dir(), "pki", "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	cl := dial(t, c, "writer")
	appendOne := func() {
		t.Helper()
		if _, err := cl.Append(t.Context(), client.Entry{Payload: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	appendOne()
	leader, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.Node(leader)
	if err != nil {
		t.Fatal(err)
	}
	term := termOf(t, c, leader)

	serial := reissue(t, c, authority, leader)
	if line := hangup(t, c, leader, "msg=reloaded"); !strings.Contains(line, "certificate="+serial) || !strings.Contains(line, "closed_connections=0") {
		t.Errorf("the log says %s, want the serial number %s and no closed connection", line, serial)
	}
	for _, address := range []string{n.API, n.Peer} {
		if got := shownSerial(t, c, address, leader); got != serial {
			t.Errorf("%s shows the serial number %s, want %s", address, got, serial)
		}
	}
	chain, err := pki.ParseCertificatesPEM(readFile(t, filepath.Join(c.NodeDir(leader), "node.crt")))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := metric(t, scrapeFrom(t, n.HTTPURL()), "cairn_certificate_expiry_seconds"), float64(chain[0].NotAfter.Unix()); got != want {
		t.Errorf("the node says that its certificate expires at %v, the new one expires at %v", got, want)
	}
	appendOne()

	// Half of a pair, and a file that does not parse.
	crt := filepath.Join(c.NodeDir(leader), "node.crt")
	good := readFile(t, crt)
	for what, bad := range map[string][]byte{"node.crt": []byte("no certificate"), "another node's": readFile(t, filepath.Join(c.NodeDir(other(leader)), "node.crt"))} {
		if err := os.WriteFile(crt, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if line := hangup(t, c, leader, "nothing was reloaded"); !strings.Contains(line, "node.crt") {
			t.Errorf("%s: the log does not name the file: %s", what, line)
		}
		if got := shownSerial(t, c, n.API, leader); got != serial {
			t.Errorf("%s: the node shows %s, want %s", what, got, serial)
		}
	}
	if err := os.WriteFile(crt, good, 0o644); err != nil {
		t.Fatal(err)
	}
	// A wrong deny list beside good certificates changes nothing either.
	again := reissue(t, c, authority, leader)
	deny := filepath.Join(c.NodeDir(leader), "deny")
	if err := os.WriteFile(deny, []byte("# one\nserial x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if line := hangup(t, c, leader, "nothing was reloaded"); !strings.Contains(line, "line 2") {
		t.Errorf("a wrong deny list: %s", line)
	}
	if got := shownSerial(t, c, n.API, leader); got != serial || got == again {
		t.Errorf("after a wrong deny list the node shows %s, want %s", got, serial)
	}
	if now := termOf(t, c, leader); now != term {
		t.Errorf("the term went from %d to %d: there was an election", term, now)
	}

	// A list that names the writer, on all nodes.
	for _, name := range c.Names() {
		list := fmt.Sprintf("id %s # gone\n", pki.ServiceID(local.TrustDomain, "writer"))
		if err := os.WriteFile(filepath.Join(c.NodeDir(name), "deny"), []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		line := hangup(t, c, name, "msg=reloaded")
		if name == leader && strings.Contains(line, "closed_connections=0") {
			t.Errorf("the writer's connection stays open: %s", line)
		}
	}
	denied := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := cl.Append(ctx, client.Entry{Payload: []byte("x")})
		return err
	}
	if denied() == nil {
		t.Error("a denied client appended")
	}
	if h, err := dial(t, c, "reader").Head(t.Context()); err != nil || h.Size != 3 {
		t.Errorf("another client: size %d, %v", h.Size, err)
	}
	// The first append may have ended with the connection that was closed.
	eventually(t, "the refusal of the denied client is in the leader's log", func() bool {
		log := string(readFile(t, c.LogPath(leader)))
		return strings.Contains(log, "part=access port=api") && strings.Contains(log, "reason=denied") || denied() == nil
	})
	if denied() == nil {
		t.Error("a denied client appended, later")
	}

	// What is not taken over is named.
	cosigner := filepath.Join(c.NodeDir(leader), "cosigner.key")
	if err := os.WriteFile(cosigner, append(readFile(t, cosigner), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if line := hangup(t, c, leader, "only after a restart"); !strings.Contains(line, "keys.cosigner") {
		t.Errorf("a changed cosigner key: %s", line)
	}
	// A clean stop says so, with its reason.
	if err := c.Stop(t.Context(), leader); err != nil {
		t.Fatal(err)
	}
	log := string(readFile(t, c.LogPath(leader)))
	for _, want := range []string{`msg="the node stops" node=` + leader + ` reason="terminated signal received"`, `msg="the node has stopped cleanly"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// other returns a node that is not the named one.
func other(name string) string {
	if name == "n1" {
		return "n2"
	}
	return "n1"
}

func termOf(t *testing.T, c *local.Cluster, name string) uint64 {
	t.Helper()
	all, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name && s.Status != nil {
			return s.Status.Term
		}
	}
	t.Fatalf("%s has no status", name)
	return 0
}

func clusterOf(t *testing.T, c *local.Cluster) pki.ClusterID {
	t.Helper()
	cfg, err := node.LoadConfig(filepath.Join(c.NodeDir("n1"), "node.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := pki.ParseClusterID(cfg.ClusterID)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
