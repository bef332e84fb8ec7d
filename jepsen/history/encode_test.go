package history

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/cairnledger/cairn/merkle"
)

func randomOp(r *rand.Rand) Op {
	number := func() uint64 {
		if r.IntN(3) == 0 {
			return 0
		}
		return r.Uint64() >> r.IntN(64)
	}
	op := Op{
		Process: r.Uint32(), Kind: Kind(r.IntN(8)), Reason: Reason(r.IntN(5)), Keyless: r.IntN(2) == 0, Retried: r.IntN(2) == 0,
		Conditional: r.IntN(2) == 0, Call: r.Int64(), Return: math.MaxInt64, First: number(), Limit: number(), Size: number(),
		Seen: number(), Node: uint16(number()),
	}
	if r.IntN(2) == 0 {
		root := merkle.LeafHash([]byte{byte(r.Uint32())})
		op.Root = &root
	}
	for range r.IntN(4) {
		op.Entries = append(op.Entries, Entry{
			Key: DigestOf([]byte{byte(r.Uint32())}), Body: DigestOf([]byte{byte(r.Uint32())}), Index: number(), Duplicate: r.IntN(2) == 0,
		})
	}
	return op
}

// TestLinesAreJSON: what is written by hand is what the JSON encoder would write.
func TestLinesAreJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		op := randomOp(r)
		l := line{
			ID: r.Int64(), Type: "info", At: op.Call, Process: op.Process, Kind: op.Kind, Reason: op.Reason, Keyless: op.Keyless,
			Retried: op.Retried, Conditional: op.Conditional, First: op.First, Limit: op.Limit, Size: op.Size, Seen: op.Seen, Node: op.Node,
		}
		if op.Root != nil {
			l.Root = op.Root.String()
		}
		for _, e := range op.Entries {
			l.Entries = append(l.Entries, entryLine{hexOf(e.Key), hexOf(e.Body), e.Index, e.Duplicate})
		}
		want, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendLine(nil, l.ID, "info", l.At, &op)); got != string(want)+"\n" {
			t.Fatalf("got\n%swant\n%s", got, want)
		}
	}
}

// BenchmarkRecorder is one operation, called and completed, of 16 clients.
func BenchmarkRecorder(b *testing.B) {
	r, err := Create(filepath.Join(b.TempDir(), "history.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		op := Op{Process: 7, Kind: Append, Call: 1e12, Return: 1e12 + 5e6, Outcome: OK, Entries: make([]Entry, 3)}
		for pb.Next() {
			id, err := r.Invoke(&op)
			if err == nil {
				err = r.Complete(id, &op)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func hexOf(d Digest) string { return hex.EncodeToString(d[:]) }
