package node

import (
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

func validConfig() Config {
	c := Config{
		Name: "n1", ClusterID: "00000000000000ab", Directory: "example.org/directory", TrustDomain: "example.org", DataDir: "data",
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
	if got.Raft != c.Raft || got.Storage != c.Storage || len(got.Members) != 2 || got.Self().ID != 1 {
		t.Errorf("loaded %+v, want %+v", got, c)
	}
}

// TestPathsAreRelativeToTheFile: every key that names a file or a directory, also one that may be
// absent.
func TestPathsAreRelativeToTheFile(t *testing.T) {
	t.Parallel()
	paths := func(c *Config) map[string]*string {
		all := map[string]*string{"data_dir": &c.DataDir, "policy": &c.Policy, "log_file": &c.LogFile}
		for i, keys := 0, reflect.ValueOf(&c.Keys).Elem(); i < keys.NumField(); i++ {
			all["keys."+yamlName(keys.Type().Field(i))] = keys.Field(i).Addr().Interface().(*string)
		}
		delete(all, "keys.signer_key") // keys, not files
		delete(all, "keys.signer_next")
		return all
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "node.yaml")
	load := func(without string, write func(key string) string) map[string]*string {
		t.Helper()
		c := validConfig()
		for key, path := range paths(&c) {
			// A second key in a file goes with a first one in a file alone.
			if *path = write(key); key == without || key == "keys.cosigner_next" && without == "keys.cosigner" {
				*path = ""
			}
		}
		if err := c.Write(file); err != nil {
			t.Fatal(err)
		}
		got, err := LoadConfig(file)
		if err != nil {
			t.Fatal(err)
		}
		all := paths(&got)
		if *all[without] != "" {
			t.Errorf("%s, which is not set, is %s", without, *all[without])
		}
		delete(all, without)
		if without == "keys.cosigner" {
			delete(all, "keys.cosigner_next")
		}
		return all
	}
	for _, without := range []string{"keys.cosigner", "keys.signer"} { // exactly one of them is set
		for key, got := range load(without, func(key string) string { return filepath.Join("sub", key) }) {
			if want := filepath.Join(dir, "sub", key); *got != want {
				t.Errorf("%s: sub/%s is %s, want %s", key, key, *got, want)
			}
		}
		for key, got := range load(without, func(key string) string { return filepath.Join("/elsewhere", key) }) {
			if want := filepath.Join("/elsewhere", key); *got != want {
				t.Errorf("%s: the absolute path %s became %s", key, want, *got)
			}
		}
	}
}

// TestAddressesAsWritten: an address has one spelling of its port and no blanks.
func TestAddressesAsWritten(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		" 127.0.0.1:39", "127.0.0.1:39 ", "127.0.0.1: 39", "127.0.0.1 :39", "\t127.0.0.1:39", "127.0.0.1:39\n", "127.0.0.1:39\u00a0",
		"127.0.0.1:039", "127.0.0.1:030299", "127.0.0.1:00", "127.0.0.1:+39", "127.0.0.1:http", "a\x00:39",
	} {
		for key, field := range map[string]func(*Config) *string{
			"listen.api":      func(c *Config) *string { return &c.Listen.API },
			"listen.peer":     func(c *Config) *string { return &c.Listen.Peer },
			"listen.http":     func(c *Config) *string { return &c.Listen.HTTP },
			"listen.probe":    func(c *Config) *string { return &c.Listen.Probe },
			"members[0].peer": func(c *Config) *string { return &c.Members[0].Peer },
			"members[1].api":  func(c *Config) *string { return &c.Members[1].API },
		} {
			c := validConfig()
			*field(&c) = address
			if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+": ") || !strings.Contains(err.Error(), strconv.Quote(address)) {
				t.Errorf("%s: %q: %v, want an error with the key and the text", key, address, err)
			}
		}
	}
}

// TestAddressesApart: no listener takes the address of another member, in whatever spelling. The
// node's own row may name its own listeners, and other machines may use the same ports.
func TestAddressesApart(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		want   string // how the error starts; "": none
		change func(*Config)
	}{
		{"listen.api: 127.0.0.1:4 is members[1].api", func(c *Config) { c.Listen.API = "127.0.0.1:4" }},
		{"listen.api: 127.0.0.1:5 is members[1].peer", func(c *Config) { c.Listen.API = "127.0.0.1:5" }},
		{"listen.peer: 127.0.0.1:5 is members[1].peer", func(c *Config) { c.Listen.Peer = "127.0.0.1:5" }},
		{"listen.http: 127.0.0.1:5 is members[1].peer", func(c *Config) { c.Listen.HTTP = "127.0.0.1:5" }},
		{"listen.probe: 127.0.0.1:4 is members[1].api", func(c *Config) { c.Listen.Probe = "127.0.0.1:4" }},
		{"listen.http: [::ffff:127.0.0.1]:5 is members[1].peer", func(c *Config) { c.Listen.HTTP = "[::ffff:127.0.0.1]:5" }},
		{"listen.http: LOCALHOST:5 is members[1].peer", func(c *Config) { c.Listen.HTTP, c.Members[1].Peer = "LOCALHOST:5", "localhost:5" }},
		{"members[1].peer: [::0:1]:1 is the address of members[0].api", func(c *Config) { c.Members[0].API, c.Members[1].Peer = "[::1]:1", "[::0:1]:1" }},
		{"members[1].api: N1.example.:1 is the address of members[0].api", func(c *Config) { c.Members[0].API, c.Members[1].API = "n1.example:1", "N1.example.:1" }},
		{"listen.peer: [0::1]:1 is in use by listen.api", func(c *Config) { c.Listen.API, c.Listen.Peer = "[::1]:1", "[0::1]:1" }},
		// Every machine uses the same ports, and listens on all of its addresses or on one.
		{"", func(c *Config) {
			c.Listen = Listen{API: ":1", Peer: "0.0.0.0:2", HTTP: "[::]:3"}
			c.Members[0].API, c.Members[0].Peer, c.Members[1].API, c.Members[1].Peer = "192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "192.0.2.2:2"
		}},
		{"", func(c *Config) {
			c.Listen = Listen{API: "192.0.2.1:1", Peer: "192.0.2.1:2", HTTP: "192.0.2.1:3"}
			c.Members[0].API, c.Members[0].Peer, c.Members[1].API, c.Members[1].Peer = "192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "192.0.2.2:2"
		}},
		// Others reach this node through an address translation.
		{"", func(c *Config) { c.Members[0].API, c.Members[0].Peer = "n1.example:443", "n1.example:444" }},
	} {
		c := validConfig()
		x.change(&c)
		if err := c.Validate(); x.want == "" && err != nil || x.want != "" && (err == nil || !strings.HasPrefix(err.Error(), x.want)) {
			t.Errorf("%+v %+v: %v, want %q", c.Listen, c.Members, err, x.want)
		}
	}
}

// TestConfigErrors shows that every mistake is told with the key that is wrong.
func TestConfigErrors(t *testing.T) {
	t.Parallel()
	for key, spoil := range map[string]func(*Config){
		"name":             func(c *Config) { c.Name = "N 1" },
		"cluster_id":       func(c *Config) { c.ClusterID = "12" },
		"directory":        func(c *Config) { c.Directory = "a b" },
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

// TestOneCosigner: the cosigner key is in a file or behind a socket, not both and not neither.
func TestOneCosigner(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][2]string{"both": {"a", "b"}, "neither": {"", ""}} {
		c := validConfig()
		c.Keys.Cosigner, c.Keys.Signer = keys[0], keys[1]
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "keys.signer") {
			t.Errorf("%s: %v, want an error that names keys.signer", name, err)
		}
	}
	c := validConfig()
	c.Keys.Cosigner, c.Keys.Signer = "", "socket"
	if err := c.Validate(); err != nil {
		t.Errorf("a socket: %v", err)
	}
}
