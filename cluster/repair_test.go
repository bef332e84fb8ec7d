package cluster_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
)

// flipIn flips a bit of a text in the value log of a node, which must not run.
func flipIn(t *testing.T, c *local.Cluster, name string, text []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.NodeDir(name), "data", "ledger", "*.vlog"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b := readFile(t, file)
		if at := bytes.Index(b, text); at >= 0 {
			b[at+len(text)/2] ^= 4
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no file of the value log of %s has the text", name)
}

// bundle asks a node for the first 256 entries, over HTTP.
func bundle(t *testing.T, c *local.Cluster, name string) (status int, body string) {
	t.Helper()
	n, err := c.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(n.HTTPURL() + "/" + c.Origin() + "/tile/entries/000")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

// TestDamageIsRepaired: bits of two blocks flip while a node of three is stopped. Started again it
// answers the read that finds them with what another member has, the scrub finds nothing any more,
// and metrics, status and log say what was repaired.
func TestDamageIsRepaired(t *testing.T) {
	t.Parallel()
	c := createCluster(t, 3, func(cfg *node.Config) { cfg.Storage.ScrubInterval = 2 * time.Second })
	start(t, c)
	cl := dial(t, c, "writer")
	payload := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "payload %d, ", i), 4000) }
	for i := range 4 {
		if _, err := cl.Append(t.Context(), client.Entry{Payload: payload(i)}, client.Sealed()); err != nil {
			t.Fatal(err)
		}
	}
	// Blocks behind those: what is needed to open the ledger is sound.
	for range 270 {
		if _, err := cl.Append(t.Context(), client.Entry{Payload: []byte("small")}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "n1 has all of it", func() bool { return statusOf(t, c, "n1").Size >= 275 })
	if err := c.Stop(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	flipIn(t, c, "n1", payload(1))
	flipIn(t, c, "n1", payload(2))
	start(t, c, "n1")
	status, body := bundle(t, c, "n1")
	if status != http.StatusOK || !strings.Contains(body, string(payload(1))) || !strings.Contains(body, string(payload(2))) {
		t.Fatalf("n1 answers %d with %d bytes", status, len(body))
	}
	figure := func(name, labels string) string { return fmt.Sprintf("%s{%sledger=%q}", name, labels, c.Origin()) }
	// Badger cuts a value log at damage, so there may be more.
	repairs := metric(t, scrapeName(t, c, "n1"), figure("cairn_repairs_total", `kind="block",`))
	if repairs < 2 {
		t.Errorf("%v blocks are repaired, want at least 2", repairs)
	}
	passes := metric(t, scrapeName(t, c, "n1"), figure("cairn_scrub_passes_total", ""))
	eventually(t, "another pass", func() bool {
		return metric(t, scrapeName(t, c, "n1"), figure("cairn_scrub_passes_total", "")) > passes+1
	})
	if bad := wrong(t, scrapeName(t, c, "n1"), map[string]float64{figure("cairn_scrub_damaged", ""): 0}); len(bad) > 0 {
		t.Error(bad)
	}
	if s := statusOf(t, c, "n1"); float64(s.Repairs) < repairs || s.Scrubbed == 0 || s.ScrubShare == 0 {
		t.Errorf("the status of n1 has %d repairs, scrubbed at %d, %.2f of the pass", s.Repairs, s.Scrubbed, s.ScrubShare)
	}
	log := string(readFile(t, c.LogPath("n1")))
	for _, want := range []string{"the store is repaired", "kind=block", "peer=n"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log of n1 has no %q", want)
		}
	}
}
