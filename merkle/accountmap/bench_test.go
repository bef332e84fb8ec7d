package accountmap_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/cairnledger/cairn/merkle/accountmap"
)

const million = 1_000_000

// BenchmarkUpdate gives random accounts of a million other records. The metric is the time of one
// account.
func BenchmarkUpdate(b *testing.B) {
	leaves := accounts(million)
	tree := accountmap.Build(leaves)
	for _, size := range []int{1, 10, 300, 2_000, 10_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 2))
			batch := make([]accountmap.Leaf, size)
			for b.Loop() {
				b.StopTimer()
				for i := range batch {
					batch[i] = leaves[rng.IntN(len(leaves))]
					batch[i].Record[0]++
				}
				b.StartTimer()
				tree.Update(batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size)/1e3, "µs/account")
		})
	}
}

// BenchmarkInsert adds accounts to a map that has none, in batches of 1,000.
func BenchmarkInsert(b *testing.B) {
	leaves := accounts(million)
	for b.Loop() {
		tree := accountmap.New()
		for i := 0; i < len(leaves); i += 1000 {
			tree.Update(leaves[i : i+1000])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*million)/1e3, "µs/account")
}

// BenchmarkBuild makes the map of a million accounts in random order. It also tells the memory that
// the map keeps.
func BenchmarkBuild(b *testing.B) {
	leaves := accounts(million)
	var tree *accountmap.Tree
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	for b.Loop() {
		tree = accountmap.Build(leaves)
	}
	b.ReportMetric((heap()-before)/million, "B/account")
	runtime.KeepAlive(tree)
	runtime.KeepAlive(leaves)
}

// BenchmarkProof makes and verifies proofs below a million accounts.
func BenchmarkProof(b *testing.B) {
	leaves := accounts(million)
	tree := accountmap.Build(leaves)
	rng := rand.New(rand.NewPCG(1, 2))
	b.Run("prove", func(b *testing.B) {
		size := 0
		for b.Loop() {
			size += len(tree.Prove(leaves[rng.IntN(million)].Key).Append(nil))
		}
		b.ReportMetric(float64(size)/float64(b.N), "B/proof")
	})
	b.Run("verify", func(b *testing.B) {
		l := leaves[7]
		p := tree.Prove(l.Key)
		for b.Loop() {
			if _, _, err := p.Verify(tree.Root(), l.Key); err != nil {
				b.Fatal(err)
			}
		}
	})
}
