package client_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

const (
	trustDomain = "fake.example"
	clusterID   = pki.ClusterID(0xfa)
)

// authority issues what a test needs. Its nodes are those of one cluster.
type authority struct {
	t         testing.TB
	root      *pki.Authority
	cluster   pki.ClusterID
	nodeRoles pki.Role
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	root, err := pki.NewRoot("test root", trustDomain, pqcrypto.MLDSA87, 24*time.Hour)
	must(t, err)
	return authority{t, root, clusterID, pki.RolePeer}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (a authority) identity(id pki.ID, roles pki.Role, now time.Time, validity time.Duration) ([]*pki.Certificate, *pqcrypto.SigningKey) {
	a.t.Helper()
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
	must(a.t, err)
	cert, err := a.root.IssueIdentity(pki.IssueRequest{ID: id, Roles: roles, PublicKey: key.Public(), Now: now, Validity: validity})
	must(a.t, err)
	return []*pki.Certificate{cert}, key
}

// node returns the channel of a node.
func (a authority) node(name string) credentials.TransportCredentials {
	a.t.Helper()
	chain, key := a.identity(pki.NodeID(trustDomain, a.cluster, name), a.nodeRoles, time.Time{}, time.Hour)
	kemKey, err := pqcrypto.GenerateDecapsulationKey(pqcrypto.MLKEM768)
	must(a.t, err)
	kem, err := a.root.IssueKEM(pki.KEMRequest{SVID: chain[0], PublicKey: kemKey.Public(), Validity: time.Hour})
	must(a.t, err)
	identity, err := pki.NewIdentity(chain, key, []*pki.Certificate{kem}, kemKey)
	must(a.t, err)
	pool, err := pki.NewPool(a.root.Certificate())
	must(a.t, err)
	cfg := &lpa.Config{Suite: lpa.Suite768, Identity: identity, Roots: pool}
	must(a.t, cfg.Validate())
	return cfg.Credentials(nil)
}

// files writes the files of a client's profile.
func (a authority) files(p client.Profile, chain []*pki.Certificate, key *pqcrypto.SigningKey) client.Profile {
	a.t.Helper()
	dir := a.t.TempDir()
	p.TrustDomain, p.ClusterID = trustDomain, clusterID.String()
	p.Roots, p.Certificate, p.Key = filepath.Join(dir, "roots.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(a.t, os.WriteFile(p.Roots, pki.MarshalPEM(a.root.Certificate()), 0o600))
	must(a.t, os.WriteFile(p.Certificate, pki.MarshalPEM(chain...), 0o600))
	must(a.t, pqcrypto.WriteKeyFile(p.Key, key))
	return p
}

// TestAuthenticatedChannel: the whole way with real certificates, keys and files: roles hold,
// principals are true, and who is not accepted learns it at once.
func TestAuthenticatedChannel(t *testing.T) {
	t.Parallel()
	ours, foreign := newAuthority(t), newAuthority(t)
	cluster := fakecluster.New(t, 2, fakecluster.Options{Credentials: ours.node})
	base := profile(t, cluster, "")
	open := func(p client.Profile) *client.Client {
		t.Helper()
		c, err := client.Dial(t.Context(), p)
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	id := pki.ServiceID(trustDomain, "billing")
	chain, key := ours.identity(id, pki.RoleWriter, time.Time{}, time.Hour)
	writer := open(ours.files(base, chain, key))
	if writer.Principal() != string(id) {
		t.Errorf("principal %q, want %q", writer.Principal(), id)
	}
	a := mustAppend(t, writer, entry("k", "v"), client.Sealed())
	if e, err := writer.Get(within(t), a.Index); err != nil || e.Principal != string(id) {
		t.Errorf("got %+v, %v", e, err)
	}

	chain, key = ours.identity(pki.ServiceID(trustDomain, "auditor"), pki.RoleReader, time.Time{}, time.Hour)
	reader := open(ours.files(base, chain, key))
	if _, err := reader.Receipt(within(t), a.Index); err != nil {
		t.Error(err)
	}
	_, err := reader.Append(within(t), entry("", "x"))
	wantError(t, err, "PERMISSION_DENIED", true)

	chain, key = ours.identity(pki.NodeID(trustDomain, clusterID, "n9"), pki.RolePeer, time.Time{}, time.Hour)
	_, err = open(ours.files(base, chain, key)).Head(within(t))
	wantError(t, err, "PERMISSION_DENIED", true)

	chain, key = ours.identity(pki.ServiceID(trustDomain, "op"), pki.RoleAdmin, time.Time{}, time.Hour)
	if leader, err := open(ours.files(base, chain, key)).TransferLeadership(within(t), "n2"); err != nil || leader != "n2" {
		t.Errorf("transfer: %q, %v", leader, err)
	}
	if a := mustAppend(t, writer, entry("k2", "v")); a.Index != 1 {
		t.Errorf("after the transfer: %+v", a)
	}

	// Those whom nobody accepts fail at once, definitely, and are told why.
	chain, key = ours.identity(id, pki.RoleWriter, time.Now().Add(-2*time.Hour), time.Hour)
	_, err = open(ours.files(base, chain, key)).Append(within(t), entry("", "x"))
	if e := wantError(t, err, client.ReasonHandshake, true); e.Unwrap() == nil {
		t.Errorf("no cause: %v", e)
	}
	chain, key = foreign.identity(id, pki.RoleWriter, time.Time{}, time.Hour)
	p := ours.files(base, chain, key)
	_, err = open(p).Append(within(t), entry("", "x"))
	wantError(t, err, client.ReasonHandshake, true)
	chain, key = ours.identity(id, pki.RoleWriter, time.Time{}, time.Hour)
	p = ours.files(base, chain, key)
	p.Suite = "cat5"
	if c, err := client.Dial(t.Context(), p); err == nil {
		_, err = c.Head(within(t))
		wantError(t, err, client.ReasonHandshake, true)
		_ = c.Close()
	}
	// A node under another node's name is not believed.
	p = ours.files(base, chain, key)
	p.Endpoints = []client.Endpoint{{Name: "n1", Address: cluster.Nodes[1].Address}}
	_, err = open(p).Head(within(t))
	wantError(t, err, client.ReasonHandshake, true)
	s := open(p).OpenStream(within(t))
	pending, err := s.Append(within(t), []client.Entry{entry("", "x")})
	must(t, err)
	_, err = pending.Wait(within(t))
	wantError(t, err, client.ReasonHandshake, true)
	s.Close()
}

// TestOtherCluster: one authority serves two clusters whose nodes have the same names. A client of
// the one sends nothing to a node of the other.
func TestOtherCluster(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	theirs := ours
	theirs.cluster++
	cluster := fakecluster.New(t, 1, fakecluster.Options{Credentials: theirs.node})
	chain, key := ours.identity(pki.ServiceID(trustDomain, "w"), pki.RoleWriter, time.Time{}, time.Hour)
	p := ours.files(profile(t, cluster, ""), chain, key)
	open := func() *client.Client {
		t.Helper()
		c, err := client.Dial(t.Context(), p)
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	_, err := open().Append(within(t), entry("k", "v"))
	if e := wantError(t, err, client.ReasonHandshake, true); !strings.Contains(e.Error(), string(pki.NodeID(trustDomain, theirs.cluster, "n1"))) {
		t.Errorf("the error does not name who answered: %v", e)
	}
	if n := size(t, cluster.Nodes[0]); n != 0 {
		t.Errorf("%d entries reached the other cluster", n)
	}
	p.ClusterID = theirs.cluster.String()
	mustAppend(t, open(), entry("k", "v"))
}

// TestServerWithoutRolePeer: a certificate with a node's name that lacks the role peer makes no
// node.
func TestServerWithoutRolePeer(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	reader := ours
	reader.nodeRoles = pki.RoleReader
	cluster := fakecluster.New(t, 1, fakecluster.Options{Credentials: reader.node})
	chain, key := ours.identity(pki.ServiceID(trustDomain, "w"), pki.RoleWriter, time.Time{}, time.Hour)
	c, err := client.Dial(t.Context(), ours.files(profile(t, cluster, ""), chain, key))
	must(t, err)
	defer c.Close()
	_, err = c.Append(within(t), entry("k", "v"))
	if e := wantError(t, err, client.ReasonHandshake, true); !strings.Contains(e.Error(), "lacks the role peer") {
		t.Errorf("the error does not say what is missing: %v", e)
	}
	if n := size(t, cluster.Nodes[0]); n != 0 {
		t.Errorf("%d entries reached the reader", n)
	}
}

func TestDialChecksFiles(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	cluster := fakecluster.New(t, 1, fakecluster.Options{Credentials: ours.node})
	chain, key := ours.identity(pki.ServiceID(trustDomain, "w"), pki.RoleWriter, time.Time{}, time.Hour)
	_, otherKey := ours.identity(pki.ServiceID(trustDomain, "w"), pki.RoleWriter, time.Time{}, time.Hour)
	good := ours.files(profile(t, cluster, ""), chain, key)
	other := ours.files(profile(t, cluster, ""), chain, otherKey)
	garbage := filepath.Join(t.TempDir(), "garbage")
	must(t, os.WriteFile(garbage, []byte("garbage"), 0o600))
	for name, change := range map[string]func(*client.Profile){
		"no policy file":  func(p *client.Profile) { p.Policy = "/no/such/file" },
		"garbage policy":  func(p *client.Profile) { p.Policy = garbage },
		"garbage roots":   func(p *client.Profile) { p.Roots = garbage },
		"garbage key":     func(p *client.Profile) { p.Key = garbage },
		"another's key":   func(p *client.Profile) { p.Key = other.Key },
		"unknown suite":   func(p *client.Profile) { p.Suite = "quantum" },
		"no endpoints":    func(p *client.Profile) { p.Endpoints = nil },
		"no trust domain": func(p *client.Profile) { p.TrustDomain = "" },
		"no cluster":      func(p *client.Profile) { p.ClusterID = "" },
		"no cluster's ID": func(p *client.Profile) { p.ClusterID = "0000000000000000" },
	} {
		p := good
		change(&p)
		if c, err := client.Dial(t.Context(), p); err == nil {
			_ = c.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestOtherLedger: a profile of one ledger cannot write into another that shares its certificates.
func TestOtherLedger(t *testing.T) {
	cluster := fakecluster.New(t, 1, fakecluster.Options{})
	p := profile(t, cluster, "")
	p.Origin = "another.example/ledger"
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	must(t, err)
	other, err := tlog.NewCosigner(p.Origin, key)
	must(t, err)
	witness, err := tlog.NewCosigner(p.Origin+"/n1", key)
	must(t, err)
	policy, err := tlog.NewPolicy([]*tlog.VerifierKey{other.Key()}, []*tlog.VerifierKey{witness.Key()}, 1)
	must(t, err)
	must(t, os.WriteFile(p.Policy, policy.Marshal(), 0o600))
	c := connect(t, p)
	_, err = c.Append(within(t), entry("k", "v"))
	wantError(t, err, client.ReasonOtherLedger, true)
	s := c.OpenStream(within(t))
	defer s.Close()
	pending, err := s.Append(within(t), []client.Entry{entry("k", "v")})
	must(t, err)
	_, err = pending.Wait(within(t))
	wantError(t, err, client.ReasonOtherLedger, true)
	if n := size(t, cluster.Nodes[0]); n != 0 {
		t.Errorf("%d entries reached the other ledger", n)
	}
}
