package report_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cairnledger/cairn/jepsen/report"
)

// TestLook writes three reports to look at into the folder that CAIRN_REPORT_DIR names.
func TestLook(t *testing.T) {
	dir := os.Getenv("CAIRN_REPORT_DIR")
	if dir == "" {
		t.Skip("set CAIRN_REPORT_DIR to get sample reports")
	}
	for name, run := range map[string]func() report.Run{
		"pass":  func() report.Run { return synthetic(90_000, 2*time.Minute, 24) },
		"fail":  broken,
		"large": func() report.Run { return synthetic(5_000_000, time.Hour, 64) },
	} {
		out := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(out, "nodes", "n1"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{"history.jsonl", "nemesis.jsonl", "nodes/n1/log", "repro.txt"} {
			if err := os.WriteFile(filepath.Join(out, f), []byte("sample"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		r := run()
		begin := time.Now()
		if err := report.Write(out, r); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(out, "index.html"))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d operations, %d kB in %v", name, len(r.Ops), info.Size()/1000, time.Since(begin))
	}
}
