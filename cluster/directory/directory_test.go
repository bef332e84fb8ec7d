package directory_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/programtest"
	"github.com/cairnledger/cairn/merkle"
)

// genesis returns one of a ledger with three members, whose keys have a given size.
func genesis(origin string, keySize int, parameters ...ledger.Parameter) *ledger.Genesis {
	key := func(name string) string { return name + strings.Repeat("k", keySize-len(name)) }
	return &ledger.Genesis{
		FeatureLevel: 1, Origin: origin, Program: "log", ProgramVersion: 1, Parameters: parameters,
		LogKeys:    []string{key("log+")},
		Members:    []ledger.Member{{ID: 1, Name: "n1", Cosigner: key("n1+")}, {ID: 2, Name: "n2", Cosigner: key("n2+")}, {ID: 3, Name: "n3", Cosigner: key("n3+")}},
		SealQuorum: 2,
	}
}

func create(t testing.TB, g *ledger.Genesis) []byte {
	t.Helper()
	command, err := directory.Create(g)
	if err != nil {
		t.Fatal(err)
	}
	return command
}

var options = programtest.Options{
	New: func() ledger.Program { return directory.Program{} },
	Command: func(rng *rand.Rand) []byte {
		if rng.IntN(3) == 0 {
			return nodeCommand(rng)
		}
		g := genesis(fmt.Sprintf("example.org/%d", rng.IntN(60)), 8+rng.IntN(2)*6000)
		switch rng.IntN(12) {
		case 0:
			g.Origin = programtest.Origin
		case 1:
			g.Program = "accounts"
		case 2:
			g.ProgramVersion = 2
		case 3:
			g.Parameters = []ledger.Parameter{{Name: "currency", Value: "CHF"}}
		}
		command, err := directory.Create(g)
		if err != nil {
			panic(err)
		}
		return command
	},
	Batches: 80,
}

func TestConformance(t *testing.T) { programtest.Run(t, options) }

func FuzzCommand(f *testing.F) {
	f.Add(create(f, genesis("example.org/0", 8)))
	f.Add(create(f, genesis(programtest.Origin, 8)))
	f.Add(create(f, genesis("example.org/new", 8000, ledger.Parameter{Name: "a", Value: "b"})))
	f.Add([]byte{})
	f.Add(change(f, directory.NodeChange{Op: directory.AddNode, Name: "n4", Cosigner: "k", Peer: "a:1", API: "a:2", HTTP: "a:3", Voter: true}))
	f.Add(change(f, directory.NodeChange{Op: directory.JoinNode, ID: 4, Incarnation: [16]byte{1}}))
	f.Fuzz(func(t *testing.T, command []byte) {
		programtest.Fuzz(t, options, command)
		if c, err := directory.ParseNodeChange(command); err == nil && !bytes.Equal(change(t, *c), command) {
			t.Errorf("%x parses and encodes to other bytes", command)
		}
		if g, err := directory.ParseCreate(command); err == nil && !bytes.Equal(create(t, g), command) {
			t.Errorf("%x parses and encodes to other bytes", command)
		}
	})
}

func FuzzOutcome(f *testing.F) {
	f.Add(directory.Outcome{Status: directory.Created, ID: 2}.Marshal())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := directory.ParseOutcome(b); err == nil && !bytes.Equal(o.Marshal(), b) {
			t.Errorf("%x parses and encodes to other bytes", b)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(directory.EncodeRecord(2, &ledger.Input{Index: 3, Time: 4, Principal: []byte("p")}, create(f, genesis("example.org/0", 8))[2:]))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := directory.ParseRecord("example.org/0", b)
		if err != nil {
			return
		}
		again := directory.EncodeRecord(l.Group, &ledger.Input{Index: l.Index, Time: l.Time, Principal: []byte(l.Creator)}, create(t, l.Genesis)[2:])
		if !bytes.Equal(again, b) {
			t.Errorf("%x parses and encodes to other bytes", b)
		}
	})
}

// open returns a directory that has begun.
func open(t testing.TB) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: directory.Group, Origin: own, Program: directory.Program{}})
	if err != nil {
		t.Fatal(err)
	}
	g := genesis(own, 8)
	g.Program = "directory"
	block, err := ledger.EncodeGenesis(g, "creator", 0)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, l, block)
	return l
}

const own = "example.org/directory"

func apply(t testing.TB, l *ledger.Ledger, block []byte) []ledger.Result {
	t.Helper()
	results, err := l.ApplyMany([]ledger.Committed{{RaftIndex: l.Head().RaftIndex + 1, RaftTerm: 1, Block: block}})
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}

// decide appends commands at a time and returns their outcomes.
func decide(t testing.TB, l *ledger.Ledger, time int64, principal string, commands ...[]byte) (outcomes []directory.Outcome) {
	t.Helper()
	b := ledger.Batch{Principal: principal}
	for _, c := range commands {
		b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindCommand, Body: c})
	}
	block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, time, []ledger.Batch{b})
	if err != nil {
		t.Fatal(err)
	}
	r := apply(t, l, block)[0]
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	for _, index := range r.Indexes {
		leaf, err := l.Leaf(index)
		if err != nil {
			t.Fatal(err)
		}
		e, err := ledger.ParseLeaf(leaf)
		if err != nil {
			t.Fatal(err)
		}
		o, err := directory.ParseOutcome(e.Outcome)
		if err != nil {
			t.Fatal(err)
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// TestOutcomes: an origin has one ledger, groups ascend from 2, and neither a refused command nor a
// repeated one uses a group.
func TestOutcomes(t *testing.T) {
	l := open(t)
	chf := ledger.Parameter{Name: "currency", Value: "CHF"}
	other := func(f func(*ledger.Genesis)) []byte {
		g := genesis("example.org/a", 8, chf)
		f(g)
		return create(t, g)
	}
	for i, c := range []struct {
		what    string
		command []byte
		want    directory.Outcome
	}{
		{"a new ledger", other(func(*ledger.Genesis) {}), directory.Outcome{Status: directory.Created, ID: 2}},
		{"the same one", other(func(*ledger.Genesis) {}), directory.Outcome{Status: directory.Exists, ID: 2}},
		{"the same one with other keys", create(t, genesis("example.org/a", 9, chf)), directory.Outcome{Status: directory.Exists, ID: 2}},
		{"another program", other(func(g *ledger.Genesis) { g.Program = "accounts" }), directory.Outcome{Status: directory.Conflict, ID: 2}},
		{"another version", other(func(g *ledger.Genesis) { g.ProgramVersion = 2 }), directory.Outcome{Status: directory.Conflict, ID: 2}},
		{"other parameters", other(func(g *ledger.Genesis) { g.Parameters = nil }), directory.Outcome{Status: directory.Conflict, ID: 2}},
		{"the directory's origin", create(t, genesis(own, 8)), directory.Outcome{Status: directory.Conflict, ID: 1}},
		{"an origin that begins like another", create(t, genesis("example.org/a/b", 8)), directory.Outcome{Status: directory.Created, ID: 3}},
		{"the beginning of an origin", create(t, genesis("example.org", 8)), directory.Outcome{Status: directory.Created, ID: 4}},
	} {
		if got := decide(t, l, int64(i), "p", c.command)[0]; got != c.want {
			t.Errorf("%s: %s with group %d, want %s with group %d", c.what, got.Status, got.ID, c.want.Status, c.want.ID)
		}
	}
}

// TestListAndFind: readers get every ledger as it was created, whatever its size, and no other.
func TestListAndFind(t *testing.T) {
	l := open(t)
	if all, err := directory.List(l.State()); err != nil || len(all) != 0 {
		t.Fatalf("the ledgers of a new directory: %v, %v", all, err)
	}
	var want []directory.Ledger
	for i, keySize := range []int{8, 8000, 5113, 8, 2000} { // one row, two, three
		origin := fmt.Sprintf("example.org/%d", 9-i) // descending, groups ascend
		g := genesis(origin, keySize, ledger.Parameter{Name: "n", Value: fmt.Sprint(i)})
		want = append(want, directory.Ledger{Genesis: g, Group: uint64(2 + i), Creator: fmt.Sprintf("p%d", i), Time: int64(100 + i), Index: uint64(1 + 2*i)})
		decide(t, l, int64(100+i), fmt.Sprintf("p%d", i), create(t, g), create(t, g))
	}
	same := func(got *directory.Ledger, want directory.Ledger) error {
		if got == nil {
			return errors.New("it is not there")
		}
		if got.Group != want.Group || got.Creator != want.Creator || got.Time != want.Time || got.Index != want.Index {
			return errors.Newf("%+v, want %+v", *got, want)
		}
		if d := got.Genesis.Diff(want.Genesis); d != "" {
			return errors.New(d)
		}
		return nil
	}
	all, err := directory.List(l.State())
	if err != nil || len(all) != len(want) {
		t.Fatalf("%d ledgers, %v; want %d", len(all), err, len(want))
	}
	for i := range want {
		if err := same(&all[i], want[i]); err != nil {
			t.Errorf("ledger %d of the list: %v", i, err)
		}
		got, err := directory.Find(l.State(), want[i].Genesis.Origin)
		if err == nil {
			err = same(got, want[i])
		}
		if err != nil {
			t.Errorf("find ledger %d: %v", i, err)
		}
	}
	var followed []*directory.Ledger
	for i := range l.Head().Size {
		leaf, err := l.Leaf(i)
		if err != nil {
			t.Fatal(err)
		}
		got, err := directory.CreatedBy(i, leaf)
		if err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
		if got != nil {
			followed = append(followed, got)
		}
	}
	if len(followed) != len(want) {
		t.Fatalf("the entries created %d ledgers, want %d", len(followed), len(want))
	}
	for i := range want {
		if err := same(followed[i], want[i]); err != nil {
			t.Errorf("ledger %d of those that entries created: %v", i, err)
		}
	}
	for _, origin := range []string{"example.org", "example.org/", "example.org/50", own, "", "example.org/5\x00"} {
		if got, err := directory.Find(l.State(), origin); got != nil || err != nil {
			t.Errorf("find %q: %v, %v, want nothing", origin, got, err)
		}
	}
}

// TestBlock: the block of a ledger begins it, with the creator and the time of the command.
func TestBlock(t *testing.T) {
	l := open(t)
	const origin = "example.org/new"
	decide(t, l, 77, "spiffe://example.org/svc/a", create(t, genesis(origin, 2000)))
	found, err := directory.Find(l.State(), origin)
	if err != nil {
		t.Fatal(err)
	}
	block, err := found.Block()
	if err != nil {
		t.Fatal(err)
	}
	n, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: found.Group, Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	if r := apply(t, n, block)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	leaf, err := n.Leaf(0)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := ledger.ParseLeaf(leaf); err != nil || e.Principal != "spiffe://example.org/svc/a" || e.Time != 77 {
		t.Errorf("entry 0 is by %q at %d, %v", e.Principal, e.Time, err)
	}
}

// TestNotUnderstood: a command with an origin that is no name, a payload, and whatever is no
// command have no effect.
func TestNotUnderstood(t *testing.T) {
	good := create(t, genesis("example.org/a", 8))
	if _, err := (directory.Program{}).MaxOutcome(ledger.KindCommand, good); err != nil {
		t.Fatalf("a command: %v", err)
	}
	if _, err := (directory.Program{}).MaxOutcome(ledger.KindPayload, good); err == nil {
		t.Error("a payload is understood")
	}
	badOrigin := bytes.Replace(good, []byte("example.org/a"), []byte("example.org//"), 1)
	for name, body := range map[string][]byte{
		"nothing":             nil,
		"another operation":   append([]byte{2}, good[1:]...),
		"another version":     append([]byte{1, 2}, good[2:]...),
		"a genesis alone":     good[2:],
		"a byte too many":     append(bytes.Clone(good), 0),
		"a byte too few":      good[:len(good)-1],
		"an origin like this": badOrigin,
	} {
		if _, err := (directory.Program{}).MaxOutcome(ledger.KindCommand, body); err == nil {
			t.Errorf("%s is understood", name)
		}
	}
	if _, err := directory.Create(genesis("example.org//", 8)); err == nil {
		t.Error("Create takes a bad origin")
	}
}

func TestCheckOrigin(t *testing.T) {
	for _, good := range []string{"a", "example.org/log", "A-Z_~0/9./x..y", "~", "-", strings.Repeat("a", 200)} {
		if err := directory.CheckOrigin(good); err != nil {
			t.Errorf("%q is refused: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.b", ".a", "a b", "a\n", "a:b", "ä", "a\x00", strings.Repeat("a", 201)} {
		if err := directory.CheckOrigin(bad); err == nil {
			t.Errorf("%q is an origin", bad)
		}
	}
}

// TestDamagedRows: rows that no program wrote are an error, never a ledger.
func TestDamagedRows(t *testing.T) {
	record := directory.EncodeRecord(2, &ledger.Input{Index: 1, Time: 5, Principal: []byte("p")}, create(t, genesis("example.org/a", 8000))[2:])
	first, second := record[:ledger.MaxStateValue], record[ledger.MaxStateValue:]
	key := func(origin string, n byte) string { return "l" + origin + "\x00" + string(rune(n)) }
	for name, rows := range map[string]map[string][]byte{
		"of another origin":    {key("example.org/b", 0): first, key("example.org/b", 1): second},
		"without an end":       {key("example.org/a", 0): first},
		"without a beginning":  {key("example.org/a", 1): second},
		"with a hole":          {key("example.org/a", 0): first, key("example.org/a", 2): second},
		"that is empty":        {key("example.org/a", 0): {}},
		"with a strange key":   {"l": first},
		"with a short part":    {key("example.org/a", 0): first[1:], key("example.org/a", 1): second},
		"with another version": {key("example.org/a", 0): append([]byte{2}, first[1:]...), key("example.org/a", 1): second},
	} {
		l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: own, Program: writer(rows)})
		if err != nil {
			t.Fatal(err)
		}
		b := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: []byte("x")}}}
		block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, 1, []ledger.Batch{b})
		if err != nil {
			t.Fatal(err)
		}
		if r := apply(t, l, block)[0]; r.Err != nil {
			t.Fatalf("%s: %v", name, r.Err)
		}
		var corrupt *ledger.CorruptError
		if all, err := directory.List(l.State()); !errors.As(err, &corrupt) {
			t.Errorf("a record %s: %d ledgers, %v; want a CorruptError", name, len(all), err)
		}
	}
}

// writer is a program that writes given rows.
type writer map[string][]byte

func (writer) Name() string                                { return "directory" }
func (writer) Version() uint32                             { return 1 }
func (writer) MaxOutcome(ledger.Kind, []byte) (int, error) { return 0, nil }
func (w writer) Decide(view ledger.View, _ *ledger.Input) []byte {
	for k, v := range w {
		view.Put([]byte(k), v)
	}
	return nil
}
