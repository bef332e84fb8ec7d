package ledger_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
)

// rogue is a program with one bug for each command.
func rogue() script {
	put := func(key, value int) func(v ledger.View, _ *ledger.Input) []byte {
		return func(v ledger.View, _ *ledger.Input) []byte {
			v.Put(make([]byte, key), make([]byte, value))
			return nil
		}
	}
	return script{most: 10, decides: map[string]func(ledger.View, *ledger.Input) []byte{
		"put": func(v ledger.View, _ *ledger.Input) []byte {
			value, _ := v.Get([]byte("row"))
			v.Put([]byte("row"), append(bytes.Clone(value), '!'))
			return []byte("ok")
		},
		"long":      func(ledger.View, *ledger.Input) []byte { return make([]byte, 11) },
		"limit":     func(ledger.View, *ledger.Input) []byte { return make([]byte, 10) },
		"panic":     func(ledger.View, *ledger.Input) []byte { panic("a bug") },
		"nil":       func(_ ledger.View, in *ledger.Input) []byte { return []byte{in.Body[1000]} },
		"no key":    put(0, 1),
		"long key":  put(ledger.MaxStateKey+1, 1),
		"long row":  put(1, ledger.MaxStateValue+1),
		"many rows": func(v ledger.View, in *ledger.Input) []byte { return fill(v) },
		"recovers": func(v ledger.View, _ *ledger.Input) []byte {
			defer func() { _ = recover() }()
			v.Put(nil, nil)
			return nil
		},
		"goes on": func(v ledger.View, _ *ledger.Input) []byte {
			func() {
				defer func() { _ = recover() }()
				v.Put(nil, nil)
			}()
			v.Put([]byte("after"), nil)
			return []byte("ok")
		},
		"in range": func(v ledger.View, _ *ledger.Input) []byte {
			v.Put([]byte("a"), nil)
			for range v.Range(nil, nil) {
				v.Put([]byte("b"), nil)
			}
			return nil
		},
	}}
}

func fill(v ledger.View) []byte {
	for i := range ledger.MaxBlockWrites/ledger.MaxStateValue + 1 {
		v.Put([]byte{byte(i >> 8), byte(i)}, make([]byte, ledger.MaxStateValue))
	}
	return nil
}

// TestProgramBounds: whatever a program does wrong refuses the batch, and nothing of the batch is
// left. It is counted, and the ledger goes on.
func TestProgramBounds(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]ledger.RefuseReason{
		"put": "", "limit": "", "nonsense": ledger.RefusedNotUnderstood, "long": ledger.RefusedOutcome, "panic": ledger.RefusedPanic,
		"nil": ledger.RefusedPanic, "no key": ledger.RefusedWrites, "long key": ledger.RefusedWrites, "long row": ledger.RefusedWrites,
		"many rows": ledger.RefusedWrites, "recovers": ledger.RefusedWrites, "goes on": ledger.RefusedWrites, "in range": ledger.RefusedWrites,
	} {
		l := openProgram(t, memstore.New(memstore.Options{}), rogue(), ledger.Summary{})
		mustApply(t, l, single(t, l, 1, commands("put")))
		before := l.Head()
		keyed := commands("put", command)
		keyed.Entries[0].Key = []byte("key")
		r := mustApply(t, l, single(t, l, 2, keyed))[0]
		rows := map[string]string{"row": "!"}
		if want == "" {
			rows["row"] = map[string]string{"put": "!!!", "limit": "!!"}[command]
			if r.Err != nil || r.Size != 3 {
				t.Errorf("%s: %v, size %d", command, r.Err, r.Size)
			}
		} else {
			var refused *ledger.RefusedError
			if !errors.As(r.Err, &refused) || refused.Reason != want || refused.Entry != 1 || r.Size != 1 {
				t.Errorf("%s: %v, size %d; want entry 1 refused for %s", command, r.Err, r.Size, want)
			}
			if l.Refused(want) != 1 || l.Head().Root != before.Root {
				t.Errorf("%s: %d refused batches for %s, root %s; want 1 and %s", command, l.Refused(want), want, l.Head().Root, before.Root)
			}
		}
		if trace := l.ProgramPanic(); (want == ledger.RefusedPanic) != strings.Contains(trace, "program_test.go") {
			t.Errorf("%s: stack of the panic: %q", command, trace)
		}
		wantRows(t, l, rows)
		// The key of a refused batch is free.
		r = mustApply(t, l, single(t, l, 3, keyedCommand("key", "put")))[0]
		if r.Err != nil || r.Duplicate[0] != (want == "") {
			t.Errorf("%s: the first command of the batch again: %+v", command, r)
		}
	}
}

func keyedCommand(key, body string) ledger.Batch {
	b := commands(body)
	b.Entries[0].Key = []byte(key)
	return b
}

// TestViewOutsideOfDecide: a view that a program keeps is of no use later.
func TestViewOutsideOfDecide(t *testing.T) {
	t.Parallel()
	var kept ledger.View
	p := script{decides: map[string]func(ledger.View, *ledger.Input) []byte{"keep": func(v ledger.View, _ *ledger.Input) []byte {
		kept = v
		return nil
	}}}
	l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
	mustApply(t, l, single(t, l, 1, commands("keep")))
	defer func() {
		if r := recover(); r == nil {
			t.Error("a view answered outside of Decide")
		}
	}()
	kept.Get([]byte("row"))
}

// TestKindsThatAreRefused: a program that does not take a kind refuses the batch, and a record is
// for the ledger itself.
func TestKindsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]ledger.Program{"log": ledger.Log{}, "accounts": accounts.Program{}} {
		l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
		for kind, fine := range map[ledger.Kind]bool{ledger.KindPayload: true, ledger.KindCommand: name == "accounts", ledger.KindRecord: false} {
			b := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload}, {Kind: kind, Body: accounts.Open(1, 1)}}}
			size := l.Head().Size
			r := mustApply(t, l, single(t, l, 1, b))[0]
			var refused *ledger.RefusedError
			if fine && r.Err != nil || !fine && (!errors.As(r.Err, &refused) || refused.Entry != 1 || refused.Reason != ledger.RefusedNotUnderstood || r.Size != size) {
				t.Errorf("%s: a %s: %+v", name, kind, r)
			}
			if err := b.Validate(p); fine && err != nil || !fine && !errors.Is(err, ledger.ErrBadBatch) {
				t.Errorf("%s: validate a %s: %v", name, kind, err)
			}
		}
	}
}

// TestRetryOfACommand: the same command under the same key returns the first index, whatever came
// of it and whatever would come of it now. The same body as a payload is another entry.
func TestRetryOfACommand(t *testing.T) {
	t.Parallel()
	l := openProgram(t, memstore.New(memstore.Options{}), accounts.Program{}, ledger.Summary{})
	transfer := string(accounts.Transfer(1, 2, 10))
	mustApply(t, l, single(t, l, 1, keyedCommand("t", transfer)))
	mustApply(t, l, single(t, l, 2, commands(string(accounts.Open(1, 100)), string(accounts.Open(2, 0)))))
	r := mustApply(t, l, single(t, l, 3, keyedCommand("t", transfer)))[0]
	if r.Err != nil || r.Indexes[0] != 0 || !r.Duplicate[0] || r.Size != 3 {
		t.Fatalf("retry: %+v", r)
	}
	leaf, err := l.Leaf(0)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := ledger.ParseLeaf(leaf); err != nil || string(e.Body) != transfer || e.Outcome[0] != accounts.Missing {
		t.Errorf("the leaf holds %+v, %v; want the transfer with the outcome that the account is missing", e, err)
	}
	payload := keyedCommand("t", transfer)
	payload.Entries[0].Kind = ledger.KindPayload
	var conflict *ledger.ConflictError
	r = mustApply(t, l, single(t, l, 4, payload))[0]
	if !errors.As(r.Err, &conflict) || conflict.StoredKind != ledger.KindCommand || conflict.OfferedKind != ledger.KindPayload {
		t.Errorf("the body as a payload: %+v", r)
	}
	if err := l.CheckKey(0, leaf); err != nil {
		t.Errorf("check the key of a command: %v", err)
	}
}

// TestRoomForTheOutcome: an entry whose leaf could pass 65,535 bytes is refused before it is
// proposed, and again when it was proposed all the same. The room counts as part of the batch.
func TestRoomForTheOutcome(t *testing.T) {
	t.Parallel()
	p := script{most: 1000, decides: map[string]func(ledger.View, *ledger.Input) []byte{}}
	l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
	for extra, fine := range map[int]bool{0: true, 1: false} {
		body := make([]byte, ledger.MaxBody("p", 0)-1000+extra)
		b := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: body}}}
		before := b.Size()
		err := b.Validate(p)
		if fine && (err != nil || b.Size() != before+1000) || !fine && !errors.Is(err, ledger.ErrBadBatch) {
			t.Errorf("%d bytes too many: validate: %v, size %d", extra, err, b.Size())
		}
		r := mustApply(t, l, single(t, l, 1, b))[0]
		var refused *ledger.RefusedError
		if fine && r.Err != nil || !fine && (!errors.As(r.Err, &refused) || refused.Reason != ledger.RefusedTooLarge) {
			t.Errorf("%d bytes too many: apply: %v", extra, r.Err)
		}
	}
}

// TestOutcomesOfABlockAreBounded: a block whose outcomes would pass 2 MiB has the batches refused
// that pass them.
func TestOutcomesOfABlockAreBounded(t *testing.T) {
	t.Parallel()
	const each = 60_000
	p := script{most: each, decides: map[string]func(ledger.View, *ledger.Input) []byte{
		"long": func(ledger.View, *ledger.Input) []byte { return make([]byte, each) },
	}}
	l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
	var batches []ledger.Batch
	for range 40 {
		batches = append(batches, commands("long"))
	}
	fine := 0
	for _, r := range mustApply(t, l, single(t, l, 1, batches...)) {
		if r.Err == nil {
			fine++
		}
	}
	if want := ledger.MaxBlockOutcomes / each; fine != want || l.Refused(ledger.RefusedTooLarge) != uint64(40-want) {
		t.Errorf("%d batches have outcomes, want %d", fine, want)
	}
	leaf, err := l.Leaf(uint64(fine - 1))
	if err != nil || len(leaf) < each {
		t.Errorf("the last leaf has %d bytes, %v", len(leaf), err)
	}
	if bundle, err := l.EntryBundle(0, fine); err != nil || len(bundle) < fine*each {
		t.Errorf("the bundle has %d bytes, %v", len(bundle), err)
	}
}

// TestRecordBehindARefusedBatch: the outcomes that a refused batch had so far are not those of what
// comes in its place; a record has none.
func TestRecordBehindARefusedBatch(t *testing.T) {
	t.Parallel()
	p := rogue()
	g := testGenesis()
	g.Program, g.ProgramVersion = p.Name(), p.Version()
	raw, err := ledger.EncodeGenesis(g, "creator", 1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: genesisOrigin, Program: p, KnownLevel: 2})
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, l, raw)
	results := mustApply(t, l, single(t, l, 2, commands("limit", "panic"), ledger.LevelBatch("n1", 2)))
	leaf, err := l.Leaf(1)
	if err != nil || results[0].Err == nil || results[1].Err != nil {
		t.Fatalf("%v, %v, %v", results[0].Err, results[1].Err, err)
	}
	if e, err := ledger.ParseLeaf(leaf); err != nil || e.Kind != ledger.KindRecord || len(e.Outcome) > 0 {
		t.Errorf("entry 1 is a %s with the outcome %x, %v", e.Kind, e.Outcome, err)
	}
}

// TestStoreOfAnotherProgram is refused by name.
func TestStoreOfAnotherProgram(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	openProgram(t, store, accounts.Program{}, ledger.Summary{})
	var identity *ledger.IdentityError
	_, err := ledger.Open(store, ledger.Config{Group: 1, Origin: origin})
	if !errors.As(err, &identity) || identity.Field != "program" || identity.Stored != `"accounts"` || identity.Want != `"log"` {
		t.Errorf("open: %v", err)
	}
}

// TestAccountsModel: the model of the accounts says what the program does, for every case.
func TestAccountsModel(t *testing.T) {
	t.Parallel()
	h := newAccounts(77)
	h.grow(t, 200, 10)
	seen := map[byte]int{}
	for _, leaf := range h.model.leaves {
		if e, err := ledger.ParseLeaf(leaf); err == nil && len(e.Outcome) > 0 {
			seen[e.Outcome[0]]++
		}
	}
	for _, outcome := range []byte{accounts.Done, accounts.Exists, accounts.Missing, accounts.Overdraft} {
		if seen[outcome] == 0 {
			t.Errorf("no entry has outcome %d: the histories show little (%v)", outcome, maps.Collect(maps.All(seen)))
		}
	}
}
