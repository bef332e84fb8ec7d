package cluster_test

import (
	"context"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
)

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestKillAnyNode kills a random node at a random moment under load, again and
// again, half of the time the leader. Nothing acknowledged may be lost.
func TestKillAnyNode(t *testing.T) {
	c := startCluster(t, 3)
	rng := rand.New(rand.NewPCG(*seed, 1))
	t.Logf("seed %d", *seed)
	l := startLoad(t, c, 8)
	for k := range *kills {
		l.waitFor(t, 5)
		time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
		victim := c.Names()[rng.IntN(3)]
		if rng.IntN(2) == 0 {
			leader, err := c.Leader(t.Context())
			if err != nil {
				t.Fatalf("kill %d: %v", k, err)
			}
			victim = leader
		}
		if err := c.Kill(t.Context(), victim); err != nil {
			t.Fatalf("kill %d of %s: %v", k, victim, err)
		}
		l.waitFor(t, 5) // the other two go on
		start(t, c, victim)
	}
	l.stop()
	l.verify(t, c)
}

// TestKillAllNodes kills everything at once.
func TestKillAllNodes(t *testing.T) {
	c := startCluster(t, 3)
	l := startLoad(t, c, 4)
	l.waitFor(t, 50)
	if err := c.Kill(t.Context(), c.Names()...); err != nil {
		t.Fatal(err)
	}
	start(t, c)
	l.waitFor(t, 20)
	l.stop()
	l.verify(t, c)
}

// TestKillMajority shows that a minority commits nothing, that what it answers
// is true, and that the cluster goes on when the others are back. An append with
// one attempt of unknown outcome is never called definitely failed, whatever
// became of it.
func TestKillMajority(t *testing.T) {
	c := startCluster(t, 3)
	var unknown atomic.Bool // an attempt of the append under way had an unknown outcome
	cl := dial(t, c, "writer", client.WithLogf(func(_ string, args ...any) {
		for _, a := range args {
			if e, ok := a.(*client.Error); ok && !e.Definite {
				unknown.Store(true)
			}
		}
	}))
	first, err := cl.Append(t.Context(), client.Entry{Key: []byte("before"), Payload: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	leader, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var others []string
	for _, name := range c.Names() {
		if name != leader {
			others = append(others, name)
		}
	}
	if err := c.Kill(t.Context(), others...); err != nil {
		t.Fatal(err)
	}
	// The old leader still takes the first one, and cannot commit it. It steps down before the time
	// of the call is up: then the outcome of what it took is unknown, and there is no leader until
	// the end.
	attempt := func(key string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		unknown.Store(false)
		_, err := cl.Append(ctx, client.Entry{Key: []byte(key), Payload: []byte("minority")})
		t.Logf("%s: an attempt of unknown outcome: %v; %v", key, unknown.Load(), err)
		if unknown.Load() && client.IsDefinite(err) {
			t.Errorf("%q had an attempt of unknown outcome and is called definitely failed: %v", key, err)
		}
		if key == "m1" && !unknown.Load() && client.IsDefinite(err) {
			t.Errorf("no attempt of %q reached the old leader: this proves nothing", key)
		}
		return err
	}
	errs := map[string]error{}
	for _, key := range []string{"m1", "m2"} {
		if errs[key] = attempt(key); errs[key] == nil {
			t.Fatalf("a minority of one acknowledged %q", key)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if h, err := cl.Head(ctx); err == nil {
		t.Errorf("a minority answered a linearizable read: %+v", h)
	}
	if e, err := cl.Get(t.Context(), first.Index, client.Local()); err != nil || string(e.Payload) != "x" {
		t.Errorf("a local read of what is committed: %q, %v", e.Payload, err)
	}
	start(t, c, others...)
	stored := map[string]bool{}
	if _, err := cl.Append(t.Context(), client.Entry{Key: []byte("after"), Payload: []byte("y")}); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Range(t.Context(), 0, 0, func(e client.StoredEntry) error {
		stored[string(e.Key)] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for key, err := range errs {
		t.Logf("%s: definite %v, stored later %v: %v", key, client.IsDefinite(err), stored[key], err)
		if client.IsDefinite(err) && stored[key] {
			t.Errorf("%q was refused definitely and is in the ledger", key)
		}
	}
	if !stored["before"] || !stored["after"] {
		t.Errorf("acknowledged entries are missing: %v", stored)
	}
}
