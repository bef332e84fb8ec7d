package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/accountmap"
)

// model is the specification of a ledger, written to be read: a list of leaves and a map of keys.
type model struct {
	leaves [][]byte
	times  []int64             // of the leaves
	keys   map[string]modelKey // principal "\x00" key
	roots  []merkle.Hash       // of every size
	tree   *merkle.Tree
	time   int64
	// accounts is what the program accounts knows; nil when the program is log.
	accounts accounts.Model
	// mapped says that the program is accounts.Mapped, changed that the map has changed since the
	// newest record of the map root. rooted has these records, and of each the accounts.
	mapped, changed bool
	rooted          []uint64
	published       []accounts.Model
}

type modelKey struct {
	index uint64
	kind  ledger.Kind
	body  []byte
}

func newModel() *model {
	return &model{keys: map[string]modelKey{}, roots: []merkle.Hash{merkle.EmptyRoot()}, tree: merkle.NewTree()}
}

func (m *model) size() uint64 { return uint64(len(m.leaves)) }

func (m *model) apply(time int64, batches []ledger.Batch) []ledger.Result {
	var results []ledger.Result
	first := m.size()
	for i, b := range batches {
		results = append(results, m.applyBatch(time, b, i+1 == len(batches)))
	}
	for _, leaf := range m.leaves[first:] {
		m.tree.Append([]merkle.Hash{merkle.LeafHash(leaf)})
		m.roots = append(m.roots, m.tree.Root())
	}
	return results
}

// publishRoot gives a record of the map root its outcome, or says why there can be none.
func (m *model) publishRoot(records []ledger.Entry, last bool) (outcome []byte, err error) {
	switch {
	case !m.mapped:
		return nil, ledger.ErrNotMapped
	case !last || len(records) > 1:
		return nil, errors.New("a record of the map root stands at the end of its block, alone in its batch")
	case !m.changed:
		return nil, errors.New("the map has not changed since the record before")
	}
	tree, previous := m.accounts.Map(origin), uint64(0)
	if n := len(m.rooted); n > 0 {
		previous = m.rooted[n-1]
	}
	m.changed, m.rooted, m.published = false, append(m.rooted, m.size()), append(m.published, maps.Clone(m.accounts))
	return rootOutcome(tree, previous), nil
}

// rootOutcome is the outcome of a record of the map root.
func rootOutcome(tree *accountmap.Tree, previous uint64) []byte {
	root := tree.Root()
	b := binary.BigEndian.AppendUint64(root[:], uint64(tree.Len()))
	return binary.BigEndian.AppendUint64(b, previous)
}

// rootRecord is the batch with which a leader publishes the root.
func rootRecord(records int) ledger.Batch {
	b := ledger.Batch{Principal: "leader"}
	for range records {
		b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindRecord, Body: []byte{3, 1}})
	}
	return b
}

func (m *model) applyBatch(time int64, b ledger.Batch, last bool) ledger.Result {
	r := ledger.Result{Size: m.size(), Time: time}
	fresh := map[string]modelKey{}
	var add []ledger.Entry
	var at []int // of add in the batch
	retry := false
	for i, e := range b.Entries {
		index := m.size() + uint64(len(add))
		k := b.Principal + "\x00" + string(e.Key)
		old, ok := fresh[k]
		if !ok {
			old, ok = m.keys[k]
		}
		if ok && len(e.Key) > 0 {
			if old.kind != e.Kind || !bytes.Equal(old.body, e.Body) {
				return ledger.Result{Size: m.size(), Time: time, Err: &ledger.ConflictError{Key: e.Key, Index: old.index, InBatch: old.index >= m.size(),
					StoredKind: old.kind, OfferedKind: e.Kind, StoredDigest: sha256.Sum256(old.body), OfferedDigest: sha256.Sum256(e.Body)}}
			}
			r.Indexes, r.Duplicate = append(r.Indexes, old.index), append(r.Duplicate, true)
			retry = retry || b.ExpectedSize != nil && old.index == *b.ExpectedSize
			continue
		}
		fresh[k] = modelKey{index, e.Kind, e.Body}
		r.Indexes, r.Duplicate = append(r.Indexes, index), append(r.Duplicate, false)
		add = append(add, ledger.Entry{Kind: e.Kind, Time: time, Principal: b.Principal, Key: e.Key, Body: e.Body})
		at = append(at, i)
	}
	if b.ExpectedSize != nil && *b.ExpectedSize != m.size() && !(len(add) == 0 && retry) {
		return ledger.Result{Size: m.size(), Time: time, Err: &ledger.SizeMismatchError{Expected: *b.ExpectedSize, Actual: m.size()}}
	}
	if len(add) > 0 && add[0].Kind == ledger.KindRecord {
		var err error
		if add[0].Outcome, err = m.publishRoot(add, last); err != nil {
			return ledger.Result{Size: m.size(), Time: time, Err: &ledger.RefusedError{Reason: ledger.RefusedNotUnderstood, Err: err}}
		}
		m.leaves, m.times, m.time = append(m.leaves, add[0].AppendLeaf(nil)), append(m.times, time), time
		r.Size = m.size()
		return r
	}
	after, changed := maps.Clone(m.accounts), false
	for i := range add {
		e := &add[i]
		if e.Kind == ledger.KindPayload {
			continue
		}
		var p ledger.Program = accounts.Program{}
		if m.mapped {
			p = accounts.Mapped{}
		}
		if _, err := p.MaxOutcome(e.Kind, e.Body); err != nil {
			return ledger.Result{Size: m.size(), Time: time, Err: &ledger.RefusedError{Reason: ledger.RefusedNotUnderstood, Entry: at[i], Err: err}}
		}
		e.Outcome = after.Decide(e.Body)
		changed = changed || accounts.Puts(e.Body, e.Outcome)
	}
	m.accounts, m.changed = after, m.changed || changed
	maps.Copy(m.keys, fresh)
	for _, e := range add {
		leaf := e.AppendLeaf(nil)
		m.leaves, m.times = append(m.leaves, leaf), append(m.times, time)
		m.time = time
	}
	r.Size = m.size()
	return r
}

// history is a random sequence of committed blocks with the model's results.
type history struct {
	seed    uint64
	rng     *rand.Rand
	model   *model
	entries []ledger.Committed
	results [][]ledger.Result
	sizes   []uint64 // after each entry
	times   []int64  // of the newest entry after each entry
	now     int64
	pace    int64 // µs, about twice the time from one block to the next
	// accounts has the accounts after each entry; nil when the program is log. stale says whether
	// the map has changed since the newest record of its root.
	accounts []accounts.Model
	stale    []bool
}

// newAccounts is a history of a ledger whose program is accounts.
func newAccounts(seed uint64) *history {
	h := newHistory(seed)
	h.model.accounts, h.accounts = accounts.Model{}, []accounts.Model{}
	return h
}

// newMapped is a history of a ledger whose program is accounts.Mapped.
func newMapped(seed uint64) *history {
	h := newAccounts(seed)
	h.model.mapped = true
	return h
}

func (h *history) program() ledger.Program {
	switch {
	case h.accounts == nil:
		return nil
	case h.model.mapped:
		return accounts.Mapped{}
	}
	return accounts.Program{}
}

// command returns a random command, the same for the same n.
func (h *history) command(n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), 11))
	account := func() uint64 { return rng.Uint64N(12) }
	switch rng.IntN(20) {
	case 0:
		return []byte("no command")
	case 1, 2, 3:
		return accounts.Sum(account(), account()+6)
	case 4, 5:
		return accounts.Open(account(), rng.Uint64N(500))
	}
	return accounts.Transfer(account(), account(), rng.Uint64N(60))
}

func newHistory(seed uint64) *history {
	return &history{seed: seed, rng: rand.New(rand.NewPCG(seed, 7)), model: newModel(), now: 1_700_000_000_000_000, pace: 1000}
}

func (h *history) String() string { return fmt.Sprintf("history of seed %d", h.seed) }

// head returns the raft index, term, size and root after the first n entries.
func (h *history) summary(n int) ledger.Summary {
	if n == 0 {
		return ledger.Summary{}
	}
	e, size := h.entries[n-1], h.sizes[n-1]
	return ledger.Summary{RaftIndex: e.RaftIndex, RaftTerm: e.RaftTerm, Size: size, Root: h.model.roots[size], Time: h.times[n-1]}
}

// grow adds n committed entries. Keys and payloads come from small sets so that duplicates and
// conflicts happen.
func (h *history) grow(t testing.TB, n, payload int) {
	t.Helper()
	rng := h.rng
	for range n {
		raftIndex := uint64(1)
		if k := len(h.entries); k > 0 {
			raftIndex = h.entries[k-1].RaftIndex + 1
		}
		e := ledger.Committed{RaftIndex: raftIndex, RaftTerm: 1 + raftIndex/50}
		var results []ledger.Result
		if rng.IntN(10) > 0 {
			var batches []ledger.Batch
			for range rng.IntN(6) {
				batches = append(batches, h.batch(payload))
			}
			if h.model.mapped {
				batches = h.withRoot(batches)
			}
			h.now = max(h.model.time, h.now+rng.Int64N(h.pace)-h.pace/10)
			size := h.model.size()
			anchor := size - min(size, rng.Uint64N(30))
			if rng.IntN(50) == 0 {
				anchor = rng.Uint64N(size + 1)
			}
			var err error
			e.Block, err = ledger.EncodeBlock(ledger.Anchor{Size: anchor, Root: h.model.roots[anchor]}, h.now, batches)
			if err != nil {
				t.Fatal(err)
			}
			results = h.model.apply(h.now, batches)
		}
		h.entries = append(h.entries, e)
		h.results = append(h.results, results)
		h.sizes, h.times = append(h.sizes, h.model.size()), append(h.times, h.model.time)
		if h.accounts != nil {
			h.accounts, h.stale = append(h.accounts, maps.Clone(h.model.accounts)), append(h.stale, h.model.changed)
		}
	}
}

// withRoot adds what a leader adds, or what a faulty one might.
func (h *history) withRoot(batches []ledger.Batch) []ledger.Batch {
	switch rng := h.rng; rng.IntN(12) {
	case 0:
		return batches
	case 1:
		return slices.Insert(batches, rng.IntN(len(batches)+1), rootRecord(1+rng.IntN(2)))
	}
	return ledger.WithMapRoot(accounts.Mapped{}, "leader", batches)
}

func (h *history) batch(payload int) ledger.Batch {
	rng := h.rng
	b := ledger.Batch{Principal: fmt.Sprintf("spiffe://example.org/svc/%c", 'a'+rng.IntN(3))}
	for range 1 + rng.IntN(8) {
		e := ledger.NewEntry{Kind: ledger.KindPayload}
		kind := rng.IntN(4)
		if kind > 0 {
			n := rng.IntN(40)
			if kind > 1 {
				n = rng.IntN(100_000)
			}
			e.Key = fmt.Appendf(nil, "key %d", n)
			e.Body = fmt.Appendf(nil, "payload of %d", n)
			if kind == 1 && rng.IntN(8) == 0 {
				e.Body = []byte("another payload")
			}
			// Deterministic in the key, so that equal keys are duplicates.
			e.Body = append(e.Body, bytes.Repeat([]byte{byte(n)}, payload)...)
		} else {
			e.Body = make([]byte, rng.IntN(payload+1))
			for i := range e.Body {
				e.Body[i] = byte(rng.Uint32())
			}
		}
		if h.accounts != nil && rng.IntN(2) == 0 {
			n := rng.IntN(100_000)
			if len(e.Key) > 0 {
				if n = rng.IntN(60); rng.IntN(2) == 0 {
					n += 1000 * rng.IntN(1000)
				}
				e.Key = fmt.Appendf(nil, "command %d", n)
			}
			e.Kind, e.Body = ledger.KindCommand, h.command(n)
		}
		b.Entries = append(b.Entries, e)
	}
	if rng.IntN(4) == 0 {
		n := h.model.size()
		if rng.IntN(2) == 0 {
			n -= min(n, rng.Uint64N(10))
		}
		b.ExpectedSize = &n
	}
	return b
}

// checkResults compares results of the entries from n on with the model's.
func (h *history) checkResults(t testing.TB, n int, got [][]ledger.Result) {
	t.Helper()
	for i := range got {
		want := h.results[n+i]
		if len(got[i]) != len(want) {
			t.Fatalf("%v: entry %d has %d results, want %d", h, n+i, len(got[i]), len(want))
		}
		for j := range want {
			if err := sameResult(got[i][j], want[j]); err != nil {
				t.Fatalf("%v: entry %d, batch %d: %v", h, n+i, j, err)
			}
		}
	}
}

func sameResult(got, want ledger.Result) error {
	if fmt.Sprint(got.Err) != fmt.Sprint(want.Err) {
		return fmt.Errorf("error %v, want %v", got.Err, want.Err)
	}
	var a, b *ledger.ConflictError
	if errors.As(want.Err, &b) && (!errors.As(got.Err, &a) || a.StoredDigest != b.StoredDigest || a.OfferedDigest != b.OfferedDigest || a.InBatch != b.InBatch) {
		return fmt.Errorf("conflict %+v, want %+v", a, b)
	}
	if want.Err != nil {
		got.Indexes, got.Duplicate = nil, nil
	}
	if g, w := fmt.Sprint(got.Indexes, got.Duplicate, got.Size, got.Time), fmt.Sprint(want.Indexes, want.Duplicate, want.Size, want.Time); g != w {
		return fmt.Errorf("result %s, want %s", g, w)
	}
	return nil
}

// checkAccounts compares the program's rows with the model after the first n entries.
func (h *history) checkAccounts(t testing.TB, l *ledger.Ledger, n int) {
	t.Helper()
	if h.accounts == nil {
		return
	}
	want := accounts.Model{}
	if n > 0 {
		want = h.accounts[n-1]
	}
	state := l.State()
	got, last := accounts.Model{}, uint64(0)
	err := state.Range([]byte{'a'}, []byte{'b'}, func(key, value []byte) bool {
		account := binary.BigEndian.Uint64(key[1:])
		if len(got) > 0 && account <= last {
			t.Fatalf("%v: account %d comes after %d", h, account, last)
		}
		got[account], last = binary.BigEndian.Uint64(value), account
		return true
	})
	if err != nil || !maps.Equal(got, want) {
		t.Fatalf("%v: accounts at size %d: %v, %v; want %v", h, state.Size(), got, err, want)
	}
	for account := range uint64(12) {
		key := binary.BigEndian.AppendUint64([]byte{'a'}, account)
		value, found, err := state.Get(key)
		balance, ok := want[account]
		if err != nil || found != ok || found && binary.BigEndian.Uint64(value) != balance {
			t.Fatalf("%v: account %d at size %d: %x, %t, %v; want %d, %t", h, account, state.Size(), value, found, err, balance, ok)
		}
	}
}

// checkState compares everything readable with the model after the first n entries.
func (h *history) checkState(t testing.TB, l *ledger.Ledger, n int) {
	t.Helper()
	want := h.summary(n)
	head := l.Head()
	if head.RaftIndex != want.RaftIndex || head.RaftTerm != want.RaftTerm || head.Size != want.Size || want.Size > 0 && head.Root != want.Root {
		t.Fatalf("%v: head %+v, want %+v", h, head, want)
	}
	size := want.Size
	h.checkAccounts(t, l, n)
	for first := uint64(0); first < size; {
		leaves, err := l.Leaves(first, 100, 1<<20)
		if err != nil {
			t.Fatalf("%v: leaves from %d of %d: %v", h, first, size, err)
		}
		for i, leaf := range leaves {
			if !bytes.Equal(leaf, h.model.leaves[first+uint64(i)]) {
				t.Fatalf("%v: leaf %d differs", h, first+uint64(i))
			}
		}
		first += uint64(len(leaves))
	}
	var notFound *ledger.NotFoundError
	if _, err := l.Leaf(size); !errors.As(err, &notFound) || notFound.Size != size {
		t.Fatalf("%v: leaf at the size: %v", h, err)
	}
	rng := rand.New(rand.NewPCG(h.seed, size))
	for range min(20, size) {
		m := 1 + rng.Uint64N(size)
		index := rng.Uint64N(m)
		proof, err := l.InclusionProof(index, m)
		if err == nil {
			err = merkle.VerifyInclusion(index, m, merkle.LeafHash(h.model.leaves[index]), proof, h.model.roots[m])
		}
		if err != nil {
			t.Fatalf("%v: inclusion of %d in %d: %v", h, index, m, err)
		}
		if proof, err = l.ConsistencyProof(index, m); err == nil {
			err = merkle.VerifyConsistency(index, m, proof, h.model.roots[index], h.model.roots[m])
		}
		if err != nil {
			t.Fatalf("%v: consistency of %d with %d: %v", h, index, m, err)
		}
		if root, err := l.RootAt(m); err != nil || root != h.model.roots[m] {
			t.Fatalf("%v: root at %d: %v, %v; want %v", h, m, root, err, h.model.roots[m])
		}
	}
	if size > 0 {
		index := (size - 1) / merkle.EntryBundleWidth
		width := merkle.WidthAt(0, index, size)
		b, err := l.EntryBundle(index, width)
		if err != nil {
			t.Fatalf("%v: entry bundle %d: %v", h, index, err)
		}
		leaves, err := merkle.ParseEntryBundle(b, width)
		if err != nil || !bytes.Equal(leaves[width-1], h.model.leaves[size-1]) {
			t.Fatalf("%v: entry bundle %d: %v", h, index, err)
		}
		tile, err := l.Tile(0, index, width)
		if leaf := merkle.LeafHash(leaves[width-1]); err != nil || !bytes.HasSuffix(tile, leaf[:]) {
			t.Fatalf("%v: tile %d: %v", h, index, err)
		}
	}
}
