// Command compare measures Cairn and etcd side by side: clusters of three nodes on one machine and
// one disk, the same number of clients and connections, entries and values of the same size, both
// syncing before they acknowledge. The two take turns, row by row, so that a machine that is shared
// slows both. Cairn runs with everything on: authenticated channels, the tree, sealing.
//
//	go -C tools/compare run . --out ../../docs/performance
//
// It writes compare.json (every run), compare.md (medians, ratios, spread) and compare.svg.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// row is one line of the comparison.
type row struct {
	Name string `json:"name"`
	// Etcd is nil where etcd has nothing to compare with.
	Etcd *load `json:"-"`
	// Cairn are the flags of cairn bench.
	Cairn []string `json:"cairn"`
}

// load is what clients ask of etcd.
type load struct {
	op                   string // put, get (linearizable) or stale (serializable)
	clients, connections int
}

var rows = []row{
	{"1 client", &load{"put", 1, 1}, []string{"--clients", "1", "--connections", "1"}},
	{"64 clients, 8 connections", &load{"put", 64, 8}, []string{"--clients", "64", "--connections", "8"}},
	{"256 clients, 8 connections", &load{"put", 256, 8}, []string{"--clients", "256", "--connections", "8"}},
	{"1,000 clients, 8 connections", &load{"put", 1000, 8}, []string{"--clients", "1000", "--connections", "8"}},
	{"64 clients, 64 connections", &load{"put", 64, 64}, []string{"--clients", "64", "--connections", "64"}},
	{"batches, 16 × 1,000", nil, []string{"--clients", "16", "--batch", "1000"}},
	{"batches with keys, 8 × 1,000", nil, []string{"--clients", "8", "--batch", "1000", "--keys"}},
	{"1 client, sealed", nil, []string{"--clients", "1", "--sealed"}},
	{"64 clients, sealed", nil, []string{"--clients", "64", "--connections", "8", "--sealed"}},
	{"linearizable read: head or get, 1 client", &load{"get", 1, 1}, []string{"--op", "head", "--clients", "1"}},
	{"linearizable read: head or get, 256 clients", &load{"get", 256, 8}, []string{"--op", "head", "--clients", "256", "--connections", "8"}},
	{"entry with proof, or serializable get, 64 clients", &load{"stale", 64, 8}, []string{"--op", "proof", "--clients", "64", "--connections", "8"}},
}

// figures are what one run gave.
type figures struct {
	System string  `json:"system"`
	Row    string  `json:"row"`
	Round  int     `json:"round"`
	Rate   float64 `json:"per_second"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	P999   float64 `json:"p999_ms"`
	Max    float64 `json:"max_ms"`
	// CPU is processor time of nodes and clients together, in seconds for a million requests or,
	// with batches, entries. What the start of the cluster and the warm-up took is part of it.
	CPU    float64 `json:"cpu_seconds_per_million"`
	Errors int64   `json:"errors"`
}

// report is what compare.json holds.
type report struct {
	Date     string    `json:"date"`
	CPUs     int       `json:"cpus"`
	System   string    `json:"system"`
	Etcd     string    `json:"etcd"`
	Cairn    string    `json:"cairn"`
	Rounds   int       `json:"rounds"`
	Duration string    `json:"duration"`
	Size     int       `json:"value_bytes"`
	Runs     []figures `json:"runs"`
}

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 5, "how often each row is measured with each system")
	duration := flag.Duration("duration", 10*time.Second, "how long a run is measured, after two seconds of warm-up")
	size := flag.Int("size", 256, "bytes of a value or an entry")
	only := flag.String("row", "", "measure this row alone")
	from := flag.String("from", "", "measure nothing, and write the table and the chart of this compare.json again")
	out := flag.String("out", ".", "write the results into this directory")
	flag.Parse()
	if *from != "" {
		if err := again(*from, *out); err != nil {
			log.Fatal("compare: ", err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := compare(ctx, *rounds, *duration, *size, *only, *out); err != nil {
		log.Fatal("compare: ", err)
	}
}

// again writes the results of a comparison once more.
func again(from, out string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var r report
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	return write(out, r)
}

func compare(ctx context.Context, rounds int, duration time.Duration, size int, only, out string) error {
	dir, err := os.MkdirTemp("", "compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bins, err := build(ctx, dir)
	if err != nil {
		return err
	}
	r := report{Date: time.Now().UTC().Format(time.DateOnly), CPUs: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Etcd: bins.etcdVersion, Cairn: bins.cairnVersion, Rounds: rounds, Duration: duration.String(), Size: size}
	known := false
	for round := range rounds {
		for _, w := range rows {
			if only != "" && w.Name != only {
				continue
			}
			known = true
			measure := []func() (figures, error){
				func() (figures, error) { return runCairn(ctx, bins, w, duration, size) },
			}
			if w.Etcd != nil {
				measure = append(measure, func() (figures, error) { return runEtcd(ctx, dir, bins, *w.Etcd, duration, size) })
			}
			if round%2 == 1 {
				slices.Reverse(measure)
			}
			for _, m := range measure {
				f, err := m()
				if err != nil {
					return fmt.Errorf("%s, round %d: %w", w.Name, round+1, err)
				}
				f.Row, f.Round = w.Name, round+1
				r.Runs = append(r.Runs, f)
				log.Printf("%d/%d  %-50s %-5s %9.0f/s  p50 %7.2f ms  p99 %7.2f ms", round+1, rounds, w.Name, f.System, f.Rate, f.P50, f.P99)
			}
		}
	}
	if !known {
		return fmt.Errorf("there is no row %q", only)
	}
	return write(out, r)
}

// binaries are the two programs, built from their modules.
type binaries struct{ etcd, cairn, etcdVersion, cairnVersion string }

func build(ctx context.Context, dir string) (b binaries, err error) {
	b.etcd, b.cairn = filepath.Join(dir, "etcd"), filepath.Join(dir, "cairn")
	for _, c := range []struct{ dir, out, pkg string }{{".", b.etcd, "go.etcd.io/etcd/server/v3"}, {"../..", b.cairn, "./cmd/cairn"}} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", c.out, c.pkg)
		cmd.Dir, cmd.Stderr = c.dir, os.Stderr
		if err := cmd.Run(); err != nil {
			return b, fmt.Errorf("build %s (run this from tools/compare): %w", c.pkg, err)
		}
	}
	version, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "go.etcd.io/etcd/server/v3").Output()
	if err != nil {
		return b, fmt.Errorf("ask for etcd's version: %w", err)
	}
	commit, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return b, fmt.Errorf("ask for the commit: %w", err)
	}
	b.etcdVersion, b.cairnVersion = string(version[:len(version)-1]), string(commit[:len(commit)-1])
	return b, nil
}

// runCairn lets cairn bench make a cluster, measure and delete it.
func runCairn(ctx context.Context, b binaries, w row, duration time.Duration, size int) (figures, error) {
	args := append([]string{"bench", "--local", "3", "--duration", duration.String(), "--warmup", "2s", "--size", fmt.Sprint(size), "--output", "json", "--quiet"}, w.Cairn...)
	cmd := exec.CommandContext(ctx, b.cairn, args...)
	cmd.Stderr = os.Stderr
	raw, err := cmd.Output()
	if err != nil {
		return figures{}, fmt.Errorf("cairn %v: %w", args, err)
	}
	var r struct {
		Rate    float64 `json:"entries_per_second"`
		Entries int64
		Errors  int64
		Latency struct {
			P50  float64 `json:"p50_us"`
			P99  float64 `json:"p99_us"`
			P999 float64 `json:"p999_us"`
			Max  float64 `json:"max_us"`
		}
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return figures{}, fmt.Errorf("read what cairn bench says: %w", err)
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() // its nodes included
	l := r.Latency
	return figures{System: "cairn", Rate: r.Rate, P50: l.P50 / 1000, P99: l.P99 / 1000, P999: l.P999 / 1000, Max: l.Max / 1000,
		CPU: cpu.Seconds() / float64(r.Entries) * 1e6, Errors: r.Errors}, nil
}
