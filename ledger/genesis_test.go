package ledger_test

import (
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
)

const genesisOrigin = "example.org/genesis"

func testGenesis() *ledger.Genesis {
	g := &ledger.Genesis{
		FeatureLevel: 1, Origin: genesisOrigin, Program: "log", ProgramVersion: 1,
		Parameters: []ledger.Parameter{{"b", "2"}, {"a", ""}},
		LogKeys:    []string{"log+key"},
		Members:    []ledger.Member{{3, "n3", "c3"}, {1, "n1", "c1"}, {2, "n2", "c2"}},
		SealQuorum: 2,
	}
	g.Normalise()
	return g
}

func marshalGenesis(t testing.TB, g *ledger.Genesis) []byte {
	t.Helper()
	b, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGenesisRoundTrip: what Marshal writes ParseGenesis gives back, and every shortened or
// lengthened encoding is refused.
func TestGenesisRoundTrip(t *testing.T) {
	g := testGenesis()
	body := marshalGenesis(t, g)
	got, err := ledger.ParseGenesis(body)
	if err != nil || got.Diff(g) != "" {
		t.Fatalf("parsed: %+v, %v; differs in: %s", got, err, got.Diff(g))
	}
	for n := range body {
		if _, err := ledger.ParseGenesis(body[:n]); err == nil {
			t.Errorf("the first %d of %d bytes parse", n, len(body))
		}
	}
	if _, err := ledger.ParseGenesis(append(body, 0)); err == nil {
		t.Error("a byte too many parses")
	}
}

// TestGenesisRefused: a genesis that breaks a rule is neither written nor read.
func TestGenesisRefused(t *testing.T) {
	for name, spoil := range map[string]func(*ledger.Genesis){
		"level 0":              func(g *ledger.Genesis) { g.FeatureLevel = 0 },
		"no origin":            func(g *ledger.Genesis) { g.Origin = "" },
		"long origin":          func(g *ledger.Genesis) { g.Origin = strings.Repeat("o", 1025) },
		"no program":           func(g *ledger.Genesis) { g.Program = "" },
		"long program":         func(g *ledger.Genesis) { g.Program = strings.Repeat("p", 65) },
		"unnamed parameter":    func(g *ledger.Genesis) { g.Parameters[0].Name = "" },
		"parameters unordered": func(g *ledger.Genesis) { g.Parameters[0].Name = "b" },
		"long value":           func(g *ledger.Genesis) { g.Parameters[0].Value = strings.Repeat("v", 1025) },
		"many parameters":      func(g *ledger.Genesis) { g.Parameters = make([]ledger.Parameter, 65) },
		"no log key":           func(g *ledger.Genesis) { g.LogKeys = nil },
		"an empty log key":     func(g *ledger.Genesis) { g.LogKeys[0] = "" },
		"no members":           func(g *ledger.Genesis) { g.Members, g.SealQuorum = nil, 0 },
		"member 0":             func(g *ledger.Genesis) { g.Members[0].ID = 0 },
		"member twice":         func(g *ledger.Genesis) { g.Members[1].ID = 1 },
		"unnamed member":       func(g *ledger.Genesis) { g.Members[1].Name = "" },
		"no cosigner":          func(g *ledger.Genesis) { g.Members[1].Cosigner = "" },
		"quorum 0":             func(g *ledger.Genesis) { g.SealQuorum = 0 },
		"quorum 4 of 3":        func(g *ledger.Genesis) { g.SealQuorum = 4 },
	} {
		g := testGenesis()
		spoil(g)
		if _, err := g.Marshal(); err == nil {
			t.Errorf("%s: it is written", name)
		}
	}
}

func FuzzParseGenesis(f *testing.F) {
	f.Add(marshalGenesis(f, testGenesis()))
	f.Add([]byte{1, 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		g, err := ledger.ParseGenesis(body)
		if err != nil {
			return
		}
		if again := marshalGenesis(t, g); string(again) != string(body) {
			t.Errorf("%x encodes back to %x", body, again)
		}
	})
}

// TestGenesisDiff: every field shows.
func TestGenesisDiff(t *testing.T) {
	for want, change := range map[string]func(*ledger.Genesis){
		"":               func(*ledger.Genesis) {},
		"origin":         func(g *ledger.Genesis) { g.Origin = "x" },
		"program":        func(g *ledger.Genesis) { g.ProgramVersion++ },
		"parameters":     func(g *ledger.Genesis) { g.Parameters = nil },
		"seal quorum":    func(g *ledger.Genesis) { g.SealQuorum = 3 },
		"log keys":       func(g *ledger.Genesis) { g.LogKeys[0] = "x" },
		"cosigner keys":  func(g *ledger.Genesis) { g.Members[0].Cosigner = "x" },
		"feature level ": func(g *ledger.Genesis) { g.FeatureLevel++ },
	} {
		g := testGenesis()
		change(g)
		if got := g.Diff(testGenesis()); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("the difference in %q is told as %q", want, got)
		}
	}
}

// TestGenesisIsEntryZero: a ledger takes its genesis as entry 0, gives it back, and takes no record
// anywhere else: not behind an entry, not in a batch with others, not that of another ledger or of
// another program, and not what is no genesis.
func TestGenesisIsEntryZero(t *testing.T) {
	open := func() *ledger.Ledger {
		l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: genesisOrigin})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	block := func(batches ...ledger.Batch) []byte {
		raw, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, 5, batches)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	record := func(bodies ...[]byte) ledger.Batch {
		b := ledger.Batch{Principal: "creator"}
		for _, body := range bodies {
			b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindRecord, Body: body})
		}
		return b
	}
	payload := ledger.Batch{Principal: "writer", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("x")}}}
	good := marshalGenesis(t, testGenesis())
	changed := func(f func(*ledger.Genesis)) []byte {
		g := testGenesis()
		f(g)
		return marshalGenesis(t, g)
	}

	l := open()
	raw, err := ledger.EncodeGenesis(testGenesis(), "creator", 5)
	if err != nil {
		t.Fatal(err)
	}
	results, err := l.ApplyMany([]ledger.Committed{{RaftIndex: 1, RaftTerm: 1, Block: raw}, {RaftIndex: 2, RaftTerm: 1, Block: block(record(good), payload)}})
	if err != nil || results[0][0].Err != nil || l.Head().Size != 2 {
		t.Fatalf("genesis: %v, %+v, size %d", err, results, l.Head().Size)
	}
	var refused *ledger.RefusedError
	if !errors.As(results[1][0].Err, &refused) || refused.Reason != ledger.RefusedNotUnderstood || results[1][1].Err != nil {
		t.Errorf("a second genesis and an entry: %+v, want a refusal and an entry", results[1])
	}
	g, err := l.Genesis()
	if err != nil || g.Diff(testGenesis()) != "" {
		t.Errorf("the ledger's genesis is %+v, %v", g, err)
	}
	for name, batch := range map[string]ledger.Batch{
		"in a batch with another": record(good, good),
		"of another origin":       record(changed(func(g *ledger.Genesis) { g.Origin = "example.org/other" })),
		"of another program":      record(changed(func(g *ledger.Genesis) { g.Program = "other" })),
		"of another version":      record(changed(func(g *ledger.Genesis) { g.ProgramVersion = 2 })),
		"that is none":            record([]byte("genesis")),
	} {
		l := open()
		results, err := l.ApplyMany([]ledger.Committed{{RaftIndex: 1, RaftTerm: 1, Block: block(batch)}})
		if err != nil || !errors.As(results[0][0].Err, &refused) || l.Head().Size != 0 || l.Refused(ledger.RefusedNotUnderstood) != 1 {
			t.Errorf("a genesis %s: %v, %+v, size %d", name, err, results, l.Head().Size)
		}
	}
	l = open()
	if _, err := l.ApplyMany([]ledger.Committed{{RaftIndex: 1, RaftTerm: 1, Block: block(payload)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Genesis(); !errors.Is(err, ledger.ErrNoGenesis) {
		t.Errorf("the genesis of a ledger without one: %v, want ErrNoGenesis", err)
	}
}

// parameter is a program whose outcomes are a parameter of the ledger.
type parameter struct{}

func (parameter) Name() string                                { return "parameter" }
func (parameter) Version() uint32                             { return 1 }
func (parameter) MaxOutcome(ledger.Kind, []byte) (int, error) { return 16, nil }
func (parameter) Decide(_ ledger.View, in *ledger.Input) []byte {
	if in.Genesis == nil {
		return []byte("none")
	}
	return []byte(in.Genesis.Parameters[0].Value)
}

// TestProgramSeesGenesis: a program is given the ledger's genesis with every entry behind it, in the
// same block, in a replay and by a replica that was opened behind it. It is given nil where there
// is none.
func TestProgramSeesGenesis(t *testing.T) {
	g := testGenesis()
	g.Program, g.Parameters = "parameter", []ledger.Parameter{{"currency", "CHF"}}
	begin := ledger.Batch{Principal: "creator", Entries: []ledger.NewEntry{{Kind: ledger.KindRecord, Body: marshalGenesis(t, g)}}}
	command := ledger.Batch{Principal: "writer", Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: []byte("x")}}}
	for want, first := range map[string]ledger.Batch{"CHF": begin, "none": command} {
		var blocks []ledger.Committed
		for i, batches := range [][]ledger.Batch{{first, command}, {command}, {command}} {
			raw, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, 5, batches)
			if err != nil {
				t.Fatal(err)
			}
			blocks = append(blocks, ledger.Committed{RaftIndex: uint64(i + 1), RaftTerm: 1, Block: raw})
		}
		for stop := range len(blocks) {
			store := memstore.New(memstore.Options{})
			var start ledger.Summary
			for _, applied := range []int{stop, len(blocks), len(blocks)} { // in the third run all of it is a replay
				l, err := ledger.Open(store, ledger.Config{Group: 1, Origin: genesisOrigin, Program: parameter{}, Start: start})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := l.ApplyMany(blocks[start.RaftIndex:applied]); err != nil {
					t.Fatalf("stopped behind %d blocks: %v", stop, err)
				}
				h := l.Head()
				for index := uint64(1); index < h.Size; index++ {
					leaf, err := l.Leaf(index)
					if err != nil {
						t.Fatal(err)
					}
					if e, err := ledger.ParseLeaf(leaf); err != nil || string(e.Outcome) != want {
						t.Errorf("stopped behind %d blocks: entry %d was decided with %q, %v; want %q", stop, index, e.Outcome, err, want)
					}
				}
				if start = (ledger.Summary{}); applied == stop && stop > 0 {
					start = ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}
				}
			}
		}
	}
}
