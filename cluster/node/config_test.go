package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func validConfig() Config {
	c := Config{
		Name: "n1", ClusterID: "00000000000000ab", Origin: "example.org/ledger", TrustDomain: "example.org", DataDir: "data",
		Listen: Listen{API: "127.0.0.1:1", Peer: "127.0.0.1:2", HTTP: "127.0.0.1:3"},
		Keys: Keys{Roots: "roots.pem", Certificate: "node.crt", Key: "node.key", KEMCertificate: "kem.crt", KEMKey: "kem.key",
			Cosigner: "cosigner.key", Sealing: "sealing.key", LogKey: "log.key.sealed"},
		Policy: "policy",
		Members: []Member{
			{ID: 1, Name: "n1", Peer: "127.0.0.1:2", API: "127.0.0.1:1", Cosigner: "vkey1"},
			{ID: 2, Name: "n2", Peer: "127.0.0.1:5", API: "127.0.0.1:4", Cosigner: "vkey2"},
		},
	}
	c.setDefaults()
	return c
}

func TestConfigRoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "node.yaml")
	c := validConfig()
	if err := c.Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "keys.d"); got.DataDir != filepath.Join(dir, "data") || got.Keys.Roots != filepath.Join(dir, "roots.pem") {
		t.Errorf("relative paths are not taken from the file's directory (like %s): %+v", want, got)
	}
	if got.Raft != c.Raft || got.Storage != c.Storage || len(got.Members) != 2 || got.Self().ID != 1 {
		t.Errorf("loaded %+v, want %+v", got, c)
	}
}

// TestConfigErrors shows that every mistake is told with the key that is wrong.
func TestConfigErrors(t *testing.T) {
	t.Parallel()
	for key, spoil := range map[string]func(*Config){
		"name":             func(c *Config) { c.Name = "N 1" },
		"cluster_id":       func(c *Config) { c.ClusterID = "12" },
		"origin":           func(c *Config) { c.Origin = "a b" },
		"trust_domain":     func(c *Config) { c.TrustDomain = "" },
		"suite":            func(c *Config) { c.Suite = "classic" },
		"data_dir":         func(c *Config) { c.DataDir = "" },
		"policy":           func(c *Config) { c.Policy = "" },
		"keys.log_key":     func(c *Config) { c.Keys.LogKey = "" },
		"listen.peer":      func(c *Config) { c.Listen.Peer = "nowhere" },
		"members":          func(c *Config) { c.Members = nil },
		"members[1].id":    func(c *Config) { c.Members[1].ID = 1 },
		"members[0].id":    func(c *Config) { c.Members[0].ID = 0 },
		"members[1].peer":  func(c *Config) { c.Members[1].Peer = c.Members[0].API },
		"members[1].api: ": func(c *Config) { c.Members[1].API = ":5" },
		"members[0].api":   func(c *Config) { c.Members[0].API = "127.0.0.1:0" },
		"listen.api":       func(c *Config) { c.Listen.API = "127.0.0.1:65536" },
		"listen.peer: ":    func(c *Config) { c.Listen.Peer = c.Listen.API },
		"listen.http":      func(c *Config) { c.Listen.HTTP = ":1" },
		"raft.stall":       func(c *Config) { c.Raft.Stall = 200 * time.Millisecond },
		"storage.segment_bytes": func(c *Config) {
			c.Storage.SegmentBytes, c.Storage.RetainBytes = 2<<20, 1<<20
		},
		"members[1].name":     func(c *Config) { c.Members[1].Name = "n1" },
		"members[1].api":      func(c *Config) { c.Members[1].API = "x" },
		"members[1].cosigner": func(c *Config) { c.Members[1].Cosigner = "" },
		`members: "n3"`:       func(c *Config) { c.Name = "n3" },
		"raft.tick":           func(c *Config) { c.Raft.Tick = time.Microsecond },
		"raft.heartbeat":      func(c *Config) { c.Raft.Heartbeat = 15 * time.Millisecond },
		"raft.election":       func(c *Config) { c.Raft.Election = 100 * time.Millisecond },
		"log_level":           func(c *Config) { c.LogLevel = "loud" },
	} {
		c := validConfig()
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("%s spoilt: %v, want an error that starts with the key", key, err)
		}
	}
	file := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(file, []byte("name: n1\nnmae: n2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(file); err == nil || !strings.Contains(err.Error(), "nmae") {
		t.Errorf("a misspelt key: %v, want an error that names it", err)
	}
}
