package nemesis

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/jepsen/testbed"
)

// slowness is how long a stand-in takes to end once its disk is full.
const slowness = 3 * time.Second

// TestMain lets the test binary stand in for a node that only looks at its free space,
// and takes its time.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "node" {
		os.Exit(standIn(os.Args[3]))
	}
	os.Exit(m.Run())
}

func standIn(file string) int {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	c, err := node.LoadConfig(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for ; ; time.Sleep(10 * time.Millisecond) {
		var st unix.Statfs_t
		if err := unix.Statfs(c.DataDir, &st); err == nil && int64(st.Bavail)*int64(st.Bsize) < 256<<20 {
			time.Sleep(slowness)
			fmt.Fprintln(os.Stderr, node.ErrDiskFull)
			return 1
		}
	}
}

// TestSlowStop: a node that takes long to stop, and long to refuse, has the whole time
// for each.
func TestSlowStop(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bed, err := testbed.New(testbed.Options{
		Dir: filepath.Join(t.TempDir(), "bed"), Nodes: 1, Executable: exe, Lifeline: true, Disks: true, DiskBytes: 1 << 30, Logf: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	if !bed.Level.Disks {
		t.Skipf("no disks of our own: %s", bed.Level.NoDisks)
	}
	ctx, a := t.Context(), NewArena(bed, 1)
	if err := bed.Spawn(ctx, 0); err != nil {
		t.Fatal(err)
	}
	f := &full{a: a, within: slowness * 11 / 6} // not enough for both
	if err := errors.CombineErrors(f.Inject(ctx), f.Heal(ctx)); err != nil {
		t.Fatal(err)
	}
	if how, err := f.Observed(ctx); err != nil {
		t.Errorf("%v, want that it stopped, said why, refused", err)
	} else {
		t.Log(how)
	}
	if ends := bed.Unasked(); len(ends) > 0 {
		t.Errorf("a node that stopped because its disk was full is said to have ended by itself: %+v", ends)
	}
}

// TestBrokenPromises: what a node must do under a fault, and does not, is a broken
// promise and no fault that nobody saw.
func TestBrokenPromises(t *testing.T) {
	a := idle(t, 3)
	struck := func(refused bool, said string) []wound {
		w := wound{node: 1, path: "data/wal/000001", changed: true, refused: refused, said: said}
		w.named = w.names()
		return []wound{w}
	}
	for name, c := range map[string]struct {
		n      Nemesis
		want   string
		broken bool
	}{
		"goes on with a full disk":   {&full{a: a, nodes: []int{1}}, "did not stop", true},
		"says nothing about it":      {&full{a: a, nodes: []int{1}, stopped: true}, "without saying", true},
		"starts with a full disk":    {&full{a: a, nodes: []int{1}, stopped: true, told: true}, "started although", true},
		"no other process":           {&full{a: a, nodes: []int{1}, stopped: true, told: true, refused: true}, "no other process", false},
		"names nothing":              {&damage{a: a, nodes: []int{1}, wounds: struck(true, "no")}, "without naming", true},
		"starts with a damaged log":  {&damage{a: a, nodes: []int{1}, wounds: struck(false, ""), what: damaging{mustRefuse: true}}, "started with a damaged", true},
		"names the file":             {&damage{a: a, nodes: []int{1}, wounds: struck(true, "segment 000001 is damaged")}, "no other process", false},
		"names a place in the store": {&damage{a: a, nodes: []int{1}, wounds: struck(true, "corrupt tile 0 at 12: root")}, "no other process", false},
		"nothing was damaged":        {&damage{a: a, nodes: []int{1}, wounds: []wound{{node: 1}}}, "no file", false},
	} {
		_, err := c.n.Observed(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrBroken) != c.broken {
			t.Errorf("%s: %v, want %q, a broken promise: %t", name, err, c.want, c.broken)
		}
	}
}

// told is a fault about which nothing is known but what became of it.
type told struct{ err error }

func (told) Inject(context.Context) error               { return nil }
func (told) Target() string                             { return "n1" }
func (told) Heal(context.Context) error                 { return nil }
func (n told) Observed(context.Context) (string, error) { return "", n.err }
func event(ctx context.Context, a *Arena, err error) Event {
	return a.once(ctx, Plan{}, kind{name: "told", instant: true, make: func(*Arena) Nemesis { return told{err} }})
}

// TestEvent: an event keeps broken promises apart from faults that nobody saw.
func TestEvent(t *testing.T) {
	a := idle(t, 1)
	if e := event(t.Context(), a, broken("%s went on", "n1")); e.Broken != "n1 went on" || e.Problem != "" || e.Observed == "" {
		t.Errorf("a broken promise: %+v", e)
	}
	if e := event(t.Context(), a, errors.New("nothing happened")); e.Broken != "" || e.Problem != "nothing happened" || e.Observed != "" || e.Skipped {
		t.Errorf("a fault that nobody saw: %+v", e)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if e := event(over, a, errors.New("nothing happened")); !e.Skipped {
		t.Errorf("a fault that had no time: %+v", e)
	}
	if e := event(over, a, broken("went on")); e.Skipped || e.Broken == "" {
		t.Errorf("a broken promise at the last moment: %+v", e)
	}
}

// TestDue: every kind must have happened in a run that is long enough for all of its
// lane.
func TestDue(t *testing.T) {
	p := Plan{
		Kinds: []string{"kill-one", "kill-all", "pause-one", "partition-one"},
		Hold:  [2]time.Duration{time.Second, 3 * time.Second}, Quiet: [2]time.Duration{0, 2 * time.Second},
	}
	for within, want := range map[time.Duration][]string{
		8 * time.Second:  nil,
		9 * time.Second:  {"partition-one"},
		26 * time.Second: {"partition-one"},
		27 * time.Second: {"kill-one", "kill-all", "pause-one", "partition-one"},
	} {
		if got := p.Due(within); !slices.Equal(got, want) {
			t.Errorf("due within %s: %v, want %v", within, got, want)
		}
	}
}
