package raftnode

import (
	"fmt"
	"sync"
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

// BenchmarkGroups commits requests of 256 bytes of 64 callers, spread over the groups of three hosts
// in one process, over loopback, with their logs in memory.
func BenchmarkGroups(b *testing.B) {
	for _, groups := range []int{1, 8} {
		b.Run(fmt.Sprint(groups), func(b *testing.B) {
			c := newIdleCluster(b, groups, memory)
			data := string(make([]byte, 256))
			var left atomic.Int64
			left.Store(int64(b.N))
			before := c.applied()
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range 64 {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						r := newRequest(data)
						for c.leader(i%groups).Submit(r) != nil {
							time.Sleep(time.Millisecond)
						}
						if o := <-r.result; o.err != nil {
							b.Error(o.err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/float64(c.applied()-before), "requests/block")
		})
	}
}

// leader returns the member that serves a group, or any other one when there is none.
func (c *idleCluster) leader(group int) (n *Node) {
	for _, n = range c.groups[group] {
		if n.driver.state.Load().Serving {
			break
		}
	}
	return n
}

// applied is how many blocks all groups have applied.
func (c *idleCluster) applied() (blocks uint64) {
	for g := range c.groups {
		blocks += c.leader(g).Status().Applied
	}
	return blocks
}
