package lpa

import (
	"context"
	"testing"
	"time"
)

// BenchmarkHandshake measures both ends together, outer TLS included, over loopback. The frames'
// sizes are reported beside it.
func BenchmarkHandshake(b *testing.B) {
	for _, s := range []*Suite{Suite768, Suite1024} {
		b.Run(s.String(), func(b *testing.B) {
			w := worldOf(s)
			client, server := w.config(w.client), w.config(w.n1)
			for b.Loop() {
				craw, sraw := tcpPair(b)
				done := make(chan struct{})
				go func() {
					defer close(done)
					conn, err := server.Server(context.Background(), sraw)
					if err != nil {
						b.Error(err)
						return
					}
					_ = conn.Close()
				}()
				conn, err := client.Client(context.Background(), craw, nodeOne)
				if err != nil {
					b.Fatal(err)
				}
				<-done
				_ = conn.Close()
			}
			r := record(b, w)
			b.ReportMetric(float64(len(r.m1)), "M1-bytes")
			b.ReportMetric(float64(len(r.m2)), "M2-bytes")
		})
	}
}

// BenchmarkHalves measures what LPA/1 adds to TLS on each side.
func BenchmarkHalves(b *testing.B) {
	for _, s := range []*Suite{Suite768, Suite1024} {
		r := record(b, worldOf(s))
		b.Run(s.String()+"/client", func(b *testing.B) {
			for b.Loop() {
				h := newClientHalf(r.client, r.clientHalf.local, r.ekm, time.Now(), nodeOne)
				if _, err := h.serverIdentity(r.m1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(s.String()+"/server", func(b *testing.B) {
			for b.Loop() {
				if _, err := r.serverHalf().clientProof(r.m2); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
