package raftnode

import (
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkSubmit commits requests of 256 bytes on three nodes in one process,
// over loopback, with their logs in the temporary directory.
func BenchmarkSubmit(b *testing.B) {
	for _, bench := range []struct {
		name       string
		size, many int
	}{
		{"single", 256, 1},
		{"parallel", 256, 256},
		{"batches-of-64KiB", 64 << 10, 64},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c := makeCluster(b, 3, func(cfg *Config) {
				cfg.ElectionTicks, cfg.StallTimeout = 200, time.Hour // a busy machine must not disturb
				if cfg.ID != 1 {
					cfg.ElectionTicks = 10_000
				}
			})
			c.forgetful, c.dir = true, b.TempDir()
			c.startAll()
			n := c.leader()
			data := string(make([]byte, bench.size))
			b.SetBytes(int64(bench.size))
			b.ReportAllocs()
			slots := make(chan *request, bench.many)
			for range bench.many {
				slots <- nil
			}
			var failed atomic.Int64
			b.ResetTimer()
			for range b.N {
				if r := <-slots; r != nil {
					if o := <-r.result; o.err != nil {
						failed.Add(1)
					}
				}
				r := newRequest(data)
				if err := n.Submit(r); err != nil {
					b.Fatal(err)
				}
				slots <- r
			}
			for range bench.many {
				if r := <-slots; r != nil {
					<-r.result
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(n.Status().Applied), "blocks")
			if failed.Load() > 0 {
				b.Errorf("%d requests failed", failed.Load())
			}
		})
	}
}
