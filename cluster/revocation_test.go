package cluster_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// TestRevocationOnOpenConnections: a signed list takes effect on SIGHUP. The open connection of a
// client that it names is closed and no other is made, and a member that it names is out. An older
// list, and one that the authority did not sign, change nothing.
func TestRevocationOnOpenConnections(t *testing.T) {
	list := func(c *node.Config) string { return filepath.Join(filepath.Dir(c.DataDir), "..", "revoked.pem") }
	c := createCluster(t, 3, func(cfg *node.Config) { cfg.Keys.Revoked = list(cfg) })
	root := rootOf(t, c)
	write := func(by *pki.Authority, number uint64, revoked ...string) {
		t.Helper()
		r := pki.RevocationRequest{Number: number, Validity: time.Hour}
		for _, file := range revoked {
			certs, err := pki.ReadCertificates(file)
			if err != nil {
				t.Fatal(err)
			}
			r.Serials = append(r.Serials, certs[0].SerialNumber)
		}
		l, err := by.IssueRevocationList(r)
		if err != nil {
			t.Fatal(err)
		}
		text := (&pki.Revocations{Lists: []*pki.RevocationList{l}}).MarshalPEM()
		if err := os.WriteFile(filepath.Join(c.Dir(), "revoked.pem"), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(root, 1)
	start(t, c)
	writer, reader := dial(t, c, "writer"), dial(t, c, "reader")
	if _, err := writer.Append(t.Context(), client.Entry{Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	leader, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	// A stolen client's certificate.
	thief := filepath.Join(c.Dir(), "profiles", "writer.crt")
	write(root, 2, thief)
	for _, name := range c.Names() {
		line := hangup(t, c, name, "msg=reloaded")
		if !strings.Contains(line, "revoked=1") || name == leader && strings.Contains(line, "closed_connections=0") {
			t.Errorf("%s: the writer's connection stays open: %s", name, line)
		}
	}
	refused := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := writer.Append(ctx, client.Entry{Payload: []byte("y")})
		return err != nil
	}
	// A call that began before the list may fail with the connection; after it every one does.
	for range 3 {
		if !refused() {
			t.Fatal("a revoked client appends")
		}
	}
	if h, err := reader.Head(t.Context()); err != nil || h.Size != 2 {
		t.Errorf("another client: size %d, %v", h.Size, err)
	}
	if log := string(readFile(t, c.LogPath(leader))); !strings.Contains(log, "revoked: identity certificate of spiffe://cairn.local/svc/writer") {
		t.Error("the log does not say why the writer is refused")
	}

	// Nothing takes a revocation back.
	other, err := pki.NewRoot("Cairn local cluster", "cairn.local", root.Key().Params(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(){
		"the one in force has 2":  func() { write(root, 1) },
		"is no known root":        func() { write(other, 9) },
		"read revocation lists":   func() { _ = os.Remove(filepath.Join(c.Dir(), "revoked.pem")) },
		"no PEM block":            func() { _ = os.WriteFile(filepath.Join(c.Dir(), "revoked.pem"), nil, 0o644) },
		"the one in force has 2 ": func() { write(root, 2) },
		"malformed": func() {
			_ = os.WriteFile(filepath.Join(c.Dir(), "revoked.pem"), []byte("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"), 0o644)
		},
	} {
		spoil()
		if line := hangup(t, c, leader, "nothing was reloaded"); !strings.Contains(line, strings.TrimSpace(what)) {
			t.Errorf("want %q: %s", what, line)
		}
	}
	if !refused() {
		t.Error("a revoked client appends after lists that were refused")
	}

	// A client that reads the list refuses a node that it names.
	write(root, 3, thief, filepath.Join(c.NodeDir("n1"), "node.crt"))
	p, err := client.LoadProfile(c.Profile("reader"))
	if err != nil {
		t.Fatal(err)
	}
	p.Revoked = filepath.Join(c.Dir(), "revoked.pem")
	careful, err := client.Dial(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer careful.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := careful.Status(ctx, "n1"); err == nil {
		t.Error("a client speaks to a node that its list revokes")
	}
	if _, err := careful.Status(t.Context(), "n2"); err != nil {
		t.Errorf("a client with a list does not speak to another node: %v", err)
	}

	// A stolen member's: the others go on without it.
	admin := dial(t, c, "admin")
	lost := "n1"
	if leader == lost {
		lost = "n2"
	}
	write(root, 4, thief, filepath.Join(c.NodeDir(lost), "node.crt"))
	for _, name := range c.Names() {
		if name != lost {
			if line := hangup(t, c, name, "msg=reloaded"); !strings.Contains(line, "revoked=2") || strings.Contains(line, "closed_connections=0") {
				t.Errorf("%s: the connections of %s stay open: %s", name, lost, line)
			}
		}
	}
	before := entries(t, admin)
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := admin.Append(ctx, client.Entry{Payload: []byte("z")}, client.Sealed()); err != nil {
		t.Fatalf("the members that remain: %v", err)
	}
	if now := entries(t, admin); now != before+1 {
		t.Errorf("size %d, want %d", now, before+1)
	}
	eventually(t, "the others refuse "+lost, func() bool {
		return strings.Contains(string(readFile(t, c.LogPath(leader))), "revoked: identity certificate of spiffe://cairn.local/cluster/")
	})
}

func entries(t *testing.T, c *client.Client) uint64 {
	t.Helper()
	h, err := c.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h.Size
}
