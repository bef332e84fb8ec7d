package cluster_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// logged returns the lines of a node's log that say msg. The log is JSON.
func logged(t *testing.T, c *local.Cluster, name, msg string) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(string(readFile(t, c.LogPath(name)))) {
		var attrs map[string]any
		if err := json.Unmarshal([]byte(line), &attrs); err != nil {
			t.Fatalf("%q is not a JSON object: %v", line, err)
		}
		if attrs["msg"] == msg {
			lines = append(lines, attrs)
		}
	}
	return lines
}

// TestStartAndStopAreTold: a start has one line that says what an operator needs to know, a clean
// stop two.
func TestStartAndStopAreTold(t *testing.T) {
	deny := ""
	c := startCluster(t, 1, func(cfg *node.Config) {
		cfg.LogFormat, cfg.Listen.Probe = "json", freeAddress(t)
		deny = filepath.Join(filepath.Dir(cfg.DataDir), "deny")
	})
	if _, err := dial(t, c, "writer").Append(t.Context(), client.Entry{Payload: []byte("x")}, client.Sealed()); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	for msg, want := range map[string]string{"the node stops": "reason", "the node has stopped cleanly": "took"} {
		lines := logged(t, c, "n1", msg)
		if len(lines) != 1 || lines[0][want] == nil {
			t.Errorf("a clean stop has the lines %v, want one that says %q with %s", lines, msg, want)
		}
	}
	if err := os.WriteFile(deny, []byte("serial 17\nserial 18\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := nodeConfig(t, c, "n1")
	cfg.Keys.Deny = deny
	if err := cfg.Write(filepath.Join(c.NodeDir("n1"), "node.yaml")); err != nil {
		t.Fatal(err)
	}
	start(t, c)

	chain, err := pki.ParseCertificatesPEM(readFile(t, filepath.Join(c.NodeDir("n1"), "node.crt")))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"node": "n1", "id": 1.0, "directory": c.Directory(), "cluster": cfg.ClusterID, "version": node.Version, "ledgers": 2.0, "denied": 2.0,
		"api": cfg.Listen.API, "peer": cfg.Listen.Peer, "http": cfg.Listen.HTTP, "probe": cfg.Listen.Probe,
		"certificate": chain[0].SerialNumber.Text(16), "expires": chain[0].NotAfter.UTC().Format(time.RFC3339),
	}
	lines := logged(t, c, "n1", "node is up")
	if len(lines) != 2 {
		t.Fatalf("two starts have %d lines", len(lines))
	}
	for key, value := range want {
		if got := lines[1][key]; got != value {
			t.Errorf("the line of the start says %s=%v, want %v", key, got, value)
		}
	}
	if lines[0]["ledgers"] != 1.0 || lines[0]["denied"] != 0.0 {
		t.Errorf("the line of the first start is %v, want the directory alone and no deny list", lines[0])
	}
}
