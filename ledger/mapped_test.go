package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/merkle/accountmap"
)

// mappedScript is a script whose rows below "m/" are the records of a map.
type mappedScript struct {
	script
	prefix string
}

func (m mappedScript) MapPrefix() []byte { return []byte(m.prefix) }

func (mappedScript) MapRecord(value []byte) []byte { return value }

// rooted is a block with a record of the map root at its end.
func rooted(t testing.TB, l *ledger.Ledger, batches ...ledger.Batch) []byte {
	t.Helper()
	return single(t, l, 1, append(batches, rootRecord(1))...)
}

// putter puts the row that a command names; "m/" and an id is one of the map.
func putter(rows ...string) mappedScript {
	m := mappedScript{script: script{most: 100, decides: map[string]func(ledger.View, *ledger.Input) []byte{}}, prefix: "m/"}
	for _, r := range append(rows, "other") {
		m.decides[r] = func(v ledger.View, in *ledger.Input) []byte {
			v.Put([]byte(r), fmt.Appendf(nil, "%s of %d", r, in.Index))
			return []byte("put " + r)
		}
	}
	m.decides["nothing"] = func(ledger.View, *ledger.Input) []byte { return nil }
	return m
}

// mapOf returns the map of rows whose values putter has put, by index.
func mapOf(rows map[string]uint64) *accountmap.Tree {
	tree := accountmap.New()
	for id, index := range rows {
		record := fmt.Appendf(nil, "m/%s of %d", id, index)
		tree.Update([]accountmap.Leaf{{Key: accountmap.KeyOf(origin, []byte(id)), Record: sha256.Sum256(record)}})
	}
	return tree
}

func outcomes(t testing.TB, l *ledger.Ledger) (all []string) {
	t.Helper()
	for index := range l.Head().Size {
		leaf, err := l.Leaf(index)
		if err != nil {
			t.Fatal(err)
		}
		e, err := ledger.ParseLeaf(leaf)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(e.Outcome))
	}
	return all
}

// TestMapRoot: a record of the map root at the end of its block publishes the root of everything
// before it. It is not appended when the map has not changed since the record before, and refused
// elsewhere. Rows of a batch that is refused are in no root.
func TestMapRoot(t *testing.T) {
	t.Parallel()
	p := putter("m/a", "m/b", "m/")
	l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
	payload := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("x")}}}
	refused := commands("m/b", "nonsense")
	misplaced := uint64(0)
	block := func(batches ...ledger.Batch) []ledger.Result { return mustApply(t, l, single(t, l, 1, batches...)) }
	root := rootRecord(1)
	block(root)
	block(payload, root)
	block(commands("m/a", "m/a", "other"), payload, refused, root)
	block(root)
	block(commands("other"), payload, root)
	block(refused, root)
	block(commands("m/b"), root, commands("m/", "m/a"), rootRecord(2)) // both are misplaced
	misplaced += 2
	block(payload)
	block(root) // covers the block that published nothing
	block(commands("m/a", "m/b"), root)
	outcome := func(previous uint64, rows map[string]uint64) string {
		return string(rootOutcome(mapOf(rows), previous))
	}
	want := []string{"", "put m/a", "put m/a", "put other", "", outcome(0, map[string]uint64{"a": 2}), "put other", "",
		"put m/b", "put m/", "put m/a", "", outcome(5, map[string]uint64{"a": 10, "b": 8, "": 9}),
		"put m/a", "put m/b", outcome(12, map[string]uint64{"a": 13, "b": 14, "": 9})}
	got := outcomes(t, l)
	for i := range min(len(want), len(got)) {
		if got[i] != want[i] {
			t.Errorf("entry %d has the outcome %q, want %q", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
	// What every leader proposes is not counted.
	if n := l.Refused(ledger.RefusedNotUnderstood); n != misplaced+2 {
		t.Errorf("%d refused batches, want %d and 2 with nonsense", n, misplaced)
	}
	leaf, err := l.Leaf(12)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		t.Fatal(err)
	}
	tree := mapOf(map[string]uint64{"a": 10, "b": 8, "": 9})
	if r, err := ledger.ParseMapRoot(12, &e); err != nil || r != (ledger.MapRoot{Index: 12, Root: tree.Root(), Accounts: 3, Previous: 5}) {
		t.Errorf("entry 12 is parsed as %+v, %v", r, err)
	}
	if e.Outcome = e.Outcome[1:]; true {
		if r, err := ledger.ParseMapRoot(12, &e); err == nil {
			t.Errorf("a short outcome is parsed as %+v", r)
		}
	}
}

// TestWhenLeadersPublish: a leader adds the record to blocks with a command of a ledger with a map,
// and to no other one.
func TestWhenLeadersPublish(t *testing.T) {
	t.Parallel()
	payload := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload}}}
	for name, c := range map[string]struct {
		program ledger.Program
		batches []ledger.Batch
		want    bool
	}{
		"a command":          {accounts.Mapped{}, []ledger.Batch{payload, commands("x")}, true},
		"payloads":           {accounts.Mapped{}, []ledger.Batch{payload, payload}, false},
		"another record":     {accounts.Mapped{}, []ledger.Batch{ledger.LevelBatch("n", 2)}, false},
		"a program without":  {accounts.Program{}, []ledger.Batch{commands("x")}, false},
		"a log":              {ledger.Log{}, []ledger.Batch{payload}, false},
		"the default: a log": {nil, []ledger.Batch{payload}, false},
	} {
		got := ledger.WithMapRoot(c.program, "leader", c.batches)
		if added := len(got) == len(c.batches)+1; added != c.want || added && fmt.Sprint(got[len(c.batches)]) != fmt.Sprint(rootRecord(1)) {
			t.Errorf("%s: %d batches: %v", name, len(got), got)
		}
	}
}

// TestFullBlockHasRoomForTheRoot: whatever fits into a block without the record fits with it.
func TestFullBlockHasRoomForTheRoot(t *testing.T) {
	t.Parallel()
	for what, n := range map[string]int{"one batch": 1, "many batches": 8000} {
		var batches []ledger.Batch
		size := 0
		for range n {
			b := commands()
			for len(b.Entries) == 0 || n == 1 && size+b.Size()+64+len(b.Principal) < ledger.MaxBatchSize {
				b.Entries = append(b.Entries, commands("").Entries...)
			}
			batches, size = append(batches, b), size+b.Size()
		}
		if size > ledger.MaxBatchSize {
			t.Fatalf("%s have %d bytes", what, size)
		}
		if _, err := ledger.EncodeBlock(ledger.Anchor{}, 1, ledger.WithMapRoot(accounts.Mapped{}, "leader", batches)); err != nil {
			t.Errorf("%s of %d bytes: %v", what, size, err)
		}
	}
}

// TestMapAfterRestart: a ledger that is opened again goes on with the map that it had, whatever
// the store holds of the future.
func TestMapAfterRestart(t *testing.T) {
	t.Parallel()
	h := newMapped(5)
	h.grow(t, 120, 10)
	for n := range h.entries {
		store := memstore.New(memstore.Options{})
		l := openProgram(t, store, h.program(), ledger.Summary{})
		apply(t, h, l, 0, n)
		ledger.WriteBase(l)
		apply(t, h, l, n, min(n+5, len(h.entries)))
		l = openProgram(t, store.ProcessCrash(), h.program(), h.summary(n))
		apply(t, h, l, n, len(h.entries))
		h.checkState(t, l, len(h.entries))
	}
}

// TestLostRowOfTheMap: a store that has lost or changed a row of the map, or the root, is not
// opened as if nothing were wrong.
func TestLostRowOfTheMap(t *testing.T) {
	t.Parallel()
	fill := func() (*memstore.Store, ledger.Summary) {
		store := memstore.New(memstore.Options{})
		l := openProgram(t, store, putter("m/a", "m/b"), ledger.Summary{})
		for _, row := range []string{"m/a", "m/b", "m/a"} {
			mustApply(t, l, rooted(t, l, commands(row))) // rows of the entries 0, 2 and 4
		}
		return store, ledger.WriteBase(l)
	}
	group := binary.BigEndian.AppendUint64(nil, 1)
	row := func(key string, index uint64) []byte {
		return binary.BigEndian.AppendUint64(append(append(bytes.Clone(group), 's'), key+"\x00\x01"...), ^index)
	}
	root := func(index uint64) []byte {
		return binary.BigEndian.AppendUint64(append(bytes.Clone(group), 'r'), index)
	}
	for name, pair := range map[string]ledger.Pair{
		"a row lost":     {Key: row("m/b", 2)},
		"a newest row":   {Key: row("m/a", 4)},
		"a row changed":  {Key: row("m/a", 4), Value: []byte("m/a of 5")},
		"a row more":     {Key: row("m/c", 4), Value: []byte("m/c of 4")},
		"a root lost":    {Key: root(5)},
		"a root changed": {Key: root(5), Value: append([]byte{1}, make([]byte, 48)...)},
		"a short root":   {Key: root(5), Value: []byte{1}},
		"no root":        {Key: root(5), Value: make([]byte, 49)},
	} {
		store, start := fill()
		if err := store.Commit(100, []ledger.Pair{pair}); err != nil {
			t.Fatal(err)
		}
		var corrupt *ledger.CorruptError
		if _, err := ledger.Open(store, ledger.Config{Group: 1, Origin: origin, Program: putter(), Start: start}); !errors.As(err, &corrupt) {
			t.Errorf("%s: open: %v, want a *CorruptError", name, err)
		}
		// For inspection a ledger is opened without its map.
		if _, err := ledger.Open(store, ledger.Config{Group: 1, Origin: origin, Program: putter(), Start: start, ReadOnly: true}); err != nil {
			t.Errorf("%s: open for inspection: %v", name, err)
		}
	}
	store, start := fill()
	if l := openProgram(t, store, putter("m/b"), start); len(mustApply(t, l, single(t, l, 1, commands("m/b")))) != 1 {
		t.Error("an undamaged store is refused")
	}
}

// payloadPutter puts the row that a payload names.
type payloadPutter struct{ mappedScript }

func (p payloadPutter) Decide(v ledger.View, in *ledger.Input) []byte {
	if in.Kind == ledger.KindPayload {
		v.Put(in.Body, fmt.Appendf(nil, "%s of %d", in.Body, in.Index))
		return nil
	}
	return p.mappedScript.Decide(v, in)
}

// TestPayloadPutsNoAccount: a row of the map is put by commands alone.
func TestPayloadPutsNoAccount(t *testing.T) {
	t.Parallel()
	l := openProgram(t, memstore.New(memstore.Options{}), payloadPutter{putter()}, ledger.Summary{})
	for body, fine := range map[string]bool{"m": true, "m/": false, "m/a": false, "n/a": true} {
		b := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte(body)}}}
		err := mustApply(t, l, single(t, l, 1, b))[0].Err
		var refused *ledger.RefusedError
		if fine && err != nil || !fine && (!errors.As(err, &refused) || refused.Reason != ledger.RefusedWrites) {
			t.Errorf("a payload that puts %q: %v", body, err)
		}
	}
}

// TestRoomForTheRoot: outcomes that leave no room for the root leave it to the next block.
func TestRoomForTheRoot(t *testing.T) {
	t.Parallel()
	const each = 60_000
	for rest, fits := range map[int]bool{48: true, 47: false} {
		p := putter("m/a")
		p.most = each
		outcome := func(n int) func(v ledger.View, in *ledger.Input) []byte {
			return func(v ledger.View, _ *ledger.Input) []byte {
				v.Put([]byte("m/b"), nil)
				return make([]byte, n)
			}
		}
		p.decides["long"], p.decides["rest"] = outcome(each), outcome(ledger.MaxBlockOutcomes%each-rest)
		l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
		var batches []ledger.Batch
		for range ledger.MaxBlockOutcomes / each {
			batches = append(batches, commands("long"))
		}
		batches = append(batches, commands("rest"))
		results := mustApply(t, l, rooted(t, l, batches...))
		var refused *ledger.RefusedError
		err := results[len(batches)].Err
		if fits != (err == nil) || err != nil && (!errors.As(err, &refused) || refused.Reason != ledger.RefusedTooLarge) {
			t.Errorf("%d bytes are left: %v", rest, err)
		}
		mustApply(t, l, rooted(t, l, commands("nothing")))
		if root, err := l.MapRootAt(l.Head().Size); err != nil || root.Accounts != 1 || fits != (root.Index == uint64(len(batches))) {
			t.Errorf("%d bytes are left: the root is %+v, %v", rest, root, err)
		}
	}
}

// TestMapPrefixes: every prefix of 1 to 4,096 bytes selects its rows, those of nothing but ff
// included; another one is refused at once.
func TestMapPrefixes(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", string(make([]byte, ledger.MaxStateKey+1))} {
		if _, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: origin, Program: mappedScript{prefix: prefix}}); err == nil {
			t.Errorf("a map prefix of %d bytes is accepted", len(prefix))
		}
	}
	for _, prefix := range []string{"m", "\x00", "\xff", "a\xff\xff", "\x00\x01"} {
		keys := []string{"\x00", "\x00\x01", "\x00\x02", "a", "a\xff", "a\xff\xff", "a\xff\xff1", "b", "l", "m", "m\x00", "n", "\xff", "\xff\xff"}
		p := mappedScript{script: script{most: 100, decides: map[string]func(ledger.View, *ledger.Input) []byte{"put": func(v ledger.View, _ *ledger.Input) []byte {
			for _, k := range keys {
				v.Put([]byte(k), []byte(k))
			}
			return nil
		}}}, prefix: prefix}
		store := memstore.New(memstore.Options{})
		l := openProgram(t, store, p, ledger.Summary{})
		mustApply(t, l, rooted(t, l, commands("put")))
		want := accountmap.New()
		for _, k := range keys {
			if id, ok := bytes.CutPrefix([]byte(k), []byte(prefix)); ok {
				want.Update([]accountmap.Leaf{{Key: accountmap.KeyOf(origin, id), Record: sha256.Sum256([]byte(k))}})
			}
		}
		if got, want := outcomes(t, l)[1], string(rootOutcome(want, 0)); got != want {
			t.Errorf("prefix %q: outcome %x, want %x", prefix, got, want)
		}
		openProgram(t, store, p, ledger.WriteBase(l))
	}
}

// TestProofOfABalance: the record of an account is proved from one leaf and the map root in it.
func TestProofOfABalance(t *testing.T) {
	t.Parallel()
	h := newMapped(9)
	h.grow(t, 100, 10)
	l := openProgram(t, memstore.New(memstore.Options{}), h.program(), ledger.Summary{})
	apply(t, h, l, 0, len(h.entries))
	newest := len(h.model.rooted) - 1
	leaf, err := l.Leaf(h.model.rooted[newest])
	if err != nil {
		t.Fatal(err)
	}
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		t.Fatal(err)
	}
	root, err := ledger.ParseMapRoot(h.model.rooted[newest], &e)
	tree := h.model.published[newest].Map(origin)
	for account := range uint64(20) {
		record, present, err2 := tree.Prove(accountmap.KeyOf(origin, accounts.ID(account))).Verify(root.Root, accountmap.KeyOf(origin, accounts.ID(account)))
		balance, found := h.model.published[newest][account]
		if err != nil || err2 != nil || present != found || present && record != sha256.Sum256(accounts.Record(balance)) {
			t.Errorf("account %d: %s, %t, %v, %v; the model has %d, %t", account, record, present, err, err2, balance, found)
		}
	}
}

// TestEncodedInput: a program sees the bytes that the leaf begins with.
func TestEncodedInput(t *testing.T) {
	t.Parallel()
	var seen []byte
	p := script{most: 1, decides: map[string]func(ledger.View, *ledger.Input) []byte{"see": func(_ ledger.View, in *ledger.Input) []byte {
		seen = bytes.Clone(in.Encoded)
		return []byte{7}
	}}}
	l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
	mustApply(t, l, single(t, l, 1, keyedCommand("key", "see")))
	if leaf, err := l.Leaf(0); err != nil || !bytes.Equal(leaf, append(seen, 7)) {
		t.Errorf("the leaf is %x, %v; the program saw %x", leaf, err, seen)
	}
}
