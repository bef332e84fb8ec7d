package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// decayed is a store that has lost or changed values. Like Badger it does not promise which of two
// values of one key at one version it returns: here the damaged one. A higher version ends the
// damage.
type decayed struct {
	*memstore.Store
	mu       sync.Mutex
	wrong    map[string][]byte // nil: gone
	versions map[string]uint64
	commits  int
}

func newDecayed() *decayed {
	return &decayed{Store: memstore.New(memstore.Options{}), wrong: map[string][]byte{}, versions: map[string]uint64{}}
}

func (s *decayed) Commit(version uint64, pairs []ledger.Pair) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits++
	for _, p := range pairs {
		if version > s.versions[string(p.Key)] {
			delete(s.wrong, string(p.Key))
			s.versions[string(p.Key)] = version
		}
	}
	return s.Store.Commit(version, pairs)
}

func (s *decayed) see(p ledger.Pair, err error) (ledger.Pair, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wrong, ok := s.wrong[string(p.Key)]; err == nil && ok {
		if wrong == nil {
			return ledger.Pair{}, ledger.ErrKeyNotFound
		}
		p.Value = bytes.Clone(wrong)
	}
	return p, err
}

func (s *decayed) Get(key []byte) ([]byte, error) {
	v, err := s.Store.Get(key)
	p, err := s.see(ledger.Pair{Key: key, Value: v}, err)
	return p.Value, err
}

func (s *decayed) Seek(key, prefix []byte) (ledger.Pair, error) {
	return s.see(s.Store.Seek(key, prefix))
}

func (s *decayed) damage(key, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong[string(key)] = value
}

func (s *decayed) damaged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.wrong)
}

// all returns the pairs of a kind.
func (s *decayed) all(t *testing.T, kind byte) (pairs []ledger.Pair) {
	t.Helper()
	prefix := append(binary.BigEndian.AppendUint64(nil, 1), kind)
	pairs, err := s.Scan(prefix, prefix, 1<<30, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pairs
}

// twins are two replicas with the same blocks: entries with and without idempotency keys and one
// block of several parts. The store of the first one decays.
func twins(t *testing.T) (store *decayed, l, peer *ledger.Ledger) {
	t.Helper()
	store = newDecayed()
	l, peer = open(t, store, ledger.Summary{}), open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	for i := range uint64(330) {
		b := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{
			{Kind: ledger.KindPayload, Key: binary.BigEndian.AppendUint64(nil, i), Body: bytes.Repeat([]byte{byte(i)}, 300)},
			{Kind: ledger.KindPayload, Body: []byte("without a key")},
		}}
		if i == 140 {
			for range 20 {
				b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindPayload, Body: bytes.Repeat([]byte("large"), 12_000)})
			}
		}
		raw, err := ledger.EncodeBlock(ledger.Anchor{Root: newModel().roots[0]}, int64(1000+i), []ledger.Batch{b})
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []*ledger.Ledger{l, peer} {
			if _, err := to.ApplyMany([]ledger.Committed{{RaftIndex: 2*i + 1, RaftTerm: 1 + i/100, Block: raw}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return store, l, peer
}

// repairAll scrubs a whole ledger and repairs what is found, and returns how much that was.
func repairAll(t *testing.T, l *ledger.Ledger, fetch ledger.Fetch) (repaired int, err error) {
	t.Helper()
	for at := uint64(0); at < l.Head().Size; {
		next, _, err := l.Scrub(at, 10_000)
		var corrupt *ledger.CorruptError
		if !errors.As(err, &corrupt) {
			at = next
			continue
		}
		if _, err := l.Repair(corrupt, fetch); err != nil {
			return repaired, err
		}
		if repaired++; repaired > 100 {
			t.Fatalf("no end of repairs: %v", corrupt)
		}
	}
	return repaired, nil
}

// TestRepair: whatever value of a block, tile or idempotency key is gone or another one, a repair
// writes the right one, which the store returns from then on.
func TestRepair(t *testing.T) {
	t.Parallel()
	store, l, peer := twins(t)
	checked := map[byte]int{}
	for _, kind := range []byte("bphk") {
		pairs := store.all(t, kind)
		for i, p := range pairs {
			if kind != 'h' && kind != 'p' && i%9 != 0 && i != len(pairs)-1 {
				continue
			}
			flipped, end := bytes.Clone(p.Value), bytes.Clone(p.Value)
			flipped[len(flipped)/2] ^= 1
			end[len(end)-1] ^= 1
			damages := [][]byte{nil, flipped, end, p.Value[:len(p.Value)/2]}
			if kind == 'b' && len(p.Value) < 10_000 {
				damages = append(damages, forged(p.Value))
			}
			for how, wrong := range damages {
				store.damage(p.Key, wrong)
				if n, err := repairAll(t, l, peer.BlockAt); err != nil || n == 0 || store.damaged() > 0 {
					t.Fatalf("damage %d of key %x: %d repairs, %v; %d values are damaged still", how, p.Key, n, err, store.damaged())
				}
				if got, err := store.Get(p.Key); err != nil || !bytes.Equal(got, p.Value) {
					t.Fatalf("damage %d of key %x: the repair wrote another value, %v", how, p.Key, err)
				}
				checked[kind]++
			}
		}
	}
	if checked['b'] < 40 || checked['p'] < 2 || checked['h'] < 2 || checked['k'] < 40 {
		t.Errorf("the test repaired %v", checked)
	}
}

// TestRepairOfATileWithItsEntries: the hashes of a tile that is gone are proved together, so its
// blocks may be damaged, too.
func TestRepairOfATileWithItsEntries(t *testing.T) {
	t.Parallel()
	store, l, peer := twins(t)
	l, _ = reopened(t, store, l)
	store.damage(store.all(t, 'h')[1].Key, nil)
	blocks := store.all(t, 'b')
	store.damage(blocks[150].Key, nil)
	store.damage(blocks[160].Key, blocks[160].Value[:10])
	store.damage(blocks[170].Key, forged(blocks[170].Value))
	if n, err := repairAll(t, l, peer.BlockAt); err != nil || n == 0 || store.damaged() > 0 {
		t.Fatalf("%d repairs, %v; %d values are damaged still", n, err, store.damaged())
	}
}

// reopened opens the ledger of a store once more, so that nothing is cached.
func reopened(t *testing.T, store *decayed, l *ledger.Ledger) (*ledger.Ledger, ledger.Summary) {
	t.Helper()
	h := l.Head()
	mark := ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}
	return open(t, store, mark), mark
}

// TestRepairBelievesNothing: what another replica sends is written and served only when it proves.
func TestRepairBelievesNothing(t *testing.T) {
	t.Parallel()
	store, l, peer := twins(t)
	l, _ = reopened(t, store, l)
	const index = 301
	goodBlock, err := peer.BlockAt(index)
	if err != nil {
		t.Fatal(err)
	}
	other, err := peer.BlockAt(index + 2)
	if err != nil {
		t.Fatal(err)
	}
	good := goodBlock.Encoded
	header := func(at int, value uint64) []byte {
		b := bytes.Clone(good)
		binary.BigEndian.PutUint64(b[at:], value)
		sum := bytes.Index(b, []byte("CRNB")) - 4
		binary.BigEndian.PutUint32(b[sum:], crc32.Checksum(b[:sum], crc32.MakeTable(crc32.Castagnoli)))
		return b
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-30] ^= 1
	raftIndex, first := binary.BigEndian.Uint64(good[1:]), binary.BigEndian.Uint64(good[17:])
	lies := map[string][]byte{
		"nothing":                           {},
		"a part":                            good[:len(good)-1],
		"a flipped bit":                     flipped,
		"the block of other entries":        other.Encoded,
		"another entry with a checksum":     forged(good),
		"the raft index of the block after": header(1, raftIndex+2),
		"the raft index of the one before":  header(1, raftIndex-2),
		"a later term":                      header(9, 1),
		"another first entry":               header(17, first+1),
		"no raft index":                     header(1, 0),
	}
	store.damage(store.all(t, 'b')[blockOf(t, store, index)].Key, nil)
	for name, lie := range lies {
		before := store.commits
		var corrupt *ledger.CorruptError
		_, err := repairAll(t, l, func(uint64) (*ledger.BlockRecord, error) {
			return &ledger.BlockRecord{Encoded: lie}, nil
		})
		if !errors.As(err, &corrupt) && !strings.Contains(fmt.Sprint(err), "block") {
			t.Errorf("%s: the repair ends with %v", name, err)
		}
		if store.commits != before {
			t.Errorf("%s: something was written", name)
		}
		if b, err := l.BlockAt(index); err == nil {
			t.Errorf("%s: the block is served, of raft index %d", name, b.RaftIndex)
		}
	}
	if n, err := repairAll(t, l, peer.BlockAt); err != nil || n != 1 {
		t.Fatalf("%d repairs after the lies, %v", n, err)
	}
	if b, err := l.BlockAt(index); err != nil || b.RaftIndex != raftIndex {
		t.Fatalf("after the repair: %+v, %v", b, err)
	}
}

// blockOf returns which of the stored blocks holds an entry.
func blockOf(t *testing.T, store *decayed, index uint64) int {
	t.Helper()
	for i, p := range store.all(t, 'b') {
		if binary.BigEndian.Uint64(p.Key[len(p.Key)-8:]) > index {
			return i
		}
	}
	t.Fatalf("no block holds entry %d", index)
	return 0
}

// TestRepairOfUpperTiles: a tile above others is computed from them, and from entries where those
// are gone, too.
func TestRepairOfUpperTiles(t *testing.T) {
	t.Parallel()
	store := newDecayed()
	l := open(t, store, ledger.Summary{})
	for i := uint64(1); l.Head().Size <= 256*256; i++ {
		b := ledger.Batch{Principal: "p"}
		for range 8000 {
			b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindPayload, Body: binary.BigEndian.AppendUint64(nil, i)})
		}
		mustApply(t, l, single(t, l, int64(i), b))
	}
	l, _ = reopened(t, store, l)
	tiles := store.all(t, 'h')
	upper := tiles[len(tiles)-1]
	if upper.Key[9] != 1 {
		t.Fatalf("key %x is of no tile of level 1", upper.Key)
	}
	none := func(uint64) (*ledger.BlockRecord, error) { return nil, errors.New("there is no other replica") }
	for _, lower := range [][]int{nil, {0}, {3, 4, 255}} {
		store.damage(upper.Key, nil)
		for _, i := range lower {
			store.damage(store.all(t, 'h')[i].Key, nil)
		}
		if n, err := repairAll(t, l, none); err != nil || n == 0 || store.damaged() > 0 {
			t.Fatalf("tiles %d below are gone, too: %d repairs, %v; %d values are damaged still", lower, n, err, store.damaged())
		}
		l, _ = reopened(t, store, l)
	}
}

// TestRepairOfCheckpoints: a damaged checkpoint is found; the newest is written again from memory,
// and an older one is removed.
func TestRepairOfCheckpoints(t *testing.T) {
	t.Parallel()
	store, l, _ := twins(t)
	for _, size := range []uint64{100, 200, 300} {
		root, err := l.RootAt(size)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.SetSealed(&ledger.Sealed{Size: size, Root: root, Note: fmt.Appendf(nil, "of size %d", size)}); err != nil {
			t.Fatal(err)
		}
	}
	stored := store.all(t, 'c')
	if len(stored) != 2 {
		t.Fatalf("%d checkpoints are stored, want the first and the newest", len(stored))
	}
	find := func() (sizes []uint64) {
		for at := uint64(0); ; {
			next, _, err := l.ScrubSealed(at)
			var corrupt *ledger.CorruptError
			if errors.As(err, &corrupt) {
				sizes = append(sizes, corrupt.Index)
			} else if err != nil {
				t.Fatal(err)
			}
			if at = next; next == 0 {
				return sizes
			}
		}
	}
	if bad := find(); len(bad) > 0 {
		t.Fatalf("sound checkpoints of sizes %d are damaged", bad)
	}
	newest, oldest := stored[1], stored[0]
	for _, p := range []ledger.Pair{newest, oldest} {
		for at := range p.Value {
			if at > 60 && at < len(p.Value)-2 {
				continue
			}
			wrong := bytes.Clone(p.Value)
			wrong[at] ^= 4
			store.damage(p.Key, wrong)
			if bad := find(); len(bad) != 1 {
				t.Fatalf("byte %d of a checkpoint is flipped: sizes %d are damaged", at, bad)
			}
			if _, err := l.Repair(&ledger.CorruptError{Part: ledger.PartCheckpoint, Index: binary.BigEndian.Uint64(p.Key[9:])}, nil); err != nil || store.damaged() > 0 {
				t.Fatalf("byte %d: %v, %d values are damaged still", at, err, store.damaged())
			}
			if bytes.Equal(p.Key, oldest.Key) {
				break // it is gone
			}
		}
	}
	if got := store.all(t, 'c'); len(got) != 1 || !bytes.Equal(got[0].Value, newest.Value) {
		t.Fatalf("%d checkpoints are left, want the newest as it was", len(got))
	}
	if s, err := l.SealedBefore(250); s != nil || err != nil {
		t.Fatalf("the removed checkpoint is served: %+v, %v", s, err)
	}
}
