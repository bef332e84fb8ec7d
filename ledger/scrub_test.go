package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// rotten is a store on a disk that changes what it holds: the value of one key reads as wrong
// says, nil for a key that is gone.
type rotten struct {
	ledger.Store
	mu    sync.Mutex
	key   []byte
	wrong []byte
}

func (s *rotten) rot(p ledger.Pair, err error) (ledger.Pair, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || s.key == nil || !bytes.Equal(p.Key, s.key) {
		return p, err
	}
	if s.wrong == nil {
		return ledger.Pair{}, ledger.ErrKeyNotFound
	}
	return ledger.Pair{Key: p.Key, Value: s.wrong}, nil
}

func (s *rotten) Get(key []byte) ([]byte, error) {
	v, err := s.Store.Get(key)
	p, err := s.rot(ledger.Pair{Key: key, Value: v}, err)
	return p.Value, err
}

func (s *rotten) Seek(key, prefix []byte) (ledger.Pair, error) {
	return s.rot(s.Store.Seek(key, prefix))
}

// scrubAll scrubs a whole ledger in small pieces and returns the damage.
func scrubAll(t *testing.T, l *ledger.Ledger) (damage []error) {
	t.Helper()
	size := l.Head().Size
	for at, calls := uint64(0), 0; at < size; calls++ {
		next, _, err := l.Scrub(at, 10_000)
		if next <= at || calls > int(size) {
			t.Fatalf("scrubbing goes from %d to %d", at, next)
		}
		if err != nil {
			damage = append(damage, err)
		}
		at = next
	}
	return damage
}

// forged is the record of a block with another entry and a checksum that fits.
func forged(record []byte) []byte {
	other := bytes.Replace(record, []byte("without a key"), []byte("wholly forged"), 1)
	raw := other[bytes.Index(other, []byte("CRNB")):]
	end := len(raw) - 4
	binary.BigEndian.PutUint32(raw[end:], crc32.Checksum(raw[:end], crc32.MakeTable(crc32.Castagnoli)))
	return other
}

// TestScrub: each value of the store that entries, tiles and keys depend on is missed when it is
// gone or another one, though caches have what it was.
func TestScrub(t *testing.T) {
	t.Parallel()
	mem := memstore.New(memstore.Options{})
	s := &rotten{Store: mem}
	l := open(t, s, ledger.Summary{})
	defer l.Close()
	for i := range uint64(300) {
		b := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{
			{Kind: ledger.KindPayload, Key: binary.BigEndian.AppendUint64(nil, i), Body: bytes.Repeat([]byte{byte(i)}, 300)},
			{Kind: ledger.KindPayload, Body: []byte("without a key")},
		}}
		raw, err := ledger.EncodeBlock(ledger.Anchor{Root: newModel().roots[0]}, int64(1000+i), []ledger.Batch{b})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.ApplyMany([]ledger.Committed{{RaftIndex: i + 1, RaftTerm: 1, Block: raw}}); err != nil {
			t.Fatal(err)
		}
	}
	if damage := scrubAll(t, l); len(damage) > 0 {
		t.Fatalf("a sound ledger is damaged: %v", damage)
	}
	group := binary.BigEndian.AppendUint64(nil, 1)
	checked := map[byte]int{}
	for _, kind := range []byte{'b', 'h', 'k'} {
		prefix := append(bytes.Clone(group), kind)
		for at := prefix; ; {
			p, err := mem.Seek(at, prefix)
			if errors.Is(err, ledger.ErrKeyNotFound) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			at = append(bytes.Clone(p.Key), 0)
			if checked[kind]++; checked[kind]%7 != 1 {
				continue
			}
			flipped, end := bytes.Clone(p.Value), bytes.Clone(p.Value)
			flipped[len(flipped)/2] ^= 1
			end[len(end)-1] ^= 1
			damages := map[string][]byte{"gone": nil, "flipped": flipped, "flipped at the end": end}
			if kind == 'b' {
				damages["another block with a checksum of its own"] = forged(p.Value)
			}
			for name, wrong := range damages {
				s.mu.Lock()
				s.key, s.wrong = p.Key, wrong
				s.mu.Unlock()
				damage := scrubAll(t, l)
				var corrupt *ledger.CorruptError
				if len(damage) == 0 || !errors.As(damage[0], &corrupt) {
					t.Errorf("key %x is %s: damage %v", p.Key, name, damage)
				}
			}
			s.mu.Lock()
			s.key = nil
			s.mu.Unlock()
		}
	}
	if checked['b'] < 300 || checked['h'] < 2 || checked['k'] < 300 {
		t.Errorf("the test looked at %v", checked)
	}
	if damage := scrubAll(t, l); len(damage) > 0 {
		t.Errorf("the sound ledger is damaged afterwards: %v", damage)
	}
}

// TestScrubUpperTiles: a tile above others is compared with the one above it, too.
func TestScrubUpperTiles(t *testing.T) {
	t.Parallel()
	mem := memstore.New(memstore.Options{})
	s := &rotten{Store: mem}
	l := open(t, s, ledger.Summary{})
	defer l.Close()
	for i := uint64(1); l.Head().Size <= 256*256; i++ {
		b := ledger.Batch{Principal: "p"}
		for range 8000 {
			b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindPayload, Body: binary.BigEndian.AppendUint64(nil, i)})
		}
		raw, err := ledger.EncodeBlock(ledger.Anchor{Root: newModel().roots[0]}, int64(1000+i), []ledger.Batch{b})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.ApplyMany([]ledger.Committed{{RaftIndex: i, RaftTerm: 1, Block: raw}}); err != nil {
			t.Fatal(err)
		}
	}
	if damage := scrubAll(t, l); len(damage) > 0 {
		t.Fatalf("a sound ledger is damaged: %v", damage)
	}
	key := append(binary.BigEndian.AppendUint64(nil, 1), 'h', 1)
	p, err := mem.Seek(key, key)
	if err != nil {
		t.Fatal(err)
	}
	s.key, s.wrong = p.Key, bytes.Clone(p.Value)
	s.wrong[len(s.wrong)-1] ^= 1
	if damage := scrubAll(t, l); len(damage) == 0 {
		t.Error("the damage of a tile above others is not seen")
	}
}
