package cluster_test

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/ledger"
)

// startInProcess runs the nodes of a cluster inside the test process, so that a
// profile shows all of them, and creates the cluster's first ledger.
func startInProcess(b *testing.B, nodes int) *local.Cluster {
	b.Helper()
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	c, err := local.Create(local.Options{Dir: filepath.Join(b.TempDir(), "c"), Nodes: nodes, Executable: exe})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, name := range c.Names() {
		cfg, err := node.LoadConfig(filepath.Join(c.NodeDir(name), "node.yaml"))
		if err != nil {
			b.Fatal(err)
		}
		cfg.LogLevel = "error"
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := node.Run(ctx, cfg); err != nil {
				b.Error(err)
			}
		}()
	}
	b.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	createFirst(b, c)
	return c
}

func createFirst(b *testing.B, c *local.Cluster) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cl, err := c.DialLedger(ctx, c.Directory(), "admin")
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	if _, _, err := cl.CreateLedger(ctx, c.Origin(), ledger.Log{}.Name()); err != nil {
		b.Fatal(err)
	}
}

func benchClient(b *testing.B, c *local.Cluster) *client.Client {
	b.Helper()
	cl, err := c.Dial(context.Background(), "writer")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cl.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := cl.Append(ctx, client.Entry{Key: []byte("warm"), Payload: []byte("up")}); err != nil {
		b.Fatal(err)
	}
	return cl
}

// BenchmarkBatches appends batches of 1,000 entries of 256 bytes from four
// clients to three nodes in one process.
func BenchmarkBatches(b *testing.B) {
	const batch = 1000
	c := startInProcess(b, 3)
	cl := benchClient(b, c)
	entries := make([]client.Entry, batch)
	for i := range entries {
		entries[i].Payload = make([]byte, 256)
		_, _ = rand.Read(entries[i].Payload)
	}
	work := make(chan struct{})
	var wg sync.WaitGroup
	b.SetBytes(batch * 256)
	b.ResetTimer()
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range work {
				if _, err := cl.AppendBatch(context.Background(), entries); err != nil {
					b.Error(err)
				}
			}
		}()
	}
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkSingle appends one entry at a time.
func BenchmarkSingle(b *testing.B) {
	c := startInProcess(b, 3)
	cl := benchClient(b, c)
	payload := make([]byte, 256)
	b.ResetTimer()
	for range b.N {
		if _, err := cl.Append(context.Background(), client.Entry{Payload: payload}); err != nil {
			b.Fatal(err)
		}
	}
}
