package cluster_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// traffic appends entries and waits for their receipts, one after the other, until it is ended.
type traffic struct {
	stop     context.CancelFunc
	done     sync.WaitGroup
	mu       sync.Mutex
	receipts [][]byte
	failed   error
}

func keepAppending(t *testing.T, c *client.Client) *traffic {
	ctx, cancel := context.WithCancel(t.Context())
	w := &traffic{stop: cancel}
	w.done.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			e := client.Entry{Key: fmt.Append(nil, "traffic ", i), Payload: fmt.Append(nil, "payload ", i)}
			a, err := c.Append(context.WithoutCancel(ctx), e, client.Sealed())
			w.mu.Lock()
			if err != nil {
				w.failed = errors.CombineErrors(w.failed, err)
				cancel()
			} else {
				w.receipts = append(w.receipts, a.Receipt.Marshal())
			}
			w.mu.Unlock()
			time.Sleep(20 * time.Millisecond)
		}
	})
	return w
}

func (w *traffic) sealed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.receipts)
}

func (w *traffic) end(t *testing.T) [][]byte {
	t.Helper()
	w.stop()
	w.done.Wait()
	if w.failed != nil {
		t.Fatalf("after %d receipts: %v", len(w.receipts), w.failed)
	}
	return w.receipts
}

// reconfigure changes the configuration of a node and starts it again.
func reconfigure(t *testing.T, c *local.Cluster, name string, change func(*node.Config)) {
	t.Helper()
	file := filepath.Join(c.NodeDir(name), "node.yaml")
	cfg, err := node.LoadConfig(file)
	if err == nil {
		change(&cfg)
		err = cfg.Write(file)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err == nil && c.Running(name) {
		err = c.Stop(ctx, name)
	}
	if err == nil {
		err = c.Start(ctx, name)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, readFile(t, c.LogPath(name)))
	}
}

// nextKey makes a second cosigner key of a node and starts the node with it.
func nextKey(t *testing.T, c *local.Cluster, name string) string {
	t.Helper()
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	must(t, err)
	file := filepath.Join(c.NodeDir(name), "cosigner-next.key")
	must(t, pqcrypto.WriteKeyFile(file, key))
	vkey, err := tlog.NewMLDSA44VerifierKey(c.Origin()+"/"+name, key.Public())
	must(t, err)
	reconfigure(t, c, name, func(cfg *node.Config) { cfg.Keys.CosignerNext = file })
	return vkey.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRotateCosigners: the cosigner key of every node of a running cluster is replaced, one after the
// other, while appends get their receipts. One node is killed in the midst of its rotation. Every
// receipt verifies with the chain of policies and the first policy; the first policy alone refuses
// the newest one. No former key signs after its hand-over, and the nodes run without them.
func TestRotateCosigners(t *testing.T) {
	c := createCluster(t, 3)
	start(t, c)
	first, err := client.LoadPolicy(c.PolicyPath())
	must(t, err)
	load := keepAppending(t, dial(t, c, "writer"))
	admins := map[string]*client.Client{}
	for _, origin := range []string{c.Directory(), c.Origin()} {
		admin, err := c.DialLedger(t.Context(), origin, "admin", client.WithTimeout(2*time.Minute))
		must(t, err)
		defer admin.Close()
		admins[origin] = admin
	}
	rotate := func(name, key string, kill bool) {
		t.Helper()
		for origin, admin := range admins {
			eventually(t, "the policy of "+origin+" with the key of "+name+" takes over", func() bool {
				r, err := admin.RotateCosigner(t.Context(), name, key)
				if err != nil {
					t.Logf("%s: %v", origin, err)
				}
				if kill && err == nil {
					kill = false
					must(t, c.Kill(t.Context(), name))
					must(t, c.Start(t.Context(), name))
				}
				return err == nil && r.TakenOver
			})
		}
	}
	var former []string
	for i, name := range c.Names() {
		old, err := c.Node(name)
		must(t, err)
		cfg, err := node.LoadConfig(filepath.Join(c.NodeDir(old.Name), "node.yaml"))
		must(t, err)
		former = append(former, cfg.Self().Cosigner)
		before := load.sealed()
		key := nextKey(t, c, name)
		rotate(name, key, i == 1)
		eventually(t, name+" says that its former key is needed no more", func() bool {
			return strings.Contains(string(readFile(t, c.LogPath(name))), "no policy in force names keys.cosigner any more")
		})
		status, err := admins[c.Origin()].Status(t.Context(), name)
		must(t, err)
		if k := status.CosignerKeys; len(k) != 2 || k[0].Needed != 0 || k[1].Key != key || k[1].Needed != k[1].Ledgers {
			t.Errorf("%s: the status has the keys %+v", name, k)
		}
		reconfigure(t, c, name, func(cfg *node.Config) { cfg.Keys.Cosigner, cfg.Keys.CosignerNext = cfg.Keys.CosignerNext, "" })
		eventually(t, "receipts go on", func() bool { return load.sealed() > before+3 })
	}
	receipts := load.end(t)

	policies, chain, err := admins[c.Origin()].Policies(t.Context())
	must(t, err)
	if n := policies.Newest().Epoch(); n != 3 {
		t.Errorf("the newest policy has epoch %d, want 3", n)
	}
	offline, err := client.ParsePolicies(chain, first)
	must(t, err)
	epochs := map[uint32]int{}
	for i, raw := range receipts {
		r, err := client.VerifyOffline(raw, offline)
		if err != nil {
			t.Fatalf("receipt %d of %d: %v", i, len(receipts), err)
		}
		size := r.Sealed().Size
		step, err := offline.At(size)
		must(t, err)
		epochs[step.Epoch()]++
		if step.Epoch() == 0 {
			continue
		}
		// Behind each hand-over the former key has signed nothing.
		_, note, err := tlog.ParseCheckpoint(r.Checkpoint)
		must(t, err)
		for _, vkey := range former[:step.Epoch()-1] {
			key, err := tlog.ParseVerifierKey(vkey)
			must(t, err)
			if slices.ContainsFunc(note.Signatures, key.Signed) {
				t.Errorf("size %d, of epoch %d, is signed by a former key of %s", size, step.Epoch(), key.Name())
			}
		}
	}
	t.Logf("%d receipts, by epoch: %v", len(receipts), epochs)
	if epochs[0] == 0 || epochs[3] == 0 {
		t.Error("there are no receipts of the first and of the last policy")
	}
	if _, err := client.VerifyOffline(receipts[0], first); err != nil {
		t.Errorf("the first receipt under the first policy: %v", err)
	}
	if _, err := client.VerifyOffline(receipts[len(receipts)-1], first); !errors.Is(err, tlog.ErrQuorum) {
		t.Errorf("the last receipt under the first policy alone: %v, want ErrQuorum", err)
	}
	verdict, err := admins[c.Origin()].VerifyOnline(t.Context(), receipts[0])
	if err != nil || verdict.Verdict != "OK" || len(verdict.Cosigners) < 2 {
		t.Errorf("a node says of the first receipt: %+v, %v", verdict, err)
	}

	// A ledger that is created now begins with the keys of now, on every node.
	const younger = "example.org/younger"
	_, created, err := admins[c.Directory()].CreateLedger(t.Context(), younger, "log")
	if err != nil || !created {
		t.Fatalf("create a ledger: %v, %v", created, err)
	}
	for _, name := range c.Names() {
		eventually(t, name+" hosts the new ledger and needs no former key", func() bool {
			status, err := admins[c.Origin()].Status(t.Context(), name)
			return err == nil && len(status.CosignerKeys) == 1 && status.CosignerKeys[0].Ledgers == 3 && status.CosignerKeys[0].Needed == 3
		})
	}
	// A node that has only its former key does not start: its cosignatures would count nowhere.
	must(t, c.Stop(t.Context(), "n1"))
	file := filepath.Join(c.NodeDir("n1"), "node.yaml")
	cfg, err := node.LoadConfig(file)
	must(t, err)
	cfg.Keys.Cosigner = filepath.Join(c.NodeDir("n1"), "cosigner.key")
	must(t, cfg.Write(file))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Start(ctx, "n1"); err == nil || !strings.Contains(string(readFile(t, c.LogPath("n1"))), "names another key of this node") {
		t.Errorf("n1 starts with its former key: %v", err)
	}
}
