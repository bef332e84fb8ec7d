package cluster_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
)

// tryNode runs a node from a changed copy of an existing node's configuration and
// returns what it said when it refused to run.
func tryNode(t *testing.T, c *local.Cluster, name string, change func(*node.Config)) string {
	t.Helper()
	cfg, err := node.LoadConfig(filepath.Join(c.NodeDir(name), "node.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	change(&cfg)
	file := filepath.Join(t.TempDir(), "node.yaml")
	if err := cfg.Write(file); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, os.Args[0], "node", "--config", file).CombinedOutput()
	if err == nil || ctx.Err() != nil {
		t.Errorf("%s ran with a changed configuration: %v\n%s", name, err, out)
	}
	return string(out)
}

// TestRefusesForeignData starts nodes on data, keys and addresses that are not theirs.
func TestRefusesForeignData(t *testing.T) {
	c, other := startCluster(t, 3), startCluster(t, 1)
	cl := dial(t, c, "writer")
	if _, err := cl.Append(t.Context(), client.Entry{Key: []byte("k"), Payload: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name, want string
		change     func(*node.Config)
	}{
		{"a second process on one directory", "in use by another process", func(*node.Config) {}},
		{"no data", "has not been initialised", func(cfg *node.Config) { cfg.DataDir = filepath.Join(t.TempDir(), "data") }},
		{"another node's data", "belongs to another node", func(cfg *node.Config) { cfg.DataDir = c.DataDir("n2") }},
		{"another cluster's data", "belongs to another node", func(cfg *node.Config) { cfg.DataDir = other.DataDir("n1") }},
		{"another node's certificate", "this node is", func(cfg *node.Config) {
			cfg.Keys.Certificate = filepath.Join(c.NodeDir("n2"), "node.crt")
			cfg.Keys.Key = filepath.Join(c.NodeDir("n2"), "node.key")
			cfg.Keys.KEMCertificate = filepath.Join(c.NodeDir("n2"), "kem.crt")
			cfg.Keys.KEMKey = filepath.Join(c.NodeDir("n2"), "kem.key")
		}},
		{"another node's cosigner key, beside its own data", "names another key of this node", func(cfg *node.Config) {
			cfg.Keys.Cosigner = filepath.Join(c.NodeDir("n2"), "cosigner.key")
		}},
		{"another node's sealing key", "log_key", func(cfg *node.Config) {
			cfg.Keys.Sealing = filepath.Join(c.NodeDir("n2"), "sealing.key")
		}},
		{"another cluster's log key", "log_key", func(cfg *node.Config) {
			cfg.Keys.LogKey = filepath.Join(other.NodeDir("n1"), "log.key.sealed")
		}},
		{"an unknown suite", "suite", func(cfg *node.Config) { cfg.Suite = "classic" }},
	} {
		victim := "n1"
		if strings.Contains(x.name, "data") {
			// Its own directory is free, the foreign one is as well: the identity decides.
			if err := c.Stop(t.Context(), "n1", "n2"); err != nil {
				t.Fatal(err)
			}
			if err := other.Stop(t.Context(), "n1"); err != nil {
				t.Fatal(err)
			}
		}
		if said := tryNode(t, c, victim, x.change); !strings.Contains(said, x.want) {
			t.Errorf("%s: the node said\n%s\nwant something with %q", x.name, said, x.want)
		}
		start(t, c)
		start(t, other)
	}
	e, err := cl.Get(t.Context(), 1)
	if err != nil || string(e.Payload) != "v" {
		t.Errorf("after all that: %q, %v", e.Payload, err)
	}
}

// TestForeignClients connects with certificates that do not entitle to anything.
func TestForeignClients(t *testing.T) {
	c, other := startCluster(t, 1), startCluster(t, 1)
	reader := dial(t, c, "reader")
	_, err := reader.Append(t.Context(), client.Entry{Payload: []byte("x")})
	if err == nil || !client.IsDefinite(err) || !strings.Contains(err.Error(), "role") {
		t.Errorf("a reader appends: %v, want a definite refusal that names the role", err)
	}
	p, err := client.LoadProfile(c.Profile("writer"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := client.LoadProfile(other.Profile("writer"))
	if err != nil {
		t.Fatal(err)
	}
	foreign := p
	foreign.State, foreign.Certificate, foreign.Key = "", o.Certificate, o.Key
	wrongSuite := p
	wrongSuite.State, wrongSuite.Suite = "", "cat5"
	for name, profile := range map[string]client.Profile{"a certificate of another root": foreign, "the other suite": wrongSuite} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		cl, err := client.Dial(ctx, profile)
		if err == nil {
			_, err = cl.Append(ctx, client.Entry{Payload: []byte("x")})
			cl.Close()
		}
		cancel()
		if err == nil {
			t.Errorf("%s: the append succeeded", name)
		}
		t.Logf("%s: %v", name, err)
	}
	manyConnections(t, c)
	if h, err := reader.Head(t.Context()); err != nil || h.Size != 1 {
		t.Errorf("afterwards the ledger has %d entries, %v; want the genesis alone", h.Size, err)
	}
}

// manyConnections: the HTTP port takes only so many at a time from one address, closes the oldest
// for a new one, and answers all the while.
func manyConnections(t *testing.T, c *local.Cluster) {
	t.Helper()
	var open []net.Conn
	for range 600 {
		conn, err := net.Dial("tcp", c.Nodes()[0].HTTP)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		open = append(open, conn)
	}
	resp, err := (&http.Client{Timeout: time.Second, Transport: &http.Transport{}}).Get(c.Nodes()[0].HTTPURL() + "/livez")
	if err != nil {
		t.Errorf("beside %d connections: %v", len(open), err)
	} else {
		_ = resp.Body.Close()
	}
	_ = open[0].SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := open[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the first of %d connections stays open", len(open))
	}
}
