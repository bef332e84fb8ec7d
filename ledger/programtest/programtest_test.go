package programtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	text strings.Builder
}

func (*recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.text, format+"\n", args...) }

func (r *recorder) Error(args ...any) { fmt.Fprintln(&r.text, args...) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

// run returns what the conformance test says about a program.
func run(o Options) string {
	var r recorder
	for _, part := range []func(){
		func() {
			h := newHistory(&r, o, 1)
			h.determinism(&r, o)
			h.crashes(&r, o)
		},
		func() { twoLedgers(&r, o) },
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			part()
		}()
		<-done
	}
	return r.text.String()
}

// counter is a program with one row, and with a mistake.
type counter struct {
	decide  func(v ledger.View, in *ledger.Input, n uint64) []byte
	strange bool // MaxOutcome understands everything
}

func (*counter) Name() string    { return "counter" }
func (*counter) Version() uint32 { return 1 }

func (c *counter) MaxOutcome(kind ledger.Kind, body []byte) (int, error) {
	if kind == ledger.KindCommand && !c.strange && (len(body) != 2 || body[0] > 9) {
		return 0, errors.New("no command")
	}
	return 8, nil
}

func (c *counter) Decide(v ledger.View, in *ledger.Input) []byte {
	if in.Kind == ledger.KindPayload {
		return nil
	}
	var n uint64
	if value, found := v.Get([]byte("n")); found {
		n = binary.BigEndian.Uint64(value)
	}
	v.Put([]byte("n"), binary.BigEndian.AppendUint64(nil, n+1))
	return c.decide(v, in, n)
}

// TestMistakesAreFound: every mistake that the package documentation names is found in a program
// that makes it, and none in one that makes none.
func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	calls, kept := uint64(0), ledger.View(nil)
	for name, c := range map[string]struct {
		strange bool
		decide  func(v ledger.View, in *ledger.Input, n uint64) []byte
		want    string // in what the test says; "" when it has nothing to say
	}{
		"none": {false, func(_ ledger.View, _ *ledger.Input, n uint64) []byte { return number(n) }, ""},
		"a memory of its own": {false, func(ledger.View, *ledger.Input, uint64) []byte {
			calls++
			return number(calls)
		}, "decided differently"},
		"the order of a map": {false, func(ledger.View, *ledger.Input, uint64) []byte {
			for k := range map[uint64]bool{1: true, 2: true, 3: true, 4: true} {
				return number(k)
			}
			return nil
		}, "decided differently"},
		"a row that depends on chance": {false, func(v ledger.View, _ *ledger.Input, _ uint64) []byte {
			v.Put([]byte("chance"), number(rand.Uint64()))
			return nil
		}, "other rows"},
		"an outcome that is too long": {false, func(ledger.View, *ledger.Input, uint64) []byte { return make([]byte, 9) }, "bug of the program"},
		"a panic over nonsense":       {true, func(_ ledger.View, in *ledger.Input, _ uint64) []byte { return []byte{in.Body[1]} }, "panic"},
		"a changed entry": {false, func(_ ledger.View, in *ledger.Input, _ uint64) []byte {
			in.Body[1] ^= 1
			return nil
		}, "changes the entry"},
		"a changed genesis": {false, func(_ ledger.View, in *ledger.Input, n uint64) []byte {
			in.Genesis.SealQuorum, in.Genesis.FeatureLevel = 1, uint32(n+1)
			return nil
		}, "changes the genesis"},
		"a changed row": {false, func(v ledger.View, _ *ledger.Input, _ uint64) []byte {
			value, _ := v.Get([]byte("n"))
			value[0] ^= 1
			return nil
		}, "changes a slice"},
		"a view that is kept": {false, func(v ledger.View, _ *ledger.Input, n uint64) []byte {
			if n%2 == 0 || kept == nil {
				kept = v
			} else {
				_, _ = kept.Get([]byte("n"))
			}
			return nil
		}, "outside of Decide"},
		"a put in a range": {false, func(v ledger.View, _ *ledger.Input, _ uint64) []byte {
			for k := range v.Range(nil, nil) {
				v.Put(k, nil)
			}
			return nil
		}, "bug of the program"},
	} {
		o := Options{
			New:     func() ledger.Program { return &counter{decide: c.decide, strange: c.strange} },
			Command: func(rng *rand.Rand) []byte { return []byte{byte(rng.IntN(10)), byte(rng.IntN(4))} },
			Batches: 150,
		}
		if got := run(o); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: the test says %.500q, want %q in it", name, got, c.want)
		}
	}
}

// timer is a program with one alarm, and with a mistake. Its commands: "set" and "ring".
type timer struct{ mistake string }

func (*timer) Name() string    { return "timer" }
func (*timer) Version() uint32 { return 1 }

func (*timer) MaxOutcome(kind ledger.Kind, body []byte) (int, error) {
	if s := string(body); kind == ledger.KindCommand && s != "set" && s != "ring" {
		return 0, errors.New("no command")
	}
	return 1, nil
}

func (p *timer) Decide(v ledger.View, in *ledger.Input) []byte {
	if in.Kind == ledger.KindPayload {
		return nil
	}
	row, _ := v.Get([]byte("due"))
	if string(in.Body) == "set" {
		if len(row) == 0 {
			v.Put([]byte("due"), binary.BigEndian.AppendUint64(nil, uint64(in.Time+100)))
		}
		return nil
	}
	switch {
	case !in.ByNode() && p.mistake != "for callers":
	case len(row) == 0:
	case in.Time < int64(binary.BigEndian.Uint64(row)) && p.mistake != "too early":
	case p.mistake == "without a row":
	default:
		v.Put([]byte("due"), nil)
	}
	return nil
}

func (p *timer) Work(state ledger.State) (at int64, command []byte, ok bool, err error) {
	row, _, err := state.Get([]byte("due"))
	if err != nil || len(row) == 0 {
		return 0, nil, false, err
	}
	switch p.mistake {
	case "a panic":
		panic("timer")
	case "from memory":
		return rand.Int64(), []byte("ring"), true, nil
	case "no command":
		return int64(binary.BigEndian.Uint64(row)), []byte("bang"), true, nil
	}
	return int64(binary.BigEndian.Uint64(row)), []byte("ring"), true, nil
}

// TestWorkMistakesAreFound: every demand of ledger.Timed is tested.
func TestWorkMistakesAreFound(t *testing.T) {
	t.Parallel()
	for mistake, want := range map[string]string{
		"":              "",
		"for callers":   "by a caller, puts rows: true, want false",
		"too early":     "before it is due, puts rows: true, want false",
		"without a row": "when it is due, puts rows: false, want true",
		"a panic":       "panicked when it was asked for work",
		"from memory":   "one state has the work",
		"no command":    "does not understand its own work",
	} {
		o := Options{
			New: func() ledger.Program { return &timer{mistake} },
			Command: func(rng *rand.Rand) []byte {
				if rng.IntN(3) == 0 {
					return []byte("ring")
				}
				return []byte("set")
			},
			Batches: 150,
		}
		if got := run(o); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: the test says %.500q, want %q in it", mistake, got, want)
		}
	}
}

// detailedCounter is a counter that keeps the number as the detail of a command, and the hash of it
// as the outcome.
type detailedCounter struct {
	counter
	check func(index uint64, leaf, detail []byte) error
}

func (c *detailedCounter) CheckDetail(index uint64, leaf, detail []byte) error {
	return c.check(index, leaf, detail)
}

// TestMistakesOfDetailedAreFound: the same for programs that keep details.
func TestMistakesOfDetailedAreFound(t *testing.T) {
	t.Parallel()
	hash := func(b []byte) []byte {
		h := sha256.Sum256(b)
		return h[:8]
	}
	keep := func(v ledger.View, _ *ledger.Input, n uint64) []byte {
		v.Keep(binary.BigEndian.AppendUint64(nil, n))
		return hash(binary.BigEndian.AppendUint64(nil, n))
	}
	check := func(_ uint64, leaf, detail []byte) error {
		if e, err := ledger.ParseLeaf(leaf); err != nil || e.Kind == ledger.KindCommand && !bytes.Equal(e.Outcome, hash(detail)) {
			return errors.Newf("another detail, %v", err)
		}
		return nil
	}
	for name, c := range map[string]struct {
		decide func(v ledger.View, in *ledger.Input, n uint64) []byte
		check  func(uint64, []byte, []byte) error
		want   string
	}{
		"none": {keep, check, ""},
		"a detail that nothing commits to": {func(v ledger.View, in *ledger.Input, n uint64) []byte {
			keep(v, in, n)
			return nil
		}, func(uint64, []byte, []byte) error { return nil }, "takes another detail"},
		"a detail that depends on chance": {func(v ledger.View, in *ledger.Input, n uint64) []byte {
			v.Keep(binary.BigEndian.AppendUint64(nil, rand.Uint64()))
			return nil
		}, func(uint64, []byte, []byte) error { return nil }, "other details"},
		"a detail that it refuses": {keep, func(uint64, []byte, []byte) error { return errors.New("no") }, "refuses the detail"},
		"a detail that is too long": {func(v ledger.View, in *ledger.Input, n uint64) []byte {
			v.Keep(make([]byte, 8*ledger.DetailFactor))
			return keep(v, in, n)
		}, check, "bug of the program"},
	} {
		o := Options{
			New:     func() ledger.Program { return &detailedCounter{counter{decide: c.decide}, c.check} },
			Command: func(rng *rand.Rand) []byte { return []byte{byte(rng.IntN(10)), byte(rng.IntN(4))} },
			Batches: 150,
		}
		if got := run(o); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: the test says %.500q, want %q in it", name, got, c.want)
		}
	}
}

// mappedCounter is a counter whose row is the only account of a map.
type mappedCounter struct {
	counter
	payloads bool // payloads count, too
}

func (*mappedCounter) MapPrefix() []byte { return []byte("n") }

func (*mappedCounter) MapRecord(value []byte) []byte { return value }

func (c *mappedCounter) Decide(v ledger.View, in *ledger.Input) []byte {
	if in.Kind == ledger.KindPayload && c.payloads {
		v.Put([]byte("n"), []byte("a payload"))
	}
	return c.counter.Decide(v, in)
}

// TestMistakesOfMappedAreFound: the same for programs with a map.
func TestMistakesOfMappedAreFound(t *testing.T) {
	t.Parallel()
	for payloads, want := range map[bool]string{false: "", true: "bug of the program"} {
		count := func(_ ledger.View, _ *ledger.Input, n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
		o := Options{
			New:     func() ledger.Program { return &mappedCounter{counter{decide: count}, payloads} },
			Command: func(rng *rand.Rand) []byte { return []byte{byte(rng.IntN(10)), byte(rng.IntN(4))} },
			Batches: 150,
		}
		if got := run(o); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("payloads count: %t: the test says %.500q, want %q in it", payloads, got, want)
		}
	}
}
