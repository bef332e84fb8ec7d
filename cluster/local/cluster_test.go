package local

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/pqcrypto/seal"
)

// fakeBinary stands in for the cairn binary where it is only copied.
func fakeBinary(t *testing.T) string { return script(t, "exit 7") }

func script(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cairn")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func create(t *testing.T, o Options) *Cluster {
	t.Helper()
	o.Executable = fakeBinary(t)
	c, err := Create(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCreate(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"", "cat5"} {
		c := create(t, Options{Dir: filepath.Join(t.TempDir(), "new", "dir"), Nodes: 3, Suite: suite, Origin: "example.org/test"})
		policyText, err := os.ReadFile(c.PolicyPath())
		if err != nil {
			t.Fatal(err)
		}
		policy, err := tlog.ParsePolicy(policyText)
		if err != nil {
			t.Fatal(err)
		}
		if len(policy.Cosigners()) != 3 || policy.Logs()[0].Name() != "example.org/test" {
			t.Errorf("policy:\n%s", policyText)
		}
		cluster, err := pki.ParseClusterID(c.state.ClusterID)
		if err != nil {
			t.Fatal(err)
		}
		ports := map[string]bool{}
		for _, n := range c.Nodes() {
			conf, err := node.LoadConfig(c.configPath(n.Name))
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range []string{conf.Listen.API, conf.Listen.Peer, conf.Listen.HTTP} {
				ports[a] = true
			}
			id, err := pki.LoadIdentity(conf.Keys.Certificate, conf.Keys.Key, conf.Keys.KEMCertificate, conf.Keys.KEMKey)
			if err != nil {
				t.Fatal(err)
			}
			if id.Leaf().ID != pki.NodeID(TrustDomain, cluster, n.Name) || id.Leaf().Roles != pki.RolePeer {
				t.Errorf("%s: certificate of %s with roles %s", n.Name, id.Leaf().ID, id.Leaf().Roles)
			}
			sealing, err := seal.ReadKeyFile(conf.Keys.Sealing)
			if err != nil {
				t.Fatal(err)
			}
			key, err := seal.OpenKeyFile(sealing, node.LogKeyLabel(c.Directory()), conf.Keys.LogKey)
			if err != nil {
				t.Fatal(err)
			}
			vkey, err := tlog.NewMLDSA44VerifierKey(c.Origin(), key.(*pqcrypto.SigningKey).Public())
			if err != nil || vkey.String() != policy.Logs()[0].String() {
				t.Errorf("%s: the sealed log key is not that of the policy: %v", n.Name, err)
			}
		}
		if len(ports) != 9 {
			t.Errorf("%d different addresses, want 9", len(ports))
		}
		for name, want := range map[string]pki.Role{
			"writer": pki.RoleWriter | pki.RoleOperator, "reader": pki.RoleReader, "admin": pki.RoleAdmin, "participant": pki.RoleParticipant,
		} {
			p, err := client.LoadProfile(c.Profile(name))
			if err != nil {
				t.Fatal(err)
			}
			id, err := pki.LoadIdentity(p.Certificate, p.Key, "", "")
			if err != nil {
				t.Fatal(err)
			}
			if id.Leaf().Roles != want || len(p.Endpoints) != 3 {
				t.Errorf("profile %s: roles %s, %d endpoints", name, id.Leaf().Roles, len(p.Endpoints))
			}
		}
		checkModes(t, c.Dir())
	}
}

// checkModes wants every private key to be readable by its owner only.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	keys := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".key") {
			return err
		}
		keys++
		if st, err := d.Info(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600 (%v)", path, st.Mode(), err)
		}
		return nil
	})
	if err != nil || keys != 1+3*4+4 {
		t.Errorf("%d key files (%v), want 17", keys, err)
	}
}

func TestCreateRefusesOtherDirectories(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(Options{Dir: dir, Nodes: 1, Executable: fakeBinary(t)}); err == nil {
		t.Error("a directory with other files was taken")
	}
	if _, err := Open(dir); !errors.Is(err, ErrNoCluster) {
		t.Errorf("open: %v, want ErrNoCluster", err)
	}
	c := create(t, Options{Dir: t.TempDir(), Nodes: 1})
	if _, err := Create(Options{Dir: c.Dir(), Nodes: 1, Executable: fakeBinary(t)}); err == nil {
		t.Error("a cluster was overwritten")
	}
	for _, n := range []int{0, -1, MaxNodes + 1} {
		if _, err := Create(Options{Dir: t.TempDir(), Nodes: n, Executable: fakeBinary(t)}); err == nil {
			t.Errorf("a cluster of %d nodes was made", n)
		}
	}
}

// TestInterruptedCreate has the rest of a Create that did not end.
func TestInterruptedCreate(t *testing.T) {
	t.Parallel()
	c := create(t, Options{Dir: t.TempDir(), Nodes: 3})
	for _, name := range []string{"cluster.json", "policy", "env"} {
		if err := os.Remove(filepath.Join(c.Dir(), name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(c.Dir(), creatingMarker), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	again := create(t, Options{Dir: c.Dir(), Nodes: 1})
	if len(again.Nodes()) != 1 {
		t.Errorf("%d nodes, want 1", len(again.Nodes()))
	}
	if _, err := os.Stat(filepath.Join(c.Dir(), "n2")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a node of before is still there: %v", err)
	}
}

// TestCreateInterruptedAnywhere cuts Create off after each of its steps, with a half-written file
// beside each that is there: no cluster is found then, and the next Create makes one, with nothing
// left over.
func TestCreateInterruptedAnywhere(t *testing.T) {
	t.Parallel()
	names := func(dir string) string {
		var all []string
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			all = append(all, strings.TrimPrefix(path, dir))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(all, " ")
	}
	whole := create(t, Options{Dir: t.TempDir(), Nodes: 1})
	o := Options{Nodes: 1, SealQuorum: 1, Executable: fakeBinary(t)}
	for done := 0; ; done++ {
		dir := t.TempDir()
		if err := claim(dir); err != nil {
			t.Fatal(err)
		}
		b := &bootstrap{opts: o, dir: dir}
		steps := b.steps()
		if done == len(steps) {
			break
		}
		for _, step := range steps[:done] {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{creatingMarker, "policy", "env", "cluster.json", "log.vkey"} {
			if err := os.WriteFile(filepath.Join(dir, name+wholefile.Suffix), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(dir); !errors.Is(err, ErrNoCluster) {
			t.Errorf("after %d steps: %v, want no cluster", done, err)
		}
		c, err := Create(Options{Dir: dir, Nodes: 1, Executable: o.Executable})
		if err != nil {
			t.Fatalf("after %d steps: %v", done, err)
		}
		if got, want := names(c.Dir()), names(whole.Dir()); got != want {
			t.Errorf("after %d steps: %s\nwant %s", done, got, want)
		}
	}
	// Before the first step: only the marker's own file is half there.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, creatingMarker+wholefile.Suffix), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	create(t, Options{Dir: dir, Nodes: 1})
}

func TestDestroyLeavesOtherFiles(t *testing.T) {
	t.Parallel()
	c := create(t, Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 3})
	mine := filepath.Join(c.Dir(), "notes.txt")
	if err := os.WriteFile(mine, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.Destroy(context.Background()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(c.Dir())
	if err != nil || len(entries) != 1 || entries[0].Name() != "notes.txt" {
		t.Errorf("left: %v, %v; want notes.txt only", entries, err)
	}
	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
	if err := c.Destroy(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty directory is still there: %v", err)
	}
}

// TestNodeThatEnds: the error shows the end of the node's log.
func TestNodeThatEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	exe := filepath.Join(t.TempDir(), "cairn")
	if err := os.WriteFile(exe, []byte("#!/bin/sh\necho the disk is on fire >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := Create(Options{Dir: dir, Nodes: 1, Executable: exe})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(context.Background()); err == nil || !strings.Contains(err.Error(), "the disk is on fire") {
		t.Errorf("start: %v, want the end of the log", err)
	}
	if err := c.Kill(context.Background(), "n1"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("kill: %v, want ErrNotRunning", err)
	}
	if err := c.Start(context.Background(), "n7"); err == nil {
		t.Error("a node that is not there was started")
	}
}

// TestShareOfProcessors: the processes of the nodes get their share, unless the user has said
// otherwise.
func TestShareOfProcessors(t *testing.T) {
	for set, want := range map[string]string{"": strconv.Itoa(max(1, runtime.GOMAXPROCS(0)/3)), "7": "7"} {
		t.Setenv("GOMAXPROCS", set)
		c, err := Create(Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 3, Executable: script(t, "echo has $GOMAXPROCS; exit 7")})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(t.Context(), "n1"); err == nil {
			t.Fatal("a node that ends at once is said to run")
		}
		log, err := os.ReadFile(c.LogPath("n1"))
		if err != nil || strings.TrimSpace(string(log)) != "has "+want {
			t.Errorf("GOMAXPROCS=%q: the node %s, %v; want has %s", set, log, err, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), `it's "a" $HOME dir; rm`)
	c := create(t, Options{Dir: dir, Nodes: 2})
	for _, v := range c.Environment().Variables() {
		out, err := exec.Command("sh", "-c", `. "$1" && eval "printf %s \"\$$2\""`, "sh", c.EnvPath(), v[0]).Output()
		if err != nil || string(out) != v[1] {
			t.Errorf("%s is %q (%v), want %q", v[0], out, err, v[1])
		}
		if v[1] == "" {
			t.Errorf("%s is empty", v[0])
		}
		if out, err := exec.Command("sh", "-c", `. "$1" && env`, "sh", c.EnvPath()).Output(); err != nil || !strings.Contains(string(out), v[0]+"=") {
			t.Errorf("%s is not exported (%v)", v[0], err)
		}
	}
	if env := c.Environment(); env.Ledger != c.Origin() {
		t.Errorf("CAIRN_LEDGER: %q, want %q", env.Ledger, c.Origin())
	}
	if urls := c.Environment().HTTP; len(urls) != 2 || !strings.HasPrefix(urls[0], "http://127.0.0.1:") || !strings.HasSuffix(urls[0], "/"+c.Origin()) {
		t.Errorf("CAIRN_HTTP: %v", urls)
	}
}

func TestFreePorts(t *testing.T) {
	t.Parallel()
	addrs, err := freePorts(50)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range addrs {
		l, err := net.Listen("tcp", a)
		if err != nil {
			t.Errorf("%s: %v", a, err)
			continue
		}
		defer l.Close()
		if seen[a] {
			t.Errorf("%s was given twice", a)
		}
		seen[a] = true
	}
}

func TestOpenDamaged(t *testing.T) {
	t.Parallel()
	c := create(t, Options{Dir: t.TempDir(), Nodes: 1})
	path := filepath.Join(c.Dir(), "cluster.json")
	raw, err := json.Marshal(state{Version: 2, Nodes: c.Nodes()})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{}", string(raw)} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(c.Dir()); err == nil || errors.Is(err, ErrNoCluster) {
			t.Errorf("cluster.json %q: %v", text, err)
		}
	}
}

// TestSealQuorum: policy and configurations of a cluster agree on the quorum, and a node refuses
// when they do not.
func TestSealQuorum(t *testing.T) {
	t.Parallel()
	for quorum, want := range map[int]int{0: 2, 2: 2, 3: 3} {
		c := create(t, Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 3, SealQuorum: quorum})
		text, err := os.ReadFile(c.PolicyPath())
		if err != nil {
			t.Fatal(err)
		}
		policy, err := tlog.ParsePolicy(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := policy.Threshold(); got != want || c.SealQuorum() != want {
			t.Errorf("quorum %d: the policy demands %d, the cluster says %d, want %d", quorum, got, c.SealQuorum(), want)
		}
		cfg, err := node.LoadConfig(filepath.Join(c.NodeDir("n1"), "node.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := node.Check(cfg); err != nil {
			t.Errorf("quorum %d: %v", quorum, err)
		}
		for _, other := range []string{"majority", "2", "3"} {
			cfg.Seal.Quorum = other
			err := node.Check(cfg)
			if agree := other == strconv.Itoa(want) || other == "majority" && want == 2; (err == nil) != agree {
				t.Errorf("policy of %d with seal.quorum %s: %v", want, other, err)
			} else if err != nil && !(errors.Is(err, node.ErrConfig) && strings.Contains(err.Error(), "seal.quorum")) {
				t.Errorf("policy of %d with seal.quorum %s: %v, want an error that names seal.quorum", want, other, err)
			}
		}
		for _, bad := range []string{"1", "4", "0", "-1", "all", "2.5"} {
			cfg.Seal.Quorum = bad
			if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "seal.quorum") || !strings.Contains(err.Error(), "2 to 3") {
				t.Errorf("seal.quorum %s of 3: %v, want an error with the range", bad, err)
			}
		}
	}
	for _, bad := range []int{1, 4, -1} {
		if _, err := Create(Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 3, SealQuorum: bad, Executable: fakeBinary(t)}); err == nil {
			t.Errorf("a cluster of 3 with a quorum of %d was made", bad)
		}
	}
}

// TestCreateChecksFirst: options that no cluster can have are refused before anything is written.
func TestCreateChecksFirst(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{Origin: "a b"}, {Origin: "example.org/\n"}, {Origin: "a+b"}, {Suite: "CAT5"}, {SealQuorum: 9}, {Nodes: MaxNodes + 1}} {
		o.Dir, o.Executable = filepath.Join(t.TempDir(), "c"), fakeBinary(t)
		o.Nodes = max(o.Nodes, 1)
		if _, err := Create(o); err == nil {
			t.Errorf("%+v: made", o)
		}
		if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%+v: the directory is there: %v", o, err)
		}
	}
}

// TestDestroyUnfinished: the rest of an interrupted Create can be deleted, without the files of
// others, and nothing else can.
func TestDestroyUnfinished(t *testing.T) {
	t.Parallel()
	c := create(t, Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 1})
	if err := DestroyUnfinished(c.Dir()); !errors.Is(err, ErrNoCluster) {
		t.Errorf("a whole cluster: %v", err)
	}
	if _, err := Open(c.Dir()); err != nil {
		t.Error(err)
	}
	for _, foreign := range []string{"", "thesis"} {
		dir := filepath.Join(t.TempDir(), "c")
		if err := claim(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(dir, os.DirFS(c.Dir())); err != nil {
			t.Fatal(err)
		}
		if foreign != "" {
			if err := os.WriteFile(filepath.Join(dir, foreign), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := DestroyUnfinished(dir); err != nil {
			t.Error(err)
		}
		left, err := os.ReadDir(dir)
		if foreign == "" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("left %v, %v", left, err)
		}
		if foreign != "" && (err != nil || len(left) != 1 || left[0].Name() != foreign) {
			t.Errorf("left %v, %v, want %s", left, err, foreign)
		}
		if err := DestroyUnfinished(dir); !errors.Is(err, ErrNoCluster) {
			t.Errorf("again: %v", err)
		}
	}
}
