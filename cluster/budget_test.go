package cluster_test

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
)

// budgets are what an append may cost, as ratios of the nodes' own counters within one run. None of
// them depends on how fast the machine is. The load is budgetAppends batches of budgetBatch entries
// of budgetEntry bytes, one after the other, and nothing waits for seals.
var budgets = []struct {
	what string
	most float64
	cost func(budgetRun) float64
}{
	{"blocks a request of a lone client", 1.1, func(r budgetRun) float64 { return r.leader["queue"] / budgetAppends }},
	// A promise to sign is synced, too; there are fewer than blocks.
	{"synced writes a block, on the leader", 2.05, func(r budgetRun) float64 { return r.leader["syncs"] / r.leader["queue"] }},
	{"synced writes a block, on a follower", 2.05, func(r budgetRun) float64 { return r.follower["syncs"] / r.leader["queue"] }},
	// A segment is filled with zeros ahead of what is written: about one byte more for each.
	{"bytes to the Raft log a payload byte, on the leader", 2.25, func(r budgetRun) float64 { return r.leader["bytes"] / budgetPayload }},
	{"bytes to the Raft log a payload byte, on a follower", 2.25, func(r budgetRun) float64 { return r.follower["bytes"] / budgetPayload }},
	{"answered runs a block", 1.1, func(r budgetRun) float64 { return r.leader["answer"] / r.leader["queue"] }},
}

const (
	budgetAppends = 200
	budgetBatch   = 20
	budgetEntry   = 1000
	budgetPayload = budgetAppends * budgetBatch * budgetEntry
)

// budgetRun is by how much the counters of two nodes rose.
type budgetRun struct{ leader, follower map[string]float64 }

// budgetCounters reads what the budgets need from a node's metrics.
func budgetCounters(t *testing.T, url string) map[string]float64 {
	t.Helper()
	text, all := scrapeFrom(t, url), map[string]float64{}
	for name, pattern := range map[string]string{
		"syncs": "cairn_wal_syncs_total", "bytes": "cairn_wal_written_bytes_total",
		"queue": `cairn_stage_seconds_count\{stage="queue"\}`, "answer": `cairn_stage_seconds_count\{stage="answer"\}`,
	} {
		m := regexp.MustCompile(`(?m)^` + pattern + ` (\S+)$`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("there is no %s", pattern)
		}
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = v
	}
	return all
}

// TestBudgets: an append costs no more writes, syncs and bytes than it may. A run in which another
// node took leadership over, as on a machine that stood still, says nothing and is repeated.
func TestBudgets(t *testing.T) {
	c := startCluster(t, 3)
	cl := dial(t, c, "writer")
	entries := make([]client.Entry, budgetBatch)
	for i := range entries {
		entries[i].Payload = fmt.Appendf(nil, "%0*d", budgetEntry, i)
	}
	appends := func(n int) {
		for range n {
			if _, err := cl.AppendBatch(t.Context(), entries); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 5 {
		appends(5) // the ledger has begun
		leader, term := leaderAndTerm(t, c)
		urls := map[bool]string{}
		for _, n := range c.Nodes() {
			urls[n.Name == leader] = n.HTTPURL()
		}
		run := budgetRun{budgetCounters(t, urls[true]), budgetCounters(t, urls[false])}
		appends(budgetAppends)
		after := budgetRun{budgetCounters(t, urls[true]), budgetCounters(t, urls[false])}
		if again, now := leaderAndTerm(t, c); again != leader || now != term {
			continue
		}
		for name := range run.leader {
			run.leader[name] = after.leader[name] - run.leader[name]
			run.follower[name] = after.follower[name] - run.follower[name]
		}
		for _, b := range budgets {
			cost := b.cost(run)
			t.Logf("%-52s %6.3f of %.2f", b.what, cost, b.most)
			if !(cost <= b.most) {
				t.Errorf("%s: %.3f, the budget is %.2f", b.what, cost, b.most)
			}
		}
		return
	}
	t.Skip("leadership moved in every run")
}

func leaderAndTerm(t *testing.T, c *local.Cluster) (string, uint64) {
	t.Helper()
	name, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return name, statusOf(t, c, name).Term
}
