package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// load appends from several workers for as long as it runs, and remembers what
// was acknowledged.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	acked    map[uint64][]byte // index -> payload
	receipts []*tlog.Receipt
	failed   error
}

// startLoad begins. Every tenth append waits for its receipt.
func startLoad(t *testing.T, c *local.Cluster, workers int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, acked: map[uint64][]byte{}}
	cl := dial(t, c, "writer")
	for w := range workers {
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			for i := 0; ctx.Err() == nil; i++ {
				l.append(ctx, cl, w, i)
			}
		}()
	}
	return l
}

func (l *load) append(ctx context.Context, cl *client.Client, w, i int) {
	key := fmt.Sprintf("worker %d entry %d", w, i)
	payload := []byte("payload of " + key)
	var opts []client.AppendOption
	if i%10 == 0 {
		opts = append(opts, client.Sealed())
	}
	for ctx.Err() == nil { // the same key until it is acknowledged
		attempt, cancel := context.WithTimeout(ctx, 20*time.Second)
		a, err := cl.Append(attempt, client.Entry{Key: []byte(key), Payload: payload}, opts...)
		cancel()
		if err != nil {
			continue
		}
		l.mu.Lock()
		if old, ok := l.acked[a.Index]; ok && l.failed == nil {
			l.failed = fmt.Errorf("index %d was given to %q and to %q", a.Index, old, payload)
		}
		l.acked[a.Index] = payload
		if a.Receipt != nil {
			l.receipts = append(l.receipts, a.Receipt.Receipt)
		}
		l.mu.Unlock()
		return
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// waitFor waits until n more appends were acknowledged.
func (l *load) waitFor(t *testing.T, n int) {
	t.Helper()
	target := l.count() + n
	for deadline := time.Now().Add(30 * time.Second); l.count() < target; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no progress: %d of %d appends acknowledged within 30 s", l.count(), target)
		}
	}
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

// verify checks, on the healed cluster, that nothing acknowledged is lost or
// changed, on any node, that every receipt still verifies, and that all replicas
// have one root.
func (l *load) verify(t *testing.T, c *local.Cluster) {
	t.Helper()
	if l.failed != nil {
		t.Fatal(l.failed)
	}
	policy := policyOf(t, c)
	for _, r := range l.receipts {
		if _, err := policy.VerifyReceipt(r); err != nil {
			t.Fatalf("a receipt given earlier for index %d does not verify: %v", r.Index, err)
		}
	}
	size := sameRoots(t, c)
	cl := dial(t, c, "reader")
	checked := 0
	if _, err := cl.Range(t.Context(), 0, 0, func(e client.StoredEntry) error {
		if want, ok := l.acked[e.Index]; ok {
			checked++
			if !bytes.Equal(e.Payload, want) {
				t.Errorf("index %d holds %q, %q was acknowledged there", e.Index, e.Payload, want)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if checked != len(l.acked) {
		t.Errorf("%d of %d acknowledged entries are in the ledger of size %d", checked, len(l.acked), size)
	}
	t.Logf("%d acknowledged entries and %d receipts hold; the ledger has %d entries", len(l.acked), len(l.receipts), size)
}

func policyOf(t *testing.T, c *local.Cluster) *tlog.Policy {
	t.Helper()
	p, err := tlog.ParsePolicy(readFile(t, c.PolicyPath()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sameRoots waits until all nodes have one size, and fails if they have not one root.
func sameRoots(t *testing.T, c *local.Cluster) uint64 {
	t.Helper()
	var last string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		all, err := c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		last = ""
		same, same0 := true, all[0].Status
		for _, s := range all {
			if s.Status == nil {
				same, last = false, last+fmt.Sprintf("%s: %v\n", s.Name, s.Err)
				continue
			}
			last += fmt.Sprintf("%s: size %d root %x\n", s.Name, s.Status.Size, s.Status.Root)
			same = same && same0 != nil && s.Status.Size == same0.Size
			if same && !bytes.Equal(s.Status.Root, same0.Root) {
				t.Fatalf("one size, two roots:\n%s", last)
			}
		}
		if same {
			return same0.Size
		}
	}
	t.Fatalf("the replicas do not reach one size:\n%s", last)
	return 0
}
