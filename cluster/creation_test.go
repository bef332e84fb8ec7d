package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
)

// creations creates ledgers from several workers for as long as it runs, and remembers the group of
// each one that was acknowledged. Every origin is created by two workers.
type creations struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	acked  map[string]uint64 // group by origin
	failed error
}

func startCreations(t *testing.T, c *local.Cluster, workers int) *creations {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &creations{cancel: cancel, acked: map[string]uint64{}}
	admin := dial(t, c, "admin")
	for w := range workers {
		l.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				l.create(ctx, admin, fmt.Sprintf("%s/w%d/%d", c.Origin(), w/2, i))
			}
		})
	}
	return l
}

func (l *creations) create(ctx context.Context, admin *client.Client, origin string) {
	for ctx.Err() == nil { // the same origin until it is acknowledged
		attempt, cancel := context.WithTimeout(ctx, 20*time.Second)
		info, _, err := admin.CreateLedger(attempt, origin, "log")
		cancel()
		if err != nil {
			continue
		}
		l.mu.Lock()
		if group, ok := l.acked[origin]; ok && group != info.Group && l.failed == nil {
			l.failed = fmt.Errorf("%s has the group %d and the group %d", origin, group, info.Group)
		}
		l.acked[origin] = info.Group
		l.mu.Unlock()
		return
	}
}

func (l *creations) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func (l *creations) waitFor(t *testing.T, n int) {
	t.Helper()
	want := l.count() + n
	eventually(t, fmt.Sprint(n, " more ledgers"), func() bool { return l.count() >= want })
}

// genesisOn returns the leaf 0 of a ledger as a node serves it, nil when it serves none.
func genesisOn(t *testing.T, n local.NodeInfo, origin string) []byte {
	t.Helper()
	resp, err := http.Get(n.HTTPURL() + "/" + origin + "/tile/entries/000.p/1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	return body
}

// verify demands that every acknowledged ledger is on all nodes, begins there with the same
// genesis, and takes appends.
func (l *creations) verify(t *testing.T, c *local.Cluster) {
	t.Helper()
	if l.failed != nil {
		t.Error(l.failed)
	}
	listed := map[string]uint64{}
	all, err := dial(t, c, "reader").Ledgers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		listed[x.Origin] = x.Group
	}
	groups := map[uint64]string{}
	for origin, group := range l.acked {
		if other, ok := groups[group]; ok {
			t.Errorf("%s and %s have the group %d", origin, other, group)
		}
		groups[group] = origin
		if listed[origin] != group {
			t.Errorf("%s was acknowledged with the group %d, and is listed with %d", origin, group, listed[origin])
		}
	}
	for origin := range maps.Keys(l.acked) {
		first := genesisOn(t, c.Nodes()[0], origin)
		for _, n := range c.Nodes() {
			eventually(t, n.Name+" serves the genesis of "+origin, func() bool {
				if len(first) == 0 {
					first = genesisOn(t, c.Nodes()[0], origin)
				}
				return len(first) > 0 && bytes.Equal(genesisOn(t, n, origin), first)
			})
		}
		cl, err := c.DialLedger(t.Context(), origin, "writer")
		if err != nil {
			t.Fatal(err)
		}
		a, err := cl.Append(t.Context(), client.Entry{Key: []byte("k"), Payload: []byte(origin)}, client.Sealed())
		cl.Close()
		if err != nil || a.Index != 1 {
			t.Errorf("%s takes the first entry at %d, %v", origin, a.Index, err)
		}
	}
}

// TestKillDuringCreations kills nodes in the middle of creations, one at a time and then all, and
// stops one. Every acknowledged ledger is in the end on all nodes, and is the same there.
func TestKillDuringCreations(t *testing.T) {
	c := startCluster(t, 3)
	rng := rand.New(rand.NewPCG(*seed, 2))
	t.Logf("seed %d", *seed)
	l := startCreations(t, c, 4)
	// Creations go on all the time. With thousands of ledgers on two processors the elections after a
	// kill take longer than calls wait.
	kills := min(*kills, 8)
	for k := range kills {
		l.waitFor(t, 3)
		time.Sleep(time.Duration(rng.IntN(50)) * time.Millisecond)
		victims := []string{c.Names()[rng.IntN(3)]}
		if k == kills-1 {
			victims = c.Names()
		}
		if k == 1 {
			stopCleanly(t, c, victims[0])
		} else if err := c.Kill(t.Context(), victims...); err != nil {
			t.Fatalf("kill %d of %v: %v", k, victims, err)
		}
		if len(victims) == 1 {
			l.waitFor(t, 3) // the other two go on
		}
		start(t, c, victims...)
	}
	l.waitFor(t, 3)
	l.cancel()
	l.wg.Wait()
	t.Logf("%d ledgers", len(l.acked))
	l.verify(t, c)
}

// stopCleanly stops a node and demands that it says that it has stopped cleanly.
func stopCleanly(t *testing.T, c *local.Cluster, name string) {
	t.Helper()
	if err := c.Stop(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(readFile(t, c.LogPath(name)))), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, "the node has stopped cleanly") {
		t.Errorf("%s, stopped in the middle of creations, says at the end: %s", name, last)
	}
}

// TestNodeMissesCreations: a node that was away while ledgers were created hosts all of them when it
// says that it is ready.
func TestNodeMissesCreations(t *testing.T) {
	c := startCluster(t, 3)
	stopCleanly(t, c, "n3")
	admin := dial(t, c, "admin")
	const missed = 50
	var origins []string
	for i := range missed {
		origins = append(origins, fmt.Sprintf("%s/missed/%d", c.Origin(), i))
		if _, _, err := admin.CreateLedger(t.Context(), origins[i], "log"); err != nil {
			t.Fatal(err)
		}
	}
	start(t, c, "n3")
	if got := metric(t, scrapeName(t, c, "n3"), "cairn_ledgers"); got != missed+2 {
		t.Errorf("n3 is ready and hosts %v ledgers, want %d", got, missed+2)
	}
	n3, err := c.Node("n3")
	if err != nil {
		t.Fatal(err)
	}
	for _, origin := range origins {
		eventually(t, "n3 serves "+origin, func() bool { return genesisOn(t, n3, origin) != nil })
	}
}

// TestLeadersMoveAlone: each ledger has a leader of its own, and moving one leaves the others where
// they are.
func TestLeadersMoveAlone(t *testing.T) {
	c := startCluster(t, 3)
	admin := dial(t, c, "admin")
	origin := c.Origin() + "/moves"
	if _, _, err := admin.CreateLedger(t.Context(), origin, "log"); err != nil {
		t.Fatal(err)
	}
	leads := func(name, ledger string) bool {
		return labelled(t, scrapeName(t, c, name), fmt.Sprintf("cairn_raft_leader{ledger=%q}", ledger)) == 1
	}
	if _, err := admin.TransferLeadership(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	cl, err := c.DialLedger(t.Context(), origin, "admin")
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	eventually(t, "n1 leads", func() bool { return leads("n1", c.Origin()) })
	for _, to := range []string{"n2", "n3", "n1", "n2"} {
		if _, err := cl.TransferLeadership(t.Context(), to); err != nil {
			t.Fatalf("move the leader of %s to %s: %v", origin, to, err)
		}
		eventually(t, to+" leads", func() bool { return leads(to, origin) })
		if !leads("n1", c.Origin()) {
			t.Errorf("with the leader of %s on %s, n1 does not lead %s any more", origin, to, c.Origin())
		}
	}
}
