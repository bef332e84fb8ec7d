package tlog_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/cairnledger/cairn/interop/tlog/logcheck"
	"github.com/cairnledger/cairn/merkle"
)

// TestMain keeps the library's log out of the output.
func TestMain(m *testing.M) {
	fs := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(fs)
	if err := fs.Parse([]string{"-logtostderr=false", "-stderrthreshold=FATAL"}); err != nil {
		panic(err)
	}
	klog.SetOutput(new(bytes.Buffer))
	os.Exit(m.Run())
}

func fsck(t testing.TB, url string, l *ledger) (*logcheck.Result, error) {
	t.Helper()
	return logcheck.Run(context.Background(), logcheck.Options{URL: url, VerifierKey: l.log.Key().String() + "\n"})
}

// TestFsckAcceptsLedgers: sizes around the borders of tiles, from a directory
// and over HTTP.
func TestFsckAcceptsLedgers(t *testing.T) {
	for _, size := range []int{1, 2, 255, 256, 257, 512, 1000, 65535, 65536, 65537, 66048} {
		l := newLedger(t, size)
		dir := t.TempDir()
		l.write(t, dir)
		server := httptest.NewServer(http.FileServer(http.Dir(dir)))
		urls := []string{"file://" + dir}
		if size <= 1000 || size == 65537 {
			urls = append(urls, server.URL)
		}
		if size == 1000 {
			urls = append(urls, server.URL+"/")
		}
		for _, url := range urls {
			r, err := fsck(t, url, l)
			if err != nil {
				t.Errorf("size %d, %s: %v", size, url, err)
				continue
			}
			if !strings.HasPrefix(string(r.Checkpoint), l.checkpoint().Text()) || r.Resources < 2 {
				t.Errorf("size %d, %s: verified %d resources of %q", size, url, r.Resources, r.Checkpoint)
			}
		}
		server.Close()
	}
}

// TestFsckRefusesOneFlippedByte flips single bytes in the files of a ledger, one
// after the other.
func TestFsckRefusesOneFlippedByte(t *testing.T) {
	const size = 65536 + 300
	l := newLedger(t, size)
	dir := t.TempDir()
	l.write(t, dir)
	if _, err := fsck(t, "file://"+dir, l); err != nil {
		t.Fatal(err)
	}
	checkpoint := l.note(t, 2)
	root := strings.Index(string(checkpoint), "\n65836\n") + len("\n65836\n")
	signature := strings.Index(string(checkpoint), "— "+origin+" ") + len("— "+origin+" ")
	for _, tt := range []struct {
		path string
		at   []int
	}{
		{merkle.EntriesPath(0, 256), []int{0, 1, 2, 70_000}},
		{merkle.EntriesPath(128, 256), []int{1, 100}},
		{merkle.EntriesPath(257, 44), []int{1, 3, 1000}},
		{merkle.TilePath(0, 0, 256), []int{0, 8191}},
		{merkle.TilePath(0, 200, 256), []int{4000}},
		{merkle.TilePath(0, 257, 44), []int{0, 44*32 - 1}},
		{merkle.TilePath(1, 0, 256), []int{0, 8191}},
		{merkle.TilePath(1, 1, 1), []int{31}},
		{merkle.TilePath(2, 0, 1), []int{5}},
		{"checkpoint", []int{0, root - 2, root + 3, signature + 3, signature + 20, signature + 2000}},
	} {
		path := filepath.Join(dir, filepath.FromSlash(tt.path))
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range tt.at {
			bad := bytes.Clone(good)
			bad[at] ^= 0x02
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			if r, err := fsck(t, "file://"+dir, l); err == nil {
				t.Errorf("byte %d of %s flipped: accepted %d resources", at, tt.path, r.Resources)
			}
		}
		if err := os.WriteFile(path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fsck(t, "file://"+dir, l); err != nil {
		t.Fatalf("after the repair: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, filepath.FromSlash(merkle.TilePath(0, 100, 256)))); err != nil {
		t.Fatal(err)
	}
	if _, err := fsck(t, "file://"+dir, l); err == nil {
		t.Error("accepted a ledger without one of its tiles")
	}
}

// TestFsckDoesNotHang: with every tile wrong the library waits for ever; the
// check still ends, as a failure.
func TestFsckDoesNotHang(t *testing.T) {
	l := newLedger(t, 256*60)
	dir := t.TempDir()
	l.write(t, dir)
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/tile/0/") {
			http.Error(w, "disk on fire", http.StatusInternalServerError)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	_, err := logcheck.Run(context.Background(), logcheck.Options{URL: server.URL, VerifierKey: l.log.Key().String(), Stall: 500 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "no progress") {
		t.Errorf("error %v, want one that says that there was no progress", err)
	}
}

// TestFsckCommand builds the command and looks at what scripts rely on: its
// exit code.
func TestFsckCommand(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "fsck")
	if out, err := exec.Command("go", "build", "-o", bin, "./fsck").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	l := newLedger(t, 700)
	dir := t.TempDir()
	l.write(t, dir)
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	vkey := filepath.Join(t.TempDir(), "log.vkey")
	if err := os.WriteFile(vkey, []byte(l.log.Key().String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	otherKey := filepath.Join(t.TempDir(), "other.vkey")
	if err := os.WriteFile(otherKey, []byte(cosigner(t, origin, 99).Key().String()), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(want int, wantText string, args ...string) {
		t.Helper()
		cmd := exec.Command(bin, args...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want || !strings.Contains(string(out), wantText) {
			t.Errorf("fsck %v: exit code %d, want %d, with %q:\n%s", args, got, want, wantText, out)
		}
	}
	run(0, "Successfully fsck'd", "-url", server.URL, "-vkey", vkey)
	run(0, fmt.Sprintf("%s\n700\n", origin), "-url", "file://"+dir, "-vkey", vkey)
	run(1, "checkpoint", "-url", server.URL, "-vkey", otherKey)
	run(1, "", "-url", server.URL+"/elsewhere", "-vkey", vkey)
	run(1, "scheme", "-url", "ftp://127.0.0.1/", "-vkey", vkey)
	run(2, "Usage", "-url", server.URL)
	run(2, "read verifier key", "-url", server.URL, "-vkey", vkey+".missing")
	if err := os.Truncate(filepath.Join(dir, "tile/0/001"), 100); err != nil {
		t.Fatal(err)
	}
	run(1, "tile/0/001", "-url", server.URL, "-vkey", vkey)
}
