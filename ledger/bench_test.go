package ledger_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/merkle"
)

// BenchmarkApply applies blocks of about 1 MiB with entries of 256 bytes of payload.
func BenchmarkApply(b *testing.B) {
	for _, store := range []string{"memstore", "badgerstore"} {
		for _, keyed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/keys=%v", store, keyed), func(b *testing.B) {
				var s ledger.Store = memstore.New(memstore.Options{})
				if store == "badgerstore" {
					s = openBadger(b, b.TempDir(), 0)
				}
				l := open(b, s, ledger.Summary{})
				defer l.Close()
				const perBlock = 3500
				entries := 0
				var cpu time.Duration // of the whole process: a busy machine does not show in it
				for i := 0; b.Loop(); i++ {
					b.StopTimer()
					batches := make([]ledger.Batch, 35)
					for j := range batches {
						batches[j].Principal = "spiffe://example.org/svc/bench"
						for k := range perBlock / 35 {
							e := ledger.NewEntry{Kind: ledger.KindPayload, Body: make([]byte, 256)}
							binary.BigEndian.PutUint64(e.Body, uint64(entries))
							if keyed {
								e.Key = binary.BigEndian.AppendUint64(nil, uint64(entries+k)*0x9e3779b97f4a7c15)
							}
							batches[j].Entries = append(batches[j].Entries, e)
						}
						entries += perBlock / 35
					}
					head := l.Head()
					block, err := ledger.EncodeBlock(ledger.Anchor{Size: head.Size, Root: head.Root}, int64(i), batches)
					if err != nil {
						b.Fatal(err)
					}
					start := cpuTime(b)
					b.StartTimer()
					if _, err := applyOne(l, uint64(i)+1, 1, block); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					cpu += cpuTime(b) - start
					b.StartTimer()
				}
				b.ReportMetric(float64(entries)/b.Elapsed().Seconds(), "entries/s")
				b.ReportMetric(float64(entries)/cpu.Seconds(), "entries/cpu-s")
			})
		}
	}
}

// cpuTime returns the processor time that the process has taken.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkApplySmall applies blocks of one entry, alone and in groups of 16.
func BenchmarkApplySmall(b *testing.B) {
	for _, group := range []int{1, 16} {
		b.Run(fmt.Sprint("group=", group), func(b *testing.B) {
			l := open(b, openBadger(b, b.TempDir(), 0), ledger.Summary{})
			defer l.Close()
			raftIndex := uint64(0)
			for b.Loop() {
				var blocks []ledger.Committed
				for range group {
					raftIndex++
					block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, 1, []ledger.Batch{one(fmt.Sprint(raftIndex), "payload")})
					if err != nil {
						b.Fatal(err)
					}
					blocks = append(blocks, ledger.Committed{RaftIndex: raftIndex, RaftTerm: 1, Block: block})
				}
				if _, err := l.ApplyMany(blocks); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(raftIndex)/b.Elapsed().Seconds(), "blocks/s")
		})
	}
}

// BenchmarkAccounts applies blocks of 2,000 transfers between accounts of which few are used again
// and again, or all equally.
func BenchmarkAccounts(b *testing.B) {
	for _, store := range []string{"memstore", "badgerstore"} {
		for _, n := range []uint64{1000, 400_000} {
			b.Run(fmt.Sprintf("%s/accounts=%d", store, n), func(b *testing.B) {
				var s ledger.Store = memstore.New(memstore.Options{})
				if store == "badgerstore" {
					s = openBadger(b, b.TempDir(), 0)
				}
				l := openProgram(b, s, accounts.Program{}, ledger.Summary{})
				defer l.Close()
				rng := rand.New(rand.NewPCG(1, 1))
				block := func(n int, command func(i int) []byte) ledger.Committed {
					batches := make([]ledger.Batch, n)
					for i := range batches {
						batches[i] = commands(string(command(i)))
					}
					head := l.Head()
					raw, err := ledger.EncodeBlock(ledger.Anchor{Size: head.Size, Root: head.Root}, 1, batches)
					if err != nil {
						b.Fatal(err)
					}
					return ledger.Committed{RaftIndex: head.RaftIndex + 1, RaftTerm: 1, Block: raw}
				}
				for first := uint64(0); first < n; first += 1000 {
					open := block(1000, func(i int) []byte { return accounts.Open(first+uint64(i), 1<<40) })
					if _, err := l.ApplyMany([]ledger.Committed{open}); err != nil {
						b.Fatal(err)
					}
				}
				l.Marked(ledger.Summary{Size: l.Head().Size})
				transfers := 0
				for b.Loop() {
					b.StopTimer()
					c := block(2000, func(int) []byte { return accounts.Transfer(rng.Uint64N(n), rng.Uint64N(n), 1) })
					transfers += 2000
					b.StartTimer()
					if _, err := l.ApplyMany([]ledger.Committed{c}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(transfers)/b.Elapsed().Seconds(), "transfers/s")
			})
		}
	}
}

func BenchmarkParseBlock(b *testing.B) {
	batch := ledger.Batch{Principal: "spiffe://example.org/svc/bench"}
	for range 3500 {
		batch.Entries = append(batch.Entries, ledger.NewEntry{Kind: ledger.KindPayload, Body: make([]byte, 256)})
	}
	block, err := ledger.EncodeBlock(ledger.Anchor{}, 1, []ledger.Batch{batch})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ledger.ParseBlock(block); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLeaf(b *testing.B) {
	h := newHistory(1)
	h.grow(b, 500, 300)
	for _, store := range []string{"memstore", "badgerstore"} {
		b.Run(store, func(b *testing.B) {
			var s ledger.Store = memstore.New(memstore.Options{})
			if store == "badgerstore" {
				s = openBadger(b, b.TempDir(), 0)
			}
			l := open(b, s, ledger.Summary{})
			defer l.Close()
			apply(b, h, l, 0, len(h.entries))
			i := uint64(0)
			for b.Loop() {
				i = (i + 7919) % h.model.size()
				if _, err := l.Leaf(i); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
