package cluster_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/node"
)

// TestDamageIsFoundByReading: a node finds damage in its store that nobody asks for, says what and
// where, and goes on serving what is sound. When the disk gives the right bytes again, it says so.
func TestDamageIsFoundByReading(t *testing.T) {
	t.Parallel()
	c := createCluster(t, 1, func(cfg *node.Config) { cfg.Storage.ScrubInterval = time.Second })
	start(t, c)
	cl := dial(t, c, "writer")
	payload := bytes.Repeat([]byte("a rare payload, "), 3000)
	if _, err := cl.Append(t.Context(), client.Entry{Payload: payload}); err != nil {
		t.Fatal(err)
	}
	figure := func(name string) string { return fmt.Sprintf("%s{ledger=%q}", name, c.Origin()) }
	passes := func() float64 { return metric(t, scrapeName(t, c, "n1"), figure("cairn_scrub_passes_total")) }
	log := func() string {
		b, err := os.ReadFile(c.LogPath("n1"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	goal := passes() + 2 // one of them has begun after the append
	eventually(t, "the sound store is read", func() bool { return passes() >= goal })
	soon(t, func() []string {
		return wrong(t, scrapeName(t, c, "n1"), map[string]float64{figure("cairn_scrub_damaged"): 0})
	})
	files, err := filepath.Glob(filepath.Join(c.NodeDir("n1"), "data", "ledger", "*.vlog"))
	if err != nil || len(files) == 0 {
		t.Fatalf("value log files %v, %v", files, err)
	}
	var file *os.File
	at := -1
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at = bytes.Index(b, payload); at >= 0 {
			if file, err = os.OpenFile(name, os.O_WRONLY, 0); err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			break
		}
	}
	if at < 0 {
		t.Fatal("the payload is in no file of the value log")
	}
	write := func(b byte) {
		if _, err := file.WriteAt([]byte{b}, int64(at+100)); err != nil {
			t.Fatal(err)
		}
	}
	write(payload[100] ^ 1)
	soon(t, func() []string {
		return wrong(t, scrapeName(t, c, "n1"), map[string]float64{figure("cairn_scrub_damaged"): 1})
	})
	if !strings.Contains(log(), "the store is damaged; the node serves what is sound") {
		t.Error("the log says nothing of the damage")
	}
	if _, err := cl.Append(t.Context(), client.Entry{Payload: []byte("goes on")}); err != nil {
		t.Errorf("append to a node with damage: %v", err)
	}
	write(payload[100])
	soon(t, func() []string {
		return wrong(t, scrapeName(t, c, "n1"), map[string]float64{figure("cairn_scrub_damaged"): 0})
	})
	eventually(t, "the log says that the damage is gone", func() bool { return strings.Contains(log(), "the store's damage is gone") })
}
