package cluster_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
)

// scrape returns what the first node measures.
func scrape(t *testing.T, c *local.Cluster) string {
	t.Helper()
	return scrapeFrom(t, c.Nodes()[0].HTTPURL())
}

// scrapeFrom returns what the node with a base URL measures.
func scrapeFrom(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// metric returns the value of a figure, the sum over its labels. The directory's figures do not
// count.
func metric(t *testing.T, text, name string) (sum float64) {
	t.Helper()
	found := false
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(\{[^}]*\})? (\S+)$`).FindAllStringSubmatch(text, -1) {
		if regexp.MustCompile(`ledger="[^"]*/directory"`).MatchString(m[1]) {
			continue
		}
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum, found = sum+v, true
	}
	if !found {
		t.Fatalf("there is no %s", name)
	}
	return sum
}

// TestMetricsAreDocumented: docs/operations.md lists what a node measures, all of it and nothing
// else.
func TestMetricsAreDocumented(t *testing.T) {
	c := startCluster(t, 3)
	name, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leader, err := c.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, c, "writer").Append(t.Context(), client.Entry{Payload: []byte("x")}, client.Sealed()); err != nil {
		t.Fatal(err)
	}
	// A call counts once it has ended, a moment after its answer.
	eventually(t, "count the call", func() bool { return strings.Contains(scrapeFrom(t, leader.HTTPURL()), "cairn_api_calls_total{") })
	names := func(text, pattern string) []string {
		all := map[string]bool{}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			all[m[1]] = true
		}
		return slices.Sorted(maps.Keys(all))
	}
	measured := names(scrapeFrom(t, leader.HTTPURL()), `(?m)^# TYPE (cairn_\w+) `)
	documented := names(string(readFile(t, filepath.Join("..", "docs", "operations.md"))), "`(cairn_\\w+)")
	if len(measured) == 0 || !slices.Equal(measured, documented) {
		t.Errorf("measured\n%q\ndocumented\n%q", measured, documented)
	}
	text := scrapeFrom(t, leader.HTTPURL())
	for name, want := range map[string]float64{
		"cairn_ledger_size": 2, "cairn_sealed_size": 2, // the genesis is the other one
		"cairn_api_appended_entries_total": 1, "cairn_seal_problems_total": 0, "cairn_api_panics_total": 0, "cairn_members_met": 1,
	} {
		if got := metric(t, text, name); got != want {
			t.Errorf("after one sealed append %s is %v, want %v", name, got, want)
		}
	}
	for _, stage := range []string{"queue", "write", "replicate", "apply", "answer", "seal"} {
		if strings.Contains(text, fmt.Sprintf("cairn_stage_seconds_count{stage=%q} 0\n", stage)) || !strings.Contains(text, fmt.Sprintf("cairn_stage_seconds_count{stage=%q} ", stage)) {
			t.Errorf("after one sealed append the leader has not counted the stage %s", stage)
		}
	}
	// The same node may have led the directory when the ledger was created.
	if got := metric(t, text, "cairn_append_seconds_count"); got != 1 && got != 2 {
		t.Errorf("after one append cairn_append_seconds_count is %v", got)
	}
}

// TestDurabilityUnknown takes the store's directory away from a running node, which goes on with the
// files that it has open: it must tell that it does not know any more what is durable, and that it
// does again.
func TestDurabilityUnknown(t *testing.T) {
	c := startCluster(t, 3)
	cl := dial(t, c, "writer")
	tells := func(want int) {
		t.Helper()
		line := fmt.Sprintf("\ncairn_store_durability_unknown{ledger=%q} %d\n", c.Origin(), want)
		for deadline := time.Now().Add(time.Minute); !strings.Contains(scrape(t, c), line); {
			if time.Now().After(deadline) {
				t.Fatalf("the node does not tell %q", line)
			}
			if _, err := cl.Append(t.Context(), client.Entry{Payload: make([]byte, 60_000)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	tells(0)
	dir := filepath.Join(c.DataDir("n1"), "ledger")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	tells(1)
	for deadline := time.Now().Add(time.Minute); !strings.Contains(string(readFile(t, c.LogPath("n1"))), "it is not known what the ledger's disk holds"); {
		if time.Now().After(deadline) {
			t.Fatal("the node's log does not tell that")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	tells(0)
}
