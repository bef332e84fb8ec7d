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
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/accountmap"
)

// mappedScript is a script whose rows below "m/" are the records of a map.
type mappedScript struct {
	script
	prefix string
	root   func(v ledger.View, index uint64, outcome []byte, root merkle.Hash, accounts uint64) []byte
}

func (m mappedScript) MapPrefix() []byte { return []byte(m.prefix) }

func (m mappedScript) RootOutcome(v ledger.View, index uint64, outcome []byte, root merkle.Hash, accounts uint64) []byte {
	return m.root(v, index, outcome, root, accounts)
}

// appendRoot is a RootOutcome without a mistake.
func appendRoot(_ ledger.View, _ uint64, outcome []byte, root merkle.Hash, accounts uint64) []byte {
	return binary.BigEndian.AppendUint64(append(outcome, root[:]...), accounts)
}

// putter puts the row that a command names; "m/" and an id is one of the map.
func putter(rows ...string) mappedScript {
	m := mappedScript{script: script{most: 100, decides: map[string]func(ledger.View, *ledger.Input) []byte{}}, prefix: "m/", root: appendRoot}
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

func withRoot(outcome string, tree *accountmap.Tree) string {
	return string(appendRoot(nil, 0, []byte(outcome), tree.Root(), uint64(tree.Len())))
}

// TestMapRoot: the last command of a block that has changed the map carries the root, whatever
// comes behind it in the block; a block that has not changed the map carries none, and rows of a
// batch that is refused are in no root.
func TestMapRoot(t *testing.T) {
	t.Parallel()
	p := putter("m/a", "m/b", "m/")
	l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
	payload := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("x")}}}
	refused := commands("m/b", "nonsense")
	block := func(batches ...ledger.Batch) { mustApply(t, l, single(t, l, 1, batches...)) }
	block(payload)
	block(commands("m/a", "m/a", "other"), payload, refused)
	block(commands("other"), payload)
	block(commands("m/b"), commands("m/", "m/a"), commands("nothing"), refused, payload)
	block(refused)
	block(commands("m/a"))
	want := []string{"", "put m/a", "put m/a", withRoot("put other", mapOf(map[string]uint64{"a": 2})), "", "put other", "",
		"put m/b", "put m/", "put m/a", withRoot("", mapOf(map[string]uint64{"a": 9, "b": 7, "": 8})), "",
		withRoot("put m/a", mapOf(map[string]uint64{"a": 12, "b": 7, "": 8}))}
	got := outcomes(t, l)
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("entry %d has the outcome %q, want %q", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
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
			mustApply(t, l, single(t, l, 1, commands(row)))
		}
		h := l.Head()
		return store, ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}
	}
	group := binary.BigEndian.AppendUint64(nil, 1)
	row := func(key string, index uint64) []byte {
		return binary.BigEndian.AppendUint64(append(append(bytes.Clone(group), 's'), key+"\x00\x01"...), ^index)
	}
	root := func(index uint64) []byte {
		return binary.BigEndian.AppendUint64(append(bytes.Clone(group), 'r'), index)
	}
	for name, pair := range map[string]ledger.Pair{
		"a row lost":     {Key: row("m/b", 1)},
		"a newest row":   {Key: row("m/a", 2)},
		"a row changed":  {Key: row("m/a", 2), Value: []byte("m/a of 3")},
		"a row more":     {Key: row("m/c", 2), Value: []byte("m/c of 2")},
		"a root lost":    {Key: root(2)},
		"a root changed": {Key: root(2), Value: append([]byte{1}, make([]byte, 40)...)},
		"a short root":   {Key: root(2), Value: []byte{1}},
		"no root":        {Key: root(2), Value: make([]byte, 41)},
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

// TestRootOutcomeBounds: whatever RootOutcome does wrong, the command keeps the outcome that Decide
// returned and what it put, nothing of RootOutcome is left, it is counted, and the next block
// carries a root of everything. A restart finds the same.
func TestRootOutcomeBounds(t *testing.T) {
	t.Parallel()
	put := func(key string) func(ledger.View, uint64, []byte, merkle.Hash, uint64) []byte {
		return func(v ledger.View, _ uint64, outcome []byte, _ merkle.Hash, _ uint64) []byte {
			v.Put([]byte("first"), nil)
			v.Put([]byte(key), nil)
			return outcome
		}
	}
	for name, c := range map[string]struct {
		want ledger.RefuseReason
		root func(ledger.View, uint64, []byte, merkle.Hash, uint64) []byte
	}{
		"long": {ledger.RefusedOutcome, func(ledger.View, uint64, []byte, merkle.Hash, uint64) []byte { return make([]byte, 101) }},
		"panic": {ledger.RefusedPanic, func(v ledger.View, _ uint64, _ []byte, _ merkle.Hash, _ uint64) []byte {
			v.Put([]byte("first"), nil)
			panic("a bug")
		}},
		"row of the map":          {ledger.RefusedWrites, put("m/z")},
		"no key":                  {ledger.RefusedWrites, put("")},
		"row of a later entry":    {ledger.RefusedWrites, put("later")},
		"shorter than in Decide":  {"", func(ledger.View, uint64, []byte, merkle.Hash, uint64) []byte { return nil }},
		"row of an earlier entry": {"", put("other")},
	} {
		p := putter("m/a", "m/b")
		p.root = func(v ledger.View, index uint64, outcome []byte, root merkle.Hash, n uint64) []byte {
			if index == 2 {
				return c.root(v, index, outcome, root, n)
			}
			return appendRoot(v, index, outcome, root, n)
		}
		// A payload puts a row, too.
		program := payloadPutter{p}
		store := memstore.New(memstore.Options{})
		l := openProgram(t, store, program, ledger.Summary{})
		payload := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("later")}}}
		mustApply(t, l, single(t, l, 1, commands("other", "m/a", "m/b"), payload))
		got := outcomes(t, l)
		if want := map[bool]string{true: "", false: "put m/b"}[name == "shorter than in Decide"]; got[2] != want || len(got) != 4 {
			t.Errorf("%s: outcomes %q, want %q for entry 2", name, got, want)
		}
		rows := map[string]string{"other": "other of 0", "m/a": "m/a of 1", "m/b": "m/b of 2", "later": "later of 3"}
		if name == "row of an earlier entry" {
			rows["first"], rows["other"] = "", ""
		}
		wantRows(t, l, rows)
		if n := l.Refused(c.want); c.want != "" && n != 1 {
			t.Errorf("%s: counted %d times", name, n)
		}
		h := l.Head()
		start := ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}
		l = openProgram(t, store.ProcessCrash(), program, start)
		mustApply(t, l, single(t, l, 1, commands("m/a")))
		if got, want := outcomes(t, l)[4], withRoot("put m/a", mapOf(map[string]uint64{"a": 4, "b": 2})); got != want {
			t.Errorf("%s: the next block has the outcome %q, want %q", name, got, want)
		}
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

// TestRoomForTheRoot: the outcomes of a block leave room for the map root in the last command's, up
// to what MaxOutcome said about it.
func TestRoomForTheRoot(t *testing.T) {
	t.Parallel()
	const each = 60_000
	for long, fits := range map[int]bool{34: true, 35: false} {
		p := putter("m/a")
		p.most = each
		p.decides["long"] = func(v ledger.View, in *ledger.Input) []byte {
			v.Put([]byte("m/b"), nil)
			return make([]byte, each-100)
		}
		p.root = func(_ ledger.View, _ uint64, outcome []byte, _ merkle.Hash, _ uint64) []byte {
			return make([]byte, each)
		}
		l := openProgram(t, memstore.New(memstore.Options{}), payloadOutcome{p}, ledger.Summary{})
		var batches []ledger.Batch
		for range long {
			batches = append(batches, commands("long"))
		}
		batches = append(batches, commands("m/a", "nonsense")) // is refused, and takes no room
		payload := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload}}}
		batches = append(batches, payload, commands("m/a"))
		results := mustApply(t, l, single(t, l, 1, batches...))
		total := 0
		got := outcomes(t, l)
		for _, o := range got {
			total += len(o)
		}
		if err := results[long+1].Err; err != nil {
			t.Errorf("a payload with an outcome of 500 bytes, behind %d outcomes: %v", long, err)
		}
		err := results[long+2].Err
		var refused *ledger.RefusedError
		if fits != (err == nil) || err != nil && (!errors.As(err, &refused) || refused.Reason != ledger.RefusedTooLarge) {
			t.Errorf("a short outcome that may have %d bytes, behind %d outcomes: %v", each, long, err)
		}
		last := got[long-1]
		if fits {
			last = got[len(got)-1]
		}
		if len(last) != each || total > ledger.MaxBlockOutcomes {
			t.Errorf("behind %d outcomes: the last of a command has %d bytes, and all have %d", long, len(last), total)
		}
	}
}

// payloadOutcome gives payloads an outcome of 500 bytes.
type payloadOutcome struct{ mappedScript }

func (p payloadOutcome) Decide(v ledger.View, in *ledger.Input) []byte {
	if in.Kind == ledger.KindPayload {
		return make([]byte, 500)
	}
	return p.mappedScript.Decide(v, in)
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
		}}}, prefix: prefix, root: appendRoot}
		store := memstore.New(memstore.Options{})
		l := openProgram(t, store, p, ledger.Summary{})
		mustApply(t, l, single(t, l, 1, commands("put")))
		want := accountmap.New()
		for _, k := range keys {
			if id, ok := bytes.CutPrefix([]byte(k), []byte(prefix)); ok {
				want.Update([]accountmap.Leaf{{Key: accountmap.KeyOf(origin, id), Record: sha256.Sum256([]byte(k))}})
			}
		}
		if got := outcomes(t, l)[0]; got != withRoot("", want) || want.Len() == 0 {
			t.Errorf("prefix %q: outcome %x, want %x", prefix, got, withRoot("", want))
		}
		h := l.Head()
		openProgram(t, store, p, ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time})
	}
}

// TestProofOfABalance: the record of an account is proved from one leaf and the map root in it.
func TestProofOfABalance(t *testing.T) {
	t.Parallel()
	h := newMapped(9)
	h.grow(t, 100, 10)
	l := openProgram(t, memstore.New(memstore.Options{}), h.program(), ledger.Summary{})
	apply(t, h, l, 0, len(h.entries))
	leaf, err := l.Leaf(h.model.previous)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		t.Fatal(err)
	}
	_, root, ok := accounts.CutRoot(e.Outcome, len(e.Outcome)-accounts.RootSize)
	tree := h.model.accounts.Map(origin)
	for account := range uint64(20) {
		record, present, err := tree.Prove(accountmap.KeyOf(origin, accounts.ID(account))).Verify(root.Root, accountmap.KeyOf(origin, accounts.ID(account)))
		balance, found := h.model.accounts[account]
		if !ok || err != nil || present != found || present && record != sha256.Sum256(accounts.Record(balance)) {
			t.Errorf("account %d: %s, %t, %v; the model has %d, %t", account, record, present, err, balance, found)
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
