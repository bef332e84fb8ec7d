package cluster_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/cluster/signer"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// runSigner is the process of a signer.
func runSigner(dir, socket string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	s, err := signer.Open(dir)
	if err == nil {
		l, e := signer.Listen(socket)
		if err = e; err == nil {
			err = s.Serve(ctx, l)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "signer:", err)
		return 1
	}
	return 0
}

// signers are the processes that hold the cosigner keys of a cluster's nodes.
type signers struct {
	t    *testing.T
	dirs string
	runs map[string]*exec.Cmd
}

func (s *signers) dir(name string) string    { return filepath.Join(s.dirs, name) }
func (s *signers) socket(name string) string { return filepath.Join(s.dirs, name+".sock") }

func (s *signers) start(name string) {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(exe, "signer", s.dir(name), s.socket(name))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.runs[name] = cmd
}

func (s *signers) kill(name string) {
	if cmd := s.runs[name]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		delete(s.runs, name)
	}
}

// withSigners moves the cosigner keys of all nodes of a cluster, which has not been started, to
// signers of their own.
func withSigners(t *testing.T, c *local.Cluster) *signers {
	t.Helper()
	dirs, err := os.MkdirTemp("", "signers") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	s := &signers{t: t, dirs: dirs, runs: map[string]*exec.Cmd{}}
	t.Cleanup(func() {
		for _, name := range c.Names() {
			s.kill(name)
		}
		_ = os.RemoveAll(dirs)
	})
	for _, name := range c.Names() {
		if err := os.Mkdir(s.dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(c.NodeDir(name), "cosigner.key"), filepath.Join(s.dir(name), "cosigner.key")); err != nil {
			t.Fatal(err)
		}
		if _, err := signer.Init(s.dir(name), c.Origin()+"/"+name); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(c.NodeDir(name), "node.yaml")
		cfg, err := node.LoadConfig(file)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Keys.Cosigner, cfg.Keys.Signer = "", s.socket(name)
		if err := cfg.Write(file); err != nil {
			t.Fatal(err)
		}
		s.start(name)
	}
	return s
}

// TestSigners: real nodes seal with keys that real signer processes hold. The leader's signer is
// killed: the leader hands over, and the others seal. The signer starts again and cosigns, and never
// two roots. An older copy of its node's directory would not get it to contradict itself: package
// signer shows that.
func TestSigners(t *testing.T) {
	c := createCluster(t, 3)
	s := withSigners(t, c)
	start(t, c)
	cl := dial(t, c, "writer")
	sealed := func(what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		began := time.Now()
		a, err := cl.Append(ctx, client.Entry{Payload: []byte(what)}, client.Sealed())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		t.Logf("%s: entry %d is sealed after %v", what, a.Index, time.Since(began).Round(time.Millisecond))
	}
	sealed("all signers")
	leader, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		sealed("all signers")
	}
	s.kill(leader)
	sealed("the leader's signer is killed")
	eventually(t, leader+" says that its signer does not answer", func() bool {
		return strings.Contains(string(readFile(t, c.LogPath(leader))), "the signer does not answer")
	})
	n, err := c.Node(leader)
	if err != nil {
		t.Fatal(err)
	}
	if up := metric(t, scrapeFrom(t, n.HTTPURL()), "cairn_signer_up"); up != 0 {
		t.Errorf("cairn_signer_up is %v while the signer is dead", up)
	}
	eventually(t, "another node leads", func() bool {
		now, err := c.Leader(t.Context())
		return err == nil && now != leader
	})
	s.start(leader)
	eventually(t, leader+" says that its signer answers", func() bool {
		return strings.Contains(string(readFile(t, c.LogPath(leader))), "the signer answers again")
	})
	// With a second signer gone the restarted one has to cosign.
	s.kill(other(leader))
	sealed("another signer is killed")
	// A hung signer is like a dead one.
	s.start(other(leader))
	now, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "three signers answer", func() bool {
		n, err := c.Node(other(leader))
		return err == nil && metric(t, scrapeFrom(t, n.HTTPURL()), "cairn_signer_up") == 1
	})
	if err := s.runs[now].Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	sealed("the leader's signer hangs")
	if err := s.runs[now].Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}

	// A signer that has another key is refused when a node starts.
	if err := c.Stop(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.NodeDir("n1"), "node.yaml")
	cfg, err := node.LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Keys.Signer = s.socket("n2")
	if err := cfg.Write(file); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Start(ctx, "n1"); err == nil || !strings.Contains(string(readFile(t, c.LogPath("n1"))), "which the node is configured with") {
		t.Errorf("a node starts with another node's signer: %v", err)
	}
}

// TestRotateSignerKey: a key that a signer process holds is replaced: the signer has two keys
// meanwhile, and afterwards the second one alone, with the memory of the first.
func TestRotateSignerKey(t *testing.T) {
	c := createCluster(t, 3)
	s := withSigners(t, c)
	start(t, c)
	cl := dial(t, c, "writer", client.WithTimeout(time.Minute))
	sealed := func(what string) {
		t.Helper()
		if _, err := cl.Append(t.Context(), client.Entry{Payload: []byte(what)}, client.Sealed()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	sealed("one key")
	secret, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	must(t, err)
	key, err := tlog.NewMLDSA44VerifierKey(c.Origin()+"/n1", secret.Public())
	must(t, err)
	restart := func(change func(*node.Config)) {
		t.Helper()
		s.kill("n1")
		s.start("n1")
		reconfigure(t, c, "n1", change)
	}
	next := filepath.Join(s.dir("n1"), "cosigner-next.key")
	must(t, pqcrypto.WriteKeyFile(next, secret))
	restart(func(cfg *node.Config) { cfg.Keys.SignerNext = key.String() })
	for _, origin := range []string{c.Directory(), c.Origin()} {
		admin, err := c.DialLedger(t.Context(), origin, "admin", client.WithTimeout(time.Minute))
		must(t, err)
		defer admin.Close()
		eventually(t, "the policy of "+origin+" takes over", func() bool {
			r, err := admin.RotateCosigner(t.Context(), "n1", key.String())
			return err == nil && r.TakenOver
		})
	}
	must(t, os.Rename(next, filepath.Join(s.dir("n1"), "cosigner.key")))
	restart(func(cfg *node.Config) { cfg.Keys.SignerKey, cfg.Keys.SignerNext = key.String(), "" })
	// With a second signer gone n1 has to cosign.
	s.kill("n2")
	sealed("the second key alone")
}
