package cluster_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// statusOf is a running node's own word.
func statusOf(t *testing.T, c *local.Cluster, name string) *cairnv1.StatusResponse {
	t.Helper()
	all, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(s local.NodeStatus) bool { return s.Name == name })
	if i < 0 || all[i].Status == nil {
		t.Fatalf("%s has no status: %v", name, all[max(i, 0)].Err)
	}
	return all[i].Status
}

// scrapeName returns what a node measures.
func scrapeName(t *testing.T, c *local.Cluster, name string) string {
	t.Helper()
	n, err := c.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	return scrapeFrom(t, n.HTTPURL())
}

// wrong says of every figure of a text that is not what it should be, what it is.
func wrong(t *testing.T, text string, want map[string]float64) (bad []string) {
	t.Helper()
	for name, value := range want {
		if got := metric(t, text, name); got != value {
			bad = append(bad, fmt.Sprintf("%s is %v, want %v", name, got, value))
		}
	}
	slices.Sort(bad)
	return bad
}

// soon waits until a comparison finds nothing wrong: two looks at a live node are two moments.
func soon(t *testing.T, compare func() (bad []string)) {
	t.Helper()
	bad := compare()
	for deadline := time.Now().Add(time.Minute); len(bad) > 0; bad = compare() {
		if time.Now().After(deadline) { // only ever reached by a failing test
			t.Fatal(strings.Join(bad, "\n"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// occupied is what the files below a directory occupy, in bytes.
func occupied(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestMetricsTellTheTruth compares the figures of quiet nodes with what their status, their files
// and the operating system say.
func TestMetricsTellTheTruth(t *testing.T) {
	c := startCluster(t, 3)
	cl := dial(t, c, "writer")
	if _, err := cl.Append(t.Context(), client.Entry{Payload: make([]byte, 30_000)}, client.Sealed()); err != nil {
		t.Fatal(err)
	}
	for _, name := range c.Names() {
		dir := c.DataDir(name)
		soon(t, func() []string {
			s, text := statusOf(t, c, name), scrapeName(t, c, name)
			leads := map[bool]float64{true: 1}[s.Role == "leader"]
			bad := wrong(t, text, map[string]float64{
				"cairn_ledger_size": 2, "cairn_sealed_size": 2, "cairn_members_met": 1, "cairn_queue_bytes": 0,
				"cairn_raft_leader": leads, "cairn_raft_term": float64(s.Term), "cairn_raft_commit_index": float64(s.Commit),
				"cairn_raft_applied_index": float64(s.Applied), "cairn_wal_bytes": float64(s.WalBytes), "cairn_store_bytes": float64(s.StoreBytes),
				"cairn_raft_disk_stalled": 0, "cairn_raft_members_behind_log": 0, "cairn_store_durability_unknown": 0, "cairn_ledger_halted": 0, "cairn_clock_unfit": 0,
			})
			if s.Commit == 0 || s.Term == 0 || s.WalBytes < 30_000 {
				bad = append(bad, fmt.Sprintf("the status of %s is %v", name, s))
			}
			if offset := metric(t, text, "cairn_clock_offset_seconds"); offset < -1 || offset > 1 {
				bad = append(bad, fmt.Sprintf("the clock of one machine is %v s ahead of itself", offset))
			}
			free, real := metric(t, text, "cairn_disk_free_bytes"), float64(freeBytes(t, dir))
			if free < real-1<<30 || free > real+1<<30 {
				bad = append(bad, fmt.Sprintf("%v bytes are free on the disk, cairn_disk_free_bytes is %v", real, free))
			}
			return bad
		})
		// The process stands still while its files are read.
		soon(t, func() (bad []string) {
			text := scrapeName(t, c, name)
			pause(t, c, name)
			log, err := wal.Verify(nil, filepath.Join(dir, "wal"))
			store := occupied(t, filepath.Join(dir, "ledger"))
			if err := c.Resume(name); err != nil {
				t.Fatal(err)
			}
			if err != nil {
				bad = append(bad, err.Error())
			}
			return append(bad, wrong(t, text, map[string]float64{"cairn_wal_bytes": float64(log.Bytes), "cairn_store_bytes": float64(store)})...)
		})
		chain, err := pki.ParseCertificatesPEM(readFile(t, filepath.Join(c.NodeDir(name), "node.crt")))
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range wrong(t, scrapeName(t, c, name), map[string]float64{"cairn_certificate_expiry_seconds": float64(chain[0].NotAfter.Unix())}) {
			t.Errorf("%s: %s", name, bad)
		}
	}
}

// labelled is the value of one sample; 0 while there is none.
func labelled(t *testing.T, text, sample string) (value float64) {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, sample+" "); ok {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
	}
	return value
}

// TestCountersCountOneByOne: what a node counts rises with each event, by its side and reason, and
// by no other one.
func TestCountersCountOneByOne(t *testing.T) {
	c := startCluster(t, 1)
	n := c.Nodes()[0]
	cl := dial(t, c, "writer")
	appendOne := func() {
		t.Helper()
		if _, err := cl.Append(t.Context(), client.Entry{Payload: make([]byte, 60_000)}, client.Sealed()); err != nil {
			t.Fatal(err)
		}
	}
	appendOne()
	before := scrape(t, c)
	const entries = 3
	for range entries {
		appendOne()
	}
	text := scrape(t, c)
	rise := func(name string) float64 { return metric(t, text, name) - metric(t, before, name) }
	if got := rise("cairn_wal_written_bytes_total"); got < entries*60_000 || got > 2*entries*60_000 {
		t.Errorf("%d entries of 60,000 bytes wrote %v bytes to the Raft log", entries, got)
	}
	if got := rise("cairn_wal_syncs_total"); got < entries || got > 20*entries {
		t.Errorf("%d appends, one after the other, synced the Raft log %v times", entries, got)
	}
	if got := rise("cairn_wal_bytes"); got < entries*60_000 || got > 2*entries*60_000 {
		t.Errorf("%d entries of 60,000 bytes made the Raft log %v bytes longer", entries, got)
	}
	if count, sum := rise("cairn_append_seconds_count"), rise("cairn_append_seconds_sum"); count != entries || sum <= 0 || sum > 60*entries {
		t.Errorf("%d appends are %v, and took %v s", entries, count, sum)
	}
	if got := rise("cairn_sealed_checkpoints_total"); got < entries {
		t.Errorf("%d sealed appends are %v sealed checkpoints", entries, got)
	}
	if got := rise("cairn_lpa_handshakes_total"); got != 0 {
		t.Errorf("%v handshakes were counted while nobody connected", got)
	}

	garbage := func(address string) {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	}
	garbage(n.API)
	garbage(n.Peer)
	fresh := dial(t, c, "reader")
	if _, err := fresh.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	const ok, tls = `cairn_lpa_handshakes_total{outcome="ok",side="server"}`, `cairn_lpa_handshakes_total{outcome="tls",side="server"}`
	soon(t, func() (bad []string) {
		text := scrape(t, c)
		for sample, want := range map[string]float64{ok: 1, tls: 2} {
			if got := labelled(t, text, sample) - labelled(t, before, sample); got != want {
				bad = append(bad, fmt.Sprintf("after one client and garbage on two ports %s has risen by %v, want %v", sample, got, want))
			}
		}
		return bad
	})

	// The log stays through a restart, the counters begin anew.
	if err := c.Stop(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	start(t, c)
	if text = scrape(t, c); metric(t, text, "cairn_wal_bytes") < entries*60_000 {
		t.Errorf("after a restart the Raft log has %v bytes", metric(t, text, "cairn_wal_bytes"))
	}
	for _, name := range []string{"cairn_wal_written_bytes_total", "cairn_wal_syncs_total", "cairn_append_seconds_count", "cairn_api_appended_entries_total", "cairn_sealed_checkpoints_total"} {
		if got, former := metric(t, text, name), metric(t, before, name); got >= former {
			t.Errorf("after a restart %s is %v, and it was %v after one append", name, got, former)
		}
	}
}

// TestQueueIsMeasured: while a leader has no majority, what waits for a block shows in its metrics
// and in its status.
func TestQueueIsMeasured(t *testing.T) {
	// The leader steps down after an election timeout without followers: until then it is looked
	// at.
	c := startCluster(t, 3, func(cfg *node.Config) { cfg.Raft.Election, cfg.Raft.Stall = 3*time.Second, 6*time.Second })
	// Together 20 MB, more than the blocks that are on their way take: 8 of 1 MiB.
	const payload, batch, callers = 50_000, 10, 40
	appendFrom := func(ctx context.Context, cl *client.Client) {
		entries := make([]client.Entry, batch)
		for i := range entries {
			entries[i].Payload = make([]byte, payload)
		}
		_, _ = cl.AppendBatch(ctx, entries)
	}
	var clients []*client.Client
	for range callers {
		cl := dial(t, c, "writer")
		if _, err := cl.Append(t.Context(), client.Entry{Payload: []byte("it knows the leader")}); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, cl)
	}
	eventually(t, "the queue is seen", func() bool {
		leader, err := c.Leader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		followers := slices.DeleteFunc(c.Names(), func(name string) bool { return name == leader })
		pause(t, c, followers...)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for _, cl := range clients {
			go appendFrom(ctx, cl)
		}
		seen := false
		for deadline := time.Now().Add(4 * time.Second); !seen && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			s, queued := statusOf(t, c, leader), metric(t, scrapeName(t, c, leader), "cairn_queue_bytes")
			seen = s.QueuedRequests > 0 && queued == float64(s.QueuedBytes)
			if seen && (s.QueuedBytes < s.QueuedRequests*batch*payload || s.QueuedBytes > s.QueuedRequests*batch*(payload+1000)) {
				t.Errorf("%d waiting requests of %d bytes are %d bytes", s.QueuedRequests, batch*payload, s.QueuedBytes)
			}
		}
		if err := c.Resume(followers...); err != nil {
			t.Fatal(err)
		}
		return seen
	})
	for _, name := range c.Names() {
		eventually(t, name+" has an empty queue", func() bool { return metric(t, scrapeName(t, c, name), "cairn_queue_bytes") == 0 })
	}
}
