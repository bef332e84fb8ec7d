package tlog_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/cairnledger/cairn/interop/tlog/logcheck"
	"github.com/cairnledger/cairn/merkle/tlog"
	fnote "github.com/transparency-dev/formats/note"
)

// TestLiveCluster has fsck and torchwood verify what three real nodes serve, and
// fsck refuse it when one byte of an entry, a tile or the checkpoint is flipped on
// the way.
func TestLiveCluster(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "cairn")
	run(t, "", "go", "build", "-C", "../..", "-o", binary, "./cmd/cairn")
	home := filepath.Join(dir, "cluster")
	t.Cleanup(func() { run(t, "", binary, "cluster", "destroy", "--dir", home) })
	run(t, "", binary, "cluster", "up", "--dir", home)
	profile := "--profile=" + filepath.Join(home, "profiles", "writer.yaml")

	var lines strings.Builder
	for i := range 700 {
		fmt.Fprintf(&lines, "entry %d\n", i)
	}
	input := filepath.Join(dir, "lines")
	if err := os.WriteFile(input, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", binary, "append", profile, "--lines", input)
	run(t, "last\n", binary, "append", profile, "--sealed", "-")

	vkey, err := os.ReadFile(filepath.Join(home, "log.vkey"))
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range httpURLs(t, home) {
		check := func(url string) (*logcheck.Result, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return logcheck.Run(ctx, logcheck.Options{URL: url, VerifierKey: string(vkey)})
		}
		awaitCheckpoint(t, base, 702) // the genesis, and these
		r, err := check(base)
		if err != nil {
			t.Fatalf("fsck of %s: %v", base, err)
		}
		torchwoodVerifies(t, home, r.Checkpoint)
		for what, prefix := range map[string]string{
			"an entry": "/tile/entries/001", "a full tile": "/tile/0/001", "a partial tile": "/tile/0/002.p/", "the checkpoint": "/checkpoint",
		} {
			if _, err := check(flipping(t, base, prefix)); err == nil {
				t.Errorf("fsck accepts %s with %s flipped", base, what)
			}
		}
	}
}

// torchwoodVerifies checks the served checkpoint against two of three replicas.
func torchwoodVerifies(t *testing.T, home string, checkpoint []byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(home, "policy"))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := tlog.ParsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	var members []torchwood.Policy
	for _, k := range policy.Cosigners() {
		v, err := torchwood.NewCosignatureVerifier(k.String())
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, torchwood.SingleVerifierPolicy(v))
	}
	logKey := policy.Logs()[0]
	if _, err := fnote.NewVerifier(logKey.String()); err != nil {
		t.Fatal(err)
	}
	v, err := torchwood.NewCosignatureVerifier(logKey.String())
	if err != nil {
		t.Fatal(err)
	}
	both := torchwood.ThresholdPolicy(3, torchwood.OriginPolicy(logKey.Name()), torchwood.SingleVerifierPolicy(v), torchwood.ThresholdPolicy(2, members...))
	if _, _, err := torchwood.VerifyCheckpoint(checkpoint, both); err != nil {
		t.Errorf("torchwood refuses the served checkpoint: %v", err)
	}
}

func run(t testing.TB, input string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func httpURLs(t *testing.T, home string) []string {
	t.Helper()
	env, err := os.ReadFile(filepath.Join(home, "env"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", ". "+filepath.Join(home, "env")+"; echo $CAIRN_HTTP").Output()
	if err != nil {
		t.Fatalf("source env: %v\n%s", err, env)
	}
	return strings.Fields(string(out))
}

// awaitCheckpoint waits until a node serves a checkpoint of the size.
func awaitCheckpoint(t *testing.T, base string, size int) {
	t.Helper()
	want := fmt.Sprintf("\n%d\n", size)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get(base + "/checkpoint"); err == nil {
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if bytes.Contains(b, []byte(want)) {
				return
			}
		}
	}
	t.Fatalf("%s serves no checkpoint of size %d", base, size)
}

// flipping serves what base serves, with one bit in the middle of one resource flipped.
func flipping(t *testing.T, base, prefix string) string {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if !strings.HasPrefix(strings.TrimPrefix(r.Request.URL.Path, target.Path), prefix) || r.StatusCode != http.StatusOK {
			return nil
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		at := len(b) / 2
		if prefix == "/checkpoint" { // the root; in the middle stand cosignatures, which fsck has no keys for
			at = bytes.IndexByte(b, '\n') + 10
		}
		b[at] ^= 1
		r.Body = io.NopCloser(bytes.NewReader(b))
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}
